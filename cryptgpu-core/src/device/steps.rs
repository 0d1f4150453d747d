//! The local steps of the protocols, dispatched to a device. What each computes, and why the
//! messages among its results are uniform, is told where it is used (`mpc::roads`); the CPU's
//! kernels are in `cpu/`, in the file of the same family.
//!
//! All views of a call live on the device that it is made on, and have the lengths that the
//! operation says. Tensors and protocols see to that, with errors; here it is taken for granted, as
//! an index is within a slice.

use super::cpu::gemm::{GemmError, MatRef, Term};
use super::cpu::{bit_product, bits, conv, elementwise, gemm, pool, sign, truncation};
use super::{Binary, ConvGeometry, Device, DeviceError, PoolGeometry, View, ViewMut, Window};
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

fn host(view: View<'_>) -> &[u64] {
    match view {
        View::Cpu(words) => words,
    }
}

fn host_mut(view: ViewMut<'_>) -> &mut [u64] {
    match view {
        ViewMut::Cpu(words) => words,
    }
}

/// Methods whose CPU form takes the same arguments as slices.
impl Device {
    /// `out` = x ∘ y.
    pub fn binary(&self, op: Binary, x: View, y: View, out: ViewMut) {
        elementwise::binary(op, host(x), host(y), host_mut(out));
    }
    /// `out` = x ∘ c.
    pub fn unary(&self, op: super::Unary, x: View, out: ViewMut) {
        elementwise::unary(op, host(x), host_mut(out));
    }
    /// Bits `low .. low + width` of every word as packed planes: [`bits::to_planes`].
    pub fn to_planes(&self, low: u32, width: u32, x: View, planes: ViewMut) {
        bits::to_planes(low, width, host(x), host_mut(planes));
    }
    /// Packed planes as words below 2^width: [`bits::from_planes`].
    pub fn from_planes(&self, width: u32, planes: View, out: ViewMut) {
        bits::from_planes(width, host(planes), host_mut(out));
    }
    /// The first words of a stream.
    pub fn fill(&self, stream: &Stream, out: ViewMut) {
        elementwise::fill(stream, host_mut(out));
    }
    /// `z` += F(kᵢ) − F(kᵢ₊₁).
    pub fn add_zero(&self, zero: &Zero, z: ViewMut) {
        elementwise::add_zero(zero, host_mut(z));
    }
    /// `out` = xᵢ(yᵢ + yᵢ₊₁) + xᵢ₊₁yᵢ.
    pub fn product_share(&self, x: [View; 2], y: [View; 2], out: ViewMut) {
        elementwise::product_share(x.map(host), y.map(host), host_mut(out));
    }
    /// The sum of all words, as one word.
    pub fn sum(&self, x: View, out: ViewMut) {
        elementwise::sum(host(x), host_mut(out));
    }
    /// `z` += bias, `inner` elements for each entry of the bias, again and again.
    pub fn add_bias(&self, bias: View, inner: usize, z: ViewMut) {
        elementwise::add_bias(host(bias), inner, host_mut(z));
    }

    /// The sum over each window of every plane: [`pool::sum`].
    pub fn sum_pool(&self, input: [usize; 2], window: &PoolGeometry, size: [usize; 2], x: View, out: ViewMut) {
        pool::sum(input, window, size, host(x), host_mut(out));
    }
    /// One tap of each window of every plane: [`pool::tap`].
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
        pool::tap(input, window, size, tap, fill, host(x), host_mut(out));
    }

    /// `out` = Σₜ xₜ · yₜ, row-major matrices: xₜ `[m, kₜ]`, yₜ `[kₜ, n]`, or `[n, kₜ]` when `transposed`.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] when the kernel refuses the operands.
    pub fn matmul_sum(
        &self,
        [m, n]: [usize; 2],
        depths: [usize; 2],
        transposed: bool,
        terms: [(View, View); 2],
        out: ViewMut,
    ) -> Result<(), DeviceError> {
        let term = |t: usize| {
            let ((x, y), depth) = (terms[t], depths[t]);
            let b =
                if transposed { MatRef::row_major(host(y), depth).transposed() } else { MatRef::row_major(host(y), n) };
            Term { depth, a: MatRef::row_major(host(x), depth), b }
        };
        gemm::gemm_sum(m, n, &[term(0), term(1)], host_mut(out), false).map_err(kernel_error("matmul"))
    }

    /// `out` = Σₜ xₜ ⊛ wₜ: the convolution `geometry` of images with weights.
    ///
    /// # Errors
    /// [`DeviceError::Kernel`] when the kernel refuses the operands.
    pub fn conv2d_sum(
        &self,
        geometry: &ConvGeometry,
        terms: [(View, View); 2],
        out: ViewMut,
    ) -> Result<(), DeviceError> {
        let terms = terms.map(|(x, w)| conv::ConvTerm { input: host(x), weight: host(w) });
        conv::conv2d_sum(geometry, &terms, host_mut(out)).map_err(kernel_error("conv2d"))
    }

    /// Sign bit, role 0: [`sign::share_bits`].
    pub fn sign_share_bits(
        &self,
        window: Window,
        x: [View; 2],
        mask: &Stream,
        message: ViewMut,
        top: ViewMut,
        top_mask: ViewMut,
    ) {
        sign::share_bits(window, x.map(host), mask, host_mut(message), host_mut(top), host_mut(top_mask));
    }
    /// Sign bit, roles 1 and 2: [`sign::share_carries`].
    pub fn sign_share_carries(
        &self,
        window: Window,
        with_constants: bool,
        b: View,
        shared: View,
        carry: ViewMut,
        top: ViewMut,
    ) {
        sign::share_carries(window, with_constants, host(b), host(shared), host_mut(carry), host_mut(top));
    }
    /// Plane 0 of `planes` packed planes.
    pub fn first_plane(&self, elements: usize, planes: usize, bits: View, out: ViewMut) {
        sign::first_plane(elements, planes, host(bits), host_mut(out));
    }
    /// Sign bit, one level of the tree: [`sign::tree_level`].
    pub fn sign_tree_level(&self, elements: usize, half: usize, x: [View; 2], zero: &Zero, out: ViewMut) {
        sign::tree_level(elements, half, x.map(host), zero, host_mut(out));
    }

    /// Bit product, role 0: [`bit_product::role0`].
    pub fn bit_product_role0(&self, u: [View; 2], streams: [&Stream; 5], message: ViewMut, y0: ViewMut, y1: ViewMut) {
        bit_product::role0(u.map(host), streams, host_mut(message), host_mut(y0), host_mut(y1));
    }
    /// Bit product, role 1's first message: [`bit_product::role1_open`].
    pub fn bit_product_role1_open(&self, bits: [View; 2], x: [View; 2], alpha: &Stream, message: ViewMut) {
        bit_product::role1_open(bits.map(host), x.map(host), alpha, host_mut(message));
    }
    /// Bit product, role 2: [`bit_product::role2`].
    pub fn bit_product_role2(
        &self,
        bits: [View; 2],
        x0: View,
        d: View,
        streams: [&Stream; 3],
        message: ViewMut,
        y0: ViewMut,
    ) {
        bit_product::role2(bits.map(host), host(x0), host(d), streams, host_mut(message), host_mut(y0));
    }
    /// Bit product, role 1's last message: [`bit_product::role1_close`].
    pub fn bit_product_role1_close(&self, bits: [View; 2], x: [View; 2], e: View, mu: &Stream, message: ViewMut) {
        bit_product::role1_close(bits.map(host), x.map(host), host(e), mu, host_mut(message));
    }
    /// Conversion, role 0: [`bit_product::convert_role0`].
    pub fn convert_role0(&self, u: View, u1: &Stream, message: ViewMut) {
        bit_product::convert_role0(host(u), u1, host_mut(message));
    }
    /// Conversion, roles 1 and 2: [`bit_product::convert_term`].
    pub fn convert_term(&self, v: View, share: View, mask: &Stream, with_v: bool, message: ViewMut) {
        bit_product::convert_term(host(v), host(share), mask, with_v, host_mut(message));
    }

    /// Truncation, the opened top bits: [`truncation::open_top`].
    pub fn truncation_open_top(&self, offset: bool, u: View, pad: View, message: ViewMut) {
        truncation::open_top(offset, host(u), host(pad), host_mut(message));
    }
    /// Truncation of a product, role 2: [`truncation::product_deal`].
    pub fn truncation_deal(&self, d: u32, n: usize, alpha: View, beta: View, gamma: &Stream, planes: ViewMut) {
        truncation::product_deal(d, n, host(alpha), host(beta), gamma, host_mut(planes));
    }
    /// Truncation of a product, role 1: [`truncation::product_role1`].
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
        truncation::product_role1(d, host(v), opened(bits), host(gamma), y2, host_mut(message), host_mut(y));
    }
    /// Truncation of a product, role 0: [`truncation::product_role0`].
    pub fn truncation_role0(
        &self,
        d: u32,
        z: View,
        bits: OpenedBits,
        streams: [&Stream; 2],
        message: ViewMut,
        y: ViewMut,
    ) {
        let [gamma, y0] = streams;
        truncation::product_role0(d, host(z), opened(bits), gamma, y0, host_mut(message), host_mut(y));
    }
    /// Truncation of a replicated tensor, role 0: [`truncation::shared_role0`].
    pub fn truncation_shared_role0(&self, d: u32, x: [View; 2], streams: [&Stream; 4], message: ViewMut, y1: ViewMut) {
        truncation::shared_role0(d, x.map(host), streams, host_mut(message), host_mut(y1));
    }
    /// Truncation of a replicated tensor, roles 1 and 2: [`truncation::shared_term`].
    pub fn truncation_shared_term(&self, d: u32, v: View, share: Pad, mask: &Stream, planes: ViewMut) {
        let share = match share {
            Pad::Stream(stream) => truncation::TermShare::Stream(stream),
            Pad::Received(view) => truncation::TermShare::Planes(host(view)),
        };
        truncation::shared_term(d, host(v), share, mask, host_mut(planes));
    }
    /// Truncation of a replicated tensor, last: [`truncation::shared_close`].
    pub fn truncation_shared_close(&self, d: u32, v: View, terms: [View; 2], y2: ViewMut) {
        truncation::shared_close(d, host(v), terms.map(host), host_mut(y2));
    }
}

fn kernel_error(operation: &'static str) -> impl Fn(GemmError) -> DeviceError {
    move |error| DeviceError::Kernel { operation, detail: error.to_string() }
}

fn opened(bits: OpenedBits<'_>) -> truncation::Opened<'_> {
    truncation::Opened { e: host(bits.e), f: host(bits.f), pad: host(bits.pad) }
}
