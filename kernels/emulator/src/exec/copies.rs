//! The copies that the threads of a warp have under way.

use crate::lanes::LANES;

/// A copy under way.
#[derive(Debug, Clone, Copy)]
pub struct Copy {
    pub lane: usize,
    /// How many groups its thread had committed before.
    pub group: u32,
    /// Offset in shared memory.
    pub to: usize,
    /// Generic address.
    pub from: u64,
    pub bytes: usize,
    /// Bytes read; the rest is zero.
    pub size: usize,
}

/// The copies of a warp's threads that are under way.
#[derive(Debug, Default)]
pub struct Copies {
    pending: Vec<Copy>,
    /// Groups that each thread has committed.
    committed: [u32; LANES],
}

impl Copies {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.committed = [0; LANES];
    }

    /// The copies of the lanes of `mask` since the last commit become a group.
    pub fn commit(&mut self, mask: u32) {
        for lane in (0..LANES).filter(|lane| mask >> lane & 1 == 1) {
            self.committed[lane] += 1;
        }
    }

    /// The group of the copies that a thread starts now.
    pub fn group(&self, lane: usize) -> u32 {
        self.committed[lane]
    }

    /// Puts a copy under way.
    pub fn start(&mut self, copy: Copy) {
        self.pending.push(copy);
    }

    /// Takes the copies of the lanes of `mask`, but those of the last `groups` groups.
    pub fn take_due(&mut self, groups: Option<u32>, mask: u32) -> Vec<Copy> {
        let committed = self.committed;
        let due = |copy: &Copy| {
            mask >> copy.lane & 1 == 1 && groups.is_none_or(|groups| copy.group + groups < committed[copy.lane])
        };
        let (now, later) = std::mem::take(&mut self.pending).into_iter().partition(due);
        self.pending = later;
        now
    }
}
