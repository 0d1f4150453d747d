//! Local steps of truncation without wrap (`docs/protocols.md`): of a product whose additive
//! shares the parties hold (three roles, `product_*`), and of a replicated tensor (`shared_*`).
//!
//! In the ring of l bits both see x + 2^(l−2) − 1 = u + v − w·2^l with u known to role 0 and v to role 1. The wrap is
//! w = 1 − ab with a = ¬msb(u), b = ¬msb(v), so ⌊x / 2^d⌋ or one more is
//! (u ≫ d) + (v ≫ d) + `constant(d)` + 2^(l−d)·ab, and ab is needed modulo 2^d only.
//!
//! The −1 takes the bias off: with r = x mod 2^d and u uniform, (u ≫ d) + (v ≫ d) + 1 of a sum u + v = x would be the larger with
//! probability (r + 1)/2^d, and of x − 1 it is with r/2^d, and never where r = 0. The same holds where the k lower bits of x, and
//! of what it is shared in, are zero: u ends in k ones then, and u ≫ d is what it is of x/2^k − 1.
//! All slices are memory of 64-bit words, which hold elements, then planes of bits where both are named.

use super::parallel::{Out, draw, for_units};
use super::planes::{load_planes, store_planes};
use super::rows::row_kernel;
use crate::device::{CloseTerms, Deal, OpenTop, Results, TermShare};
use crate::prg::Stream;
use crate::ring::{BLOCK, Layout, Word};

/// 2^(l−2) − 1, which makes x non-negative for −2^(l−2) < x ≤ 2^(l−2), and is one short of a whole number of the result's units.
const fn offset<W: Word>() -> u64 {
    (1 << (W::BITS - 2)) - 1
}

/// 1 − 2^(l−d) − 2^(l−2−d): what is left when 2^(l−2) and the wrap are undone.
fn constant<W: Word>(d: u32) -> u64 {
    1u64.wrapping_sub(1 << (W::BITS - d)).wrapping_sub(1 << (W::BITS - 2 - d))
}

/// What roles 2 and 0 of a product send first: [`product_deal`] and [`open_top`].
pub fn product_first<W: Word>(d: u32, deal: Deal<&[u64], &Stream, &mut [u64]>, open: OpenTop<&[u64], &mut [u64]>) {
    product_deal::<W>(d, deal);
    open_top::<W>(open);
}

/// Role 0 of a product, first: `message` = e = ¬msb(z₀ + 2^(l−2) − 1), packed, ⊕ α.
pub fn open_top<W: Word>(OpenTop { z, alpha, message }: OpenTop<&[u64], &mut [u64]>) {
    let z = W::of(z);
    let message = Out::new(message);
    for_units(Layout::new(z.len()), |unit| {
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(unit.words.clone()) };
        open_top_unit(unit.lanes(), offset::<W>(), &z[unit.elements.clone()], &alpha[unit.words.clone()], message);
    });
}

row_kernel! {
    fn open_top_unit<R, W>(offset: u64, u: &[W], pad: &[u64], message: &mut [u64]) {
        let (offset, mut message_bits) = (R::splat(offset), R::load(pad, 0));
        for t in 0..u.len() / R::LANES {
            let top = (!R::load(u, t).plus(offset)).reduced::<W>().shr(W::BITS - 1);
            message_bits = message_bits ^ top.shl(t as u32);
        }
        message_bits.store(message, 0);
    }
}

/// Role 2 of a product: `message` = [z₂][γ₁ = αβ − γ₀ modulo 2^d as d planes], α and β packed bits.
pub fn product_deal<W: Word>(d: u32, deal: Deal<&[u64], &Stream, &mut [u64]>) {
    let Deal { z, halves: [alpha, beta], gamma, message } = deal;
    let (copy, planes) = message.split_at_mut(z.len());
    let z = W::of(z);
    let (copy, planes) = (Out::new(W::of_mut(copy)), Out::new(planes));
    for_units(Layout::new(z.len()), |unit| {
        let mut pad = [0u64; BLOCK];
        let pad = &mut W::of_mut(&mut pad)[..unit.elements.len()];
        draw(gamma, unit, pad);
        let (e, w) = (unit.elements.clone(), unit.words.clone());
        // SAFETY: each unit takes its own ranges, once.
        let (copy, planes) = unsafe { (copy.range(e.clone()), planes.range(unit.planes(d as usize))) };
        copy.copy_from_slice(&z[e]);
        product_deal_unit(unit.lanes(), &alpha[w.clone()], &beta[w], pad, planes);
    });
}

row_kernel! {
    fn product_deal_unit<R, W>(alpha: &[u64], beta: &[u64], gamma: &[W], planes: &mut [u64]) {
        let both = R::load(alpha, 0) & R::load(beta, 0);
        let mut share = [R::zero(); 64];
        for (t, share) in share.iter_mut().take(gamma.len() / R::LANES).enumerate() {
            // A mask is minus its bit.
            *share = R::zero().minus(both.mask(t as u32)).minus(R::load(gamma, t));
        }
        store_planes(&mut share, planes);
    }
}

/// Role 1 of a product, from z₁, what role 2 dealt, [z₂][γ₁ as planes], e and β: v = z₁ + z₂, b = ¬msb(v), and
/// `message` = [p₁ = (v ≫ d) + 2^(l−d)·(ef + e(1−2f)β + (1−2e)(1−2f)γ₁) − y₂][f = b ⊕ β, packed], a = p₁, b = y₂.
pub fn product_role1<W: Word>(
    d: u32,
    [z, dealt]: [&[u64]; 2],
    [e, beta]: [&[u64]; 2],
    y2: &Stream,
    Results { message, a, b }: Results<&mut [u64]>,
) {
    let n = z.len();
    let ((z2, gamma), (half, f)) = (dealt.split_at(n), message.split_at_mut(n));
    let ([z, z2], [half, a, b]) = ([z, z2].map(W::of), [half, a, b].map(W::of_mut));
    let (half, f, a, b) = (Out::new(half), Out::new(f), Out::new(a), Out::new(b));
    for_units(Layout::new(z.len()), |unit| {
        let (at, w, lanes) = (unit.elements.clone(), unit.words.clone(), unit.lanes());
        // SAFETY: each unit takes its own ranges, once.
        let (half, f, a, b) =
            unsafe { (half.range(at.clone()), f.range(w.clone()), a.range(at.clone()), b.range(at.clone())) };
        draw(y2, unit, b);
        let mut v = [0u64; BLOCK];
        let v = &mut W::of_mut(&mut v)[..at.len()];
        sum_unit(lanes, &z[at.clone()], &z2[at], v);
        open_top_unit(lanes, 0, v, &beta[w.clone()], f);
        let gamma = &gamma[unit.planes(d as usize)];
        product_role1_unit(lanes, d, v, &e[w.clone()], f, &beta[w], gamma, b, half);
        a.copy_from_slice(half);
    });
}

row_kernel! {
    fn sum_unit<R, W>(x: &[W], y: &[W], out: &mut [W]) {
        for t in 0..out.len() / R::LANES {
            R::load(x, t).plus(R::load(y, t)).store(out, t);
        }
    }
}

row_kernel! {
    fn product_role1_unit<R, W>(
        d: u32, v: &[W], e: &[u64], f: &[u64], beta: &[u64], gamma: &[u64], y: &[W], message: &mut [W],
    ) {
        let mut rows = [R::zero(); 64];
        load_planes(&mut rows, gamma);
        let (e, f, beta) = (R::load(e, 0), R::load(f, 0), R::load(beta, 0));
        let (both, plus, minus) = (e & f, e & beta & !f, e & beta & f);
        for (t, gamma) in rows.iter().take(v.len() / R::LANES).enumerate() {
            let at = t as u32;
            // A mask is minus its bit.
            let own = gamma.negated_if((e ^ f).mask(at)).minus(both.mask(at)).minus(plus.mask(at)).plus(minus.mask(at));
            let half = R::load(v, t).shr(d).plus(own.shl(W::BITS - d));
            half.minus(R::load(y, t)).store(message, t);
        }
    }
}

/// Role 0 of a product, from z₀, what role 1 sent, \[p₁\]\[f\], its own e and α, and γ₀ and y₀:
/// `message` = p₀ = (u ≫ d) + constant + 2^(l−d)·(f(1−2e)α + (1−2e)(1−2f)γ₀) − y₀, u = z₀ + 2^(l−2) − 1; a = y₀, b = p₀ + p₁.
pub fn product_role0<W: Word>(
    d: u32,
    [z, received]: [&[u64]; 2],
    [e, alpha]: [&[u64]; 2],
    [gamma, y0]: [&Stream; 2],
    Results { message, a, b }: Results<&mut [u64]>,
) {
    let n = z.len();
    let (p1, f) = received.split_at(n);
    let ([z, p1], [message, a, b]) = ([z, p1].map(W::of), [message, a, b].map(W::of_mut));
    let (message, a, b) = (Out::new(message), Out::new(a), Out::new(b));
    for_units(Layout::new(z.len()), |unit| {
        let (at, w, lanes) = (unit.elements.clone(), unit.words.clone(), unit.lanes());
        // SAFETY: each unit takes its own ranges, once.
        let (message, a, b) = unsafe { (message.range(at.clone()), a.range(at.clone()), b.range(at.clone())) };
        draw(y0, unit, a);
        draw(gamma, unit, message);
        product_role0_unit(lanes, d, &z[at.clone()], &e[w.clone()], &f[w.clone()], &alpha[w], a, message);
        sum_unit(lanes, message, &p1[at], b);
    });
}

row_kernel! {
    fn product_role0_unit<R, W>(
        d: u32, z: &[W], e: &[u64], f: &[u64], alpha: &[u64], y: &[W], message: &mut [W],
    ) {
        let (offset, constant) = (R::splat(offset::<W>()), R::splat(constant::<W>(d)));
        let (e, f, alpha) = (R::load(e, 0), R::load(f, 0), R::load(alpha, 0));
        let (plus, minus) = (f & alpha & !e, f & alpha & e);
        for t in 0..z.len() / R::LANES {
            let at = t as u32;
            // A mask is minus its bit.
            let own = R::load(message, t).negated_if((e ^ f).mask(at)).minus(plus.mask(at)).plus(minus.mask(at));
            let quotient = R::load(z, t).plus(offset).reduced::<W>().shr(d).plus(constant);
            quotient.plus(own.shl(W::BITS - d)).minus(R::load(y, t)).store(message, t);
        }
    }
}

/// Role 0 of a replicated tensor, from a₁, μ, ν and y₁: `message` for role 2 is [y₀][planes of a₂ = a − a₁ modulo 2^d],
/// y₀ = (u ≫ d) + constant − 2^(l−d)(μ + ν) − y₁, u = x₀ + x₁ + 2^(l−2) − 1; a = y₀, b = y₁.
pub fn shared_role0<W: Word>(
    d: u32,
    x: [&[u64]; 2],
    streams: [&Stream; 4],
    Results { message, a, b }: Results<&mut [u64]>,
) {
    let [a1, mu, nu, y1] = streams;
    let n = x[0].len();
    let (y0, planes) = message.split_at_mut(n);
    let (x, [y0, a, b]) = (x.map(W::of), [y0, a, b].map(W::of_mut));
    let (y0, planes, a, b) = (Out::new(y0), Out::new(planes), Out::new(a), Out::new(b));
    for_units(Layout::new(x[0].len()), |unit| {
        let (e, count) = (unit.elements.clone(), unit.elements.len());
        let mut pads = [[0u64; BLOCK]; 3];
        for (pad, stream) in pads.iter_mut().zip([a1, mu, nu]) {
            draw::<W>(stream, unit, &mut W::of_mut(pad)[..count]);
        }
        let [a1, mu, nu] = pads.each_ref().map(|pad| W::of(pad));
        // SAFETY: each unit takes its own ranges, once.
        let (y0, planes, a, b) = unsafe {
            (y0.range(e.clone()), planes.range(unit.planes(d as usize)), a.range(e.clone()), b.range(e.clone()))
        };
        draw(y1, unit, b);
        let (x0, x1) = (&x[0][e.clone()], &x[1][e]);
        shared_role0_unit(unit.lanes(), d, x0, x1, &a1[..count], &mu[..count], &nu[..count], b, y0, planes);
        a.copy_from_slice(y0);
    });
}

row_kernel! {
    fn shared_role0_unit<R, W>(
        d: u32, x0: &[W], x1: &[W], a1: &[W], mu: &[W], nu: &[W], y1: &[W],
        y0: &mut [W], planes: &mut [u64],
    ) {
        let (offset, constant) = (R::splat(offset::<W>()), R::splat(constant::<W>(d)));
        let mut a2 = [R::zero(); 64];
        for (t, a2) in a2.iter_mut().take(x0.len() / R::LANES).enumerate() {
            let u = R::load(x0, t).plus(R::load(x1, t)).plus(offset).reduced::<W>();
            *a2 = (!u).reduced::<W>().shr(W::BITS - 1).minus(R::load(a1, t));
            let masks = R::load(mu, t).plus(R::load(nu, t)).shl(W::BITS - d);
            u.shr(d).plus(constant).minus(masks).minus(R::load(y1, t)).store(y0, t);
        }
        store_planes(&mut a2, planes);
    }
}

/// Roles 1 and 2 of a replicated tensor: planes of b·share + mask modulo 2^d, b = ¬msb(v). Role 1's share of a is a stream,
/// and `kept` = y₁; role 2 has both from role 0, [y₀][planes of its share], and `kept` = y₀.
pub fn shared_term<W: Word>(
    d: u32,
    v: &[u64],
    share: TermShare<&Stream, &[u64]>,
    mask: &Stream,
    planes: &mut [u64],
    kept: &mut [u64],
) {
    let words = v.len();
    let (v, planes, kept) = (W::of(v), Out::new(planes), Out::new(W::of_mut(kept)));
    for_units(Layout::new(v.len()), |unit| {
        let (e, n) = (unit.elements.clone(), unit.elements.len());
        let mut pads = [[0u64; BLOCK]; 2];
        let [pad, value] = pads.each_mut().map(|pad| &mut W::of_mut(pad)[..n]);
        draw(mask, unit, pad);
        // SAFETY: each unit takes its own ranges, once.
        let (planes, kept) = unsafe { (planes.range(unit.planes(d as usize)), kept.range(e.clone())) };
        let received = match share {
            TermShare::Drawn { share, y1 } => {
                draw(share, unit, value);
                draw(y1, unit, kept);
                &[][..]
            }
            TermShare::Received(received) => {
                let (y0, share) = received.split_at(words);
                kept.copy_from_slice(&W::of(y0)[e.clone()]);
                &share[unit.planes(d as usize)]
            }
        };
        shared_term_unit(unit.lanes(), &v[e], received, value, pad, planes);
    });
}

row_kernel! {
    fn shared_term_unit<R, W>(v: &[W], received: &[u64], drawn: &[W], pad: &[W], planes: &mut [u64]) {
        let (is_drawn, mut shares) = (received.is_empty(), [R::zero(); 64]);
        load_planes(&mut shares, received);
        // What was received for elements that are not there is not passed on.
        let mut rows = [R::zero(); 64];
        for (t, row) in rows.iter_mut().take(v.len() / R::LANES).enumerate() {
            let share = if is_drawn { R::load(drawn, t) } else { shares[t] };
            let b = (!R::load(v, t)).mask(W::BITS - 1);
            *row = (share & b).plus(R::load(pad, t));
        }
        store_planes(&mut rows, planes);
    }
}

/// The last steps of roles 1 and 2 of a replicated tensor, each: [`shared_close`].
pub fn shared_closings<W: Word>(d: u32, closings: Vec<CloseTerms<&[u64], &mut [u64]>>) {
    closings.into_iter().for_each(|closing| shared_close::<W>(d, closing));
}

/// Roles 1 and 2 of a replicated tensor, last: y₂ = (v ≫ d) + 2^(l−d)(m₁ + m₂).
pub fn shared_close<W: Word>(d: u32, CloseTerms { v, terms, y2 }: CloseTerms<&[u64], &mut [u64]>) {
    let (v, y2) = (W::of(v), Out::new(W::of_mut(y2)));
    for_units(Layout::new(v.len()), |unit| {
        let (e, at) = (unit.elements.clone(), unit.planes(d as usize));
        // SAFETY: each unit takes its own range, once.
        let y2 = unsafe { y2.range(e.clone()) };
        shared_close_unit(unit.lanes(), d, &v[e], &terms[0][at.clone()], &terms[1][at], y2);
    });
}

row_kernel! {
    fn shared_close_unit<R, W>(d: u32, v: &[W], first: &[u64], second: &[u64], y2: &mut [W]) {
        let mut rows = [[R::zero(); 64]; 2];
        load_planes(&mut rows[0], first);
        load_planes(&mut rows[1], second);
        let [first, second] = &rows;
        for (t, (first, second)) in first.iter().zip(second).take(v.len() / R::LANES).enumerate() {
            R::load(v, t).shr(d).plus(first.plus(*second).shl(W::BITS - d)).store(y2, t);
        }
    }
}
