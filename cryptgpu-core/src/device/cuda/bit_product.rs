//! Local steps of a secret bit times a secret tensor, and of a bit's conversion, on a card. What each
//! computes: `cpu/bit_product.rs`. Kernels take masks as words, mostly in the place of their results.

use super::elementwise::{fill, fills};
use super::{Buffer, View, ViewMut, launch};
use crate::prg::Stream;

pub(crate) fn role0(u: [View; 2], streams: [&Stream; 5], mut message: ViewMut, mut y0: ViewMut, mut y1: ViewMut) {
    let [alpha, beta, f, mu, nu] = streams;
    let n = message.len();
    let [mut a, mut b] = [(); 2].map(|()| Buffer::alloc(message.ordinal(), n));
    fills(vec![
        (alpha, a.slice_mut(0..n)),
        (beta, b.slice_mut(0..n)),
        (f, message.reborrow()),
        (nu, y0.reborrow()),
        (mu, y1.reborrow()),
    ]);
    let reads = [u[0], u[1], a.view(), b.view()];
    launch("bit product, role 0", reads, [message, y0, y1], |k, s, [u1, u2, alpha, beta], [message, y0, y1]| {
        k.bit_product_role0(s, [u1, u2], [alpha, beta], message, y0, y1)
    });
}

pub(crate) fn open(bits: [View; 2], x: [View; 2], alpha: &Stream, mut message: ViewMut) {
    fill(alpha, message.reborrow());
    let reads = [bits[0], bits[1], x[0], x[1]];
    launch("bit product, opening", reads, [message], |k, s, [u1, v, x1, x2], [message]| {
        k.bit_product_open(s, [u1, v], [x1, x2], message)
    });
}

pub(crate) fn close(bits: [View; 2], x: [View; 2], e: View, mu: &Stream, mut message: ViewMut) {
    fill(mu, message.reborrow());
    let reads = [bits[0], bits[1], x[0], x[1], e];
    launch("bit product, closing", reads, [message], |k, s, [u1, v, x1, x2, e], [message]| {
        k.bit_product_close(s, [u1, v], [x1, x2], e, message)
    });
}

pub(crate) fn convert_role0(u: View, u1: &Stream, mut message: ViewMut) {
    fill(u1, message.reborrow());
    launch("bits to ring, role 0", [u], [message], |k, s, [u], [message]| k.convert_role0(s, u, message));
}

pub(crate) fn convert_term(v: View, share: View, mask: &Stream, with_v: bool, mut message: ViewMut) {
    fill(mask, message.reborrow());
    launch("bits to ring", [v, share], [message], |k, s, [v, share], [message]| {
        k.convert_term(s, v, share, with_v, message)
    });
}
