//! How the parties of a cluster are at the moment, kept from what they tell the caller anyway: their signs of life and how
//! far their jobs are. Nothing is asked of them for it, and nobody has to look.

use crate::cluster::wire::configuration::Places;
use crate::cluster::wire::message::{Event, Vital};
use crate::cluster::wire::text::harmless;
use crate::cluster::wire::view::{ClusterView, JobView, PartyView};
use crate::net::{PartyId, Stats};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rates are those of so long a time.
const WINDOW: Duration = Duration::from_secs(3);

/// The present state of a cluster.
#[derive(Clone)]
pub(in crate::cluster) struct Board(Arc<Mutex<Sheet>>);

impl fmt::Debug for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Board(..)")
    }
}

struct Sheet {
    places: &'static str,
    since: Instant,
    job: Option<Job>,
    parties: [Line; 3],
}

struct Job {
    name: String,
    run: u64,
    since: Instant,
}

/// What is known of a party.
#[derive(Default)]
struct Line {
    pid: Option<u32>,
    device: Option<String>,
    step: String,
    waits_for: Option<(usize, f64)>,
    /// How far it is in the present run: what it said first and last.
    progress: Option<(Said, Said)>,
    doing: String,
    /// What it had counted when the run began.
    base: Count,
    /// What it has counted, at moments of the last seconds.
    counts: VecDeque<(Instant, Count)>,
    resident_bytes: u64,
    heard: Option<Instant>,
}

/// A fraction, and when it was told.
type Said = (Instant, f64);

#[derive(Clone, Copy, Default)]
struct Count {
    rounds: u64,
    bytes: u64,
    waited: [Duration; 3],
}

impl Count {
    fn of(stats: &Stats, waited: [Duration; 3]) -> Self {
        Count { rounds: stats.rounds, bytes: stats.payload_bytes(), waited }
    }
}

impl Board {
    /// The board of a cluster whose parties are there.
    pub(in crate::cluster) fn new(places: &Places) -> Self {
        let places = match places {
            Places::Memory => "threads of its process",
            Places::Local => "processes of this machine",
            Places::Ssh(_) => "three hosts over SSH",
            Places::Owners(_) => "three owners",
            Places::Rendezvous(_) => "three tasks of a Slurm job",
        };
        Board(Arc::new(Mutex::new(Sheet { places, since: Instant::now(), job: None, parties: Default::default() })))
    }

    /// The parties are linked up, in these processes.
    pub(in crate::cluster) fn started(&self, pids: &[u32]) {
        let sheet = &mut *self.0.lock();
        sheet.parties.iter_mut().zip(pids).for_each(|(line, pid)| line.pid = Some(*pid));
    }

    /// There are no parties any more.
    pub(in crate::cluster) fn forget(&self) {
        let sheet = &mut *self.0.lock();
        (sheet.job, sheet.parties) = (None, Default::default());
    }

    /// A run begins at all parties.
    pub(in crate::cluster) fn begin(&self, run: u64, job: &str) {
        let sheet = &mut *self.0.lock();
        sheet.job = Some(Job { name: job.to_owned(), run, since: Instant::now() });
        for line in &mut sheet.parties {
            (line.base, line.progress) = (line.last(), None);
            line.doing.clear();
        }
    }

    /// No run goes on any more.
    pub(in crate::cluster) fn over(&self) {
        self.0.lock().job = None;
    }

    /// A party has told something.
    pub(in crate::cluster) fn heard(&self, from: PartyId, event: &Event) {
        let line = &mut self.0.lock().parties[from.index()];
        let now = Instant::now();
        line.heard = Some(now);
        match event {
            Event::Ready { device } => line.device = Some(harmless(&device.to_string()).into_owned()),
            Event::Alive { state: Some(vital) } => line.alive(now, vital),
            Event::Progress { fraction, text, step, .. } => {
                let first = line.progress.map_or((now, *fraction), |(first, _)| first);
                line.progress = Some((first, (now, *fraction)));
                step.clone_into(&mut line.step);
                text.clone_into(&mut line.doing);
            }
            Event::Used { usage, .. } => line.used(now, &usage.stats),
            _ => {}
        }
    }

    /// How the cluster is now.
    pub(in crate::cluster) fn look(&self) -> ClusterView {
        let sheet = self.0.lock();
        let now = Instant::now();
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
        ClusterView {
            program: harmless(&program.to_string_lossy()).into_owned(),
            pid: std::process::id(),
            places: sheet.places.to_owned(),
            seconds: now.duration_since(sheet.since).as_secs_f64(),
            job: sheet.job.as_ref().map(|job| job.look(now, &sheet.parties)),
            parties: sheet.parties.each_ref().map(|line| line.look(now)),
        }
    }
}

impl Job {
    fn look(&self, now: Instant, parties: &[Line; 3]) -> JobView {
        let told = parties.iter().filter_map(|line| Some((line.progress?, &line.doing)));
        let behind = told.min_by(|((_, (_, a)), _), ((_, (_, b)), _)| a.total_cmp(b));
        JobView {
            name: self.name.clone(),
            run: self.run,
            seconds: now.duration_since(self.since).as_secs_f64(),
            fraction: behind.map(|((_, (_, fraction)), _)| fraction),
            doing: behind.map_or_else(String::new, |(_, doing)| doing.clone()),
            seconds_left: behind.and_then(|((first, last), _)| left(now, first, last)),
        }
    }
}

/// How long what has gone so far between two moments will go on, in seconds.
fn left(now: Instant, first: Said, last: Said) -> Option<f64> {
    let (done, took) = (last.1 - first.1, last.0.duration_since(first.0).as_secs_f64());
    let whole = (done > 0.0).then(|| took / done * (1.0 - last.1))?;
    Some((whole - now.duration_since(last.0).as_secs_f64()).max(0.0))
}

impl Line {
    fn alive(&mut self, now: Instant, vital: &Vital) {
        self.step = harmless(&vital.wait.step).into_owned();
        self.waits_for = vital.wait.wait().map(|wait| (wait.from.index(), wait.waited.as_secs_f64()));
        self.resident_bytes = vital.resident_bytes;
        self.count(now, Count::of(&vital.stats, vital.waited));
    }

    /// The run has ended, and taken that.
    fn used(&mut self, now: Instant, stats: &Stats) {
        let taken = Count::of(stats, [Duration::ZERO; 3]);
        let (rounds, bytes) = (self.base.rounds + taken.rounds, self.base.bytes + taken.bytes);
        self.count(now, Count { rounds, bytes, ..self.last() });
        (self.step, self.waits_for) = (String::new(), None);
    }

    fn count(&mut self, now: Instant, count: Count) {
        self.counts.push_back((now, count));
        // Two remain, whatever their age.
        while self.counts.len() > 2 && self.counts.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.counts.pop_front();
        }
    }

    fn last(&self) -> Count {
        self.counts.back().map_or_else(Count::default, |(_, count)| *count)
    }

    fn look(&self, now: Instant) -> PartyView {
        let (base, last) = (self.base, self.last());
        let first = self.counts.front().copied();
        let rate = |of: fn(&Count) -> u64| {
            let Some((at, first)) = first else { return 0.0 };
            // A party that is not heard of any more does nothing, as far as is known.
            let seconds = now.duration_since(at).as_secs_f64().max(1e-3);
            of(&last).saturating_sub(of(&first)) as f64 / seconds
        };
        let waited = |party: usize| last.waited[party].saturating_sub(base.waited[party]).as_secs_f64();
        PartyView {
            pid: self.pid,
            device: self.device.clone(),
            step: self.step.clone(),
            fraction: self.progress.map(|(_, (_, fraction))| fraction),
            waits_for: self.waits_for,
            rounds: last.rounds.saturating_sub(base.rounds),
            rounds_per_second: rate(|count| count.rounds),
            sent_bytes: last.bytes.saturating_sub(base.bytes),
            sent_bytes_per_second: rate(|count| count.bytes),
            waited_seconds: [waited(0), waited(1), waited(2)],
            resident_bytes: self.resident_bytes,
            heard_seconds: self.heard.map(|heard| now.duration_since(heard).as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Activity, LinkStats, WaitState};

    fn stats(rounds: u64, bytes: u64) -> Stats {
        let link = LinkStats { messages: rounds, payload_bytes: bytes, frame_bytes: bytes };
        Stats { to: [LinkStats::default(), link, LinkStats::default()], rounds, ..Stats::default() }
    }

    fn alive(rounds: u64, bytes: u64) -> Event {
        let wait = WaitState {
            party: PartyId::P0,
            step: "conv1\x1b[2J".to_owned(),
            sent: [0; 3],
            consumed: [0; 3],
            activity: Activity::Running,
        };
        let waited = [0, rounds, 0].map(Duration::from_millis);
        let vital = Vital { wait, stats: stats(rounds, bytes), waited, resident_bytes: 1 << 20 };
        Event::Alive { state: Some(Box::new(vital)) }
    }

    #[test]
    fn counts_are_those_of_the_run_and_nothing_stays_of_parties_that_are_gone() {
        let board = Board::new(&Places::Local);
        board.started(&[7, 8, 9]);
        board.heard(PartyId::P0, &alive(10, 1000));
        board.begin(1, "train");
        board.heard(PartyId::P0, &alive(30, 5000));
        let view = board.look();
        let party = &view.parties[0];
        assert_eq!((party.pid, party.rounds, party.sent_bytes), (Some(7), 20, 4000));
        assert_eq!((party.step.as_str(), party.resident_bytes), ("conv1␛[2J", 1 << 20));
        assert!((party.waited_seconds[1] - 0.02).abs() < 1e-9 && party.rounds_per_second > 0.0, "{party:?}");
        let job = view.job.unwrap();
        assert_eq!((job.name.as_str(), job.fraction, job.seconds_left), ("train", None, None));

        // The end of a run is exact, and the next one begins there.
        board.0.lock().parties[0].used(Instant::now(), &stats(25, 6000));
        board.over();
        let view = board.look();
        assert_eq!((&view.job, view.parties[0].rounds, view.parties[0].sent_bytes), (&None, 25, 6000));
        board.begin(2, "infer");
        assert_eq!(board.look().parties[0].rounds, 0);
        board.heard(PartyId::P0, &alive(36, 7000));
        assert_eq!(board.look().parties[0].rounds, 1);

        board.forget();
        assert_eq!(board.look().parties, [(); 3].map(|()| PartyView::default()));
    }

    #[test]
    fn what_is_left_is_what_the_party_behind_the_others_needs() {
        let board = Board::new(&Places::Memory);
        board.begin(1, "train");
        let told = |party: PartyId, fraction: f64| {
            let (text, step) = (format!("iteration of {party}"), "fc".to_owned());
            board.heard(party, &Event::Progress { run: 1, fraction, text, step });
        };
        PartyId::ALL.into_iter().for_each(|party| told(party, 0.0));
        assert_eq!(board.look().job.unwrap().seconds_left, None, "nothing is known yet");
        std::thread::sleep(Duration::from_millis(20));
        told(PartyId::P0, 0.5);
        told(PartyId::P1, 0.2);
        told(PartyId::P2, 0.5);
        let job = board.look().job.unwrap();
        assert_eq!((job.fraction, job.doing.as_str()), (Some(0.2), "iteration of 1"));
        let left = job.seconds_left.unwrap();
        assert!((0.04..10.0).contains(&left), "{left}");
        assert_eq!(board.look().parties[2].fraction, Some(0.5));
        let now = Instant::now();
        assert_eq!(
            super::left(now + Duration::from_secs(4), (now, 0.5), (now + Duration::from_secs(2), 0.75)),
            Some(0.0)
        );
    }
}
