//! What functions of secret numbers cost, as formulas: n is the number of elements, f that of the codec's fraction bits.
//! They are a part of [`crate::mpc::cost`]. `ring` is that of the arguments: those of 32 bits are extended first, and all else is the same.

use super::exp::Pieces;
use super::octaves::BitRange;
use super::softmax::{exponential_scale, sum_octaves};
use super::{Octaves, RowFunction, SmoothFunction, WORKING, normalise, reciprocal, roots};
use crate::mpc::cost::{extend, max_pool, of_extended, reshare, sign_to_ring, truncate_product, truncate_shared};
use crate::mpc::{Cost, SignWindow};
use crate::ring::Ring;

/// The ring that functions are computed in.
const RING: Ring = Ring::Z64;

/// n arguments of a ring in the one that functions are computed in.
fn arguments(ring: Ring, n: usize) -> Cost {
    if ring == RING { Cost::FREE } else { extend(n) }
}

/// Where n elements lie among thresholds, as ring elements.
fn steps(n: usize, thresholds: usize, window: SignWindow) -> Cost {
    sign_to_ring(RING, n * thresholds, window)
}

/// n products of which so many bits are cut.
fn product(n: usize, cut: i32) -> Cost {
    truncate_product(RING, n, cut.max(0) as u32)
}

/// A polynomial at n places, with so many fraction bits.
fn polynomial(n: usize, scale: u32) -> Cost {
    truncate_product(RING, n, WORKING)
        + truncate_product(RING, 2 * n, WORKING)
        + truncate_shared(RING, n, WORKING)
        + truncate_product(RING, n, WORKING)
        + truncate_product(RING, n, 2 * WORKING - scale)
}

fn split(n: usize, bits: BitRange) -> Cost {
    steps(n, bits.count(), bits.window()) + truncate_product(RING, n, bits.excess())
}

fn reciprocal_of(n: usize, bits: BitRange, from: u32, to: u32) -> Cost {
    let (scale, cut) = reciprocal::scale_and_cut(bits, from, to);
    polynomial(n, scale) + product(n, cut)
}

/// [`crate::mpc::Party::reciprocal_in`] of n elements.
pub fn reciprocal(ring: Ring, n: usize, f: u32, octaves: Octaves) -> Cost {
    let bits = octaves.bits(f);
    arguments(ring, n) + split(n, bits) + reciprocal_of(n, bits, f, f)
}

/// [`crate::mpc::Party::div_in`] of n elements.
pub fn div(ring: Ring, n: usize, f: u32, octaves: Octaves) -> Cost {
    let bits = octaves.bits(f);
    let to = f + reciprocal::GUARD;
    arguments(ring, 2 * n) + split(n, bits) + reciprocal_of(n, bits, f, to) + truncate_product(RING, n, to)
}

/// [`crate::mpc::Party::quotient`] of n elements.
pub fn quotient(ring: Ring, n: usize, f: u32, octaves: Octaves) -> Cost {
    div(ring, n, f, octaves) + sign_to_ring(RING, n, SignWindow::default()) + reshare(RING, 2 * n)
}

/// [`crate::mpc::Party::rsqrt_in`] of n elements.
pub fn rsqrt(ring: Ring, n: usize, f: u32, octaves: Octaves) -> Cost {
    root(ring, n, f, octaves, true)
}

/// [`crate::mpc::Party::sqrt_in`] of n elements.
pub fn sqrt(ring: Ring, n: usize, f: u32, octaves: Octaves) -> Cost {
    root(ring, n, f, octaves, false)
}

fn root(ring: Ring, n: usize, f: u32, octaves: Octaves, inverse: bool) -> Cost {
    let bits = octaves.bits(f);
    let scales = roots::Scales::of(bits, f, inverse);
    arguments(ring, n) + split(n, bits) + polynomial(n, scales.mantissa) + product(n, scales.cut)
}

/// [`crate::mpc::Party::log_in`] of n elements.
pub fn log(ring: Ring, n: usize, f: u32, octaves: Octaves) -> Cost {
    arguments(ring, n) + split(n, octaves.bits(f)) + polynomial(n, f)
}

fn exp_scaled(n: usize, pieces: Pieces) -> Cost {
    let scale = pieces.scale();
    steps(n, pieces.thresholds(), SignWindow::default())
        + reshare(RING, n)
        + polynomial(n, scale)
        + product(n, scale as i32)
}

/// [`crate::mpc::Party::exp`] of n elements.
pub fn exp(ring: Ring, n: usize, f: u32) -> Cost {
    arguments(ring, n) + exp_scaled(n, Pieces::whole(ring, f))
}

/// [`crate::mpc::Party::sigmoid`] of n elements.
pub fn sigmoid(ring: Ring, n: usize, f: u32) -> Cost {
    arguments(ring, n)
        + sign_to_ring(RING, n, SignWindow::default())
        + reshare(RING, n)
        + exp_scaled(n, Pieces::up_to_one(exponential_scale(f)))
        + polynomial(n, f)
        + reshare(RING, n)
}

/// [`crate::mpc::Party::smooth`] of n elements.
pub fn smooth(ring: Ring, n: usize, f: u32, function: SmoothFunction, window: SignWindow) -> Cost {
    let powers = [1, 2, 3].map(|count| truncate_product(RING, count * n, WORKING));
    let powers = powers.into_iter().fold(Cost::FREE, |sum, cost| sum + cost);
    arguments(ring, n)
        + of_extended(ring != RING, || steps(n, function.comparisons(), window))
        + reshare(RING, n)
        + powers
        + truncate_product(RING, n, (2 * WORKING).saturating_sub(f))
}

/// Maxima, exponentials and their sums of `rows` rows of `width` elements.
fn exponentials(ring: Ring, rows: usize, width: usize, f: u32, window: SignWindow) -> Cost {
    let scale = exponential_scale(f);
    of_extended(ring != RING, || max_pool(RING, rows, width, window))
        + exp_scaled(rows * width, Pieces::up_to_one(scale))
        + split(rows, sum_octaves(width).bits(scale))
}

/// [`crate::mpc::Party::softmax`] of `rows` rows of `width` elements.
pub fn softmax(ring: Ring, rows: usize, width: usize, f: u32, window: SignWindow) -> Cost {
    arguments(ring, rows * width) + softmax_of(ring, rows, width, f, window)
}

fn softmax_of(ring: Ring, rows: usize, width: usize, f: u32, window: SignWindow) -> Cost {
    let scale = exponential_scale(f);
    exponentials(ring, rows, width, f, window)
        + reciprocal_of(rows, sum_octaves(width).bits(scale), scale, WORKING)
        + truncate_product(RING, rows * width, scale + WORKING - f)
}

/// [`crate::mpc::Party::log_softmax`] of `rows` rows of `width` elements.
pub fn log_softmax(ring: Ring, rows: usize, width: usize, f: u32, window: SignWindow) -> Cost {
    arguments(ring, rows * width) + exponentials(ring, rows, width, f, window) + polynomial(rows, f)
}

/// [`crate::mpc::Party::layer_norm`] of `rows` rows of `width` elements.
pub fn layer_norm(ring: Ring, rows: usize, width: usize, f: u32, eps: f64) -> Cost {
    let scales = normalise::Scales::of(width, eps, f);
    truncate_shared(RING, rows, scales.mean_cut()) + rms_norm(ring, rows, width, f, eps)
}

/// [`crate::mpc::Party::rms_norm`] of `rows` rows of `width` elements.
pub fn rms_norm(ring: Ring, rows: usize, width: usize, f: u32, eps: f64) -> Cost {
    let scales = normalise::Scales::of(width, eps, f);
    arguments(ring, rows * width)
        + truncate_product(RING, rows, scales.squares)
        + split(rows, scales.bits())
        + polynomial(rows, scales.mantissa())
        + product(rows, scales.root_cut())
        + truncate_product(RING, rows * width, scales.result_cut())
}

/// [`crate::mpc::Party::of_rows`] of `rows` rows of `width` elements.
pub fn rows(ring: Ring, rows: usize, width: usize, f: u32, function: RowFunction, window: SignWindow) -> Cost {
    match function {
        RowFunction::Softmax => softmax(ring, rows, width, f, window),
        RowFunction::LogSoftmax => log_softmax(ring, rows, width, f, window),
        RowFunction::LayerNorm { eps } => layer_norm(ring, rows, width, f, eps),
        RowFunction::RmsNorm { eps } => rms_norm(ring, rows, width, f, eps),
    }
}

/// [`crate::mpc::Party::cross_entropy`] of `rows` rows of `width` elements.
pub fn cross_entropy(ring: Ring, rows: usize, width: usize, f: u32, window: SignWindow) -> Cost {
    arguments(ring, 2 * rows * width)
        + softmax_of(ring, rows, width, f, window)
        + polynomial(rows, f)
        + truncate_product(RING, rows, f)
}
