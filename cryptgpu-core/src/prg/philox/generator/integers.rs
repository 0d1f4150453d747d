//! Uniform integers in a range, by NumPy's rules for each width.

use super::super::Philox;
use crate::prg::PrgError;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};

/// The integers that a [`super::Generator`] draws: `bool`, and all of 8 to 64 bits.
pub trait Integer: Copy + Debug + sealed::Sealed {
    /// The least value.
    const MIN: Self;
    /// The greatest value.
    const MAX: Self;
    /// Bits of a value: 1, 8, 16, 32 or 64.
    const BITS: u32;
    /// The value as a wider integer.
    fn widen(self) -> i128;
    /// The value with these low bits.
    fn from_low_bits(bits: u64) -> Self;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! integer {
    ($($int:ident)*) => {$(
        impl sealed::Sealed for $int {}
        impl Integer for $int {
            const MIN: Self = $int::MIN;
            const MAX: Self = $int::MAX;
            const BITS: u32 = $int::BITS;
            fn widen(self) -> i128 {
                self as i128
            }
            #[inline(always)]
            fn from_low_bits(bits: u64) -> Self {
                bits as $int
            }
        }
    )*};
}
integer!(u8 u16 u32 u64 usize i8 i16 i32 i64 isize);

impl sealed::Sealed for bool {}
impl Integer for bool {
    const MIN: Self = false;
    const MAX: Self = true;
    const BITS: u32 = 1;
    fn widen(self) -> i128 {
        i128::from(self)
    }
    #[inline(always)]
    fn from_low_bits(bits: u64) -> Self {
        bits & 1 == 1
    }
}

/// A range of integers: its least value, and by how much the greatest exceeds it.
pub(super) struct Span {
    low: u64,
    range: u64,
}

impl Span {
    pub(super) fn of<T: Integer>(bounds: impl RangeBounds<T>) -> Result<Self, PrgError> {
        let low = match bounds.start_bound() {
            Bound::Included(low) => low.widen(),
            Bound::Excluded(low) => low.widen() + 1,
            Bound::Unbounded => T::MIN.widen(),
        };
        let high = match bounds.end_bound() {
            Bound::Included(high) => high.widen(),
            Bound::Excluded(high) => high.widen() - 1,
            Bound::Unbounded => T::MAX.widen(),
        };
        if low > high {
            let why = format!("no integer is at least {low} and at most {high}");
            return Err(PrgError::Argument { operation: "integers", why });
        }
        Ok(Span { low: low as u64, range: (high - low) as u64 })
    }

    /// Fills `out` as one call of NumPy's `integers` does: what is left of a split 32-bit draw at
    /// its end is lost.
    pub(super) fn fill<T: Integer>(&self, bits: &mut Philox, out: &mut [T]) {
        let Span { low, range } = *self;
        let value = |offset: u64| T::from_low_bits(low.wrapping_add(offset));
        if range == 0 {
            return out.fill(value(0));
        }
        let mut split = Split { word: 0, left: 0 };
        match T::BITS {
            1 => out.fill_with(|| value(split.draw(bits, 1))),
            8 if range == 0xff => out.fill_with(|| value(split.draw(bits, 8))),
            8 => out.fill_with(|| value(lemire_narrow(range, 8, || split.draw(bits, 8)))),
            16 if range == 0xffff => out.fill_with(|| value(split.draw(bits, 16))),
            16 => out.fill_with(|| value(lemire_narrow(range, 16, || split.draw(bits, 16)))),
            _ => out.fill_with(|| value(bounded(bits, range))),
        }
    }
}

/// A 32-bit draw handed out a few bits at a time, the lowest first.
struct Split {
    word: u32,
    left: u32,
}

impl Split {
    #[inline(always)]
    fn draw(&mut self, bits: &mut Philox, width: u32) -> u64 {
        if self.left == 0 {
            (self.word, self.left) = (bits.random_u32(), 32);
        }
        let value = self.word & (u32::MAX >> (32 - width));
        self.word >>= width;
        self.left -= width;
        u64::from(value)
    }
}

/// An integer of 0 … `range` from draws of `width` ≤ 32 bits; `range` is less than the greatest draw.
#[inline(always)]
fn lemire_narrow(range: u64, width: u32, mut draw: impl FnMut() -> u64) -> u64 {
    let (n, low) = (range + 1, (1 << width) - 1);
    let mut product = draw() * n;
    if product & low < n {
        // Of 2^width draws, this many would make some results more frequent than others.
        let rejected = (low - range) % n;
        while product & low < rejected {
            product = draw() * n;
        }
    }
    product >> width
}

/// An integer of 0 … `range` by multiplication with rejection: 32-bit draws if the range fits.
#[inline]
pub(super) fn bounded(bits: &mut Philox, range: u64) -> u64 {
    const NARROW: u64 = u32::MAX as u64;
    match range {
        0 => 0,
        NARROW => u64::from(bits.random_u32()),
        1..NARROW => lemire_narrow(range, 32, || u64::from(bits.random_u32())),
        u64::MAX => bits.random_raw(),
        _ => {
            let n = u128::from(range) + 1;
            let mut product = u128::from(bits.random_raw()) * n;
            if u128::from(product as u64) < n {
                let rejected = (u64::MAX - range) % (range + 1);
                while (product as u64) < rejected {
                    product = u128::from(bits.random_raw()) * n;
                }
            }
            (product >> 64) as u64
        }
    }
}

/// An integer of 0 … `max` by masking and rejection, as NumPy's `shuffle` draws them.
#[inline]
pub(super) fn masked(bits: &mut Philox, max: u64) -> u64 {
    let mask = u64::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
    if mask == 0 {
        return 0;
    }
    loop {
        let word = if max <= u64::from(u32::MAX) { u64::from(bits.random_u32()) } else { bits.random_raw() };
        if word & mask <= max {
            return word & mask;
        }
    }
}
