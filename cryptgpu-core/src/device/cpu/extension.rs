//! Local steps of the way between the rings (`docs/protocols.md`): of the extension of a replicated tensor of 32 bits to 64, and the
//! reduction back.
//!
//! Both see x + 2^30 = u + v − w·2^32 with u known to role 0 and v to roles 1 and 2, as a truncation does. The wrap is w = 1 − ab with
//! a = ¬msb(u), b = ¬msb(v), so x is u + v + `CONSTANT` + 2^32·ab, and modulo 2^64 ab is needed modulo 2^32 only.
//! Slices are memory of 64-bit words: of elements of 64 bits, or of two of 32 bits each.

use super::parallel::{Out, draw, for_units};
use super::rows::row_kernel;
use crate::device::{CloseTerms, Results, TermShare};
use crate::prg::Stream;
use crate::ring::{BLOCK, Layout, Word};

/// What makes a value of less than that in absolute value non-negative.
const OFFSET: u64 = 1 << 30;

/// What is left when the offset and the wrap are undone.
const CONSTANT: u64 = 0u64.wrapping_sub(OFFSET).wrapping_sub(1 << 32);

/// Role 0, from a₁, μ, ν and y₁: `message` for role 2 is [y₀][a₂ = a − a₁ modulo 2^32],
/// y₀ = u + constant − 2^32(μ + ν) − y₁, u = x₀ + x₁ + 2^30; a = y₀, b = y₁.
pub fn role0(x: [&[u64]; 2], streams: [&Stream; 4], Results { message, a, b }: Results<&mut [u64]>) {
    let [a1, mu, nu, y1] = streams;
    let x = x.map(u32::of);
    let (y0, share) = message.split_at_mut(x[0].len());
    let (y0, share, a, b) = (Out::new(y0), Out::new(u32::of_mut(share)), Out::new(a), Out::new(b));
    for_units(Layout::new(x[0].len()), |unit| {
        let (e, count) = (unit.elements.clone(), unit.elements.len());
        let mut pads = [[0u64; BLOCK / 2]; 3];
        for (pad, stream) in pads.iter_mut().zip([a1, mu, nu]) {
            draw(stream, unit, &mut u32::of_mut(pad)[..count]);
        }
        let [a1, mu, nu] = pads.each_ref().map(|pad| &u32::of(pad)[..count]);
        // SAFETY: each unit takes its own ranges, once.
        let (y0, share, a, b) =
            unsafe { (y0.range(e.clone()), share.range(e.clone()), a.range(e.clone()), b.range(e.clone())) };
        draw(y1, unit, b);
        role0_unit(unit.lanes(), &x[0][e.clone()], &x[1][e], a1, mu, nu, b, y0, share);
        a.copy_from_slice(y0);
    });
}

row_kernel! {
    fn role0_unit<R>(
        x0: &[u32], x1: &[u32], a1: &[u32], mu: &[u32], nu: &[u32], y1: &[u64], y0: &mut [u64], share: &mut [u32],
    ) {
        let (offset, constant) = (R::splat(OFFSET), R::splat(CONSTANT));
        for t in 0..x0.len() / R::LANES {
            let u = R::load(x0, t).plus(R::load(x1, t)).plus(offset).reduced::<u32>();
            // ¬msb(u) − a₁.
            (!u).reduced::<u32>().shr(31).minus(R::load(a1, t)).store(share, t);
            let masks = R::load(mu, t).plus(R::load(nu, t)).shl(32);
            u.plus(constant).minus(masks).minus(R::load(y1, t)).store(y0, t);
        }
    }
}

/// Roles 1 and 2: `message` = b·share + mask modulo 2^32, b = ¬msb(v). Role 1's share of a is a stream, and `kept` = y₁; role 2 has
/// both from role 0, [y₀][its share], and `kept` = y₀.
pub fn term(v: &[u64], share: TermShare<&Stream, &[u64]>, mask: &Stream, message: &mut [u64], kept: &mut [u64]) {
    let v = u32::of(v);
    let n = v.len();
    let (message, kept) = (Out::new(u32::of_mut(message)), Out::new(kept));
    for_units(Layout::new(n), |unit| {
        let e = unit.elements.clone();
        let mut pads = [[0u64; BLOCK / 2]; 2];
        let [pad, drawn] = pads.each_mut().map(|pad| &mut u32::of_mut(pad)[..e.len()]);
        draw(mask, unit, pad);
        // SAFETY: each unit takes its own ranges, once.
        let (message, kept) = unsafe { (message.range(e.clone()), kept.range(e.clone())) };
        let share = match share {
            TermShare::Drawn { share, y1 } => {
                draw(share, unit, drawn);
                draw(y1, unit, kept);
                drawn
            }
            TermShare::Received(received) => {
                let (y0, share) = received.split_at(n);
                kept.copy_from_slice(&y0[e.clone()]);
                &u32::of(share)[e.clone()]
            }
        };
        term_unit(unit.lanes(), &v[e], share, pad, message);
    });
}

row_kernel! {
    fn term_unit<R>(v: &[u32], share: &[u32], pad: &[u32], message: &mut [u32]) {
        for t in 0..v.len() / R::LANES {
            let b = (!R::load(v, t)).mask(31);
            (R::load(share, t) & b).plus(R::load(pad, t)).store(message, t);
        }
    }
}

/// Roles 1 and 2, last: y₂ = v + 2^32(m₁ + m₂).
pub fn close(CloseTerms { v, terms, y2 }: CloseTerms<&[u64], &mut [u64]>) {
    let (v, terms, y2) = (u32::of(v), terms.map(u32::of), Out::new(y2));
    for_units(Layout::new(v.len()), |unit| {
        let e = unit.elements.clone();
        // SAFETY: each unit takes its own range, once.
        let y2 = unsafe { y2.range(e.clone()) };
        close_unit(unit.lanes(), &v[e.clone()], &terms[0][e.clone()], &terms[1][e], y2);
    });
}

row_kernel! {
    fn close_unit<R>(v: &[u32], first: &[u32], second: &[u32], y2: &mut [u64]) {
        for t in 0..v.len() / R::LANES {
            R::load(v, t).plus(R::load(first, t).plus(R::load(second, t)).shl(32)).store(y2, t);
        }
    }
}

/// x modulo 2^32 of elements of 64 bits; zero where none fills the last word.
pub fn reduce(x: &[u64], out: &mut [u64]) {
    let (pairs, rest) = x.as_chunks::<2>();
    for (&[low, high], out) in pairs.iter().zip(out.iter_mut()) {
        *out = low & 0xffff_ffff | high << 32;
    }
    if let ([last], Some(out)) = (rest, out.last_mut()) {
        *out = last & 0xffff_ffff;
    }
}
