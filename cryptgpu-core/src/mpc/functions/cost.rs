//! What functions of secret numbers cost, as formulas: n is the number of elements, f that of the codec's fraction bits.
//! They are a part of [`crate::mpc::cost`].

use super::exp::Pieces;
use super::octaves::BitRange;
use super::softmax::{exponential_scale, sum_octaves};
use super::{Octaves, RowFunction, SmoothFunction, WORKING, normalise, reciprocal, roots};
use crate::mpc::cost::{max_pool, reshare, sign_to_ring, truncate_product, truncate_shared};
use crate::mpc::{Cost, SignWindow};
use crate::ring::Ring;

/// The ring that functions are computed in.
const RING: Ring = Ring::Z64;

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
pub fn reciprocal(n: usize, f: u32, octaves: Octaves) -> Cost {
    let bits = octaves.bits(f);
    split(n, bits) + reciprocal_of(n, bits, f, f)
}

/// [`crate::mpc::Party::div_in`] of n elements.
pub fn div(n: usize, f: u32, octaves: Octaves) -> Cost {
    let bits = octaves.bits(f);
    let to = f + reciprocal::GUARD;
    split(n, bits) + reciprocal_of(n, bits, f, to) + truncate_product(RING, n, to)
}

/// [`crate::mpc::Party::rsqrt_in`] of n elements.
pub fn rsqrt(n: usize, f: u32, octaves: Octaves) -> Cost {
    root(n, f, octaves, true)
}

/// [`crate::mpc::Party::sqrt_in`] of n elements.
pub fn sqrt(n: usize, f: u32, octaves: Octaves) -> Cost {
    root(n, f, octaves, false)
}

fn root(n: usize, f: u32, octaves: Octaves, inverse: bool) -> Cost {
    let bits = octaves.bits(f);
    let scales = roots::Scales::of(bits, f, inverse);
    split(n, bits) + polynomial(n, scales.mantissa) + product(n, scales.cut)
}

/// [`crate::mpc::Party::log_in`] of n elements.
pub fn log(n: usize, f: u32, octaves: Octaves) -> Cost {
    split(n, octaves.bits(f)) + polynomial(n, f)
}

fn exp_scaled(n: usize, pieces: Pieces) -> Cost {
    let scale = pieces.scale();
    steps(n, pieces.thresholds(), SignWindow::default())
        + reshare(RING, n)
        + polynomial(n, scale)
        + product(n, scale as i32)
}

/// [`crate::mpc::Party::exp`] of n elements.
pub fn exp(n: usize, f: u32) -> Cost {
    exp_scaled(n, Pieces::whole(f))
}

/// [`crate::mpc::Party::sigmoid`] of n elements.
pub fn sigmoid(n: usize, f: u32) -> Cost {
    sign_to_ring(RING, n, SignWindow::default())
        + reshare(RING, n)
        + exp_scaled(n, Pieces::up_to_one(exponential_scale(f)))
        + polynomial(n, f)
        + reshare(RING, n)
}

/// [`crate::mpc::Party::smooth`] of n elements.
pub fn smooth(n: usize, f: u32, function: SmoothFunction, window: SignWindow) -> Cost {
    let powers = [1, 2, 3].map(|count| truncate_product(RING, count * n, WORKING));
    let powers = powers.into_iter().fold(Cost::FREE, |sum, cost| sum + cost);
    steps(n, function.comparisons(), window)
        + reshare(RING, n)
        + powers
        + truncate_product(RING, n, (2 * WORKING).saturating_sub(f))
}

/// Maxima, exponentials and their sums of `rows` rows of `width` elements.
fn exponentials(rows: usize, width: usize, f: u32, window: SignWindow) -> Cost {
    let scale = exponential_scale(f);
    max_pool(RING, rows, width, window)
        + exp_scaled(rows * width, Pieces::up_to_one(scale))
        + split(rows, sum_octaves(width).bits(scale))
}

/// [`crate::mpc::Party::softmax`] of `rows` rows of `width` elements.
pub fn softmax(rows: usize, width: usize, f: u32, window: SignWindow) -> Cost {
    let scale = exponential_scale(f);
    exponentials(rows, width, f, window)
        + reciprocal_of(rows, sum_octaves(width).bits(scale), scale, WORKING)
        + truncate_product(RING, rows * width, scale + WORKING - f)
}

/// [`crate::mpc::Party::log_softmax`] of `rows` rows of `width` elements.
pub fn log_softmax(rows: usize, width: usize, f: u32, window: SignWindow) -> Cost {
    exponentials(rows, width, f, window) + polynomial(rows, f)
}

/// [`crate::mpc::Party::layer_norm`] of `rows` rows of `width` elements.
pub fn layer_norm(rows: usize, width: usize, f: u32, eps: f64) -> Cost {
    let scales = normalise::Scales::of(width, eps, f);
    truncate_shared(RING, rows, scales.mean_cut())
        + truncate_product(RING, rows, scales.squares)
        + split(rows, scales.bits())
        + polynomial(rows, scales.mantissa())
        + product(rows, scales.root_cut())
        + truncate_product(RING, rows * width, scales.inverse())
}

/// [`crate::mpc::Party::of_rows`] of `rows` rows of `width` elements.
pub fn rows(rows: usize, width: usize, f: u32, function: RowFunction, window: SignWindow) -> Cost {
    match function {
        RowFunction::Softmax => softmax(rows, width, f, window),
        RowFunction::LogSoftmax => log_softmax(rows, width, f, window),
        RowFunction::LayerNorm { eps } => layer_norm(rows, width, f, eps),
    }
}

/// [`crate::mpc::Party::cross_entropy`] of `rows` rows of `width` elements.
pub fn cross_entropy(rows: usize, width: usize, f: u32, window: SignWindow) -> Cost {
    softmax(rows, width, f, window) + polynomial(rows, f) + truncate_product(RING, rows, f)
}
