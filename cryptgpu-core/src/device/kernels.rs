//! The local steps of the protocols, each one function: it calls the kernel of the device that its operands live on.
//! What a step computes, and why the messages among its results are uniform, stands where it is used
//! (`mpc`), and in the CPU's file of the same family. Shapes, tensors, parties and messages do not live here.
//!
//! Every operation has one name: `cpu::family::name` and `cuda::family::name` take the same arguments, the one
//! as slices, the other as views on a card, and `on_device!` calls the one that the result lives on
//! (`docs/adding-an-operation.md`).
//!
//! What interprets elements takes the ring as its first argument. In the ring of 32 bits a word of memory holds two elements, the
//! lower half first, so a view has an even number of elements, and the last may only fill a word (ADR 0049):
//!
//! - To operations that do the same to every element it is one like the others: it is computed, and bits are packed for the even
//!   number.
//! - Operations that go by shapes compute exactly the elements that their geometry or another argument says. They do not read what
//!   fills a word, and where their result has an odd number of elements they write zero there. What lies next to a part in
//!   memory is never in the result.
//!
//! All views of a call live on one device and have the lengths that the operation states. Tensors and protocols
//! see to that, with errors; here it is taken for granted, as an index is within a slice.

use super::dispatch::{Shaped, on_device};
use super::{
    Binary, BitTerm, BlockOrder, CloseTerms, Combined, ConvGeometry, Deal, DeviceError, Draw, MatmulGeometry, OpenTop,
    PlaneWindows, Results, SharedBits, SignWindow, TermShare, TreeStep, Unary, View, ViewMut,
};
use crate::prg::{Stream, Zero};
use crate::ring::Ring;

// Element by element.

/// `out` = x ∘ y.
pub fn binary(ring: Ring, op: Binary, x: View, y: View, out: ViewMut) {
    on_device!(elements of ring, out, elementwise::binary(op, x, y, out))
}

/// Each `out` = x₀ + x₁ + … + c, or with ⊕: copies, sums, packed bits. All on one device, and on a card in one launch; none
/// reads what another writes.
pub fn combine(ring: Ring, all: Vec<Combined<View, ViewMut>>) {
    let Some(device) = all.first().map(|job| job.out.device()) else { return };
    on_device!(elements of ring, at device, elementwise::combine(all))
}

/// `z` += x.
pub fn add_to(ring: Ring, x: View, z: ViewMut) {
    on_device!(elements of ring, z, elementwise::add_to(x, z))
}

/// `out` = x ∘ c.
pub fn unary(ring: Ring, op: Unary, x: View, out: ViewMut) {
    on_device!(elements of ring, out, elementwise::unary(op, x, out))
}

/// The sum of the first `n` elements, as one.
pub fn sum(ring: Ring, n: usize, x: View, out: ViewMut) {
    on_device!(elements of ring, out, elementwise::sum(Shaped(x, n), Shaped(out, 1)))
}

/// The first words of a stream.
pub fn fill(stream: &Stream, out: ViewMut) {
    on_device!(out, elementwise::fill(stream, out))
}

/// `z` += F(kᵢ) − F(kᵢ₊₁).
pub fn add_zero(ring: Ring, zero: &Zero, z: ViewMut) {
    on_device!(elements of ring, z, elementwise::add_zero(zero, z))
}

/// `out` = xᵢ(yᵢ + yᵢ₊₁) + xᵢ₊₁yᵢ.
pub fn product_share(ring: Ring, x: [View; 2], y: [View; 2], out: ViewMut) {
    on_device!(elements of ring, out, elementwise::product_share(x, y, out))
}

/// `z` += bias, for z of the shape [images, channels, elements of a channel]: an entry of the bias for each channel.
pub fn add_bias(ring: Ring, shape: [usize; 3], bias: View, z: ViewMut) {
    let [_, channels, inner] = shape;
    let n = shape.iter().product();
    on_device!(elements of ring, z, elementwise::add_bias(Shaped(bias, channels), inner, Shaped(z, n)))
}

/// The blocks of `x` in another order: [`super::cpu::elementwise::reorder`].
pub fn reorder(ring: Ring, order: &BlockOrder, x: View, out: ViewMut) {
    on_device!(elements of ring, out, elementwise::reorder(order, x, Shaped(out, order.words())))
}

/// Bits `low .. low + width` of every word as packed planes: [`super::cpu::bits::to_planes`].
pub fn to_planes(ring: Ring, low: u32, width: u32, x: View, planes: ViewMut) {
    on_device!(words of ring, planes, bits::to_planes(low, width, x, planes))
}

/// Packed planes as words below 2^width: [`super::cpu::bits::from_planes`].
pub fn from_planes(ring: Ring, width: u32, planes: View, out: ViewMut) {
    on_device!(words of ring, out, bits::from_planes(width, planes, out))
}

// Windows and products.

/// The sum over each window of so many planes: [`super::cpu::pool::sum`].
pub fn sum_pool(ring: Ring, windows: &PlaneWindows, planes: usize, x: View, out: ViewMut) {
    let [inputs, outputs] = elements_of(windows, planes);
    on_device!(elements of ring, out, pool::sum(windows, Shaped(x, inputs), Shaped(out, outputs)))
}

/// One tap of each window of so many planes: [`super::cpu::pool::tap`].
pub fn pool_tap(ring: Ring, windows: &PlaneWindows, planes: usize, tap: [usize; 2], fill: u64, x: View, out: ViewMut) {
    let [inputs, outputs] = elements_of(windows, planes);
    on_device!(elements of ring, out, pool::tap(windows, tap, fill, Shaped(x, inputs), Shaped(out, outputs)))
}

/// The adjoint of sums and of taps of windows over so many planes: [`super::cpu::pool::spread`].
pub fn spread(ring: Ring, windows: &PlaneWindows, planes: usize, by_tap: bool, g: View, inputs: ViewMut) {
    let [n, outputs] = elements_of(windows, planes);
    let [height, width] = windows.window.kernel;
    let g = Shaped(g, if by_tap { height * width * outputs } else { outputs });
    on_device!(elements of ring, inputs, pool::spread(windows, by_tap, g, Shaped(inputs, n)))
}

/// Elements of so many planes and of the windows over them.
fn elements_of(windows: &PlaneWindows, planes: usize) -> [usize; 2] {
    [windows.input, windows.output].map(|[height, width]| planes * height * width)
}

/// `out` = Σₜ xₜ · yₜ, of one term or two: the products `geometry` of matrices in row-major order.
///
/// # Errors
/// [`DeviceError::Kernel`] when a CPU's kernel refuses the operands.
pub fn matmul_sum(
    ring: Ring,
    geometry: &MatmulGeometry,
    terms: Vec<(View, View)>,
    out: ViewMut,
) -> Result<(), DeviceError> {
    let [m, n] = geometry.size;
    on_device!(elements of ring, out, product::matmul_sum(geometry, terms, Shaped(out, m * n)))
}

/// `out` = Σₜ xₜ ⊛ wₜ, of one term or two: the convolution `geometry` of images with weights.
///
/// # Errors
/// [`DeviceError::Geometry`], or [`DeviceError::Kernel`] when a CPU's kernel refuses the operands.
pub fn conv2d_sum(
    ring: Ring,
    geometry: &ConvGeometry,
    terms: Vec<(View, View)>,
    out: ViewMut,
) -> Result<(), DeviceError> {
    let [x, w, y] = convolution("conv2d", geometry)?;
    let terms: Vec<_> = terms.into_iter().map(|(input, weight)| (Shaped(input, x), Shaped(weight, w))).collect();
    on_device!(elements of ring, out, product::conv2d_sum(geometry, terms, Shaped(out, y)))
}

/// `out` = Σₜ of the gradient of the weights of the convolution `geometry`, from the gradients of its outputs and its
/// images: [`super::cpu::conv::weight_gradient_sum`].
///
/// # Errors
/// As [`conv2d_sum`].
pub fn conv2d_weight_gradient_sum(
    ring: Ring,
    geometry: &ConvGeometry,
    terms: Vec<(View, View)>,
    out: ViewMut,
) -> Result<(), DeviceError> {
    let [x, w, y] = convolution("gradient of a convolution's weights", geometry)?;
    let terms: Vec<_> = terms.into_iter().map(|(gradient, input)| (Shaped(gradient, y), Shaped(input, x))).collect();
    on_device!(elements of ring, out, gradient::weights(geometry, terms, Shaped(out, w)))
}

/// `out` = Σₜ of the gradient of the images of the convolution `geometry`, from the gradients of its outputs and its
/// weights: [`super::cpu::conv::input_gradient_sum`].
///
/// # Errors
/// As [`conv2d_sum`].
pub fn conv2d_input_gradient_sum(
    ring: Ring,
    geometry: &ConvGeometry,
    terms: Vec<(View, View)>,
    out: ViewMut,
) -> Result<(), DeviceError> {
    let [x, w, y] = convolution("gradient of a convolution's images", geometry)?;
    let terms: Vec<_> = terms.into_iter().map(|(gradient, weight)| (Shaped(gradient, y), Shaped(weight, w))).collect();
    on_device!(elements of ring, out, gradient::images(geometry, terms, Shaped(out, x)))
}

/// Elements of a convolution's images, weights and outputs.
fn convolution(operation: &'static str, geometry: &ConvGeometry) -> Result<[usize; 3], DeviceError> {
    let output = geometry.output_shape().map_err(|source| DeviceError::Geometry { operation, source })?;
    Ok([geometry.input_shape(), geometry.weight_shape(), output].map(|shape| shape.iter().product()))
}

// The sign bit.

/// Role 0: [`super::cpu::sign::share_bits`].
pub fn sign_share_bits(
    ring: Ring,
    window: SignWindow,
    x: [View; 2],
    summand: u64,
    mask: &Draw,
    message: ViewMut,
    tops: [ViewMut; 2],
) {
    on_device!(words of ring, message, sign::share_bits(window, x, summand, mask, message, tops))
}

/// Roles 1 and 2: [`super::cpu::sign::share_carries`].
pub fn sign_share_carries(
    ring: Ring,
    window: SignWindow,
    b: View,
    shared: SharedBits<&Draw, View>,
    mask: View,
    carry: ViewMut,
    tops: [ViewMut; 2],
) {
    on_device!(words of ring, carry, sign::share_carries(window, b, shared, mask, carry, tops))
}

/// Levels of the tree that do not read one another's results, on one device: [`super::cpu::sign::tree_step`]. On a card
/// in one launch.
pub fn sign_tree(steps: Vec<TreeStep<View, ViewMut>>) {
    let Some(device) = steps.first().map(|step| step.out.device()) else { return };
    on_device!(at device, sign::tree(steps))
}

// A bit times a tensor, and a bit as a ring element.

/// Role 0: [`super::cpu::bit_product::role0`].
pub fn bit_product_role0(ring: Ring, u: [View; 2], masks: [&Draw; 5], message: ViewMut, y0: ViewMut, y1: ViewMut) {
    on_device!(words of ring, message, bit_product::role0(u, masks, message, y0, y1))
}

/// What roles 1 and 2 send, on one device: [`super::cpu::bit_product::term`]. On a card in one launch.
pub fn bit_product_terms(ring: Ring, terms: Vec<BitTerm<View, &Draw, ViewMut>>) {
    let Some(device) = terms.first().map(|term| term.message.device()) else { return };
    on_device!(words of ring, at device, bit_product::terms(terms))
}

/// Conversion, role 0: [`super::cpu::bit_product::convert_role0`].
pub fn convert_role0(ring: Ring, u: View, u1: &Draw, message: ViewMut) {
    on_device!(words of ring, message, bit_product::convert_role0(u, u1, message))
}

/// Conversion, roles 1 and 2: [`super::cpu::bit_product::convert_term`].
pub fn convert_term(ring: Ring, v: View, share: View, mask: &Draw, with_v: bool, message: ViewMut) {
    on_device!(words of ring, message, bit_product::convert_term(v, share, mask, with_v, message))
}

// Truncation.

/// Truncation of a product, what roles 2 and 0 send first: [`super::cpu::truncation::product_deal`] and
/// [`super::cpu::truncation::open_top`]. On a card in one launch.
pub fn truncation_first(ring: Ring, d: u32, deal: Deal<View, &Draw, ViewMut>, open: OpenTop<View, ViewMut>) {
    let out = &deal.message;
    on_device!(words of ring, out, truncation::product_first(d, deal, open))
}

/// Truncation of a product, role 1: [`super::cpu::truncation::product_role1`].
pub fn truncation_role1(ring: Ring, d: u32, shares: [View; 2], bits: [View; 2], y2: &Draw, results: Results<ViewMut>) {
    let out = &results.message;
    on_device!(words of ring, out, truncation::product_role1(d, shares, bits, y2, results))
}

/// Truncation of a product, role 0: [`super::cpu::truncation::product_role0`].
pub fn truncation_role0(
    ring: Ring,
    d: u32,
    words: [View; 2],
    bits: [View; 2],
    masks: [&Draw; 2],
    results: Results<ViewMut>,
) {
    let out = &results.message;
    on_device!(words of ring, out, truncation::product_role0(d, words, bits, masks, results))
}

/// Truncation of a replicated tensor, role 0: [`super::cpu::truncation::shared_role0`].
pub fn truncation_shared_role0(ring: Ring, d: u32, x: [View; 2], masks: [&Draw; 4], results: Results<ViewMut>) {
    let out = &results.message;
    on_device!(words of ring, out, truncation::shared_role0(d, x, masks, results))
}

/// Truncation of a replicated tensor, roles 1 and 2: [`super::cpu::truncation::shared_term`].
pub fn truncation_shared_term(
    ring: Ring,
    d: u32,
    v: View,
    share: TermShare<&Draw, View>,
    mask: &Draw,
    planes: ViewMut,
    kept: ViewMut,
) {
    on_device!(words of ring, planes, truncation::shared_term(d, v, share, mask, planes, kept))
}

/// Truncation of a replicated tensor, last steps, on one device: [`super::cpu::truncation::shared_close`]. On a card in one
/// launch.
pub fn truncation_shared_close(ring: Ring, d: u32, closings: Vec<CloseTerms<View, ViewMut>>) {
    let Some(device) = closings.first().map(|closing| closing.y2.device()) else { return };
    on_device!(words of ring, at device, truncation::shared_closings(d, closings))
}

// Parts, and between the rings.

/// `n` elements of `x` from `first` on to `out`, from its element `at` on, wherever in words they stand. What is around them stays as it
/// is.
pub fn copy_part(ring: Ring, n: usize, first: usize, x: View, at: usize, out: ViewMut) {
    on_device!(elements of ring, out, elementwise::copy_part(n, first, x, at, out))
}

/// Extension from 32 bits to 64, role 0: [`super::cpu::extension::role0`].
pub fn extension_role0(x: [View; 2], masks: [&Draw; 4], results: Results<ViewMut>) {
    let out = &results.message;
    on_device!(out, extension::role0(x, masks, results))
}

/// Extension from 32 bits to 64, roles 1 and 2: [`super::cpu::extension::term`].
pub fn extension_term(v: View, share: TermShare<&Draw, View>, mask: &Draw, message: ViewMut, kept: ViewMut) {
    on_device!(message, extension::term(v, share, mask, message, kept))
}

/// Extension from 32 bits to 64, last steps: [`super::cpu::extension::close`].
pub fn extension_close(closing: CloseTerms<View, ViewMut>) {
    let out = &closing.y2;
    on_device!(out, extension::close(closing))
}

/// x modulo 2^32, of elements of 64 bits: [`super::cpu::extension::reduce`].
pub fn reduce(x: View, out: ViewMut) {
    on_device!(out, extension::reduce(x, out))
}

#[cfg(test)]
mod tests;
