//! Local steps of the way between the rings, on a card. What each computes: `cpu/extension.rs`. Kernels take masks as words.

use super::elementwise::Masks;
use super::{View, ViewMut, launch};
use crate::device::{CloseTerms, Draw, Results, TermShare};

pub(crate) fn role0(x: [View; 2], masks: [&Draw; 4], results: Results<ViewMut>) {
    let Results { message, a, b } = results;
    let masks = Masks::of(masks, message.ordinal());
    let [a1, mu, nu, y1] = masks.views();
    let (reads, writes) = ([x[0], x[1], a1, mu, nu, y1], [message, a, b]);
    launch("extension, role 0", reads, writes, |k, s, [x0, x1, a1, mu, nu, y1], [message, a, b]| {
        k.extension_role0(s, [x0, x1], [a1, mu, nu, y1], Results { message, a, b })
    });
}

pub(crate) fn term(v: View, share: TermShare<&Draw, View>, mask: &Draw, message: ViewMut, kept: ViewMut) {
    let (operation, ordinal, writes) = ("extension, roles 1 and 2", message.ordinal(), [message, kept]);
    match share {
        TermShare::Drawn { share, y1 } => {
            let masks = Masks::of([mask, share, y1], ordinal);
            let [mask, share, y1] = masks.views();
            launch(operation, [v, mask, share, y1], writes, |k, s, [v, mask, share, y1], [message, kept]| {
                k.extension_term(s, v, TermShare::Drawn { share, y1 }, mask, message, kept)
            });
        }
        TermShare::Received(received) => {
            let masks = Masks::of([mask], ordinal);
            let [mask] = masks.views();
            launch(operation, [v, mask, received], writes, |k, s, [v, mask, received], [message, kept]| {
                k.extension_term(s, v, TermShare::Received(received), mask, message, kept)
            });
        }
    }
}

pub(crate) fn close(CloseTerms { v, terms: [first, second], y2 }: CloseTerms<View, ViewMut>) {
    launch("extension, last step", [v, first, second], [y2], |k, s, [v, first, second], [y2]| {
        k.extension_close(s, CloseTerms { v, terms: [first, second], y2 })
    });
}

pub(crate) fn reduce(x: View, out: ViewMut) {
    launch("reduction to 32 bits", [x], [out], |k, s, [x], [out]| k.reduce(s, x, out));
}
