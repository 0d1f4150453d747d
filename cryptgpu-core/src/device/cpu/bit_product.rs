//! Local steps of a secret bit times a secret tensor, and of a bit's conversion to arithmetic
//! shares (`docs/protocols.md`). The bit is u ⊕ v, u known to role 0, v to roles 1 and 2. Bits
//! are packed. Every function's slices are memory of 64-bit words; they hold the elements of a ring, or bits, one word in 64.

use super::parallel::{Out, draw, for_units};
use super::rows::row_kernel;
use crate::device::{BitTerm, Summed};
use crate::prg::Stream;
use crate::ring::{BLOCK, Layout, Word};

/// Role 0: from u₁ and u₂ (u = u₁ ⊕ u₂) the pad p₀ = u₂α + u₁β, as `message` = p₀ − f for
/// role 1, with its shares y₀ = f + ν and y₁ = message + μ.
pub fn role0<W: Word>(u: [&[u64]; 2], streams: [&Stream; 5], message: &mut [u64], y0: &mut [u64], y1: &mut [u64]) {
    let [alpha, beta, f, mu, nu] = streams;
    let [message, y0, y1] = [message, y0, y1].map(W::of_mut);
    let layout = Layout::new(message.len());
    let (message, y0, y1) = (Out::new(message), Out::new(y0), Out::new(y1));
    for_units(layout, |unit| {
        let n = unit.elements.len();
        let mut pads = [[0u64; BLOCK]; 3];
        for (pad, stream) in pads.iter_mut().zip([alpha, beta, f]) {
            draw::<W>(stream, unit, &mut W::of_mut(pad)[..n]);
        }
        let [alpha, beta, f] = pads.each_ref().map(|pad| W::of(pad));
        let e = unit.elements.clone();
        // SAFETY: each unit takes its own ranges, once.
        let (message, y0, y1) = unsafe { (message.range(e.clone()), y0.range(e.clone()), y1.range(e)) };
        draw(nu, unit, y0);
        draw(mu, unit, y1);
        let (u1, u2) = (&u[0][unit.words.clone()], &u[1][unit.words.clone()]);
        role0_unit(unit.lanes(), u1, u2, &alpha[..n], &beta[..n], &f[..n], message, y0, y1);
    });
}

row_kernel! {
    fn role0_unit<R, W>(
        u1: &[u64], u2: &[u64], alpha: &[W], beta: &[W], f: &[W],
        message: &mut [W], y0: &mut [W], y1: &mut [W],
    ) {
        let (u1, u2) = (R::load(u1, 0), R::load(u2, 0));
        for t in 0..message.len() / R::LANES {
            let (alpha, beta, f) = (R::load(alpha, t), R::load(beta, t), R::load(f, t));
            let padded = (alpha & u2.mask(t as u32)).plus(beta & u1.mask(t as u32)).minus(f);
            padded.store(message, t);
            R::load(y0, t).plus(f).store(y0, t);
            R::load(y1, t).plus(padded).store(y1, t);
        }
    }
}

/// What stands for a second component that a role does not have.
static NOTHING: [u64; BLOCK] = [0; BLOCK];

/// What roles 1 and 2 send, each: [`term`].
pub fn terms<W: Word>(terms: Vec<BitTerm<&[u64], &Stream, &mut [u64]>>) {
    terms.into_iter().for_each(term::<W>);
}

/// What role 1 or 2 sends, with x the sum of its parts and a = (1 − 2v)x: first `message` = (1 − 2u)a − mask; and last, from
/// what the other has opened, e, `message` = vx + u(a + e) − mask.
pub fn term<W: Word>(term: BitTerm<&[u64], &Stream, &mut [u64]>) {
    let BitTerm { bits: [u, v], x: Summed(first, second), opened, mask, message } = term;
    let (first, second, opened) = (W::of(first), second.map(W::of), opened.map(W::of));
    let message = W::of_mut(message);
    let layout = Layout::new(message.len());
    let message = Out::new(message);
    for_units(layout, |unit| {
        let n = unit.elements.len();
        let mut pad = [0u64; BLOCK];
        let pad = &mut W::of_mut(&mut pad)[..n];
        draw(mask, unit, pad);
        let (e, w) = (unit.elements.clone(), unit.words.clone());
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(e.clone()) };
        let (u, v, x1) = (&u[w.clone()], &v[w], &first[e.clone()]);
        let x2 = second.map_or(&W::of(&NOTHING)[..n], |second| &second[e.clone()]);
        match opened {
            None => open_unit(unit.lanes(), u, v, x1, x2, pad, message),
            Some(opened) => close_unit(unit.lanes(), u, v, x1, x2, &opened[e], pad, message),
        }
    });
}

row_kernel! {
    fn open_unit<R, W>(u1: &[u64], v: &[u64], x1: &[W], x2: &[W], pad: &[W], message: &mut [W]) {
        let bits = R::load(u1, 0) ^ R::load(v, 0);
        for t in 0..message.len() / R::LANES {
            let x = R::load(x1, t).plus(R::load(x2, t));
            x.negated_if(bits.mask(t as u32)).minus(R::load(pad, t)).store(message, t);
        }
    }
}

row_kernel! {
    fn close_unit<R, W>(
        u1: &[u64], v: &[u64], x1: &[W], x2: &[W], e: &[W], pad: &[W], message: &mut [W],
    ) {
        let (u1, v) = (R::load(u1, 0), R::load(v, 0));
        for t in 0..message.len() / R::LANES {
            let (u1, v) = (u1.mask(t as u32), v.mask(t as u32));
            let x = R::load(x1, t).plus(R::load(x2, t));
            let own = (x & v).plus(x.negated_if(v).plus(R::load(e, t)) & u1);
            own.minus(R::load(pad, t)).store(message, t);
        }
    }
}

/// Conversion, role 0: `message` u − u₁, the additive share of the bit for role 2.
pub fn convert_role0<W: Word>(u: &[u64], u1: &Stream, message: &mut [u64]) {
    let message = W::of_mut(message);
    let layout = Layout::new(message.len());
    let message = Out::new(message);
    for_units(layout, |unit| {
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(unit.elements.clone()) };
        draw(u1, unit, message);
        convert_role0_unit(unit.lanes(), &u[unit.words.clone()], message);
    });
}

row_kernel! {
    fn convert_role0_unit<R, W>(u: &[u64], message: &mut [W]) {
        let u = R::load(u, 0);
        for t in 0..message.len() / R::LANES {
            // A mask is minus its bit.
            R::zero().minus(u.mask(t as u32)).minus(R::load(message, t)).store(message, t);
        }
    }
}

/// Conversion, roles 1 and 2: (1 − 2v)·share − mask, and v added by role 2 (`with_v`).
/// `share` is this role's additive share of u.
pub fn convert_term<W: Word>(v: &[u64], share: &[u64], mask: &Stream, with_v: bool, message: &mut [u64]) {
    let (share, message) = (W::of(share), W::of_mut(message));
    let layout = Layout::new(message.len());
    let message = Out::new(message);
    for_units(layout, |unit| {
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(unit.elements.clone()) };
        draw(mask, unit, message);
        let keep = u64::from(with_v);
        convert_term_unit(unit.lanes(), &v[unit.words.clone()], &share[unit.elements.clone()], keep, message);
    });
}

row_kernel! {
    fn convert_term_unit<R, W>(v: &[u64], share: &[W], keep: u64, message: &mut [W]) {
        let (v, keep) = (R::load(v, 0), R::splat(keep.wrapping_neg()));
        for t in 0..message.len() / R::LANES {
            // A mask is minus its bit.
            let v = v.mask(t as u32);
            let term = R::load(share, t).negated_if(v).minus(v & keep);
            term.minus(R::load(message, t)).store(message, t);
        }
    }
}
