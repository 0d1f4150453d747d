//! The two rings: Z_2^64, and Z_2^32 at half of everything. A loop is written once over [`Word`]; which ring a tensor is of,
//! the program knows as a [`Ring`].

use std::fmt;

/// The ring that a run computes in. All parties have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Ring {
    /// Words of 32 bits.
    Z32,
    /// Words of 64 bits.
    #[default]
    Z64,
}

impl Ring {
    /// Bits of a word.
    pub const fn bits(self) -> u32 {
        match self {
            Ring::Z32 => 32,
            Ring::Z64 => 64,
        }
    }

    /// Bytes of a word.
    pub const fn bytes(self) -> usize {
        self.bits() as usize / 8
    }

    /// Elements of this ring in 64 bits of memory.
    pub const fn packed(self) -> usize {
        64 / self.bits() as usize
    }

    /// Words of 64 bits that so many elements take.
    pub const fn words(self, elements: usize) -> usize {
        elements.div_ceil(self.packed())
    }

    /// Elements that so many take with what fills the last word: as many, or one more. Bits are packed for this number.
    pub const fn filled(self, elements: usize) -> usize {
        self.words(elements) * self.packed()
    }

    /// All bits of a word.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The residue of a word of 64 bits.
    pub const fn residue(self, word: u64) -> u64 {
        word & self.mask()
    }

    /// The value of an element, between −2^(bits−1) and 2^(bits−1).
    pub const fn signed(self, word: u64) -> i64 {
        let spare = 64 - self.bits();
        (word << spare) as i64 >> spare
    }

    /// A word of memory whose elements are all `value`.
    pub(crate) const fn splat(self, value: u64) -> u64 {
        match self {
            Ring::Z32 => (value & self.mask()) * 0x1_0000_0001,
            Ring::Z64 => value,
        }
    }

    /// Elements of this ring as words of memory, zero where none fills the last.
    pub(crate) fn pack(self, elements: impl ExactSizeIterator<Item = u64>) -> Vec<u64> {
        match self {
            Ring::Z64 => elements.collect(),
            Ring::Z32 => {
                let mut words = vec![0; self.words(elements.len())];
                for (place, element) in u32::of_mut(&mut words).iter_mut().zip(elements) {
                    *place = element as u32;
                }
                words
            }
        }
    }

    /// The first `n` elements in words of memory, the inverse of [`Ring::pack`].
    pub(crate) fn unpack(self, words: Vec<u64>, n: usize) -> Vec<u64> {
        match self {
            Ring::Z64 => words,
            Ring::Z32 => u32::of(&words).iter().take(n).map(|&element| u64::from(element)).collect(),
        }
    }
}

impl fmt::Display for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits", self.bits())
    }
}

/// A word of a ring, as loops compute with it: modulo 2^[`Word::BITS`], two's complement.
///
/// Buffers, masks and messages are of 64 bits whatever the ring; [`Word::of`] gives the elements in them, two in each
/// where words have 32.
pub trait Word:
    num_traits::PrimInt
    + num_traits::WrappingAdd
    + num_traits::WrappingSub
    + num_traits::WrappingMul
    + num_traits::WrappingNeg
    + num_traits::Unsigned
    + num_traits::AsPrimitive<u64>
    + bytemuck::Pod
    + fmt::Debug
    + Send
    + Sync
{
    /// The ring.
    const RING: Ring;

    /// Its bits.
    const BITS: u32 = Self::RING.bits();

    /// The residue of a word of 64 bits.
    fn of_u64(word: u64) -> Self;

    /// The value between −2^(BITS−1) and 2^(BITS−1).
    fn signed(self) -> i64;

    /// The elements in memory of 64-bit words.
    fn of(words: &[u64]) -> &[Self] {
        bytemuck::cast_slice(words)
    }

    /// The elements in memory of 64-bit words, to write.
    fn of_mut(words: &mut [u64]) -> &mut [Self] {
        bytemuck::cast_slice_mut(words)
    }

    /// The words of memory that these elements of it fill: whole ones, from the first of one on.
    fn words_mut(elements: &mut [Self]) -> &mut [u64] {
        bytemuck::cast_slice_mut(elements)
    }
}

impl Word for u32 {
    const RING: Ring = Ring::Z32;

    fn of_u64(word: u64) -> Self {
        word as u32
    }

    fn signed(self) -> i64 {
        i64::from(self as i32)
    }
}

impl Word for u64 {
    const RING: Ring = Ring::Z64;

    fn of_u64(word: u64) -> Self {
        word
    }

    fn signed(self) -> i64 {
        self as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_holds_one_word_or_two_the_lower_first() {
        let mut memory = [0x0000_0002_ffff_ffff_u64];
        assert_eq!(u64::of(&memory), [0x0000_0002_ffff_ffff]);
        assert_eq!(u32::of(&memory).iter().map(|word| word.signed()).collect::<Vec<_>>(), [-1, 2]);
        u32::of_mut(&mut memory)[1] = u32::of_u64(0x7_0000_0003);
        assert_eq!(memory, [0x0000_0003_ffff_ffff]);
        assert_eq!([Ring::Z32.packed(), Ring::Z64.packed()], [2, 1]);
    }

    #[test]
    fn elements_become_words_and_words_become_elements() {
        for ring in [Ring::Z32, Ring::Z64] {
            for n in 0..6 {
                let elements: Vec<u64> = (0..n).map(|i: u64| ring.residue(i.wrapping_sub(2))).collect();
                let words = ring.pack(elements.iter().copied());
                let n = n as usize;
                assert_eq!((words.len(), ring.filled(n)), (ring.words(n), n.next_multiple_of(ring.packed())));
                assert!(
                    ring == Ring::Z64 || n.is_multiple_of(2) || words[n / 2] >> 32 == 0,
                    "nothing but zero fills a word"
                );
                assert_eq!(ring.unpack(words, n), elements);
            }
            assert_eq!(ring.signed(ring.residue(u64::MAX)), -1);
            assert_eq!(ring.unpack(vec![ring.splat(7)], ring.packed()), vec![7; ring.packed()]);
        }
    }
}
