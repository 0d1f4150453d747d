//! From the ring of 32 bits to that of 64. The way back is local: [`Rep::reduce`].

use super::message::{MessageKind, Side};
use crate::device::{self, Buffer, CloseTerms, Draw, Masks, Results, Tensor, TermShare, kernels};
use crate::mpc::{MpcError, Party, Rep, cost};
use crate::ring::Ring;

impl Party {
    /// The same value in the ring of 64 bits, of a share of 32, for all |x| < 2^30; a larger x comes out as another value. One of
    /// 64 bits stays as it is.
    ///
    /// With u = x₀ + x₁ + 2^30 modulo 2^32 known to role 0 and v = x₂ to roles 1 and 2, x + 2^30 is u + v, or 2^32 less where that
    /// wraps: always but where a = ¬msb(u) and b = ¬msb(v) are both 1. So x = u + v − 2^30 − 2^32 + 2^32·ab modulo 2^64, and ab is
    /// needed modulo 2^32. a is dealt additively modulo that (a₁ of F₁, a₂ sent), and b multiplies both parts locally, as in
    /// [`Party::truncate`].
    ///
    /// | round | from | to | message | hidden by |
    /// |---|---|---|---|---|
    /// | 1 | role 0 | role 2 | y₀ modulo 2^64, a₂ = a − a₁ modulo 2^32 | y₁ and a₁ of F₁ |
    /// | 1 | role 1 | role 2 | b·a₁ + μ modulo 2^32 | μ of F₁ |
    /// | 2 | role 2 | role 1 | b·a₂ + ν modulo 2^32 | ν of F₀ |
    ///
    /// y₂ = v + 2^32(both terms), y₀ = u − 2^30 − 2^32 − 2^32(μ + ν) − y₁. 20 bytes an element; 2 rounds. Exact.
    ///
    /// More fraction bits are a product with a public power of two there, and fewer a truncation before the way back:
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use cryptgpu_core::ring::{FixedPoint, Ring};
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1).in_ring(Ring::Z32);
    /// let short = world.settings.codec;
    /// let x = world.deal(&short.encode_array(&array![1.5, -2.25, 3.0])?);
    /// let [opened, ..] = world.run(|p| {
    ///     // 12 fraction bits of 32, then 20 of 64: x⁴, of which 32 bits would hold no product with 20.
    ///     let x = p.extend(&x[p.id().index()])?.mul_word(1 << 8);
    ///     let square = p.truncate_additive(x.local_mul(&x)?, 20)?;
    ///     let fourth = p.truncate_additive(square.local_mul(&square)?, 20 + 8)?;
    ///     p.open(&fourth.reduce())
    /// });
    /// let fourth = short.decode_array(&opened?.to_array()?);
    /// let expected = array![5.0625, 25.62890625, 81.0].into_dyn();
    /// assert!((fourth - expected).iter().all(|error| (0.0..0.0003).contains(error)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Device`] when the share is not on this party's device; the link's errors.
    pub fn extend(&mut self, x: &Rep) -> Result<Rep, MpcError> {
        if x.ring() == Ring::Z64 {
            return Ok(x.clone());
        }
        self.check_here("extension", x.device())?;
        let (n, device) = (x.len(), self.device());
        self.declare_cost(cost::extend(n));
        // Ranges of memory of elements of 32 bits; those of 64 stand where the elements do, twice as far.
        let [zero, one, two] = self.parts::<4>(MessageKind::EXTEND_DEAL, Ring::Z32, n, 0);
        let [mut a, mut b] = [(); 2].map(|()| device.alloc(Ring::Z32.filled(n)));
        let long = |part: &std::ops::Range<usize>| 2 * part.start..2 * part.end;
        let (xa, xb) = (x.a.view(), x.b.view());

        let ([a1, mu, nu, y1], [a1_one, mu_one, _, y1_one], [_, _, nu_two, _]) = (zero.nonces, one.nonces, two.nonces);
        let mut masks = [
            Draw::of(self.prg.with_next(a1), zero.elements.len()),
            Draw::of(self.prg.with_next(mu), zero.elements.len()),
            Draw::of(self.prg.with_prev(nu), zero.elements.len()),
            Draw::of(self.prg.with_next(y1), zero.count),
            Draw::of(self.prg.with_prev(a1_one), one.elements.len()),
            Draw::of(self.prg.with_prev(mu_one), one.elements.len()),
            Draw::of(self.prg.with_prev(y1_one), one.count),
            Draw::of(self.prg.with_next(nu_two), two.elements.len()),
        ];
        device::make(device, Masks::draws(&mut masks));
        let [a1, mu, nu, y1, share, mu_one, y1_one, nu_two] = &masks;

        // Role 0: y₀ and its dealt bit.
        let mut message = device.alloc(zero.count + zero.elements.len());
        let parts = [xa, xb].map(|x| x.slice(zero.elements.clone()));
        let [a_zero, b_zero] = [&mut a, &mut b].map(|component| component.slice_mut(long(&zero.elements)));
        kernels::extension_role0(
            parts,
            [a1, mu, nu, y1],
            Results { message: message.view_mut(), a: a_zero, b: b_zero },
        );
        self.post(Side::Prev, MessageKind::EXTEND_DEAL, message)?;

        // Role 1: its term.
        let v_one = xb.slice(one.elements.clone());
        let mut own_one = device.alloc(one.elements.len());
        let (drawn, kept) = (TermShare::Drawn { share, y1: y1_one }, a.slice_mut(long(&one.elements)));
        kernels::extension_term(v_one, drawn, mu_one, own_one.view_mut(), kept);
        self.post_copy(Side::Next, MessageKind::EXTEND_TERM1, own_one.view())?;

        // Role 2: its term.
        let v_two = xa.slice(two.elements.clone());
        let received = self.take(Side::Next, MessageKind::EXTEND_DEAL, two.count + two.elements.len())?;
        let mut own_two = device.alloc(two.elements.len());
        let (share, kept) = (TermShare::Received(received.view()), b.slice_mut(long(&two.elements)));
        kernels::extension_term(v_two, share, nu_two, own_two.view_mut(), kept);
        self.post_copy(Side::Prev, MessageKind::EXTEND_TERM2, own_two.view())?;

        // Both: y₂.
        let term_one = self.take(Side::Prev, MessageKind::EXTEND_TERM1, own_two.len())?;
        let term_two = self.take(Side::Next, MessageKind::EXTEND_TERM2, own_one.len())?;
        for (v, terms, y2) in [
            (v_two, [own_two.view(), term_one.view()], a.slice_mut(long(&two.elements))),
            (v_one, [own_one.view(), term_two.view()], b.slice_mut(long(&one.elements))),
        ] {
            kernels::extension_close(CloseTerms { v, terms, y2 });
        }
        // What fills the last word of an odd number becomes an element, and is left out.
        let component = |words: Buffer| {
            let filled = Tensor::of(words, &[Ring::Z32.filled(n)]);
            if filled.len() == n { filled.reshape(x.shape()) } else { Ok(filled.part(0, x.shape())) }
        };
        Ok(Rep { a: component(a)?, b: component(b)? })
    }
}
