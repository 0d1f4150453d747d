//! How connections are watched: how often each end gives a sign of life, after how much silence a connection counts as
//! broken, and how long it may then take to be made anew.

use super::super::Options;
use std::io;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// So many heart-beats without anything from the other end are a silence.
const SILENT_BEATS: u32 = 4;

/// The times of a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pulse {
    /// An end that has nothing to send says so this often.
    pub(super) beat: Duration,
    /// How long a broken connection may take to be made anew.
    pub(super) resume: Duration,
}

impl Pulse {
    /// A silence is a third of the deadline, but at least 2 s and at most 10 s. Where the time to resume is at most half of a
    /// deadline of more than 4 s, both together are less than it: a link that cannot be resumed is named before a receive
    /// gives up.
    pub(super) fn of(options: &Options) -> Self {
        let silence = (options.deadline / 3).clamp(Duration::from_secs(2), Duration::from_secs(10));
        let resume = match options.resume_within < options.deadline {
            true => options.resume_within,
            false => options.deadline / 2,
        };
        Pulse { beat: silence / SILENT_BEATS, resume }
    }

    /// The heart-beats from now on.
    pub(super) fn beats(&self) -> Interval {
        let mut beats = interval_at(Instant::now() + self.beat, self.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats
    }
}

/// Counts heart-beats in which nothing was heard.
#[derive(Debug, Default)]
pub(super) struct Quiet(u32);

impl Quiet {
    /// A heart-beat later: whether the other end has been silent for too long.
    pub(super) fn beat(&mut self, heard: bool) -> bool {
        self.0 = if heard { 0 } else { self.0 + 1 };
        self.0 >= SILENT_BEATS
    }
}

/// The error of a connection whose other end is silent.
pub(super) fn silent(pulse: &Pulse) -> io::Error {
    io::Error::new(
        io::ErrorKind::TimedOut,
        format!("nothing came for {:?}, not even a heart-beat", pulse.beat * SILENT_BEATS),
    )
}
