//! The sign bit: the carry into the top bit of x = (x₀ + x₁) + x₂ by a prefix tree over groups of four
//! bits, of which everything that is linear in role 0's secrets costs no interaction. The tree's levels are in
//! `tree.rs`.

use super::message::{MessageKind, Part, Side};
use super::tree::{ClimbedTree, Components, DealtTree, halves, tree_words};
use crate::device::{self, Buffer, Combined, Draw, Masks, SharedBits, View, ViewMut, kernels};
use crate::mpc::{MpcError, Party, Rep, RepBits, SignWindow, cost};
use crate::ring::Ring;
use std::ops::Range;

/// The masks of a sign, in all three roles.
pub(super) struct SignMasks {
    elements: [Range<usize>; 3],
    words: [Range<usize>; 3],
    /// Of what role 0 sends, and its components 0 and 1 of G and P.
    zero: [Draw; 3],
    /// Role 1's share of the bits, and its component 1 of G and P.
    one: [Draw; 2],
    /// Role 2's component 0 of G and P.
    two: Draw,
    dealt: DealtTree,
    climbed: ClimbedTree,
}

impl SignMasks {
    /// All of them.
    pub(super) fn draws(&mut self) -> impl Iterator<Item = &mut Draw> {
        let SignMasks { zero, one, two, dealt, climbed, .. } = self;
        zero.iter_mut().chain(one).chain([two]).chain(dealt.draws()).chain(climbed.draws())
    }
}

/// What role 0 makes of the sign beside its components, because its inputs are at hand: u = s₀ ⊕ s₁, or behind a mask.
pub(super) struct Split<'a> {
    /// The mask, packed.
    pub mask: Option<View<'a>>,
    /// The result, packed.
    pub out: ViewMut<'a>,
}

/// A sign of which round 1 has been sent.
pub(super) struct SignBegun {
    window: SignWindow,
    /// Whether the bits are those of x ≥ 0.
    negate: bool,
    /// Complete in role 0's part; elsewhere nothing is there yet.
    bits: [Buffer; 2],
    ring: Ring,
    shape: Vec<usize>,
    elements: Range<usize>,
    words: [Range<usize>; 2],
    climbed: ClimbedTree,
    /// Role 1's share of G and P, and its component 1 of them.
    own_one: [Buffer; 2],
    /// Role 1's components of the sign without the carry: the top bits of A and B.
    tops_one: [Buffer; 2],
    /// Role 2's component 0 of G and P.
    two: Draw,
}

/// A sign of which round 1 has been received.
pub(super) struct SignReceived {
    negate: bool,
    bits: [Buffer; 2],
    ring: Ring,
    shape: Vec<usize>,
    climbed: ClimbedTree,
    own_one: [Buffer; 2],
    /// Role 2's components of G and P.
    two_carries: Components,
    /// Of roles 1 and 2, as above.
    tops: [[Buffer; 2]; 2],
    dealt: Buffer,
}

impl Party {
    /// One bit an element: 1 where x < 0, read as two's complement. Exact for every x. With a shorter look
    /// ([`crate::mpc::SignWindow`]) exact while |x| ≤ 2^(low + width − 1) − 2^low in the ring, but that positive values below
    /// 2^low may count as negative.
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
    /// 46 5/8 bytes an element, 6 rounds with 64 bits; 22 bytes, 5 rounds with 32, as many as words have in that ring.
    /// The sign is the top bit of A ⊕ that of B ⊕ the carry. The adder is
    /// Kogge and Stone's recurrence on the replicated binary products of Araki et al. (CCS 2016);
    /// that two parties know one summand is ABY3's observation (CCS 2018, §5.3).
    ///
    /// # Errors
    /// The link's errors.
    pub fn sign(&mut self, x: &Rep) -> Result<RepBits, MpcError> {
        let window = self.window_in(x.ring());
        let negative = self.sign_in(x, window)?;
        self.watch_sign(x, window, &negative, false)?;
        Ok(negative)
    }

    /// [`Party::sign`] with the window given.
    pub(in crate::mpc) fn sign_in(&mut self, x: &Rep, window: SignWindow) -> Result<RepBits, MpcError> {
        let mut masks = self.sign_masks(x, window)?;
        device::make(self.device(), Masks::draws(masks.draws()));
        let begun = self.begin_sign(x, 0, window, false, masks, None)?;
        let received = self.receive_sign(x, begun)?;
        self.finish_sign(received)
    }

    /// The masks of a sign. Whatever is to begin with it takes its own after this and before anything is sent.
    pub(super) fn sign_masks(&mut self, x: &Rep, window: SignWindow) -> Result<SignMasks, MpcError> {
        self.check_here("sign", x.device())?;
        let (ring, n) = (x.ring(), x.len());
        self.declare_cost(cost::sign(ring, n, window));
        let [zero, one, two]: [Part<3>; 3] =
            self.parts(MessageKind::SIGN_BITS, ring, n, window.low() << 8 | window.width());
        let levels = halves(window).map(|half| self.parts(MessageKind::SIGN_TREE, ring, n, half as u32)).collect();
        let (shared, carried) = (window.shared_planes(), window.carry_planes());
        let ([mask, g1, g0], [mask_one, g1_one, _], [_, _, g0_two]) = (zero.nonces, one.nonces, two.nonces);
        let (dealt, climbed) = self.trees(window, levels);
        Ok(SignMasks {
            zero: [
                Draw::of(self.prg.with_next(mask), shared * zero.words.len()),
                Draw::of(self.prg.with_prev(g0), carried * zero.words.len()),
                Draw::of(self.prg.with_next(g1), carried * zero.words.len()),
            ],
            one: [
                Draw::of(self.prg.with_prev(mask_one), shared * one.words.len()),
                Draw::of(self.prg.with_prev(g1_one), carried * one.words.len()),
            ],
            two: Draw::of(self.prg.with_next(g0_two), carried * two.words.len()),
            elements: [zero.elements, one.elements, two.elements],
            words: [zero.words, one.words, two.words],
            dealt,
            climbed,
        })
    }

    /// Round 1, what is sent: all that role 0 ever sends, after which it has both components of its result, and role 1's
    /// share of G and P. The bits are those of x + `summand`, a public ring element that role 0 adds to what it shares: nobody
    /// makes a sum. With `negate` they are those of x + `summand` ≥ 0.
    pub(super) fn begin_sign(
        &self,
        x: &Rep,
        summand: u64,
        window: SignWindow,
        negate: bool,
        masks: SignMasks,
        split: Option<Split>,
    ) -> Result<SignBegun, MpcError> {
        let (ring, device) = (x.ring(), self.device());
        let SignMasks { elements, words, zero: [mask, g0, g1], one: [bits_one, g1_one], two, dealt, climbed } = masks;
        let ([zero, one, _], [zero_words, one_words, two_words]) = (elements.clone(), words);
        let mut bits = [(); 2].map(|()| device.alloc(x.len().div_ceil(64)));

        // Role 0 shares its bits; both its components of G and P are streams.
        let mut message = device.alloc(mask.len());
        let parts = [x.a.view(), x.b.view()].map(|x| x.slice(zero.clone()));
        let mut tops = self.tops(zero_words.len());
        let (out, top_outs) = (message.view_mut(), tops.each_mut().map(Buffer::view_mut));
        kernels::sign_share_bits(ring, window, parts, summand, &mask, out, top_outs);
        self.post(Side::Prev, MessageKind::SIGN_BITS, message)?;
        let carry = self.deal_tree(dealt, [g0, g1].map(|draw| draw.into_buffer(device)))?;
        let u = [tops[0].view(), carry[0].view(), tops[1].view(), carry[1].view()];
        let [out_a, out_b] = bits.each_mut().map(|bits| bits.slice_mut(zero_words.clone()));
        let [negate_a, negate_b] = self.negated(negate);
        let mut all = vec![
            Combined::xor(u[..2].iter().copied(), negate_a, out_a),
            Combined::xor(u[2..].iter().copied(), negate_b, out_b),
        ];
        all.extend(
            split.map(|Split { mask, out }| Combined::xor(u.into_iter().chain(mask), negate_a || negate_b, out)),
        );
        kernels::combine(Ring::Z64, all);

        // Role 1: its share of the bits is the mask; component 1 is a stream, which hides its share.
        // Its top components: the mask's plane 0 (role 0's other half), and b₆₃.
        let component1 = g1_one.into_buffer(device);
        let (mut own, mut tops_one) = (device.alloc(component1.len()), self.tops(one_words.len()));
        let [top_a, top_b] = tops_one.each_mut().map(Buffer::view_mut);
        let (b, shared) = (x.b.view().slice(one), SharedBits::Drawn(&bits_one));
        kernels::sign_share_carries(ring, window, b, shared, component1.view(), own.view_mut(), [top_b, top_a]);
        self.post_copy(Side::Next, MessageKind::SIGN_CARRIES1, own.view())?;
        let ([_, _, elements], shape, words) = (elements, x.shape().to_vec(), [one_words, two_words]);
        let own_one = [own, component1];
        Ok(SignBegun { window, negate, bits, ring, shape, elements, words, climbed, own_one, tops_one, two })
    }

    /// Round 1, what is received, and role 2's share of G and P. All that was sent to a neighbour before must have been
    /// taken by it, and nothing that was sent later.
    pub(super) fn receive_sign(&self, x: &Rep, begun: SignBegun) -> Result<SignReceived, MpcError> {
        let device = self.device();
        let SignBegun {
            window, negate, bits, ring, shape, elements, words: [_, two], climbed, own_one, tops_one, ..
        } = begun;
        // Role 2: its share of the bits is the message; component 0 is a stream, which hides its share.
        let received = self.take(Side::Next, MessageKind::SIGN_BITS, window.shared_planes() * two.len())?;
        let dealt = self.take(Side::Next, MessageKind::SIGN_DEALT, tree_words(window, two.len()))?;
        let component0 = begun.two.into_buffer(device);
        let (mut own, mut tops_two) = (device.alloc(component0.len()), self.tops(two.len()));
        let [top_b, top_a] = tops_two.each_mut().map(Buffer::view_mut);
        let (b, shared) = (x.a.view().slice(elements), SharedBits::Received(received.view()));
        kernels::sign_share_carries(ring, window, b, shared, component0.view(), own.view_mut(), [top_b, top_a]);
        self.post_copy(Side::Prev, MessageKind::SIGN_CARRIES2, own.view())?;
        let other = self.take(Side::Prev, MessageKind::SIGN_CARRIES1, own.len())?;
        let two_carries = Components([(own, Some(other)), (component0, None)]);
        Ok(SignReceived { negate, bits, ring, shape, climbed, own_one, two_carries, tops: [tops_one, tops_two], dealt })
    }

    /// Round 2 and the levels of the tree, in which role 0 takes no part.
    pub(super) fn finish_sign(&self, received: SignReceived) -> Result<RepBits, MpcError> {
        let SignReceived { negate, bits: [mut a, mut b], ring, shape, climbed, own_one, two_carries, tops, dealt } =
            received;
        // Component 2 is the sum of what roles 1 and 2 have exchanged.
        let [own, component1] = own_one;
        let other = self.take(Side::Next, MessageKind::SIGN_CARRIES2, own.len())?;
        let one_carries = Components([(component1, None), (own, Some(other))]);
        let carries = self.climb_tree(climbed, [one_carries, two_carries], &dealt)?;
        let elements = shape.iter().product();
        let ([_, a_one, a_two], [_, b_one, b_two]) =
            (self.packed_places(ring, elements, &mut a), self.packed_places(ring, elements, &mut b));
        let outs = [[a_one, b_one], [a_two, b_two]];
        let negated = self.negated(negate);
        let mut all = vec![];
        for ((tops, Components(carry)), outs) in tops.iter().zip(&carries).zip(outs) {
            for (((top, (first, second)), negate), out) in tops.iter().zip(carry).zip(negated).zip(outs) {
                let parts = [top.view(), first.view()].into_iter().chain(second.as_ref().map(Buffer::view));
                all.push(Combined::xor(parts, negate, out));
            }
        }
        kernels::combine(Ring::Z64, all);
        Ok(RepBits { a, b, shape, ring })
    }

    /// Which of this party's components of bits are inverted where the bits are: component 0.
    pub(super) fn negated(&self, negate: bool) -> [bool; 2] {
        let id = self.id().index();
        [negate && id == 0, negate && id == 2]
    }

    /// Memory for a part's components of the sign without the carry.
    fn tops(&self, words: usize) -> [Buffer; 2] {
        [(); 2].map(|()| self.device().alloc(words))
    }
}
