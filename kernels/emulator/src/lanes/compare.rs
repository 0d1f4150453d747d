//! `setp`: comparisons.

use super::{LaneFn, for_type, test_fn};
use crate::ptx::Type;

/// The comparison `op` of two values of type `ty`. Floating-point ones are ordered (false for NaN) except `ne` of none
/// and those ending in `u`, which are true for NaN; `num` and `nan` ask for it.
pub fn comparison(op: &str, ty: Type) -> Option<LaneFn> {
    macro_rules! on {
        ([$($list:tt)*], |$a:ident, $b:ident| $body:block) => {
            for_type!(ty, [$($list)*], T => test_fn!(|$a: T, $b| $body))
        };
    }
    if matches!(ty, Type::F32 | Type::F64) {
        macro_rules! float {
            (|$a:ident, $b:ident| $body:block) => { on!([F32: f32, F64: f64], |$a, $b| $body) };
        }
        return match op {
            "eq" => float!(|a, b| { a == b }),
            "ne" => float!(|a, b| { !a.is_nan() && !b.is_nan() && a != b }),
            "lt" => float!(|a, b| { a < b }),
            "le" => float!(|a, b| { a <= b }),
            "gt" => float!(|a, b| { a > b }),
            "ge" => float!(|a, b| { a >= b }),
            "equ" => float!(|a, b| { a.is_nan() || b.is_nan() || a == b }),
            "neu" => float!(|a, b| { a != b }),
            "ltu" => float!(|a, b| { a.is_nan() || b.is_nan() || a < b }),
            "leu" => float!(|a, b| { a.is_nan() || b.is_nan() || a <= b }),
            "gtu" => float!(|a, b| { a.is_nan() || b.is_nan() || a > b }),
            "geu" => float!(|a, b| { a.is_nan() || b.is_nan() || a >= b }),
            "num" => float!(|a, b| { !a.is_nan() && !b.is_nan() }),
            "nan" => float!(|a, b| { a.is_nan() || b.is_nan() }),
            _ => None,
        };
    }
    match op {
        "eq" => {
            on!([B16: u16, U16: u16, S16: u16, B32: u32, U32: u32, S32: u32, B64: u64, U64: u64, S64: u64], |a, b| { a == b })
        }
        "ne" => {
            on!([B16: u16, U16: u16, S16: u16, B32: u32, U32: u32, S32: u32, B64: u64, U64: u64, S64: u64], |a, b| { a != b })
        }
        "lt" => on!([U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], |a, b| { a < b }),
        "le" => on!([U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], |a, b| { a <= b }),
        "gt" => on!([U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], |a, b| { a > b }),
        "ge" => on!([U16: u16, S16: i16, U32: u32, S32: i32, U64: u64, S64: i64], |a, b| { a >= b }),
        "lo" => on!([U16: u16, U32: u32, U64: u64], |a, b| { a < b }),
        "ls" => on!([U16: u16, U32: u32, U64: u64], |a, b| { a <= b }),
        "hi" => on!([U16: u16, U32: u32, U64: u64], |a, b| { a > b }),
        "hs" => on!([U16: u16, U32: u32, U64: u64], |a, b| { a >= b }),
        _ => None,
    }
}
