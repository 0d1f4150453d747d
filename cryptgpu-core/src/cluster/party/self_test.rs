//! A job that tries the links, for `cryptgpu doctor` and for tests of what happens on failure.

use super::context::PartyContext;
use super::job::Job;
use crate::cluster::marshal::words::Words;
use crate::cluster::wire::job_error::JobError;
use crate::mpc::MessageKind;
use crate::net::{NetError, Network, PartyId, Tag};
use std::time::Duration;

/// Ways to fail on request, to see that the caller gets a clear error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Fault {
    /// Return an error.
    Error,
    /// Panic.
    Panic,
    /// End the process at once.
    Exit,
    /// Send nothing for so long.
    Sleep(Duration),
}

/// Each party sends its words to both others, `rounds` times, and gives back what it received
/// last: from the next party, then from the previous one.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct SelfTest {
    /// How often.
    pub rounds: u32,
    /// What this party sends; as many words at each party.
    pub words: Words,
    /// Who fails, and how, after half of the rounds.
    pub fault: Option<(PartyId, Fault)>,
}

impl SelfTest {
    /// A round trip of a few words that no party fails.
    pub fn quick() -> [SelfTest; 3] {
        PartyId::ALL.map(|id| SelfTest { rounds: 2, words: Words(vec![id.index() as u64; 4]), fault: None })
    }
}

impl Job for SelfTest {
    const NAME: &'static str = "self-test";
    type Output = [Words; 2];

    fn run(self, context: &mut PartyContext) -> Result<[Words; 2], JobError> {
        let mut received = <[Words; 2]>::default();
        let id = context.id();
        for round in 0..self.rounds {
            context.progress(f64::from(round) / f64::from(self.rounds), "exchange");
            let fault = self.fault.filter(|&(party, _)| party == id && round == self.rounds / 2);
            let network = context.network();
            received = context.party().step(&format!("exchange{round}"), |_| {
                if let Some((_, fault)) = fault {
                    fail(fault)?;
                }
                Ok::<_, JobError>(exchange(network.as_ref(), round, &self.words.0)?)
            })?;
        }
        context.progress(1.0, "done");
        Ok(received)
    }
}

fn exchange(net: &dyn Network, round: u32, words: &[u64]) -> Result<[Words; 2], NetError> {
    let tag = Tag { position: u64::from(round), kind: MessageKind::SELF_TEST.0 };
    let peers = [net.id().next(), net.id().prev()];
    for peer in peers {
        net.send(peer, tag, words.to_vec())?;
    }
    let receive = |peer| net.recv(peer, tag, words.len()).map(Words);
    Ok([receive(peers[0])?, receive(peers[1])?])
}

fn fail(fault: Fault) -> Result<(), JobError> {
    match fault {
        Fault::Error => Err(JobError::Other("this party was asked to fail".into())),
        #[allow(clippy::panic)]
        Fault::Panic => panic!("this party was asked to panic"),
        Fault::Exit => std::process::exit(3),
        Fault::Sleep(time) => {
            std::thread::sleep(time);
            Ok(())
        }
    }
}
