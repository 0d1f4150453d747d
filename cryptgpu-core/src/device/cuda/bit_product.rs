//! Local steps of a secret bit times a secret tensor, and of a bit's conversion, on a card. What each
//! computes: `cpu/bit_product.rs`. Kernels take masks as words.

use super::elementwise::Masks;
use super::{View, ViewMut, launch, launch_all};
use crate::device::{BitTerm, Draw};
use cryptgpu_kernels::Element;

pub(crate) fn role0<W: Element>(u: [View; 2], masks: [&Draw; 5], message: ViewMut, y0: ViewMut, y1: ViewMut) {
    let masks = Masks::of(masks, message.ordinal());
    let [alpha, beta, f, mu, nu] = masks.views();
    let reads = [u[0], u[1], alpha, beta, f, mu, nu];
    launch(
        "bit product, role 0",
        reads,
        [message, y0, y1],
        |k, s, [u1, u2, alpha, beta, f, mu, nu], [message, y0, y1]| {
            k.bit_product_role0::<W>(s, [u1, u2], [alpha, beta, f, mu, nu], message, y0, y1)
        },
    );
}

pub(crate) fn terms<W: Element>(terms: Vec<BitTerm<View, &Draw, ViewMut>>) {
    let made = terms.iter().map(|term| Masks::of([term.mask], term.message.ordinal())).collect::<Vec<_>>();
    let masks = made.iter().map(|masks| masks.views()[0]).collect::<Vec<_>>();
    let reads = terms.iter().flat_map(BitTerm::reads).chain(masks.iter().copied()).collect::<Vec<_>>();
    let writes = terms.iter().map(|term| term.message.allocation).collect();
    launch_all("bit product, roles 1 and 2", &reads, writes, |k, s| {
        let each = terms.into_iter().zip(&masks);
        let words = each.map(|(term, mask)| term.map(|view| view.words(), |_| mask.words(), |message| message.words()));
        k.bit_product_terms::<W>(s, words.collect())
    });
}

pub(crate) fn convert_role0<W: Element>(u: View, u1: &Draw, message: ViewMut) {
    let masks = Masks::of([u1], message.ordinal());
    let [u1] = masks.views();
    launch("bits to ring, role 0", [u, u1], [message], |k, s, [u, u1], [message]| {
        k.convert_role0::<W>(s, u, u1, message)
    });
}

pub(crate) fn convert_term<W: Element>(v: View, share: View, mask: &Draw, with_v: bool, message: ViewMut) {
    let masks = Masks::of([mask], message.ordinal());
    let [mask] = masks.views();
    launch("bits to ring", [v, share, mask], [message], |k, s, [v, share, mask], [message]| {
        k.convert_term::<W>(s, v, share, mask, with_v, message)
    });
}
