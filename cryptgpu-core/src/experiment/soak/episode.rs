//! One piece of work with one fault: what is drawn, done, and looked at afterwards.

use super::super::{ExperimentError, machine};
use super::dice::Dice;
use super::faults::{self, Fault, Place, SmallDisk, Traps};
use super::record::FaultRecord;
use super::stranger::Stranger;
use super::work::{Expected, Trouble, Work};
use super::{Soak, leaks};
use crate::cluster::Cluster;
use crate::net::PartyId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The three clusters of a campaign, and what is known of their work.
pub(super) struct Campaign<'a> {
    soak: &'a Soak,
    expected: Expected,
    processes: Cluster,
    linked: Cluster,
    threads: Cluster,
    stranger: Stranger,
    traps: Traps,
    disk: SmallDisk,
    /// How long the work takes without a fault, of late.
    usual: BTreeMap<(u8, u8), Duration>,
    /// Open files and sockets while all clusters are idle: of this process, and of any party's at most.
    descriptors: usize,
    of_parties: usize,
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

const PLACES: [Place; 3] = [Place::Processes, Place::Links, Place::Threads];

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
    /// Starts all clusters, and does every kind of work without a fault.
    pub(super) fn start(soak: &'a Soak) -> Result<Self, ExperimentError> {
        let traps = Traps::default();
        let threads = Cluster::in_memory().ring(soak.ring).deadline(soak.deadline).intercept(traps.interceptor());
        let stranger = Stranger::new()
            .map_err(|error| ExperimentError::Reports(format!("cannot stand between the parties: {error}")))?;
        let mut campaign = Campaign {
            soak,
            expected: Expected::new(soak.ring)?,
            processes: soak.cluster().start()?,
            linked: soak.cluster().deadline(soak.deadline_of(Place::Links)).route(stranger.route()).start()?,
            stranger,
            threads: threads.start()?,
            traps,
            disk: SmallDisk::new(soak.folder.join("disk")),
            usual: BTreeMap::new(),
            descriptors: 0,
            of_parties: 0,
        };
        let mut dice = Dice::new(0);
        for place in PLACES {
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
        let pids = [campaign.processes.pids(), campaign.linked.pids()].concat();
        // One to read a file with, and one to listen with while a connection is made anew.
        campaign.of_parties = 2 + pids.into_iter().map(leaks::descriptors_of).max().unwrap_or(0);
        Ok(campaign)
    }

    fn cluster(&self, place: Place) -> &Cluster {
        match place {
            Place::Processes => &self.processes,
            Place::Links => &self.linked,
            Place::Threads => &self.threads,
        }
    }

    fn usual(&self, place: Place, work: Work) -> Duration {
        self.usual.get(&(place as u8, work as u8)).copied().unwrap_or_default()
    }

    fn plan(&self, dice: &mut Dice) -> Plan {
        let place = dice.of(&PLACES);
        let fault = Fault::random(place, dice);
        let work = match fault {
            Fault::FullDisk => Work::Training,
            Fault::FullPipe => Work::Sharing,
            _ if place == Place::Links => dice.of(&[Work::Function, Work::Inference, Work::Training]),
            _ => dice.of(&[Work::Function, Work::Function, Work::Function, Work::Inference, Work::Training]),
        };
        let party = dice.of(&PartyId::ALL);
        let to = dice.of(&[party.next(), party.prev()]);
        let at = match place {
            Place::Processes => dice.time(self.usual(place, work)).as_nanos() as u64,
            // What is done to a record waits for one.
            Place::Links => dice.time(self.usual(place, work) * 3 / 4).as_nanos() as u64,
            Place::Threads => dice.below(messages(work)),
        };
        Plan { place, work, fault, party, to, at }
    }

    /// Does one piece of work with one fault.
    pub(super) fn episode(&mut self, number: u64, dice: &mut Dice) -> FaultRecord {
        let plan = self.plan(dice);
        // A party that was harmed at the very end of the last run is missed only now.
        let mut violation = match self.cluster(plan.place).pids().is_empty() {
            true => self.cluster(plan.place).restart().err().map(|error| format!("no new parties: {error}")),
            false => None,
        };
        let pids = self.cluster(plan.place).pids();
        let began = Instant::now();
        let (outcome, done) = match plan.place {
            Place::Processes => self.harm_a_process(&plan, &pids, dice),
            Place::Links => self.harm_a_link(&plan, dice),
            Place::Threads => self.harm_a_message(&plan, dice),
        };
        let seconds = began.elapsed();
        if !done && outcome.is_ok() {
            // The machine may be quicker now than it was at first.
            let usual = (3 * self.usual(plan.place, plan.work) + seconds) / 4;
            self.usual.insert((plan.place as u8, plan.work as u8), usual);
        }
        let (error, step) = match outcome {
            Ok(()) => <(String, String)>::default(),
            Err(Trouble::Error(error)) => (error.to_string(), error.step().to_owned()),
            Err(Trouble::Wrong(detail)) => {
                violation.get_or_insert(format!("a wrong result: {detail}"));
                <(String, String)>::default()
            }
        };
        let deadline = self.soak.deadline_of(plan.place);
        let limit = PATIENCE * self.usual(plan.place, plan.work) + 4 * deadline + Duration::from_secs(10);
        let found = [
            (plan.fault.must_end_right(plan.place) && !error.is_empty()).then(|| format!("it did not go on: {error}")),
            (!done && !error.is_empty()).then(|| format!("an error without a fault: {error}")),
            (seconds > limit).then(|| format!("it ended after {seconds:?}, and {limit:?} were allowed")),
            self.aftermath(&plan, &pids, done, dice),
        ];
        let violation = found.into_iter().flatten().fold(violation, |first, next| first.or(Some(next)));
        FaultRecord {
            experiment: "soak".to_owned(),
            seed: self.soak.seed,
            ring: self.soak.ring,
            number,
            place: plan.place,
            work: plan.work,
            fault: plan.fault,
            party: plan.party.index(),
            to: (plan.place != Place::Processes).then(|| plan.to.index()),
            at: if plan.place == Place::Threads { plan.at as f64 } else { plan.at as f64 / 1e6 },
            done,
            step,
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
        self.meanwhile(plan, dice, |has_ended| {
            faults::to_process(plan.fault, pid, has_ended);
            true
        })
    }

    /// Works while the stranger harms a connection; what came of it, and whether it was harmed before the end.
    fn harm_a_link(&self, plan: &Plan, dice: &mut Dice) -> (Result<(), Trouble>, bool) {
        let mut choices = Dice::new(dice.next());
        let harm = move |_: &dyn Fn() -> bool| self.stranger.harm(plan.fault, plan.party, plan.to, &mut choices);
        let (outcome, done) = self.meanwhile(plan, dice, harm);
        (outcome, self.stranger.rest() || done)
    }

    /// Works, and does harm at the planned moment if the work still goes on then; what came of it, and whether it was done.
    fn meanwhile(
        &self,
        plan: &Plan,
        dice: &mut Dice,
        harm: impl FnOnce(&dyn Fn() -> bool) -> bool + Send,
    ) -> (Result<(), Trouble>, bool) {
        let (ended, at) = (AtomicBool::new(false), Duration::from_nanos(plan.at));
        std::thread::scope(|scope| {
            let has_ended = || ended.load(Relaxed);
            let harm = scope.spawn(move || {
                let begin = Instant::now() + at;
                while Instant::now() < begin && !has_ended() {
                    std::thread::sleep(Duration::from_micros(200));
                }
                !has_ended() && harm(&has_ended)
            });
            let outcome = self.expected.work(self.cluster(plan.place), plan.work, dice, None);
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
        if done && plan.fault.lasts(plan.place) && cluster.pids().as_slice() == pids {
            // It was done at the very end, when the result was on its way already.
            if plan.place == Place::Processes {
                pids.get(plan.party.index()).copied().into_iter().for_each(faults::go_on);
            }
            if let Err(error) = cluster.restart() {
                return Some(format!("no new parties: {error}"));
            }
        }
        match self.expected.work(cluster, Work::Function, dice, None) {
            Ok(()) => {}
            Err(Trouble::Error(error)) => return Some(format!("the next run failed: {error}")),
            Err(Trouble::Wrong(detail)) => return Some(format!("the next run was wrong: {detail}")),
        }
        let alive = [self.processes.pids(), self.linked.pids()].concat();
        let gone = pids.iter().filter(|pid| plan.place != Place::Threads && !alive.contains(pid));
        let gone: Vec<u32> = gone.copied().collect();
        leaks::left(&gone, &alive, self.descriptors)
            .or_else(|| leaks::holding(&alive, self.of_parties))
            .or_else(|| self.unfinished_files(plan.fault))
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
