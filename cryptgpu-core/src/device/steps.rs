//! The operations of a device: the local steps of the protocols, dispatched to the device's kernels.
//! What each computes, and why the messages among its results are uniform, is told where it is used
//! (`mpc::protocol`), and in the CPU's file of the same family.
//!
//! Every operation has one name: `cpu::family::name` and `cuda::family::name` take the same arguments,
//! the one as slices, the other as views on a card, and `on_device!` calls the one that `self` is.
//! (`docs/adding-an-operation.md`.)
//!
//! All views of a call live on the device that it is made on, and have the lengths that the
//! operation says. Tensors and protocols see to that, with errors; here it is taken for granted, as
//! an index is within a slice.

use super::place::on_device;
use super::{Binary, ConvGeometry, Device, DeviceError, PoolGeometry, Unary, View, ViewMut, Window};
use crate::prg::{Stream, Zero};

/// The opened bits of a product's truncation and the packed pad of the role that computes.
#[derive(Clone, Copy)]
pub struct OpenedBits<'a> {
    /// e = a ⊕ α.
    pub e: View<'a>,
    /// f = b ⊕ β.
    pub f: View<'a>,
    /// α at role 0, β at role 1.
    pub pad: View<'a>,
}

/// A value that one role draws from a stream and another has received.
#[derive(Clone, Copy)]
pub enum Pad<'a> {
    /// Drawn.
    Stream(&'a Stream),
    /// Received.
    Received(View<'a>),
}

/// Element by element.
impl Device {
    /// `out` = x ∘ y.
    pub fn binary(&self, op: Binary, x: View, y: View, out: ViewMut) {
        on_device!(self, elementwise::binary(op, x, y, out))
    }
    /// `out` = x ∘ c.
    pub fn unary(&self, op: Unary, x: View, out: ViewMut) {
        on_device!(self, elementwise::unary(op, x, out))
    }
    /// The sum of all words, as one word.
    pub fn sum(&self, x: View, out: ViewMut) {
        on_device!(self, elementwise::sum(x, out))
    }
    /// The first words of a stream.
    pub fn fill(&self, stream: &Stream, out: ViewMut) {
        on_device!(self, elementwise::fill(stream, out))
    }
    /// `z` += F(kᵢ) − F(kᵢ₊₁).
    pub fn add_zero(&self, zero: &Zero, z: ViewMut) {
        on_device!(self, elementwise::add_zero(zero, z))
    }
    /// `out` = xᵢ(yᵢ + yᵢ₊₁) + xᵢ₊₁yᵢ.
    pub fn product_share(&self, x: [View; 2], y: [View; 2], out: ViewMut) {
        on_device!(self, elementwise::product_share(x, y, out))
    }
    /// `z` += bias, `inner` elements for each entry of the bias, again and again.
    pub fn add_bias(&self, bias: View, inner: usize, z: ViewMut) {
        on_device!(self, elementwise::add_bias(bias, inner, z))
    }
    /// Bits `low .. low + width` of every word as packed planes: [`super::cpu::bits::to_planes`].
    pub fn to_planes(&self, low: u32, width: u32, x: View, planes: ViewMut) {
        on_device!(self, bits::to_planes(low, width, x, planes))
    }
    /// Packed planes as words below 2^width: [`super::cpu::bits::from_planes`].
    pub fn from_planes(&self, width: u32, planes: View, out: ViewMut) {
        on_device!(self, bits::from_planes(width, planes, out))
    }
}

/// Windows and products.
impl Device {
    /// The sum over each window of every plane; `size` is that of an output plane: [`super::cpu::pool::sum`].
    pub fn sum_pool(&self, input: [usize; 2], window: &PoolGeometry, size: [usize; 2], x: View, out: ViewMut) {
        on_device!(self, pool::sum(input, window, size, x, out))
    }
    /// One tap of each window of every plane: [`super::cpu::pool::tap`].
    #[allow(clippy::too_many_arguments)]
    pub fn pool_tap(
        &self,
        input: [usize; 2],
        window: &PoolGeometry,
        size: [usize; 2],
        tap: [usize; 2],
        fill: u64,
        x: View,
        out: ViewMut,
    ) {
        on_device!(self, pool::tap(input, window, size, tap, fill, x, out))
    }

    /// `out` = Σₜ xₜ · yₜ, row-major matrices of `size` [m, n]: xₜ `[m, kₜ]`, yₜ `[kₜ, n]`, or `[n, kₜ]` when
    /// `transposed`.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] when a CPU's kernel refuses the operands.
    pub fn matmul_sum(
        &self,
        size: [usize; 2],
        depths: [usize; 2],
        transposed: bool,
        terms: [(View, View); 2],
        out: ViewMut,
    ) -> Result<(), DeviceError> {
        on_device!(self, product::matmul_sum(size, depths, transposed, terms, out))
    }

    /// `out` = Σₜ xₜ ⊛ wₜ: the convolution `geometry` of images with weights.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] when a CPU's kernel refuses the operands.
    pub fn conv2d_sum(
        &self,
        geometry: &ConvGeometry,
        terms: [(View, View); 2],
        out: ViewMut,
    ) -> Result<(), DeviceError> {
        on_device!(self, product::conv2d_sum(geometry, terms, out))
    }
}

/// The sign bit.
impl Device {
    /// Role 0: [`super::cpu::sign::share_bits`].
    pub fn sign_share_bits(
        &self,
        window: Window,
        x: [View; 2],
        mask: &Stream,
        message: ViewMut,
        top: ViewMut,
        top_mask: ViewMut,
    ) {
        on_device!(self, sign::share_bits(window, x, mask, message, top, top_mask))
    }
    /// Roles 1 and 2: [`super::cpu::sign::share_carries`].
    pub fn sign_share_carries(
        &self,
        window: Window,
        with_constants: bool,
        b: View,
        shared: View,
        carry: ViewMut,
        top: ViewMut,
    ) {
        on_device!(self, sign::share_carries(window, with_constants, b, shared, carry, top))
    }
    /// Plane 0 of `planes` packed planes.
    pub fn first_plane(&self, elements: usize, planes: usize, bits: View, out: ViewMut) {
        on_device!(self, sign::first_plane(elements, planes, bits, out))
    }
    /// One level of the tree: [`super::cpu::sign::tree_level`].
    pub fn sign_tree_level(&self, elements: usize, half: usize, x: [View; 2], zero: &Zero, out: ViewMut) {
        on_device!(self, sign::tree_level(elements, half, x, zero, out))
    }
}

/// A bit times a tensor, and a bit as a ring element.
impl Device {
    /// Role 0: [`super::cpu::bit_product::role0`].
    pub fn bit_product_role0(&self, u: [View; 2], streams: [&Stream; 5], message: ViewMut, y0: ViewMut, y1: ViewMut) {
        on_device!(self, bit_product::role0(u, streams, message, y0, y1))
    }
    /// Role 1's first message: [`super::cpu::bit_product::role1_open`].
    pub fn bit_product_role1_open(&self, bits: [View; 2], x: [View; 2], alpha: &Stream, message: ViewMut) {
        on_device!(self, bit_product::role1_open(bits, x, alpha, message))
    }
    /// Role 2: [`super::cpu::bit_product::role2`].
    pub fn bit_product_role2(
        &self,
        bits: [View; 2],
        x0: View,
        d: View,
        streams: [&Stream; 3],
        message: ViewMut,
        y0: ViewMut,
    ) {
        on_device!(self, bit_product::role2(bits, x0, d, streams, message, y0))
    }
    /// Role 1's last message: [`super::cpu::bit_product::role1_close`].
    pub fn bit_product_role1_close(&self, bits: [View; 2], x: [View; 2], e: View, mu: &Stream, message: ViewMut) {
        on_device!(self, bit_product::role1_close(bits, x, e, mu, message))
    }
    /// Conversion, role 0: [`super::cpu::bit_product::convert_role0`].
    pub fn convert_role0(&self, u: View, u1: &Stream, message: ViewMut) {
        on_device!(self, bit_product::convert_role0(u, u1, message))
    }
    /// Conversion, roles 1 and 2: [`super::cpu::bit_product::convert_term`].
    pub fn convert_term(&self, v: View, share: View, mask: &Stream, with_v: bool, message: ViewMut) {
        on_device!(self, bit_product::convert_term(v, share, mask, with_v, message))
    }
}

/// Truncation.
impl Device {
    /// The opened top bits: [`super::cpu::truncation::open_top`].
    pub fn truncation_open_top(&self, offset: bool, u: View, pad: View, message: ViewMut) {
        on_device!(self, truncation::open_top(offset, u, pad, message))
    }
    /// Of a product, role 2: [`super::cpu::truncation::product_deal`].
    pub fn truncation_deal(&self, d: u32, n: usize, alpha: View, beta: View, gamma: &Stream, planes: ViewMut) {
        on_device!(self, truncation::product_deal(d, n, alpha, beta, gamma, planes))
    }
    /// Of a product, role 1: [`super::cpu::truncation::product_role1`].
    #[allow(clippy::too_many_arguments)]
    pub fn truncation_role1(
        &self,
        d: u32,
        v: View,
        bits: OpenedBits,
        gamma: View,
        y2: &Stream,
        message: ViewMut,
        y: ViewMut,
    ) {
        on_device!(self, truncation::product_role1(d, v, bits, gamma, y2, message, y))
    }
    /// Of a product, role 0: [`super::cpu::truncation::product_role0`].
    pub fn truncation_role0(
        &self,
        d: u32,
        z: View,
        bits: OpenedBits,
        streams: [&Stream; 2],
        message: ViewMut,
        y: ViewMut,
    ) {
        on_device!(self, truncation::product_role0(d, z, bits, streams, message, y))
    }
    /// Of a replicated tensor, role 0: [`super::cpu::truncation::shared_role0`].
    pub fn truncation_shared_role0(&self, d: u32, x: [View; 2], streams: [&Stream; 4], message: ViewMut, y1: ViewMut) {
        on_device!(self, truncation::shared_role0(d, x, streams, message, y1))
    }
    /// Of a replicated tensor, roles 1 and 2: [`super::cpu::truncation::shared_term`].
    pub fn truncation_shared_term(&self, d: u32, v: View, share: Pad, mask: &Stream, planes: ViewMut) {
        on_device!(self, truncation::shared_term(d, v, share, mask, planes))
    }
    /// Of a replicated tensor, last: [`super::cpu::truncation::shared_close`].
    pub fn truncation_shared_close(&self, d: u32, v: View, terms: [View; 2], y2: ViewMut) {
        on_device!(self, truncation::shared_close(d, v, terms, y2))
    }
}
