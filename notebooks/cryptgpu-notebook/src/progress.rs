//! Progress of long work, as plain lines.
//!
//! A notebook gets a program's output line by line and redraws nothing, so a progress bar would print hundreds of
//! lines. [`Progress`] prints one every few seconds, and none at all for work that is done sooner.

use std::time::{Duration, Instant};

/// Counts steps and says now and then how far the work is and how long the rest will take.
///
/// ```
/// use cryptgpu_notebook::prelude::*;
///
/// let mut progress = Progress::new("images", 100);
/// for _ in 0..100 {
///     progress.step(); // prints `images: 40 of 100, 5 s, about 8 s to go` every few seconds
/// }
/// let took = progress.finish(); // prints `images: 100 in 13 s`
/// # let _ = took;
/// ```
#[derive(Debug)]
pub struct Progress {
    what: String,
    total: usize,
    done: usize,
    began: Instant,
    said: Instant,
    every: Duration,
}

impl Progress {
    /// Work of `total` steps, called `what`.
    pub fn new(what: impl Into<String>, total: usize) -> Self {
        let now = Instant::now();
        Self { what: what.into(), total, done: 0, began: now, said: now, every: Duration::from_secs(3) }
    }

    /// Sets the least time between two lines (3 s otherwise).
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// One more step is done.
    pub fn step(&mut self) {
        if let Some(line) = self.line_at(Instant::now()) {
            println!("{line}");
        }
    }

    /// The work is over: prints how long it took, and returns it.
    pub fn finish(self) -> Duration {
        let took = self.began.elapsed();
        println!("{}: {} in {:.1} s", self.what, self.done, took.as_secs_f64());
        took
    }

    /// Counts a step done at `now`; the line to print, if one is due.
    fn line_at(&mut self, now: Instant) -> Option<String> {
        self.done += 1;
        if now.duration_since(self.said) < self.every {
            return None;
        }
        self.said = now;
        let took = now.duration_since(self.began).as_secs_f64();
        let rest = took / self.done as f64 * self.total.saturating_sub(self.done) as f64;
        Some(format!("{}: {} of {}, {took:.0} s, about {rest:.0} s to go", self.what, self.done, self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_throttled_and_say_what_is_left() {
        let mut progress = Progress::new("images", 10).every(Duration::from_secs(2));
        let began = progress.began;
        let lines: Vec<_> = (1..=10).filter_map(|s| progress.line_at(began + Duration::from_secs(s))).collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[1], "images: 4 of 10, 4 s, about 6 s to go");
        assert_eq!(lines[4], "images: 10 of 10, 10 s, about 0 s to go");
    }
}
