//! Integer and bit instructions.

use super::{LaneFn, for_type, lane_fn};
use crate::ptx::Type;

/// `add`, `sub`, `mul.lo`, `min`, `max`, `div`, `rem`, `and`, `or`, `xor`: two sources and a result of one type.
pub fn binary(op: &str, ty: Type) -> Option<LaneFn> {
    macro_rules! on {
        ([$($list:tt)*], |$a:ident, $b:ident| $body:block) => {
            for_type!(ty, [$($list)*], T => lane_fn!(|$a: T, $b: T| -> T $body))
        };
    }
    macro_rules! rare {
        (|$a:ident, $b:ident| $body:block) => {
            for_type!(ty, [U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], T =>
                lane_fn!(rare |$a: T, $b: T| -> T $body))
        };
    }
    macro_rules! arithmetic {
        (|$a:ident, $b:ident| $body:block) => {
            on!([U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], |$a, $b| $body)
        };
    }
    macro_rules! bits {
        (|$a:ident, $b:ident| $body:block) => { on!([B16: u16, B32: u32, B64: u64], |$a, $b| $body) };
    }
    match op {
        "add" => arithmetic!(|a, b| { a.wrapping_add(b) }),
        "sub" => arithmetic!(|a, b| { a.wrapping_sub(b) }),
        "mul.lo" => arithmetic!(|a, b| { a.wrapping_mul(b) }),
        "min" => arithmetic!(|a, b| { a.min(b) }),
        "max" => arithmetic!(|a, b| { a.max(b) }),
        // The PTX manual leaves division by zero open; this is what the hardware's routine gives.
        "div" => rare!(|a, b| { if b == 0 { !0 } else { a.wrapping_div(b) } }),
        "rem" => rare!(|a, b| { if b == 0 { a } else { a.wrapping_rem(b) } }),
        "and" => bits!(|a, b| { a & b }),
        "or" => bits!(|a, b| { a | b }),
        "xor" => bits!(|a, b| { a ^ b }),
        _ => None,
    }
}

/// `mul.hi`: the upper half of the product.
pub fn multiply_high(ty: Type) -> Option<LaneFn> {
    Some(match ty {
        Type::U16 => lane_fn!(|a: u16, b: u16| -> u16 { ((u32::from(a) * u32::from(b)) >> 16) as u16 }),
        Type::S16 => lane_fn!(|a: i16, b: i16| -> i16 { ((i32::from(a) * i32::from(b)) >> 16) as i16 }),
        Type::U32 => lane_fn!(|a: u32, b: u32| -> u32 { ((u64::from(a) * u64::from(b)) >> 32) as u32 }),
        Type::S32 => lane_fn!(|a: i32, b: i32| -> i32 { ((i64::from(a) * i64::from(b)) >> 32) as i32 }),
        Type::U64 => lane_fn!(|a: u64, b: u64| -> u64 { ((u128::from(a) * u128::from(b)) >> 64) as u64 }),
        Type::S64 => lane_fn!(|a: i64, b: i64| -> i64 { ((i128::from(a) * i128::from(b)) >> 64) as i64 }),
        _ => return None,
    })
}

/// `mul.wide` of sources of type `ty`: the whole product, of twice the width.
pub fn multiply_wide(ty: Type) -> Option<LaneFn> {
    Some(match ty {
        Type::U16 => lane_fn!(|a: u16, b: u16| -> u32 { u32::from(a) * u32::from(b) }),
        Type::S16 => lane_fn!(|a: i16, b: i16| -> i32 { i32::from(a) * i32::from(b) }),
        Type::U32 => lane_fn!(|a: u32, b: u32| -> u64 { u64::from(a) * u64::from(b) }),
        Type::S32 => lane_fn!(|a: i32, b: i32| -> i64 { i64::from(a) * i64::from(b) }),
        _ => return None,
    })
}

/// `mad.lo`: `a * b + c`.
pub fn multiply_add_low(ty: Type) -> Option<LaneFn> {
    for_type!(ty, [U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], T =>
        lane_fn!(|a: T, b: T, c: T| -> T { a.wrapping_mul(b).wrapping_add(c) }))
}

/// `mad.wide`: the whole product of `a` and `b` plus a `c` of twice the width.
pub fn multiply_add_wide(ty: Type) -> Option<LaneFn> {
    Some(match ty {
        Type::U16 => lane_fn!(|a: u16, b: u16, c: u32| -> u32 { (u32::from(a) * u32::from(b)).wrapping_add(c) }),
        Type::S16 => lane_fn!(|a: i16, b: i16, c: i32| -> i32 { (i32::from(a) * i32::from(b)).wrapping_add(c) }),
        Type::U32 => lane_fn!(|a: u32, b: u32, c: u64| -> u64 { (u64::from(a) * u64::from(b)).wrapping_add(c) }),
        Type::S32 => lane_fn!(|a: i32, b: i32, c: i64| -> i64 { (i64::from(a) * i64::from(b)).wrapping_add(c) }),
        _ => return None,
    })
}

/// `sad`: `|a - b| + c`.
pub fn sum_of_difference(ty: Type) -> Option<LaneFn> {
    for_type!(ty, [U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], T =>
        lane_fn!(rare |a: T, b: T, c: T| -> T { (if a < b { b.wrapping_sub(a) } else { a.wrapping_sub(b) }).wrapping_add(c) }))
}

/// `neg`, `abs`, `not`, `cnot`, `mov`, `brev`: one source and a result of one type.
pub fn unary(op: &str, ty: Type) -> Option<LaneFn> {
    match op {
        "neg" => for_type!(ty, [S16: i16, S32: i32, S64: i64], T => lane_fn!(|a: T| -> T { a.wrapping_neg() })),
        "abs" => for_type!(ty, [S16: i16, S32: i32, S64: i64], T => lane_fn!(|a: T| -> T { a.wrapping_abs() })),
        "not" => for_type!(ty, [B16: u16, B32: u32, B64: u64], T => lane_fn!(|a: T| -> T { !a })),
        "cnot" => for_type!(ty, [B16: u16, B32: u32, B64: u64], T => lane_fn!(|a: T| -> T { T::from(a == 0) })),
        "mov" => for_type!(ty, [B16: u16, U16: u16, S16: u16, B32: u32, U32: u32, S32: u32, F32: u32,
            B64: u64, U64: u64, S64: u64, F64: u64], T => lane_fn!(|a: T| -> T { a })),
        "brev" => for_type!(ty, [B32: u32, B64: u64], T => lane_fn!(|a: T| -> T { a.reverse_bits() })),
        _ => None,
    }
}

/// `popc`, `clz`, `bfind`, `bfind.shiftamt`: a count of 32 bits of a source of type `ty`.
pub fn count(op: &str, ty: Type) -> Option<LaneFn> {
    match op {
        "popc" => for_type!(ty, [B32: u32, B64: u64], T => lane_fn!(|a: T| -> u32 { a.count_ones() })),
        "clz" => for_type!(ty, [B32: u32, B64: u64], T => lane_fn!(|a: T| -> u32 { a.leading_zeros() })),
        // The most significant bit that is not a sign; all ones if there is none.
        "bfind" => match ty {
            Type::U32 => Some(lane_fn!(rare |a: u32| -> u32 { 31u32.wrapping_sub(a.leading_zeros()) })),
            Type::U64 => Some(lane_fn!(rare |a: u64| -> u32 { 63u32.wrapping_sub(a.leading_zeros()) })),
            Type::S32 => Some(lane_fn!(rare |a: i32| -> u32 { 31u32.wrapping_sub((a ^ (a >> 31)).leading_zeros()) })),
            Type::S64 => Some(lane_fn!(rare |a: i64| -> u32 { 63u32.wrapping_sub((a ^ (a >> 63)).leading_zeros()) })),
            _ => None,
        },
        // As a shift to the left that brings that bit to the top.
        "bfind.shiftamt" => match ty {
            Type::U32 => Some(lane_fn!(rare |a: u32| -> u32 { if a == 0 { !0 } else { a.leading_zeros() } })),
            Type::U64 => Some(lane_fn!(rare |a: u64| -> u32 { if a == 0 { !0 } else { a.leading_zeros() } })),
            Type::S32 => Some(lane_fn!(rare |a: i32| -> u32 {
                let bits = a ^ (a >> 31);
                if bits == 0 { !0 } else { bits.leading_zeros() }
            })),
            Type::S64 => Some(lane_fn!(rare |a: i64| -> u32 {
                let bits = a ^ (a >> 63);
                if bits == 0 { !0 } else { bits.leading_zeros() }
            })),
            _ => None,
        },
        _ => None,
    }
}

/// `shl` and `shr`; shift amounts are unsigned, and larger ones than the width act as the width.
pub fn shift(op: &str, ty: Type) -> Option<LaneFn> {
    match op {
        "shl" => for_type!(ty, [B16: u16, B32: u32, B64: u64], T =>
            lane_fn!(|a: T, b: u32| -> T { a.checked_shl(b).unwrap_or(0) })),
        "shr" => match ty {
            Type::B16 | Type::U16 => Some(lane_fn!(|a: u16, b: u32| -> u16 { a.checked_shr(b).unwrap_or(0) })),
            Type::B32 | Type::U32 => Some(lane_fn!(|a: u32, b: u32| -> u32 { a.checked_shr(b).unwrap_or(0) })),
            Type::B64 | Type::U64 => Some(lane_fn!(|a: u64, b: u32| -> u64 { a.checked_shr(b).unwrap_or(0) })),
            Type::S16 => Some(lane_fn!(|a: i16, b: u32| -> i16 { a >> b.min(15) })),
            Type::S32 => Some(lane_fn!(|a: i32, b: u32| -> i32 { a >> b.min(31) })),
            Type::S64 => Some(lane_fn!(|a: i64, b: u32| -> i64 { a >> b.min(63) })),
            _ => None,
        },
        _ => None,
    }
}

/// `shf.l`/`shf.r` with `.wrap`/`.clamp`: shifts the 64 bits `b:a` and takes the upper (left) or lower (right) half.
pub fn funnel(left: bool, clamp: bool) -> LaneFn {
    fn joined(a: u32, b: u32) -> u64 {
        u64::from(b) << 32 | u64::from(a)
    }
    match (left, clamp) {
        (true, false) => lane_fn!(|a: u32, b: u32, c: u32| -> u32 { ((joined(a, b) << (c & 31)) >> 32) as u32 }),
        (true, true) => lane_fn!(|a: u32, b: u32, c: u32| -> u32 { ((joined(a, b) << c.min(32)) >> 32) as u32 }),
        (false, false) => lane_fn!(|a: u32, b: u32, c: u32| -> u32 { (joined(a, b) >> (c & 31)) as u32 }),
        (false, true) => lane_fn!(|a: u32, b: u32, c: u32| -> u32 { (joined(a, b) >> c.min(32)) as u32 }),
    }
}

/// `bfe`: `c` bits of `a` from bit `b`; lengths and positions are taken modulo 256.
pub fn extract(ty: Type) -> Option<LaneFn> {
    fn unsigned(a: u64, position: u32, length: u32) -> u64 {
        let shifted = a.checked_shr(position & 255).unwrap_or(0);
        if length & 255 >= 64 { shifted } else { shifted & ((1 << (length & 255)) - 1) }
    }
    fn signed(a: i64, position: u32, length: u32, width: u32) -> i64 {
        let (position, length) = (position & 255, length & 255);
        if length == 0 {
            return 0;
        }
        // The field is filled from its last bit that lies in the source.
        let top = (position + length - 1).min(width - 1);
        let sign = a >> top & 1;
        let field = if position >= width { 0 } else { (a as u64 >> position) as i64 };
        let valid = (top + 1).saturating_sub(position).min(length);
        let low = if valid >= 64 { -1 } else { (1i64 << valid) - 1 };
        if sign == 1 { (field & low) | !low } else { field & low }
    }
    Some(match ty {
        Type::U32 => lane_fn!(rare |a: u32, b: u32, c: u32| -> u32 { unsigned(u64::from(a), b, c) as u32 }),
        Type::U64 => lane_fn!(rare |a: u64, b: u32, c: u32| -> u64 { unsigned(a, b, c) }),
        Type::S32 => lane_fn!(rare |a: i32, b: u32, c: u32| -> i32 { signed(i64::from(a), b, c, 32) as i32 }),
        Type::S64 => lane_fn!(rare |a: i64, b: u32, c: u32| -> i64 { signed(a, b, c, 64) }),
        _ => return None,
    })
}

/// The mask of `bfi`: `length` bits from bit `position` within `width`, both modulo 256.
pub fn field_mask(position: u32, length: u32, width: u32) -> LaneMask {
    let (position, length) = (position & 255, length & 255);
    let bits = if length >= 64 { u64::MAX } else { (1 << length) - 1 };
    LaneMask { bits: if position >= width { 0 } else { bits << position }, position: position.min(63) }
}

/// Where `bfi` inserts.
#[derive(Debug, Clone, Copy)]
pub struct LaneMask {
    /// The bits replaced.
    pub bits: u64,
    /// The shift of the inserted bits.
    pub position: u32,
}

/// `prmt`: bytes of `b:a` chosen by the nibbles of `c`; a nibble's bit 3 replicates the byte's sign.
pub fn permute_bytes(a: u32, b: u32, selectors: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let mut out = 0;
    for index in 0..4 {
        let selector = selectors >> (4 * index) & 15;
        let byte = (bytes >> (8 * (selector & 7))) as u8;
        let byte = if selector & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
        out |= u32::from(byte) << (8 * index);
    }
    out
}

/// `prmt.b32`: `d = prmt(a, b, c)`.
pub fn permute() -> LaneFn {
    lane_fn!(|a: u32, b: u32, c: u32| -> u32 { permute_bytes(a, b, c) })
}

/// `lop3.b32`: any function of three bits, given by its table (the immediate).
pub fn logic3() -> LaneFn {
    lane_fn!(|a: u32, b: u32, c: u32; imm| -> u32 {
        let mut out = 0;
        for row in 0..8 {
            let x = if row & 4 != 0 { a } else { !a };
            let y = if row & 2 != 0 { b } else { !b };
            let z = if row & 1 != 0 { c } else { !c };
            out |= (x & y & z) & ((imm >> row) & 1).wrapping_neg();
        }
        out
    })
}

/// `dp4a`: the sum of four products of bytes, plus `c`; signedness of `a` and `b`.
pub fn dot4(a_signed: bool, b_signed: bool) -> LaneFn {
    macro_rules! dot {
        ($ta:ty, $tb:ty) => {
            lane_fn!(|a: u32, b: u32, c: u32| -> u32 {
                let mut sum = c;
                for byte in 0..4 {
                    let x = i32::from((a >> (8 * byte)) as $ta);
                    let y = i32::from((b >> (8 * byte)) as $tb);
                    sum = sum.wrapping_add((x * y) as u32);
                }
                sum
            })
        };
    }
    match (a_signed, b_signed) {
        (false, false) => dot!(u8, u8),
        (false, true) => dot!(u8, i8),
        (true, false) => dot!(i8, u8),
        (true, true) => dot!(i8, i8),
    }
}

/// `mov.b64 d, {a, b}`: packs two words.
pub fn pack_words() -> LaneFn {
    lane_fn!(|a: u32, b: u32| -> u64 { u64::from(b) << 32 | u64::from(a) })
}

/// `mov.b32 d, {a, b}`: packs two halves.
pub fn pack_halves() -> LaneFn {
    lane_fn!(|a: u16, b: u16| -> u32 { u32::from(b) << 16 | u32::from(a) })
}

/// One part of `mov.b64 {…}, a` or `mov.b32 {…}, a`: `bits` bits of `a` from bit `imm`.
pub fn unpack(from: Type, bits: usize) -> Option<LaneFn> {
    Some(match (from.bytes(), bits) {
        (8, 32) => lane_fn!(|a: u64, b: u64, c: u64; imm| -> u32 { let _ = (b, c); (a >> imm) as u32 }),
        (8, 16) => lane_fn!(|a: u64, b: u64, c: u64; imm| -> u16 { let _ = (b, c); (a >> imm) as u16 }),
        (4, 16) => lane_fn!(|a: u32, b: u32, c: u32; imm| -> u16 { let _ = (b, c); (a >> imm) as u16 }),
        _ => return None,
    })
}
