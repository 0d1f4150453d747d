//! Products: element by element, of matrices, and convolutions. Each party computes
//! zᵢ = xᵢ(yᵢ + yᵢ₊₁) + xᵢ₊₁yᵢ, an additive share of x·y (Araki et al., CCS 2016), two ring
//! products; the shares then become replicated, divided by the fixed-point scale on the way.

use super::{Additive, MpcError, Operand, Party, Rep};
use crate::device::{ConvGeometry, DeviceError, Tensor};

impl Party {
    /// x · y element by element, as fixed-point numbers: truncated by the codec's fraction bits.
    ///
    /// 26.75 bytes an element at 20 fraction bits, 13.75 at 12 in the ring of 32 bits; 3 rounds; at most one unit too large. Holds
    /// while |x · y| < 2^(62 − 2f), 4,194,304 at 20 fraction bits, or 2^(30 − 2f), 64 at 12, in the ring of 32 bits; a larger product
    /// comes out as another value.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the shapes differ; the link's errors.
    pub fn mul(&mut self, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
        let bits = self.codec().fraction_bits();
        let z = x.local_mul(y)?;
        self.truncate_additive(z, bits)
    }

    /// x · y element by element, as integers of the ring: no truncation, and exact for all words. 24 bytes an element, 12 in the
    /// ring of 32 bits; 1 round.
    ///
    /// # Errors
    /// As [`Party::mul`].
    pub fn mul_no_trunc(&mut self, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
        let z = x.local_mul(y)?;
        self.reshare(z)
    }

    /// x + c for a public real c, encoded with the fraction bits of the party's codec. Local. Holds while the sum is below
    /// 2^(63 − f).
    ///
    /// # Errors
    /// [`MpcError::Ring`] when the constant cannot be encoded.
    pub fn add_scalar(&self, x: &Rep, c: f64) -> Result<Rep, MpcError> {
        Ok(x.add_word(self.id(), self.codec().encode(c)?))
    }

    /// x times a public real c, truncated. c is taken to f significant bits ([`crate::ring::FixedPoint::encode_constant`]),
    /// so that the result is c·x but for 2^−f of it and one unit.
    ///
    /// In range while |x| < 2^(62−2f) and |c·x| < 2^(62−2f): below 4,194,304 at 20 fraction bits. Local product, then
    /// 8 + 3d/8 bytes an element, 2 rounds, with d = f for |c| ≥ 1/2 and a bit more for each halving of c.
    ///
    /// # Errors
    /// [`MpcError::Ring`] when the constant cannot be encoded; the link's errors.
    pub fn mul_scalar(&mut self, x: &Rep, constant: f64) -> Result<Rep, MpcError> {
        let (word, bits) = self.codec().encode_constant(constant)?;
        self.truncate(&x.mul_word(word), bits)
    }

    /// The matrix product x · y of `[m, k]` and `[k, n]`, truncated by the fraction bits.
    ///
    /// 26.75 bytes an element of the result at 20 fraction bits, 3 rounds. Holds while every element of the result is below
    /// 2^(62 − 2f); sums on the way may be larger.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the inner dimensions differ; the link's errors.
    pub fn matmul(&mut self, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
        let operand = Operand::new(y.clone());
        let terms = [(&x.a, &operand.sum), (&x.b, &operand.a)];
        let z = Tensor::matmul_sum(terms, [false, false])?;
        let bits = self.codec().fraction_bits();
        self.truncate_additive(Additive::from_summand(z), bits)
    }

    /// A fully connected layer: x · wᵀ + bias for x `[m, k]`, w `[n, k]` (PyTorch's layout).
    ///
    /// `bias` has shape `[n]` and the scale of the product, 2^(f + cut), so that it is added before the truncation,
    /// which takes `cut` bits: f, or what the weight says ([`Operand::with_cut`]). 24 + (cut + 2)/8 bytes an element
    /// of the result, 3 rounds. Holds while every element of the result is below 2^(62 − f − cut), the bias included.
    ///
    /// # Errors
    /// [`MpcError::Device`] when shapes do not fit; the link's errors.
    pub fn linear(&mut self, x: &Rep, w: &Operand, bias: Option<&Rep>) -> Result<Rep, MpcError> {
        let z = x.local_linear(w, bias)?;
        self.truncate_additive(z, w.cut(self.codec().fraction_bits()))
    }

    /// A two-dimensional convolution: x `[N, C, H, W]`, w `[O, C/groups, kh, kw]`, with `bias` of
    /// shape `[O]` as for [`Party::linear`], at the same cost and in the same range.
    ///
    /// # Errors
    /// [`MpcError::Device`] when shapes do not fit; the link's errors.
    pub fn conv2d(
        &mut self,
        x: &Rep,
        w: &Operand,
        geometry: &ConvGeometry,
        bias: Option<&Rep>,
    ) -> Result<Rep, MpcError> {
        let z = x.local_conv2d(w, geometry, bias)?;
        self.truncate_additive(z, w.cut(self.codec().fraction_bits()))
    }

    /// The gradient of a fully connected layer's inputs: dy · w for the gradient dy `[m, n]` of its outputs and w `[n, k]`,
    /// cut as its outputs are ([`Operand::with_cut`]). 24 + (cut + 2)/8 bytes an element of the result, 3 rounds; holds
    /// while every element of it is below 2^(62 − f − cut). [`Rep::linear_input_gradient`] is the same without the
    /// truncation, and [`Rep::linear_weight_gradient`] that of the weights, which costs nothing by itself.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the inner dimensions differ; the link's errors.
    pub fn linear_input_gradient(&mut self, dy: &Rep, w: &Operand) -> Result<Rep, MpcError> {
        let dx = dy.linear_input_gradient(w)?;
        self.truncate_additive(dx, w.cut(self.codec().fraction_bits()))
    }

    /// The gradient of a convolution's images, from the gradient dy `[N, O, H′, W′]` of its outputs and its weights, cut as
    /// its outputs are: shape `[N, C, H, W]`, at the cost and in the range of [`Party::linear_input_gradient`].
    /// [`Rep::conv2d_input_gradient`] is the same without the truncation, and [`Rep::conv2d_weight_gradient`] that of
    /// the weights, which costs nothing by itself.
    ///
    /// # Errors
    /// [`MpcError::Device`] when shapes do not fit; the link's errors.
    pub fn conv2d_input_gradient(&mut self, dy: &Rep, w: &Operand, geometry: &ConvGeometry) -> Result<Rep, MpcError> {
        let dx = dy.conv2d_input_gradient(w, geometry)?;
        self.truncate_additive(dx, w.cut(self.codec().fraction_bits()))
    }
}

impl Rep {
    /// The products of [`Party::linear`] and the bias, at the scale of the product. Local.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when shapes do not fit, [`DeviceError::Mixed`].
    pub fn local_linear(&self, w: &Operand, bias: Option<&Rep>) -> Result<Additive, DeviceError> {
        with_bias(Tensor::matmul_sum([(&self.a, &w.sum), (&self.b, &w.a)], [false, true])?, bias)
    }

    /// The products of [`Party::conv2d`] and the bias, at the scale of the product. Local.
    ///
    /// # Errors
    /// As [`Rep::local_linear`].
    pub fn local_conv2d(
        &self,
        w: &Operand,
        geometry: &ConvGeometry,
        bias: Option<&Rep>,
    ) -> Result<Additive, DeviceError> {
        with_bias(Tensor::conv2d_sum([(&self.a, &w.sum), (&self.b, &w.a)], geometry)?, bias)
    }
}

/// Adds the bias along axis 1.
fn with_bias(z: Tensor, bias: Option<&Rep>) -> Result<Additive, DeviceError> {
    let z = Additive::from_summand(z);
    match bias {
        Some(bias) => z.add_channels(bias),
        None => Ok(z),
    }
}
