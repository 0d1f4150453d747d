//! `cvt`: conversions.

use super::float::Rounding;
use super::{LaneFn, for_type, lane_fn};
use crate::ptx::Type;

macro_rules! for_integer {
    ($ty:expr, $T:ident => $body:expr) => {
        for_type!($ty, [U8: u8, S8: i8, U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], $T => $body)
    };
}

/// Conversion between integers: truncation or extension by the source's signedness; `saturate` clamps to the result's
/// range.
pub fn integer(to: Type, from: Type, saturate: bool) -> Option<LaneFn> {
    let from = unsigned_bits(from);
    if saturate {
        return for_integer!(from, S => for_integer!(unsigned_bits(to), D =>
            lane_fn!(rare |a: S| -> D { i128::from(a).clamp(i128::from(D::MIN), i128::from(D::MAX)) as D })))?;
    }
    // Where the result fills its register, its sign is of no matter.
    let to = match unsigned_bits(to) {
        Type::S32 => Type::U32,
        Type::S64 => Type::U64,
        other => other,
    };
    for_integer!(from, S => for_type!(to, [U8: u8, S8: i8, U16: u16, S16: i16, U32: u32, U64: u64], D =>
        lane_fn!(|a: S| -> D { a as D })))?
}

/// `.b` types convert like unsigned ones.
fn unsigned_bits(ty: Type) -> Type {
    match ty {
        Type::B8 => Type::U8,
        Type::B16 => Type::U16,
        Type::B32 => Type::U32,
        Type::B64 => Type::U64,
        other => other,
    }
}

/// A float rounded to an integral value.
#[inline(always)]
fn integral(mode: Rounding, value: f64) -> f64 {
    match mode {
        Rounding::Nearest => value.round_ties_even(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    }
}

macro_rules! for_mode {
    ($mode:expr, $M:ident => $body:expr) => {
        match $mode {
            Rounding::Nearest => {
                const $M: Rounding = Rounding::Nearest;
                $body
            }
            Rounding::Zero => {
                const $M: Rounding = Rounding::Zero;
                $body
            }
            Rounding::Down => {
                const $M: Rounding = Rounding::Down;
                $body
            }
            Rounding::Up => {
                const $M: Rounding = Rounding::Up;
                $body
            }
        }
    };
}

/// Conversion from a float to an integer: rounded, clamped to the result's range. A NaN gives 0, or, where one of
/// the two types has 64 bits, the result type's lowest signed or middle unsigned value, as the PTX manual has it.
pub fn float_to_integer(to: Type, from: Type, mode: Rounding) -> Option<LaneFn> {
    let from_single = match from {
        Type::F32 => true,
        Type::F64 => false,
        _ => return None,
    };
    for_type!(to, [U8: u8, S8: i8, U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], D => for_mode!(mode, M => {
        if from_single {
            lane_fn!(rare |a: f32| -> D {
                if a.is_nan() { if D::BITS == 64 { nan::<{ D::BITS }>() as D } else { 0 } } else { integral(M, f64::from(a)) as D }
            })
        } else {
            lane_fn!(rare |a: f64| -> D { if a.is_nan() { nan::<{ D::BITS }>() as D } else { integral(M, a) as D } })
        }
    }))
}

#[inline(always)]
fn nan<const BITS: u32>() -> u64 {
    1 << (BITS - 1)
}

/// Conversion from an integer to a float.
pub fn integer_to_float(to: Type, from: Type, mode: Rounding) -> Option<LaneFn> {
    match (to, mode) {
        (Type::F64, _) if from.bytes() < 8 || mode == Rounding::Nearest => {
            for_integer!(from, S => lane_fn!(rare |a: S| -> f64 { a as f64 }))
        }
        (Type::F32, Rounding::Nearest) => for_integer!(from, S => lane_fn!(rare |a: S| -> f32 { a as f32 })),
        (Type::F64, _) => for_type!(from, [U64: u64, S64: i64], S => for_mode!(mode, M =>
            lane_fn!(rare |a: S| -> f64 { toward(M, i128::from(a)) }))),
        _ => None,
    }
}

/// An integer as a double, rounded by `mode`.
fn toward(mode: Rounding, value: i128) -> f64 {
    let nearest = value as f64;
    let back = nearest as i128;
    match mode {
        Rounding::Nearest => nearest,
        Rounding::Down if back > value => nearest.next_down(),
        Rounding::Up if back < value => nearest.next_up(),
        Rounding::Zero if value > 0 && back > value => nearest.next_down(),
        Rounding::Zero if value < 0 && back < value => nearest.next_up(),
        _ => nearest,
    }
}

/// Conversion between floats, or (`to_integral`) to an integral value of the same type.
pub fn float(to: Type, from: Type, to_integral: Option<Rounding>) -> Option<LaneFn> {
    match (to, from, to_integral) {
        (Type::F64, Type::F32, None) => Some(lane_fn!(rare |a: f32| -> f64 { f64::from(a) })),
        (Type::F32, Type::F64, None) => Some(lane_fn!(rare |a: f64| -> f32 { a as f32 })),
        (Type::F64, Type::F64, Some(mode)) => {
            Some(for_mode!(mode, M => lane_fn!(rare |a: f64| -> f64 { integral(M, a) })))
        }
        (Type::F32, Type::F32, Some(mode)) => {
            Some(for_mode!(mode, M => lane_fn!(rare |a: f32| -> f32 { integral(M, f64::from(a)) as f32 })))
        }
        _ => None,
    }
}
