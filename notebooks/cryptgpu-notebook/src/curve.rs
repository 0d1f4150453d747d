//! A loss that is drawn while it goes down, in plain lines.
//!
//! A notebook gets a program's output line by line, and figures only when a cell has ended. So the curve of a run that goes
//! on is text: one line every few seconds, each with all that is known so far. The figure comes with the cell's end.

use std::time::{Duration, Instant};

use cryptgpu_core::show::number_text;

/// Characters that a whole run's curve is wide.
const COLUMNS: usize = 32;
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A curve over the iterations of a run, printed now and then as a line of text.
///
/// ```
/// use cryptgpu_notebook::prelude::*;
///
/// let mut curve = LiveCurve::new("loss");
/// for iteration in 0..100 {
///     curve.push(100, Some(2.3 / (1.0 + iteration as f64))); // every few seconds `loss █▄▂▁▁····`, a number, the time left
/// }
/// curve.finish(); // the whole curve
/// ```
#[derive(Debug)]
pub struct LiveCurve {
    what: String,
    /// Of each iteration so far its value, where there is one.
    values: Vec<Option<f64>>,
    began: Instant,
    said: Instant,
    every: Duration,
}

impl LiveCurve {
    /// A curve of `what`.
    pub fn new(what: impl Into<String>) -> Self {
        let now = Instant::now();
        Self { what: what.into(), values: vec![], began: now, said: now, every: Duration::from_secs(3) }
    }

    /// Sets the least time between two lines (3 s otherwise).
    #[must_use]
    pub fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// One more iteration, of `total` in the whole run, has ended.
    pub fn push(&mut self, total: usize, value: Option<f64>) {
        if let Some(line) = self.line_at(total, value, Instant::now()) {
            println!("{line}");
        }
    }

    /// The run has ended: prints the whole curve and how long it took, and returns that.
    pub fn finish(self) -> Duration {
        let took = self.began.elapsed();
        println!("{}, {} iterations in {:.1} s", self.drawn(self.values.len()), self.values.len(), took.as_secs_f64());
        took
    }

    /// Counts an iteration that ended at `now`; the line to print, if one is due.
    fn line_at(&mut self, total: usize, value: Option<f64>, now: Instant) -> Option<String> {
        self.values.push(value);
        if now.duration_since(self.said) < self.every {
            return None;
        }
        self.said = now;
        let (done, took) = (self.values.len(), now.duration_since(self.began).as_secs_f64());
        let rest = took / done as f64 * total.saturating_sub(done) as f64;
        let curve = self.drawn(total);
        Some(format!("{curve}, iteration {done} of {total}, {took:.0} s, about {rest:.0} s to go"))
    }

    /// `loss █▆▄▂···· 0.412`: the means over equal parts of the run, as parts of the highest, and the last of them.
    fn drawn(&self, total: usize) -> String {
        let total = total.max(self.values.len()).max(1);
        let columns = COLUMNS.min(total);
        let mean = |column: usize| {
            let range = column * total / columns..((column + 1) * total / columns).min(self.values.len());
            let values: Vec<f64> = self.values.get(range)?.iter().flatten().copied().collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let means: Vec<Option<f64>> = (0..columns).map(mean).collect();
        let highest = means.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
        let mark = |mean: &Option<f64>| {
            let height = |mean: f64| (8.0 * mean / highest).ceil().clamp(1.0, 8.0) as usize;
            mean.map_or('·', |mean| HEIGHTS[height(mean) - 1])
        };
        let line: String = means.iter().map(mark).collect();
        let last = means.iter().flatten().last().map_or("–".to_owned(), |mean| number_text(*mean, 3));
        format!("{} {line} {last}", self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_whole_curve_so_far_and_what_is_left() {
        let mut curve = LiveCurve::new("loss").every(Duration::from_secs(4));
        let began = curve.began;
        let lines: Vec<_> =
            (1..=8).filter_map(|s| curve.line_at(8, Some(9.0 - s as f64), began + Duration::from_secs(s))).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], "loss █▇▆▅···· 5, iteration 4 of 8, 4 s, about 4 s to go");
        assert_eq!(lines[1], "loss █▇▆▅▄▃▂▁ 1, iteration 8 of 8, 8 s, about 0 s to go");
    }

    #[test]
    fn many_iterations_become_means_and_values_may_be_missing() {
        let mut curve = LiveCurve::new("loss");
        for iteration in 0..320 {
            let value = (iteration % 10 == 0).then_some(if iteration < 160 { 2.0 } else { 1.0 });
            let _ = curve.line_at(640, value, curve.began);
        }
        let expected = format!("loss {}{}{} 1", "█".repeat(8), "▄".repeat(8), "·".repeat(16));
        assert_eq!(curve.drawn(640), expected);
        assert_eq!(LiveCurve::new("loss").drawn(3), "loss ··· –");
    }
}
