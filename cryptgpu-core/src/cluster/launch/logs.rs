//! Log files, one for each party, which the caller writes: when jobs began and ended and what they took, in which step the
//! party was, what it printed, and what became of its links; each line with the time, the party, the job and the step. All of
//! it is what parties tell the caller anyway: nothing is asked of them for it, and no value is written.

use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::{Event, Usage};
use crate::cluster::wire::text::harmless;
use crate::net::{Activity, NO_STEP, PartyId, Timeline, WaitState};
use crate::show::time_text;
use parking_lot::Mutex;
use std::fmt::{self, Display};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Steps and progress of a party are written at most this often.
const STEP_EVERY: Duration = Duration::from_secs(1);

/// A party that waits for another for longer than this has a line for it, again and again.
const LONG_WAIT: Duration = Duration::from_secs(10);

/// The log files of three parties, or none.
#[derive(Clone, Default)]
pub(in crate::cluster) struct Logs(Option<Arc<[Mutex<Log>; 3]>>);

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Logs(..)" } else { "Logs(none)" })
    }
}

/// One party's.
struct Log {
    party: PartyId,
    path: PathBuf,
    /// None once it could not be written.
    file: Option<File>,
    /// The last job that has begun, and whether it goes on.
    job: Option<(String, bool)>,
    step: String,
    /// When a step was written last.
    stepped: Option<Instant>,
}

impl Logs {
    /// Opens `party0.log`, `party1.log` and `party2.log` in a folder, which is made where it is not there. What they hold
    /// stays, and new lines follow.
    pub(in crate::cluster) fn open(folder: &Path) -> Result<Self, ClusterError> {
        let fail = |error: std::io::Error| {
            ClusterError::argument(&format!("write logs to the folder {}", folder.display()), &error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail)?;
        let open = |party: PartyId| -> Result<Mutex<Log>, ClusterError> {
            let path = folder.join(format!("party{party}.log"));
            let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(fail)?;
            Ok(Mutex::new(Log { party, path, file: Some(file), job: None, step: String::new(), stepped: None }))
        };
        let [p0, p1, p2] = PartyId::ALL;
        Ok(Logs(Some(Arc::new([open(p0)?, open(p1)?, open(p2)?]))))
    }

    fn at(&self, party: PartyId, write: impl FnOnce(&mut Log)) {
        if let Some(logs) = &self.0 {
            write(&mut logs[party.index()].lock());
        }
    }

    /// A run of `job` begins at all parties.
    pub(in crate::cluster) fn begin(&self, run: u64, job: &str) {
        for party in PartyId::ALL {
            self.at(party, |log| {
                (log.job, log.stepped) = (Some((job.to_owned(), true)), None);
                log.step.clear();
                log.line(&format_args!("begin: run {run}"));
            });
        }
    }

    /// The run ended with an error, as the caller gets it.
    pub(in crate::cluster) fn ended(&self, error: &ClusterError) {
        for party in PartyId::ALL {
            self.at(party, |log| {
                log.line(&format_args!("the run ended with an error: {error}"));
                log.job = None;
            });
        }
    }

    /// What becomes of a run that goes on with new parties.
    pub(in crate::cluster) fn note(&self, text: &str) {
        PartyId::ALL.into_iter().for_each(|party| self.at(party, |log| log.line(&text)));
    }

    /// A party has told something.
    pub(in crate::cluster) fn heard(&self, from: PartyId, event: &Event) {
        self.at(from, |log| log.heard(event));
    }

    /// A party has printed a line.
    pub(in crate::cluster) fn printed(&self, by: PartyId, line: &str) {
        self.at(by, |log| log.line(&format_args!("printed: {line}")));
    }

    /// A party's control link is down.
    pub(in crate::cluster) fn gone(&self, from: PartyId, detail: &str) {
        self.at(from, |log| log.line(&format_args!("its control link ended: {detail}")));
    }
}

impl Log {
    fn heard(&mut self, event: &Event) {
        match event {
            Event::Listening { address } => self.line(&format_args!("listens for the other parties at {address}")),
            Event::Ready { device } => {
                self.job = None;
                self.step.clear();
                self.line(&format_args!("linked up with the others, computes on {}", device.device));
            }
            Event::Unable { detail } => self.line(&format_args!("cannot go on: {detail}")),
            Event::Alive { state: Some(state) } if self.goes_on() => self.alive(&state.wait),
            Event::Progress { fraction, text, step, .. } if self.goes_on() => {
                if *fraction >= 1.0 || self.is_due(STEP_EVERY) {
                    self.enter(step);
                    self.line(&format_args!("{:.1} % done: {text}", 100.0 * fraction));
                }
            }
            Event::Used { usage, trace, .. } => self.used(usage, &trace.timeline),
            Event::Failed { failure, .. } => {
                self.enter(&failure.step);
                self.line(&format_args!("failed ({:?}): {}", failure.kind, failure.message));
                self.over();
            }
            Event::Alive { .. } | Event::Progress { .. } | Event::Told { .. } | Event::Done { .. } => {}
        }
    }

    fn alive(&mut self, state: &WaitState) {
        let wait = state.wait().filter(|wait| wait.waited >= LONG_WAIT);
        match (state.activity, wait) {
            (_, Some(wait)) if self.is_due(LONG_WAIT) => {
                self.enter(&state.step);
                let seconds = wait.waited.as_secs_f64();
                self.line(&format_args!("waits for party {} since {seconds:.0} s", wait.from));
            }
            (Activity::Running | Activity::Waiting(_), None) if state.step != self.step && self.is_due(STEP_EVERY) => {
                self.enter(&state.step);
                self.line(&"in this step");
            }
            _ => {}
        }
    }

    /// What a job took, in all and by outermost step.
    fn used(&mut self, usage: &Usage, timeline: &Timeline) {
        let mut sums: Vec<(&str, u64, u64, u64)> = vec![];
        for step in &timeline.steps {
            let name = step.path.split('/').next().unwrap_or(NO_STEP);
            let bytes: u64 = step.sent.iter().map(|link| link.payload_bytes).sum();
            match sums.iter_mut().rev().find(|sum| sum.0 == name) {
                Some(sum) => *sum = (name, sum.1 + step.wall_nanos, sum.2 + bytes, sum.3 + step.rounds),
                None => sums.push((name, step.wall_nanos, bytes, step.rounds)),
            }
        }
        for (name, nanos, bytes, rounds) in sums.into_iter().filter(|sum| sum.0 != NO_STEP) {
            self.enter(name);
            let seconds = nanos as f64 / 1e9;
            self.line(&format_args!("took {seconds:.2} s, {bytes} bytes sent, {rounds} rounds"));
        }
        self.step.clear();
        let (seconds, waited) = (usage.duration.as_secs_f64(), usage.stats.wait_nanos as f64 / 1e9);
        let (bytes, rounds, anew) = (usage.stats.payload_bytes(), usage.stats.rounds, usage.stats.reconnections);
        self.line(&format_args!(
            "end: {seconds:.2} s ({waited:.2} s of it waiting), {bytes} bytes sent, {rounds} rounds, {anew} connections made anew"
        ));
        self.over();
    }

    fn goes_on(&self) -> bool {
        self.job.as_ref().is_some_and(|(_, goes_on)| *goes_on)
    }

    /// Lines that come late are still the job's.
    fn over(&mut self) {
        if let Some((_, goes_on)) = &mut self.job {
            *goes_on = false;
        }
    }

    fn is_due(&self, every: Duration) -> bool {
        self.stepped.is_none_or(|stepped| stepped.elapsed() >= every)
    }

    fn enter(&mut self, step: &str) {
        self.stepped = Some(Instant::now());
        step.clone_into(&mut self.step);
    }

    /// Writes a line. A log that cannot be written ends no run: it is said once.
    fn line(&mut self, text: &dyn Display) {
        let Some(file) = &mut self.file else { return };
        let job = self.job.as_ref().map_or("", |(job, _)| job);
        let text = text.to_string();
        let text = harmless(text.trim_end()).replace('\n', "\\n");
        let line = format!("{} P{} job={job:?} step={:?} {text}\n", now(), self.party, self.step);
        if let Err(error) = file.write_all(line.as_bytes()) {
            let path = self.path.display();
            eprintln!("cannot write the log {path}: {error}. Nothing more is written to it; the run goes on");
            self.file = None;
        }
    }
}

/// Date and time of day in UTC, to a hundredth of a second.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let whole = time_text(since.as_secs());
    format!("{}.{:02}Z", whole.trim_end_matches('Z'), since.subsec_millis() / 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::wire::error::{Failure, FailureKind};

    #[test]
    fn a_line_has_time_party_job_and_step_and_stays_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("new/logs");
        let logs = Logs::open(&place).unwrap();
        logs.begin(7, "infer");
        logs.printed(PartyId::P1, "\x1b[2Jone\ntwo");
        for step in ["conv1", "conv2", "conv3"] {
            let (text, step) = ("an image".to_owned(), step.to_owned());
            logs.heard(PartyId::P1, &Event::Progress { run: 7, fraction: 0.25, text, step });
        }
        let (kind, step, message) = (FailureKind::Job, "fc".to_owned(), "no".to_owned());
        let failure = Failure { kind, step, message, peer: None };
        logs.heard(PartyId::P1, &Event::Failed { run: 7, failure });
        logs.clone().ended(&ClusterError::Ended);
        // Another cluster goes on in the same files.
        Logs::open(&place).unwrap().gone(PartyId::P1, "killed");
        let text = std::fs::read_to_string(place.join("party1.log")).unwrap();
        let lines: Vec<(&str, &str)> = text.lines().map(|line| line.split_at(23)).collect();
        let expected = [
            " P1 job=\"infer\" step=\"\" begin: run 7".to_owned(),
            " P1 job=\"infer\" step=\"\" printed: ␛[2Jone\\ntwo".to_owned(),
            " P1 job=\"infer\" step=\"conv1\" 25.0 % done: an image".to_owned(),
            " P1 job=\"infer\" step=\"fc\" failed (Job): no".to_owned(),
            format!(" P1 job=\"infer\" step=\"fc\" the run ended with an error: {}", ClusterError::Ended),
            " P1 job=\"\" step=\"\" its control link ended: killed".to_owned(),
        ];
        assert_eq!(lines.iter().map(|line| line.1).collect::<Vec<_>>(), expected);
        assert!(lines.iter().all(|line| line.0.starts_with("20") && line.0.ends_with('Z')), "{text}");
        assert!(std::fs::read_to_string(place.join("party2.log")).unwrap().lines().count() == 2);
        let error = Logs::open(&place.join("party1.log")).unwrap_err().to_string();
        assert!(error.contains("write logs to the folder"), "{error}");
    }
}
