//! Built-in protocols written again on the public API, as an author outside this crate would, to
//! show that it suffices: same values, same cost, same privacy, all found by the protocol checker.
//! Roles are not rotated here: party i has role i.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::device::{SignWindow, Tensor, Unary};
use cryptgpu_core::mpc::check::{Check, Protocol, elementwise};
use cryptgpu_core::mpc::{Cost, MpcError, Party, Rep, RepBits, RepXor, Side, World, cost};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::ring::Ring;
use ndarray::Array1;

type Result<T> = std::result::Result<T, MpcError>;

/// x · y, no truncation.
fn product(p: &mut Party, x: &Rep, y: &Rep) -> Result<Rep> {
    p.reshare(x.local_mul(y)?)
}

/// 1 − 2s for bits s.
fn sign_of(bit: &Tensor) -> Tensor {
    bit.unary(Unary::Mul(2u64.wrapping_neg())).unary(Unary::Add(1))
}

/// 1 where the top bit is clear.
fn top_is_clear(x: &Tensor) -> Tensor {
    x.unary(Unary::Shr(63)).unary(Unary::Xor(1))
}

/// x · y / 2^d, as `Party::mul` computes it (`mpc::protocol::truncation` has the table of messages).
fn product_truncated(p: &mut Party, x: &Rep, y: &Rep, d: u32) -> Result<Rep> {
    let shape = x.shape();
    let z = x.local_mul(y)?.add(&p.zero_share(shape))?;
    let z = z.mine();
    let [alpha, beta, gamma, y0, y2] = p.nonces();
    let top = Unary::Shl(64 - d);
    match p.id().index() {
        0 => {
            let u = z.unary(Unary::Add(1 << 62));
            let alpha = p.with_prev(alpha, shape, 1)?;
            let (gamma, y0) = (p.with_prev(gamma, shape, d)?, p.with_prev(y0, shape, 64)?);
            let e = top_is_clear(&u).xor(&alpha)?;
            p.send(Side::Next, &e, 1)?;
            let (f, p1) = p.round(|r| Ok((r.receive(Side::Next, shape, 1)?, r.receive(Side::Next, shape, 64)?)))?;
            let (se, sf) = (sign_of(&e), sign_of(&f));
            let ab = f.mul(&se)?.mul(&alpha)?.add(&se.mul(&sf)?.mul(&gamma)?)?;
            let half = u.unary(Unary::Shr(d)).add(&ab.unary(top))?.sub(&y0)?;
            p.send(Side::Next, &half, 64)?;
            Ok(Rep::from_components(y0, half.add(&p1)?)?)
        }
        1 => {
            let beta = p.with_next(beta, shape, 1)?;
            let y2 = p.with_next(y2, shape, 64)?;
            let (z2, gamma, e) = p.round(|r| {
                let dealt = (r.receive(Side::Next, shape, 64)?, r.receive(Side::Next, shape, d)?);
                Ok((dealt.0, dealt.1, r.receive(Side::Prev, shape, 1)?))
            })?;
            let v = z.add(&z2)?;
            let f = top_is_clear(&v).xor(&beta)?;
            let (se, sf) = (sign_of(&e), sign_of(&f));
            let ab = e.mul(&f)?.add(&e.mul(&sf)?.mul(&beta)?)?.add(&se.mul(&sf)?.mul(&gamma)?)?;
            let constant = 1u64.wrapping_sub(1 << (64 - d)).wrapping_sub(1 << (62 - d));
            let half = v.unary(Unary::Shr(d)).unary(Unary::Add(constant)).add(&ab.unary(top))?.sub(&y2)?;
            p.round(|r| {
                r.send(Side::Prev, &f, 1)?;
                r.send(Side::Prev, &half, 64)
            })?;
            let p0 = p.receive(Side::Prev, shape, 64)?;
            Ok(Rep::from_components(half.add(&p0)?, y2)?)
        }
        _ => {
            let (alpha, beta) = (p.with_next(alpha, shape, 1)?, p.with_prev(beta, shape, 1)?);
            let gamma = alpha.and(&beta)?.sub(&p.with_next(gamma, shape, d)?)?;
            p.round(|r| {
                r.send(Side::Prev, z, 64)?;
                r.send(Side::Prev, &gamma, d)
            })?;
            Ok(Rep::from_components(p.with_prev(y2, shape, 64)?, p.with_next(y0, shape, 64)?)?)
        }
    }
}

/// s · x for a secret bit s, as `Party::bit_product` computes it.
fn bit_product(p: &mut Party, bits: &RepBits, x: &Rep) -> Result<Rep> {
    let shape = x.shape();
    let bits = bits.to_words();
    let ((s, s_next), (xa, xb)) = (bits.components(), x.components());
    let [u1, alpha, beta, f, mu, nu] = p.nonces();
    match p.id().index() {
        0 => {
            let u1 = p.with_next(u1, shape, 1)?;
            let u2 = s.xor(s_next)?.xor(&u1)?;
            let (alpha, beta) = (p.with_next(alpha, shape, 64)?, p.with_prev(beta, shape, 64)?);
            let f = p.with_prev(f, shape, 64)?;
            let pad = u2.mul(&alpha)?.add(&u1.mul(&beta)?)?.sub(&f)?;
            p.round(|r| {
                r.send(Side::Prev, &u2, 1)?;
                r.send(Side::Next, &pad, 64)
            })?;
            let y1 = pad.add(&p.with_next(mu, shape, 64)?)?;
            Ok(Rep::from_components(f.add(&p.with_prev(nu, shape, 64)?)?, y1)?)
        }
        1 => {
            let u1 = p.with_prev(u1, shape, 1)?;
            let (v, both) = (s_next, xa.add(xb)?);
            let a = sign_of(v).mul(&both)?;
            let d = sign_of(&u1).mul(&a)?.sub(&p.with_prev(alpha, shape, 64)?)?;
            let pad = p.round(|r| {
                r.send(Side::Next, &d, 64)?;
                r.receive(Side::Prev, shape, 64)
            })?;
            let (e, p2) = p.round(|r| Ok((r.receive(Side::Next, shape, 64)?, r.receive(Side::Next, shape, 64)?)))?;
            let mu = p.with_prev(mu, shape, 64)?;
            let p1 = v.mul(&both)?.add(&u1.mul(&a.add(&e)?)?)?.sub(&mu)?;
            p.send(Side::Next, &p1, 64)?;
            Ok(Rep::from_components(pad.add(&mu)?, p1.add(&p2)?)?)
        }
        _ => {
            let (v, x0) = (s, xb);
            let b = sign_of(v).mul(x0)?;
            let (u2, d) = p.round(|r| Ok((r.receive(Side::Next, shape, 1)?, r.receive(Side::Prev, shape, 64)?)))?;
            let (f, nu) = (p.with_next(f, shape, 64)?, p.with_next(nu, shape, 64)?);
            let e = sign_of(&u2).mul(&b)?.sub(&p.with_next(beta, shape, 64)?)?;
            let p2 = v.mul(x0)?.add(&u2.mul(&b.add(&d)?)?)?.sub(&nu)?;
            p.round(|r| {
                r.send(Side::Prev, &e, 64)?;
                r.send(Side::Prev, &p2, 64)
            })?;
            let p1 = p.receive(Side::Prev, shape, 64)?;
            Ok(Rep::from_components(p1.add(&p2)?, f.add(&nu)?)?)
        }
    }
}

/// The sign bit by another adder than the built-in one: x₀ + x₁ + x₂ to two summands (a full adder
/// at every bit), then Kogge and Stone's prefix tree on words.
fn sign_by_kogge_stone(p: &mut Party, x: &Rep) -> Result<RepBits> {
    let id = p.id();
    let [a, b, c] = PartyId::ALL.map(|k| x.component_bits(id, k));
    let majority = a.xor(&b)?.local_and(&a.xor(&c)?)?;
    let carries = p.reshare(majority)?.xor(&a)?.shl(1);
    let sums = a.xor(&b)?.xor(&c)?;
    let propagate = sums.xor(&carries)?;
    let mut g = p.reshare(sums.local_and(&carries)?)?;
    let mut t: RepXor = propagate.clone();
    for level in 0..6 {
        let shift = 1 << level;
        let (carry, chain) = (t.local_and(&g.shl(shift))?, t.local_and(&t.shl(shift))?);
        let (carry, chain) = p.round(|r| Ok((r.reshare(carry)?, r.reshare(chain)?)))?;
        g = g.xor(&carry)?;
        t = chain;
    }
    Ok(propagate.xor(&g.shl(1))?.bit(63)?)
}

/// Checks a protocol: values, declared costs, views. It must cost what the built-in one costs.
fn passes(
    check: Check,
    ours: impl Protocol<Rep, MpcError>,
    plaintext: impl Fn(&[i64]) -> i64,
    built_in: impl Fn(usize) -> Cost + 'static,
) {
    let report = check.costs(built_in).run(ours, elementwise(plaintext)).unwrap().require().unwrap();
    println!("{report}");
    let views = report.views.unwrap();
    assert!(views.tests > 1000 && views.untested.is_empty(), "{views}");
}

#[test]
fn a_product_is_a_local_product_and_a_reshare() {
    let check = Check::new("product without truncation", 2);
    passes(check, |p, x| product(p, &x[0], &x[1]), |x| x[0].wrapping_mul(x[1]), |n| cost::reshare(Ring::Z64, n));
}

#[test]
fn a_product_with_exact_truncation_costs_what_the_built_in_one_costs() {
    for d in [1, 20, 33] {
        // As large as the result may be: |xy| below 2^62.
        let check = Check::new("product with exact truncation", 2).bits(31).errors(0..=1);
        let protocol = move |p: &mut Party, x: &[Rep]| product_truncated(p, &x[0], &x[1], d);
        passes(check, protocol, move |x| (x[0] * x[1]) >> d, move |n| cost::truncate_product(Ring::Z64, n, d));
    }
}

#[test]
fn a_bit_times_a_tensor_costs_what_the_built_in_one_costs() {
    // The bit is the sign of the first input.
    let protocol = |p: &mut Party, x: &[Rep]| {
        let bits = p.sign(&x[0])?;
        bit_product(p, &bits, &x[1])
    };
    let cost = |n| cost::sign(Ring::Z64, n, SignWindow::default()) + cost::bit_product(Ring::Z64, n);
    passes(Check::new("bit times tensor", 2), protocol, |x| if x[0] < 0 { x[1] } else { 0 }, cost);
}

#[test]
fn another_adder_finds_the_same_signs() {
    let protocol = |p: &mut Party, x: &[Rep]| {
        let bits = sign_by_kogge_stone(p, &x[0])?;
        p.bits_to_ring(&bits)
    };
    // A word a product: two before the tree, two in each of its six levels.
    let cost = |n| Cost { bytes: 14 * cost::reshare(Ring::Z64, n).bytes, rounds: 8 } + cost::bits_to_ring(Ring::Z64, n);
    passes(Check::new("sign by Kogge and Stone", 1), protocol, |x| i64::from(x[0] < 0), cost);
}

/// Bytes and rounds of one run on n elements.
fn spent(n: usize, protocol: impl Fn(&mut Party, &Rep) -> Result<()> + Sync) -> Cost {
    let world = World::seeded(1);
    let x = world.deal(&Array1::from_elem(n, 3));
    let parties = world.run_counted(|p| protocol(p, &x[p.id().index()]).unwrap());
    let bytes = parties.iter().map(|(_, stats)| stats.payload_bytes()).sum();
    Cost { bytes, rounds: parties.iter().map(|(_, stats)| stats.rounds).max().unwrap() }
}

#[test]
fn both_are_counted_alike_on_the_links() {
    let n = 5000;
    let ours = spent(n, |p, x| product_truncated(p, x, x, 20).map(drop));
    assert_eq!(ours, spent(n, |p, x| p.mul(x, x).map(drop)));
    assert_eq!(spent(n, |p, x| product(p, x, x).map(drop)), spent(n, |p, x| p.mul_no_trunc(x, x).map(drop)));
    let bit = |ours: bool| {
        spent(n, move |p, x| {
            let bits = p.sign(x)?;
            if ours { bit_product(p, &bits, x).map(drop) } else { p.bit_product(&bits, x).map(drop) }
        })
    };
    assert_eq!(bit(true), bit(false));
}
