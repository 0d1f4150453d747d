//! Parties of other owners: the caller connects to each, shows its certificate, says what it wants, and speaks to the
//! process that the party has made for the session.

use super::program::own_libraries;
use super::session::{Elsewhere, Start, Started, controller, stay_alive};
use crate::cluster::party::execute::heartbeat;
use crate::cluster::wire::configuration::Configuration;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::frame;
use crate::cluster::wire::message::VERSION;
use crate::cluster::wire::object::Library;
use crate::cluster::wire::owners::{Answer, Hello, OwnedParty, Owners, hear, say};
use crate::net::{Identity, PartyId, tls};
use std::io;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// What was tried at a party that refuses a whole session.
pub(in crate::cluster) const SESSION: &str = "begin a session";

/// The link to a party's process, within the connection with its owner's daemon.
type Link = server::TlsStream<client::TlsStream<TcpStream>>;

/// Begins a session at three parties that their owners have started.
pub(super) fn start(
    configuration: &Configuration,
    owners: &Owners,
    runtime: &Runtime,
    start: &Start<'_>,
) -> Result<Started, ClusterError> {
    let hint = "`cryptgpu keygen` makes a key; owners.toml says where it is.";
    let identity = owners.identity().map_err(|error| controller("be a caller", &error, hint))?;
    // A party whose owner has another one says so when it is asked for a function.
    let libraries = own_libraries()?.unwrap_or_default().iter().map(Library::digest).collect();
    let mut session = [0u8; 16];
    getrandom::fill(&mut session)
        .map_err(|error| controller("draw a session number", &error, "Has the system no randomness to give?"))?;
    let hello = hello(configuration, session);
    let links = start.wait_for("begin sessions", connect(owners, &identity, &hello, start.until));
    let links = runtime.block_on(links)?;
    let outboxes = PartyId::ALL.into_iter().zip(links).map(|(party, link)| {
        let mailbox = start.mailbox.clone();
        let outbox = frame::attach(runtime.handle(), link, move |received| mailbox.deliver(party, received));
        runtime.spawn(stay_alive(outbox.clone(), heartbeat(configuration.deadline)));
        outbox
    });
    let outboxes = outboxes.collect();
    // They know by themselves where the others are, and what they run is theirs already.
    let advertised = Box::new(|listening: [SocketAddr; 3]| listening.map(|address| address.to_string()));
    let elsewhere = Elsewhere { pids: vec![], ended: "its owner finds the reason in the party's log" };
    Ok(Started { processes: vec![], elsewhere, outboxes, advertised, libraries: Some(libraries) })
}

/// What the caller wants of all three, in a session of that number.
fn hello(configuration: &Configuration, session: [u8; 16]) -> Hello {
    Hello {
        version: VERSION.to_owned(),
        session,
        randomness: configuration.randomness,
        settings: configuration.settings,
        link: configuration.link,
        deadline: configuration.deadline,
        resume_within: configuration.resume_within(),
        connect_within: configuration.start_within,
    }
}

/// Begins the session at all three parties.
async fn connect(
    owners: &Owners,
    identity: &Identity,
    hello: &Hello,
    until: Instant,
) -> Result<[Link; 3], ClusterError> {
    let at = |party: PartyId| Visit { party, owned: &owners.parties[party.index()] }.begin(identity, hello, until);
    let [a, b, c] = PartyId::ALL.map(at);
    let (a, b, c) = tokio::try_join!(a, b, c)?;
    Ok([a, b, c])
}

/// The way into one party.
struct Visit<'a> {
    party: PartyId,
    owned: &'a OwnedParty,
}

impl Visit<'_> {
    async fn begin(self, identity: &Identity, hello: &Hello, until: Instant) -> Result<Link, ClusterError> {
        let late =
            |what: &str| self.error(what, "nothing came in time", "Is it overloaded, or does a firewall drop packets?");
        let until = tokio::time::Instant::from_std(until);
        let address = self.owned.address.as_str();
        let reached = tokio::time::timeout_at(until, TcpStream::connect(address)).await;
        let stream =
            reached.map_err(|_| late("connect to it"))?.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let hint = "Does its owner run `cryptgpu party --config party.toml`, and is its control address this one?";
        let stream = stream.map_err(|error| self.error("connect to it", &error.to_string(), hint))?;
        let talk = async {
            let connector = TlsConnector::from(self.mistake(identity.client_config(self.owned.fingerprint))?);
            let outer = connector.connect(tls::server_name(), stream).await;
            let mut outer = outer.map_err(|error| self.unknown(&error))?;
            let said = say(&mut outer, hello).await;
            let answer = match said {
                Ok(()) => hear(&mut outer).await,
                Err(error) => Err(error),
            };
            match answer.map_err(|error| self.unknown(&error))? {
                Answer::Admitted => {}
                Answer::Refused(why) => {
                    return Err(self.error(SESSION, &why, "Ask its owner, whose policy decides"));
                }
                Answer::Busy => {
                    let hint = "Wait for its end and try again";
                    return Err(self.error("have its turn", "a session goes on there", hint));
                }
            }
            let acceptor = TlsAcceptor::from(self.mistake(identity.server_config(&[self.owned.fingerprint]))?);
            let hint = "Its owner finds the reason in the party's log.";
            acceptor.accept(outer).await.map_err(|error| self.error("start its process", &error.to_string(), hint))
        };
        tokio::time::timeout_at(until, talk).await.map_err(|_| late("hear its answer"))?
    }

    fn mistake<T>(&self, made: Result<T, impl ToString>) -> Result<T, ClusterError> {
        made.map_err(|error| self.error("set up TLS", &error.to_string(), "Is the key that of the certificate?"))
    }

    /// TLS failed: one of the two does not know the other.
    fn unknown(&self, error: &io::Error) -> ClusterError {
        let hint = "Is the fingerprint in owners.toml that of its certificate, and does its policy name yours in a [[caller]]?";
        self.error("be known to it", &error.to_string(), hint)
    }

    fn error(&self, action: &str, detail: &str, hint: &str) -> ClusterError {
        ClusterError::Host {
            party: self.party,
            host: format!("{} ({})", self.owned.address, self.owned.name),
            action: action.to_owned(),
            detail: detail.to_owned(),
            hint: hint.to_owned(),
        }
    }
}
