//! Where the bits of elements stand in packed words.
//!
//! Elements are packed in blocks of 512: eight words a plane, bit t of word l belonging to
//! element 8t + l of the block. So a plane of a block is one 512-bit vector, and turning 64
//! rows of eight elements into planes needs whole-vector shifts and masks only, on every
//! instruction set. What is left behind the last whole block is packed in groups of 64, one word
//! a plane, bit t being element t. Either way n elements take ⌈n/64⌉ words a plane, a block (or
//! group) of k planes is contiguous, and plane p of it comes before plane p + 1.

use std::ops::Range;

/// Elements in a block.
pub const BLOCK: usize = 512;

/// The packing of `n` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    n: usize,
}

impl Layout {
    /// The packing of `n` elements.
    pub fn new(n: usize) -> Self {
        Layout { n }
    }

    /// How many elements.
    pub fn elements(&self) -> usize {
        self.n
    }

    /// Whole blocks of 512.
    pub fn blocks(&self) -> usize {
        self.n / BLOCK
    }

    /// Words of one plane: ⌈n / 64⌉.
    pub fn words(&self) -> usize {
        self.n.div_ceil(64)
    }

    /// The elements of part `part` of three nearly equal ones, cut between blocks, so that each
    /// part is a layout of its own and packed buffers are cut at the same places.
    pub fn third(&self, part: usize) -> Range<usize> {
        let blocks = self.n.div_ceil(BLOCK);
        let cut = |i: usize| (blocks * i).div_ceil(3).saturating_mul(BLOCK).min(self.n);
        cut(part)..cut(part + 1)
    }

    /// The words of one plane that `elements` (a part as [`Layout::third`] gives it) stand in.
    pub fn word_range(elements: &Range<usize>) -> Range<usize> {
        elements.start.div_ceil(64)..elements.end.div_ceil(64)
    }

    /// Bits, one an element, into words. The slow way, for inputs and tests.
    pub fn pack(bits: &[bool]) -> Vec<u64> {
        let layout = Layout::new(bits.len());
        let mut words = vec![0u64; layout.words()];
        for (index, &bit) in bits.iter().enumerate() {
            let (word, shift) = layout.locate(index);
            words[word] |= u64::from(bit) << shift;
        }
        words
    }

    /// The bits of `n` elements out of their words; the inverse of [`Layout::pack`].
    pub fn unpack(&self, words: &[u64]) -> Vec<bool> {
        (0..self.n).map(|index| self.locate(index)).map(|(word, shift)| words[word] >> shift & 1 == 1).collect()
    }

    /// Word and bit of an element.
    fn locate(&self, index: usize) -> (usize, u32) {
        if index < self.blocks() * BLOCK {
            (index / BLOCK * 8 + index % 8, (index % BLOCK / 8) as u32)
        } else {
            (index / 64, (index % 64) as u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unpack_inverts_pack(bits in proptest::collection::vec(any::<bool>(), 0..1500)) {
            let layout = Layout::new(bits.len());
            let words = Layout::pack(&bits);
            prop_assert_eq!(words.len(), layout.words());
            prop_assert_eq!(layout.unpack(&words), bits);
        }

        #[test]
        fn thirds_cover_everything_once(n in 0usize..20_000) {
            let layout = Layout::new(n);
            let parts = [layout.third(0), layout.third(1), layout.third(2)];
            prop_assert_eq!(parts[0].start, 0);
            prop_assert_eq!(parts[2].end, n);
            prop_assert!(parts[0].end == parts[1].start && parts[1].end == parts[2].start);
            let words: usize = parts.iter().map(|p| Layout::word_range(p).len()).sum();
            prop_assert_eq!(words, layout.words());
            prop_assert!(parts.iter().all(|p| p.is_empty() == Layout::word_range(p).is_empty()));
            let sizes = parts.map(|p| p.len());
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 2 * BLOCK);
        }
    }
}
