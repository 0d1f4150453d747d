//! The sign bit: the carry into the top bit of x = (x₀ + x₁) + x₂ by a prefix tree over groups of four
//! bits, of which everything that is linear in role 0's secrets costs no interaction.

use super::message::{MessageKind, Side};
use crate::device::{Binary, Buffer, View, kernels};
use crate::mpc::{MpcError, Party, Rep, RepBits, SignWindow, cost};

impl Party {
    /// One bit an element: 1 where x < 0, read as two's complement. Exact for every x. With a shorter look
    /// ([`crate::mpc::SignWindow`]) exact while |x| < 2^(low + width − 1) in the ring, but that positive values below 2^low
    /// may count as negative.
    ///
    /// With A = x₀ + x₁ (role 0) and B = x₂ (roles 1 and 2), the carry out of a group of four bits (generate, G) and whether
    /// it hands a carry on (propagate, P = ∏ (aᵢ ⊕ bᵢ)) are sums of products of bits of A with coefficients that B decides:
    /// linear in the 15 products ∏ aᵢ that role 0 shares.
    ///
    /// | round | from | to | message | hidden by |
    /// |---|---|---|---|---|
    /// | 1 | role 0 | role 2 | the products of every group ⊕ mask (233 bits) | mask of F₁ |
    /// | 1 | role 1 | role 2 | its share of G, P ⊕ G₁ (31 bits) | G₁ of F₁ |
    /// | 2 | role 2 | role 1 | its share of G, P ⊕ G₀ (31 bits) | G₀ of F₀ |
    /// | 3–6 | i | i − 1 | products of a level (15, 7, 3, 1 bits) | zero-share |
    ///
    /// 46 5/8 bytes an element, 6 rounds with 64 bits; sign = a₆₃ ⊕ b₆₃ ⊕ carry. The adder is
    /// Kogge and Stone's recurrence on the replicated binary products of Araki et al. (CCS 2016);
    /// that two parties know one summand is ABY3's observation (CCS 2018, §5.3).
    ///
    /// # Errors
    /// The link's errors.
    pub fn sign(&mut self, x: &Rep) -> Result<RepBits, MpcError> {
        let window = self.window();
        let negative = self.sign_in(x, window)?;
        self.watch_sign(x, window, &negative)?;
        Ok(negative)
    }

    /// [`Party::sign`] with the window given.
    pub(in crate::mpc) fn sign_in(&mut self, x: &Rep, window: SignWindow) -> Result<RepBits, MpcError> {
        self.check_here("sign", x.device())?;
        self.declare_cost(cost::sign(x.len(), window));
        let words = x.len().div_ceil(64);
        let device = self.device();
        // Components of the sign without the carry: the top bits of A and B.
        let (mut top_a, mut top_b) = (device.alloc(words), device.alloc(words));
        let [mut ga, mut gb] = self.carries(x, window, [&mut top_a, &mut top_b])?;
        let mut half = window.groups() / 2;
        while half > 0 {
            let nonce = self.prg.nonce_for(MessageKind::SIGN_TREE.on(&[x.len(), half]));
            let zero = self.prg.zero(nonce);
            let mut level = device.alloc((2 * half - 1) * words);
            kernels::sign_tree_level(x.len(), half, [ga.view(), gb.view()], &zero, level.view_mut());
            self.post_copy(Side::Prev, MessageKind::SIGN_TREE, level.view())?;
            gb = self.take(Side::Next, MessageKind::SIGN_TREE, level.len())?;
            ga = level;
            half /= 2;
        }
        let xor = |x: View, y: View| {
            let mut out = device.alloc(words);
            kernels::binary(Binary::Xor, x, y, out.view_mut());
            out
        };
        let (a, b) = (xor(ga.view(), top_a.view()), xor(gb.view(), top_b.view()));
        Ok(RepBits { a, b, shape: x.shape().to_vec() })
    }

    /// Rounds 1 and 2: replicated generate and propagate bits, and this party's components of
    /// a₆₃ ⊕ b₆₃ in `top`.
    fn carries(&mut self, x: &Rep, window: SignWindow, top: [&mut Buffer; 2]) -> Result<[Buffer; 2], MpcError> {
        let device = self.device();
        let (shared, carried) = (window.shared_planes(), window.carry_planes());
        let [top_a, top_b] = top;
        let [zero, one, two] = self.parts::<3>(MessageKind::SIGN_BITS, x.len(), window.low() << 8 | window.width());
        let words = x.len().div_ceil(64);
        let (mut ga, mut gb) = (device.alloc(carried * words), device.alloc(carried * words));
        let planes = |words: &std::ops::Range<usize>, k: usize| k * words.start..k * words.end;
        let (xa, xb) = (x.a.view(), x.b.view());

        // Role 0 shares its bits; both its components of G and P are streams.
        let [mask, g1, g0] = zero.nonces;
        let mut message = device.alloc(shared * zero.words.len());
        let parts = [xa, xb].map(|x| x.slice(zero.elements.clone()));
        let tops = [top_a.slice_mut(zero.words.clone()), top_b.slice_mut(zero.words.clone())];
        kernels::sign_share_bits(window, parts, &self.prg.with_next(mask), message.view_mut(), tops);
        self.post(Side::Prev, MessageKind::SIGN_BITS, message)?;
        kernels::fill(&self.prg.with_prev(g0), ga.slice_mut(planes(&zero.words, carried)));
        kernels::fill(&self.prg.with_next(g1), gb.slice_mut(planes(&zero.words, carried)));

        // Role 1: its share of the bits is the mask; component 1 is a stream, which hides its share.
        // Its top components: the mask's plane 0 (role 0's other half), and b₆₃.
        let [mask, g1, _] = one.nonces;
        let mut bits = device.alloc(shared * one.words.len());
        kernels::fill(&self.prg.with_prev(mask), bits.view_mut());
        self.copy_top(&bits, shared, one.elements.len(), top_a, &one.words);
        let at = planes(&one.words, carried);
        let mut own = device.alloc(at.len());
        kernels::fill(&self.prg.with_prev(g1), own.view_mut());
        ga.slice_mut(at.clone()).copy_from(own.view());
        let b63 = top_b.slice_mut(one.words.clone());
        kernels::sign_share_carries(window, true, [xb.slice(one.elements.clone()), bits.view()], own.view_mut(), b63);
        self.post_copy(Side::Next, MessageKind::SIGN_CARRIES1, own.view())?;
        let own_one = (own, at);

        // Role 2: its share of the bits is the message; component 0 is a stream, which hides its share.
        let [_, _, g0] = two.nonces;
        let bits = self.take(Side::Next, MessageKind::SIGN_BITS, shared * two.words.len())?;
        self.copy_top(&bits, shared, two.elements.len(), top_b, &two.words);
        let at = planes(&two.words, carried);
        let mut own = device.alloc(at.len());
        kernels::fill(&self.prg.with_next(g0), own.view_mut());
        gb.slice_mut(at.clone()).copy_from(own.view());
        let b63 = top_a.slice_mut(two.words.clone());
        kernels::sign_share_carries(window, false, [xa.slice(two.elements.clone()), bits.view()], own.view_mut(), b63);
        self.post_copy(Side::Prev, MessageKind::SIGN_CARRIES2, own.view())?;

        // Component 2 is the sum of what roles 1 and 2 have exchanged.
        let other = self.take(Side::Prev, MessageKind::SIGN_CARRIES1, at.len())?;
        kernels::binary(Binary::Xor, own.view(), other.view(), ga.slice_mut(at));
        let (own, at) = own_one;
        let other = self.take(Side::Next, MessageKind::SIGN_CARRIES2, at.len())?;
        kernels::binary(Binary::Xor, own.view(), other.view(), gb.slice_mut(at));
        Ok([ga, gb])
    }

    /// Plane 0 of `bits`, the share of role 0's top bits, to `to`.
    fn copy_top(&self, bits: &Buffer, planes: usize, elements: usize, to: &mut Buffer, words: &std::ops::Range<usize>) {
        kernels::first_plane(elements, planes, bits.view(), to.slice_mut(words.clone()));
    }
}
