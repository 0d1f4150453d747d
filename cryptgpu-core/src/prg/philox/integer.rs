//! Integers wider than the language's: a counter's 256 bits, and decimal text of any length.

use crate::prg::PrgError;
use std::str::FromStr;

/// An integer modulo 2²⁵⁶, negative ones in two's complement: a counter, or how far to move one.
///
/// ```
/// use cryptgpu_core::prg::philox::Int256;
/// assert_eq!(Int256::from(-1).words(), [u64::MAX; 4]);
/// let big: Int256 = "340282366920938463463374607431768211461".parse()?; // 2^128 + 5
/// assert_eq!(big.words(), [5, 0, 1, 0]);
/// # Ok::<(), cryptgpu_core::prg::PrgError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int256([u64; 4]);

impl Int256 {
    /// From four words, the least significant first.
    pub const fn from_words(words: [u64; 4]) -> Self {
        Int256(words)
    }

    /// The four words, the least significant first.
    pub const fn words(self) -> [u64; 4] {
        self.0
    }

    /// The sum modulo 2²⁵⁶.
    pub fn wrapping_add(self, other: Self) -> Self {
        let mut carry = false;
        Int256(std::array::from_fn(|i| {
            let (sum, over) = self.0[i].overflowing_add(other.0[i]);
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            carry = over || over_again;
            sum
        }))
    }

    /// The product with 2¹²⁸ modulo 2²⁵⁶.
    pub(super) fn shl_128(self) -> Self {
        Int256([0, 0, self.0[0], self.0[1]])
    }
}

macro_rules! from_signed {
    ($($int:ty),*) => {$(
        impl From<$int> for Int256 {
            fn from(value: $int) -> Self {
                let value = i128::from(value);
                let sign = if value < 0 { u64::MAX } else { 0 };
                Int256([value as u64, (value >> 64) as u64, sign, sign])
            }
        }
    )*};
}
from_signed!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

impl From<u128> for Int256 {
    fn from(value: u128) -> Self {
        Int256([value as u64, (value >> 64) as u64, 0, 0])
    }
}

/// Reads a decimal or `0x` integer of any length, with an optional minus sign, modulo 2²⁵⁶.
impl FromStr for Int256 {
    type Err = PrgError;

    fn from_str(text: &str) -> Result<Self, PrgError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let words = parse_natural(digits)
            .ok_or_else(|| PrgError::NotAnInteger { text: text.to_owned(), expected: "an integer" })?;
        let half = |i: usize| u64::from(words.get(i).copied().unwrap_or(0));
        let magnitude = Int256(std::array::from_fn(|i| half(2 * i) | (half(2 * i + 1) << 32)));
        Ok(if negative { Int256(magnitude.0.map(|word| !word)).wrapping_add(1.into()) } else { magnitude })
    }
}

/// The 32-bit words of a non-negative integer, least significant first, without leading zeros but
/// for zero itself, which is one word. `None` when the text is not one.
pub(super) fn parse_natural(text: &str) -> Option<Vec<u32>> {
    let (radix, digits) = match text.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None => (10, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut words = vec![0u32];
    for c in digits.chars() {
        let mut carry = u64::from(c.to_digit(radix)?);
        for word in &mut words {
            let wide = u64::from(*word) * u64::from(radix) + carry;
            *word = wide as u32;
            carry = wide >> 32;
        }
        if carry > 0 {
            words.push(carry as u32);
        }
    }
    Some(words)
}
