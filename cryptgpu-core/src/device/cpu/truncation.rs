//! Local steps of truncation without wrap (`docs/protocols.md`): of a product whose additive
//! shares the parties hold (three roles, `product_*`), and of a replicated tensor (`shared_*`).
//!
//! Both see x + 2^62 = u + v − w·2^64 with u known to role 0 and v to role 1. The wrap is
//! w = 1 − ab with a = ¬msb(u), b = ¬msb(v), so ⌊x / 2^d⌋ or one more is
//! (u ≫ d) + (v ≫ d) + `constant(d)` + 2^(64−d)·ab, and ab is needed modulo 2^d only.

use super::parallel::{Out, for_units};
use super::planes::{Rows, for_bits, load, pack, transpose, unit_kernel};
use crate::device::{OpenedBits, TermShare};
use crate::prg::Stream;
use crate::ring::{BLOCK, Layout};

/// 2^62, which makes a value of less than 2^62 in absolute value non-negative.
const OFFSET: u64 = 1 << 62;

/// 1 − 2^(64−d) − 2^(62−d): what is left when the offset and the wrap are undone.
fn constant(d: u32) -> u64 {
    1u64.wrapping_sub(1 << (64 - d)).wrapping_sub(1 << (62 - d))
}

/// ¬msb(u), packed and XORed with `pad`: what role 0 (with `offset`, u = z + 2^62) sends.
pub fn open_top(offset: bool, u: &[u64], pad: &[u64], message: &mut [u64]) {
    let layout = Layout::new(u.len());
    let message = Out::new(message);
    let offset = if offset { OFFSET } else { 0 };
    for_units(layout, |unit| {
        // SAFETY: each unit takes its own range, once.
        let message = unsafe { message.range(unit.words.clone()) };
        open_top_unit(unit.lanes(), offset, &u[unit.elements.clone()], &pad[unit.words.clone()], message);
    });
}

unit_kernel! {
    fn open_top_unit(L, offset: u64, u: &[u64], pad: &[u64], message: &mut [u64]) {
        pack::<L>(u.len(), message, |i| !u[i].wrapping_add(offset) >> 63);
        for l in 0..L {
            message[l] ^= pad[l];
        }
    }
}

/// Role 2 of a product: γ₁ = αβ − γ₀ modulo 2^d as d planes, α and β packed bits.
pub fn product_deal(d: u32, n: usize, alpha: &[u64], beta: &[u64], gamma: &Stream, planes: &mut [u64]) {
    let planes = Out::new(planes);
    for_units(Layout::new(n), |unit| {
        let mut pad = [0u64; BLOCK];
        let pad = &mut pad[..unit.elements.len()];
        gamma.fill(unit.elements.start, pad);
        // SAFETY: each unit takes its own range, once.
        let planes = unsafe { planes.range(unit.planes(d as usize)) };
        let (alpha, beta) = (&alpha[unit.words.clone()], &beta[unit.words.clone()]);
        product_deal_unit(unit.lanes(), alpha, beta, pad, planes);
    });
}

unit_kernel! {
    fn product_deal_unit(L, alpha: &[u64], beta: &[u64], gamma: &mut [u64], planes: &mut [u64]) {
        let n = gamma.len();
        for_bits::<L, 2>(n, [alpha, beta], |i, [a, b]| gamma[i] = (a & b).wrapping_sub(gamma[i]));
        store_planes::<L>(gamma, planes);
    }
}

/// The low bits of `values` as planes, as many as `planes` has room for.
#[inline(always)]
fn store_planes<const L: usize>(values: &[u64], planes: &mut [u64]) {
    let mut rows: Rows<L> = load(values.len(), |i| values[i]);
    transpose(&mut rows);
    for (plane, row) in planes.chunks_exact_mut(L).zip(&rows) {
        plane.copy_from_slice(row);
    }
}

/// The values whose low bits are `planes`, other bits zero.
#[inline(always)]
fn load_planes<const L: usize>(planes: &[u64], values: &mut [u64]) {
    let mut rows: Rows<L> = [[0; L]; 64];
    for (row, plane) in rows.iter_mut().zip(planes.chunks_exact(L)) {
        row.copy_from_slice(plane);
    }
    transpose(&mut rows);
    if values.len() == 64 * L {
        for t in 0..64 {
            values[t * L..(t + 1) * L].copy_from_slice(&rows[t]);
        }
    } else {
        for (index, value) in values.iter_mut().enumerate() {
            *value = rows[index / L][index % L];
        }
    }
}

/// Role 1 of a product: `message` p₁ = (v ≫ d) + 2^(64−d)·(ef + e(1−2f)β + (1−2e)(1−2f)γ₁) − y₂,
/// y₂ written to `y`.
pub fn product_role1(
    d: u32,
    v: &[u64],
    bits: OpenedBits<&[u64]>,
    gamma: &[u64],
    y2: &Stream,
    message: &mut [u64],
    y: &mut [u64],
) {
    let (message, y) = (Out::new(message), Out::new(y));
    for_units(Layout::new(v.len()), |unit| {
        let (e, w) = (unit.elements.clone(), unit.words.clone());
        // SAFETY: each unit takes its own ranges, once.
        let (message, y) = unsafe { (message.range(e.clone()), y.range(e.clone())) };
        y2.fill(e.start, y);
        let (ep, fp, beta) = (&bits.e[w.clone()], &bits.f[w.clone()], &bits.pad[w]);
        let gamma = &gamma[unit.planes(d as usize)];
        product_role1_unit(unit.lanes(), d, &v[e], ep, fp, beta, gamma, y, message);
    });
}

unit_kernel! {
    fn product_role1_unit(
        L, d: u32, v: &[u64], e: &[u64], f: &[u64], beta: &[u64], gamma: &[u64], y: &[u64], message: &mut [u64],
    ) {
        let n = v.len();
        assert!(y.len() == n && message.len() == n);
        load_planes::<L>(gamma, message);
        for_bits::<L, 3>(n, [e, f, beta], |i, [e, f, beta]| {
            let signed = (message[i] ^ (e ^ f).wrapping_neg()).wrapping_add(e ^ f);
            let own = (e & f).wrapping_add(e & beta & !f).wrapping_sub(e & beta & f).wrapping_add(signed);
            message[i] = (v[i] >> d).wrapping_add(own << (64 - d)).wrapping_sub(y[i]);
        });
    }
}

/// Role 0 of a product: `message` p₀ = (u ≫ d) + constant + 2^(64−d)·(f(1−2e)α + (1−2e)(1−2f)γ₀) − y₀,
/// u = z + 2^62, y₀ written to `y`.
pub fn product_role0(
    d: u32,
    z: &[u64],
    bits: OpenedBits<&[u64]>,
    streams: [&Stream; 2],
    message: &mut [u64],
    y: &mut [u64],
) {
    let [gamma, y0] = streams;
    let (message, y) = (Out::new(message), Out::new(y));
    for_units(Layout::new(z.len()), |unit| {
        let (e, w) = (unit.elements.clone(), unit.words.clone());
        // SAFETY: each unit takes its own ranges, once.
        let (message, y) = unsafe { (message.range(e.clone()), y.range(e.clone())) };
        y0.fill(e.start, y);
        gamma.fill(e.start, message);
        let (ep, fp, alpha) = (&bits.e[w.clone()], &bits.f[w.clone()], &bits.pad[w]);
        product_role0_unit(unit.lanes(), d, &z[e], ep, fp, alpha, y, message);
    });
}

unit_kernel! {
    fn product_role0_unit(
        L, d: u32, z: &[u64], e: &[u64], f: &[u64], alpha: &[u64], y: &[u64], message: &mut [u64],
    ) {
        let n = z.len();
        assert!(y.len() == n && message.len() == n);
        let constant = constant(d);
        for_bits::<L, 3>(n, [e, f, alpha], |i, [e, f, alpha]| {
            let signed = (message[i] ^ (e ^ f).wrapping_neg()).wrapping_add(e ^ f);
            let own = (f & alpha & !e).wrapping_sub(f & alpha & e).wrapping_add(signed);
            let quotient = (z[i].wrapping_add(OFFSET) >> d).wrapping_add(constant);
            message[i] = quotient.wrapping_add(own << (64 - d)).wrapping_sub(y[i]);
        });
    }
}

/// Role 0 of a replicated tensor: `message` for role 2 is [y₀][planes of a₂ = a − a₁ modulo 2^d],
/// y₀ = (u ≫ d) + constant − 2^(64−d)(μ + ν) − y₁, u = x₀ + x₁ + 2^62; y₁ is written to `y1`.
pub fn shared_role0(d: u32, x: [&[u64]; 2], streams: [&Stream; 4], message: &mut [u64], y1: &mut [u64]) {
    let [a1, mu, nu, y1_stream] = streams;
    let n = x[0].len();
    let (y0, planes) = message.split_at_mut(n);
    let (y0, planes, y1) = (Out::new(y0), Out::new(planes), Out::new(y1));
    for_units(Layout::new(n), |unit| {
        let (e, count) = (unit.elements.clone(), unit.elements.len());
        let mut pads = [[0u64; BLOCK]; 3];
        for (pad, stream) in pads.iter_mut().zip([a1, mu, nu]) {
            stream.fill(e.start, &mut pad[..count]);
        }
        let [a1, mu, nu] = &mut pads;
        // SAFETY: each unit takes its own ranges, once.
        let (y0, y1, planes) =
            unsafe { (y0.range(e.clone()), y1.range(e.clone()), planes.range(unit.planes(d as usize))) };
        y1_stream.fill(e.start, y1);
        let (x0, x1) = (&x[0][e.clone()], &x[1][e]);
        shared_role0_unit(unit.lanes(), d, x0, x1, &mut a1[..count], &mu[..count], &nu[..count], y1, y0, planes);
    });
}

unit_kernel! {
    fn shared_role0_unit(
        L, d: u32, x0: &[u64], x1: &[u64], a1: &mut [u64], mu: &[u64], nu: &[u64], y1: &[u64],
        y0: &mut [u64], planes: &mut [u64],
    ) {
        let n = x0.len();
        assert!(x1.len() == n && a1.len() == n && mu.len() == n && nu.len() == n && y1.len() == n && y0.len() == n);
        let constant = constant(d);
        for i in 0..n {
            let u = x0[i].wrapping_add(x1[i]).wrapping_add(OFFSET);
            a1[i] = (!u >> 63).wrapping_sub(a1[i]);
            let masks = mu[i].wrapping_add(nu[i]) << (64 - d);
            y0[i] = (u >> d).wrapping_add(constant).wrapping_sub(masks).wrapping_sub(y1[i]);
        }
        store_planes::<L>(a1, planes);
    }
}

/// Roles 1 and 2 of a replicated tensor: planes of b·share + mask modulo 2^d, b = ¬msb(v). The
/// share of a is a stream at role 1, received planes at role 2.
pub fn shared_term(d: u32, v: &[u64], share: TermShare<&Stream, &[u64]>, mask: &Stream, planes: &mut [u64]) {
    let planes = Out::new(planes);
    for_units(Layout::new(v.len()), |unit| {
        let (e, n) = (unit.elements.clone(), unit.elements.len());
        let mut pads = [[0u64; BLOCK]; 2];
        let [pad, value] = &mut pads;
        mask.fill(e.start, &mut pad[..n]);
        let received = match share {
            TermShare::Drawn(stream) => {
                stream.fill(e.start, &mut value[..n]);
                &[][..]
            }
            TermShare::Received(received) => &received[unit.planes(d as usize)],
        };
        // SAFETY: each unit takes its own range, once.
        let planes = unsafe { planes.range(unit.planes(d as usize)) };
        shared_term_unit(unit.lanes(), &v[e], received, &mut value[..n], &pad[..n], planes);
    });
}

unit_kernel! {
    fn shared_term_unit(L, v: &[u64], received: &[u64], value: &mut [u64], pad: &[u64], planes: &mut [u64]) {
        let n = v.len();
        assert!(value.len() == n && pad.len() == n);
        if !received.is_empty() {
            load_planes::<L>(received, value);
        }
        for i in 0..n {
            value[i] = (value[i] & (!v[i] >> 63).wrapping_neg()).wrapping_add(pad[i]);
        }
        store_planes::<L>(value, planes);
    }
}

/// Roles 1 and 2 of a replicated tensor, last: y₂ = (v ≫ d) + 2^(64−d)(m₁ + m₂).
pub fn shared_close(d: u32, v: &[u64], terms: [&[u64]; 2], y2: &mut [u64]) {
    let y2 = Out::new(y2);
    for_units(Layout::new(v.len()), |unit| {
        let (e, at) = (unit.elements.clone(), unit.planes(d as usize));
        // SAFETY: each unit takes its own range, once.
        let y2 = unsafe { y2.range(e.clone()) };
        shared_close_unit(unit.lanes(), d, &v[e], &terms[0][at.clone()], &terms[1][at], y2);
    });
}

unit_kernel! {
    fn shared_close_unit(L, d: u32, v: &[u64], first: &[u64], second: &[u64], y2: &mut [u64]) {
        let mut buffer = [0u64; BLOCK];
        let n = v.len();
        let other = &mut buffer[..n];
        load_planes::<L>(first, y2);
        load_planes::<L>(second, other);
        for i in 0..n {
            y2[i] = (v[i] >> d).wrapping_add(y2[i].wrapping_add(other[i]) << (64 - d));
        }
    }
}
