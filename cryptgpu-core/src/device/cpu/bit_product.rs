//! Local steps of a secret bit times a secret tensor, and of a bit's conversion to arithmetic
//! shares (`docs/protocols.md`). The bit is u ⊕ v, u known to role 0, v to roles 1 and 2. Bits
//! are packed; every function's slices have one entry an element, bits one word in 64.

use super::parallel::{Out, for_units};
use super::planes::{for_bits, unit_kernel};
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

unit_kernel! {
    fn role0_unit(
        L, u1: &[u64], u2: &[u64], alpha: &[u64], beta: &[u64], f: &[u64],
        message: &mut [u64], y0: &mut [u64], y1: &mut [u64],
    ) {
        let n = message.len();
        assert!(alpha.len() == n && beta.len() == n && f.len() == n && y0.len() == n && y1.len() == n);
        for_bits::<L, 2>(n, [u1, u2], |i, [u1, u2]| {
            let pad = (alpha[i] & u2.wrapping_neg()).wrapping_add(beta[i] & u1.wrapping_neg());
            message[i] = pad.wrapping_sub(f[i]);
            y0[i] = y0[i].wrapping_add(f[i]);
            y1[i] = y1[i].wrapping_add(message[i]);
        });
    }
}

/// (1 − 2·bit)·x.
#[inline(always)]
fn signed(bit: u64, x: u64) -> u64 {
    (x ^ bit.wrapping_neg()).wrapping_add(bit)
}

/// Roles 1 and 2, first: `message` d = (1 − 2u₁)a − α with a = (1 − 2v)(x₁ + x₂); at role 2 with u₂ and [x₀, 0].
pub fn open(bits: [&[u64]; 2], x: [&[u64]; 2], alpha: &Stream, message: &mut [u64]) {
    let layout = Layout::new(message.len());
    let message = Out::new(message);
    for_units(layout, |unit| {
        let mut pad = [0u64; BLOCK];
        let pad = &mut pad[..unit.elements.len()];
        alpha.fill(unit.elements.start, pad);
        let (e, w) = (unit.elements.clone(), unit.words.clone());
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(e.clone()) };
        open_unit(unit.lanes(), &bits[0][w.clone()], &bits[1][w], &x[0][e.clone()], &x[1][e], pad, message);
    });
}

unit_kernel! {
    fn open_unit(L, u1: &[u64], v: &[u64], x1: &[u64], x2: &[u64], pad: &[u64], message: &mut [u64]) {
        let n = message.len();
        assert!(x1.len() == n && x2.len() == n && pad.len() == n);
        for_bits::<L, 2>(n, [u1, v], |i, [u1, v]| {
            message[i] = signed(u1 ^ v, x1[i].wrapping_add(x2[i])).wrapping_sub(pad[i]);
        });
    }
}

/// Roles 1 and 2, last: from what the other has opened, e, the `message` p₁ − μ with p₁ = v(x₁ + x₂) + u₁(a + e).
pub fn close(bits: [&[u64]; 2], x: [&[u64]; 2], e: &[u64], mu: &Stream, message: &mut [u64]) {
    let layout = Layout::new(message.len());
    let message = Out::new(message);
    for_units(layout, |unit| {
        let mut pad = [0u64; BLOCK];
        let pad = &mut pad[..unit.elements.len()];
        mu.fill(unit.elements.start, pad);
        let (range, w) = (unit.elements.clone(), unit.words.clone());
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(range.clone()) };
        let (u1, v) = (&bits[0][w.clone()], &bits[1][w]);
        close_unit(unit.lanes(), u1, v, &x[0][range.clone()], &x[1][range.clone()], &e[range], pad, message);
    });
}

unit_kernel! {
    fn close_unit(
        L, u1: &[u64], v: &[u64], x1: &[u64], x2: &[u64], e: &[u64], pad: &[u64], message: &mut [u64],
    ) {
        let n = message.len();
        assert!(x1.len() == n && x2.len() == n && e.len() == n && pad.len() == n);
        for_bits::<L, 2>(n, [u1, v], |i, [u1, v]| {
            let x = x1[i].wrapping_add(x2[i]);
            let own = (x & v.wrapping_neg()).wrapping_add(signed(v, x).wrapping_add(e[i]) & u1.wrapping_neg());
            message[i] = own.wrapping_sub(pad[i]);
        });
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

unit_kernel! {
    fn convert_role0_unit(L, u: &[u64], message: &mut [u64]) {
        for_bits::<L, 1>(message.len(), [u], |i, [u]| message[i] = u.wrapping_sub(message[i]));
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

unit_kernel! {
    fn convert_term_unit(L, v: &[u64], share: &[u64], keep: u64, message: &mut [u64]) {
        let n = message.len();
        assert!(share.len() == n);
        for_bits::<L, 1>(n, [v], |i, [v]| {
            message[i] = signed(v, share[i]).wrapping_add(v & keep).wrapping_sub(message[i]);
        });
    }
}
