//! Randomness that two parties or all three have in common, as tensors, and shares of zero made of it. A nonce is the
//! right to one draw: it cannot be copied, so nothing is drawn twice; and all three parties take nonces together, whoever
//! then uses them, so their streams stay in step by construction. Nothing is sent.

use super::share::{Additive, Group, Rep, RepBits, Sum, Xor};
use super::{MpcError, Party};
use crate::device::{Binary, Buffer, Tensor, kernels};
use crate::prg::{Correlated, Nonce, Standing, Stream};
use crate::ring::Ring;

impl Party {
    /// Runs `body` with keys of its own, derived from the party's or those of an earlier standing
    /// ([`Party::renew_keys`]), and sets the party's keys back afterwards. All parties call it together.
    ///
    /// From one standing, `body` may run twice, in two sessions: then it masks its messages with the same streams again,
    /// and **must compute the same on the same inputs**, or whoever sees both learns their difference. Whatever is not sure
    /// to be the same stays outside of `body`, where keys are those of the session.
    ///
    /// ```
    /// use cryptgpu_core::mpc::{MpcError, World};
    ///
    /// let world = World::seeded(1);
    /// let x = world.deal(&ndarray::array![5u64 << 20, 7 << 20]);
    /// let same = world.run(|p| {
    ///     let x = &x[p.id().index()];
    ///     let (standing, first) = p.with_own_keys(None, |p| (p.renew_keys(), p.mul(x, x)));
    ///     let again = p.with_own_keys(Some(&standing), |p| p.mul(x, x))?;
    ///     let [first, again] = [first?, again].map(|share| share.components().0.view().to_host());
    ///     Ok::<_, MpcError>(first? == again?)
    /// });
    /// for same in same {
    ///     assert!(same?, "share by share, with its rounding");
    /// }
    /// # Ok::<(), MpcError>(())
    /// ```
    pub fn with_own_keys<T>(&mut self, from: Option<&Standing>, body: impl FnOnce(&mut Party) -> T) -> T {
        let own = from.map_or_else(|| self.prg.branch(), Correlated::resume);
        let before = std::mem::replace(&mut self.prg, own);
        let outer = self.session_prg.replace(before);
        let result = body(self);
        if let Some(before) = std::mem::replace(&mut self.session_prg, outer) {
            self.prg = before;
        }
        result
    }

    /// Runs `body`, within [`Party::with_own_keys`], with the keys that the party had before: for what need not be the same
    /// where the rest is gone on with twice. Elsewhere it just runs. All parties call it together.
    pub fn with_session_keys<T>(&mut self, body: impl FnOnce(&mut Party) -> T) -> T {
        let Some(session) = self.session_prg.take() else { return body(self) };
        let own = std::mem::replace(&mut self.prg, session);
        let result = body(self);
        self.session_prg = Some(std::mem::replace(&mut self.prg, own));
        result
    }

    /// Draws new keys for all that comes, within [`Party::with_own_keys`], and says where that is: for a checkpoint. It
    /// holds keys. All parties call it together.
    pub fn renew_keys(&mut self) -> Standing {
        self.prg.renew()
    }

    /// `K` fresh nonces. **All three parties take them in the same order**, used or not: take them
    /// before the code of a protocol branches by party. (A party that takes others than its
    /// neighbours gets an error with the next message.)
    ///
    /// ```
    /// use cryptgpu_core::mpc::{MpcError, Party, World};
    ///
    /// /// A word that parties 0 and 1 know and party 2 does not.
    /// fn secret_of_two(p: &mut Party) -> Result<Option<u64>, MpcError> {
    ///     let [nonce] = p.nonces();
    ///     let tensor = match p.id().index() {
    ///         0 => p.with_next(nonce, &[1], 64)?,
    ///         1 => p.with_prev(nonce, &[1], 64)?,
    ///         _ => return Ok(None),
    ///     };
    ///     Ok(Some(tensor.into_host()?[0]))
    /// }
    ///
    /// let [a, b, c] = World::seeded(3).run(secret_of_two);
    /// let (a, b) = (a?, b?);
    /// assert!(a.is_some() && a == b && c?.is_none());
    /// # Ok::<(), MpcError>(())
    /// ```
    pub fn nonces<const K: usize>(&mut self) -> [Nonce; K] {
        std::array::from_fn(|_| self.prg.nonce())
    }

    /// Uniform elements of `width` bits, of the party's ring, that this party and the next one know (key kᵢ₊₁).
    ///
    /// # Errors
    /// [`MpcError::Device`] for a width outside 1 to the ring's bits.
    pub fn with_next(&self, nonce: Nonce, shape: &[usize], width: u32) -> Result<Tensor, MpcError> {
        self.draw(&self.prg.with_next(nonce), self.ring(), shape, width)
    }

    /// Uniform elements of `width` bits that this party and the previous one know (key kᵢ).
    ///
    /// # Errors
    /// [`MpcError::Device`] for a width outside 1 to the ring's bits.
    pub fn with_prev(&self, nonce: Nonce, shape: &[usize], width: u32) -> Result<Tensor, MpcError> {
        self.draw(&self.prg.with_prev(nonce), self.ring(), shape, width)
    }

    /// Uniform elements of `width` bits that all three parties know: public coins, which hide
    /// nothing from a party.
    ///
    /// # Errors
    /// [`MpcError::Device`] for a width outside 1 to the ring's bits.
    pub fn with_all(&self, nonce: Nonce, shape: &[usize], width: u32) -> Result<Tensor, MpcError> {
        self.draw(&self.prg.common(nonce), self.ring(), shape, width)
    }

    /// Uniform elements of `width` bits that nobody else knows.
    ///
    /// # Errors
    /// [`MpcError::Device`] for a width outside 1 to the ring's bits.
    pub fn with_nobody(&self, nonce: Nonce, shape: &[usize], width: u32) -> Result<Tensor, MpcError> {
        self.draw(&self.prg.own(nonce), self.ring(), shape, width)
    }

    /// The first elements of a stream; where they have fewer bits than the ring's words, `width` planes of it.
    pub(in crate::mpc) fn draw(
        &self,
        stream: &Stream,
        ring: Ring,
        shape: &[usize],
        width: u32,
    ) -> Result<Tensor, MpcError> {
        let (device, n) = (self.device(), shape.iter().product::<usize>());
        let tensor = if width == ring.bits() {
            let mut words = device.alloc(ring.words(n));
            kernels::fill(stream, words.view_mut());
            Tensor::new_in(ring, words, shape)
        } else {
            let mut planes = device.alloc(width.min(64) as usize * n.div_ceil(64));
            kernels::fill(stream, planes.view_mut());
            Tensor::from_planes_in(ring, width, planes.view(), device, shape)
        };
        Ok(tensor?)
    }

    /// This party's summand of zero, in the party's ring: F(kᵢ) − F(kᵢ₊₁). Local.
    pub fn zero_share(&mut self, shape: &[usize]) -> Additive {
        self.zero_share_in(self.ring(), shape)
    }

    /// [`Party::zero_share`] in a ring.
    pub(in crate::mpc) fn zero_share_in(&mut self, ring: Ring, shape: &[usize]) -> Additive {
        let n = shape.iter().product();
        let nonce = self.prg.nonce_for(Sum::RESHARE.on(ring, &[n]));
        let zero = self.prg.zero(nonce);
        let mut words = self.device().zeros(ring.words(n));
        kernels::add_zero(ring, &zero, words.view_mut());
        Additive::from_summand(Tensor::of_ring(ring, words, shape))
    }

    /// This party's summand of x, hidden by a fresh zero-share: for somebody outside the three who adds them up, and learns
    /// x from all of them but no component. Local.
    pub(crate) fn fresh_summand(&mut self, x: &Rep) -> Result<Tensor, MpcError> {
        let zero = self.zero_share_in(x.ring(), x.shape());
        Ok(x.to_additive().add(&zero)?.mine().clone())
    }

    /// The same of packed bits.
    pub(crate) fn fresh_summand_of_bits(&mut self, x: &RepBits) -> Result<Buffer, MpcError> {
        let nonce = self.prg.nonce_for(Xor::RESHARE.on(x.ring(), &[x.len(), 1]));
        let (zero, mine) = (self.prg.zero(nonce), x.components().0);
        let (device, n) = (self.device(), mine.len());
        let (mut plus, mut minus, mut out) = (device.alloc(n), device.alloc(n), device.alloc(n));
        kernels::fill(&zero.plus, plus.view_mut());
        kernels::fill(&zero.minus, minus.view_mut());
        kernels::binary(Ring::Z64, Binary::Xor, plus.view(), minus.view(), out.view_mut());
        kernels::binary(Ring::Z64, Binary::Xor, out.view(), mine.view(), plus.view_mut());
        Ok(plus)
    }

    /// This party's summand of zero words of `width` bits: F(kᵢ) ⊕ F(kᵢ₊₁). Local.
    ///
    /// # Errors
    /// [`MpcError::Device`] for a width outside 1 to the ring's bits.
    pub fn zero_share_xor(&mut self, shape: &[usize], width: u32) -> Result<Additive<Xor>, MpcError> {
        self.zero_share_xor_in(self.ring(), shape, width)
    }

    /// [`Party::zero_share_xor`] of words of a ring.
    pub(in crate::mpc) fn zero_share_xor_in(
        &mut self,
        ring: Ring,
        shape: &[usize],
        width: u32,
    ) -> Result<Additive<Xor>, MpcError> {
        let nonce = self.prg.nonce_for(Xor::RESHARE.on(ring, &[shape.iter().product(), width as usize]));
        let zero = self.prg.zero(nonce);
        let (plus, minus) = (self.draw(&zero.plus, ring, shape, width)?, self.draw(&zero.minus, ring, shape, width)?);
        let mine = plus.binary("zero-share", Binary::Xor, &minus)?;
        Ok(Additive::from_xor_summand(mine, width)?)
    }
}
