//! Each instruction against a reference in Rust, written from the PTX manual and not from the emulator, over edge values
//! and random ones. Operands: `%rd1` to `%rd3` hold 64 random bits `a`, `b`, `c`; `%r1` to `%r3`, `%h1` to `%h3`,
//! `%f1` to `%f3`, `%fd1` to `%fd3` the same low bits, and `%p1` to `%p3` their lowest bit. Results: `%r20` and so on.

mod floats;
mod integers;

use super::common::{self, Device, config, device};
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
