//! The three parties as threads of this process, linked through memory: for tests, and for a first
//! look where processes cannot be started. Protocols, randomness and counts are the real ones; what is
//! missing is the separation of the parties, so nothing is private from this process.

use std::sync::{Arc, mpsc};
use std::thread;

use super::measure::Parties;
use super::party::{PartyReport, run_party};
use super::{ExperimentError, Inference};
use crate::mpc::{MpcError, Party};
use crate::net::{NetError, Options, PartyId, memory};
use crate::nn::NnError;
use crate::prg::{Correlated, Key, Keys};

/// Three threads, started for each run.
#[derive(Debug, Default)]
pub struct Threads;

impl Parties for Threads {
    fn describe(&self) -> String {
        "threads of one process".to_owned()
    }

    fn on_this_machine(&self) -> u64 {
        3
    }

    fn run(
        &mut self,
        declaration: &Inference,
        progress: &mut dyn FnMut(usize),
    ) -> Result<[PartyReport; 3], ExperimentError> {
        let options = Options { link: declaration.link, ..Options::default() };
        let settings = declaration.settings()?;
        // Party i holds keys i and i + 1, one that all have, and one of its own.
        let (pairs, common) = ([Key::from_os()?, Key::from_os()?, Key::from_os()?], Key::from_os()?);
        let mut parties = Vec::with_capacity(3);
        for (i, net) in memory::trio(options).into_iter().enumerate() {
            let (with_prev, with_next) = (pairs[i].clone(), pairs[(i + 1) % 3].clone());
            let keys = Keys { with_prev, with_next, common: common.clone(), own: Key::from_os()? };
            let correlated = Correlated::new(declaration.randomness, &keys);
            let device = declaration.device.0[i].resolve(i)?.device;
            parties.push(Party::new(Arc::new(net), correlated, settings, device));
        }
        let (tell, told) = mpsc::channel();
        let results = thread::scope(|scope| {
            let handles: Vec<_> = parties
                .into_iter()
                .map(|mut party| {
                    let tell = (party.id() == PartyId::P0).then(|| tell.clone());
                    scope.spawn(move || {
                        run_party(&mut party, declaration, |done| {
                            // The caller only stops listening when it is itself unwinding.
                            let _ = tell.as_ref().map(|tell| tell.send(done));
                        })
                    })
                })
                .collect();
            drop(tell);
            told.iter().for_each(progress);
            handles.into_iter().map(|handle| handle.join()).collect::<Vec<_>>()
        });
        let results = PartyId::ALL.into_iter().zip(results).map(|(party, result)| {
            let died = || ExperimentError::Party { party, reason: "its thread panicked".to_owned() };
            result.unwrap_or_else(|_| Err(died()))
        });
        gather(results.collect())
    }
}

/// The three reports, or the error that was first: when one party fails the links of the others close,
/// and "the link is closed" says less than why.
fn gather(results: Vec<Result<PartyReport, ExperimentError>>) -> Result<[PartyReport; 3], ExperimentError> {
    let (reports, mut errors): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    errors.sort_by_key(|result| result.as_ref().err().is_some_and(is_consequence));
    if let Some(Err(error)) = errors.into_iter().next() {
        return Err(error);
    }
    let reports: Vec<PartyReport> = reports.into_iter().flatten().collect();
    reports.try_into().map_err(|_| ExperimentError::Reports("one is missing".to_owned()))
}

fn is_consequence(error: &ExperimentError) -> bool {
    let closed = |error: &MpcError| matches!(error, MpcError::Net(NetError::PeerClosed { .. }));
    match error {
        ExperimentError::Mpc(error) | ExperimentError::Nn(NnError::Mpc(error)) => closed(error),
        _ => false,
    }
}
