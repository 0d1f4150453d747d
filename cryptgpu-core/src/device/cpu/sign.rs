//! The sign bit's local steps (`docs/protocols.md`, sign bit): bits of A = x₀ + x₁ and B = x₂ to
//! generate and propagate planes of bit pairs, and the levels of the prefix tree over them.
//!
//! Plane order. A window of w bits has P = w/2 pairs; slot 0 of the w slots holds the window's
//! top bit (which travels along, but is no part of the carry), slot j its bit j − 1. Pair j is
//! made of slots 2j and 2j + 1 and stands at the bit-reversed position of j, so that each level
//! of the tree combines the upper half of the positions with the lower half.
//!
//! Buffers, in planes: shared bits `[a₀: P][a₁: P][a₁a₀: P − 1, positions 1..]`; generate and
//! propagate `[g: h][p: h − 1, positions 1..]` (the lowest propagate is never needed).

use super::parallel::{Out, for_units};
use super::planes::{Rows, load, transpose, unit_kernel};
use crate::device::SignWindow;
use crate::prg::Stream;
use crate::ring::Layout;

/// The bits of `word` that the window names, in slots: bit j − 1 of the window in slot j, its top bit in slot 0.
#[inline(always)]
fn slots(window: SignWindow, word: u64) -> u64 {
    let mask = u64::MAX >> (64 - window.width());
    let value = word >> window.low() & mask;
    (value << 1 | value >> (window.width() - 1)) & mask
}

/// The pair at position `at` (bit-reversed).
#[inline(always)]
fn pair_at(window: SignWindow, at: usize) -> usize {
    at.reverse_bits() >> (usize::BITS - window.pairs().trailing_zeros())
}

/// Role 0: shares the bits of A = x₀ + x₁. `message` = bits ⊕ mask; `top` gets the XOR share of
/// A's top bit that the message carries, `top_mask` the one that the mask carries.
pub fn share_bits(
    window: SignWindow,
    x: [&[u64]; 2],
    mask: &Stream,
    message: &mut [u64],
    [top, top_mask]: [&mut [u64]; 2],
) {
    let layout = Layout::new(x[0].len());
    let planes = window.shared_planes();
    let (message, top, top_mask) = (Out::new(message), Out::new(top), Out::new(top_mask));
    for_units(layout, |unit| {
        let mut masks = [0u64; 95 * 8];
        let masks = &mut masks[..planes * unit.lanes()];
        mask.fill(unit.planes(planes).start, masks);
        // SAFETY: each unit takes its own ranges, once.
        let (message, top, top_mask) = unsafe {
            (message.range(unit.planes(planes)), top.range(unit.words.clone()), top_mask.range(unit.words.clone()))
        };
        share_bits_unit(
            unit.lanes(),
            window,
            &x[0][unit.elements.clone()],
            &x[1][unit.elements.clone()],
            masks,
            message,
        );
        top.copy_from_slice(&message[..unit.lanes()]);
        top_mask.copy_from_slice(&masks[..unit.lanes()]);
    });
}

unit_kernel! {
    fn share_bits_unit(L, window: SignWindow, x0: &[u64], x1: &[u64], masks: &[u64], message: &mut [u64]) {
        let n = x0.len();
        let mut rows: Rows<L> = load(n, |i| slots(window, x0[i].wrapping_add(x1[i])));
        transpose(&mut rows);
        let pairs = window.pairs();
        for at in 0..pairs {
            let pair = pair_at(window, at);
            let (a0, a1) = (rows[2 * pair], rows[2 * pair + 1]);
            for l in 0..L {
                message[at * L + l] = a0[l] ^ masks[at * L + l];
                message[(pairs + at) * L + l] = a1[l] ^ masks[(pairs + at) * L + l];
            }
            if at > 0 {
                let base = (2 * pairs + at - 1) * L;
                for l in 0..L {
                    message[base + l] = (a1[l] & a0[l]) ^ masks[base + l];
                }
            }
        }
    }
}

/// Roles 1 and 2: their XOR share of every generate and propagate, from B and their share of role 0's
/// bits (`shared`). Role 1 (`with_constants`) adds the terms in B alone. The share is XORed into
/// `carry`, which holds the mask; `top` gets B's top bit.
pub fn share_carries(
    window: SignWindow,
    with_constants: bool,
    [b, shared]: [&[u64]; 2],
    carry: &mut [u64],
    top: &mut [u64],
) {
    let (carry, top) = (Out::new(carry), Out::new(top));
    for_units(Layout::new(b.len()), |unit| {
        // SAFETY: each unit takes its own ranges, once.
        let (carry, top) = unsafe { (carry.range(unit.planes(window.carry_planes())), top.range(unit.words.clone())) };
        let shared = &shared[unit.planes(window.shared_planes())];
        share_carries_unit(unit.lanes(), window, with_constants, &b[unit.elements.clone()], shared, carry, top);
    });
}

unit_kernel! {
    fn share_carries_unit(
        L, window: SignWindow, constants: bool, b: &[u64], shared: &[u64], carry: &mut [u64], top: &mut [u64],
    ) {
        let mut rows: Rows<L> = load(b.len(), |i| slots(window, b[i]));
        transpose(&mut rows);
        top.copy_from_slice(&rows[0]);
        let pairs = window.pairs();
        let keep = if constants { u64::MAX } else { 0 };
        // Pair 0: slot 0 is no part of the carry, so G = a₁b₁ alone.
        for l in 0..L {
            carry[l] ^= shared[pairs * L + l] & rows[1][l];
        }
        for at in 1..pairs {
            let pair = pair_at(window, at);
            let (b0, b1) = (rows[2 * pair], rows[2 * pair + 1]);
            for l in 0..L {
                let a0 = shared[at * L + l];
                let a1 = shared[(pairs + at) * L + l];
                let a10 = shared[(2 * pairs + at - 1) * L + l];
                let b10 = b1[l] & b0[l];
                carry[at * L + l] ^= (a1 & b1[l]) ^ (a10 & b0[l]) ^ (a0 & b10);
                carry[(pairs + at - 1) * L + l] ^= a10 ^ (a1 & b0[l]) ^ (a0 & b1[l]) ^ (b10 & keep);
            }
        }
    }
}

/// One level of the tree at any party: 2h (generate, propagate) pairs to h. `out`, which holds a mask, gets this
/// party's additive share zᵢ of g ⊕ p g′ and p p′. `x` holds the two replicated components.
pub fn tree_level(elements: usize, half: usize, x: [&[u64]; 2], out: &mut [u64]) {
    let (planes_in, planes_out) = (4 * half - 1, 2 * half - 1);
    let out = Out::new(out);
    for_units(Layout::new(elements), |unit| {
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(unit.planes(planes_out)) };
        let from = unit.planes(planes_in);
        tree_level_unit(unit.lanes(), half, &x[0][from.clone()], &x[1][from], out);
    });
}

unit_kernel! {
    fn tree_level_unit(L, half: usize, a: &[u64], b: &[u64], out: &mut [u64]) {
        let and = |x: usize, y: usize| (a[x] & (a[y] ^ b[y])) ^ (b[x] & a[y]);
        for k in 0..half {
            let p_high = (3 * half + k - 1) * L;
            for l in 0..L {
                let (at, g_high, g_low) = (k * L + l, (half + k) * L + l, k * L + l);
                out[at] ^= a[g_high] ^ and(p_high + l, g_low);
            }
            if k > 0 {
                for l in 0..L {
                    let (at, p_low) = ((half + k - 1) * L + l, (2 * half + k - 1) * L + l);
                    out[at] ^= and(p_high + l, p_low);
                }
            }
        }
    }
}

/// Plane 0 of packed planes.
pub fn first_plane(elements: usize, planes: usize, bits: &[u64], out: &mut [u64]) {
    let out = Out::new(out);
    for_units(Layout::new(elements), |unit| {
        let from = unit.planes(planes).start;
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(unit.words.clone()) };
        out.copy_from_slice(&bits[from..from + unit.lanes()]);
    });
}
