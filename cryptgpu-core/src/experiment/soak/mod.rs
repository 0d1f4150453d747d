//! A campaign of faults: random work in three parties, a random fault at a random moment of each piece, and a look at what
//! came of it. The work ends with the right result, or with an error in time; the next run is right; no process, open file or
//! socket is left behind. What hangs, is wrong or is left is a [`violation`](FaultRecord::violation) in the record.
//!
//! | file | what |
//! |---|---|
//! | `dice.rs` | random choices, all from one seed |
//! | `work.rs` | functions, inference, training, and what plaintext says of them |
//! | `faults.rs` | the faults, and how they are done |
//! | `stranger.rs` | who stands between processes and does harm to their connections |
//! | `leaks.rs` | processes, open files and sockets that are left |
//! | `episode.rs` | one piece of work with one fault |
//! | `record.rs` | [`FaultRecord`], [`FaultSummary`] |

mod dice;
mod episode;
mod faults;
mod leaks;
mod record;
mod stranger;
mod work;

pub use faults::{Fault, Place};
pub use record::{FaultRecord, FaultSummary, summaries};
pub use work::Work;

use super::ExperimentError;
use crate::cluster::Cluster;
use crate::ring::Ring;
use dice::Dice;
use episode::Campaign;
use parking_lot::Mutex;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A campaign, as it is declared.
#[derive(Clone, Debug)]
pub struct Soak {
    /// All random choices come from it. (What they meet depends on the machine's speed too.)
    pub seed: u64,
    /// When it ends.
    pub time: Duration,
    /// After how many faults it ends, if that is earlier.
    pub faults: u64,
    /// How long a party waits for another.
    pub deadline: Duration,
    /// The ring in which all of it is computed, with its usual fraction bits and check of ranges.
    pub ring: Ring,
    /// The program that the parties run: this one.
    pub program: PathBuf,
    /// An empty folder, for checkpoints and a small disk.
    pub folder: PathBuf,
}

/// After how long a run has hung: no fault, and no machine that is used by others, takes a run so long.
const HUNG: Duration = Duration::from_secs(120);

/// The exit code of a program whose campaign hung.
const EXIT_CODE_OF_A_HANG: i32 = 3;

impl Soak {
    /// Runs the campaign. `observe` gets the record of each fault, once that fault is over. A run that hangs ends the program with exit code 3, as nothing else can.
    ///
    /// # Errors
    /// When parties cannot be started, or do not work before any fault was done.
    pub fn run(&self, mut observe: impl FnMut(&FaultRecord)) -> Result<Vec<FaultRecord>, ExperimentError> {
        let watchdog = Watchdog::start(self.seed);
        // What the first cluster opens for the whole program is no leak of a later one.
        drop(self.cluster().start()?);
        let descriptors = leaks::settled();
        let until = Instant::now() + self.time;
        let mut campaign = Campaign::start(self)?;
        let (mut dice, mut records) = (Dice::new(self.seed), Vec::new());
        while Instant::now() < until && (records.len() as u64) < self.faults {
            watchdog.within(HUNG);
            let record = campaign.episode(records.len() as u64, &mut dice);
            observe(&record);
            records.push(record);
        }
        drop(campaign);
        // What is left at the very end is laid to the last fault.
        let violation = leaks::left(&[], &[], descriptors + KEPT);
        if let (Some(last), Some(violation)) = (records.last_mut(), violation) {
            last.violation.get_or_insert(format!("after the end: {violation}"));
            observe(last);
        }
        Ok(records)
    }

    /// How long a party waits for another: where connections are silent and made anew, for longer than that takes.
    fn deadline_of(&self, place: Place) -> Duration {
        self.deadline * if place == Place::Links { 3 } else { 1 }
    }

    fn cluster(&self) -> crate::cluster::ClusterBuilder {
        Cluster::local().ring(self.ring).program(&self.program).threads(1).deadline(self.deadline)
    }
}

/// Files that parties on threads open once and the program keeps; what a single run leaves is noticed after that run.
const KEPT: usize = 2;

/// Ends the program when a run hangs.
struct Watchdog(Arc<Mutex<Option<Instant>>>);

impl Watchdog {
    fn start(seed: u64) -> Self {
        let until = Arc::new(Mutex::new(Some(Instant::now() + HUNG)));
        let watched = Arc::downgrade(&until);
        let watch = move || {
            while let Some(until) = watched.upgrade() {
                if until.lock().is_some_and(|until| Instant::now() > until) {
                    eprintln!("a run of the campaign with seed {seed} has hung for {HUNG:?}");
                    std::process::exit(EXIT_CODE_OF_A_HANG);
                }
                drop(until);
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        // Without the thread a hang is for whoever waits to notice.
        let _ = std::thread::Builder::new().name("watchdog".into()).spawn(watch);
        Watchdog(until)
    }

    fn within(&self, time: Duration) {
        *self.0.lock() = Some(Instant::now() + time);
    }
}
