//! Division by 2^d: of additive shares, as local products give them, while they become replicated, and of a
//! replicated tensor. The result is ⌊x/2^d⌋ or one more, the latter with probability equal to the
//! fraction that is cut off, so that its mean is x/2^d and what has no fraction is exact, for all |x| < 2^62, or 2^30 in the ring of 32
//! bits.

use super::message::{MessageKind, Side};
use super::truncating::{Missing, Truncating};
use crate::device::{
    self, Binary, CloseTerms, Deal, Draw, Masks, OpenTop, Placed, Results, TermShare, Unary, View, ViewMut, kernels,
};
use crate::mpc::{Additive, CheckRange, Fidelity, MpcError, Party, Rep, cost};
use crate::ring::Ring;

impl Party {
    /// Refuses cuts that the offsets of the exact protocol leave no room for.
    fn check_bits(&self, ring: Ring, d: u32) -> Result<(), MpcError> {
        let most = ring.max_cut();
        if d <= most {
            return Ok(());
        }
        Err(MpcError::argument("truncation", format!("cannot cut {d} bits: at most {most} in the ring of {ring}")))
    }

    /// Replicated shares of z/2^d from additive shares of z: the road from local products, or a sum of them, to a share.
    ///
    /// With l the bits of the ring, holds while |z| < 2^(l − 2) in it: 2^(62 − 2f) as a real, or 2^(30 − 2f), for products of two
    /// fixed-point numbers. The result is at
    /// most one unit too large, in the mean right, and exact where nothing is cut off; a larger z comes out as another value. Summands on the way may be larger, and several
    /// products that are added, or laid end to end ([`Additive::concat`]), are cut together. With d = 0 as
    /// [`Party::reshare`].
    ///
    /// | round | from | to | message | hidden by |
    /// |---|---|---|---|---|
    /// | 1 | role 2 | role 1 | z₂ + zero-share, γ₁ = αβ − γ₀ mod 2^d | F₀ |
    /// | 1 | role 0 | role 1 | e = a ⊕ α, a = ¬msb(z₀ + 2^(l − 2) − 1) | α of F₀ |
    /// | 2 | role 1 | role 0 | f = b ⊕ β, b = ¬msb(z₁ + z₂); p₁ = its half − y₂ | β, y₂ of F₂ |
    /// | 3 | role 0 | role 1 | p₀ = its half − y₀ | y₀ of F₀ |
    ///
    /// y₁ = p₀ + p₁. 24 + (d + 2)/8 bytes an element, 12 + (d + 2)/8 in the ring of 32 bits; 3 rounds. The known-sign wrap is from
    /// SIRNN (S&P 2021) and Cheetah (USENIX Security 2022), the dealt product from ASTRA.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let (x, y) = (world.deal(&array![3 << 20, 5 << 20]), world.deal(&array![7 << 20, 11 << 20]));
    /// let [z, ..] = world.run(|p| {
    ///     let (x, y) = (&x[p.id().index()], &y[p.id().index()]);
    ///     // xy + x², one truncation.
    ///     let sum = x.local_mul(y)?.add(&x.local_mul(x)?)?;
    ///     let z = p.truncate_additive(sum, 20)?;
    ///     p.open(&z)
    /// });
    /// assert_eq!(z?.to_array()?, array![30 << 20, 80 << 20].into_dyn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`MpcError::Argument`] for more than 61 bits, 29 in the ring of 32 bits; the link's errors.
    pub fn truncate_additive(&mut self, z: Additive, d: u32) -> Result<Rep, MpcError> {
        let begun = self.begin_truncation(z, d)?;
        self.finish_truncation(begun)
    }

    /// [`Party::truncate_additive`] but for its last message, p₀, which is on its way then: a round less, and all bytes. With
    /// d = 0, with [`Fidelity::Paper`] and where settings ask for a check of ranges nothing is left to wait for.
    ///
    /// ```
    /// use cryptgpu_core::mpc::World;
    /// use ndarray::array;
    ///
    /// let world = World::seeded(1);
    /// let x = world.deal(&array![3 << 20, (5u64 << 20).wrapping_neg()]);
    /// let [y, ..] = world.run(|p| {
    ///     let x = &x[p.id().index()];
    ///     let cut = p.begin_truncation(x.to_additive().mul_word(2), 1)?.plus(x)?;
    ///     let y = p.relu_behind(cut)?;
    ///     p.open(&y)
    /// });
    /// assert_eq!(y?.to_array()?, array![6 << 20, 0].into_dyn());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Party::truncate_additive`].
    pub fn begin_truncation(&mut self, z: Additive, d: u32) -> Result<Truncating, MpcError> {
        self.check_bits(z.ring(), d)?;
        let settings = *self.settings();
        let y = if d == 0 {
            self.reshare(z)?
        } else if settings.fidelity == Fidelity::Paper {
            let product = self.reshare(z)?;
            self.truncate_paper(&product, d)?
        } else {
            let begun = self.begin_exact_truncation(z, d)?;
            if settings.check_range == CheckRange::Off {
                return Ok(begun);
            }
            self.finish_truncation(begun)?
        };
        self.watch_truncated(&y, d)?;
        Ok(y.into())
    }

    fn begin_exact_truncation(&mut self, z: Additive, d: u32) -> Result<Truncating, MpcError> {
        self.check_here("truncation", z.mine().device())?;
        let (ring, n, shape) = (z.ring(), z.len(), z.shape().to_vec());
        let mut z = z.into_mine().into_buffer();
        self.declare_cost(cost::begin_truncation(ring, n, d));
        let device = self.device();
        let nonce = self.prg.nonce_for(MessageKind::TRUNCATE_DEAL.on(ring, &[n, d as usize]));
        let zero_share = self.prg.zero(nonce);
        kernels::add_zero(ring, &zero_share, z.view_mut());
        let [zero, one, two] = self.parts::<5>(MessageKind::TRUNCATE_DEAL, ring, n, d);
        let [mut a, mut b] = [(); 2].map(|()| device.alloc(ring.words(n)));

        // All masks of all roles, and role 2's components, which are streams.
        let ([alpha, _, gamma0, y0, _], [_, beta, _, _, y2]) = (zero.nonces, one.nonces);
        let [alpha_two, beta_two, gamma_two, y0_two, y2_two] = two.nonces;
        let mut masks = [
            Draw::of(self.prg.with_next(alpha_two), two.words.len()),
            Draw::of(self.prg.with_prev(beta_two), two.words.len()),
            Draw::of(self.prg.with_next(gamma_two), two.elements.len()),
            Draw::of(self.prg.with_prev(alpha), zero.words.len()),
            Draw::of(self.prg.with_prev(gamma0), zero.elements.len()),
            Draw::of(self.prg.with_prev(y0), zero.elements.len()),
            Draw::of(self.prg.with_next(beta), one.words.len()),
            Draw::of(self.prg.with_next(y2), one.elements.len()),
        ];
        let mut own = [Placed::of(self.prg.with_prev(y2_two)), Placed::of(self.prg.with_next(y0_two))];
        let [places_a, places_b] = [&mut a, &mut b].map(|component| component.slice_mut(two.elements.clone()));
        let placed = own.iter_mut().zip([places_a, places_b]).collect();
        device::make(device, Masks { draws: masks.iter_mut().collect(), placed });
        let [alpha_two, beta_two, gamma_two, alpha, gamma0, y0, beta, y2] = masks;

        // Role 2 sends its share and deals the product αβ; role 0 opens e.
        let [alpha_two, beta_two, alpha] = [alpha_two, beta_two, alpha].map(|bits| bits.into_buffer(device));
        let own_zero = z.slice(zero.elements.clone());
        let mut dealt = device.alloc(two.elements.len() + d as usize * two.words.len());
        let mut e = device.alloc(zero.words.len());
        let (own_two, halves) = (z.slice(two.elements.clone()), [alpha_two.view(), beta_two.view()]);
        kernels::truncation_first(
            ring,
            d,
            Deal { z: own_two, halves, gamma: &gamma_two, message: dealt.view_mut() },
            OpenTop { z: own_zero, alpha: alpha.view(), message: e.view_mut() },
        );
        self.post(Side::Prev, MessageKind::TRUNCATE_DEAL, dealt)?;
        for (own, component) in own.into_iter().zip([&mut a, &mut b]) {
            own.put(component.slice_mut(two.elements.clone()));
        }
        self.post_copy(Side::Next, MessageKind::TRUNCATE_TOP, e.view())?;

        // Role 1: opens f and its half.
        let (count, words) = (one.elements.len(), one.words.len());
        let dealt = self.take(Side::Next, MessageKind::TRUNCATE_DEAL, count + d as usize * words)?;
        let e_one = self.take(Side::Prev, MessageKind::TRUNCATE_TOP, words)?;
        let beta = beta.into_buffer(device);
        let mut message = device.alloc(count + words);
        let [a_one, b_one] = [&mut a, &mut b].map(|component| component.slice_mut(one.elements.clone()));
        let results = Results { message: message.view_mut(), a: a_one, b: b_one };
        let shares = [z.slice(one.elements.clone()), dealt.view()];
        kernels::truncation_role1(ring, d, shares, [e_one.view(), beta.view()], &y2, results);
        self.post(Side::Prev, MessageKind::TRUNCATE_ROLE1, message)?;

        // Role 0: closes with its half.
        let (count, words) = (zero.elements.len(), zero.words.len());
        let received = self.take(Side::Next, MessageKind::TRUNCATE_ROLE1, count + words)?;
        let mut half0 = device.alloc(count);
        let [a_zero, b_zero] = [&mut a, &mut b].map(|component| component.slice_mut(zero.elements.clone()));
        let results = Results { message: half0.view_mut(), a: a_zero, b: b_zero };
        let bits = [e.view(), alpha.view()];
        kernels::truncation_role0(ring, d, [own_zero, received.view()], bits, [&gamma0, &y0], results);
        self.post(Side::Next, MessageKind::TRUNCATE_ROLE0, half0)?;

        // Role 1: y₁ is its half, until p₀ is there.
        let missing = Missing { elements: one.elements, tag: self.tag(MessageKind::TRUNCATE_ROLE0) };
        Ok(Truncating::new(self.rep(ring, a, b, &shape)?, missing))
    }

    /// x/2^d of a replicated x, |x| < 2^(l − 2) in the ring of l bits: 2^(62 − f) as a real, or 2^(62 − 2f) for a product that was
    /// not truncated yet, with 30 for 62 in the ring of 32 bits. At most one unit too large, in the mean right, and exact where nothing is cut off;
    /// a larger x comes out as another value.
    ///
    /// With u = x₀ + x₁ + 2^(l − 2) − 1 known to role 0 and v = x₂ to roles 1 and 2, a = ¬msb(u) is dealt
    /// additively modulo 2^d (a₁ of F₁, a₂ sent), and b = ¬msb(v) multiplies both parts locally.
    ///
    /// | round | from | to | message | hidden by |
    /// |---|---|---|---|---|
    /// | 1 | role 0 | role 2 | y₀, a₂ = a − a₁ mod 2^d | y₁ and a₁ of F₁ |
    /// | 1 | role 1 | role 2 | b·a₁ + μ mod 2^d | μ of F₁ |
    /// | 2 | role 2 | role 1 | b·a₂ + ν mod 2^d | ν of F₀ |
    ///
    /// y₂ = (v ≫ d) + 2^(l−d)(both terms). 8 + 3d/8 bytes an element, 4 + 3d/8 in the ring of 32 bits; 2 rounds.
    ///
    /// # Errors
    /// [`MpcError::Argument`] for more than 61 bits, 29 in the ring of 32 bits; the link's errors.
    pub fn truncate(&mut self, x: &Rep, d: u32) -> Result<Rep, MpcError> {
        self.check_bits(x.ring(), d)?;
        if d == 0 {
            return Ok(x.clone());
        }
        let y = self.truncated(x, d)?;
        self.watch_truncated(&y, d)?;
        Ok(y)
    }

    fn truncated(&mut self, x: &Rep, d: u32) -> Result<Rep, MpcError> {
        self.check_here("truncation", x.device())?;
        if self.settings().fidelity == Fidelity::Paper {
            return self.truncate_paper(x, d);
        }
        let (ring, n, device) = (x.ring(), x.len(), self.device());
        self.declare_cost(cost::truncate_shared(ring, n, d));
        let [zero, one, two] = self.parts::<4>(MessageKind::TRUNCATE_SHARED, ring, n, d);
        let planes = d as usize;
        let [mut a, mut b] = [(); 2].map(|()| device.alloc(ring.words(n)));
        let (xa, xb) = (x.a.view(), x.b.view());

        let ([a1, mu, nu, y1], [a1_one, mu_one, _, y1_one], [_, _, nu_two, _]) = (zero.nonces, one.nonces, two.nonces);
        let mut masks = [
            Draw::of(self.prg.with_next(a1), zero.elements.len()),
            Draw::of(self.prg.with_next(mu), zero.elements.len()),
            Draw::of(self.prg.with_prev(nu), zero.elements.len()),
            Draw::of(self.prg.with_next(y1), zero.elements.len()),
            Draw::of(self.prg.with_prev(a1_one), one.elements.len()),
            Draw::of(self.prg.with_prev(mu_one), one.elements.len()),
            Draw::of(self.prg.with_prev(y1_one), one.elements.len()),
            Draw::of(self.prg.with_next(nu_two), two.elements.len()),
        ];
        device::make(device, Masks::draws(&mut masks));
        let [a1, mu, nu, y1, share, mu_one, y1_one, nu_two] = &masks;

        // Role 0: y₀ and its dealt bit.
        let mut message = device.alloc(zero.elements.len() + planes * zero.words.len());
        let parts = [xa, xb].map(|x| x.slice(zero.elements.clone()));
        let [a_zero, b_zero] = [&mut a, &mut b].map(|component| component.slice_mut(zero.elements.clone()));
        let results = Results { message: message.view_mut(), a: a_zero, b: b_zero };
        kernels::truncation_shared_role0(ring, d, parts, [a1, mu, nu, y1], results);
        self.post(Side::Prev, MessageKind::TRUNCATE_SHARED, message)?;

        // Role 1: its term.
        let v_one = xb.slice(one.elements.clone());
        let mut own_one = device.alloc(planes * one.words.len());
        let (drawn, kept) = (TermShare::Drawn { share, y1: y1_one }, a.slice_mut(one.elements.clone()));
        kernels::truncation_shared_term(ring, d, v_one, drawn, mu_one, own_one.view_mut(), kept);
        self.post_copy(Side::Next, MessageKind::TRUNCATE_TERM1, own_one.view())?;

        // Role 2: its term.
        let (count, words) = (two.elements.len(), two.words.len());
        let v_two = xa.slice(two.elements.clone());
        let received = self.take(Side::Next, MessageKind::TRUNCATE_SHARED, count + planes * words)?;
        let mut own_two = device.alloc(planes * words);
        let (share, kept) = (TermShare::Received(received.view()), b.slice_mut(two.elements.clone()));
        kernels::truncation_shared_term(ring, d, v_two, share, nu_two, own_two.view_mut(), kept);
        self.post_copy(Side::Prev, MessageKind::TRUNCATE_TERM2, own_two.view())?;

        // Both: y₂.
        let term_one = self.take(Side::Prev, MessageKind::TRUNCATE_TERM1, planes * words)?;
        let term_two = self.take(Side::Next, MessageKind::TRUNCATE_TERM2, planes * one.words.len())?;
        let (terms_one, terms_two) = ([own_one.view(), term_two.view()], [own_two.view(), term_one.view()]);
        let closings = vec![
            CloseTerms { v: v_two, terms: terms_two, y2: a.slice_mut(two.elements) },
            CloseTerms { v: v_one, terms: terms_one, y2: b.slice_mut(one.elements) },
        ];
        kernels::truncation_shared_close(ring, d, closings);
        self.rep(ring, a, b, x.shape())
    }

    /// ABY3's truncation (CCS 2018, §5.1.1), which CryptGPU's code uses: role 0 shifts x₀ + x₁,
    /// roles 1 and 2 shift x₂, both arithmetically. Wrong by 2^(64−d) whenever the two summands
    /// wrap: with probability about |x|/2^64 (with 32 for 64 in that ring). Role 0 sends y₀ = (x₀ + x₁)/2^d − y₁ to role 2, y₁ of
    /// F₁. 8 bytes an element, 4 in the ring of 32 bits; 1 round.
    fn truncate_paper(&mut self, x: &Rep, d: u32) -> Result<Rep, MpcError> {
        let (ring, n, device) = (x.ring(), x.len(), self.device());
        self.declare_cost(cost::truncate_shared_paper(ring, n));
        let [zero, one, two] = self.parts::<1>(MessageKind::TRUNCATE_PAPER, ring, n, d);
        let [mut a, mut b] = [(); 2].map(|()| device.alloc(ring.words(n)));
        let shift = |x: View, out: ViewMut| kernels::unary(ring, Unary::Sar(d), x, out);

        let [y1] = zero.nonces;
        kernels::fill(&self.prg.with_next(y1), b.slice_mut(zero.elements.clone()));
        let (mut both, mut shifted) = (device.alloc(zero.elements.len()), device.alloc(zero.elements.len()));
        let [xa, xb] = [&x.a, &x.b].map(|x| x.view().slice(zero.elements.clone()));
        kernels::binary(ring, Binary::Add, xa, xb, both.view_mut());
        shift(both.view(), shifted.view_mut());
        let y0 = a.slice_mut(zero.elements.clone());
        kernels::binary(ring, Binary::Sub, shifted.view(), b.slice(zero.elements.clone()), y0);
        self.post_copy(Side::Prev, MessageKind::TRUNCATE_PAPER, a.slice(zero.elements))?;

        let [y1] = one.nonces;
        kernels::fill(&self.prg.with_prev(y1), a.slice_mut(one.elements.clone()));
        shift(x.b.view().slice(one.elements.clone()), b.slice_mut(one.elements));

        shift(x.a.view().slice(two.elements.clone()), a.slice_mut(two.elements.clone()));
        let y0 = self.take(Side::Next, MessageKind::TRUNCATE_PAPER, two.elements.len())?;
        b.slice_mut(two.elements).copy_from(y0.view());
        self.rep(ring, a, b, x.shape())
    }
}
