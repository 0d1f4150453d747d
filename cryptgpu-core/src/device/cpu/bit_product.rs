//! Local steps of a secret bit times a secret tensor, and of a bit's conversion to arithmetic
//! shares (`docs/protocols.md`). The bit is u ⊕ v, u known to role 0, v to roles 1 and 2. Bits
//! are packed; every function's slices have one entry an element, bits one word in 64.

use super::parallel::{Out, for_units};
use super::rows::row_kernel;
use crate::device::{BitTerm, Summed};
use crate::prg::Stream;
use crate::ring::{BLOCK, Layout};

/// Role 0: from u₁ and u₂ (u = u₁ ⊕ u₂) the pad p₀ = u₂α + u₁β, as `message` = p₀ − f for
/// role 1, with its shares y₀ = f + ν and y₁ = message + μ.
pub fn role0(u: [&[u64]; 2], streams: [&Stream; 5], message: &mut [u64], y0: &mut [u64], y1: &mut [u64]) {
    let [alpha, beta, f, mu, nu] = streams;
    let layout = Layout::new(message.len());
    let (message, y0, y1) = (Out::new(message), Out::new(y0), Out::new(y1));
    for_units(layout, |unit| {
        let (at, n) = (unit.elements.start, unit.elements.len());
        let mut pads = [[0u64; BLOCK]; 3];
        for (pad, stream) in pads.iter_mut().zip([alpha, beta, f]) {
            stream.fill(at, &mut pad[..n]);
        }
        let [alpha, beta, f] = &pads;
        let e = unit.elements.clone();
        // SAFETY: each unit takes its own ranges, once.
        let (message, y0, y1) = unsafe { (message.range(e.clone()), y0.range(e.clone()), y1.range(e)) };
        nu.fill(at, y0);
        mu.fill(at, y1);
        let (u1, u2) = (&u[0][unit.words.clone()], &u[1][unit.words.clone()]);
        role0_unit(unit.lanes(), u1, u2, &alpha[..n], &beta[..n], &f[..n], message, y0, y1);
    });
}

row_kernel! {
    fn role0_unit<R>(
        u1: &[u64], u2: &[u64], alpha: &[u64], beta: &[u64], f: &[u64],
        message: &mut [u64], y0: &mut [u64], y1: &mut [u64],
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
pub fn terms(terms: Vec<BitTerm<&[u64], &Stream, &mut [u64]>>) {
    terms.into_iter().for_each(term);
}

/// What role 1 or 2 sends, with x the sum of its parts and a = (1 − 2v)x: first `message` = (1 − 2u)a − mask; and last, from
/// what the other has opened, e, `message` = vx + u(a + e) − mask.
pub fn term(term: BitTerm<&[u64], &Stream, &mut [u64]>) {
    let BitTerm { bits: [u, v], x: Summed(first, second), opened, mask, message } = term;
    let layout = Layout::new(message.len());
    let message = Out::new(message);
    for_units(layout, |unit| {
        let n = unit.elements.len();
        let mut pad = [0u64; BLOCK];
        let pad = &mut pad[..n];
        mask.fill(unit.elements.start, pad);
        let (e, w) = (unit.elements.clone(), unit.words.clone());
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(e.clone()) };
        let (u, v, x1) = (&u[w.clone()], &v[w], &first[e.clone()]);
        let x2 = second.map_or(&NOTHING[..n], |second| &second[e.clone()]);
        match opened {
            None => open_unit(unit.lanes(), u, v, x1, x2, pad, message),
            Some(opened) => close_unit(unit.lanes(), u, v, x1, x2, &opened[e], pad, message),
        }
    });
}

row_kernel! {
    fn open_unit<R>(u1: &[u64], v: &[u64], x1: &[u64], x2: &[u64], pad: &[u64], message: &mut [u64]) {
        let bits = R::load(u1, 0) ^ R::load(v, 0);
        for t in 0..message.len() / R::LANES {
            let x = R::load(x1, t).plus(R::load(x2, t));
            x.negated_if(bits.mask(t as u32)).minus(R::load(pad, t)).store(message, t);
        }
    }
}

row_kernel! {
    fn close_unit<R>(
        u1: &[u64], v: &[u64], x1: &[u64], x2: &[u64], e: &[u64], pad: &[u64], message: &mut [u64],
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
pub fn convert_role0(u: &[u64], u1: &Stream, message: &mut [u64]) {
    let layout = Layout::new(message.len());
    let message = Out::new(message);
    for_units(layout, |unit| {
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(unit.elements.clone()) };
        u1.fill(unit.elements.start, message);
        convert_role0_unit(unit.lanes(), &u[unit.words.clone()], message);
    });
}

row_kernel! {
    fn convert_role0_unit<R>(u: &[u64], message: &mut [u64]) {
        let u = R::load(u, 0);
        for t in 0..message.len() / R::LANES {
            // A mask is minus its bit.
            R::zero().minus(u.mask(t as u32)).minus(R::load(message, t)).store(message, t);
        }
    }
}

/// Conversion, roles 1 and 2: (1 − 2v)·share − mask, and v added by role 2 (`with_v`).
/// `share` is this role's additive share of u.
pub fn convert_term(v: &[u64], share: &[u64], mask: &Stream, with_v: bool, message: &mut [u64]) {
    let layout = Layout::new(message.len());
    let message = Out::new(message);
    for_units(layout, |unit| {
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(unit.elements.clone()) };
        mask.fill(unit.elements.start, message);
        let keep = u64::from(with_v);
        convert_term_unit(unit.lanes(), &v[unit.words.clone()], &share[unit.elements.clone()], keep, message);
    });
}

row_kernel! {
    fn convert_term_unit<R>(v: &[u64], share: &[u64], keep: u64, message: &mut [u64]) {
        let (v, keep) = (R::load(v, 0), R::splat(keep.wrapping_neg()));
        for t in 0..message.len() / R::LANES {
            // A mask is minus its bit.
            let v = v.mask(t as u32);
            let term = R::load(share, t).negated_if(v).minus(v & keep);
            term.minus(R::load(message, t)).store(message, t);
        }
    }
}
