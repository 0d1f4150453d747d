//! Convolution over Z_2⁶⁴ and Z_2³², NCHW: y = Σₜ xₜ ⊛ wₜ, the sum of products of a replicated convolution
//! in one pass over y. An implicit product of matrices, weights `[out, in/groups·kh·kw]` times
//! columns gathered straight from the images while they are packed (`implicit`); no im2col matrix is
//! ever in memory. Convolutions with one input channel per group take a direct loop (`depthwise`).
//! The gradient of the weights is a product with the same columns, transposed (`weights`); that of the images is a
//! product whose words are added to the images (`images`). Rows and columns of a kernel that only ever see padding are
//! left out of all three (`trim`). With stride 1 and many channels all three are computed in tiles, in fewer products (`tiles`).
//! With AMX, where products are cheap, tiles are rare and images' gradients are convolutions with the flipped kernel.

mod depthwise;
mod images;
mod implicit;
mod tap;
#[cfg(test)]
mod tests;
mod tiles;
mod trim;
mod weights;

use super::gemm::{GemmError, Isa, Kernels};
use crate::device::ConvGeometry;
use crate::device::spare::Elements;
use crate::ring::{Ring, Word};
use bytemuck::{cast_slice, cast_slice_mut};
use trim::Trim;

/// One convolution of a sum.
#[derive(Clone, Copy)]
pub struct ConvTerm<'a, T = u64> {
    /// Images, [`ConvGeometry::input_shape`].
    pub input: &'a [T],
    /// Weights, [`ConvGeometry::weight_shape`].
    pub weight: &'a [T],
}

impl<'a, T: Word> ConvTerm<'a, T> {
    /// The same words under the name of their type.
    fn cast<W: Word>(&self) -> ConvTerm<'a, W> {
        ConvTerm { input: cast_slice(self.input), weight: cast_slice(self.weight) }
    }
}

/// y = Σₜ xₜ ⊛ wₜ in the ring of the words (zero for no terms): y has [`ConvGeometry::output_shape`] and is overwritten.
///
/// ```
/// use cryptgpu_core::device::cpu::conv::{ConvTerm, conv2d_sum};
/// use cryptgpu_core::device::{ConvGeometry, PoolGeometry};
/// let window = PoolGeometry::square(2, 1, 0);
/// let geometry = ConvGeometry { batch: 1, in_channels: 1, input: [2, 3], out_channels: 1, window, groups: 1 };
/// let term = ConvTerm { input: &[1, 2, 3, 4, 5, 6], weight: &[1, 0, 0, u64::MAX] };
/// let mut y = [0; 2];
/// conv2d_sum(&geometry, &[term], &mut y)?;
/// assert_eq!(y, [1_u64.wrapping_sub(5), 2_u64.wrapping_sub(6)]);
/// # Ok::<(), cryptgpu_core::device::cpu::gemm::GemmError>(())
/// ```
///
/// # Errors
/// When the window does not fit, channels do not divide into groups, a slice has another length
/// than its shape, or `CRYPTGPU_ISA` asks for what this machine cannot run. Then nothing is written.
pub fn conv2d_sum<T: Word>(geometry: &ConvGeometry, terms: &[ConvTerm<'_, T>], y: &mut [T]) -> Result<(), GemmError> {
    conv2d_with(Isa::active()?, geometry, terms, y)
}

/// [`conv2d_sum`] on a given instruction set, for tests and benches.
///
/// # Errors
/// As [`conv2d_sum`], and when this machine does not support `isa`.
pub fn conv2d_with<T: Word>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[ConvTerm<'_, T>],
    y: &mut [T],
) -> Result<(), GemmError> {
    let isa = isa.checked()?;
    let [input, weight, output] = [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape()?];
    let tensors = |term: &ConvTerm<'_, T>| [("input", input, term.input.len()), ("weight", weight, term.weight.len())];
    check(output, y.len(), terms.iter().map(tensors))?;
    if y.is_empty() {
        return Ok(());
    }
    match T::RING {
        Ring::Z32 => convolve_trimmed::<u32>(isa, geometry, &all(terms, ConvTerm::cast), cast_slice_mut(y)),
        Ring::Z64 => convolve_trimmed::<u64>(isa, geometry, &all(terms, ConvTerm::cast), cast_slice_mut(y)),
    }
}

/// The convolution of checked operands, without what of its kernels only ever sees padding.
fn convolve_trimmed<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[ConvTerm<'_, T>],
    y: &mut [T],
) -> Result<(), GemmError> {
    let Some(trim) = Trim::of(geometry)? else { return convolve(isa, geometry, terms, y) };
    let weights: Vec<_> = terms.iter().map(|term| trim.weights(term.weight)).collect();
    let terms: Vec<_> = terms.iter().zip(&weights).map(|(term, weight)| ConvTerm { weight, ..*term }).collect();
    convolve(isa, &trim.geometry, &terms, y)
}

fn convolve<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[ConvTerm<'_, T>],
    y: &mut [T],
) -> Result<(), GemmError> {
    if geometry.groups > 1 && geometry.in_channels == geometry.groups {
        return depthwise::convolve(isa, geometry, terms, y);
    }
    if tiles::convolve(isa, geometry, terms, y)? {
        return Ok(());
    }
    implicit::convolve(isa, geometry, terms, y)
}

/// What the gradient of the weights of one convolution is made of.
#[derive(Clone, Copy)]
pub struct WeightGradientTerm<'a, T = u64> {
    /// The gradient of the outputs, [`ConvGeometry::output_shape`].
    pub gradient: &'a [T],
    /// Images, [`ConvGeometry::input_shape`].
    pub input: &'a [T],
}

impl<'a, T: Word> WeightGradientTerm<'a, T> {
    /// The same words under the name of their type.
    fn cast<W: Word>(&self) -> WeightGradientTerm<'a, W> {
        WeightGradientTerm { gradient: cast_slice(self.gradient), input: cast_slice(self.input) }
    }
}

/// Gradient of the weights of a convolution, in the ring of the words: `dw[o, c, ky, kx]` = Σₜ Σ over images n and output pixels
/// (oy, ox) of `gradient[n, o, oy, ox]` · `input[n, c, oy·stride + ky·dilation − top, ox·stride + kx·dilation − left]`,
/// c among the channels of o's group. `dw` has [`ConvGeometry::weight_shape`] and is overwritten.
///
/// ```
/// use cryptgpu_core::device::cpu::conv::{WeightGradientTerm, weight_gradient_sum};
/// use cryptgpu_core::device::{ConvGeometry, PoolGeometry};
/// let window = PoolGeometry::square(2, 1, 0);
/// let geometry = ConvGeometry { batch: 1, in_channels: 1, input: [2, 3], out_channels: 1, window, groups: 1 };
/// let term = WeightGradientTerm { gradient: &[1_u64, 10], input: &[1, 2, 3, 4, 5, 6] };
/// let mut dw = [0; 4];
/// weight_gradient_sum(&geometry, &[term], &mut dw)?;
/// assert_eq!(dw, [21, 32, 54, 65]);
/// # Ok::<(), cryptgpu_core::device::cpu::gemm::GemmError>(())
/// ```
///
/// # Errors
/// As [`conv2d_sum`].
pub fn weight_gradient_sum<T: Word>(
    geometry: &ConvGeometry,
    terms: &[WeightGradientTerm<'_, T>],
    dw: &mut [T],
) -> Result<(), GemmError> {
    weight_gradient_with(Isa::active()?, geometry, terms, dw)
}

/// [`weight_gradient_sum`] on a given instruction set, for tests and benches.
///
/// # Errors
/// As [`weight_gradient_sum`], and when this machine does not support `isa`.
pub fn weight_gradient_with<T: Word>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[WeightGradientTerm<'_, T>],
    dw: &mut [T],
) -> Result<(), GemmError> {
    let isa = isa.checked()?;
    let [input, weight, output] = [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape()?];
    let tensors = |term: &WeightGradientTerm<'_, T>| {
        [("output gradient", output, term.gradient.len()), ("input", input, term.input.len())]
    };
    check(weight, dw.len(), terms.iter().map(tensors))?;
    if dw.is_empty() {
        return Ok(());
    }
    match T::RING {
        Ring::Z32 => correlate_trimmed::<u32>(isa, geometry, &all(terms, WeightGradientTerm::cast), cast_slice_mut(dw)),
        Ring::Z64 => correlate_trimmed::<u64>(isa, geometry, &all(terms, WeightGradientTerm::cast), cast_slice_mut(dw)),
    }
}

/// The gradient of the weights from checked operands, where they ever see an input.
fn correlate_trimmed<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[WeightGradientTerm<'_, T>],
    dw: &mut [T],
) -> Result<(), GemmError> {
    let Some(trim) = Trim::of(geometry)? else { return correlate(isa, geometry, terms, dw) };
    let mut live = Elements::scratch(trim.geometry.weight_shape().iter().product());
    correlate(isa, &trim.geometry, terms, &mut live)?;
    trim.put_weights(&live, dw);
    Ok(())
}

fn correlate<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[WeightGradientTerm<'_, T>],
    dw: &mut [T],
) -> Result<(), GemmError> {
    if geometry.groups > 1 && geometry.in_channels == geometry.groups {
        return weights::depthwise(isa, geometry, terms, dw);
    }
    if tiles::weight_gradient(isa, geometry, terms, dw)? {
        return Ok(());
    }
    weights::by_products(isa, geometry, terms, dw)
}

/// What the gradient of the images of one convolution is made of.
#[derive(Clone, Copy)]
pub struct InputGradientTerm<'a, T = u64> {
    /// The gradient of the outputs, [`ConvGeometry::output_shape`].
    pub gradient: &'a [T],
    /// Weights, [`ConvGeometry::weight_shape`].
    pub weight: &'a [T],
}

impl<'a, T: Word> InputGradientTerm<'a, T> {
    /// The same words under the name of their type.
    fn cast<W: Word>(&self) -> InputGradientTerm<'a, W> {
        InputGradientTerm { gradient: cast_slice(self.gradient), weight: cast_slice(self.weight) }
    }
}

/// Gradient of the images of a convolution, in the ring of the words: `dx[n, c, y, x]` = Σₜ Σ of `gradient[n, o, oy, ox]` ·
/// `weight[o, c, ky, kx]` over the output channels o of c's group and all output pixels and taps with
/// oy·stride + ky·dilation − top = y and ox·stride + kx·dilation − left = x. `dx` has [`ConvGeometry::input_shape`] and
/// is overwritten.
///
/// ```
/// use cryptgpu_core::device::cpu::conv::{InputGradientTerm, input_gradient_sum};
/// use cryptgpu_core::device::{ConvGeometry, PoolGeometry};
/// let window = PoolGeometry::square(2, 1, 0);
/// let geometry = ConvGeometry { batch: 1, in_channels: 1, input: [2, 3], out_channels: 1, window, groups: 1 };
/// let term = InputGradientTerm { gradient: &[1_u64, 10], weight: &[1, 2, 3, 4] };
/// let mut dx = [0; 6];
/// input_gradient_sum(&geometry, &[term], &mut dx)?;
/// assert_eq!(dx, [1, 12, 20, 3, 34, 40]);
/// # Ok::<(), cryptgpu_core::device::cpu::gemm::GemmError>(())
/// ```
///
/// # Errors
/// As [`conv2d_sum`].
pub fn input_gradient_sum<T: Word>(
    geometry: &ConvGeometry,
    terms: &[InputGradientTerm<'_, T>],
    dx: &mut [T],
) -> Result<(), GemmError> {
    input_gradient_with(Isa::active()?, geometry, terms, dx)
}

/// [`input_gradient_sum`] on a given instruction set, for tests and benches.
///
/// # Errors
/// As [`input_gradient_sum`], and when this machine does not support `isa`.
pub fn input_gradient_with<T: Word>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[InputGradientTerm<'_, T>],
    dx: &mut [T],
) -> Result<(), GemmError> {
    let isa = isa.checked()?;
    let [input, weight, output] = [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape()?];
    let tensors = |term: &InputGradientTerm<'_, T>| {
        [("output gradient", output, term.gradient.len()), ("weight", weight, term.weight.len())]
    };
    check(input, dx.len(), terms.iter().map(tensors))?;
    if dx.is_empty() {
        return Ok(());
    }
    match T::RING {
        Ring::Z32 => scatter_trimmed::<u32>(isa, geometry, &all(terms, InputGradientTerm::cast), cast_slice_mut(dx)),
        Ring::Z64 => scatter_trimmed::<u64>(isa, geometry, &all(terms, InputGradientTerm::cast), cast_slice_mut(dx)),
    }
}

/// The gradient of the images from checked operands, without what of the kernels only ever sees padding.
fn scatter_trimmed<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[InputGradientTerm<'_, T>],
    dx: &mut [T],
) -> Result<(), GemmError> {
    let Some(trim) = Trim::of(geometry)? else { return scatter(isa, geometry, terms, dx) };
    let weights: Vec<_> = terms.iter().map(|term| trim.weights(term.weight)).collect();
    let terms: Vec<_> =
        terms.iter().zip(&weights).map(|(term, weight)| InputGradientTerm { weight, ..*term }).collect();
    scatter(isa, &trim.geometry, &terms, dx)
}

fn scatter<T: Kernels>(
    isa: Isa,
    geometry: &ConvGeometry,
    terms: &[InputGradientTerm<'_, T>],
    dx: &mut [T],
) -> Result<(), GemmError> {
    if tiles::image_gradient(isa, geometry, terms, dx)? {
        return Ok(());
    }
    images::gradient(isa, geometry, terms, dx)
}

/// Terms by another name.
fn all<A, B>(terms: &[A], of: impl Fn(&A) -> B) -> Vec<B> {
    terms.iter().map(of).collect()
}

/// Are the slices as long as the shapes say? For each term its tensors: name, shape and words.
fn check(
    shape: [usize; 4],
    found: usize,
    terms: impl Iterator<Item = [(&'static str, [usize; 4], usize); 2]>,
) -> Result<(), GemmError> {
    let operation = "ring convolution";
    let words = |shape: [usize; 4]| {
        let product = shape.into_iter().try_fold(1, usize::checked_mul);
        product.ok_or_else(|| GemmError::TooLarge { operation, shape: shape.to_vec() })
    };
    let expected = words(shape)?;
    if found != expected {
        return Err(GemmError::Output { operation, shape: shape.to_vec(), expected, found });
    }
    for (term, tensors) in terms.enumerate() {
        for (what, shape, found) in tensors {
            let expected = words(shape)?;
            if found != expected {
                return Err(GemmError::Tensor { what, term, shape, expected, found });
            }
        }
    }
    Ok(())
}
