//! The protocols' local steps of all roles, one after the other, against what they compute together: one body for both
//! words.

use super::{bit_product, bits, sign, truncation};
use crate::device::{BitTerm, CloseTerms, Deal, OpenTop, Results, SharedBits, SignWindow, Summed, TermShare, TreeStep};
use crate::prg::{Correlated, Key, Keys, Randomness, Stream};
use crate::ring::{Layout, Word};
use proptest::prelude::*;

/// Runs a body for words of 64 bits and of 32.
macro_rules! in_both_rings {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident in $values:expr),* $(,)?) => $body:ident;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            $($(#[$meta])* #[test] fn $name($($arg in $values),*) {
                $body::<u64>($($arg),*);
                $body::<u32>($($arg),*);
            })*
        }
    };
}

/// Streams that differ.
fn streams<const N: usize>(seed: u64) -> [Stream; N] {
    let key = |at: u64| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(seed ^ at << 56).to_le_bytes());
        Key::from_bytes(bytes)
    };
    let keys = Keys { with_prev: key(1), with_next: key(2), common: key(3), own: key(4) };
    let mut correlated = Correlated::new(Randomness::Aes128Ctr, &keys);
    std::array::from_fn(|_| {
        let nonce = correlated.nonce();
        correlated.own(nonce)
    })
}

/// The first words of a stream.
fn words(stream: &Stream, count: usize) -> Vec<u64> {
    let mut words = vec![0; count];
    stream.fill(0, &mut words);
    words
}

/// The sum of parts, element by element.
fn sum<W: Word>(parts: &[&[u64]]) -> Vec<W> {
    let mut out = vec![W::zero(); W::of(parts[0]).len()];
    for part in parts {
        out.iter_mut().zip(W::of(part)).for_each(|(out, x)| *out = out.wrapping_add(x));
    }
    out
}

/// Memory of these elements, of which there is an even number.
fn memory<W: Word>(elements: &[W]) -> Vec<u64> {
    bytemuck::cast_slice(elements).to_vec()
}

/// Values of less than 2^(l−2) in absolute value, the ends among them, and three summands of them.
fn additive<W: Word>(count: usize, seed: u64) -> (Vec<i64>, [Vec<u64>; 3]) {
    let [value, first, second] = streams(seed);
    let [drawn, x0, x2] = [value, first, second].map(|stream| words(&stream, count));
    let mut values: Vec<i64> = W::of(&drawn).iter().map(|word| word.signed() >> 1).collect();
    let end = 1i64 << (W::BITS - 2);
    values.iter_mut().zip([end - 1, -end, 1 - end, 0, -1]).for_each(|(value, end)| *value = end);
    let rest = values.iter().zip(sum::<W>(&[&x0, &x2])).map(|(&value, sum)| W::of_u64(value as u64).wrapping_sub(&sum));
    let x1 = memory(&rest.collect::<Vec<W>>());
    (values, [x0, x1, x2])
}

/// Each is ⌊value / 2^d⌋ or one more.
fn assert_truncated<W: Word>(d: u32, values: &[i64], found: &[W]) {
    for (&value, found) in values.iter().zip(found) {
        let over = found.signed() - (value >> d);
        assert!(over == 0 || over == 1, "{value} cut by {d} bits: off by {over}");
    }
}

/// The three roles of a product's truncation one after the other: the result, and what the messages make of it at the two
/// parties that hold both.
fn cut_products<W: Word>(d: u32, [z0, z1, z2]: [&[u64]; 3], seed: u64) -> Vec<W> {
    let (count, packed) = (z0.len(), Layout::new(W::of(z0).len()).words());
    let [gamma, y0, y2, alpha, beta] = streams(!seed);
    let [alpha, beta] = [alpha, beta].map(|stream| words(&stream, packed));
    let (mut dealt, mut e) = (vec![0; count + d as usize * packed], vec![0; packed]);
    let deal = Deal { z: z2, halves: [&alpha[..], &beta[..]], gamma: &gamma, message: &mut dealt[..] };
    truncation::product_first::<W>(d, deal, OpenTop { z: z0, alpha: &alpha, message: &mut e });
    let [mut one, mut two] = [(); 2].map(|()| [vec![0; count], vec![0; count]]);
    let (mut sent, mut last) = (vec![0; count + packed], vec![0; count]);
    let [a, b] = &mut one;
    let results = Results { message: &mut sent[..], a: &mut a[..], b: &mut b[..] };
    truncation::product_role1::<W>(d, [z1, &dealt], [&e, &beta], &y2, results);
    let [a, b] = &mut two;
    let results = Results { message: &mut last[..], a: &mut a[..], b: &mut b[..] };
    truncation::product_role0::<W>(d, [z0, &sent], [&e, &alpha], [&gamma, &y0], results);
    assert_eq!(sum::<W>(&[&last, &one[0]]), W::of(&two[1]), "what role 0 sends completes role 1's share");
    sum::<W>(&[&two[0], &two[1], &one[1]])
}

fn truncates_products<W: Word>(count: usize, d: u32, seed: u64) {
    let d = d.min(W::BITS - 3);
    let (values, [z0, z1, z2]) = additive::<W>(count, seed);
    assert_truncated(d, &values, &cut_products::<W>(d, [&z0, &z1, &z2], seed));
}

/// A ring of eight bits, small enough for every sharing of every value. Its tensors are of 64 elements, which is a unit of a
/// single lane: vectors load by [`Word::RING`], which has no name for it.
impl Word for u8 {
    const RING: crate::ring::Ring = crate::ring::Ring::Z32;
    const BITS: u32 = 8;

    fn of_u64(word: u64) -> Self {
        word as u8
    }

    fn signed(self) -> i64 {
        i64::from(self as i8)
    }
}

/// Through the code of the larger rings: every value, every u of its shares, every cut. A result is ⌊z / 2^d⌋ or one more, and the mean
/// over all u is z / 2^d exactly, so that a cut has no bias, and one that cuts nothing off changes nothing.
#[test]
fn every_truncation_on_a_ring_of_eight_bits_is_exact_and_without_bias() {
    const ELEMENTS: usize = 64;
    let mut cases = 0;
    for d in 1..=5 {
        for z in -63..64i64 {
            let mut total = 0;
            for first in (0..=u8::MAX).step_by(ELEMENTS) {
                let [z1] = streams(first.into());
                let z1 = words(&z1, ELEMENTS / 8);
                let z0: Vec<u8> = (first..=first + (ELEMENTS as u8 - 1)).collect();
                let rest = |(z0, z1): (&u8, &u8)| u8::of_u64(z as u64).wrapping_sub(*z0).wrapping_sub(*z1);
                let z2 = memory(&z0.iter().zip(u8::of(&z1)).map(rest).collect::<Vec<u8>>());
                let found = cut_products::<u8>(d, [&memory(&z0), &z1, &z2], u64::from(first) << 16 | (z & 0xff) as u64);
                assert_truncated(d, &[z; ELEMENTS], &found);
                total += found.iter().map(|found| found.signed()).sum::<i64>();
                cases += found.len();
            }
            assert_eq!(total << d, 256 * z, "the mean of {z} cut by {d} bits");
        }
    }
    assert_eq!(cases, 5 * 127 * 256);
}

fn truncates_shared<W: Word>(count: usize, d: u32, seed: u64) {
    let d = d.min(W::BITS - 3);
    let (values, [x0, x1, x2]) = additive::<W>(count, seed);
    let planes = d as usize * Layout::new(values.len()).words();
    let [a1, mu, nu, y1] = streams(!seed);
    let mut message = vec![0; count + planes];
    let [mut a, mut b, mut kept1, mut kept2, mut y2] = [(); 5].map(|()| vec![0; count]);
    let results = Results { message: &mut message[..], a: &mut a[..], b: &mut b[..] };
    truncation::shared_role0::<W>(d, [&x0, &x1], [&a1, &mu, &nu, &y1], results);
    let [mut one, mut two] = [(); 2].map(|()| vec![0; planes]);
    truncation::shared_term::<W>(d, &x2, TermShare::Drawn { share: &a1, y1: &y1 }, &mu, &mut one, &mut kept1);
    truncation::shared_term::<W>(d, &x2, TermShare::Received(&message), &nu, &mut two, &mut kept2);
    truncation::shared_close::<W>(d, CloseTerms { v: &x2, terms: [&one[..], &two[..]], y2: &mut y2[..] });
    assert_truncated(d, &values, &sum::<W>(&[&a, &b, &y2]));
    assert_eq!((kept1, kept2), (b, a));
}

/// The sign bits of x₀ + x₁ + c + x₂ by the steps of a window, the tree on planes that are no longer shared.
fn sign_bits<W: Word>(window: SignWindow, [x0, x1, x2]: [&[u64]; 3], c: u64, seed: u64) -> Vec<bool> {
    let layout = Layout::new(W::of(x0).len());
    let planes = |count: usize| vec![0u64; count * layout.words()];
    let [mask] = streams(seed);
    let (mut message, [mut top0, mut top1, mut top_b, mut top_a]) =
        (planes(window.shared_planes()), [(); 4].map(|()| planes(1)));
    sign::share_bits::<W>(window, [x0, x1], c, &mask, &mut message, [&mut top0, &mut top1]);
    let none = planes(window.carry_planes());
    let [mut first, mut second] = [(); 2].map(|()| none.clone());
    sign::share_carries::<W>(window, x2, SharedBits::Drawn(&mask), &none, &mut first, [&mut top_b, &mut top_a]);
    assert_eq!(top_a, top1);
    sign::share_carries::<W>(window, x2, SharedBits::Received(&message), &none, &mut second, [&mut top_b, &mut top_a]);
    assert_eq!(top_a, top0);
    let mut carries: Vec<u64> = first.iter().zip(second).map(|(a, b)| a ^ b).collect();
    let mut half = window.groups() / 2;
    while half > 0 {
        let (zero, mut out) = (vec![0; carries.len()], planes(2 * half - 1));
        let (x, mask) = ([Summed(&carries[..], None), Summed(&zero[..], None)], Summed(&zero[..out.len()], None));
        sign::tree_step(TreeStep { elements: layout.elements(), half, x, mask, out: &mut out[..] });
        (carries, half) = (out, half / 2);
    }
    let signs: Vec<u64> = (0..layout.words()).map(|at| carries[at] ^ top0[at] ^ top1[at] ^ top_b[at]).collect();
    layout.unpack(&signs)
}

fn signs_are_found<W: Word>(count: usize, seed: u64) {
    let [x0, x1, x2] = streams(seed).map(|stream| words(&stream, count));
    let full = SignWindow::new(0, W::BITS).unwrap();
    for c in [W::zero(), W::zero().wrapping_sub(&W::one()), W::of_u64(seed)] {
        let sums = sum::<W>(&[&x0, &x1, &x2]).into_iter().map(|x| x.wrapping_add(&c));
        let exact: Vec<bool> = sums.map(|x| x.signed() < 0).collect();
        assert_eq!(sign_bits::<W>(full, [&x0, &x1, &x2], c.as_(), !seed), exact);
    }
    // 16 bits from bit 9 on: those of ⌊(x₀ + x₁ + c) / 2⁹⌋ + ⌊x₂ / 2⁹⌋.
    let small = SignWindow::new(9, 16).unwrap();
    let cut = |x: &[u64]| W::of(x).iter().map(|x| x.as_() >> 9).collect::<Vec<u64>>();
    let below = |x: &[u64], y: &[u64]| {
        sum::<W>(&[x, y]).into_iter().map(|x| x.wrapping_add(&W::of_u64(seed)).as_() >> 9).collect::<Vec<u64>>()
    };
    let expected: Vec<bool> =
        below(&x0, &x1).iter().zip(cut(&x2)).map(|(a, b)| a.wrapping_add(b) >> 15 & 1 == 1).collect();
    assert_eq!(sign_bits::<W>(small, [&x0, &x1, &x2], seed, !seed), expected);
}

fn bits_multiply<W: Word>(count: usize, seed: u64) {
    let [u1, u2, v, x, e, mask, alpha, beta, f, mu, nu] = streams(seed);
    let n = W::of(&words(&x, count)).len();
    let packed = Layout::new(n).words();
    let [u1, u2, v] = [u1, u2, v].map(|stream| words(&stream, packed));
    let [x, e] = [x, e].map(|stream| words(&stream, count));
    let bit = |bits: &[u64]| Layout::new(n).unpack(bits);
    let choose = |bit: bool, x: W| if bit { x } else { W::zero() };
    let negate = |bit: bool, x: W| if bit { x.wrapping_neg() } else { x };
    let [alphas, betas, fs, mus, nus, masks] =
        [&alpha, &beta, &f, &mu, &nu, &mask].map(|stream| W::of(&words(stream, count)).to_vec());
    let (xs, es, u1s, u2s, vs) = (W::of(&x), W::of(&e), bit(&u1), bit(&u2), bit(&v));

    let [mut message, mut y0, mut y1] = [(); 3].map(|()| vec![0; count]);
    let pads = [&alpha, &beta, &f, &mu, &nu];
    bit_product::role0::<W>([&u1, &u2], pads, &mut message, &mut y0, &mut y1);
    let [mut opened, mut closed, mut converted, mut term] = [(); 4].map(|()| vec![0; count]);
    let operands = ([&u1[..], &v[..]], Summed(&x[..], None));
    for (opening, message) in [(None, &mut opened[..]), (Some(&e[..]), &mut closed[..])] {
        bit_product::term::<W>(BitTerm { bits: operands.0, x: operands.1, opened: opening, mask: &mask, message });
    }
    bit_product::convert_role0::<W>(&u1, &mask, &mut converted);
    bit_product::convert_term::<W>(&v, &x, &mask, true, &mut term);
    for at in 0..n {
        let padded = choose(u2s[at], alphas[at]).wrapping_add(&choose(u1s[at], betas[at])).wrapping_sub(&fs[at]);
        assert_eq!(W::of(&message)[at], padded);
        assert_eq!(W::of(&y0)[at], fs[at].wrapping_add(&nus[at]));
        assert_eq!(W::of(&y1)[at], padded.wrapping_add(&mus[at]));
        let a = negate(vs[at], xs[at]);
        assert_eq!(W::of(&opened)[at], negate(u1s[at], a).wrapping_sub(&masks[at]));
        let own = choose(vs[at], xs[at]).wrapping_add(&choose(u1s[at], a.wrapping_add(&es[at])));
        assert_eq!(W::of(&closed)[at], own.wrapping_sub(&masks[at]));
        assert_eq!(W::of(&converted)[at], choose(u1s[at], W::one()).wrapping_sub(&masks[at]));
        let share = a.wrapping_add(&choose(vs[at], W::one()));
        assert_eq!(W::of(&term)[at], share.wrapping_sub(&masks[at]));
    }
}

in_both_rings! {
    fn products_are_truncated_without_wrap(count in 1usize..1100, d in 1u32..=40, seed in any::<u64>()) => truncates_products;
    fn shares_are_truncated_without_wrap(count in 1usize..1100, d in 1u32..=40, seed in any::<u64>()) => truncates_shared;
    fn the_sign_is_that_of_the_sum(count in 1usize..1100, seed in any::<u64>()) => signs_are_found;
    fn bits_times_words_are_products(count in 1usize..1100, seed in any::<u64>()) => bits_multiply;
}

/// Planes are those of the elements, whatever memory they stood in.
#[test]
fn planes_are_the_same_from_words_of_either_ring() {
    let [stream] = streams(1);
    let wide = words(&stream, 700);
    let narrow = memory(&wide.iter().map(|&word| u32::of_u64(word)).collect::<Vec<_>>());
    let [mut a, mut b] = [(); 2].map(|()| vec![0; 13 * Layout::new(700).words()]);
    bits::to_planes::<u64>(7, 13, &wide, &mut a);
    bits::to_planes::<u32>(7, 13, &narrow, &mut b);
    assert_eq!(a, b);
}
