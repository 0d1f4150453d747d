//! A secret bit times a secret tensor, and a secret bit as a ring element. The bit is
//! s = u ⊕ v with u = s₀ ⊕ s₁ known to role 0 and v = s₂ to roles 1 and 2.

use super::message::{MessageKind, Part, Side};
use crate::device::{Binary, Buffer, View, kernels};
use crate::mpc::{MpcError, Party, Rep, RepBits, cost};

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
    /// | 1 | role 1 | role 2 | d = (1 − 2u₁)a − α | α of F₁ |
    /// | 1 | role 0 | role 1 | p₀ − f, p₀ = u₂α + u₁β | f of F₀ |
    /// | 2 | role 2 | role 1 | e = (1 − 2u₂)b − β | β of F₀ |
    /// | 2 | role 2 | role 1 | p₂ − ν, p₂ = v·x₀ + u₂(b + d) | ν of F₀ |
    /// | 3 | role 1 | role 2 | p₁ − μ, p₁ = v(x₁ + x₂) + u₁(a + e) | μ of F₁ |
    ///
    /// y₀ = f + ν, y₁ = p₀ − f + μ, y₂ = (p₁ − μ) + (p₂ − ν). Role 0 receives nothing.
    /// 40 1/8 bytes an element, 3 rounds.
    ///
    /// # Errors
    /// [`MpcError::Argument`] when the shapes differ; the link's errors.
    pub fn bit_product(&mut self, bits: &RepBits, x: &Rep) -> Result<Rep, MpcError> {
        self.check_bits_fit("bit product", bits, x)?;
        self.check_here("bit product", bits.device())?;
        self.check_here("bit product", x.device())?;
        let (n, device) = (x.len(), self.device());
        self.declare_cost(cost::bit_product(n));
        let [zero, one, two] = self.parts::<6>(MessageKind::BITS_OPEN, n, 0);
        let (mut a, mut b) = (device.alloc(n), device.alloc(n));
        let (xa, xb) = (x.a.view(), x.b.view());

        self.send_pad(zero, bits, [&mut a, &mut b])?;

        // Role 1: opens d.
        let [u1, alpha, _, _, mu_one, _] = one.nonces;
        let u1 = self.packed(&self.prg.with_prev(u1), one.words.len());
        let own_bits = [u1.view(), bits.b.slice(one.words.clone())];
        let own_x = [xa, xb].map(|x| x.slice(one.elements.clone()));
        let mut d = device.alloc(one.elements.len());
        kernels::bit_product_role1_open(own_bits, own_x, &self.prg.with_prev(alpha), d.view_mut());
        self.post(Side::Next, MessageKind::BITS_ROLE1, d)?;

        // Role 2: answers. (The pad for role 1 came first on the same link.)
        let [_, _, beta, f, _, nu] = two.nonces;
        let pad = self.take(Side::Prev, MessageKind::BITS_PAD, one.elements.len())?;
        let u2 = self.take(Side::Next, MessageKind::BITS_OPEN, two.words.len())?;
        let d = self.take(Side::Prev, MessageKind::BITS_ROLE1, two.elements.len())?;
        let streams = [&self.prg.with_next(beta), &self.prg.with_next(f), &self.prg.with_next(nu)];
        let mut message = device.alloc(2 * two.elements.len());
        let two_bits = [u2.view(), bits.a.slice(two.words.clone())];
        let y0 = b.slice_mut(two.elements.clone());
        let x0 = xb.slice(two.elements.clone());
        kernels::bit_product_role2(two_bits, x0, d.view(), streams, message.view_mut(), y0);
        let rest = message.slice(two.elements.len()..2 * two.elements.len()).to_buffer();
        self.post(Side::Prev, MessageKind::BITS_ROLE2, message)?;

        // Role 1: closes.
        let received = self.take(Side::Next, MessageKind::BITS_ROLE2, 2 * one.elements.len())?;
        let mu = self.prg.with_prev(mu_one);
        let mut message = device.alloc(one.elements.len());
        let e = received.slice(0..one.elements.len());
        kernels::bit_product_role1_close(own_bits, own_x, e, &mu, message.view_mut());
        let y2 = b.slice_mut(one.elements.clone());
        kernels::binary(Binary::Add, message.view(), received.slice(one.elements.len()..2 * one.elements.len()), y2);
        self.post(Side::Next, MessageKind::BITS_CLOSE, message)?;
        let mut mask = device.alloc(one.elements.len());
        kernels::fill(&mu, mask.view_mut());
        kernels::binary(Binary::Add, pad.view(), mask.view(), a.slice_mut(one.elements));

        // Role 2: y₂.
        let close = self.take(Side::Prev, MessageKind::BITS_CLOSE, two.elements.len())?;
        kernels::binary(Binary::Add, close.view(), rest.view(), a.slice_mut(two.elements));
        self.rep(a, b, x.shape())
    }

    /// Role 0 of a bit product: splits u, sends its pad, and has both its components at once.
    fn send_pad(&self, part: Part<6>, bits: &RepBits, out: [&mut Buffer; 2]) -> Result<(), MpcError> {
        let (device, [a, b]) = (self.device(), out);
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
        let mut message = device.alloc(part.elements.len());
        let (y0, y1) = (a.slice_mut(part.elements.clone()), b.slice_mut(part.elements));
        kernels::bit_product_role0([u1.view(), u2.view()], streams, message.view_mut(), y0, y1);
        self.post(Side::Next, MessageKind::BITS_PAD, message)
    }

    /// Bits as ring elements 0 and 1 (an integer: multiply by 2^f for a fixed-point one).
    ///
    /// s = v + (1 − 2v)u, u = u₁ + u₂ with u₁ of F₁; roles 1 and 2 multiply their shares of u by
    /// what both know.
    ///
    /// | round | from | to | message | hidden by |
    /// |---|---|---|---|---|
    /// | 1 | role 0 | role 2 | u₂ = u − u₁ | u₁ of F₁ |
    /// | 1 | role 1 | role 2 | (1 − 2v)u₁ − y₁ | y₁ of F₁ |
    /// | 2 | role 2 | role 1 | v + (1 − 2v)u₂ − y₀ | y₀ of F₀ |
    ///
    /// y₂ is the sum of the last two. 24 bytes an element, 2 rounds.
    ///
    /// # Errors
    /// The link's errors.
    pub fn bits_to_ring(&mut self, bits: &RepBits) -> Result<Rep, MpcError> {
        self.check_here("bits to ring", bits.device())?;
        let (n, device) = (bits.len(), self.device());
        self.declare_cost(cost::bits_to_ring(n));
        let [zero, one, two] = self.parts::<3>(MessageKind::CONVERT_BIT, n, 0);
        let (mut a, mut b) = (device.alloc(n), device.alloc(n));

        let [u1, y1, y0] = zero.nonces;
        let mut u = device.alloc(zero.words.len());
        let parts = [&bits.a, &bits.b].map(|bits| bits.slice(zero.words.clone()));
        kernels::binary(Binary::Xor, parts[0], parts[1], u.view_mut());
        let mut message = device.alloc(zero.elements.len());
        kernels::convert_role0(u.view(), &self.prg.with_next(u1), message.view_mut());
        self.post(Side::Prev, MessageKind::CONVERT_BIT, message)?;
        kernels::fill(&self.prg.with_prev(y0), a.slice_mut(zero.elements.clone()));
        kernels::fill(&self.prg.with_next(y1), b.slice_mut(zero.elements));

        let [u1, y1, _] = one.nonces;
        let mut share = device.alloc(one.elements.len());
        kernels::fill(&self.prg.with_prev(u1), share.view_mut());
        let mut own_one = device.alloc(one.elements.len());
        let v = bits.b.slice(one.words.clone());
        let y1 = self.prg.with_prev(y1);
        kernels::fill(&y1, a.slice_mut(one.elements.clone()));
        kernels::convert_term(v, share.view(), &y1, false, own_one.view_mut());
        self.post_copy(Side::Next, MessageKind::CONVERT_TERM1, own_one.view())?;

        let [_, _, y0] = two.nonces;
        let share = self.take(Side::Next, MessageKind::CONVERT_BIT, two.elements.len())?;
        let mut own_two = device.alloc(two.elements.len());
        let v = bits.a.slice(two.words.clone());
        let y0 = self.prg.with_next(y0);
        kernels::fill(&y0, b.slice_mut(two.elements.clone()));
        kernels::convert_term(v, share.view(), &y0, true, own_two.view_mut());
        self.post_copy(Side::Prev, MessageKind::CONVERT_TERM2, own_two.view())?;

        let other = self.take(Side::Prev, MessageKind::CONVERT_TERM1, two.elements.len())?;
        kernels::binary(Binary::Add, own_two.view(), other.view(), a.slice_mut(two.elements));
        let other = self.take(Side::Next, MessageKind::CONVERT_TERM2, one.elements.len())?;
        kernels::binary(Binary::Add, own_one.view(), other.view(), b.slice_mut(one.elements));
        self.rep(a, b, bits.shape())
    }

    /// Packed bits from a stream.
    pub(super) fn packed(&self, stream: &crate::prg::Stream, words: usize) -> Buffer {
        let mut bits = self.device().alloc(words);
        kernels::fill(stream, bits.view_mut());
        bits
    }

    /// x ⊕ y ⊕ z.
    pub(super) fn xor3(&self, x: View, y: View, z: View) -> Buffer {
        let device = self.device();
        let (mut first, mut all) = (device.alloc(x.len()), device.alloc(x.len()));
        kernels::binary(Binary::Xor, x, y, first.view_mut());
        kernels::binary(Binary::Xor, first.view(), z, all.view_mut());
        all
    }
}
