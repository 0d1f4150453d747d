//! Gradients of layers, as far as they are local: of the weights and inputs of convolutions and fully connected layers,
//! and of windows. Ring products of the size of the layer's own, over the same tensors: nothing is expanded. Products are
//! summands ([`Additive`]) at twice the scale, so that several can be added before `protocol` makes them one share with one
//! truncation.

use super::{Additive, Operand, Rep, summand};
use crate::device::{ConvGeometry, DeviceError, PoolGeometry, Tensor};
use crate::net::PartyId;

impl Rep {
    /// The summand of `party`, which this is, of the gradient of a convolution's weights, from the gradient dy of its outputs (`self`,
    /// `[N, O, H′, W′]`) and its images x `[N, C, H, W]`: `dw[o, c, ky, kx]` is the sum over all images and windows of
    /// dy times the element of x at tap (ky, kx). Shape `[O, C/groups, kh, kw]`. Local; the scale of fixed-point
    /// numbers doubles, and the optimiser's truncation takes the rest ([`crate::mpc::Party::truncate_additive`]).
    ///
    /// # Errors
    /// [`DeviceError::Shape`] or [`DeviceError::Geometry`] when shapes are not those of the geometry,
    /// [`DeviceError::Mixed`].
    pub fn conv2d_weight_gradient(
        &self,
        party: PartyId,
        x: &Rep,
        geometry: &ConvGeometry,
    ) -> Result<Additive, DeviceError> {
        summand(party, self, x, |terms| Tensor::conv2d_weight_gradient_sum(terms, geometry))
    }

    /// This party's summand of the gradient of a convolution's images, from the gradient dy of its outputs (`self`) and its
    /// weights, which [`crate::mpc::Party::conv2d_input_gradient`] truncates. Shape `[N, C, H, W]`. Local; the scale of
    /// fixed-point numbers doubles.
    ///
    /// # Errors
    /// As [`Rep::conv2d_weight_gradient`].
    pub fn conv2d_input_gradient(&self, w: &Operand, geometry: &ConvGeometry) -> Result<Additive, DeviceError> {
        let dx = w.products(self, |terms| Tensor::conv2d_input_gradient_sum(terms, geometry))?;
        Ok(Additive::from_summand(dx))
    }

    /// The summand of `party`, which this is, of the gradient of a fully connected layer's weights: dyᵀ · x for the gradient dy of its
    /// outputs (`self`, `[N, O]`) and its inputs x `[N, I]`. Shape `[O, I]`. Local; the scale of fixed-point numbers doubles.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when these are no matrices with as many rows, [`DeviceError::Mixed`].
    pub fn linear_weight_gradient(&self, party: PartyId, x: &Rep) -> Result<Additive, DeviceError> {
        summand(party, self, x, |terms| Tensor::matmul_sum(terms, [true, false]))
    }

    /// This party's summand of the gradient of a fully connected layer's inputs: dy · w for the gradient dy of its outputs
    /// (`self`, `[N, O]`) and its weights w `[O, I]`, which [`crate::mpc::Party::linear_input_gradient`] truncates. Shape
    /// `[N, I]`. Local; the scale of fixed-point numbers doubles.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] when the inner dimensions differ, [`DeviceError::Mixed`].
    pub fn linear_input_gradient(&self, w: &Operand) -> Result<Additive, DeviceError> {
        Ok(Additive::from_summand(w.products(self, |terms| Tensor::matmul_sum(terms, [false, false]))?))
    }

    /// The gradient of [`Rep::sum_pool`] over images of `input` height and width, from that of its sums (`self`,
    /// `[N, C, H′, W′]`): at each pixel the sum over all windows that see it. Shape `[N, C, H, W]`. Local, at the same scale.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] or [`DeviceError::Geometry`] when these are not the windows' sums.
    pub fn sum_pool_gradient(&self, window: &PoolGeometry, input: [usize; 2]) -> Result<Self, DeviceError> {
        Ok(Rep { a: self.a.sum_pool_gradient(window, input)?, b: self.b.sum_pool_gradient(window, input)? })
    }
}
