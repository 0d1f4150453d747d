//! A broken connection made anew by its sender: the peer is dialled until it answers what it expects, until it is known
//! to be gone, or until the time for it is over.

use super::super::PartyId;
use super::super::inbox::Fault;
use super::super::stream::{Answer, Needed, Purpose, Redial, Redialling, Stream, Unmade, refused};
use super::Config;
use super::connect::secure_outgoing;
use super::reception::PAUSE;
use super::socket::Socket;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Where a peer listens.
pub(super) struct Dialler {
    pub(super) config: Arc<Config>,
    pub(super) peer: PartyId,
}

/// One dial may take so long before the next.
const TRY_WITHIN: Duration = Duration::from_secs(1);

impl Redial for Dialler {
    fn redial<'a>(&'a self, broken: &'a io::Error, within: Duration, needed: &'a Needed<'a>) -> Redialling<'a> {
        Box::pin(self.dial_until(broken, within, needed))
    }
}

impl Dialler {
    async fn dial_until(
        &self,
        broken: &io::Error,
        within: Duration,
        needed: &Needed<'_>,
    ) -> Result<(Box<dyn Stream>, u64), Unmade> {
        let until = Instant::now() + within;
        let mut last;
        loop {
            if !needed() {
                return Err(Unmade::Over);
            }
            let soon = until.min(Instant::now() + TRY_WITHIN);
            match timeout_at(soon, self.dial()).await {
                Ok(made) => match made? {
                    Ok(made) => return Ok(made),
                    Err(error) => last = error.to_string(),
                },
                Err(_) => last = "no answer".into(),
            }
            if Instant::now() + PAUSE >= until {
                let address = &self.config.addresses[self.peer.index()];
                return Err(Unmade::Fault(Fault::Closed(format!(
                    "the connection to it broke ({broken}) and could not be made anew within {within:?}: {last}. Is the network between the hosts up, and {address} reachable?"
                ))));
            }
            sleep(PAUSE).await;
        }
    }

    /// Dials once. The inner error is one after which to dial again.
    async fn dial(&self) -> Result<io::Result<(Box<dyn Stream>, u64)>, Unmade> {
        let socket = match Socket::connect(&self.config.addresses[self.peer.index()]).await {
            Ok(socket) => socket,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(Unmade::Gone),
            Err(error) => return Ok(Err(error)),
        };
        match secure_outgoing(&self.config, self.peer, socket, Purpose::Resume).await {
            Ok((stream, Answer::Expects(sequence))) => Ok(Ok((stream, sequence))),
            Ok((_, Answer::Ended | Answer::Stranger)) => {
                Err(Unmade::Fault(Fault::Closed(format!("party {} has ended the link", self.peer))))
            }
            // Another certificate, another session: not the peer, and nothing to try again.
            Err(error) if error.kind() == io::ErrorKind::Other => {
                Err(Unmade::Fault(Fault::BadFrame(error.to_string())))
            }
            Err(error) => refused(&error).map_or(Ok(Err(error)), |fault| Err(Unmade::Fault(fault))),
        }
    }
}
