//! Vector clocks over streams: an operation happens before another if its stream's order, events and synchronisations
//! of the host say so, however the emulator happens to execute them.

/// An operation: its stream's slot and its place in that stream, from 1. The default stands for "before everything".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The stream's slot.
    pub stream: usize,
    /// Place in the stream; 0 is before everything.
    pub place: u64,
}

/// For every stream, the last operation that is ordered before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clock(Vec<u64>);

impl Clock {
    /// Whether `stamp` is ordered before this clock's owner.
    pub fn covers(&self, stamp: Stamp) -> bool {
        self.last(stamp.stream) >= stamp.place
    }

    /// The last operation of a stream that is ordered before.
    pub fn last(&self, stream: usize) -> u64 {
        self.0.get(stream).copied().unwrap_or(0)
    }

    /// Everything up to `stamp` of its stream is ordered before.
    pub fn advance(&mut self, stamp: Stamp) {
        if self.0.len() <= stamp.stream {
            self.0.resize(stamp.stream + 1, 0);
        }
        self.0[stamp.stream] = self.0[stamp.stream].max(stamp.place);
    }

    /// Everything ordered before `other`'s owner is.
    pub fn join(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_order_streams() {
        let (mut a, mut b) = (Clock::default(), Clock::default());
        let write = Stamp { stream: 0, place: 3 };
        a.advance(write);
        b.advance(Stamp { stream: 1, place: 9 });
        assert!(!b.covers(write));
        b.join(&a);
        assert!(b.covers(write) && !b.covers(Stamp { stream: 0, place: 4 }));
        assert!(!a.covers(Stamp { stream: 1, place: 1 }) && a.covers(Stamp::default()));
    }
}
