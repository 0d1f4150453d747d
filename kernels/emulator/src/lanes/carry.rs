//! Instructions with predicates as sources or second results: extended-precision sums, selection, predicate logic, and
//! bit-field insertion, which has four sources.

use super::{Args, LANES, Lane, LaneFn, Raw, integer, lanes, predicate, write, write_predicate};
use crate::ptx::Type;

/// What a sum with carry does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// `add.cc`, `addc`.
    Add,
    /// `sub.cc`, `subc`: the flag is the borrow.
    Sub,
}

trait Word: Lane + Raw {
    fn add(self, other: Self, carry: bool) -> (Self, bool);
    fn sub(self, other: Self, borrow: bool) -> (Self, bool);
}

macro_rules! words {
    ($($t:ty),*) => {$(
        impl Word for $t {
            #[inline(always)]
            fn add(self, other: Self, carry: bool) -> (Self, bool) { self.carrying_sum(other, carry) }
            #[inline(always)]
            fn sub(self, other: Self, borrow: bool) -> (Self, bool) {
                let (first, over) = self.overflowing_sub(other);
                let (second, again) = first.overflowing_sub(Self::from(borrow));
                (second, over | again)
            }
        }
        impl CarryingSum for $t {
            #[inline(always)]
            fn carrying_sum(self, other: Self, carry: bool) -> (Self, bool) {
                let (first, over) = self.overflowing_add(other);
                let (second, again) = first.overflowing_add(Self::from(carry));
                (second, over | again)
            }
        }
    )*};
}
trait CarryingSum: Sized {
    fn carrying_sum(self, other: Self, carry: bool) -> (Self, bool);
}
words!(u32, u64);

unsafe fn sum<T: Word<Raw = T>, const ADD: bool, const IN: bool, const OUT: bool>(
    file: *mut u32,
    mask: u32,
    args: &Args,
) {
    // SAFETY: as the caller promises.
    unsafe {
        let (a, b) = (lanes::<T>(file, args.a), lanes::<T>(file, args.b));
        let carries = if IN { predicate(file, args.c) } else { 0 };
        let mut out = [T::ZERO; LANES];
        let mut over = 0;
        for lane in 0..LANES {
            let carry = carries >> lane & 1 == 1;
            let (value, flag) = if ADD { a[lane].add(b[lane], carry) } else { a[lane].sub(b[lane], carry) };
            out[lane] = value;
            over |= u32::from(flag) << lane;
        }
        write(file, args.d, mask, &out);
        if OUT {
            write_predicate(file, args.e, mask, over);
        }
    }
}

/// `add`/`sub` with carry in (predicate `c`) and carry out (predicate `e`).
pub fn with_carry(op: Sum, ty: Type, carry_in: bool, carry_out: bool) -> Option<LaneFn> {
    macro_rules! pick {
        ($t:ty, $add:literal) => {
            match (carry_in, carry_out) {
                (false, false) => sum::<$t, $add, false, false>,
                (false, true) => sum::<$t, $add, false, true>,
                (true, false) => sum::<$t, $add, true, false>,
                (true, true) => sum::<$t, $add, true, true>,
            }
        };
    }
    Some(match (ty.bytes(), op) {
        (4, Sum::Add) => pick!(u32, true),
        (4, Sum::Sub) => pick!(u32, false),
        (8, Sum::Add) => pick!(u64, true),
        (8, Sum::Sub) => pick!(u64, false),
        _ => return None,
    })
}

unsafe fn select<T: Raw>(file: *mut u32, mask: u32, args: &Args) {
    // SAFETY: as the caller promises.
    unsafe {
        let (a, b, chosen) = (lanes::<T>(file, args.a), lanes::<T>(file, args.b), predicate(file, args.c));
        let mut out = [T::ZERO; LANES];
        for lane in 0..LANES {
            out[lane] = if chosen >> lane & 1 == 1 { a[lane] } else { b[lane] };
        }
        write(file, args.d, mask, &out);
    }
}

/// `selp`: `c ? a : b`.
pub fn selection(ty: Type) -> LaneFn {
    if ty.bytes() == 8 { select::<u64> } else { select::<u32> }
}

/// `and`, `or`, `xor`, `not`, `mov` of predicates.
pub fn predicate_logic(op: &str) -> Option<LaneFn> {
    macro_rules! logic {
        (|$a:ident, $b:ident| $body:expr) => {{
            unsafe fn here(file: *mut u32, mask: u32, args: &Args) {
                // SAFETY: as the caller promises.
                unsafe {
                    let ($a, $b) = (predicate(file, args.a), predicate(file, args.b));
                    write_predicate(file, args.d, mask, $body);
                }
            }
            here as LaneFn
        }};
        (|$a:ident| $body:expr) => {{
            unsafe fn here(file: *mut u32, mask: u32, args: &Args) {
                // SAFETY: as the caller promises.
                unsafe {
                    let $a = predicate(file, args.a);
                    write_predicate(file, args.d, mask, $body);
                }
            }
            here as LaneFn
        }};
    }
    Some(match op {
        "and" => logic!(|a, b| a & b),
        "or" => logic!(|a, b| a | b),
        "xor" => logic!(|a, b| a ^ b),
        "not" => logic!(|a| !a),
        "mov" => logic!(|a| a),
        _ => return None,
    })
}

unsafe fn insert32(file: *mut u32, mask: u32, args: &Args) {
    // SAFETY: as the caller promises.
    unsafe {
        let (a, b) = (lanes::<u32>(file, args.a), lanes::<u32>(file, args.b));
        let (c, n) = (lanes::<u32>(file, args.c), lanes::<u32>(file, args.n));
        let mut out = [0; LANES];
        for lane in 0..LANES {
            let field = integer::field_mask(c[lane], n[lane], 32);
            let bits = (u64::from(a[lane]) << field.position) & field.bits;
            out[lane] = (bits | u64::from(b[lane]) & !field.bits) as u32;
        }
        write(file, args.d, mask, &out);
    }
}

unsafe fn insert64(file: *mut u32, mask: u32, args: &Args) {
    // SAFETY: as the caller promises.
    unsafe {
        let (a, b) = (lanes::<u64>(file, args.a), lanes::<u64>(file, args.b));
        let (c, n) = (lanes::<u32>(file, args.c), lanes::<u32>(file, args.n));
        let mut out = [0; LANES];
        for lane in 0..LANES {
            let field = integer::field_mask(c[lane], n[lane], 64);
            out[lane] = ((a[lane] << field.position) & field.bits) | (b[lane] & !field.bits);
        }
        write(file, args.d, mask, &out);
    }
}

/// `bfi`: inserts the low bits of `a` into `b` at bit `c`; `n` is the number of bits.
pub fn insertion(ty: Type) -> Option<LaneFn> {
    match ty {
        Type::B32 => Some(insert32),
        Type::B64 => Some(insert64),
        _ => None,
    }
}
