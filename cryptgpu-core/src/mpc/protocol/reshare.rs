//! Three additive shares to replicated ones, behind a zero-share.

use super::message::Side;
use super::round::{Pending, Round};
use super::unmasked::{pack, unpack};
use crate::device::{Buffer, Tensor};
use crate::mpc::share::{Additive, Group};
use crate::mpc::{MpcError, Party, Rep, cost};
use crate::ring::Ring;

impl Round<'_> {
    /// [`Party::reshare`], as a part of this round.
    ///
    /// # Errors
    /// [`MpcError::Device`] when the share is not on this party's device, and for what went wrong there.
    pub fn reshare<G: Group>(&mut self, z: Additive<G>) -> Result<Pending<G::Replicated>, MpcError>
    where
        G::Replicated: 'static,
    {
        let (ring, width) = (z.ring(), z.width());
        let shape = z.shape().to_vec();
        let masked = z.masked(self.party)?.into_mine();
        let message = pack(&masked, width)?;
        let words = message.len();
        self.declare_cost(cost::packed(3 * words));
        self.queue(Side::Prev, G::RESHARE, message);
        let slot = self.expect(Side::Next, G::RESHARE, words);
        Ok(Pending::new(move |arrived| {
            let b = unpack(arrived, slot, ring, &shape, width)?;
            Ok(G::replicated(masked, b, width)?)
        }))
    }
}

impl Party {
    /// Replicated shares of z = z₀ + z₁ + z₂ (or z₀ ⊕ z₁ ⊕ z₂) from additive ones: the one road
    /// from a local product to a share that can be used again.
    ///
    /// Party i sends zᵢ + F(kᵢ) − F(kᵢ₊₁) to party i − 1, who does not know kᵢ₊₁: uniform in its
    /// view. 24 bytes an element (12 in the ring of 32 bits), or 3 times the width of words in bits, 1 round. Araki et al., CCS
    /// 2016, §2.
    ///
    /// # Errors
    /// The link's errors.
    pub fn reshare<G: Group>(&mut self, z: Additive<G>) -> Result<G::Replicated, MpcError>
    where
        G::Replicated: 'static,
    {
        self.round(|round| round.reshare(z))
    }

    /// A share of `shape` from its two components.
    pub(super) fn rep(&self, ring: Ring, a: Buffer, b: Buffer, shape: &[usize]) -> Result<Rep, MpcError> {
        Ok(Rep { a: Tensor::new_in(ring, a, shape)?, b: Tensor::new_in(ring, b, shape)? })
    }
}
