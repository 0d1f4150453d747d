//! The two passes over tiles: outputs from images and weights, weights' gradients from images and outputs' gradients.

use super::Tiling;
use super::forms::{Form, Product};
use crate::device::cpu::gemm::{Concat, Isa, Kernels, Lanes, Output, product, vectorised};
use crate::device::cpu::parallel::Out;
use crate::device::spare::Elements;
use crate::ring::Word;
use rayon::prelude::*;
use std::ops::Range;

/// Words of sums of images, and of products, that are in memory for a thread at once, at least a row of tiles. Fewer in the
/// unit tests, which reach several chunks so.
const CHUNK_WORDS: usize = if cfg!(test) { 1 << 13 } else { 1 << 20 };
/// The same of a gradient of weights, for all threads: its products are as deep as there are tiles.
const DEEP_CHUNK_WORDS: usize = if cfg!(test) { 1 << 13 } else { 1 << 21 };
/// Words of sums of weights that are made at once where they serve one chunk.
const KERNEL_WORDS: usize = 1 << 18;
/// Neighbouring weights that are summed up at once: they stay in the first-level cache.
const LANES: usize = 512;

/// One side of a product, of each term: from word `first` on, with this depth and these strides of depth and lanes.
fn lanes<T: Word>(
    terms: &[Elements<T>],
    first: usize,
    [depth, depth_stride, lane_stride]: [usize; 3],
) -> Vec<Lanes<'_, T>> {
    terms.iter().map(|words| Lanes { data: &words[first..], depth, depth_stride, lane_stride }).collect()
}

/// At most `most` of `rows`, so that every chunk has about as many.
fn even(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most.max(1)))
}

/// Outputs pixel by pixel, `[batch, rows of whole tiles, width, channels]`, from images pixel by pixel and weights tap by
/// tap, each with as many terms.
pub(super) fn forward<T: Kernels>(
    isa: Isa,
    tiling: &Tiling,
    images: &[Elements<T>],
    weights: &[Elements<T>],
) -> Elements<T> {
    let ([input, output], [rows, columns]) = (tiling.channels, &tiling.axes);
    let (tiles, products, terms) = (tiling.tiles[1], columns.products.len(), images.len().max(1));
    let row_words = rows.outputs * tiling.output[1] * output;
    let mut sums = Elements::scratch(tiling.rows() * row_words);
    sums.fill(T::zero());
    let together = even(tiling.rows(), CHUNK_WORDS / (tiles * products * (terms * input + output)));
    let adjoint = columns.adjoint(columns.outputs, |product| &product.outputs);
    // Sums of weights that serve one chunk only are made a few channels at a time: they stay in cache.
    let several = together < tiling.rows();
    let depth = if several { input } else { (KERNEL_WORDS / (products * output * terms)).max(16).min(input) };
    for row in &rows.products {
        let mut pass = Forward { isa, tiling, images, weights, row, depth, whole: None };
        pass.whole = several.then(|| pass.kernels(0..input));
        let chunk = |(index, sums): (usize, &mut [T])| {
            let (first, count) = (index * together, sums.len() / row_words);
            let result = pass.products(first, count);
            for (at, sums) in sums.chunks_exact_mut(row_words).enumerate() {
                let (first, stride) = (at * tiles * output, count * tiles * output);
                put_outputs(isa, tiling, &row.outputs, &adjoint, first, stride, &result, sums);
            }
        };
        sums.par_chunks_mut(together * row_words).enumerate().for_each(chunk);
    }
    sums
}

/// One product of the rows' algorithm in [`forward`].
struct Forward<'a, T> {
    isa: Isa,
    tiling: &'a Tiling,
    images: &'a [Elements<T>],
    weights: &'a [Elements<T>],
    row: &'a Product,
    /// Input channels whose sums of weights are made at once.
    depth: usize,
    /// Those of all channels, where they serve several chunks.
    whole: Option<Vec<Elements<T>>>,
}

impl<T: Kernels> Forward<'_, T> {
    /// Sums of weights, of each term.
    fn kernels(&self, channels: Range<usize>) -> Vec<Elements<T>> {
        let Forward { isa, tiling, row, .. } = *self;
        self.weights.iter().map(|weights| sum_weights(isa, tiling, weights, &row.taps, channels.clone())).collect()
    }

    /// The products of some rows of tiles: `[products, tiles, out]`.
    fn products(&self, first: usize, count: usize) -> Elements<T> {
        let ([input, output], columns) = (self.tiling.channels, &self.tiling.axes[1].products);
        let all = count * self.tiling.tiles[1];
        let spread =
            |images: &Elements<T>| Seen::images(self.tiling, images, &self.row.inputs).rows(self.isa, first, count);
        let seen: Vec<_> = self.images.iter().map(spread).collect();
        let mut result = Elements::scratch(columns.len() * all * output);
        for channels in (0..input).step_by(self.depth).map(|first| first..input.min(first + self.depth)) {
            let some = self.whole.is_none().then(|| self.kernels(channels.clone()));
            let each = channels.len() * output;
            let multiply = |(k, result): (usize, &mut [T])| {
                let left = lanes(&seen, k * all * input + channels.start, [channels.len(), 1, input]);
                let kernels = some.as_ref().or(self.whole.as_ref()).map_or(&[][..], |kernels| kernels);
                let right = lanes(kernels, k * each, [channels.len(), output, 1]);
                let out = Output::matrix(result, output, channels.start > 0);
                product(self.isa, [all, output], &Concat(&left), &Concat(&right), out);
            };
            result.par_chunks_exact_mut(all * output).enumerate().for_each(multiply);
        }
        result
    }
}

/// Weights' gradients tap by tap, `[taps, out, in]`, from gradients of outputs and images, pixel by pixel, of each term.
pub(super) fn weights<T: Kernels>(isa: Isa, tiling: &Tiling, terms: &[[Elements<T>; 2]]) -> Elements<T> {
    let ([input, output], [rows, columns]) = (tiling.channels, &tiling.axes);
    let (products, each) = (columns.products.len(), input * output);
    let mut sums = Elements::scratch(rows.taps * columns.taps * each);
    sums.fill(T::zero());
    let row_words = tiling.tiles[1] * products * terms.len().max(1) * (input + output);
    let together = even(tiling.rows(), DEEP_CHUNK_WORDS / row_words);
    let adjoint = columns.adjoint(columns.taps, |product| &product.taps);
    let mut result = Elements::scratch(products * each);
    for row in &rows.products {
        result.fill(T::zero());
        for first in (0..tiling.rows()).step_by(together) {
            add_correlations(isa, tiling, terms, row, first..tiling.rows().min(first + together), &mut result);
        }
        for (&(i, minus), (tap, products)) in
            row.taps.iter().flat_map(|i| adjoint.iter().enumerate().map(move |a| (i, a)))
        {
            let sum = &mut sums[(i * columns.taps + tap) * each..][..each];
            let add = |(block, sum): (usize, &mut [T])| {
                for &(k, negated) in products {
                    let source = &result[k * each + block * LANES..][..sum.len()];
                    accumulate(isa, source, minus != negated, sum);
                }
            };
            sum.par_chunks_mut(LANES).with_min_len(32).enumerate().for_each(add);
        }
    }
    sums
}

/// Adds the products of some rows of tiles, outputs' gradients times images, to `result`, `[products, out, in]`.
fn add_correlations<T: Kernels>(
    isa: Isa,
    tiling: &Tiling,
    terms: &[[Elements<T>; 2]],
    row: &Product,
    range: Range<usize>,
    result: &mut [T],
) {
    let ([input, output], all) = (tiling.channels, range.len() * tiling.tiles[1]);
    let rows = |view: Seen<'_, T>| view.rows(isa, range.start, range.len());
    let (mut left, mut right) = (vec![], vec![]);
    for [gradients, images] in terms {
        left.push(rows(Seen::outputs(tiling, gradients, &row.outputs)));
        right.push(rows(Seen::images(tiling, images, &row.inputs)));
    }
    let multiply = |(k, result): (usize, &mut [T])| {
        let left = lanes(&left, k * all * output, [all, output, 1]);
        let right = lanes(&right, k * all * input, [all, input, 1]);
        product(isa, [output, input], &Concat(&left), &Concat(&right), Output::matrix(result, input, true));
    };
    result.par_chunks_exact_mut(input * output).enumerate().for_each(multiply);
}

/// For each product of the columns' algorithm, the sum of weights of some input channels under the rows' sum `row`:
/// `[products, channels, out]`.
fn sum_weights<T: Word>(isa: Isa, tiling: &Tiling, weights: &[T], row: &Form, channels: Range<usize>) -> Elements<T> {
    let (columns, [input, output]) = (&tiling.axes[1], tiling.channels);
    let (first, each) = (channels.start * output, channels.len() * output);
    let mut out = Elements::scratch(columns.products.len() * each);
    let view = Out::new(&mut out);
    let block = |block: usize| {
        let lanes = block * LANES..each.min((block + 1) * LANES);
        let mut scratch = [T::zero(); super::TAPS * LANES];
        for (tap, sum) in scratch.chunks_exact_mut(LANES).take(columns.taps).enumerate() {
            let of = |i: usize| &weights[(i * columns.taps + tap) * input * output + first..][lanes.clone()];
            combine(isa, row, &|i: usize| Some(of(i)), &mut sum[..lanes.len()]);
        }
        for (k, product) in columns.products.iter().enumerate() {
            // SAFETY: each block takes its own lanes of each product, once.
            let out = unsafe { view.range(k * each + lanes.start..k * each + lanes.end) };
            let source = |tap: usize| Some(&scratch[tap * LANES..][..lanes.len()]);
            combine(isa, &product.taps, &source, out);
        }
    };
    (0..each.div_ceil(LANES)).into_par_iter().with_min_len(8).for_each(block);
    out
}

/// Images or outputs' gradients as an algorithm sees them.
struct Seen<'a, T> {
    /// Pixel by pixel.
    pixels: &'a [T],
    channels: usize,
    size: [usize; 2],
    /// Where the first tile begins, before the first pixel.
    before: [usize; 2],
    /// From one tile to the next.
    step: [usize; 2],
    tiles: [usize; 2],
    /// Columns of a tile.
    width: usize,
    /// What of its rows is added up, and for each product of its columns.
    row: &'a Form,
    columns: Vec<&'a Form>,
}

impl<'a, T: Word> Seen<'a, T> {
    fn images(tiling: &'a Tiling, pixels: &'a [T], row: &'a Form) -> Self {
        let columns = tiling.axes[1].products.iter().map(|product| &product.inputs).collect();
        let (width, size) = (tiling.axes[1].inputs(), tiling.input);
        Seen { size, before: tiling.before, width, columns, ..Seen::outputs(tiling, pixels, row) }
            .with(tiling.channels[0])
    }

    fn outputs(tiling: &'a Tiling, pixels: &'a [T], row: &'a Form) -> Self {
        let columns = tiling.axes[1].products.iter().map(|product| &product.outputs).collect();
        let step = [0, 1].map(|axis| tiling.axes[axis].outputs);
        let (size, tiles, channels) = (tiling.output, tiling.tiles, tiling.channels[1]);
        Seen { pixels, channels, size, before: [0; 2], step, tiles, width: step[1], row, columns }
    }

    fn with(self, channels: usize) -> Self {
        Seen { channels, ..self }
    }

    /// Sums of some rows of tiles: `[products, tiles, channels]`.
    fn rows(&self, isa: Isa, first: usize, count: usize) -> Elements<T> {
        let all = count * self.tiles[1];
        let mut seen = Elements::scratch(self.columns.len() * all * self.channels);
        let out = Out::new(&mut seen);
        (0..count).into_par_iter().with_min_len(4).for_each(|at| self.row(isa, first + at, at, all, &out));
        seen
    }

    /// Sums of row `index` of tiles of all images, as row `at` of `out`, `[products, tiles, channels]` of `all` tiles.
    fn row(&self, isa: Isa, index: usize, at: usize, all: usize, out: &Out<'_, T>) {
        let (channels, [height, width]) = (self.channels, self.size);
        let (image, tile_row) = (index / self.tiles[0], index % self.tiles[0]);
        let image = &self.pixels[image * height * width * channels..][..height * width * channels];
        let mut scratch = Elements::scratch(self.width * channels);
        for tile in 0..self.tiles[1] {
            for (column, sum) in scratch.chunks_exact_mut(channels).enumerate() {
                let x = (tile * self.step[1] + column).wrapping_sub(self.before[1]);
                let pixel = |row: usize| {
                    let y = (tile_row * self.step[0] + row).wrapping_sub(self.before[0]);
                    (x < width && y < height).then(|| &image[(y * width + x) * channels..][..channels])
                };
                combine(isa, self.row, &pixel, sum);
            }
            for (k, column) in self.columns.iter().enumerate() {
                let first = (k * all + at * self.tiles[1] + tile) * channels;
                // SAFETY: each tile takes its own words of each product, once.
                let out = unsafe { out.range(first..first + channels) };
                combine(isa, column, &|column: usize| Some(&scratch[column * channels..][..channels]), out);
            }
        }
    }
}

/// Adds products of a row of tiles, from word `first` of each product's on, to its outputs.
#[allow(clippy::too_many_arguments)]
fn put_outputs<T: Word>(
    isa: Isa,
    tiling: &Tiling,
    row: &Form,
    columns: &[Form],
    first: usize,
    stride: usize,
    products: &[T],
    sums: &mut [T],
) {
    let (channels, width) = (tiling.channels[1], tiling.output[1]);
    let mut scratch = Elements::scratch(channels);
    for (tile, column) in (0..tiling.tiles[1]).flat_map(|tile| (0..columns.len()).map(move |column| (tile, column))) {
        let x = tile * columns.len() + column;
        if x >= width {
            continue;
        }
        let source = |k: usize| Some(&products[k * stride + first + tile * channels..][..channels]);
        combine(isa, &columns[column], &source, &mut scratch);
        for &(y, minus) in row {
            accumulate(isa, &scratch, minus, &mut sums[(y * width + x) * channels..][..channels]);
        }
    }
}

/// `out` = the sum of what `source` gives for the entries of `form`; nothing is zero.
#[inline]
fn combine<'a, T: Word>(isa: Isa, form: &Form, source: &impl Fn(usize) -> Option<&'a [T]>, out: &mut [T]) {
    let mut parts: [(&[T], T); super::forms::MOST] = [(&[], T::zero()); super::forms::MOST];
    let mut count = 0;
    for &(entry, minus) in form {
        if let Some(words) = source(entry)
            && let Some(part) = parts.get_mut(count)
        {
            *part = (words, if minus { T::max_value() } else { T::zero() });
            count += 1;
        }
    }
    sum(isa, &parts[..count], out);
}

vectorised! {
    /// `out` = the sum of all parts, each negated where its mask is all ones.
    fn sum<T: Word>(parts: &[(&[T], T)], out: &mut [T]) {
        let n = out.len();
        let of = |(words, mask): (&[T], T), i: usize| (words[i] ^ mask).wrapping_sub(&mask);
        match *parts {
            [] => out.fill(T::zero()),
            [(a, mask)] if mask == T::zero() => out.copy_from_slice(&a[..n]),
            [a] => {
                let a = (&a.0[..n], a.1);
                (0..n).for_each(|i| out[i] = of(a, i));
            }
            [a, b] => {
                let (a, b) = ((&a.0[..n], a.1), (&b.0[..n], b.1));
                (0..n).for_each(|i| out[i] = of(a, i).wrapping_add(&of(b, i)));
            }
            [a, b, c] => {
                let (a, b, c) = ((&a.0[..n], a.1), (&b.0[..n], b.1), (&c.0[..n], c.1));
                (0..n).for_each(|i| out[i] = of(a, i).wrapping_add(&of(b, i)).wrapping_add(&of(c, i)));
            }
            [a, b, c, d, ref rest @ ..] => {
                let (a, b, c, d) = ((&a.0[..n], a.1), (&b.0[..n], b.1), (&c.0[..n], c.1), (&d.0[..n], d.1));
                (0..n).for_each(|i| {
                    out[i] = of(a, i).wrapping_add(&of(b, i)).wrapping_add(&of(c, i)).wrapping_add(&of(d, i));
                });
                for &(words, mask) in rest {
                    let words = &words[..n];
                    (0..n).for_each(|i| out[i] = out[i].wrapping_add(&of((words, mask), i)));
                }
            }
        }
    }
}

vectorised! {
    /// `out` += or −= `words`.
    fn accumulate<T: Word>(words: &[T], minus: bool, out: &mut [T]) {
        let mask = if minus { T::max_value() } else { T::zero() };
        out.iter_mut().zip(words).for_each(|(out, word)| *out = out.wrapping_add(&(*word ^ mask).wrapping_sub(&mask)));
    }
}
