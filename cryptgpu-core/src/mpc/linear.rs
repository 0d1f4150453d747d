//! Products: element by element, of matrices, and convolutions. Each party computes an additive share of x·y, by one ring
//! product or two (`share/bilinear.rs`); the shares then become replicated, divided by the fixed-point scale on the way.

use super::share::summand;
use super::{Additive, MpcError, Operand, Party, Rep};
use crate::device::{ConvGeometry, DeviceError, PoolGeometry, Tensor};
use crate::net::PartyId;

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
    /// 2^(l − 1 − f) in the ring of l bits.
    ///
    /// # Errors
    /// [`MpcError::Ring`] when the constant cannot be encoded.
    pub fn add_scalar(&self, x: &Rep, c: f64) -> Result<Rep, MpcError> {
        Ok(x.add_word(self.id(), self.codec().encode(c)?))
    }

    /// x times a public real c, truncated. c is taken to f significant bits ([`crate::ring::FixedPoint::encode_constant`]),
    /// so that the result is c·x but for 2^−f of it and one unit.
    ///
    /// In range while |x| and |c·x| are below 2^(62 − 2f), 4,194,304 at 20 fraction bits; in the ring of 32 bits 2^(30 − 2f), 64 at 12.
    /// Local product, then 8 + 3d/8 bytes an element, 4 + 3d/8 in that ring, 2 rounds, with d = f for |c| ≥ 1/2 and a bit more for each
    /// halving of c.
    ///
    /// # Errors
    /// [`MpcError::Ring`] when the constant cannot be encoded; the link's errors.
    pub fn mul_scalar(&mut self, x: &Rep, constant: f64) -> Result<Rep, MpcError> {
        let (word, bits) = self.codec().encode_constant(constant)?;
        self.truncate(&x.mul_word(word), bits)
    }

    /// The matrix product x · y of `[m, k]` and `[k, n]`, truncated by the fraction bits.
    ///
    /// 26.75 bytes an element of the result at 20 fraction bits, 13.75 at 12 in the ring of 32 bits; 3 rounds. Holds while every
    /// element of the result is below 2^(62 − 2f), 2^(30 − 2f) in that ring; sums on the way may be larger.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the inner dimensions differ; the link's errors.
    pub fn matmul(&mut self, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
        let z = summand(self.id(), x, y, |terms| Tensor::matmul_sum(terms, [false, false]))?;
        let bits = self.codec().fraction_bits();
        self.truncate_additive(z, bits)
    }

    /// The matrix products x · y of `[…, m, k]` and `[…, k, n]`, one for each entry of the leading axes, which are the same in both:
    /// of queries and keys, and of what attention weights and values. Truncated by the fraction bits, all at once.
    ///
    /// 26.75 bytes an element of the result at 20 fraction bits, 13.75 at 12 in the ring of 32 bits; 3 rounds. Holds while every
    /// element of the result is below 2^(62 − 2f), 2^(30 − 2f) in that ring; sums on the way may be larger.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let codec = world.settings.codec;
    /// let x = world.deal(&codec.encode_array(&array![[[1.0, 2.0]], [[3.0, 0.5]]])?);
    /// let y = world.deal(&codec.encode_array(&array![[[1.0], [0.5]], [[2.0], [4.0]]])?);
    /// let [z, ..] = world.run(|p| {
    ///     let me = p.id().index();
    ///     let z = p.batched_matmul(&x[me], &y[me])?;
    ///     p.open(&z)
    /// });
    /// let error = codec.decode_array(&z?.to_array()?) - array![[[2.0]], [[8.0]]].into_dyn();
    /// assert!(error.iter().all(|error| error.abs() < 1e-6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Device`] when the inner dimensions or the leading axes differ; the link's errors.
    pub fn batched_matmul(&mut self, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
        let z = x.local_batched_matmul(self.id(), y)?;
        let bits = self.codec().fraction_bits();
        self.truncate_additive(z, bits)
    }

    /// A fully connected layer: x · wᵀ + bias for x `[m, k]`, w `[n, k]` (PyTorch's layout).
    ///
    /// `bias` has shape `[n]` and the scale of the product, 2^(f + cut), so that it is added before the truncation,
    /// which takes `cut` bits: f, or what the weight says ([`Operand::with_cut`]). 24 + (cut + 2)/8 bytes an element
    /// of the result, 12 + (cut + 2)/8 in the ring of 32 bits; 3 rounds. Holds while every element of the result is below 2^(l − 2 − f − cut) in the ring of l
    /// bits, the bias included.
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
    /// cut as its outputs are ([`Operand::with_cut`]). 24 + (cut + 2)/8 bytes an element of the result, 12 + (cut + 2)/8 in the
    /// ring of 32 bits; 3 rounds; holds
    /// while every element of it is below 2^(l − 2 − f − cut) in the ring of l bits. [`Rep::linear_input_gradient`] is the same without the
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
        with_bias(w.products(self, |terms| Tensor::matmul_sum(terms, [false, true]))?, bias)
    }

    /// The summand of `party`, which this is, of [`Party::batched_matmul`], at the scale of the product: one convolution of pixels, in
    /// which each matrix of x is the weights of a group of channels, and each of y its image. Local.
    ///
    /// # Errors
    /// As [`Rep::local_linear`].
    pub fn local_batched_matmul(&self, party: PartyId, y: &Rep) -> Result<Additive, DeviceError> {
        let wrong = || DeviceError::Shape {
            operation: "batched matmul",
            lhs: self.shape().to_vec(),
            rhs: y.shape().to_vec(),
            rule: "both must be matrices with equal leading axes and inner dimensions",
        };
        let ([leading @ .., m, k], [others @ .., inner, n]) = (self.shape(), y.shape()) else { return Err(wrong()) };
        if leading != others || k != inner || self.is_empty() || y.is_empty() {
            return Err(wrong());
        }
        let groups = leading.iter().product::<usize>();
        let window = PoolGeometry::square(1, 1, 0);
        let geometry = ConvGeometry {
            batch: 1,
            in_channels: groups * k,
            input: [1, *n],
            out_channels: groups * m,
            window,
            groups,
        };
        let (weights, images) = (self.reshape(&geometry.weight_shape())?, y.reshape(&geometry.input_shape())?);
        summand(party, &images, &weights, |terms| {
            Tensor::conv2d_sum(terms, &geometry)?.reshape(&[leading, &[*m, *n]].concat())
        })
    }

    /// This party's summand of a transposed convolution and the bias, at the scale of the product: what its convolution `geometry`
    /// has as the gradient of its images. `self` is `[N, O, H′, W′]`, w `[O, C/groups, kh, kw]`, the result `[N, C, H, W]`. Local.
    ///
    /// # Errors
    /// As [`Rep::local_linear`].
    pub fn local_conv_transpose2d(
        &self,
        w: &Operand,
        geometry: &ConvGeometry,
        bias: Option<&Rep>,
    ) -> Result<Additive, DeviceError> {
        let z = self.conv2d_input_gradient(w, geometry)?;
        match bias {
            Some(bias) => z.add_channels(bias),
            None => Ok(z),
        }
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
        with_bias(w.products(self, |terms| Tensor::conv2d_sum(terms, geometry))?, bias)
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
