//! One piece of work with one fault: what is drawn, done, and looked at afterwards.

use super::super::{ExperimentError, machine};
use super::dice::Dice;
use super::faults::{self, Fault, Place, SmallDisk, Traps};
use super::record::FaultRecord;
use super::work::{Expected, Trouble, Work};
use super::{Soak, leaks};
use crate::cluster::Cluster;
use crate::net::PartyId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The two clusters of a campaign, and what is known of their work.
pub(super) struct Campaign<'a> {
    soak: &'a Soak,
    expected: Expected,
    processes: Cluster,
    threads: Cluster,
    traps: Traps,
    disk: SmallDisk,
    /// How long the work takes without a fault.
    usual: BTreeMap<(u8, u8), Duration>,
    /// Open files and sockets while both clusters are idle.
    descriptors: usize,
}

/// What is drawn for a piece of work.
struct Plan {
    place: Place,
    work: Work,
    fault: Fault,
    party: PartyId,
    to: PartyId,
    /// Nanoseconds, or messages.
    at: u64,
}

/// How often a run may take its usual time, on a machine that others use too.
const PATIENCE: u32 = 20;

/// Messages of a link within which a fault of messages is done: about as many as the work sends there.
fn messages(work: Work) -> u64 {
    match work {
        Work::Function | Work::Sharing => 6,
        Work::Inference => 20,
        Work::Training => 25,
    }
}

impl<'a> Campaign<'a> {
    /// Starts both clusters, and does every kind of work without a fault.
    pub(super) fn start(soak: &'a Soak) -> Result<Self, ExperimentError> {
        let traps = Traps::default();
        let threads = Cluster::in_memory().deadline(soak.deadline).intercept(traps.interceptor());
        let mut campaign = Campaign {
            soak,
            expected: Expected::new()?,
            processes: soak.cluster().start()?,
            threads: threads.start()?,
            traps,
            disk: SmallDisk::new(soak.folder.join("disk")),
            usual: BTreeMap::new(),
            descriptors: 0,
        };
        let mut dice = Dice::new(0);
        for place in [Place::Processes, Place::Threads] {
            for work in [Work::Function, Work::Inference, Work::Training, Work::Sharing] {
                // The second time is the usual one.
                for _ in 0..2 {
                    let began = Instant::now();
                    match campaign.expected.work(campaign.cluster(place), work, &mut dice, None) {
                        Ok(()) => drop(campaign.usual.insert((place as u8, work as u8), began.elapsed())),
                        Err(Trouble::Error(error)) => return Err(error.into()),
                        Err(Trouble::Wrong(detail)) => return Err(ExperimentError::Reports(detail)),
                    }
                }
            }
        }
        campaign.descriptors = leaks::settled();
        Ok(campaign)
    }

    fn cluster(&self, place: Place) -> &Cluster {
        match place {
            Place::Processes => &self.processes,
            Place::Threads => &self.threads,
        }
    }

    fn usual(&self, place: Place, work: Work) -> Duration {
        self.usual.get(&(place as u8, work as u8)).copied().unwrap_or_default()
    }

    fn plan(&self, dice: &mut Dice) -> Plan {
        let place = dice.of(&[Place::Processes, Place::Threads]);
        let fault = Fault::random(place, dice);
        let work = match fault {
            Fault::FullDisk => Work::Training,
            Fault::FullPipe => Work::Sharing,
            _ => dice.of(&[Work::Function, Work::Function, Work::Function, Work::Inference, Work::Training]),
        };
        let party = dice.of(&PartyId::ALL);
        let to = dice.of(&[party.next(), party.prev()]);
        let at = match place {
            Place::Processes => dice.time(self.usual(place, work)).as_nanos() as u64,
            Place::Threads => dice.below(messages(work)),
        };
        Plan { place, work, fault, party, to, at }
    }

    /// Does one piece of work with one fault.
    pub(super) fn episode(&mut self, number: u64, dice: &mut Dice) -> FaultRecord {
        let plan = self.plan(dice);
        let began = Instant::now();
        // A party that was harmed at the very end of the last run is missed only now.
        let mut violation = match self.cluster(plan.place).pids().is_empty() {
            true => self.cluster(plan.place).restart().err().map(|error| format!("no new parties: {error}")),
            false => None,
        };
        let pids = self.processes.pids();
        let (outcome, done) = match plan.place {
            Place::Processes => self.harm_a_process(&plan, &pids, dice),
            Place::Threads => self.harm_a_message(&plan, dice),
        };
        let seconds = began.elapsed();
        let error = match outcome {
            Ok(()) => String::new(),
            Err(Trouble::Error(error)) => error.to_string(),
            Err(Trouble::Wrong(detail)) => {
                violation.get_or_insert(format!("a wrong result: {detail}"));
                String::new()
            }
        };
        let limit = PATIENCE * self.usual(plan.place, plan.work) + 4 * self.soak.deadline + Duration::from_secs(10);
        let found = [
            (!done && !error.is_empty()).then(|| format!("an error without a fault: {error}")),
            (seconds > limit).then(|| format!("it ended after {seconds:?}, and {limit:?} were allowed")),
            self.aftermath(&plan, &pids, done, dice),
        ];
        let violation = found.into_iter().flatten().fold(violation, |first, next| first.or(Some(next)));
        FaultRecord {
            experiment: "soak".to_owned(),
            seed: self.soak.seed,
            number,
            place: plan.place,
            work: plan.work,
            fault: plan.fault,
            party: plan.party.index(),
            to: (plan.place == Place::Threads).then(|| plan.to.index()),
            at: if plan.place == Place::Processes { plan.at as f64 / 1e6 } else { plan.at as f64 },
            done,
            error,
            seconds: seconds.as_secs_f64(),
            violation,
            commit: machine::commit().to_owned(),
            time: machine::now(),
        }
    }

    /// Works while a process is harmed; what came of it, and whether it was harmed before the end.
    fn harm_a_process(&self, plan: &Plan, pids: &[u32], dice: &mut Dice) -> (Result<(), Trouble>, bool) {
        let Some(&pid) = pids.get(plan.party.index()) else { return (Ok(()), false) };
        if plan.fault == Fault::FullDisk {
            self.disk.fill(pids);
            let outcome = self.expected.work(&self.processes, plan.work, dice, Some(self.disk.folder()));
            return (outcome, true);
        }
        let (ended, at) = (AtomicBool::new(false), Duration::from_nanos(plan.at));
        std::thread::scope(|scope| {
            let has_ended = || ended.load(Relaxed);
            let harm = scope.spawn(move || {
                let begin = Instant::now() + at;
                while Instant::now() < begin && !has_ended() {
                    std::thread::sleep(Duration::from_micros(200));
                }
                let done = !has_ended();
                if done {
                    faults::to_process(plan.fault, pid, &has_ended);
                }
                done
            });
            let outcome = self.expected.work(&self.processes, plan.work, dice, None);
            ended.store(true, Relaxed);
            (outcome, harm.join().unwrap_or(true))
        })
    }

    /// Works while a message is harmed.
    fn harm_a_message(&self, plan: &Plan, dice: &mut Dice) -> (Result<(), Trouble>, bool) {
        self.traps.set(plan.fault, plan.party, plan.to, plan.at);
        let outcome = self.expected.work(&self.threads, plan.work, dice, None);
        (outcome, self.traps.take())
    }

    /// What is wrong after a fault, if anything is: the next run, and what is left behind.
    fn aftermath(&self, plan: &Plan, pids: &[u32], done: bool, dice: &mut Dice) -> Option<String> {
        let cluster = self.cluster(plan.place);
        let lasting =
            done && matches!(plan.fault, Fault::Kill | Fault::Stop | Fault::Cut | Fault::Lost | Fault::Overtaken);
        if lasting && cluster.pids().as_slice() == pids {
            // It was done at the very end, when the result was on its way already.
            pids.get(plan.party.index()).copied().into_iter().for_each(faults::go_on);
            if let Err(error) = cluster.restart() {
                return Some(format!("no new parties: {error}"));
            }
        }
        match self.expected.work(cluster, Work::Function, dice, None) {
            Ok(()) => {}
            Err(Trouble::Error(error)) => return Some(format!("the next run failed: {error}")),
            Err(Trouble::Wrong(detail)) => return Some(format!("the next run was wrong: {detail}")),
        }
        let alive = self.processes.pids();
        let gone: Vec<u32> = pids.iter().filter(|pid| !alive.contains(pid)).copied().collect();
        leaks::left(&gone, &alive, self.descriptors).or_else(|| self.unfinished_files(plan.fault))
    }

    /// Files that a full disk has left half written; clears the disk.
    fn unfinished_files(&self, fault: Fault) -> Option<String> {
        if fault != Fault::FullDisk {
            return None;
        }
        let all = leaks::files(self.disk.folder());
        all.iter().for_each(|file| drop(std::fs::remove_file(file)));
        let whole = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "checkpoint");
        // A process that its limit on files has killed could not clear up.
        let is_mounted = matches!(self.disk, SmallDisk::Mounted(_));
        all.iter().find(|file| is_mounted && !whole(file)).map(|file| format!("a file is left: {}", file.display()))
    }
}
