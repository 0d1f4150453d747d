//! Which ring an image computes in, and what elements are in memory.

use std::fmt;

/// Bits of an element. An image is for one: `WORD_BITS` in the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// Elements of Z_2^32, two in a word of memory.
    Bits32,
    /// Elements of Z_2^64, which are words of memory; and what knows no elements.
    Bits64,
}

impl Width {
    /// Both.
    pub const ALL: [Width; 2] = [Width::Bits64, Width::Bits32];

    /// How many bits.
    pub const fn bits(self) -> u32 {
        match self {
            Width::Bits32 => 32,
            Width::Bits64 => 64,
        }
    }

    /// Elements of a word of memory.
    pub const fn packed(self) -> usize {
        64 / self.bits() as usize
    }
}

/// `32 bits`.
impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits", self.bits())
    }
}

/// An element: `u32` or `u64`, and no other.
pub trait Element: sealed::Sealed + Copy + 'static {
    /// Its bits.
    const WIDTH: Width;
}

impl Element for u32 {
    const WIDTH: Width = Width::Bits32;
}

impl Element for u64 {
    const WIDTH: Width = Width::Bits64;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}
