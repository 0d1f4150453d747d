//! The local steps of the protocols, each one function: it calls the kernel of the device that its operands live on.
//! What a step computes, and why the messages among its results are uniform, stands where it is used
//! (`mpc`), and in the CPU's file of the same family. Shapes, tensors, parties and messages do not live here.
//!
//! Every operation has one name: `cpu::family::name` and `cuda::family::name` take the same arguments, the one
//! as slices, the other as views on a card, and `on_device!` calls the one that the result lives on
//! (`docs/adding-an-operation.md`).
//!
//! Operations that do the same to every element take the ring as an argument. In the ring of 32 bits a word of memory holds two
//! elements, the lower half first. So a view has an even number of elements. The last may only fill a word; it is computed like
//! the others, and bits are packed for the even number (ADR 0049). Operations that go by shapes know 64-bit words only, so far.
//!
//! All views of a call live on one device and have the lengths that the operation states. Tensors and protocols
//! see to that, with errors; here it is taken for granted, as an index is within a slice.

use super::dispatch::on_device;
use super::{
    Binary, BitTerm, BlockOrder, CloseTerms, Combined, ConvGeometry, Deal, DeviceError, Draw, MatmulGeometry, OpenTop,
    PlaneWindows, Results, SignWindow, TermShare, TreeStep, Unary, View, ViewMut,
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

/// The sum of all words, as one word.
pub fn sum(x: View, out: ViewMut) {
    on_device!(out, elementwise::sum(x, out))
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

/// `z` += bias, `inner` elements for each entry of the bias, again and again.
pub fn add_bias(bias: View, inner: usize, z: ViewMut) {
    on_device!(z, elementwise::add_bias(bias, inner, z))
}

/// The blocks of `x` in another order: [`super::cpu::elementwise::reorder`].
pub fn reorder(order: &BlockOrder, x: View, out: ViewMut) {
    on_device!(out, elementwise::reorder(order, x, out))
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

/// The sum over each window of every plane: [`super::cpu::pool::sum`].
pub fn sum_pool(windows: &PlaneWindows, x: View, out: ViewMut) {
    on_device!(out, pool::sum(windows, x, out))
}

/// One tap of each window of every plane: [`super::cpu::pool::tap`].
pub fn pool_tap(windows: &PlaneWindows, tap: [usize; 2], fill: u64, x: View, out: ViewMut) {
    on_device!(out, pool::tap(windows, tap, fill, x, out))
}

/// The adjoint of sums and of taps of windows: [`super::cpu::pool::spread`].
pub fn spread(windows: &PlaneWindows, by_tap: bool, g: View, inputs: ViewMut) {
    on_device!(inputs, pool::spread(windows, by_tap, g, inputs))
}

/// `out` = Σₜ xₜ · yₜ: the products `geometry` of matrices in row-major order.
///
/// # Errors
/// [`DeviceError::Kernel`] when a CPU's kernel refuses the operands.
pub fn matmul_sum(geometry: &MatmulGeometry, terms: [(View, View); 2], out: ViewMut) -> Result<(), DeviceError> {
    on_device!(out, product::matmul_sum(geometry, terms, out))
}

/// `out` = Σₜ xₜ ⊛ wₜ: the convolution `geometry` of images with weights.
///
/// # Errors
/// [`DeviceError::Kernel`] when a CPU's kernel refuses the operands.
pub fn conv2d_sum(geometry: &ConvGeometry, terms: [(View, View); 2], out: ViewMut) -> Result<(), DeviceError> {
    on_device!(out, product::conv2d_sum(geometry, terms, out))
}

/// `out` = Σₜ of the gradient of the weights of the convolution `geometry`, from the gradients of its outputs and its
/// images: [`super::cpu::conv::weight_gradient_sum`].
///
/// # Errors
/// [`DeviceError::Kernel`] when a CPU's kernel refuses the operands.
pub fn conv2d_weight_gradient_sum(
    geometry: &ConvGeometry,
    terms: [(View, View); 2],
    out: ViewMut,
) -> Result<(), DeviceError> {
    on_device!(out, gradient::weights(geometry, terms, out))
}

/// `out` = Σₜ of the gradient of the images of the convolution `geometry`, from the gradients of its outputs and its
/// weights: [`super::cpu::conv::input_gradient_sum`].
///
/// # Errors
/// [`DeviceError::Kernel`] when a CPU's kernel refuses the operands.
pub fn conv2d_input_gradient_sum(
    geometry: &ConvGeometry,
    terms: [(View, View); 2],
    out: ViewMut,
) -> Result<(), DeviceError> {
    on_device!(out, gradient::images(geometry, terms, out))
}

// The sign bit.

/// Role 0: [`super::cpu::sign::share_bits`].
pub fn sign_share_bits(
    ring: Ring,
    window: SignWindow,
    x: [View; 2],
    mask: &Draw,
    message: ViewMut,
    tops: [ViewMut; 2],
) {
    on_device!(words of ring, message, sign::share_bits(window, x, mask, message, tops))
}

/// Roles 1 and 2: [`super::cpu::sign::share_carries`].
pub fn sign_share_carries(
    ring: Ring,
    window: SignWindow,
    with_constants: bool,
    bits: [View; 2],
    mask: View,
    carry: ViewMut,
    tops: [ViewMut; 2],
) {
    on_device!(words of ring, carry, sign::share_carries(window, with_constants, bits, mask, carry, tops))
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
