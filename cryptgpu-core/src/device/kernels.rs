//! The local steps of the protocols, each one function: it calls the kernel of the device that its operands live on.
//! What a step computes, and why the messages among its results are uniform, stands where it is used
//! (`mpc`), and in the CPU's file of the same family. Shapes, tensors, parties and messages do not live here.
//!
//! Every operation has one name: `cpu::family::name` and `cuda::family::name` take the same arguments, the one
//! as slices, the other as views on a card, and `on_device!` calls the one that the result lives on
//! (`docs/adding-an-operation.md`).
//!
//! All views of a call live on one device and have the lengths that the operation states. Tensors and protocols
//! see to that, with errors; here it is taken for granted, as an index is within a slice.

use super::dispatch::on_device;
use super::{
    Binary, BlockOrder, ConvGeometry, Device, DeviceError, MatmulGeometry, OpenedBits, PlaneWindows, SignWindow,
    TermShare, TreeStep, Unary, View, ViewMut, XorOf, cpu, cuda,
};
use crate::prg::{Stream, Zero};

// Element by element.

/// `out` = x ∘ y.
pub fn binary(op: Binary, x: View, y: View, out: ViewMut) {
    on_device!(out, elementwise::binary(op, x, y, out))
}

/// Each `out` = x ⊕ y, and ⊕ z where there is a z, on one device: on a card in one launch, which suits short buffers.
pub fn xors(all: Vec<XorOf<View, ViewMut>>) {
    match all.first().map(|xor| xor.out.device()) {
        Some(Device::Cuda(_)) => {
            cuda::elementwise::xors(all.into_iter().map(|xor| xor.map(View::on_card, ViewMut::on_card)).collect());
        }
        Some(Device::Cpu) => {
            all.into_iter().for_each(|xor| cpu::elementwise::xor(xor.map(View::on_host, ViewMut::on_host)));
        }
        None => {}
    }
}

/// `out` = x ∘ c.
pub fn unary(op: Unary, x: View, out: ViewMut) {
    on_device!(out, elementwise::unary(op, x, out))
}

/// The sum of all words, as one word.
pub fn sum(x: View, out: ViewMut) {
    on_device!(out, elementwise::sum(x, out))
}

/// The first words of a stream.
pub fn fill(stream: &Stream, out: ViewMut) {
    on_device!(out, elementwise::fill(stream, out))
}

/// The first words of several streams, on one device: on a card in one launch.
pub fn fills(fills: Vec<(&Stream, ViewMut)>) {
    match fills.first().map(|(_, out)| out.device()) {
        Some(Device::Cuda(_)) => {
            cuda::elementwise::fills(fills.into_iter().map(|(stream, out)| (stream, out.on_card())).collect());
        }
        Some(Device::Cpu) => fills.into_iter().for_each(|(stream, out)| fill(stream, out)),
        None => {}
    }
}

/// `z` += F(kᵢ) − F(kᵢ₊₁).
pub fn add_zero(zero: &Zero, z: ViewMut) {
    on_device!(z, elementwise::add_zero(zero, z))
}

/// `out` = xᵢ(yᵢ + yᵢ₊₁) + xᵢ₊₁yᵢ.
pub fn product_share(x: [View; 2], y: [View; 2], out: ViewMut) {
    on_device!(out, elementwise::product_share(x, y, out))
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
pub fn to_planes(low: u32, width: u32, x: View, planes: ViewMut) {
    on_device!(planes, bits::to_planes(low, width, x, planes))
}

/// Packed planes as words below 2^width: [`super::cpu::bits::from_planes`].
pub fn from_planes(width: u32, planes: View, out: ViewMut) {
    on_device!(out, bits::from_planes(width, planes, out))
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
pub fn sign_share_bits(window: SignWindow, x: [View; 2], mask: &Stream, message: ViewMut, tops: [ViewMut; 2]) {
    on_device!(message, sign::share_bits(window, x, mask, message, tops))
}

/// Roles 1 and 2: [`super::cpu::sign::share_carries`].
pub fn sign_share_carries(window: SignWindow, with_constants: bool, bits: [View; 2], carry: ViewMut, top: ViewMut) {
    on_device!(carry, sign::share_carries(window, with_constants, bits, carry, top))
}

/// Plane 0 of `planes` packed planes.
pub fn first_plane(elements: usize, planes: usize, bits: View, out: ViewMut) {
    on_device!(out, sign::first_plane(elements, planes, bits, out))
}

/// Levels of the tree that do not read one another's results, on one device: [`super::cpu::sign::tree_step`]. On a card
/// in one launch.
pub fn sign_tree(steps: Vec<TreeStep<View, ViewMut>>) {
    match steps.first().map(|step| step.out.device()) {
        Some(Device::Cuda(_)) => {
            cuda::sign::tree(steps.into_iter().map(|step| step.map(View::on_card, ViewMut::on_card)).collect());
        }
        Some(Device::Cpu) => {
            let steps = steps.into_iter().map(|step| step.map(View::on_host, ViewMut::on_host));
            steps.for_each(cpu::sign::tree_step);
        }
        None => {}
    }
}

// A bit times a tensor, and a bit as a ring element.

/// Role 0: [`super::cpu::bit_product::role0`].
pub fn bit_product_role0(u: [View; 2], streams: [&Stream; 5], message: ViewMut, y0: ViewMut, y1: ViewMut) {
    on_device!(message, bit_product::role0(u, streams, message, y0, y1))
}

/// The first message of roles 1 and 2: [`super::cpu::bit_product::open`].
pub fn bit_product_open(bits: [View; 2], x: [View; 2], alpha: &Stream, message: ViewMut) {
    on_device!(message, bit_product::open(bits, x, alpha, message))
}

/// The last message of roles 1 and 2: [`super::cpu::bit_product::close`].
pub fn bit_product_close(bits: [View; 2], x: [View; 2], e: View, mu: &Stream, message: ViewMut) {
    on_device!(message, bit_product::close(bits, x, e, mu, message))
}

/// Conversion, role 0: [`super::cpu::bit_product::convert_role0`].
pub fn convert_role0(u: View, u1: &Stream, message: ViewMut) {
    on_device!(message, bit_product::convert_role0(u, u1, message))
}

/// Conversion, roles 1 and 2: [`super::cpu::bit_product::convert_term`].
pub fn convert_term(v: View, share: View, mask: &Stream, with_v: bool, message: ViewMut) {
    on_device!(message, bit_product::convert_term(v, share, mask, with_v, message))
}

// Truncation.

/// The opened top bits: [`super::cpu::truncation::open_top`].
pub fn truncation_open_top(offset: bool, u: View, pad: View, message: ViewMut) {
    on_device!(message, truncation::open_top(offset, u, pad, message))
}

/// Truncation of a product, role 2: [`super::cpu::truncation::product_deal`].
pub fn truncation_deal(d: u32, n: usize, alpha: View, beta: View, gamma: &Stream, planes: ViewMut) {
    on_device!(planes, truncation::product_deal(d, n, alpha, beta, gamma, planes))
}

/// Truncation of a product, role 1: [`super::cpu::truncation::product_role1`].
#[allow(clippy::too_many_arguments)]
pub fn truncation_role1(
    d: u32,
    v: View,
    bits: OpenedBits<View>,
    gamma: View,
    y2: &Stream,
    message: ViewMut,
    y: ViewMut,
) {
    on_device!(message, truncation::product_role1(d, v, bits, gamma, y2, message, y))
}

/// Truncation of a product, role 0: [`super::cpu::truncation::product_role0`].
pub fn truncation_role0(d: u32, z: View, bits: OpenedBits<View>, streams: [&Stream; 2], message: ViewMut, y: ViewMut) {
    on_device!(message, truncation::product_role0(d, z, bits, streams, message, y))
}

/// Truncation of a replicated tensor, role 0: [`super::cpu::truncation::shared_role0`].
pub fn truncation_shared_role0(d: u32, x: [View; 2], streams: [&Stream; 4], message: ViewMut, y1: ViewMut) {
    on_device!(message, truncation::shared_role0(d, x, streams, message, y1))
}

/// Truncation of a replicated tensor, roles 1 and 2: [`super::cpu::truncation::shared_term`].
pub fn truncation_shared_term(d: u32, v: View, share: TermShare<&Stream, View>, mask: &Stream, planes: ViewMut) {
    on_device!(planes, truncation::shared_term(d, v, share, mask, planes))
}

/// Truncation of a replicated tensor, last step: [`super::cpu::truncation::shared_close`].
pub fn truncation_shared_close(d: u32, v: View, terms: [View; 2], y2: ViewMut) {
    on_device!(y2, truncation::shared_close(d, v, terms, y2))
}
