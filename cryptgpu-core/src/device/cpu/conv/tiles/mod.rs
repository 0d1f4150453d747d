//! Convolutions with stride 1 in fewer products than outputs times taps: tiles of outputs by [`forms`], along rows and
//! columns, 64 products for sixteen outputs of a 3 × 3 kernel in place of 144. The forward convolution, the gradient of its
//! weights, and that of its images, which is a convolution with the flipped kernel. Every sum is exact in the ring: results
//! are those of the direct product, word for word.
//!
//! Images lie pixel by pixel here, channels next to each other, and weights tap by tap, so that sums of them are sums of
//! vectors. For each product of the rows' algorithm: sums of weights, sums of images, one product of matrices for each product
//! of the columns' algorithm, and its words added to the outputs. So no more is in memory than an eighth of all sums.
//!
//! Floor for 3 × 3: 4/9 of the direct products. A word of an image takes part in some 20 additions and four packings
//! for each term, a word of the result in 20 additions: less than a tenth of the time from 64 channels on.

mod forms;
mod layout;
mod passes;

use super::images::adjoint;
use super::{ConvTerm, InputGradientTerm, WeightGradientTerm};
use crate::device::cpu::gemm::{GemmError, Isa, Kernels};
use crate::device::{ConvGeometry, GeometryError, PlaneWindows, PoolGeometry};
use forms::Forms;
use layout::{flipped_taps, kernels_of, pixels, planes, taps};

/// Channels on both sides, at least: sums are vectors of channels, and products as deep as there are channels. Fewer in the
/// unit tests.
const CHANNELS: usize = if cfg!(test) { 4 } else { 48 };
/// Taps of a kernel along an axis, at most.
const TAPS: usize = 5;
/// Direct products of a convolution, at least.
const WORK: usize = if cfg!(test) { 1 } else { 1 << 20 };

/// Where tiles pay.
struct Limits {
    /// Products in tiles for each direct one (numerator and denominator), at most.
    products: [usize; 2],
    /// Tiles of all images, at least: sums of weights serve all of them. One in the unit tests.
    tiles: usize,
}

impl Limits {
    /// AMX multiplies so fast that sums and their packing take longer than what is saved, but between two zeros (a quarter).
    fn of(isa: Isa) -> Self {
        let (products, tiles) = if isa == Isa::Amx { ([1, 3], 64) } else { ([3, 4], 32) };
        Limits { products, tiles: if cfg!(test) { 1 } else { tiles } }
    }
}

/// A convolution cut into tiles.
struct Tiling {
    batch: usize,
    /// Input and output channels.
    channels: [usize; 2],
    input: [usize; 2],
    output: [usize; 2],
    /// Padding before the first row and column.
    before: [usize; 2],
    /// The algorithms along rows and columns, and how many tiles there are.
    axes: [Forms; 2],
    tiles: [usize; 2],
}

impl Tiling {
    /// None where the direct product is about as fast.
    fn of(isa: Isa, geometry: &ConvGeometry) -> Result<Option<Self>, GeometryError> {
        let PlaneWindows { window, input, output } = geometry.windows()?;
        let PoolGeometry { kernel, stride, padding, dilation } = window;
        let channels = [geometry.in_channels, geometry.out_channels];
        let fits =
            stride == [1; 2] && dilation == [1; 2] && geometry.groups == 1 && kernel.iter().all(|&taps| taps <= TAPS);
        if !fits || kernel == [1; 2] || channels.iter().any(|&channels| channels < CHANNELS) {
            return Ok(None);
        }
        let before = [padding[0], padding[2]];
        let axes = [0, 1].map(|axis| match (output[axis], input[axis], kernel[axis], before[axis]) {
            (2, 2, 3, 1) => Forms::between_zeros(),
            (outputs, _, taps, _) => Forms::of(if outputs < 3 { outputs } else { 4 }, taps),
        });
        let tiles = [0, 1].map(|axis| output[axis].div_ceil(axes[axis].outputs));
        let short = |axis: usize| tiles[axis] * axes[axis].products.len();
        let direct = output[0] * output[1] * kernel[0] * kernel[1];
        let work = geometry.batch.saturating_mul(direct).saturating_mul(channels[0]).saturating_mul(channels[1]);
        let Limits { products: [most, of], tiles: least } = Limits::of(isa);
        let batch = geometry.batch;
        let pays = of * short(0) * short(1) <= most * direct
            && work >= WORK
            && batch.saturating_mul(tiles[0] * tiles[1]) >= least;
        Ok(pays.then_some(Tiling { batch, channels, input, output, before, axes, tiles }))
    }

    /// Rows of tiles of all images.
    fn rows(&self) -> usize {
        self.batch * self.tiles[0]
    }

    /// Taps of the kernel.
    fn kernel(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.axes[axis].taps)
    }
}

/// The convolution, where tiles pay; the caller has checked shapes and instruction set.
pub(super) fn convolve<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[ConvTerm<'_, T>],
    y: &mut [T],
) -> Result<bool, GemmError> {
    let Some(tiling) = Tiling::of(isa, geometry)? else { return Ok(false) };
    let weights: Vec<_> = terms.iter().map(|term| taps(&tiling, term.weight)).collect();
    let images: Vec<_> = terms.iter().map(|term| pixels(term.input, tiling.channels[0], tiling.input)).collect();
    let sums = passes::forward(isa, &tiling, &images, &weights);
    drop(images);
    planes(&tiling, &sums, y);
    Ok(true)
}

/// The gradient of the images, likewise: the convolution of the outputs' gradient with the flipped kernel.
pub(super) fn image_gradient<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[InputGradientTerm<'_, T>],
    dx: &mut [T],
) -> Result<bool, GemmError> {
    let Some(adjoint) = adjoint(geometry)? else { return Ok(false) };
    let Some(tiling) = Tiling::of(isa, &adjoint)? else { return Ok(false) };
    let weights: Vec<_> = terms.iter().map(|term| flipped_taps(&tiling, term.weight)).collect();
    let gradients: Vec<_> = terms.iter().map(|term| pixels(term.gradient, tiling.channels[0], tiling.input)).collect();
    let sums = passes::forward(isa, &tiling, &gradients, &weights);
    drop(gradients);
    planes(&tiling, &sums, dx);
    Ok(true)
}

/// The gradient of the weights, likewise.
pub(super) fn weight_gradient<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[WeightGradientTerm<'_, T>],
    dw: &mut [T],
) -> Result<bool, GemmError> {
    let Some(tiling) = Tiling::of(isa, geometry)? else { return Ok(false) };
    let [input, output] = tiling.channels;
    let terms: Vec<_> = terms
        .iter()
        .map(|term| [pixels(term.gradient, output, tiling.output), pixels(term.input, input, tiling.input)])
        .collect();
    kernels_of(&tiling, &passes::weights(isa, &tiling, &terms), dw);
    Ok(true)
}
