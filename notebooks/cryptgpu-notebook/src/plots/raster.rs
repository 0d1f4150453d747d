//! A party's time as columns of pixels: what it was mostly in, and which part of the column it waited. However many
//! steps and messages there are, a figure has no more to draw than it has columns.

use cryptgpu_core::net::{Direction, StepCall, Timeline};

/// The time axis of a figure: nanoseconds to pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub begin_nanos: u64,
    pub nanos: f64,
    pub left: i32,
    pub width: i32,
}

impl Axis {
    /// Where that moment is, as a column from the left end of the axis.
    pub fn column(&self, nanos: u64) -> f64 {
        let since = nanos.saturating_sub(self.begin_nanos) as f64;
        (since / self.nanos * f64::from(self.width)).clamp(0.0, f64::from(self.width))
    }

    /// Where that moment is, as a pixel of the figure.
    pub fn x(&self, nanos: u64) -> i32 {
        self.left + self.column(nanos).round() as i32
    }

    /// Adds the time from `begin` to `end` to the columns that it covers, in parts of a column.
    fn cover(&self, begin: u64, end: u64, mut add: impl FnMut(usize, f64)) {
        let (from, to) = (self.column(begin), self.column(end));
        let mut at = from;
        while at < to {
            let next = (at.floor() + 1.0).min(to);
            add(at as usize, next - at);
            at = next;
        }
    }
}

/// Neighbouring columns that look the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub from: usize,
    pub to: usize,
    /// What the party was mostly in: an index of the caller's; nothing where the party did nothing.
    pub key: Option<usize>,
    /// Which part of the time it waited, 0 to 1, rounded.
    pub waiting: f64,
}

/// A party's activity on the axis: `keys` are intervals that do not overlap, each with its key.
/// The part of the time that it waited is rounded to multiples of 1 / `shades`.
pub(super) fn activity(axis: &Axis, timeline: &Timeline, keys: &[(u64, u64, usize)], shades: u32) -> Vec<Run> {
    let shades = f64::from(shades);
    let width = axis.width as usize;
    let mut shares: Vec<Vec<(usize, f64)>> = vec![vec![]; width];
    for (begin, end, key) in keys {
        axis.cover(*begin, *end, |column, part| {
            let Some(shares) = shares.get_mut(column) else { return };
            match shares.iter_mut().find(|(known, _)| known == key) {
                Some((_, sum)) => *sum += part,
                None => shares.push((*key, part)),
            }
        });
    }
    let mut waits = vec![0.0; width];
    for transfer in timeline.transfers.iter().filter(|transfer| transfer.direction == Direction::Received) {
        axis.cover(transfer.at_nanos.saturating_sub(transfer.waited_nanos), transfer.at_nanos, |column, part| {
            if let Some(sum) = waits.get_mut(column) {
                *sum += part;
            }
        });
    }
    let columns = shares.iter().zip(&waits).map(|(shares, wait)| {
        let there: f64 = shares.iter().map(|(_, part)| part).sum();
        let most = shares.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(key, _)| *key);
        (most, ((wait / there.max(1e-9)).min(1.0) * shades).round() / shades)
    });
    let mut runs: Vec<Run> = vec![];
    for (column, (key, waiting)) in columns.enumerate() {
        match runs.last_mut() {
            Some(run) if run.key == key && run.waiting == waiting => run.to = column + 1,
            _ => runs.push(Run { from: column, to: column + 1, key, waiting }),
        }
    }
    runs
}

/// How many steps are around that step.
pub(super) fn depth(timeline: &Timeline, step: u32) -> usize {
    timeline.steps.get(step as usize).map_or(0, |sums| sums.path.matches('/').count())
}

/// The time of a party cut into pieces that belong to one step each: the innermost of at most `depth` steps around it,
/// or no step.
pub(super) fn pieces(timeline: &Timeline, max_depth: usize) -> Vec<(u64, u64, Option<u32>)> {
    let mut pieces = vec![];
    let mut at = timeline.begin_nanos;
    let mut open: Vec<&StepCall> = vec![];
    let mut until = |at: &mut u64, end: u64, step: Option<u32>| {
        if end > *at {
            pieces.push((*at, end, step));
            *at = end;
        }
    };
    for call in timeline.calls.iter().filter(|call| depth(timeline, call.step) <= max_depth) {
        while let Some(ended) = open.pop_if(|last| last.end_nanos <= call.begin_nanos) {
            until(&mut at, ended.end_nanos, Some(ended.step));
        }
        until(&mut at, call.begin_nanos, open.last().map(|call| call.step));
        open.push(call);
    }
    while let Some(ended) = open.pop() {
        until(&mut at, ended.end_nanos, Some(ended.step));
    }
    until(&mut at, timeline.end_nanos, None);
    pieces
}
