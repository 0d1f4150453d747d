//! Element-wise ring operations, fused where an intermediate would only travel through memory.

use super::copy::copy_few;
use super::parallel::{Out, draw, for_units};
use crate::device::{Binary, BlockOrder, Combine, Combined, Unary};
use crate::prg::{Stream, Zero};
use crate::ring::{BLOCK, Layout, Word};
use rayon::prelude::*;

/// Fewer words than this are put in another order on the calling thread.
const PARALLEL_MIN: usize = 1 << 15;

/// Defines a loop over the words of a unit that the compiler makes vectors of by itself, for AVX-512, AVX2 and any processor,
/// with the best chosen when it is called, and for both sizes of a unit.
macro_rules! unit_kernel {
    (fn $name:ident<$word:ident>($lanes:ident $(, $arg:ident: $ty:ty)* $(,)?) $body:block) => {
        #[multiversion::multiversion(targets(
            "x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+bmi1+bmi2",
            "x86_64+avx2+bmi1+bmi2",
        ))]
        #[allow(clippy::too_many_arguments)]
        fn $name<$word: Word>(lanes: usize, $($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<const $lanes: usize, $word: Word>($($arg: $ty),*) $body
            if lanes == 8 { body::<8, $word>($($arg),*) } else { body::<1, $word>($($arg),*) }
        }
    };
}

/// `out` = x ∘ y.
pub fn binary<W: Word>(op: Binary, x: &[W], y: &[W], out: &mut [W]) {
    let layout = Layout::new(x.len());
    let out = Out::new(out);
    for_units(layout, |unit| {
        let e = unit.elements.clone();
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(e.clone()) };
        binary_unit(unit.lanes(), op, &x[e.clone()], &y[e], out);
    });
}

unit_kernel! {
    fn binary_unit<W>(L, op: Binary, x: &[W], y: &[W], out: &mut [W]) {
        let n = if out.len() == 64 * L { 64 * L } else { out.len() };
        let (x, y, out) = (&x[..n], &y[..n], &mut out[..n]);
        match op {
            Binary::Add => (0..n).for_each(|i| out[i] = x[i].wrapping_add(&y[i])),
            Binary::Sub => (0..n).for_each(|i| out[i] = x[i].wrapping_sub(&y[i])),
            Binary::Mul => (0..n).for_each(|i| out[i] = x[i].wrapping_mul(&y[i])),
            Binary::Xor => (0..n).for_each(|i| out[i] = x[i] ^ y[i]),
            Binary::And => (0..n).for_each(|i| out[i] = x[i] & y[i]),
        }
    }
}

/// Each `out` = x₀ + x₁ + … + c, or with ⊕.
pub fn combine<W: Word>(all: Vec<Combined<&[W], &mut [W]>>) {
    for Combined { how, parts, constant, out } in all {
        match (how, &parts[..], constant) {
            (_, [x], 0) => out.copy_from_slice(x),
            (Combine::Add, [x, y], 0) => binary(Binary::Add, x, y, out),
            (Combine::Xor, [x, y], 0) => binary(Binary::Xor, x, y, out),
            _ => combine_all(how, &parts, constant, out),
        }
    }
}

fn combine_all<W: Word>(how: Combine, parts: &[&[W]], constant: u64, out: &mut [W]) {
    let layout = Layout::new(out.len());
    let out = Out::new(out);
    for_units(layout, |unit| {
        let e = unit.elements.clone();
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(e.clone()) };
        out.fill(W::of_u64(constant));
        for part in parts {
            join_unit(unit.lanes(), how, &part[e.clone()], out);
        }
    });
}

unit_kernel! {
    fn join_unit<W>(L, how: Combine, x: &[W], out: &mut [W]) {
        let n = if out.len() == 64 * L { 64 * L } else { out.len() };
        let (x, out) = (&x[..n], &mut out[..n]);
        match how {
            Combine::Add => (0..n).for_each(|i| out[i] = out[i].wrapping_add(&x[i])),
            Combine::Xor => (0..n).for_each(|i| out[i] = out[i] ^ x[i]),
        }
    }
}

/// `z` += x.
pub fn add_to<W: Word>(x: &[W], z: &mut [W]) {
    let layout = Layout::new(z.len());
    let z = Out::new(z);
    for_units(layout, |unit| {
        let e = unit.elements.clone();
        // SAFETY: each unit takes its own range, once.
        let z = unsafe { z.range(e.clone()) };
        join_unit(unit.lanes(), Combine::Add, &x[e], z);
    });
}

/// `out` = x ∘ c.
pub fn unary<W: Word>(op: Unary, x: &[W], out: &mut [W]) {
    let layout = Layout::new(x.len());
    let out = Out::new(out);
    for_units(layout, |unit| {
        let e = unit.elements.clone();
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(e.clone()) };
        unary_unit(unit.lanes(), op, &x[e], out);
    });
}

unit_kernel! {
    fn unary_unit<W>(L, op: Unary, x: &[W], out: &mut [W]) {
        let n = if out.len() == 64 * L { 64 * L } else { out.len() };
        let (x, out) = (&x[..n], &mut out[..n]);
        match op {
            Unary::Add(c) => (0..n).for_each(|i| out[i] = x[i].wrapping_add(&W::of_u64(c))),
            Unary::Mul(c) => (0..n).for_each(|i| out[i] = x[i].wrapping_mul(&W::of_u64(c))),
            Unary::Xor(c) => (0..n).for_each(|i| out[i] = x[i] ^ W::of_u64(c)),
            Unary::And(c) => (0..n).for_each(|i| out[i] = x[i] & W::of_u64(c)),
            Unary::Shl(k) | Unary::Shr(k) if k >= W::BITS => out.fill(W::zero()),
            Unary::Shl(k) => (0..n).for_each(|i| out[i] = x[i] << k as usize),
            Unary::Shr(k) => (0..n).for_each(|i| out[i] = x[i] >> k as usize),
            Unary::Sar(k) => {
                let k = k.min(W::BITS - 1);
                (0..n).for_each(|i| out[i] = x[i].signed_shr(k));
            }
        }
    }
}

/// `n` elements of `x` from `first` on to `out`, from its element `at` on.
pub fn copy_part<W: Word>(n: usize, first: usize, x: &[W], at: usize, out: &mut [W]) {
    out[at..at + n].copy_from_slice(&x[first..first + n]);
}

/// `out` = the sum of all words, one word.
pub fn sum<W: Word>(x: &[W], out: &mut [W]) {
    out[0] = x.iter().fold(W::zero(), |sum, word| sum.wrapping_add(word));
}

/// Words `0..` of a stream, on several threads when that pays.
pub fn fill(stream: &Stream, out: &mut [u64]) {
    let layout = Layout::new(out.len());
    let out = Out::new(out);
    for_units(layout, |unit| {
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(unit.elements.clone()) };
        stream.fill(unit.elements.start, out);
    });
}

/// `z` += F(kᵢ) − F(kᵢ₊₁): a zero-share on top of additive shares.
pub fn add_zero<W: Word>(zero: &Zero, z: &mut [W]) {
    let layout = Layout::new(z.len());
    let z = Out::new(z);
    for_units(layout, |unit| {
        let mut pads = [[0u64; BLOCK]; 2];
        let n = unit.elements.len();
        let [plus, minus] = pads.each_mut().map(|pad| &mut W::of_mut(pad)[..n]);
        draw(&zero.plus, unit, plus);
        draw(&zero.minus, unit, minus);
        // SAFETY: each unit takes its own range, once.
        let z = unsafe { z.range(unit.elements.clone()) };
        add_zero_unit(unit.lanes(), plus, minus, z);
    });
}

unit_kernel! {
    fn add_zero_unit<W>(L, plus: &[W], minus: &[W], z: &mut [W]) {
        let n = if z.len() == 64 * L { 64 * L } else { z.len() };
        let (plus, minus, z) = (&plus[..n], &minus[..n], &mut z[..n]);
        for i in 0..n {
            z[i] = z[i].wrapping_add(&plus[i]).wrapping_sub(&minus[i]);
        }
    }
}

/// One party's additive share of an element-wise product, without its zero-share:
/// `out` = xᵢ(yᵢ + yᵢ₊₁) + xᵢ₊₁yᵢ.
pub fn product_share<W: Word>(x: [&[W]; 2], y: [&[W]; 2], out: &mut [W]) {
    let layout = Layout::new(out.len());
    let out = Out::new(out);
    for_units(layout, |unit| {
        let e = unit.elements.clone();
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(e.clone()) };
        product_share_unit(unit.lanes(), &x[0][e.clone()], &x[1][e.clone()], &y[0][e.clone()], &y[1][e], out);
    });
}

unit_kernel! {
    fn product_share_unit<W>(L, x0: &[W], x1: &[W], y0: &[W], y1: &[W], out: &mut [W]) {
        let n = if out.len() == 64 * L { 64 * L } else { out.len() };
        let (x0, x1, y0, y1, out) = (&x0[..n], &x1[..n], &y0[..n], &y1[..n], &mut out[..n]);
        for i in 0..n {
            out[i] = x0[i].wrapping_mul(&y0[i].wrapping_add(&y1[i])).wrapping_add(&x1[i].wrapping_mul(&y0[i]));
        }
    }
}

/// `z` += bias, where each entry of the bias belongs to `inner` elements in a row and the whole
/// repeats (a batch): the bias of a convolution's channels or of a layer's outputs.
pub fn add_bias<W: Word>(bias: &[W], inner: usize, z: &mut [W]) {
    if inner == 0 || bias.is_empty() {
        return;
    }
    for image in z.chunks_exact_mut(bias.len() * inner) {
        for (channel, b) in image.chunks_exact_mut(inner).zip(bias) {
            channel.iter_mut().for_each(|word| *word = word.wrapping_add(b));
        }
    }
}

/// `out` = the blocks of `x` in another order. Bound by memory where blocks are some cache lines long.
pub fn reorder<W: Word>(order: &BlockOrder, x: &[W], out: &mut [W]) {
    let BlockOrder { sizes: [_, rows, columns], strides, block, reversed } = *order;
    if out.is_empty() {
        return;
    }
    let row = |(index, out): (usize, &mut [W])| {
        let start = index / rows * strides[0] + index % rows * strides[1];
        for (k, out) in out.chunks_exact_mut(block).enumerate() {
            let source = &x[start + k * strides[2]..][..block];
            match reversed {
                false => copy_few(out, source),
                true => out.iter_mut().zip(source.iter().rev()).for_each(|(to, from)| *to = *from),
            }
        }
    };
    if out.len() < PARALLEL_MIN {
        out.chunks_exact_mut(columns * block).enumerate().for_each(row);
    } else {
        out.par_chunks_exact_mut(columns * block).enumerate().for_each(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_come_in_the_order_that_is_said(sizes in prop::array::uniform3(1usize..6), block in 1usize..20) {
            let [a, b, c] = sizes;
            let x: Vec<u64> = (0..(a * b * c * block) as u64).collect();
            let place = |i, j, k, word| ((i * b + j) * c + k) * block + word;
            let mut out = vec![0; x.len()];
            reorder(&BlockOrder::mirrored(sizes, block), &x, &mut out);
            let mut swapped = vec![0; x.len()];
            reorder(&BlockOrder { reversed: true, ..BlockOrder::swapped(a, [b, c], block) }, &x, &mut swapped);
            for (index, word) in (0..a * b * c * block).map(|at| (at / block, at % block)) {
                let (i, j, k) = (index / c / b, index / c % b, index % c);
                let from = place(i, j, k, word) as u64;
                prop_assert_eq!(out[((k * b + j) * a + i) * block + word], from);
                prop_assert_eq!(swapped[((i * c + k) * b + j) * block + block - 1 - word], from);
            }
        }

        #[test]
        fn operations_do_what_they_say(
            x in proptest::collection::vec(any::<u64>(), 1..700), c in any::<u64>(), k in 0u32..70,
        ) {
            operations::<u64>(&x, c, k);
            operations::<u32>(&x, c, k);
        }
    }

    fn operations<W: Word>(words: &[u64], c: u64, k: u32) {
        let other: Vec<u64> = words.iter().map(|x| x.rotate_left(13) ^ c).collect();
        let (x, y, word) = (W::of(words), W::of(&other), W::of_u64(c));
        let mut out = vec![W::zero(); x.len()];
        type OfTwo<'a, W> = (Binary, &'a dyn Fn(W, W) -> W);
        let both: [OfTwo<W>; 5] = [
            (Binary::Add, &|x, y| x.wrapping_add(&y)),
            (Binary::Sub, &|x, y| x.wrapping_sub(&y)),
            (Binary::Mul, &|x, y| x.wrapping_mul(&y)),
            (Binary::Xor, &|x, y| x ^ y),
            (Binary::And, &|x, y| x & y),
        ];
        for (op, expected) in both {
            binary(op, x, y, &mut out);
            assert!((0..x.len()).all(|i| out[i] == expected(x[i], y[i])), "{op:?}");
        }
        let one: [(Unary, &dyn Fn(W) -> W); 6] = [
            (Unary::Add(c), &|x| x.wrapping_add(&word)),
            (Unary::Mul(c), &|x| x.wrapping_mul(&word)),
            (Unary::And(c), &|x| x & word),
            (Unary::Shl(k), &|x| W::of_u64(x.as_().checked_shl(k).unwrap_or(0))),
            (Unary::Shr(k), &|x| W::of_u64(x.as_().checked_shr(k).unwrap_or(0))),
            (Unary::Sar(k), &|x| W::of_u64((x.signed() >> k.min(63)) as u64)),
        ];
        for (op, expected) in one {
            unary(op, x, &mut out);
            assert!((0..x.len()).all(|i| out[i] == expected(x[i])), "{op:?}");
        }
        combine(vec![Combined { how: Combine::Add, parts: vec![x, y, y], constant: c, out: &mut out }]);
        assert!((0..x.len()).all(|i| out[i] == x[i].wrapping_add(&y[i]).wrapping_add(&y[i]).wrapping_add(&word)));
        product_share([x, y], [y, x], &mut out);
        let share = |i: usize| x[i].wrapping_mul(&y[i].wrapping_add(&x[i])).wrapping_add(&y[i].wrapping_mul(&y[i]));
        assert!((0..x.len()).all(|i| out[i] == share(i)));
        let mut total = [W::zero()];
        sum(x, &mut total);
        assert_eq!(total[0], x.iter().fold(W::zero(), |sum, x| sum.wrapping_add(x)));
    }
}
