//! Local steps of truncation without wrap, on a card. What each computes: `cpu/truncation.rs`. Kernels
//! take masks as words, mostly in the place of their results.

use super::elementwise::{fill, fills, mask};
use super::{Buffer, View, ViewMut, launch};
use crate::device::{OpenedBits, TermShare};
use crate::prg::Stream;

pub(crate) fn open_top(offset: bool, u: View, pad: View, message: ViewMut) {
    launch("truncation, top bit", [u, pad], [message], |k, s, [u, pad], [message]| {
        k.truncation_open_top(s, offset, u, pad, message)
    });
}

pub(crate) fn product_deal(d: u32, n: usize, alpha: View, beta: View, gamma: &Stream, planes: ViewMut) {
    let gamma = mask(gamma, n, &planes);
    let reads = [alpha, beta, gamma.view()];
    launch("truncation of a product, role 2", reads, [planes], |k, s, [alpha, beta, gamma], [planes]| {
        k.truncation_deal(s, d, [alpha, beta], gamma, planes)
    });
}

pub(crate) fn product_role1(
    d: u32,
    v: View,
    OpenedBits { e, f, pad }: OpenedBits<View>,
    gamma: View,
    y2: &Stream,
    message: ViewMut,
    mut y: ViewMut,
) {
    fill(y2, y.reborrow());
    let reads = [v, e, f, pad, gamma, y.as_view()];
    launch("truncation of a product, role 1", reads, [message], |k, s, [v, e, f, pad, gamma, y], [message]| {
        k.truncation_role1(s, d, v, OpenedBits { e, f, pad }, gamma, y, message)
    });
}

pub(crate) fn product_role0(
    d: u32,
    z: View,
    OpenedBits { e, f, pad }: OpenedBits<View>,
    [gamma, y0]: [&Stream; 2],
    mut message: ViewMut,
    mut y: ViewMut,
) {
    fills(vec![(gamma, message.reborrow()), (y0, y.reborrow())]);
    let reads = [z, e, f, pad, y.as_view()];
    launch("truncation of a product, role 0", reads, [message], |k, s, [z, e, f, pad, y], [message]| {
        k.truncation_role0(s, d, z, OpenedBits { e, f, pad }, y, message)
    });
}

pub(crate) fn shared_role0(d: u32, x: [View; 2], streams: [&Stream; 4], message: ViewMut, mut y1: ViewMut) {
    let [a1, mu, nu, y1_stream] = streams;
    let n = x[0].len();
    let [mut a1_words, mut nu_words] = [(); 2].map(|()| Buffer::alloc(message.ordinal(), n));
    let (mut y0, planes) = message.split_at(n);
    fills(vec![
        (a1, a1_words.slice_mut(0..n)),
        (nu, nu_words.slice_mut(0..n)),
        (mu, y0.reborrow()),
        (y1_stream, y1.reborrow()),
    ]);
    let reads = [x[0], x[1], a1_words.view(), nu_words.view(), y1.as_view()];
    launch("truncation, role 0", reads, [y0, planes], |k, s, [x0, x1, a1, nu, y1], [y0, planes]| {
        k.truncation_shared_role0(s, d, [x0, x1], [a1, nu, y1], y0, planes)
    });
}

pub(crate) fn shared_term(d: u32, v: View, share: TermShare<&Stream, View>, mask_stream: &Stream, planes: ViewMut) {
    let n = v.len();
    let [mut pad, mut drawn] = [(); 2].map(|()| Buffer::alloc(planes.ordinal(), n));
    let pad_fill = (mask_stream, pad.slice_mut(0..n));
    let (share, planar) = match share {
        TermShare::Drawn(stream) => {
            fills(vec![pad_fill, (stream, drawn.slice_mut(0..n))]);
            (drawn.view(), false)
        }
        TermShare::Received(view) => {
            fills(vec![pad_fill]);
            (view, true)
        }
    };
    launch("truncation, roles 1 and 2", [v, share, pad.view()], [planes], |k, s, [v, share, pad], [planes]| {
        let share = if planar { TermShare::Received(share) } else { TermShare::Drawn(share) };
        k.truncation_shared_term(s, d, v, share, pad, planes)
    });
}

pub(crate) fn shared_close(d: u32, v: View, terms: [View; 2], y2: ViewMut) {
    launch("truncation, last step", [v, terms[0], terms[1]], [y2], |k, s, [v, first, second], [y2]| {
        k.truncation_shared_close(s, d, v, [first, second], y2)
    });
}
