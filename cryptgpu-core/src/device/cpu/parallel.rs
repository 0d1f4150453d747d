//! How CPU kernels cut their work: into units of one packed block (512 elements) or one tail
//! group (64), spread over threads in runs of neighbouring units. Results do not depend on the
//! number of threads.

use crate::prg::Stream;
use crate::ring::{BLOCK, Layout, Word};
use rayon::prelude::*;
use std::marker::PhantomData;
use std::ops::Range;

/// Fewer elements than this stay on the calling thread: waking others costs more than it saves.
const PARALLEL_MIN: usize = 64 * BLOCK;

/// Blocks that one thread takes at a time.
const RUN: usize = 16;

/// One block of 512 elements (eight words a plane) or one tail group of up to 64 (one word).
pub(crate) struct Unit {
    /// Its elements.
    pub elements: Range<usize>,
    /// Its words in a buffer of one plane; in a buffer of k planes it has k times as many, at k times the place.
    pub words: Range<usize>,
}

impl Unit {
    /// Words a plane: eight or one.
    pub fn lanes(&self) -> usize {
        self.words.len()
    }

    /// Where the unit stands in a buffer of `planes` planes.
    pub fn planes(&self, planes: usize) -> Range<usize> {
        self.words.start * planes..self.words.end * planes
    }
}

/// Calls `body` once for every unit of `layout`, on several threads when that pays.
pub(crate) fn for_units(layout: Layout, body: impl Fn(&Unit) + Sync) {
    let blocks = layout.blocks();
    let block = |b: usize| {
        let unit = Unit { elements: b * BLOCK..(b + 1) * BLOCK, words: b * 8..(b + 1) * 8 };
        body(&unit);
    };
    if layout.elements() < PARALLEL_MIN {
        (0..blocks).for_each(block);
    } else {
        (0..blocks).into_par_iter().with_min_len(RUN).for_each(block);
    }
    for group in blocks * 8..layout.words() {
        let unit = Unit { elements: group * 64..(group * 64 + 64).min(layout.elements()), words: group..group + 1 };
        body(&unit);
    }
}

/// The elements of a unit from a stream: of the words that a mask of all elements has, those that they stand in.
pub(crate) fn draw<W: Word>(stream: &Stream, unit: &Unit, elements: &mut [W]) {
    // A unit begins at a multiple of 64 elements, and the number of all fills whole words.
    stream.fill(unit.elements.start / W::RING.packed(), W::words_mut(elements));
}

/// An output that units write to side by side.
///
/// Units of one [`for_units`] call have disjoint elements and words, so handing each its own
/// range of one buffer is sound; a range that lies outside is an empty slice.
pub(crate) struct Out<'a, T = u64> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: `Out` only hands out ranges of a buffer that it borrows mutably, and its one accessor
// is unsafe with the contract that concurrent ranges are disjoint.
unsafe impl<T: Send> Sync for Out<'_, T> {}

impl<'a, T> Out<'a, T> {
    pub fn new(buffer: &'a mut [T]) -> Self {
        Out { start: buffer.as_mut_ptr(), len: buffer.len(), owner: PhantomData }
    }

    /// What stands in `range`.
    ///
    /// # Safety
    /// Ranges in use at the same time must not overlap: take each unit's own, once.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "unit outside its buffer");
        // SAFETY: in bounds by the line above; not aliased by the caller's contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_cover_elements_and_words_once() {
        for n in [0, 1, 63, 64, 65, 511, 512, 513, 1000, 40_000, 100_001] {
            let layout = Layout::new(n);
            let (mut elements, mut words) = (vec![0u64; n], vec![0u64; 3 * layout.words()]);
            {
                let (out_e, out_w) = (Out::new(&mut elements), Out::new(&mut words));
                for_units(layout, |unit| {
                    // SAFETY: each unit takes its own ranges, once.
                    let (e, w) = unsafe { (out_e.range(unit.elements.clone()), out_w.range(unit.planes(3))) };
                    e.iter_mut().chain(w).for_each(|word| *word += 1);
                });
            }
            assert!(elements.iter().chain(&words).all(|&count| count == 1), "n = {n}");
        }
    }
}
