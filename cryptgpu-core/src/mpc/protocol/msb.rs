//! The sign bit: the carry into the top bit of x = (x₀ + x₁) + x₂ by a prefix tree over groups of four
//! bits, of which everything that is linear in role 0's secrets costs no interaction. The tree's levels are in
//! `tree.rs`.

use super::draws::Draw;
use super::message::{MessageKind, Part, Side};
use super::tree::{Components, Level, Tree};
use crate::device::{Buffer, View, ViewMut, XorOf, kernels};
use crate::mpc::{MpcError, Party, Rep, RepBits, SignWindow, cost};
use std::ops::Range;

/// All nonces of a sign.
pub(super) struct SignNonces {
    parts: [Part<3>; 3],
    levels: Vec<[Level; 3]>,
}

/// A sign of which round 1 has been sent.
pub(super) struct SignBegun {
    window: SignWindow,
    /// Complete in role 0's part; elsewhere still without the carry, or zero.
    bits: RepBits,
    two: Part<3>,
    tree_one: Tree,
    tree_two: Tree,
    one_words: Range<usize>,
    /// Role 1's share of G and P, and its component 1 of them.
    own_one: [Buffer; 2],
    /// Role 1's components of the sign without the carry: the top bits of A and B.
    tops_one: [Buffer; 2],
}

impl SignBegun {
    /// The sign, right only in the part in which this party has role 0.
    pub(super) fn bits(&self) -> &RepBits {
        &self.bits
    }
}

/// A sign of which round 1 has been received.
pub(super) struct SignReceived {
    bits: RepBits,
    /// Of roles 1 and 2.
    trees: [Tree; 2],
    words: [Range<usize>; 2],
    own_one: [Buffer; 2],
    /// Role 2's components of G and P.
    two_carries: Components,
    /// Of roles 1 and 2, as above.
    tops: [[Buffer; 2]; 2],
    dealt: Buffer,
}

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
    /// | 1 | role 0 | role 2 | its shares of the products of all levels ⊕ mask (26 bits) | mask of F₁ |
    /// | 1 | role 1 | role 2 | its share of G, P ⊕ G₁ (31 bits) | G₁ of F₁ |
    /// | 2 | role 2 | role 1 | its share of G, P ⊕ G₀ (31 bits) | G₀ of F₀ |
    /// | 3–6 | role 1 | role 2 | its share of a level's products ⊕ mask ⊕ c₁ (15, 7, 3, 1 bits) | c₁ of F₁ |
    /// | 3–6 | role 2 | role 1 | its share ⊕ role 0's message ⊕ c₀ (as many) | c₀ of F₀ |
    ///
    /// Components c₀ and c₁ of a level's results are streams, so role 0 has both from the start, and computes its shares of
    /// the products of all levels at once. It receives nothing. c₂ is the sum of the last two messages.
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
        let nonces = self.sign_nonces(x, window)?;
        let begun = self.begin_sign(x, window, nonces)?;
        let received = self.receive_sign(x, begun)?;
        self.finish_sign(received)
    }

    /// The nonces of a sign. Whatever is to begin with it draws its own after this and before anything is sent.
    pub(super) fn sign_nonces(&mut self, x: &Rep, window: SignWindow) -> Result<SignNonces, MpcError> {
        self.check_here("sign", x.device())?;
        self.declare_cost(cost::sign(x.len(), window));
        let parts = self.parts(MessageKind::SIGN_BITS, x.len(), window.low() << 8 | window.width());
        let levels =
            std::iter::successors(Some(window.groups() / 2), |half| Some(half / 2)).take_while(|&half| half > 0);
        let levels = levels.map(|half| self.parts(MessageKind::SIGN_TREE, x.len(), half as u32)).collect();
        Ok(SignNonces { parts, levels })
    }

    /// Round 1, what is sent: all that role 0 ever sends, after which it has both components of its result, and role 1's
    /// share of G and P.
    pub(super) fn begin_sign(&self, x: &Rep, window: SignWindow, nonces: SignNonces) -> Result<SignBegun, MpcError> {
        let device = self.device();
        let SignNonces { parts: [zero, one, two], levels } = nonces;
        let [tree_zero, tree_one, tree_two] = Tree::of_roles(window, [&zero, &one, &two], levels);
        let (shared, carried) = (window.shared_planes(), window.carry_planes());
        let words = x.len().div_ceil(64);
        // What begins with the sign may read all of them, though only role 0's part is there by then.
        let (mut a, mut b) = (device.zeros(words), device.zeros(words));
        let (xa, xb) = (x.a.view(), x.b.view());

        let ([mask, g1, g0], [mask_one, g1_one, _]) = (zero.nonces, one.nonces);
        let [g0, g1, bits_one, g1_one] = self.draws([
            (self.prg.with_prev(g0), carried * zero.words.len()),
            (self.prg.with_next(g1), carried * zero.words.len()),
            (self.prg.with_prev(mask_one), shared * one.words.len()),
            (self.prg.with_prev(g1_one), carried * one.words.len()),
        ]);

        // Role 0 shares its bits; both its components of G and P are streams.
        let mut message = device.alloc(shared * zero.words.len());
        let parts = [xa, xb].map(|x| x.slice(zero.elements.clone()));
        let mut tops = self.tops(zero.words.len());
        let top_views = tops.each_mut().map(Buffer::view_mut);
        kernels::sign_share_bits(window, parts, &self.prg.with_next(mask), message.view_mut(), top_views);
        self.post(Side::Prev, MessageKind::SIGN_BITS, message)?;
        let carry = self.deal_tree(tree_zero, [g0, g1].map(Draw::take))?;
        let carry = Components(carry.map(|component| (component, None)));
        kernels::xors(with_carry(&tops, &carry, [&mut a, &mut b].map(|bits| bits.slice_mut(zero.words.clone()))));

        // Role 1: its share of the bits is the mask; component 1 is a stream, which hides its share.
        // Its top components: the mask's plane 0 (role 0's other half), and b₆₃.
        let bits = bits_one.take();
        let mut tops_one = self.tops(one.words.len());
        let [top_a, top_b] = tops_one.each_mut().map(Buffer::view_mut);
        kernels::first_plane(one.elements.len(), shared, bits.view(), top_a);
        let mut own = g1_one.take();
        let component1 = own.clone();
        let operands = [xb.slice(one.elements.clone()), bits.view()];
        kernels::sign_share_carries(window, true, operands, own.view_mut(), top_b);
        self.post_copy(Side::Next, MessageKind::SIGN_CARRIES1, own.view())?;
        let bits = RepBits { a, b, shape: x.shape().to_vec() };
        let own_one = [own, component1];
        Ok(SignBegun { window, bits, two, tree_one, tree_two, own_one, tops_one, one_words: one.words })
    }

    /// Round 1, what is received, and role 2's share of G and P. All that was sent to a neighbour before must have been
    /// taken by it, and nothing that was sent later.
    pub(super) fn receive_sign(&self, x: &Rep, begun: SignBegun) -> Result<SignReceived, MpcError> {
        let SignBegun { window, bits, two, tree_one, tree_two, own_one, tops_one, one_words } = begun;
        let (shared, carried) = (window.shared_planes(), window.carry_planes());
        // Role 2: its share of the bits is the message; component 0 is a stream, which hides its share.
        let [_, _, g0] = two.nonces;
        let received = self.take(Side::Next, MessageKind::SIGN_BITS, shared * two.words.len())?;
        let dealt = self.take(Side::Next, MessageKind::SIGN_DEALT, tree_two.dealt_words())?;
        let mut tops_two = self.tops(two.words.len());
        let [top_b, top_a] = tops_two.each_mut().map(Buffer::view_mut);
        kernels::first_plane(two.elements.len(), shared, received.view(), top_a);
        let mut own = self.packed(&self.prg.with_next(g0), carried * two.words.len());
        let component0 = own.clone();
        let operands = [x.a.view().slice(two.elements.clone()), received.view()];
        kernels::sign_share_carries(window, false, operands, own.view_mut(), top_b);
        self.post_copy(Side::Prev, MessageKind::SIGN_CARRIES2, own.view())?;
        let other = self.take(Side::Prev, MessageKind::SIGN_CARRIES1, own.len())?;
        let two_carries = Components([(own, Some(other)), (component0, None)]);
        Ok(SignReceived {
            bits,
            trees: [tree_one, tree_two],
            words: [one_words, two.words],
            own_one,
            two_carries,
            tops: [tops_one, tops_two],
            dealt,
        })
    }

    /// Round 2 and the levels of the tree, in which role 0 takes no part.
    pub(super) fn finish_sign(&self, received: SignReceived) -> Result<RepBits, MpcError> {
        let SignReceived { mut bits, trees, words: [one, two], own_one, two_carries, tops, dealt } = received;
        // Component 2 is the sum of what roles 1 and 2 have exchanged.
        let [own, component1] = own_one;
        let other = self.take(Side::Next, MessageKind::SIGN_CARRIES2, own.len())?;
        let one_carries = Components([(component1, None), (own, Some(other))]);
        let [carry_one, carry_two] = self.climb_tree(trees, [one_carries, two_carries], &dealt)?;
        for (tops, carry, words) in [(&tops[0], &carry_one, one), (&tops[1], &carry_two, two)] {
            let out = [&mut bits.a, &mut bits.b].map(|bits| bits.slice_mut(words.clone()));
            kernels::xors(with_carry(tops, carry, out));
        }
        Ok(bits)
    }

    /// Memory for a part's components of the sign without the carry.
    fn tops(&self, words: usize) -> [Buffer; 2] {
        [(); 2].map(|()| self.device().alloc(words))
    }
}

/// A part's components of the sign: those without the carry and the carry's.
fn with_carry<'a>(
    tops: &'a [Buffer; 2],
    Components(carry): &'a Components,
    out: [ViewMut<'a>; 2],
) -> Vec<XorOf<View<'a>, ViewMut<'a>>> {
    let each = tops.iter().zip(carry).zip(out).map(|((top, (first, second)), out)| XorOf {
        of: [top.view(), first.view()],
        and: second.as_ref().map(Buffer::view),
        out,
    });
    each.collect()
}
