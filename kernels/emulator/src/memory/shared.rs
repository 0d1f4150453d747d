//! The shared memory of one block. One thread of the host executes a block, so that nothing here is atomic. A byte is
//! initialised if it was written in an interval of this block: intervals (between barriers) are numbered through all
//! blocks that a worker executes, so that nothing has to be cleared between them.

use super::Fault;
use crate::checks::Check;

/// `phase 25 | many 1 | atomic 1 | warp 5`.
type Mark = u32;

const WARP: u32 = 31;
const ATOMIC: u32 = 1 << 5;
const MANY: u32 = 1 << 6;
const PHASE_SHIFT: u32 = 7;
/// The warp that stands for "a copy that was not waited for".
const PENDING: u32 = u32::MAX;
/// When intervals run out, all marks are cleared.
const LAST_PHASE: u32 = (1 << 25) - 2;

/// What an access does.
pub use super::global::Touch;

/// Shared memory of a block with its shadows.
pub struct SharedMemory {
    data: Vec<u8>,
    written: Vec<Mark>,
    read: Vec<Mark>,
    phase: u32,
    first_phase: u32,
    /// Whether races are looked for.
    pub races: bool,
    /// Whether reads of uninitialised memory are looked for.
    pub uninitialised: bool,
}

impl SharedMemory {
    /// `bytes` bytes, not initialised.
    pub fn new(bytes: usize, races: bool, uninitialised: bool) -> Self {
        let marks = || vec![0; bytes];
        Self {
            data: vec![0; bytes + 16],
            written: marks(),
            read: marks(),
            phase: 1,
            first_phase: 1,
            races,
            uninitialised,
        }
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.written.len()
    }

    /// A new block starts: nothing is initialised.
    pub fn start_block(&mut self) {
        self.barrier();
        self.first_phase = self.phase;
    }

    /// All threads met.
    pub fn barrier(&mut self) {
        self.phase += 1;
        if self.phase >= LAST_PHASE {
            // Bytes written by this block become bytes of interval 1, which is this block's first.
            for mark in &mut self.written {
                *mark = u32::from(*mark != PENDING && *mark >> PHASE_SHIFT >= self.first_phase) << PHASE_SHIFT;
            }
            self.read.fill(0);
            (self.phase, self.first_phase) = (2, 1);
        }
    }

    /// Checks that a range lies within.
    #[inline(always)]
    pub fn bounds(&self, offset: u64, bytes: usize) -> Result<usize, Fault> {
        let end = (offset as usize).checked_add(bytes);
        if end.is_some_and(|end| end <= self.len()) {
            return Ok(offset as usize);
        }
        Err(Fault::new(
            Check::OutOfBounds,
            format!("{bytes} bytes at byte {} of shared memory of {} bytes", offset as i64, self.len()),
        ))
    }

    /// Checks an access by `warp` to a range that lies within and notes it.
    #[inline(always)]
    pub fn touch(&mut self, offset: usize, bytes: usize, touch: Touch, warp: u32) -> Result<(), Fault> {
        let now = self.phase << PHASE_SHIFT | if touch == Touch::Atomic { ATOMIC } else { 0 } | (warp & WARP);
        let (first, phase) = (self.first_phase, self.phase);
        let (check_written, races) = (self.uninitialised && touch != Touch::Write, self.races);
        let range = offset..offset + bytes;
        let (written, read) = (&mut self.written[range.clone()], &mut self.read[range.clone()]);
        // Without branches, so that the compiler vectorises the loops.
        let mut bad = false;
        if check_written {
            bad |= any(written, |mark| (mark == PENDING) | (mark >> PHASE_SHIFT < first));
        }
        if races {
            bad |= any(written, |mark| conflict(mark, now));
            if touch != Touch::Read {
                bad |= any(read, |mark| conflict(mark, now));
            }
        }
        if bad {
            return Err(self.explain(range, touch));
        }
        match touch {
            Touch::Read => change(read, |mark| merge(mark, now, phase)),
            Touch::Write => change(written, |_| now),
            Touch::Atomic => change(written, |mark| merge(mark, now, phase)),
        }
        Ok(())
    }

    #[inline(never)]
    fn explain(&self, range: std::ops::Range<usize>, touch: Touch) -> Fault {
        for at in range.clone() {
            let written = self.written[at];
            if touch != Touch::Write && written == PENDING {
                let message = format!("byte {at} of shared memory is read before its asynchronous copy was waited for");
                return Fault::new(Check::AsyncCopy, message);
            }
            if touch != Touch::Write && self.uninitialised && written >> PHASE_SHIFT < self.first_phase {
                let message = format!("byte {at} of shared memory is read and was never written by this block");
                return Fault::new(Check::Uninitialised, message);
            }
        }
        let verb = if touch == Touch::Read { "read" } else { "written" };
        let message = format!(
            "bytes {}..{} of shared memory are {verb} here and touched by another warp without a barrier between",
            range.start, range.end
        );
        Fault::new(Check::SharedRace, message)
    }

    /// Marks the destination of an asynchronous copy: it cannot be read before the copy was waited for.
    pub fn pending(&mut self, offset: usize, bytes: usize) {
        if self.uninitialised {
            self.written[offset..offset + bytes].fill(PENDING);
        }
    }

    /// Bytes of a range that lies within, to write.
    pub fn bytes_mut(&mut self, offset: usize, bytes: usize) -> &mut [u8] {
        &mut self.data[offset..offset + bytes]
    }

    /// Reads `bytes` bytes (1, 2, 4 or 8) of a range that lies within: zero-extended.
    #[inline(always)]
    pub fn load(&self, offset: usize, bytes: usize) -> u64 {
        let mut word = [0; 8];
        word[..8].copy_from_slice(&self.data[offset..offset + 8]);
        let value = u64::from_le_bytes(word);
        if bytes == 8 { value } else { value & ((1 << (8 * bytes)) - 1) }
    }

    /// Writes the low `bytes` bytes of `value`.
    #[inline(always)]
    pub fn store(&mut self, offset: usize, bytes: usize, value: u64) {
        self.data[offset..offset + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    }
}

/// Whether a mark passes `test`; four at a time, which is what most accesses touch.
#[inline(always)]
fn any(marks: &[Mark], test: impl Fn(Mark) -> bool) -> bool {
    let (fours, rest) = marks.as_chunks::<4>();
    let mut found = 0;
    for four in fours {
        four.iter().for_each(|&mark| found |= u32::from(test(mark)));
    }
    rest.iter().for_each(|&mark| found |= u32::from(test(mark)));
    found != 0
}

/// Changes marks, four at a time.
#[inline(always)]
fn change(marks: &mut [Mark], to: impl Fn(Mark) -> Mark) {
    let (fours, rest) = marks.as_chunks_mut::<4>();
    for four in fours {
        *four = four.map(&to);
    }
    rest.iter_mut().for_each(|mark| *mark = to(*mark));
}

/// Whether an earlier access of the same interval by another warp conflicts.
#[inline(always)]
fn conflict(earlier: Mark, now: Mark) -> bool {
    let same_phase = earlier >> PHASE_SHIFT == now >> PHASE_SHIFT;
    let other = (earlier ^ now) & (WARP | MANY) != 0;
    let both_atomic = earlier & now & ATOMIC != 0;
    same_phase & other & !both_atomic
}

#[inline(always)]
fn merge(earlier: Mark, now: Mark, phase: u32) -> Mark {
    let both = now & !(!earlier & ATOMIC);
    let several = if (earlier ^ now) & WARP != 0 { MANY } else { earlier & MANY };
    if earlier >> PHASE_SHIFT == phase { both | several } else { now }
}
