//! Ring products: `cargo bench -p cryptgpu-core --bench gemm`.
//!
//! First a report of ratios measured in one run, then divan's timings (its filters and options
//! apply to these). The report compares every instruction set in both rings with its floor (see the modules'
//! documentation) at the scalar clock that this run measures (a processor may slow down under wide
//! vectors and tiles, and the ratio counts that as loss), with a scalar loop compiled by rustc, and,
//! where there is a C compiler, with the same loop compiled by `cc -O3 -march=native`.

#![allow(clippy::unwrap_used)] // A bench that cannot run should stop.

use cryptgpu_core::device::cpu::conv::{
    ConvTerm, InputGradientTerm, WeightGradientTerm, conv2d_with, input_gradient_with, weight_gradient_with,
};
use cryptgpu_core::device::cpu::gemm::{Isa, MatRef, Term, gemm_with};
use cryptgpu_core::device::{ConvGeometry, PoolGeometry};
use cryptgpu_core::ring::{Ring, Word};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::time::Instant;

#[path = "gemm/native.rs"]
mod native;

fn main() {
    if std::env::args().any(|argument| argument == "--bench") {
        report();
    }
    divan::main();
}

/// Words without structure; the time of a product does not depend on them.
fn words<T: Word>(count: usize) -> Vec<T> {
    (0..count as u64).map(|i| T::of_u64((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

fn supported() -> Vec<Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_supported()).collect()
}

/// A product (of `terms` terms), a convolution of a real network, or one of its gradients.
#[derive(Clone, Copy)]
enum Shape {
    Product { m: usize, n: usize, depth: usize, transposed: bool },
    Convolution(ConvGeometry),
    WeightGradient(ConvGeometry),
    ImageGradient(ConvGeometry),
}

/// A shape with its name in the report.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    shape: Shape,
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const fn product(name: &'static str, m: usize, n: usize, depth: usize, transposed: bool) -> Case {
    Case { name, shape: Shape::Product { m, n, depth, transposed } }
}

/// A square convolution: [batch, input channels, size, output channels, kernel, stride, padding, groups].
const fn convolution(name: &'static str, parameters: [usize; 8]) -> Case {
    let [batch, in_channels, size, out_channels, kernel, stride, padding, groups] = parameters;
    let window = PoolGeometry { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4], dilation: [1; 2] };
    let input = [size; 2];
    let geometry = ConvGeometry { batch, in_channels, input, out_channels, window, groups };
    Case { name, shape: Shape::Convolution(geometry) }
}

/// Two terms each, as in a replicated product.
const CASES: [Case; 15] = [
    product("product 1024³", 1024, 1024, 1024, false),
    convolution("ResNet 224² 3→64 7×7 /2", [1, 3, 224, 64, 7, 2, 3, 1]),
    convolution("ResNet 56² 64→64 3×3", [1, 64, 56, 64, 3, 1, 1, 1]),
    convolution("ResNet 56² 64→256 1×1", [1, 64, 56, 256, 1, 1, 0, 1]),
    convolution("ResNet 14² 256→1024 1×1", [1, 256, 14, 1024, 1, 1, 0, 1]),
    convolution("ResNet 14² 256→256 3×3", [1, 256, 14, 256, 3, 1, 1, 1]),
    convolution("ResNet 7² 512→512 3×3", [1, 512, 7, 512, 3, 1, 1, 1]),
    convolution("ResNet 7² 512→512 3×3, batch 8", [8, 512, 7, 512, 3, 1, 1, 1]),
    convolution("VGG 32² 64→64 3×3", [1, 64, 32, 64, 3, 1, 1, 1]),
    convolution("VGG 2² 512→512 3×3", [1, 512, 2, 512, 3, 1, 1, 1]),
    convolution("LeNet 28² 1→20 5×5", [1, 1, 28, 20, 5, 1, 0, 1]),
    convolution("LeNet 12² 20→50 5×5", [1, 20, 12, 50, 5, 1, 0, 1]),
    convolution("depthwise 56² 144 3×3", [1, 144, 56, 144, 3, 1, 1, 144]),
    product("fully connected 1×4096×4096", 1, 4096, 4096, true),
    product("fully connected 128×500×800", 128, 500, 800, true),
];

/// Convolutions of networks in training, whose gradients are compared with them.
const TRAINED: [Case; 10] = [
    convolution("LeNet 28² 1→20 5×5, batch 128", [128, 1, 28, 20, 5, 1, 0, 1]),
    convolution("LeNet 12² 20→50 5×5, batch 128", [128, 20, 12, 50, 5, 1, 0, 1]),
    convolution("AlexNet 32² 3→96 11×11 /4, batch 128", [128, 3, 32, 96, 11, 4, 9, 1]),
    convolution("AlexNet 4² 96→256 5×5, batch 128", [128, 96, 4, 256, 5, 1, 1, 1]),
    convolution("AlexNet 1² 384→384 3×3, batch 128", [128, 384, 1, 384, 3, 1, 1, 1]),
    convolution("VGG 32² 64→64 3×3, batch 32", [32, 64, 32, 64, 3, 1, 1, 1]),
    convolution("VGG 8² 256→256 3×3, batch 32", [32, 256, 8, 256, 3, 1, 1, 1]),
    convolution("VGG 2² 512→512 3×3, batch 32", [32, 512, 2, 512, 3, 1, 1, 1]),
    convolution("ResNet 32² 16→32 3×3 /2, batch 128", [128, 16, 32, 32, 3, 2, 1, 1]),
    convolution("batch norm 32² 64, batch 32", [32, 64, 32, 64, 1, 1, 0, 64]),
];

/// The operands of a case and its output.
struct Data<T> {
    shape: Shape,
    terms: [[Vec<T>; 2]; 2],
    output: Vec<T>,
}

/// Words of a convolution's images, weights and output.
fn convolution_words(geometry: &ConvGeometry) -> [usize; 3] {
    let shapes = [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape().unwrap()];
    shapes.map(|shape| shape.iter().product())
}

impl<T: Word> Data<T> {
    fn new(shape: Shape) -> Self {
        let (a, b, output) = match shape {
            Shape::Product { m, n, depth, .. } => (m * depth, depth * n, m * n),
            Shape::Convolution(geometry) => {
                let [x, w, y] = convolution_words(&geometry);
                (x, w, y)
            }
            Shape::WeightGradient(geometry) => {
                let [x, w, y] = convolution_words(&geometry);
                (y, x, w)
            }
            Shape::ImageGradient(geometry) => {
                let [x, w, y] = convolution_words(&geometry);
                (y, w, x)
            }
        };
        Data { shape, terms: [[words(a), words(b)], [words(a), words(b)]], output: vec![T::zero(); output] }
    }

    /// Multiplications (and additions) of words in one run.
    fn products(&self) -> usize {
        let products = match self.shape {
            Shape::Product { depth, .. } => self.output.len() * depth,
            Shape::Convolution(geometry) | Shape::WeightGradient(geometry) | Shape::ImageGradient(geometry) => {
                convolution_words(&geometry)[2] * geometry.weight_shape()[1..].iter().product::<usize>()
            }
        };
        products * self.terms.len()
    }

    fn run(&mut self, isa: Isa) {
        let output = &mut self.output;
        match self.shape {
            Shape::Product { m, n, depth, transposed } => {
                let terms = self.terms.each_ref().map(|[a, b]| {
                    let matrix = MatRef::row_major(b, if transposed { depth } else { n });
                    let b = if transposed { matrix.transposed() } else { matrix };
                    Term { depth, a: MatRef::row_major(a, depth), b }
                });
                gemm_with(isa, m, n, &terms, output, false).unwrap();
            }
            Shape::Convolution(geometry) => {
                let terms = self.terms.each_ref().map(|[input, weight]| ConvTerm { input, weight });
                conv2d_with(isa, &geometry, &terms, output).unwrap();
            }
            Shape::WeightGradient(geometry) => {
                let terms = self.terms.each_ref().map(|[gradient, input]| WeightGradientTerm { gradient, input });
                weight_gradient_with(isa, &geometry, &terms, output).unwrap();
            }
            Shape::ImageGradient(geometry) => {
                let terms = self.terms.each_ref().map(|[gradient, weight]| InputGradientTerm { gradient, weight });
                input_gradient_with(isa, &geometry, &terms, output).unwrap();
            }
        }
        black_box(output);
    }
}

#[divan::bench(args = supported(), sample_count = 5)]
fn product_1024(bencher: Bencher, isa: Isa) {
    let mut data = Data::<u64>::new(CASES[0].shape);
    bencher.counter(ItemsCount::new(data.products())).bench_local(|| data.run(isa));
}

#[divan::bench(args = CASES, types = [u32, u64], sample_count = 20)]
fn layer<T: Word>(bencher: Bencher, case: Case) {
    let mut data = Data::<T>::new(case.shape);
    let isa = Isa::active().unwrap();
    bencher.counter(ItemsCount::new(data.products())).bench_local(|| data.run(isa));
}

/// Least time of a run on `clock`, over at least three runs and a quarter of a second.
fn least(clock: impl Fn() -> f64, mut run: impl FnMut()) -> f64 {
    let (start, mut least, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < 3 || start.elapsed().as_secs_f64() < 0.25 {
        let before = clock();
        run();
        least = least.min(clock() - before);
        runs += 1;
    }
    least
}

/// Least seconds that a run takes.
fn seconds(run: impl FnMut()) -> f64 {
    let start = Instant::now();
    least(|| start.elapsed().as_secs_f64(), run)
}

/// Least seconds that a run takes of this thread's processor time: other processes of a busy
/// machine do not count.
fn thread_seconds(run: impl FnMut()) -> f64 {
    let clock = || {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes one timespec.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    least(clock, run)
}

/// The clock of the core, from a chain of dependent rotations: one cycle each.
fn gigahertz() -> f64 {
    const CHAIN: u32 = 20_000_000;
    let chain = || {
        let word = (0..CHAIN).fold(1u64, |word, _| black_box_register(word.rotate_left(7)));
        black_box(word);
    };
    f64::from(CHAIN) / thread_seconds(chain) / 1e9
}

/// Its argument, opaque to the optimiser but still in a register.
#[inline(always)]
fn black_box_register(mut word: u64) -> u64 {
    // SAFETY: an empty block.
    unsafe { std::arch::asm!("/* {0} */", inout(reg) word, options(nomem, nostack, preserves_flags)) };
    word
}

/// Products per cycle and core at which the vector (or tile) units are full; see each module.
fn floor(isa: Isa, ring: Ring) -> f64 {
    match (isa, ring) {
        (Isa::Portable, Ring::Z64) => 1.0,
        (Isa::Avx2, Ring::Z64) if is_amd() => 4.0,
        (Isa::Avx2, Ring::Z64) => 2.4,
        (Isa::Avx512Dq, Ring::Z64) if is_amd() => 8.0,
        (Isa::Avx512Dq, Ring::Z64) => 4.0,
        (Isa::Avx512, Ring::Z64) if is_amd() => 3.2,
        (Isa::Avx512, Ring::Z64) => 6.4,
        (Isa::Amx, Ring::Z64) => 1024.0 / 36.0,
        (Isa::Portable, Ring::Z32) => 4.0,
        (Isa::Avx2 | Isa::Avx512Dq, Ring::Z32) if is_amd() => 16.0,
        (Isa::Avx2, Ring::Z32) => 8.0,
        (Isa::Avx512Dq, Ring::Z32) => 32.0 / 3.0,
        (Isa::Avx512, Ring::Z32) if is_amd() => 32.0 / 3.0,
        (Isa::Avx512, Ring::Z32) => 64.0 / 3.0,
        (Isa::Amx, Ring::Z32) => 1024.0 / 10.0,
    }
}

#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    std::arch::x86_64::__cpuid(0).ebx.to_le_bytes() == *b"Auth"
}

#[cfg(not(target_arch = "x86_64"))]
fn is_amd() -> bool {
    false
}

/// A square product.
type Loop<'a> = &'a dyn Fn(&[u64], &[u64], &mut [u64]);

/// 1024³ (one term) by the scalar loops: name and products per second in 10⁹.
fn scalar_loops() -> Vec<(&'static str, f64)> {
    const N: usize = 1024;
    let (a, b, mut c) = (words(N * N), words(N * N), vec![0; N * N]);
    let mut rate = |run: Loop<'_>| {
        let seconds = thread_seconds(|| run(black_box(&a), black_box(&b), black_box(&mut c)));
        (N * N * N) as f64 / seconds / 1e9
    };
    let mut found = vec![("rustc -O3 (i, k, j)", rate(&|a, b, c| native::rust_loop(N, a, b, c)))];
    match native::Compiled::new() {
        Ok(compiled) => found.push(("cc -O3 -march=native (i, k, j)", rate(&|a, b, c| compiled.run(N, a, b, c)))),
        Err(why) => println!("no comparison with C: {why}"),
    }
    found
}

fn report() {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let threads = rayon::current_num_threads();
    let clock = gigahertz();
    println!("clock {clock:.2} GHz, {threads} threads; G/s: 10⁹ multiply-accumulates of words per second\n");
    let loops = one.install(scalar_loops);
    for (name, rate) in &loops {
        println!("{name:<32} {rate:8.2} G/s");
    }
    let loop_to_beat = loops.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    println!("\n1024³              one thread   of floor   over scalar loop   {threads} threads   over one");
    large::<u64>(clock, loop_to_beat, &one);
    large::<u32>(clock, loop_to_beat, &one);
    one.install(|| {
        layers(clock);
        gradients();
    });
}

/// The large product on every instruction set.
fn large<T: Word>(clock: f64, loop_to_beat: f64, one: &rayon::ThreadPool) {
    for isa in supported() {
        let mut data = Data::<T>::new(CASES[0].shape);
        let products = data.products() as f64 / 1e9;
        let single = one.install(|| products / thread_seconds(|| data.run(isa)));
        let all = products / seconds(|| data.run(isa));
        let (of_floor, ratio, scaling) = (single / clock / floor(isa, T::RING), single / loop_to_beat, all / single);
        println!(
            "{isa:<8} {ring} {single:8.2} G/s {of_floor:10.2} {ratio:15.1} × {all:12.2} G/s {scaling:8.2}",
            isa = isa.name(),
            ring = T::RING
        );
    }
}

/// Every case on every instruction set in the ring of 64 bits, and beside it on the one in force in the ring of 32.
fn layers(clock: f64) {
    let active = Isa::active().unwrap();
    print!("\n{:<34}", "one thread, two terms, G/s");
    supported().iter().for_each(|isa| print!("{:>10}", isa.name()));
    println!("{:>11}{:>18}{:>10}{:>9}", "of floor", format!("{active} 32 bits"), "of floor", "ratio");
    for case in CASES {
        let mut data = Data::<u64>::new(case.shape);
        print!("{:<34}", case.name);
        let mut wide = 0.0;
        for isa in supported() {
            let rate = data.products() as f64 / 1e9 / thread_seconds(|| data.run(isa));
            print!("{rate:>10.2}");
            if isa == active {
                wide = rate;
            }
        }
        let mut data = Data::<u32>::new(case.shape);
        let narrow = data.products() as f64 / 1e9 / thread_seconds(|| data.run(active));
        let [of_wide, of_narrow] =
            [(wide, Ring::Z64), (narrow, Ring::Z32)].map(|(r, ring)| r / clock / floor(active, ring));
        println!("{of_wide:>11.2}{narrow:>18.2}{of_narrow:>10.2}{:>9.2}", narrow / wide);
    }
    println!();
}

/// Convolutions and how much longer their gradients take.
fn gradients() {
    let isa = Isa::active().unwrap();
    println!("{:<40}{:>10}{:>12}{:>12}", format!("one thread, two terms, {isa}"), "G/s", "weights", "images");
    for case in TRAINED {
        let Shape::Convolution(geometry) = case.shape else { continue };
        let [forward, weights, images] = [case.shape, Shape::WeightGradient(geometry), Shape::ImageGradient(geometry)]
            .map(|shape| {
                let mut data = Data::<u64>::new(shape);
                (data.products() as f64 / 1e9, thread_seconds(|| data.run(isa)))
            });
        let rate = forward.0 / forward.1;
        println!("{:<40}{rate:>10.2}{:>10.2} ×{:>10.2} ×", case.name, weights.1 / forward.1, images.1 / forward.1);
    }
    println!();
}
