//! A secret bit times a secret tensor, and a secret bit as a ring element. The bit is
//! s = u ⊕ v with u = s₀ ⊕ s₁ known to role 0 and v = s₂ to roles 1 and 2.

use super::message::{MessageKind, Part, Side};
use super::msb::Split;
use super::truncating::Truncating;
use crate::device::{self, BitTerm, Buffer, Combined, Draw, Masks, Summed, View, kernels};
use crate::mpc::{MpcError, Party, Rep, RepBits, cost};
use crate::ring::Ring;
use std::ops::Range;

/// What a bit product needs: role 0's masks, and the parts of the other roles, which draw theirs behind round 1.
struct ProductMasks {
    u1: Draw,
    /// α, β, f, μ and ν.
    pads: [Draw; 5],
    parts: ProductParts,
}

/// The parts of a bit product.
struct ProductParts {
    ring: Ring,
    /// Role 0's words of packed bits.
    words: Range<usize>,
    one: Part<6>,
    two: Part<6>,
}

impl ProductMasks {
    /// Role 0's.
    fn draws(&mut self) -> impl Iterator<Item = &mut Draw> {
        std::iter::once(&mut self.u1).chain(&mut self.pads)
    }
}

/// A bit product of which round 1 has been sent.
struct ProductBegun {
    /// A result's components in role 0's part, there before the others'. The whole result is given memory only at the end: a
    /// comparison in between takes most of what there is.
    zero: [Buffer; 2],
    one: Part<6>,
    two: Part<6>,
}

/// A bit product of which round 1 has been received.
struct ProductReceived {
    begun: ProductBegun,
    /// p₀ − f, at role 1.
    pad: Buffer,
    /// At role 2.
    u2: Buffer,
}

/// What a conversion needs, in all roles.
struct ConversionMasks {
    ring: Ring,
    /// Role 0's words of packed bits.
    words: Range<usize>,
    u1: Draw,
    /// Role 0's components, y₀ and y₁.
    components: [Draw; 2],
    /// Role 1's share of u and its mask y₁, and role 2's mask y₀.
    later: [Draw; 3],
    later_words: [Range<usize>; 2],
}

impl ConversionMasks {
    /// All masks.
    fn draws(&mut self) -> impl Iterator<Item = &mut Draw> {
        let ConversionMasks { u1, components, later, .. } = self;
        std::iter::once(u1).chain(components).chain(later)
    }
}

/// A conversion of which round 1 has been sent.
struct ConversionBegun {
    /// A result's components in role 0's part, as above.
    zero: [Buffer; 2],
    later: [Draw; 3],
    later_words: [Range<usize>; 2],
}

impl Party {
    fn check_bits_fit(&self, operation: &'static str, bits: &RepBits, x: &Rep) -> Result<(), MpcError> {
        if bits.shape() == x.shape() && bits.ring() == x.ring() {
            return Ok(());
        }
        let detail = match bits.ring() == x.ring() {
            true => format!("shapes differ, bits {:?}, tensor {:?}", bits.shape(), x.shape()),
            false => {
                format!("bits of a tensor of {}, and a tensor of {}: both must be of one ring", bits.ring(), x.ring())
            }
        };
        Err(MpcError::argument(operation, detail))
    }

    /// s·x for a secret bit s and a secret x, element by element.
    ///
    /// s·x = v·x + u(1 − 2v)x, where role 1 holds a = (1 − 2v)(x₁ + x₂), role 2 b = (1 − 2v)x₀, and
    /// u = u₁ ⊕ u₂ with u₁ of F₁. Then u·a = u₁a + u₂(d + α) and u·b = u₂b + u₁(e + β).
    ///
    /// | round | from | to | message | hidden by |
    /// |---|---|---|---|---|
    /// | 1 | role 0 | role 2 | u₂ (1 bit) | u₁ of F₁ |
    /// | 1 | role 0 | role 1 | p₀ − f, p₀ = u₂α + u₁β | f of F₀ |
    /// | 2 | role 1 | role 2 | d = (1 − 2u₁)a − α | α of F₁ |
    /// | 2 | role 2 | role 1 | e = (1 − 2u₂)b − β | β of F₀ |
    /// | 3 | role 1 | role 2 | p₁ − μ, p₁ = v(x₁ + x₂) + u₁(a + e) | μ of F₁ |
    /// | 3 | role 2 | role 1 | p₂ − ν, p₂ = v·x₀ + u₂(b + d) | ν of F₀ |
    ///
    /// y₀ = f + ν, y₁ = p₀ − f + μ, y₂ = (p₁ − μ) + (p₂ − ν). Role 0 receives nothing.
    /// 40 1/8 bytes an element, 20 1/8 in the ring of 32 bits; 3 rounds. Where the bit comes from a comparison, as in [`Party::relu`], role 0 knows u
    /// before the comparison begins, and the first round is that of the comparison: 2 more.
    ///
    /// # Errors
    /// [`MpcError::Argument`] when the shapes or rings differ; the link's errors.
    pub fn bit_product(&mut self, bits: &RepBits, x: &Rep) -> Result<Rep, MpcError> {
        self.bit_product_of(bits, x.clone())
    }

    /// [`Party::bit_product`] of an x whose memory the result may have, if nobody else has it.
    pub(crate) fn bit_product_of(&mut self, bits: &RepBits, x: Rep) -> Result<Rep, MpcError> {
        self.check_bits_fit("bit product", bits, &x)?;
        self.check_here("bit product", bits.device())?;
        self.declare_cost(cost::bit_product(x.ring(), x.len()));
        let mut masks = self.bit_product_masks(&x)?;
        device::make(self.device(), Masks::draws(masks.draws()));
        let ProductMasks { u1, pads, parts } = masks;
        let (u1, mut u2) = (u1.into_buffer(self.device()), self.device().alloc(parts.words.len()));
        let [own_a, own_b] = [&bits.a, &bits.b].map(|bits| bits.slice(parts.words.clone()));
        kernels::combine(Ring::Z64, vec![Combined::xor([u1.view(), own_a, own_b], false, u2.view_mut())]);
        let begun = self.begin_bit_product([u1, u2], pads, parts)?;
        let received = self.receive_bit_product(begun)?;
        self.finish_bit_product(bits, x, received)
    }

    /// The bit s of x = y + c ≥ 0 for a public c, and s·y: [`Party::sign`] and [`Party::bit_product`], of which role 0's
    /// messages travel with the first of the sign. Where y is still truncated, its last message does, too: all that
    /// this round sends is computed without role 1's component 1 of y, and it is taken before any other of this round. Only
    /// role 0 adds c, to x₀ + x₁: of y roles 1 and 2 read component 2 alone.
    pub(in crate::mpc) fn at_least_zero_times(&mut self, y: Truncating, c: u64) -> Result<(Rep, RepBits), MpcError> {
        let (window, device) = (self.window_in(y.so_far().ring()), self.device());
        let x = y.so_far();
        let mut sign = self.sign_masks(x, window)?;
        self.declare_cost(cost::bit_product_after_sign(x.ring(), x.len()));
        let mut product = self.bit_product_masks(x)?;
        device::make(device, Masks::draws(sign.draws().chain(product.draws())));
        let ProductMasks { u1, pads, parts } = product;
        let (u1, mut u2) = (u1.into_buffer(device), device.alloc(parts.words.len()));
        let split = Split { mask: Some(u1.view()), out: u2.view_mut() };
        let sign = self.begin_sign(x, c, window, true, sign, Some(split))?;
        let product = self.begin_bit_product([u1, u2], pads, parts)?;
        let y = self.take_missing(y)?;
        let sign = self.receive_sign(&y, sign)?;
        let product = self.receive_bit_product(product)?;
        let bits = self.finish_sign(sign)?;
        let watched = self.watches_signs(y.ring(), window).then(|| y.clone());
        let product = self.finish_bit_product(&bits, y, product)?;
        if let Some(y) = watched {
            let x = if c == 0 { y } else { y.add_word(self.id(), c) };
            self.watch_sign(&x, window, &bits, true)?;
        }
        Ok((product, bits))
    }

    /// The masks of a bit product.
    fn bit_product_masks(&mut self, x: &Rep) -> Result<ProductMasks, MpcError> {
        self.check_here("bit product", x.device())?;
        let [zero, one, two] = self.parts(MessageKind::BITS_OPEN, x.ring(), x.len(), 0);
        let [u1, alpha, beta, f, mu, nu] = zero.nonces;
        let elements = zero.elements.len();
        let pads = [
            Draw::of(self.prg.with_next(alpha), elements),
            Draw::of(self.prg.with_prev(beta), elements),
            Draw::of(self.prg.with_prev(f), elements),
            Draw::of(self.prg.with_next(mu), elements),
            Draw::of(self.prg.with_prev(nu), elements),
        ];
        let u1 = Draw::of(self.prg.with_next(u1), zero.words.len());
        Ok(ProductMasks { u1, pads, parts: ProductParts { ring: x.ring(), words: zero.words, one, two } })
    }

    /// Round 1 of a bit product, what is sent: role 0 has split u, sends its part and its pad, and has both its components
    /// at once.
    fn begin_bit_product(
        &self,
        [u1, u2]: [Buffer; 2],
        pads: [Draw; 5],
        ProductParts { ring, one, two, .. }: ProductParts,
    ) -> Result<ProductBegun, MpcError> {
        let device = self.device();
        self.post_copy(Side::Prev, MessageKind::BITS_OPEN, u2.view())?;
        let [mut message, mut y0, mut y1] = [(); 3].map(|()| device.alloc(pads[0].len()));
        let (u, pads) = ([u1.view(), u2.view()], pads.each_ref());
        kernels::bit_product_role0(ring, u, pads, message.view_mut(), y0.view_mut(), y1.view_mut());
        self.post(Side::Next, MessageKind::BITS_PAD, message)?;
        Ok(ProductBegun { zero: [y0, y1], one, two })
    }

    /// Round 1 of a bit product, what is received.
    fn receive_bit_product(&self, begun: ProductBegun) -> Result<ProductReceived, MpcError> {
        let pad = self.take(Side::Prev, MessageKind::BITS_PAD, begun.one.elements.len())?;
        let u2 = self.take(Side::Next, MessageKind::BITS_OPEN, begun.two.words.len())?;
        Ok(ProductReceived { begun, pad, u2 })
    }

    /// Rounds 2 and 3 of a bit product. x is dropped before there is memory for the result.
    fn finish_bit_product(&self, bits: &RepBits, x: Rep, received: ProductReceived) -> Result<Rep, MpcError> {
        let ProductReceived { begun: ProductBegun { zero, one, two }, pad, u2 } = received;
        let (ring, device) = (x.ring(), self.device());
        let ([u1, alpha, _, _, mu, _], [_, _, beta, f, _, nu]) = (one.nonces, two.nonces);
        let mut masks = [
            Draw::of(self.prg.with_prev(u1), one.words.len()),
            Draw::of(self.prg.with_prev(alpha), one.elements.len()),
            Draw::of(self.prg.with_prev(mu), one.elements.len()),
            Draw::of(self.prg.with_next(beta), two.elements.len()),
            Draw::of(self.prg.with_next(f), two.elements.len()),
            Draw::of(self.prg.with_next(nu), two.elements.len()),
        ];
        device::make(device, Masks::draws(&mut masks));
        let [u1, alpha, mu, beta, f, nu] = masks;
        let u1 = u1.into_buffer(device);

        // Both roles open what they multiply, role 1 d and role 2 e.
        let one_bits = [u1.view(), bits.b.slice(one.words)];
        let two_bits = [u2.view(), bits.a.slice(two.words)];
        let (xa, xb) = (x.a.view(), x.b.view());
        let one_x = Summed(xa.slice(one.elements.clone()), Some(xb.slice(one.elements.clone())));
        let two_x = Summed(xb.slice(two.elements.clone()), None);
        let terms = |opened: [Option<View>; 2], masks: [&Draw; 2], messages: &mut [Buffer; 2]| {
            let [message_one, message_two] = messages.each_mut().map(Buffer::view_mut);
            kernels::bit_product_terms(
                ring,
                vec![
                    BitTerm { bits: one_bits, x: one_x, opened: opened[0], mask: masks[0], message: message_one },
                    BitTerm { bits: two_bits, x: two_x, opened: opened[1], mask: masks[1], message: message_two },
                ],
            );
        };
        let alloc = || [&one.elements, &two.elements].map(|part| device.alloc(part.len()));
        let mut opened = alloc();
        terms([None; 2], [&alpha, &beta], &mut opened);
        let [d, e] = opened;
        self.post(Side::Next, MessageKind::BITS_ROLE1, d)?;
        self.post(Side::Prev, MessageKind::BITS_ROLE2, e)?;

        // And close with their terms.
        let d = self.take(Side::Prev, MessageKind::BITS_ROLE1, two.elements.len())?;
        let e = self.take(Side::Next, MessageKind::BITS_ROLE2, one.elements.len())?;
        let mut own = alloc();
        terms([Some(e.view()), Some(d.view())], [&mu, &nu], &mut own);
        let shape = x.shape().to_vec();
        drop((d, e, alpha, beta, x));
        let [own_one, own_two] = own;
        self.post_copy(Side::Prev, MessageKind::BITS_CLOSE2, own_two.view())?;
        self.post_copy(Side::Next, MessageKind::BITS_CLOSE1, own_one.view())?;
        let other_one = self.take(Side::Prev, MessageKind::BITS_CLOSE1, two.elements.len())?;
        let other_two = self.take(Side::Next, MessageKind::BITS_CLOSE2, one.elements.len())?;

        let [mut a, mut b] = [(); 2].map(|()| device.alloc(ring.words(shape.iter().product())));
        let [mu, f] = [mu, f].map(|draw| draw.into_buffer(device));
        let ([a_zero, a_one, a_two], [b_zero, b_one, b_two]) = (self.places(ring, &mut a), self.places(ring, &mut b));
        kernels::combine(
            ring,
            vec![
                Combined::sum([zero[0].view()], a_zero),
                Combined::sum([zero[1].view()], b_zero),
                Combined::sum([pad.view(), mu.view()], a_one),
                Combined::sum([other_two.view(), own_one.view()], b_one),
                Combined::sum([other_one.view(), own_two.view()], a_two),
                Combined::sum([f.view(), nu.into_buffer(device).view()], b_two),
            ],
        );
        self.rep(ring, a, b, &shape)
    }

    /// Bits as ring elements 0 and 1 (an integer: multiply by 2^f for a fixed-point one).
    ///
    /// s = v + (1 − 2v)u, u = u₁ + u₂ with u₁ of F₁; roles 1 and 2 multiply their shares of u by
    /// what both know.
    ///
    /// | round | from | to | message | hidden by |
    /// |---|---|---|---|---|
    /// | 1 | role 0 | role 2 | u₂ = u − u₁ | u₁ of F₁ |
    /// | 2 | role 1 | role 2 | (1 − 2v)u₁ − y₁ | y₁ of F₁ |
    /// | 2 | role 2 | role 1 | v + (1 − 2v)u₂ − y₀ | y₀ of F₀ |
    ///
    /// y₂ is the sum of the last two. 24 bytes an element, 12 in the ring of 32 bits; 2 rounds. Behind a comparison, as in [`Party::sign_to_ring`],
    /// the first travels with the first of the comparison.
    ///
    /// # Errors
    /// The link's errors.
    pub fn bits_to_ring(&mut self, bits: &RepBits) -> Result<Rep, MpcError> {
        self.check_here("bits to ring", bits.device())?;
        self.declare_cost(cost::bits_to_ring(bits.ring(), bits.len()));
        let mut masks = self.conversion_masks(bits.ring(), bits.len());
        device::make(self.device(), Masks::draws(masks.draws()));
        let mut u = self.device().alloc(masks.words.len());
        let own = [&bits.a, &bits.b].map(|bits| bits.slice(masks.words.clone()));
        kernels::combine(Ring::Z64, vec![Combined::xor(own, false, u.view_mut())]);
        let begun = self.begin_conversion(u, masks)?;
        let received = self.receive_conversion(begun)?;
        self.finish_conversion(bits, received)
    }

    /// 1 where x < 0 and 0 elsewhere, or with `negate` the other way round, as ring elements: [`Party::sign`] and
    /// [`Party::bits_to_ring`]. 70.6 bytes an element, 7 rounds; 34 and 6 in the ring of 32 bits.
    ///
    /// # Errors
    /// The link's errors.
    pub fn sign_to_ring(&mut self, x: &Rep, negate: bool) -> Result<Rep, MpcError> {
        let (window, device) = (self.window_in(x.ring()), self.device());
        let mut sign = self.sign_masks(x, window)?;
        self.declare_cost(cost::bits_to_ring_after_sign(x.ring(), x.len()));
        let mut conversion = self.conversion_masks(x.ring(), x.len());
        device::make(device, Masks::draws(sign.draws().chain(conversion.draws())));
        let mut u = device.alloc(conversion.words.len());
        let split = Split { mask: None, out: u.view_mut() };
        let sign = self.begin_sign(x, 0, window, negate, sign, Some(split))?;
        let conversion = self.begin_conversion(u, conversion)?;
        let sign = self.receive_sign(x, sign)?;
        let conversion = self.receive_conversion(conversion)?;
        let bits = self.finish_sign(sign)?;
        let result = self.finish_conversion(&bits, conversion)?;
        self.watch_sign(x, window, &bits, negate)?;
        Ok(result)
    }

    /// The masks of a conversion.
    fn conversion_masks(&mut self, ring: Ring, elements: usize) -> ConversionMasks {
        let [zero, one, two]: [Part<3>; 3] = self.parts(MessageKind::CONVERT_BIT, ring, elements, 0);
        let ([u1, y1, y0], [u1_one, y1_one, _], [_, _, y0_two]) = (zero.nonces, one.nonces, two.nonces);
        let count = zero.elements.len();
        ConversionMasks {
            ring,
            words: zero.words,
            u1: Draw::of(self.prg.with_next(u1), count),
            components: [Draw::of(self.prg.with_prev(y0), count), Draw::of(self.prg.with_next(y1), count)],
            later: [
                Draw::of(self.prg.with_prev(u1_one), one.elements.len()),
                Draw::of(self.prg.with_prev(y1_one), one.elements.len()),
                Draw::of(self.prg.with_next(y0_two), two.elements.len()),
            ],
            later_words: [one.words, two.words],
        }
    }

    /// Round 1 of a conversion, what is sent, by role 0, which has both its components then.
    fn begin_conversion(&self, u: Buffer, masks: ConversionMasks) -> Result<ConversionBegun, MpcError> {
        let device = self.device();
        let ConversionMasks { ring, u1, components, later, later_words, .. } = masks;
        let mut message = device.alloc(u1.len());
        kernels::convert_role0(ring, u.view(), &u1, message.view_mut());
        self.post(Side::Prev, MessageKind::CONVERT_BIT, message)?;
        let zero = components.map(|component| component.into_buffer(device));
        Ok(ConversionBegun { zero, later, later_words })
    }

    /// Round 1 of a conversion, what is received.
    fn receive_conversion(&self, begun: ConversionBegun) -> Result<(ConversionBegun, Buffer), MpcError> {
        let [.., y0] = &begun.later;
        let share = self.take(Side::Next, MessageKind::CONVERT_BIT, y0.len())?;
        Ok((begun, share))
    }

    /// Round 2 of a conversion.
    fn finish_conversion(
        &self,
        bits: &RepBits,
        (begun, share_two): (ConversionBegun, Buffer),
    ) -> Result<Rep, MpcError> {
        let ConversionBegun { zero, later: [share_one, y1, y0], later_words: [one, two] } = begun;
        let (ring, device) = (bits.ring(), self.device());
        let share_one = share_one.into_buffer(device);
        let mut own_one = device.alloc(share_one.len());
        kernels::convert_term(ring, bits.b.slice(one), share_one.view(), &y1, false, own_one.view_mut());
        self.post_copy(Side::Next, MessageKind::CONVERT_TERM1, own_one.view())?;
        let mut own_two = device.alloc(share_two.len());
        kernels::convert_term(ring, bits.a.slice(two), share_two.view(), &y0, true, own_two.view_mut());
        self.post_copy(Side::Prev, MessageKind::CONVERT_TERM2, own_two.view())?;
        let other_one = self.take(Side::Prev, MessageKind::CONVERT_TERM1, own_two.len())?;
        let other_two = self.take(Side::Next, MessageKind::CONVERT_TERM2, own_one.len())?;

        let [mut a, mut b] = [(); 2].map(|()| device.alloc(ring.words(bits.len())));
        let [y1, y0] = [y1, y0].map(|draw| draw.into_buffer(device));
        let ([a_zero, a_one, a_two], [b_zero, b_one, b_two]) = (self.places(ring, &mut a), self.places(ring, &mut b));
        kernels::combine(
            ring,
            vec![
                Combined::sum([zero[0].view()], a_zero),
                Combined::sum([zero[1].view()], b_zero),
                Combined::sum([y1.view()], a_one),
                Combined::sum([other_two.view(), own_one.view()], b_one),
                Combined::sum([other_one.view(), own_two.view()], a_two),
                Combined::sum([y0.view()], b_two),
            ],
        );
        self.rep(ring, a, b, bits.shape())
    }
}
