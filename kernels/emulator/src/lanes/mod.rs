//! What a pure instruction does to the 32 lanes of a warp: each is one function over whole registers, chosen when a
//! kernel is lowered, so that executing it costs one call for 32 threads and the compiler vectorises the loop. Nothing
//! here knows memory, other lanes or control flow.

pub mod carry;
pub mod compare;
pub mod convert;
pub mod float;
pub mod integer;

/// Threads of a warp.
pub const LANES: usize = 32;

/// All lanes active.
pub const FULL: u32 = u32::MAX;

/// A register's place in the register file, in words; before registers are allocated, its number.
pub type Reg = u32;

/// No register.
pub const NONE: Reg = Reg::MAX;

/// Operands of a pure instruction: results `d` and `e`, sources `a`, `b`, `c`, `n`, and an immediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Args {
    pub d: Reg,
    pub e: Reg,
    pub a: Reg,
    pub b: Reg,
    pub c: Reg,
    pub n: Reg,
    pub imm: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self { d: NONE, e: NONE, a: NONE, b: NONE, c: NONE, n: NONE, imm: 0 }
    }
}

/// Executes a pure instruction for the lanes of `mask`.
///
/// # Safety
/// The first argument points to a register file in which every register that the operands name lies: 32 words for
/// registers up to 32 bits, 64 words for those of 64, one word for predicates, aligned to its element.
pub type LaneFn = unsafe fn(*mut u32, u32, &Args);

/// The bits of one lane of a register: 32 or 64.
pub trait Raw: Copy {
    const ZERO: Self;
}
impl Raw for u32 {
    const ZERO: Self = 0;
}
impl Raw for u64 {
    const ZERO: Self = 0;
}

/// A type that a lane holds.
pub trait Lane: Copy {
    type Raw: Raw;
    fn from_raw(raw: Self::Raw) -> Self;
    fn to_raw(self) -> Self::Raw;
}

macro_rules! integer_lanes {
    ($($t:ty: $raw:ty, $through:ty);* $(;)?) => {$(
        impl Lane for $t {
            type Raw = $raw;
            #[inline(always)]
            fn from_raw(raw: $raw) -> Self { raw as Self }
            #[inline(always)]
            fn to_raw(self) -> $raw { self as $through as $raw }
        }
    )*};
}
// A narrow signed result is sign-extended into its register.
integer_lanes!(u8: u32, u32; i8: u32, i32; u16: u32, u32; i16: u32, i32; u32: u32, u32; i32: u32, i32; u64: u64, u64; i64: u64, i64);

impl Lane for f32 {
    type Raw = u32;
    #[inline(always)]
    fn from_raw(raw: u32) -> Self {
        Self::from_bits(raw)
    }
    #[inline(always)]
    fn to_raw(self) -> u32 {
        self.to_bits()
    }
}

impl Lane for f64 {
    type Raw = u64;
    #[inline(always)]
    fn from_raw(raw: u64) -> Self {
        Self::from_bits(raw)
    }
    #[inline(always)]
    fn to_raw(self) -> u64 {
        self.to_bits()
    }
}

/// The register `reg` as its 32 lanes.
///
/// # Safety
/// As for [`LaneFn`]; no reference to the same register is alive that is written through.
#[inline(always)]
pub unsafe fn lanes<'a, R: Raw>(file: *const u32, reg: Reg) -> &'a [R; LANES] {
    // SAFETY: the caller says that the register lies in the file.
    unsafe { &*file.add(reg as usize).cast() }
}

/// Writes the lanes of `mask`.
///
/// # Safety
/// As for [`LaneFn`].
#[inline(always)]
pub unsafe fn write<R: Raw>(file: *mut u32, reg: Reg, mask: u32, values: &[R; LANES]) {
    // SAFETY: the caller says that the register lies in the file.
    let into: &mut [R; LANES] = unsafe { &mut *file.add(reg as usize).cast() };
    if mask == FULL {
        *into = *values;
    } else {
        for lane in 0..LANES {
            into[lane] = if mask >> lane & 1 == 1 { values[lane] } else { into[lane] };
        }
    }
}

/// The predicate `reg`: one bit per lane.
///
/// # Safety
/// As for [`LaneFn`].
#[inline(always)]
pub unsafe fn predicate(file: *const u32, reg: Reg) -> u32 {
    // SAFETY: the caller says that the register lies in the file.
    unsafe { *file.add(reg as usize) }
}

/// Writes the bits of `mask` of a predicate.
///
/// # Safety
/// As for [`LaneFn`].
#[inline(always)]
pub unsafe fn write_predicate(file: *mut u32, reg: Reg, mask: u32, bits: u32) {
    // SAFETY: the caller says that the register lies in the file.
    unsafe {
        let into = file.add(reg as usize);
        *into = (*into & !mask) | (bits & mask);
    }
}

/// A pure function of up to three lanes.
pub trait LaneOp {
    type D: Lane;
    type A: Lane;
    type B: Lane;
    type C: Lane;
    const SOURCES: usize;
    fn call(a: Self::A, b: Self::B, c: Self::C, imm: u32) -> Self::D;
}

#[inline(always)]
unsafe fn map<F: LaneOp>(file: *mut u32, mask: u32, args: &Args) {
    let b = if F::SOURCES > 1 { args.b } else { args.a };
    let c = if F::SOURCES > 2 { args.c } else { args.a };
    // SAFETY: as the caller promises; the references end before the result is written.
    unsafe {
        let a = lanes::<<F::A as Lane>::Raw>(file, args.a);
        let b = lanes::<<F::B as Lane>::Raw>(file, b);
        let c = lanes::<<F::C as Lane>::Raw>(file, c);
        let mut out = [<F::D as Lane>::Raw::ZERO; LANES];
        for lane in 0..LANES {
            let d = F::call(Lane::from_raw(a[lane]), Lane::from_raw(b[lane]), Lane::from_raw(c[lane]), args.imm);
            out[lane] = d.to_raw();
        }
        write(file, args.d, mask, &out);
    }
}

/// A predicate of up to two lanes.
pub trait LaneTest {
    type A: Lane;
    fn call(a: Self::A, b: Self::A) -> bool;
}

#[inline(always)]
unsafe fn test<F: LaneTest>(file: *mut u32, mask: u32, args: &Args) {
    // SAFETY: as the caller promises.
    unsafe {
        let a = lanes::<<F::A as Lane>::Raw>(file, args.a);
        let b = lanes::<<F::A as Lane>::Raw>(file, args.b);
        let mut bits = 0;
        for lane in 0..LANES {
            bits |= u32::from(F::call(Lane::from_raw(a[lane]), Lane::from_raw(b[lane]))) << lane;
        }
        write_predicate(file, args.d, mask, bits);
    }
}

/// [`LaneFn`] of an instruction that programs rarely execute: one version, for any processor.
pub fn pick_rare<F: LaneOp>() -> LaneFn {
    map::<F>
}

/// Declares `$pick::<F>()`: the version of `$inner::<F>` for the widest vectors that this processor has.
macro_rules! versions {
    ($pick:ident, $inner:ident, $trait:ident) => {
        pub fn $pick<F: $trait>() -> LaneFn {
            unsafe fn plain<F: $trait>(file: *mut u32, mask: u32, args: &Args) {
                // SAFETY: as the caller promises.
                unsafe { $inner::<F>(file, mask, args) }
            }
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,fma")]
                unsafe fn avx2<F: $trait>(file: *mut u32, mask: u32, args: &Args) {
                    // SAFETY: as the caller promises.
                    unsafe { $inner::<F>(file, mask, args) }
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,bmi1,bmi2,lzcnt,popcnt,fma")]
                unsafe fn avx512<F: $trait>(file: *mut u32, mask: u32, args: &Args) {
                    // SAFETY: as the caller promises.
                    unsafe { $inner::<F>(file, mask, args) }
                }
                match crate::lanes::vectors() {
                    Vectors::Avx512 => return avx512::<F>,
                    Vectors::Avx2 => return avx2::<F>,
                    Vectors::Plain => {}
                }
            }
            plain::<F>
        }
    };
}
versions!(pick_map, map, LaneOp);
versions!(pick_test, test, LaneTest);

/// The vector instructions that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vectors {
    Plain,
    Avx2,
    Avx512,
}

/// What [`Vectors`] this processor has.
pub fn vectors() -> Vectors {
    #[cfg(target_arch = "x86_64")]
    {
        let common = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("fma");
        if common
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            return Vectors::Avx512;
        }
        if common {
            return Vectors::Avx2;
        }
    }
    Vectors::Plain
}

/// `lane_fn!(|a: u32, b: u32| -> u32 { a & b })`: a [`LaneFn`] that maps lanes; a last `; imm` names the immediate. With
/// `rare` before it there is one version only, which keeps the library small.
macro_rules! lane_fn {
    (rare |$a:ident: $ta:ty| -> $d:ty $body:block) => {
        lane_fn!(@ pick_rare, 1, $a: $ta, _unused_b: $ta, _unused_c: $ta, _imm, $d, $body)
    };
    (rare |$a:ident: $ta:ty, $b:ident: $tb:ty| -> $d:ty $body:block) => {
        lane_fn!(@ pick_rare, 2, $a: $ta, $b: $tb, _unused_c: $ta, _imm, $d, $body)
    };
    (rare |$a:ident: $ta:ty, $b:ident: $tb:ty, $c:ident: $tc:ty| -> $d:ty $body:block) => {
        lane_fn!(@ pick_rare, 3, $a: $ta, $b: $tb, $c: $tc, _imm, $d, $body)
    };
    (|$a:ident: $ta:ty| -> $d:ty $body:block) => {
        lane_fn!(@ pick_map, 1, $a: $ta, _unused_b: $ta, _unused_c: $ta, _imm, $d, $body)
    };
    (|$a:ident: $ta:ty, $b:ident: $tb:ty| -> $d:ty $body:block) => {
        lane_fn!(@ pick_map, 2, $a: $ta, $b: $tb, _unused_c: $ta, _imm, $d, $body)
    };
    (|$a:ident: $ta:ty, $b:ident: $tb:ty, $c:ident: $tc:ty| -> $d:ty $body:block) => {
        lane_fn!(@ pick_map, 3, $a: $ta, $b: $tb, $c: $tc, _imm, $d, $body)
    };
    (|$a:ident: $ta:ty, $b:ident: $tb:ty, $c:ident: $tc:ty; $imm:ident| -> $d:ty $body:block) => {
        lane_fn!(@ pick_map, 3, $a: $ta, $b: $tb, $c: $tc, $imm, $d, $body)
    };
    (@ $pick:ident, $n:literal, $a:ident: $ta:ty, $b:ident: $tb:ty, $c:ident: $tc:ty, $imm:ident, $d:ty, $body:block) => {{
        struct Here;
        impl $crate::lanes::LaneOp for Here {
            type D = $d;
            type A = $ta;
            type B = $tb;
            type C = $tc;
            const SOURCES: usize = $n;
            #[inline(always)]
            fn call($a: $ta, $b: $tb, $c: $tc, $imm: u32) -> $d $body
        }
        $crate::lanes::$pick::<Here>()
    }};
}

/// `test_fn!(|a: u32, b| { a < b })`: a [`LaneFn`] that writes a predicate.
macro_rules! test_fn {
    (|$a:ident: $t:ty, $b:ident| $body:block) => {{
        struct Here;
        impl $crate::lanes::LaneTest for Here {
            type A = $t;
            #[inline(always)]
            fn call($a: $t, $b: $t) -> bool $body
        }
        $crate::lanes::pick_test::<Here>()
    }};
}

/// `for_type!(ty, [U32: u32, S32: i32], T => expression)`: the expression for the Rust type of `ty`, or `None`.
macro_rules! for_type {
    ($ty:expr, [$($variant:ident: $rust:ty),* $(,)?], $T:ident => $body:expr) => {
        match $ty {
            $($crate::ptx::Type::$variant => {
                type $T = $rust;
                Some($body)
            })*
            _ => None,
        }
    };
}

pub(crate) use {for_type, lane_fn, test_fn};
