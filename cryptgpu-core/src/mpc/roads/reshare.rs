//! Three additive shares to replicated ones, behind a zero-share.

use super::wire::{Kind, Side};
use crate::device::{Buffer, Tensor};
use crate::mpc::{MpcError, Party, Rep, cost};

impl Party {
    /// Replicated shares of z = z₀ + z₁ + z₂ from additive ones.
    ///
    /// Party i sends zᵢ + F(kᵢ) − F(kᵢ₊₁) to party i − 1, who does not know kᵢ₊₁: uniform in its
    /// view. 24 bytes an element, 1 round. Araki et al., CCS 2016, §2.
    pub(in crate::mpc) fn reshare(&mut self, mut z: Buffer, shape: &[usize]) -> Result<Rep, MpcError> {
        self.check_here("reshare", z.device())?;
        self.declare(cost::reshare(z.len()));
        let nonce = self.prg.nonce();
        let zero = self.prg.zero(nonce);
        self.device().add_zero(&zero, z.view_mut());
        self.post_copy(Side::Prev, Kind::Reshare, z.view())?;
        let b = self.take(Side::Next, Kind::Reshare, z.len())?;
        self.rep(z, b, shape)
    }

    /// A share of `shape` from its two components.
    pub(super) fn rep(&self, a: Buffer, b: Buffer, shape: &[usize]) -> Result<Rep, MpcError> {
        let tensor = |buffer| Tensor::new(buffer, shape).map_err(|e| self.device_error(e));
        Ok(Rep { a: tensor(a)?, b: tensor(b)? })
    }
}
