//! What the three parties tell of a training's iterations, put together: each iteration when all have ended it, with what it
//! took and what was revealed. Nothing is asked of the parties here.

use super::dataset::Accuracy;
use super::training::Iteration;
use crate::cluster::party::training::{ToldAccuracy, ToldIteration};
use crate::cluster::wire::error::ClusterError;
use crate::net::{PartyId, Stats};
use crate::nn::training::Loss;
use crate::ring::FixedPoint;
use std::collections::VecDeque;

/// What the three parties tell of their iterations, put together.
pub(super) struct Together {
    codec: FixedPoint,
    first: usize,
    all: usize,
    loss: Loss,
    /// Examples that the accuracy is measured on.
    tested: usize,
    waiting: [VecDeque<ToldIteration>; 3],
    done: Vec<Iteration>,
    /// How often the parties were started again.
    restarts: usize,
    /// Bytes that each party sent in iterations that ended before the parties were lost.
    before: [u64; 3],
    /// Iterations whose bytes are among these.
    counted: usize,
    pub(super) failed: Option<ClusterError>,
}

impl Together {
    /// Nothing yet, of a run from iteration `first` to `all`, in which the accuracy is measured on `tested` examples.
    pub(super) fn new(codec: FixedPoint, (first, all): (usize, usize), tested: usize, loss: Loss) -> Self {
        let (waiting, done) = (Default::default(), vec![]);
        Together {
            codec,
            first,
            all,
            loss,
            tested,
            waiting,
            done,
            restarts: 0,
            before: [0; 3],
            counted: 0,
            failed: None,
        }
    }

    /// Iterations that lie behind the run, with those before it.
    pub(super) fn reached(&self) -> usize {
        self.first + self.done.len()
    }

    /// The iteration that this run began with.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// New parties go on after `from` iterations: what came behind is done again.
    pub(super) fn go_back(&mut self, from: usize) {
        let sent = self.done.iter().skip(self.counted).map(|iteration| iteration.bytes);
        self.before = sent.fold(self.before, |sum, bytes| [0, 1, 2].map(|party| sum[party] + bytes[party]));
        self.done.truncate(from.saturating_sub(self.first));
        self.first = self.first.min(from);
        self.counted = self.done.len();
        self.waiting = Default::default();
        self.restarts += 1;
    }

    /// The next iteration that all three have told of.
    pub(super) fn hear(&mut self, party: PartyId, told: &[u8]) -> Option<Iteration> {
        match postcard::from_bytes(told) {
            Ok(told) => self.waiting[party.index()].push_back(told),
            Err(error) => {
                let detail = format!("cannot decode what it tells of an iteration: {error}");
                self.failed.get_or_insert(ClusterError::Protocol { party, detail });
            }
        }
        if self.waiting.iter().any(VecDeque::is_empty) {
            return None;
        }
        let [p0, p1, p2] = self.waiting.each_mut().map(VecDeque::pop_front);
        let iteration = self.together(&[p0?, p1?, p2?]);
        self.done.push(iteration.clone());
        Some(iteration)
    }

    fn together(&mut self, told: &[ToldIteration; 3]) -> Iteration {
        let [first, ..] = told;
        let number = first.number as usize;
        if let Some(at) = told.iter().position(|told| told.number as usize != self.first + self.done.len()) {
            let detail = format!("it tells of iteration {} after {} others", told[at].number, self.done.len());
            let party = PartyId::ALL[at];
            self.failed.get_or_insert(ClusterError::Protocol { party, detail });
        }
        let depth = |when: usize| told.iter().map(|told| told.stats[when].rounds).max().unwrap_or(0);
        let summands: Option<Vec<u64>> = told.iter().map(|told| told.loss).collect();
        let sum = summands.map(|summands| summands.into_iter().fold(0, u64::wrapping_add));
        let accuracies: Option<Vec<&ToldAccuracy>> = told.iter().map(|told| told.accuracy.as_ref()).collect();
        let accuracy = accuracies.map(|told| {
            let wrong = told.iter().fold(0, |sum: u64, told| sum.wrapping_add(told.wrong));
            let wrong = self.codec.ring().residue(wrong);
            let (bytes, seconds) = (told.iter().map(|told| told.bytes).sum(), told.iter().map(|told| told.seconds));
            Accuracy::of(wrong, self.tested, bytes, seconds.fold(0.0, f64::max))
        });
        let accuracy = accuracy.transpose().unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            None
        });
        let loss = sum.map(|sum| self.codec.decode(sum) / first.examples.max(1) as f64);
        if let Some(loss) = loss.filter(|loss| !self.loss.can_be(*loss)) {
            self.failed.get_or_insert(ClusterError::LeftRange { iteration: number, loss });
        }
        Iteration {
            number,
            of: self.all,
            epoch: first.epoch as usize,
            examples: first.examples as usize,
            seconds: told.iter().map(|told| told.seconds).fold(0.0, f64::max),
            bytes: told.each_ref().map(|told| sent(&told.stats)),
            rounds: depth(1).saturating_sub(depth(0)),
            loss,
            accuracy,
            restarts: self.restarts,
        }
    }

    /// The iterations of the run, and the bytes that each party sent before parties were lost.
    pub(super) fn finish(self) -> Result<(Vec<Iteration>, [u64; 3]), ClusterError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.reached() == self.all.max(self.first) => Ok((self.done, self.before)),
            None => {
                let detail =
                    format!("{} of {} iterations were told of", self.done.len(), self.all.saturating_sub(self.first));
                Err(ClusterError::Protocol { party: PartyId::P0, detail })
            }
        }
    }
}

fn sent([before, after]: &[Stats; 2]) -> u64 {
    after.since(before).payload_bytes()
}
