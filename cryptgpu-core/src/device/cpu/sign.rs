//! The sign bit's local steps (`docs/protocols.md`, sign bit): bits of A = x₀ + x₁ and B = x₂ to
//! generate and propagate planes of groups of four bits, and the levels of the prefix tree over them.
//!
//! Plane order. A window of w bits has Q = w/4 groups; slot 0 of the w slots holds the window's
//! top bit (which travels along, but is no part of the carry), slot j its bit j − 1. Group j is
//! made of slots 4j to 4j + 3 and stands at the bit-reversed position of j, so that each level
//! of the tree combines the upper half of the positions with the lower half.
//!
//! Words have 64 bits or 32, and the window lies in them.
//!
//! Buffers, in planes: shared bits hold the products of every choice of a group's bits a₀ to a₃. With Eₖ the product of those
//! of a₁, a₂, a₃ that k = 1 to 7 names in binary, they are `[a₀: Q][E₁: Q] … [E₇: Q]`, then
//! `[a₀E₁: Q − 1, positions 1..] … [a₀E₇: Q − 1]`. Generate and propagate are `[g: h][p: h − 1, positions 1..]` (the lowest
//! propagate is never needed, nor a product with the top bit).
//!
//! Floor, full window, an element: sharing reads 16 bytes and makes and writes 233/8; the carries read 8, make 233/8 (role 1) or read as many
//! (role 2), and change 31/8;
//! the levels of the tree read 2·(31 + 15 + 7 + 3)/8. About 40 operations on 512 bits serve four bits of 512 elements.

use super::parallel::{Out, Unit, for_units};
use super::planes::{load, transpose};
use super::rows::{Row, row_kernel};
use crate::device::{SharedBits, SignWindow, Summed, TreeStep};
use crate::prg::Stream;
use crate::ring::{Layout, Word};
use std::ops::Range;

/// The bits of `word` that the window names, in slots: bit j − 1 of the window in slot j, its top bit in slot 0.
#[inline(always)]
fn slots<R: Row>(window: SignWindow, word: R) -> R {
    let mask = R::splat(u64::MAX >> (64 - window.width()));
    let value = word.shr(window.low()) & mask;
    (value.shl(1) | value.shr(window.width() - 1)) & mask
}

/// The group at position `at` (bit-reversed).
#[inline(always)]
fn group_at(window: SignWindow, at: usize) -> usize {
    at.reverse_bits() >> (usize::BITS - window.groups().trailing_zeros())
}

/// The plane of Eₖ, k = 1 to 7, at a position; with k = 0 that of a₀.
#[inline(always)]
fn upper_plane(groups: usize, k: usize, at: usize) -> usize {
    k * groups + at
}

/// The plane of a₀Eₖ, k = 1 to 7, at a position from 1 on.
#[inline(always)]
fn whole_plane(groups: usize, k: usize, at: usize) -> usize {
    8 * groups + (k - 1) * (groups - 1) + at - 1
}

/// Words of the shared bits of a unit, at most.
const SHARED_WORDS: usize = 233 * 8;

/// A unit's planes of a stream.
fn drawn<'a>(stream: &Stream, unit: &Unit, planes: usize, out: &'a mut [u64; SHARED_WORDS]) -> &'a [u64] {
    let out = &mut out[..planes * unit.lanes()];
    stream.fill(unit.planes(planes).start, out);
    out
}

/// Role 0: shares the bits of A = x₀ + x₁ + `summand`. `message` = bits ⊕ mask; `top` gets the XOR share of
/// A's top bit that the message carries, `top_mask` the one that the mask carries.
pub fn share_bits<W: Word>(
    window: SignWindow,
    x: [&[u64]; 2],
    summand: u64,
    mask: &Stream,
    message: &mut [u64],
    [top, top_mask]: [&mut [u64]; 2],
) {
    let x = x.map(W::of);
    let layout = Layout::new(x[0].len());
    let planes = window.shared_planes();
    let (message, top, top_mask) = (Out::new(message), Out::new(top), Out::new(top_mask));
    for_units(layout, |unit| {
        let mut masks = [0; SHARED_WORDS];
        let masks = drawn(mask, unit, planes, &mut masks);
        // SAFETY: each unit takes its own ranges, once.
        let (message, top, top_mask) = unsafe {
            (message.range(unit.planes(planes)), top.range(unit.words.clone()), top_mask.range(unit.words.clone()))
        };
        share_bits_unit(
            unit.lanes(),
            window,
            &x[0][unit.elements.clone()],
            &x[1][unit.elements.clone()],
            summand,
            masks,
            message,
        );
        top.copy_from_slice(&message[..unit.lanes()]);
        top_mask.copy_from_slice(&masks[..unit.lanes()]);
    });
}

/// A plane of the message: bits ⊕ mask.
#[inline(always)]
fn masked<R: Row>(bits: R, masks: &[u64], message: &mut [u64], plane: usize) {
    (bits ^ R::load(masks, plane)).store(message, plane);
}

row_kernel! {
    fn share_bits_unit<R, W>(
        window: SignWindow, x0: &[W], x1: &[W], summand: u64, masks: &[u64], message: &mut [u64],
    ) {
        let (mut rows, summand) = ([R::zero(); 64], R::splat(summand));
        load(&mut rows, x0.len(), |t| slots(window, R::load(x0, t).plus(R::load(x1, t)).plus(summand)));
        transpose(&mut rows);
        let groups = window.groups();
        for at in 0..groups {
            let group = 4 * group_at(window, at);
            let (a0, a) = (rows[group], [rows[group + 1], rows[group + 2], rows[group + 3]]);
            masked(a0, masks, message, upper_plane(groups, 0, at));
            // Each product is one of fewer factors and the highest bit that k names.
            let mut products = [R::splat(u64::MAX); 8];
            for k in 1..8usize {
                let highest = k.ilog2() as usize;
                products[k] = products[k ^ 1 << highest] & a[highest];
                masked(products[k], masks, message, upper_plane(groups, k, at));
                if at > 0 {
                    masked(products[k] & a0, masks, message, whole_plane(groups, k, at));
                }
            }
        }
    }
}

/// Roles 1 and 2: their XOR share of every generate and propagate, from B and their share of role 0's
/// bits (`shared`). Role 1 adds the terms in B alone. `carry` = mask ⊕ share; `top` gets B's top bit,
/// `top_a` the share of A's, plane 0 of the shared bits.
pub fn share_carries<W: Word>(
    window: SignWindow,
    b: &[u64],
    shared: SharedBits<&Stream, &[u64]>,
    mask: &[u64],
    carry: &mut [u64],
    [top, top_a]: [&mut [u64]; 2],
) {
    let (b, constants) = (W::of(b), matches!(shared, SharedBits::Drawn(_)));
    let (carry, top, top_a) = (Out::new(carry), Out::new(top), Out::new(top_a));
    for_units(Layout::new(b.len()), |unit| {
        let (planes, shared_planes) = (unit.planes(window.carry_planes()), window.shared_planes());
        let mut own;
        let shared = match shared {
            SharedBits::Drawn(stream) => {
                own = [0; SHARED_WORDS];
                drawn(stream, unit, shared_planes, &mut own)
            }
            SharedBits::Received(words) => &words[unit.planes(shared_planes)],
        };
        // SAFETY: each unit takes its own ranges, once.
        let (carry, top, top_a) =
            unsafe { (carry.range(planes.clone()), top.range(unit.words.clone()), top_a.range(unit.words.clone())) };
        carry.copy_from_slice(&mask[planes]);
        top_a.copy_from_slice(&shared[..unit.lanes()]);
        share_carries_unit(unit.lanes(), window, constants, &b[unit.elements.clone()], shared, carry, top);
    });
}

row_kernel! {
    fn share_carries_unit<R, W>(
        window: SignWindow, constants: bool, b: &[W], shared: &[u64], carry: &mut [u64], top: &mut [u64],
    ) {
        let mut rows = [R::zero(); 64];
        load(&mut rows, b.len(), |t| slots(window, R::load(b, t)));
        transpose(&mut rows);
        rows[0].store(top, 0);
        let groups = window.groups();
        let keep = R::splat(if constants { u64::MAX } else { 0 });
        for at in 0..groups {
            let group = 4 * group_at(window, at);
            let b = [rows[group], rows[group + 1], rows[group + 2], rows[group + 3]];
            let upper = |k: usize| R::load(shared, upper_plane(groups, k, at));
            let e = [keep, upper(1), upper(2), upper(3), upper(4), upper(5), upper(6), upper(7)];
            let mut carried = R::load(carry, at) ^ generate(b, e);
            if at > 0 {
                let whole = |k: usize| R::load(shared, whole_plane(groups, k, at));
                let a = [upper(0), whole(1), whole(2), whole(3), whole(4), whole(5), whole(6), whole(7)];
                // All of a₁ to a₃ propagate, times a₀; and alone.
                let (with, alone) = (propagate(b, a), propagate(b, e));
                carried = carried ^ (b[0] & with);
                (R::load(carry, groups + at - 1) ^ with ^ (b[0] & alone)).store(carry, groups + at - 1);
            }
            carried.store(carry, at);
        }
    }
}

/// A share of the carry out of bits 1 to 3 from shares eₖ of Eₖ: a₃b₃ ⊕ (a₃ ⊕ b₃)(a₂b₂ ⊕ (a₂ ⊕ b₂)a₁b₁).
#[inline(always)]
fn generate<R: Row>([_, b1, b2, b3]: [R; 4], e: [R; 8]) -> R {
    (b3 & (e[4] ^ carry_of_two([b1, b2], [e[2], e[3], e[1]]))) ^ carry_of_two([b1, b2], [e[6], e[7], e[5]])
}

/// A share of a₂b₂ ⊕ (a₂ ⊕ b₂)a₁b₁, times whatever all are shares times, from shares of a₂, a₂a₁ and a₁.
#[inline(always)]
fn carry_of_two<R: Row>([b1, b2]: [R; 2], [a2, both, a1]: [R; 3]) -> R {
    (b2 & (a2 ^ (b1 & a1))) ^ (b1 & both)
}

/// A share of (a₁ ⊕ b₁)(a₂ ⊕ b₂)(a₃ ⊕ b₃), times whatever e₀ is a share of, from shares eₖ of Eₖ times the same.
#[inline(always)]
fn propagate<R: Row>([_, b1, b2, b3]: [R; 4], e: [R; 8]) -> R {
    lower_two([b1, b2], [e[7], e[5], e[6], e[4]]) ^ (b3 & lower_two([b1, b2], [e[3], e[1], e[2], e[0]]))
}

/// A share of (a₁ ⊕ b₁)(a₂ ⊕ b₂), times whatever the last is a share of, from shares of a₁a₂, a₁ and a₂ times the same, and that.
#[inline(always)]
fn lower_two<R: Row>([b1, b2]: [R; 2], [both, a1, a2, none]: [R; 4]) -> R {
    both ^ (b1 & a2) ^ (b2 & (a1 ^ (b1 & none)))
}

/// Levels of the tree, each: [`tree_step`].
pub fn tree(steps: Vec<TreeStep<&[u64], &mut [u64]>>) {
    steps.into_iter().for_each(tree_step);
}

/// One level of the tree in one role: 2h (generate, propagate) pairs to h. `out` gets this party's additive share zᵢ of
/// g ⊕ p g′ and p p′ behind the mask.
pub fn tree_step(step: TreeStep<&[u64], &mut [u64]>) {
    let TreeStep { elements, half, x, mask, out } = step;
    let (planes_in, planes_out) = (4 * half - 1, 2 * half - 1);
    let out = Out::new(out);
    for_units(Layout::new(elements), |unit| {
        let (from, at) = (unit.planes(planes_in), unit.planes(planes_out));
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(at.clone()) };
        let x = x.map(|component| part(component, &from));
        tree_level_unit(unit.lanes(), half, x, part(mask, &at), out);
    });
}

/// A unit's words of a component.
fn part<'a>(Summed(first, second): Summed<&'a [u64]>, at: &Range<usize>) -> Summed<&'a [u64]> {
    Summed(&first[at.clone()], second.map(|second| &second[at.clone()]))
}

/// Both components of a plane of a unit. (Functions and no closures in what is called several times: a closure that is
/// not inlined has no vectors.)
#[inline(always)]
fn both<R: Row>([a, b]: [Summed<&[u64]>; 2], at: usize) -> [R; 2] {
    [plane(a, at), plane(b, at)]
}

/// A plane of a component of a unit.
#[inline(always)]
fn plane<R: Row>(Summed(first, second): Summed<&[u64]>, at: usize) -> R {
    match second {
        Some(second) => R::load(first, at) ^ R::load(second, at),
        None => R::load(first, at),
    }
}

/// A party's additive share of the product of two shared bits.
#[inline(always)]
fn and<R: Row>(x: [R; 2], y: [R; 2]) -> R {
    (x[0] & (y[0] ^ y[1])) ^ (x[1] & y[0])
}

/// A share behind its mask.
#[inline(always)]
fn put<R: Row>(share: R, mask: Summed<&[u64]>, out: &mut [u64], at: usize) {
    (plane::<R>(mask, at) ^ share).store(out, at);
}

row_kernel! {
    fn tree_level_unit<R>(half: usize, x: [Summed<&[u64]>; 2], mask: Summed<&[u64]>, out: &mut [u64]) {
        for k in 0..half {
            let p_high = both::<R>(x, 3 * half + k - 1);
            put(plane::<R>(x[0], half + k) ^ and(p_high, both(x, k)), mask, out, k);
            if k > 0 {
                put(and(p_high, both(x, 2 * half + k - 1)), mask, out, half + k - 1);
            }
        }
    }
}
