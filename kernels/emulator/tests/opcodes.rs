//! Each instruction against a reference in Rust, written from the PTX manual and not from the emulator, over edge values
//! and random ones. Operands: `%rd1` to `%rd3` hold 64 random bits `a`, `b`, `c`; `%r1` to `%r3`, `%h1` to `%h3`,
//! `%f1` to `%f3`, `%fd1` to `%fd3` the same low bits, and `%p1` to `%p3` their lowest bit. Results: `%r20` and so on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Device, config, device};
use cudarc::driver::PushKernelArg;
use rand::{RngExt, SeedableRng};

/// Threads of a test.
const CASES: usize = 4096;

/// Which register holds the result.
#[derive(Debug, Clone, Copy)]
enum Out {
    /// `%h20`.
    H,
    /// `%r20`.
    R,
    /// `%rd20`.
    Rd,
    /// `%f20`, by its bits.
    F,
    /// `%fd20`, by its bits.
    Fd,
    /// `%p20`.
    P,
    /// `%p20` and `%p21`, as bits 0 and 1.
    Pp,
    /// `%r20` below `%r21`.
    Rr,
}

const EDGES: &[u64] = &[
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    257,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0xffff_ffff_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
    u64::MAX - 1,
    0x0102_0304_0506_0708,
    // Singles: 1, -1, 0.5, infinities, NaN, smallest, -0 in the low half.
    0x3f80_0000,
    0xbf80_0000,
    0x3f00_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0x4f00_0000,
    // Doubles: 1, -1, 0.5, 1.5, 2.5, 2^52 + 0.5, 2^63, 2^64, -2^63, infinities, NaN, largest, smallest.
    0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000,
    0x3fe0_0000_0000_0000,
    0x3ff8_0000_0000_0000,
    0x4004_0000_0000_0000,
    0x4330_0000_0000_0001,
    0x43e0_0000_0000_0000,
    0x43f0_0000_0000_0000,
    0xc3e0_0000_0000_0000,
    0x41e0_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x7fef_ffff_ffff_ffff,
    0x0000_0000_0000_0001,
    0xc06f_e800_0000_0000,
    0x40ef_ffe0_0000_0000,
];

fn values() -> [Vec<u64>; 3] {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    let mut one = |_| {
        (0..CASES)
            .map(|_| match random.random_range(0..5) {
                0..=2 => EDGES[random.random_range(0..EDGES.len())],
                // Doubles of moderate size, and any bits.
                3 => ((random.random::<f64>() - 0.5) * 2f64.powi(random.random_range(0..70))).to_bits(),
                _ => random.random(),
            })
            .collect::<Vec<u64>>()
    };
    [one(0), one(1), one(2)]
}

struct Bench {
    device: Device,
    inputs: [Vec<u64>; 3],
}

impl Bench {
    fn new() -> Self {
        Self { device: device(), inputs: values() }
    }

    /// Executes `text` in every thread.
    fn execute(&self, text: &str, out: Out) -> Vec<u64> {
        let store = match out {
            Out::H => "cvt.u64.u16 %rd30, %h20;",
            Out::R => "cvt.u64.u32 %rd30, %r20;",
            Out::Rd => "mov.u64 %rd30, %rd20;",
            Out::F => "mov.b32 %r30, %f20; cvt.u64.u32 %rd30, %r30;",
            Out::Fd => "mov.b64 %rd30, %fd20;",
            Out::P => "selp.b64 %rd30, 1, 0, %p20;",
            Out::Pp => "selp.b64 %rd30, 1, 0, %p20; selp.b64 %rd31, 2, 0, %p21; add.u64 %rd30, %rd30, %rd31;",
            Out::Rr => "mov.b64 %rd30, {%r20, %r21};",
        };
        let mut body = String::from(
            "mov.u32 %r10, %ctaid.x; mov.u32 %r11, %ntid.x; mov.u32 %r12, %tid.x; mad.lo.u32 %r10, %r10, %r11, %r12;\n\
             mul.wide.u32 %rd10, %r10, 8;\n",
        );
        for index in 1..=3 {
            body += &format!(
                "ld.param.u64 %rd11, [p{index}]; add.u64 %rd11, %rd11, %rd10; ld.global.u64 %rd{index}, [%rd11];\n\
                 cvt.u32.u64 %r{index}, %rd{index}; cvt.u16.u64 %h{index}, %rd{index}; mov.b32 %f{index}, %r{index};\n\
                 mov.b64 %fd{index}, %rd{index}; and.b32 %r13, %r{index}, 1; setp.eq.u32 %p{index}, %r13, 1;\n"
            );
        }
        body += &format!(
            "{text}\n{store}\nld.param.u64 %rd11, [p4]; add.u64 %rd11, %rd11, %rd10; st.global.u64 [%rd11], %rd30;"
        );
        let params = ".param .u64 p1, .param .u64 p2, .param .u64 p3, .param .u64 p4";
        let kernel = self.device.kernel(&common::ptx(params, &body));
        let stream = self.device.context.default_stream();
        let [a, b, c] = self.inputs.each_ref().map(|input| stream.clone_htod(input).unwrap());
        let mut result = stream.alloc_zeros::<u64>(CASES).unwrap();
        // SAFETY: the kernel has four pointers to as many words as there are threads.
        unsafe {
            let mut launch = stream.launch_builder(&kernel);
            launch.arg(&a).arg(&b).arg(&c).arg(&mut result).launch(config(CASES as u32 / 128, 128)).unwrap();
        }
        stream.clone_dtoh(&result).unwrap_or_else(|error| {
            panic!("{text}: {error}: {:?}", common::reports(common::emulator(), self.device.context.ordinal()))
        })
    }

    /// The results are those of the reference.
    fn check(&self, text: &str, out: Out, reference: impl Fn(u64, u64, u64) -> u64) {
        let found = self.execute(text, out);
        for (index, found) in found.into_iter().enumerate() {
            let [a, b, c] = [0, 1, 2].map(|input| self.inputs[input][index]);
            let expected = reference(a, b, c);
            let nan = match out {
                Out::Fd => f64::from_bits(expected).is_nan() && f64::from_bits(found).is_nan(),
                Out::F => f32::from_bits(expected as u32).is_nan() && f32::from_bits(found as u32).is_nan(),
                _ => false,
            };
            assert!(found == expected || nan, "{text} of {a:#x}, {b:#x}, {c:#x}: {found:#x}, expected {expected:#x}");
        }
    }
}

/// The low `bits` bits as an integer with or without sign.
fn int(value: u64, bits: u32, signed: bool) -> i128 {
    let low = i128::from(value) & ((1 << bits) - 1);
    if signed && low >> (bits - 1) == 1 { low - (1 << bits) } else { low }
}

fn low(value: i128, bits: u32) -> u64 {
    (value & ((1 << bits) - 1)) as u64
}

/// Register prefix and result of a width.
fn regs(bits: u32) -> (&'static str, Out) {
    match bits {
        16 => ("h", Out::H),
        32 => ("r", Out::R),
        _ => ("rd", Out::Rd),
    }
}

fn integer_types() -> impl Iterator<Item = (String, u32, bool)> {
    [16, 32, 64]
        .into_iter()
        .flat_map(|bits| [('u', false), ('s', true)].map(|(name, signed)| (format!("{name}{bits}"), bits, signed)))
}

#[test]
fn integer_arithmetic() {
    let bench = Bench::new();
    for (ty, bits, signed) in integer_types() {
        let (r, out) = regs(bits);
        let int = |value| int(value, bits, signed);
        let low = |value| low(value, bits);
        let binary = |op: &str| format!("{op}.{ty} %{r}20, %{r}1, %{r}2;");
        let ternary = |op: &str| format!("{op}.{ty} %{r}20, %{r}1, %{r}2, %{r}3;");
        bench.check(&binary("add"), out, |a, b, _| low(int(a) + int(b)));
        bench.check(&binary("sub"), out, |a, b, _| low(int(a) - int(b)));
        bench.check(&binary("mul.lo"), out, |a, b, _| low(int(a).wrapping_mul(int(b))));
        bench.check(&binary("mul.hi"), out, |a, b, _| match signed {
            true => low((int(a) * int(b)) >> bits),
            false => low(((int(a) as u128 * int(b) as u128) >> bits) as i128),
        });
        bench.check(&binary("min"), out, |a, b, _| low(int(a).min(int(b))));
        bench.check(&binary("max"), out, |a, b, _| low(int(a).max(int(b))));
        bench.check(&ternary("mad.lo"), out, |a, b, c| low(int(a).wrapping_mul(int(b)).wrapping_add(int(c))));
        bench.check(&ternary("sad"), out, |a, b, c| low((int(a) - int(b)).abs() + int(c)));
        // Division truncates; by zero it is what the hardware's routine leaves.
        bench.check(&binary("div"), out, |a, b, _| if int(b) == 0 { low(-1) } else { low(int(a) / int(b)) });
        bench.check(&binary("rem"), out, |a, b, _| if int(b) == 0 { low(int(a)) } else { low(int(a) % int(b)) });
        bench.check(&format!("add.{ty} %{r}20, %{r}1, -3;"), out, |a, _, _| low(int(a) - 3));
        if signed {
            bench.check(&format!("neg.{ty} %{r}20, %{r}1;"), out, |a, _, _| low(-int(a)));
            bench.check(&format!("abs.{ty} %{r}20, %{r}1;"), out, |a, _, _| low(int(a).abs()));
        }
    }
    bench.check("mad.hi.u32 %r20, %r1, %r2, %r3;", Out::R, |a, b, c| {
        low(((int(a, 32, false) * int(b, 32, false)) >> 32) + int(c, 32, false), 32)
    });
}

#[test]
fn wide_products() {
    let bench = Bench::new();
    for (ty, bits, signed) in [("u16", 16, false), ("s16", 16, true), ("u32", 32, false), ("s32", 32, true)] {
        let ((r, _), (w, out)) = (regs(bits), regs(2 * bits));
        let product = move |a, b| int(a, bits, signed) * int(b, bits, signed);
        bench.check(&format!("mul.wide.{ty} %{w}20, %{r}1, %{r}2;"), out, |a, b, _| low(product(a, b), 2 * bits));
        bench.check(&format!("mad.wide.{ty} %{w}20, %{r}1, %{r}2, %{w}3;"), out, |a, b, c| {
            low(product(a, b) + i128::from(c), 2 * bits)
        });
    }
}

#[test]
fn carries() {
    let bench = Bench::new();
    // 128-bit sums and differences of a:b and c:a in words of both widths.
    let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
    bench.check("add.cc.u64 %rd21, %rd1, %rd2; addc.u64 %rd20, %rd2, %rd3;", Out::Rd, |a, b, c| {
        (wide(b, a).wrapping_add(wide(c, b)) >> 64) as u64
    });
    bench.check("sub.cc.u64 %rd21, %rd1, %rd2; subc.u64 %rd20, %rd2, %rd3;", Out::Rd, |a, b, c| {
        (wide(b, a).wrapping_sub(wide(c, b)) >> 64) as u64
    });
    let narrow = |high: u64, low: u64| (high << 32) | (low & 0xffff_ffff);
    bench.check("add.cc.u32 %r20, %r1, %r2; addc.cc.u32 %r21, %r2, %r3;", Out::Rr, |a, b, c| {
        narrow(b, a).wrapping_add(narrow(c, b))
    });
    bench.check("sub.cc.u32 %r20, %r1, %r2; subc.cc.u32 %r21, %r2, %r3;", Out::Rr, |a, b, c| {
        narrow(b, a).wrapping_sub(narrow(c, b))
    });
    bench.check("add.cc.u32 %r22, %r1, %r2; addc.cc.u32 %r23, %r2, -1; addc.u32 %r20, 0, 0;", Out::R, |a, b, _| {
        u64::from((u128::from(narrow(b, a)) + u128::from(narrow(0xffff_ffff, b))) >> 64 != 0)
    });
    bench.check("add.cc.u32 %r22, %r1, %r2; addc.cc.u32 %r23, %r2, -1; subc.u32 %r20, 0, 0;", Out::R, |a, b, _| {
        low(-i128::from((u128::from(narrow(b, a)) + u128::from(narrow(0xffff_ffff, b))) >> 64 != 0), 32)
    });
    // The product of a and b in words, plus c: as compilers write 64-bit products.
    bench.check("mad.lo.cc.u32 %r20, %r1, %r2, %r3; madc.hi.u32 %r21, %r1, %r2, 0;", Out::Rr, |a, b, c| {
        (a & 0xffff_ffff) * (b & 0xffff_ffff) + (c & 0xffff_ffff)
    });
    bench.check("mad.lo.cc.u64 %rd21, %rd1, %rd2, %rd3; madc.hi.u64 %rd20, %rd1, %rd2, 0;", Out::Rd, |a, b, c| {
        ((u128::from(a) * u128::from(b) + u128::from(c)) >> 64) as u64
    });
}

#[test]
fn bits() {
    let bench = Bench::new();
    for (bits, r, out) in [(16, "h", Out::H), (32, "r", Out::R), (64, "rd", Out::Rd)] {
        let ones = low(-1, bits);
        bench.check(&format!("and.b{bits} %{r}20, %{r}1, %{r}2;"), out, |a, b, _| a & b & ones);
        bench.check(&format!("or.b{bits} %{r}20, %{r}1, %{r}2;"), out, |a, b, _| (a | b) & ones);
        bench.check(&format!("xor.b{bits} %{r}20, %{r}1, %{r}2;"), out, |a, b, _| (a ^ b) & ones);
        bench.check(&format!("not.b{bits} %{r}20, %{r}1;"), out, |a, _, _| !a & ones);
        bench.check(&format!("cnot.b{bits} %{r}20, %{r}1;"), out, |a, _, _| u64::from(a & ones == 0));
        // Amounts beyond the width act as the width.
        let amount = move |b: u64| (b & 0xffff_ffff).min(64) as u32;
        bench.check(&format!("shl.b{bits} %{r}20, %{r}1, %r2;"), out, |a, b, _| {
            low(int(a, bits, false) << amount(b), bits)
        });
        bench.check(&format!("shr.u{bits} %{r}20, %{r}1, %r2;"), out, |a, b, _| {
            low(int(a, bits, false) >> amount(b), bits)
        });
        bench.check(&format!("shr.s{bits} %{r}20, %{r}1, %r2;"), out, |a, b, _| {
            low(int(a, bits, true) >> amount(b), bits)
        });
    }
    for (bits, r, out) in [(32u32, "r", Out::R), (64, "rd", Out::Rd)] {
        let bit = |a: u64, at: u32| a >> at & 1;
        bench.check(&format!("popc.b{bits} %r20, %{r}1;"), Out::R, |a, _, _| (0..bits).map(|at| bit(a, at)).sum());
        let top = move |a: u64, sign: u64| (0..bits).rev().find(|&at| bit(a, at) != sign);
        bench.check(&format!("clz.b{bits} %r20, %{r}1;"), Out::R, |a, _, _| {
            u64::from(bits - top(a, 0).map_or(0, |t| t + 1))
        });
        bench.check(&format!("bfind.u{bits} %r20, %{r}1;"), Out::R, |a, _, _| top(a, 0).map_or(0xffff_ffff, u64::from));
        bench.check(&format!("bfind.s{bits} %r20, %{r}1;"), Out::R, |a, _, _| {
            top(a, bit(a, bits - 1)).map_or(0xffff_ffff, u64::from)
        });
        bench.check(&format!("bfind.shiftamt.u{bits} %r20, %{r}1;"), Out::R, |a, _, _| {
            top(a, 0).map_or(0xffff_ffff, |t| u64::from(bits - 1 - t))
        });
        bench.check(&format!("bfind.shiftamt.s{bits} %r20, %{r}1;"), Out::R, |a, _, _| {
            top(a, bit(a, bits - 1)).map_or(0xffff_ffff, |t| u64::from(bits - 1 - t))
        });
        bench.check(&format!("brev.b{bits} %{r}20, %{r}1;"), out, |a, _, _| {
            (0..bits).map(|at| bit(a, at) << (bits - 1 - at)).sum()
        });
        for signed in [false, true] {
            // The manual's own definition, bit by bit.
            let ty = if signed { "s" } else { "u" };
            bench.check(&format!("bfe.{ty}{bits} %{r}20, %{r}1, %r2, %r3;"), out, |a, b, c| {
                let (position, length) = ((b & 255) as u32, (c & 255) as u32);
                let fill = if !signed || length == 0 { 0 } else { bit(a, (position + length - 1).min(bits - 1)) };
                (0..bits)
                    .map(|at| if at < length && position + at < bits { bit(a, position + at) } else { fill } << at)
                    .sum()
            });
        }
        bench.check(&format!("bfi.b{bits} %{r}20, %{r}1, %{r}2, %r2, %r3;"), out, |a, b, c| {
            let (position, length) = ((b & 255) as u32, (c & 255) as u32);
            (0..bits)
                .map(|at| {
                    let inside = at >= position && at - position < length;
                    if inside { bit(a, at - position) << at } else { bit(b, at) << at }
                })
                .sum()
        });
    }
}

#[test]
fn bytes_and_tables() {
    let bench = Bench::new();
    for (mode, wrap) in [("wrap", true), ("clamp", false)] {
        let amount = move |c: u64| if wrap { c & 31 } else { (c & 0xffff_ffff).min(32) };
        let both = |a: u64, b: u64| u128::from(b & 0xffff_ffff) << 32 | u128::from(a & 0xffff_ffff);
        bench.check(&format!("shf.l.{mode}.b32 %r20, %r1, %r2, %r3;"), Out::R, |a, b, c| {
            ((both(a, b) << amount(c)) >> 32) as u64 & 0xffff_ffff
        });
        bench.check(&format!("shf.r.{mode}.b32 %r20, %r1, %r2, %r3;"), Out::R, |a, b, c| {
            (both(a, b) >> amount(c)) as u64 & 0xffff_ffff
        });
    }
    bench.check("prmt.b32 %r20, %r1, %r2, %r3;", Out::R, |a, b, c| {
        let bytes = [(a as u32).to_le_bytes(), (b as u32).to_le_bytes()].concat();
        let chosen = [0, 1, 2, 3].map(|i| {
            let selector = (c >> (4 * i)) as usize & 15;
            let byte = bytes[selector & 7];
            if selector < 8 {
                byte
            } else if byte >= 128 {
                255
            } else {
                0
            }
        });
        u64::from(u32::from_le_bytes(chosen))
    });
    for table in [0u64, 0x80, 0x96, 0xe8, 0xca, 0xff, 0x1b] {
        bench.check(&format!("lop3.b32 %r20, %r1, %r2, %r3, {table};"), Out::R, |a, b, c| {
            (0..32).map(|at| (table >> ((a >> at & 1) << 2 | (b >> at & 1) << 1 | (c >> at & 1)) & 1) << at).sum()
        });
    }
    for (name, a_signed, b_signed) in
        [("u32.u32", false, false), ("s32.s32", true, true), ("u32.s32", false, true), ("s32.u32", true, false)]
    {
        bench.check(&format!("dp4a.{name} %r20, %r1, %r2, %r3;"), Out::R, |a, b, c| {
            let dot: i128 = (0..4).map(|i| int(a >> (8 * i), 8, a_signed) * int(b >> (8 * i), 8, b_signed)).sum();
            low(dot + int(c, 32, true), 32)
        });
    }
    bench.check("mov.b64 %rd20, {%r1, %r2};", Out::Rd, |a, b, _| b << 32 | (a & 0xffff_ffff));
    bench.check("mov.b64 {%r21, %r20}, %rd1;", Out::Rr, |a, _, _| a.rotate_left(32));
    bench.check("mov.b32 %r20, {%h1, %h2};", Out::R, |a, b, _| (b & 0xffff) << 16 | (a & 0xffff));
    bench.check("mov.b32 {%h21, %h20}, %r1;", Out::H, |a, _, _| a >> 16 & 0xffff);
    bench.check(
        "mov.b64 {%h21, %h22, %h23, %h20}, %rd1; mov.b64 %rd20, {%h20, %h21, %h22, %h23};",
        Out::Rd,
        |a, _, _| a.rotate_left(16),
    );
}

#[test]
fn comparisons_and_selection() {
    let bench = Bench::new();
    for (ty, bits, signed) in integer_types() {
        let (r, out) = regs(bits);
        let order = move |a, b| int(a, bits, signed).cmp(&int(b, bits, signed));
        for (op, holds) in [
            ("eq", (|o: std::cmp::Ordering| o.is_eq()) as fn(std::cmp::Ordering) -> bool),
            ("ne", |o| o.is_ne()),
            ("lt", |o| o.is_lt()),
            ("le", |o| o.is_le()),
            ("gt", |o| o.is_gt()),
            ("ge", |o| o.is_ge()),
        ] {
            bench
                .check(&format!("setp.{op}.{ty} %p20, %{r}1, %{r}2;"), Out::P, |a, b, _| u64::from(holds(order(a, b))));
            bench.check(&format!("setp.{op}.and.{ty} %p20|%p21, %{r}1, %{r}2, !%p3;"), Out::Pp, |a, b, c| {
                let (test, other) = (holds(order(a, b)), c & 1 == 0);
                u64::from(test && other) | u64::from(!test && other) << 1
            });
        }
        bench.check(&format!("selp.b{bits} %{r}20, %{r}1, %{r}2, %p3;"), out, |a, b, c| {
            low(i128::from(if c & 1 == 1 { a } else { b }), bits)
        });
    }
    bench.check("setp.lo.u32 %p20, %r1, %r2;", Out::P, |a, b, _| u64::from((a as u32) < b as u32));
    bench.check("setp.hs.or.u64 %p20, %rd1, %rd2, %p3;", Out::P, |a, b, c| u64::from(a >= b || c & 1 == 1));
    bench.check("setp.lt.xor.s64 %p20, %rd1, %rd2, %p3;", Out::P, |a, b, c| {
        u64::from(((a as i64) < b as i64) != (c & 1 == 1))
    });
    bench.check("set.gt.u32.s32 %r20, %r1, %r2;", Out::R, |a, b, _| if a as i32 > b as i32 { 0xffff_ffff } else { 0 });
    bench.check("and.pred %p20, %p1, %p2;", Out::P, |a, b, _| a & b & 1);
    bench.check("or.pred %p20, %p1, !%p2;", Out::P, |a, b, _| (a | !b) & 1);
    bench.check("xor.pred %p20, %p1, %p2;", Out::P, |a, b, _| (a ^ b) & 1);
    bench.check("not.pred %p20, %p1;", Out::P, |a, _, _| !a & 1);
    bench.check("mov.u32 %r20, 5; @%p1 mov.u32 %r20, 6; @!%p2 add.u32 %r20, %r20, 10;", Out::R, |a, b, _| {
        5 + (a & 1) + 10 * (!b & 1)
    });
    type Compare = fn(Option<std::cmp::Ordering>) -> bool;
    let ordered: [(&str, Compare); 14] = [
        ("eq", |o| o.is_some_and(|o| o.is_eq())),
        ("ne", |o| o.is_some_and(|o| o.is_ne())),
        ("lt", |o| o.is_some_and(|o| o.is_lt())),
        ("le", |o| o.is_some_and(|o| o.is_le())),
        ("gt", |o| o.is_some_and(|o| o.is_gt())),
        ("ge", |o| o.is_some_and(|o| o.is_ge())),
        ("equ", |o| o.is_none_or(|o| o.is_eq())),
        ("neu", |o| o.is_none_or(|o| o.is_ne())),
        ("ltu", |o| o.is_none_or(|o| o.is_lt())),
        ("leu", |o| o.is_none_or(|o| o.is_le())),
        ("gtu", |o| o.is_none_or(|o| o.is_gt())),
        ("geu", |o| o.is_none_or(|o| o.is_ge())),
        ("num", |o| o.is_some()),
        ("nan", |o| o.is_none()),
    ];
    for (op, holds) in ordered {
        bench.check(&format!("setp.{op}.f64 %p20, %fd1, %fd2;"), Out::P, |a, b, _| {
            u64::from(holds(f64::from_bits(a).partial_cmp(&f64::from_bits(b))))
        });
        bench.check(&format!("setp.{op}.f32 %p20, %f1, %f2;"), Out::P, |a, b, _| {
            u64::from(holds(f32::from_bits(a as u32).partial_cmp(&f32::from_bits(b as u32))))
        });
    }
}

#[test]
fn floating_point() {
    let bench = Bench::new();
    let d = f64::from_bits;
    let s = |bits: u64| f32::from_bits(bits as u32);
    bench.check("add.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| (d(a) + d(b)).to_bits());
    bench.check("sub.rn.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| (d(a) - d(b)).to_bits());
    bench.check("mul.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| (d(a) * d(b)).to_bits());
    bench.check("div.rn.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| (d(a) / d(b)).to_bits());
    bench.check("fma.rn.f64 %fd20, %fd1, %fd2, %fd3;", Out::Fd, |a, b, c| d(a).mul_add(d(b), d(c)).to_bits());
    bench.check("sqrt.rn.f64 %fd20, %fd1;", Out::Fd, |a, _, _| d(a).sqrt().to_bits());
    bench.check("neg.f64 %fd20, %fd1;", Out::Fd, |a, _, _| a ^ 1 << 63);
    bench.check("abs.f64 %fd20, %fd1;", Out::Fd, |a, _, _| a & !(1 << 63));
    bench.check("add.rn.f32 %f20, %f1, %f2;", Out::F, |a, b, _| (s(a) + s(b)).to_bits().into());
    bench.check("mul.f32 %f20, %f1, %f2;", Out::F, |a, b, _| (s(a) * s(b)).to_bits().into());
    bench.check("fma.rn.f32 %f20, %f1, %f2, %f3;", Out::F, |a, b, c| s(a).mul_add(s(b), s(c)).to_bits().into());
    bench.check("div.rn.f32 %f20, %f1, %f2;", Out::F, |a, b, _| (s(a) / s(b)).to_bits().into());
    // A NaN loses, -0 is below +0.
    let key = |x: f64| (x, !x.is_sign_negative());
    bench.check("min.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| {
        let (x, y) = (d(a), d(b));
        if x.is_nan() || !y.is_nan() && key(y) < key(x) { b } else { a }
    });
    bench.check("max.f64 %fd20, %fd1, %fd2;", Out::Fd, |a, b, _| {
        let (x, y) = (d(a), d(b));
        if x.is_nan() || !y.is_nan() && key(y) > key(x) { b } else { a }
    });
}

/// Whether `found` is the double next to the exact value (a fraction of integers times a power of two) in a direction.
#[test]
fn directed_rounding_of_doubles() {
    let mut bench = Bench::new();
    // Integers of up to 60 bits as doubles, so that sums and products are exact in 128 bits.
    for input in &mut bench.inputs {
        for value in input.iter_mut() {
            *value = ((*value as i64 >> 4) as f64).to_bits();
        }
    }
    let exact = |bits: u64| f64::from_bits(bits) as i128;
    let rounded = |value: i128, mode: &str| -> f64 {
        let near = value as f64;
        let (below, above) = (
            if near as i128 > value { near.next_down() } else { near },
            if (near as i128) < value { near.next_up() } else { near },
        );
        match mode {
            "rm" => below,
            "rp" => above,
            "rz" if value > 0 => below,
            "rz" => above,
            _ => near,
        }
    };
    for mode in ["rn", "rz", "rm", "rp"] {
        let zero = |value: f64| if value == 0.0 { 0 } else { value.to_bits() };
        let check = |text: String, exact: &dyn Fn(u64, u64) -> i128| {
            for (index, found) in bench.execute(&text, Out::Fd).into_iter().enumerate() {
                let (a, b) = (bench.inputs[0][index], bench.inputs[1][index]);
                // The sign of zero is left to another test.
                assert_eq!(zero(f64::from_bits(found)), zero(rounded(exact(a, b), mode)), "{text} of {a:#x}, {b:#x}");
            }
        };
        check(format!("add.{mode}.f64 %fd20, %fd1, %fd2;"), &|a, b| exact(a) + exact(b));
        check(format!("sub.{mode}.f64 %fd20, %fd1, %fd2;"), &|a, b| exact(a) - exact(b));
        check(format!("mul.{mode}.f64 %fd20, %fd1, %fd2;"), &|a, b| exact(a) * exact(b));
    }
    for mode in ["rn", "rz", "rm", "rp"] {
        for (ty, signed) in [("u64", false), ("s64", true)] {
            bench.check(&format!("cvt.{mode}.f64.{ty} %fd20, %rd1;"), Out::Fd, |a, _, _| {
                rounded(int(a, 64, signed), mode).to_bits()
            });
        }
    }
}

#[test]
fn conversions() {
    let bench = Bench::new();
    for (to, to_bits, to_signed) in integer_types() {
        for (from, from_bits, from_signed) in integer_types() {
            let ((r, out), (q, _)) = (regs(to_bits), regs(from_bits));
            bench.check(&format!("cvt.{to}.{from} %{r}20, %{q}1;"), out, |a, _, _| {
                low(int(a, from_bits, from_signed), to_bits)
            });
            let (least, most) =
                if to_signed { (-(1i128 << (to_bits - 1)), (1 << (to_bits - 1)) - 1) } else { (0, (1 << to_bits) - 1) };
            bench.check(&format!("cvt.sat.{to}.{from} %{r}20, %{q}1;"), out, |a, _, _| {
                low(int(a, from_bits, from_signed).clamp(least, most), to_bits)
            });
        }
        // Rounded, clamped; a NaN gives zero, or, with 64 bits on either side, the top bit.
        let (r, out) = regs(to_bits);
        let (least, most) =
            if to_signed { (-(1i128 << (to_bits - 1)), (1 << (to_bits - 1)) - 1) } else { (0, (1 << to_bits) - 1) };
        let whole = |value: f64| {
            if value.is_infinite() {
                if value > 0.0 { most } else { least }
            } else {
                (value as i128).clamp(least, most)
            }
        };
        for (mode, round) in [
            ("rni", f64::round_ties_even as fn(f64) -> f64),
            ("rzi", f64::trunc),
            ("rmi", f64::floor),
            ("rpi", f64::ceil),
        ] {
            bench.check(&format!("cvt.{mode}.{to}.f64 %{r}20, %fd1;"), out, |a, _, _| match f64::from_bits(a) {
                nan if nan.is_nan() => 1 << (to_bits - 1),
                value => low(whole(round(value)), to_bits),
            });
            bench.check(&format!("cvt.{mode}.{to}.f32 %{r}20, %f1;"), out, |a, _, _| match f32::from_bits(a as u32) {
                nan if nan.is_nan() => {
                    if to_bits == 64 {
                        1 << 63
                    } else {
                        0
                    }
                }
                value => low(whole(round(f64::from(value))), to_bits),
            });
        }
        let (from, bits, signed, q) = (&to, to_bits, to_signed, r);
        bench.check(&format!("cvt.rn.f64.{from} %fd20, %{q}1;"), Out::Fd, |a, _, _| {
            (int(a, bits, signed) as f64).to_bits()
        });
        bench.check(&format!("cvt.rn.f32.{from} %f20, %{q}1;"), Out::F, |a, _, _| {
            (int(a, bits, signed) as f32).to_bits().into()
        });
    }
    bench.check("cvt.s32.s8 %r20, %r1;", Out::R, |a, _, _| low(int(a, 8, true), 32));
    bench.check("cvt.u16.u8 %h20, %h1;", Out::H, |a, _, _| a & 255);
    bench.check("cvt.s16.s8 %h20, %h1;", Out::H, |a, _, _| low(int(a, 8, true), 16));
    bench.check("cvt.f64.f32 %fd20, %f1;", Out::Fd, |a, _, _| f64::from(f32::from_bits(a as u32)).to_bits());
    bench.check("cvt.rn.f32.f64 %f20, %fd1;", Out::F, |a, _, _| (f64::from_bits(a) as f32).to_bits().into());
    bench.check("cvt.rni.f64.f64 %fd20, %fd1;", Out::Fd, |a, _, _| f64::from_bits(a).round_ties_even().to_bits());
    bench.check("cvt.rzi.f64.f64 %fd20, %fd1;", Out::Fd, |a, _, _| f64::from_bits(a).trunc().to_bits());
    bench.check("cvt.rmi.f32.f32 %f20, %f1;", Out::F, |a, _, _| f32::from_bits(a as u32).floor().to_bits().into());
}
