//! Local steps of protocols in both rings: `cargo bench -p cryptgpu-core --bench steps`. One thread's processor time for an element,
//! of 2²⁰, modulo 2⁶⁴ and 2³². Half of the memory and of the masks is the floor of the ratio, where a step is bound by either; a sign
//! bit has half of the bits and a level of the tree less.

#![allow(clippy::unwrap_used)] // A bench that cannot run should stop.

use cryptgpu_core::device::cpu::{bit_product, elementwise, sign, truncation};
use cryptgpu_core::device::{Binary, BitTerm, Deal, OpenTop, Results, SharedBits, SignWindow, Summed, TreeStep};
use cryptgpu_core::prg::{Correlated, Key, Keys, Randomness, Stream};
use cryptgpu_core::ring::Word;
use std::hint::black_box;
use std::time::Instant;

/// Elements.
const N: usize = 1 << 20;
/// Words of a plane of packed bits.
const PACKED: usize = N / 64;
/// Bits that truncation cuts off.
const CUT: u32 = 12;

fn main() {
    // No other thread of a pool takes a part, so this thread's time is all of it.
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| {
        println!("{:<40} {:>10} {:>10} {:>8}", "ns an element", "64 bits", "32 bits", "ratio");
        for ((name, wide), (_, narrow)) in steps::<u64>().into_iter().zip(steps::<u32>()) {
            println!("{name:<40} {wide:>10.2} {narrow:>10.2} {:>8.2}", narrow / wide);
        }
    });
}

fn streams<const N: usize>() -> [Stream; N] {
    let key = |at| Key::from_bytes([at; 16]);
    let keys = Keys { with_prev: key(1), with_next: key(2), common: key(3), own: key(4) };
    let mut correlated = Correlated::new(Randomness::Aes128Ctr, &keys);
    std::array::from_fn(|_| {
        let nonce = correlated.nonce();
        correlated.own(nonce)
    })
}

fn drawn(words: usize) -> Vec<u64> {
    let [stream] = streams();
    let mut drawn = vec![0; words];
    elementwise::fill(&stream, &mut drawn);
    drawn
}

/// Nanoseconds of this thread for an element: the least of ten runs.
fn time(mut run: impl FnMut()) -> f64 {
    let seconds = || {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes one timespec.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let (start, mut least, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < 10 || start.elapsed().as_secs_f64() < 0.2 {
        let before = seconds();
        run();
        least = least.min(seconds() - before);
        runs += 1;
    }
    least * 1e9 / N as f64
}

/// Every step's name and time.
fn steps<W: Word>() -> Vec<(&'static str, f64)> {
    let mut found = simple::<W>();
    found.extend(sign_bit::<W>());
    found.extend(bit_products::<W>());
    found.extend(truncations::<W>());
    found
}

/// Words of memory of the elements.
fn memory<W: Word>() -> usize {
    N / W::RING.packed()
}

fn simple<W: Word>() -> Vec<(&'static str, f64)> {
    let words = memory::<W>();
    let [mask] = streams();
    let (x, y, mut out) = (drawn(words), drawn(words), vec![0; words]);
    let (x, y) = (W::of(&x), W::of(&y));
    let draw = time(|| elementwise::fill(&mask, black_box(&mut out)));
    let sum = time(|| elementwise::binary(Binary::Add, x, y, W::of_mut(black_box(&mut out))));
    let product = time(|| elementwise::product_share([x, y], [y, x], W::of_mut(black_box(&mut out))));
    vec![("a mask", draw), ("a sum", sum), ("product, a party's share", product)]
}

fn sign_bit<W: Word>() -> Vec<(&'static str, f64)> {
    let window = SignWindow::new(0, W::BITS).unwrap();
    let (x, y) = (drawn(memory::<W>()), drawn(memory::<W>()));
    let [mask] = streams();
    let mut message = vec![0; window.shared_planes() * PACKED];
    let (mut top, mut other) = (vec![0; PACKED], vec![0; PACKED]);
    let bits =
        time(|| sign::share_bits::<W>(window, [&x, &y], 0, &mask, black_box(&mut message), [&mut top, &mut other]));
    let drawn = drawn(window.carry_planes() * PACKED);
    let mut carry = vec![0; drawn.len()];
    let carries = time(|| {
        let shared = SharedBits::Drawn(&mask);
        sign::share_carries::<W>(window, &x, shared, &drawn, black_box(&mut carry), [&mut top, &mut other]);
    });
    let mut levels = vec![];
    let mut half = window.groups() / 2;
    while half > 0 {
        levels.push(half);
        half /= 2;
    }
    let mut out = vec![0; carry.len()];
    let tree = time(|| {
        for &half in &levels {
            let words = (4 * half - 1) * PACKED;
            let x = [Summed(&carry[..words], None), Summed(&drawn[..words], None)];
            let out = black_box(&mut out[..(2 * half - 1) * PACKED]);
            let mask = Summed(&drawn[..out.len()], None);
            sign::tree_step(TreeStep { elements: N, half, x, mask, out });
        }
    });
    vec![("sign bit, role 0's bits", bits), ("sign bit, role 1's carries", carries), ("sign bit, a role's tree", tree)]
}

fn bit_products<W: Word>() -> Vec<(&'static str, f64)> {
    let words = memory::<W>();
    let [a, b, c, d, e] = streams();
    let (u, v, x, opened) = (drawn(PACKED), drawn(PACKED), drawn(words), drawn(words));
    let [mut message, mut y0, mut y1] = [(); 3].map(|()| vec![0; words]);
    let role0 = time(|| {
        bit_product::role0::<W>([&u, &v], [&a, &b, &c, &d, &e], black_box(&mut message), &mut y0, &mut y1);
    });
    let mut term = |opened| {
        time(|| {
            let (x, message) = (Summed(&x[..], None), &mut message[..]);
            bit_product::term::<W>(BitTerm { bits: [&u[..], &v], x, opened, mask: &a, message });
        })
    };
    let (first, last) = (term(None), term(Some(&opened[..])));
    vec![
        ("bit product, role 0", role0),
        ("bit product, roles 1 and 2, first", first),
        ("bit product, roles 1 and 2, last", last),
    ]
}

fn truncations<W: Word>() -> Vec<(&'static str, f64)> {
    let words = memory::<W>();
    let [gamma, mask] = streams();
    let (z, bits, half) = (drawn(words), drawn(PACKED), drawn(PACKED));
    let (mut dealt, mut e) = (vec![0; words + CUT as usize * PACKED], vec![0; PACKED]);
    let first = time(|| {
        let deal = Deal { z: &z[..], halves: [&bits[..], &half], gamma: &gamma, message: black_box(&mut dealt[..]) };
        truncation::product_first::<W>(CUT, deal, OpenTop { z: &z, alpha: &bits, message: &mut e });
    });
    let (mut sent, mut last) = (vec![0; words + PACKED], vec![0; words]);
    let [mut a, mut b] = [(); 2].map(|()| vec![0; words]);
    let role1 = time(|| {
        let results = Results { message: black_box(&mut sent[..]), a: &mut a[..], b: &mut b[..] };
        truncation::product_role1::<W>(CUT, [&z, &dealt], [&e, &half], &mask, results);
    });
    let role0 = time(|| {
        let results = Results { message: black_box(&mut last[..]), a: &mut a[..], b: &mut b[..] };
        truncation::product_role0::<W>(CUT, [&z, &sent], [&e, &bits], [&gamma, &mask], results);
    });
    vec![
        ("truncation of a product, roles 2 and 0", first),
        ("truncation of a product, role 1", role1),
        ("truncation of a product, role 0", role0),
    ]
}
