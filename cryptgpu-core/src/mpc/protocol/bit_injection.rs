//! A secret bit times a secret tensor, and a secret bit as a ring element. The bit is
//! s = u ⊕ v with u = s₀ ⊕ s₁ known to role 0 and v = s₂ to roles 1 and 2.

use super::draws::Draw;
use super::message::{MessageKind, Part, Side};
use super::truncating::Truncating;
use crate::device::{Binary, Buffer, View, XorOf, kernels};
use crate::mpc::{MpcError, Party, Rep, RepBits, cost};
use crate::prg::Stream;
use std::ops::Range;

/// A result's components in role 0's part, there before the others'. The whole result is given memory only at the end: a
/// comparison in between takes most of what there is.
struct RoleZero {
    components: [Buffer; 2],
    elements: Range<usize>,
}

/// A bit product of which round 1 has been sent.
struct ProductBegun {
    zero: RoleZero,
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

/// A conversion of which round 1 has been sent.
struct ConversionBegun {
    zero: RoleZero,
    one: Part<3>,
    two: Part<3>,
}

impl RoleZero {
    /// Memory for the components of a result of so many elements, with role 0's part in it.
    fn into_result(self, party: &Party, elements: usize) -> [Buffer; 2] {
        self.components.map(|component| {
            let mut whole = party.device().alloc(elements);
            whole.slice_mut(self.elements.clone()).copy_from(component.view());
            whole
        })
    }
}

impl Party {
    fn check_bits_fit(&self, operation: &'static str, bits: &RepBits, x: &Rep) -> Result<(), MpcError> {
        if bits.shape() == x.shape() {
            return Ok(());
        }
        let detail = format!("shapes differ, bits {:?}, tensor {:?}", bits.shape(), x.shape());
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
    /// 40 1/8 bytes an element, 3 rounds. Where the bit comes from a comparison, as in [`Party::relu`], role 0 knows u
    /// before the comparison begins, and the first round is that of the comparison: 2 more.
    ///
    /// # Errors
    /// [`MpcError::Argument`] when the shapes differ; the link's errors.
    pub fn bit_product(&mut self, bits: &RepBits, x: &Rep) -> Result<Rep, MpcError> {
        self.check_bits_fit("bit product", bits, x)?;
        self.check_here("bit product", bits.device())?;
        self.declare_cost(cost::bit_product(x.len()));
        let nonces = self.bit_product_nonces(x)?;
        let begun = self.begin_bit_product(bits, nonces)?;
        let received = self.receive_bit_product(begun)?;
        self.finish_bit_product(bits, x, received)
    }

    /// The bit s of x = y + c ≥ 0 for a public c, and s·y: [`Party::sign`] and [`Party::bit_product`], of which role 0's
    /// messages travel with the first of the sign. Where y is still truncated, its last message does, too: all that
    /// this round sends is computed without role 1's component 1 of y, and it is taken before any other of this round.
    pub(in crate::mpc) fn at_least_zero_times(&mut self, y: Truncating, c: u64) -> Result<(Rep, RepBits), MpcError> {
        let (window, id) = (self.window(), self.id());
        let shifted = (c != 0).then(|| y.so_far().add_word(id, c));
        let x = shifted.as_ref().unwrap_or(y.so_far());
        let nonces = self.sign_nonces(x, window)?;
        self.declare_cost(cost::bit_product_after_sign(x.len()));
        let product = self.bit_product_nonces(x)?;
        let sign = self.begin_sign(x, window, nonces)?;
        let product = self.begin_bit_product(&sign.bits().not(id), product)?;
        let y = self.take_missing(y)?;
        // Of x roles 1 and 2 read component 2 alone from here on, which was complete before.
        let x = shifted.as_ref().unwrap_or(&y);
        let sign = self.receive_sign(x, sign)?;
        let product = self.receive_bit_product(product)?;
        let sign = self.finish_sign(sign)?;
        let bits = sign.not(id);
        let product = self.finish_bit_product(&bits, &y, product)?;
        self.watch_sign(x, window, &sign)?;
        Ok((product, bits))
    }

    /// The nonces of a bit product.
    fn bit_product_nonces(&mut self, x: &Rep) -> Result<[Part<6>; 3], MpcError> {
        self.check_here("bit product", x.device())?;
        Ok(self.parts(MessageKind::BITS_OPEN, x.len(), 0))
    }

    /// Round 1 of a bit product, what is sent: role 0 splits u, sends its pad, and has both its components at once. The
    /// bits need be right only in the part in which this party has role 0.
    fn begin_bit_product(&self, bits: &RepBits, nonces: [Part<6>; 3]) -> Result<ProductBegun, MpcError> {
        let [part, one, two] = nonces;
        let device = self.device();
        let [u1, alpha, beta, f, mu, nu] = part.nonces;
        let u1 = self.packed(&self.prg.with_next(u1), part.words.len());
        let [own_a, own_b] = [&bits.a, &bits.b].map(|bits| bits.slice(part.words.clone()));
        let u2 = self.xor3(u1.view(), own_a, own_b);
        self.post_copy(Side::Prev, MessageKind::BITS_OPEN, u2.view())?;
        let streams = [
            &self.prg.with_next(alpha),
            &self.prg.with_prev(beta),
            &self.prg.with_prev(f),
            &self.prg.with_next(mu),
            &self.prg.with_prev(nu),
        ];
        let [mut message, mut y0, mut y1] = [(); 3].map(|()| device.alloc(part.elements.len()));
        kernels::bit_product_role0([u1.view(), u2.view()], streams, message.view_mut(), y0.view_mut(), y1.view_mut());
        self.post(Side::Next, MessageKind::BITS_PAD, message)?;
        Ok(ProductBegun { zero: RoleZero { components: [y0, y1], elements: part.elements }, one, two })
    }

    /// Round 1 of a bit product, what is received.
    fn receive_bit_product(&self, begun: ProductBegun) -> Result<ProductReceived, MpcError> {
        let pad = self.take(Side::Prev, MessageKind::BITS_PAD, begun.one.elements.len())?;
        let u2 = self.take(Side::Next, MessageKind::BITS_OPEN, begun.two.words.len())?;
        Ok(ProductReceived { begun, pad, u2 })
    }

    /// Rounds 2 and 3 of a bit product.
    fn finish_bit_product(&self, bits: &RepBits, x: &Rep, received: ProductReceived) -> Result<Rep, MpcError> {
        let ProductReceived { begun: ProductBegun { zero, one, two }, pad, u2 } = received;
        let device = self.device();
        let (xa, xb) = (x.a.view(), x.b.view());

        // Both roles open what they multiply, role 1 d and role 2 e.
        let ([u1, alpha, _, _, mu, _], [_, _, beta, f, _, nu]) = (one.nonces, two.nonces);
        let (mu, nu) = (self.prg.with_prev(mu), self.prg.with_next(nu));
        let [u1, f] =
            self.draws([(self.prg.with_prev(u1), one.words.len()), (self.prg.with_next(f), two.elements.len())]);
        let u1 = u1.take();
        let one_bits = [u1.view(), bits.b.slice(one.words.clone())];
        let one_x = [xa, xb].map(|x| x.slice(one.elements.clone()));
        let mut d = device.alloc(one.elements.len());
        kernels::bit_product_open(one_bits, one_x, &self.prg.with_prev(alpha), d.view_mut());
        self.post(Side::Next, MessageKind::BITS_ROLE1, d)?;

        let two_bits = [u2.view(), bits.a.slice(two.words.clone())];
        let nothing = device.zeros(two.elements.len());
        let two_x = [xb.slice(two.elements.clone()), nothing.view()];
        let mut e = device.alloc(two.elements.len());
        kernels::bit_product_open(two_bits, two_x, &self.prg.with_next(beta), e.view_mut());
        self.post(Side::Prev, MessageKind::BITS_ROLE2, e)?;

        // And close with their terms.
        let d = self.take(Side::Prev, MessageKind::BITS_ROLE1, two.elements.len())?;
        let mut term_two = device.alloc(two.elements.len());
        kernels::bit_product_close(two_bits, two_x, d.view(), &nu, term_two.view_mut());
        self.post_copy(Side::Prev, MessageKind::BITS_CLOSE2, term_two.view())?;
        let e = self.take(Side::Next, MessageKind::BITS_ROLE2, one.elements.len())?;
        let mut term_one = device.alloc(one.elements.len());
        kernels::bit_product_close(one_bits, one_x, e.view(), &mu, term_one.view_mut());
        self.post_copy(Side::Next, MessageKind::BITS_CLOSE1, term_one.view())?;

        drop((d, e, nothing));
        let [mut a, mut b] = zero.into_result(self, x.len());
        let [mut masks_one, mut masks_two] = [&one.elements, &two.elements].map(|part| device.alloc(part.len()));
        kernels::fills(vec![(&mu, masks_one.view_mut()), (&nu, masks_two.view_mut())]);
        kernels::binary(Binary::Add, pad.view(), masks_one.view(), a.slice_mut(one.elements.clone()));
        kernels::binary(Binary::Add, f.take().view(), masks_two.view(), b.slice_mut(two.elements.clone()));
        let other = self.take(Side::Prev, MessageKind::BITS_CLOSE1, two.elements.len())?;
        kernels::binary(Binary::Add, other.view(), term_two.view(), a.slice_mut(two.elements));
        let other = self.take(Side::Next, MessageKind::BITS_CLOSE2, one.elements.len())?;
        kernels::binary(Binary::Add, other.view(), term_one.view(), b.slice_mut(one.elements));
        self.rep(a, b, x.shape())
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
    /// y₂ is the sum of the last two. 24 bytes an element, 2 rounds; behind a comparison, as in [`Party::sign_to_ring`],
    /// the first travels with the first of the comparison.
    ///
    /// # Errors
    /// The link's errors.
    pub fn bits_to_ring(&mut self, bits: &RepBits) -> Result<Rep, MpcError> {
        self.check_here("bits to ring", bits.device())?;
        self.declare_cost(cost::bits_to_ring(bits.len()));
        let nonces = self.parts(MessageKind::CONVERT_BIT, bits.len(), 0);
        let begun = self.begin_conversion(bits, nonces)?;
        let received = self.receive_conversion(begun)?;
        self.finish_conversion(bits, received)
    }

    /// 1 where x < 0 and 0 elsewhere, or with `negate` the other way round, as ring elements: [`Party::sign`] and
    /// [`Party::bits_to_ring`]. 70.6 bytes an element, 7 rounds.
    ///
    /// # Errors
    /// The link's errors.
    pub fn sign_to_ring(&mut self, x: &Rep, negate: bool) -> Result<Rep, MpcError> {
        let (window, id) = (self.window(), self.id());
        let not = |bits: &RepBits| if negate { bits.not(id) } else { bits.clone() };
        let nonces = self.sign_nonces(x, window)?;
        self.declare_cost(cost::bits_to_ring_after_sign(x.len()));
        let conversion = self.parts(MessageKind::CONVERT_BIT, x.len(), 0);
        let sign = self.begin_sign(x, window, nonces)?;
        let conversion = self.begin_conversion(&not(sign.bits()), conversion)?;
        let sign = self.receive_sign(x, sign)?;
        let conversion = self.receive_conversion(conversion)?;
        let sign = self.finish_sign(sign)?;
        let result = self.finish_conversion(&not(&sign), conversion)?;
        self.watch_sign(x, window, &sign)?;
        Ok(result)
    }

    /// Round 1 of a conversion, what is sent, by role 0, which has both its components then. The bits need be right only
    /// in the part in which this party has role 0.
    fn begin_conversion(&self, bits: &RepBits, nonces: [Part<3>; 3]) -> Result<ConversionBegun, MpcError> {
        let [zero, one, two] = nonces;
        let [u1, y1, y0] = zero.nonces;
        let [own_a, own_b] = [&bits.a, &bits.b].map(|bits| bits.slice(zero.words.clone()));
        let u = self.xor(own_a, own_b);
        let mut message = self.device().alloc(zero.elements.len());
        kernels::convert_role0(u.view(), &self.prg.with_next(u1), message.view_mut());
        self.post(Side::Prev, MessageKind::CONVERT_BIT, message)?;
        let components = [self.prg.with_prev(y0), self.prg.with_next(y1)];
        let components = self.draws(components.map(|stream| (stream, zero.elements.len()))).map(Draw::take);
        Ok(ConversionBegun { zero: RoleZero { components, elements: zero.elements }, one, two })
    }

    /// Round 1 of a conversion, what is received.
    fn receive_conversion(&self, begun: ConversionBegun) -> Result<(ConversionBegun, Buffer), MpcError> {
        let share = self.take(Side::Next, MessageKind::CONVERT_BIT, begun.two.elements.len())?;
        Ok((begun, share))
    }

    /// Round 2 of a conversion.
    fn finish_conversion(
        &self,
        bits: &RepBits,
        (begun, share_two): (ConversionBegun, Buffer),
    ) -> Result<Rep, MpcError> {
        let ConversionBegun { zero, one, two } = begun;
        let device = self.device();
        let [mut a, mut b] = zero.into_result(self, bits.len());
        let [u1, y1, _] = one.nonces;
        let share = self.packed(&self.prg.with_prev(u1), one.elements.len());
        let mut own_one = device.alloc(one.elements.len());
        let y1 = self.prg.with_prev(y1);
        kernels::fill(&y1, a.slice_mut(one.elements.clone()));
        kernels::convert_term(bits.b.slice(one.words.clone()), share.view(), &y1, false, own_one.view_mut());
        self.post_copy(Side::Next, MessageKind::CONVERT_TERM1, own_one.view())?;

        let [_, _, y0] = two.nonces;
        let mut own_two = device.alloc(two.elements.len());
        let y0 = self.prg.with_next(y0);
        kernels::fill(&y0, b.slice_mut(two.elements.clone()));
        kernels::convert_term(bits.a.slice(two.words.clone()), share_two.view(), &y0, true, own_two.view_mut());
        self.post_copy(Side::Prev, MessageKind::CONVERT_TERM2, own_two.view())?;

        let other = self.take(Side::Prev, MessageKind::CONVERT_TERM1, two.elements.len())?;
        kernels::binary(Binary::Add, own_two.view(), other.view(), a.slice_mut(two.elements));
        let other = self.take(Side::Next, MessageKind::CONVERT_TERM2, one.elements.len())?;
        kernels::binary(Binary::Add, own_one.view(), other.view(), b.slice_mut(one.elements));
        self.rep(a, b, bits.shape())
    }

    /// Words from a stream.
    pub(super) fn packed(&self, stream: &Stream, words: usize) -> Buffer {
        let mut bits = self.device().alloc(words);
        kernels::fill(stream, bits.view_mut());
        bits
    }

    /// x ⊕ y ⊕ z.
    pub(super) fn xor3(&self, x: View, y: View, z: View) -> Buffer {
        let mut out = self.device().alloc(x.len());
        kernels::xors(vec![XorOf { of: [x, y], and: Some(z), out: out.view_mut() }]);
        out
    }
}
