//! Local steps of truncation without wrap, on a card. What each computes: `cpu/truncation.rs`. Kernels
//! take masks as words.

use super::elementwise::Masks;
use super::{View, ViewMut, launch, launch_all};
use crate::device::{CloseTerms, Deal, Draw, OpenTop, Results, TermShare};
use cryptgpu_kernels::Element;

pub(crate) fn product_first<W: Element>(d: u32, deal: Deal<View, &Draw, ViewMut>, open: OpenTop<View, ViewMut>) {
    let Deal { z, halves: [alpha, beta], gamma, message: dealt } = deal;
    let masks = Masks::of([gamma], dealt.ordinal());
    let [gamma] = masks.views();
    let (reads, writes) = ([z, alpha, beta, gamma, open.z, open.alpha], [dealt, open.message]);
    launch("truncation of a product, roles 2 and 0", reads, writes, |k, s, reads, [dealt, opened]| {
        let [z, alpha, beta, gamma, z0, alpha0] = reads;
        let deal = Deal { z, halves: [alpha, beta], gamma, message: dealt };
        k.truncation_first::<W>(s, d, deal, OpenTop { z: z0, alpha: alpha0, message: opened })
    });
}

pub(crate) fn product_role1<W: Element>(
    d: u32,
    shares: [View; 2],
    bits: [View; 2],
    y2: &Draw,
    results: Results<ViewMut>,
) {
    let Results { message, a, b } = results;
    let masks = Masks::of([y2], message.ordinal());
    let [y2] = masks.views();
    let (reads, writes) = ([shares[0], shares[1], bits[0], bits[1], y2], [message, a, b]);
    launch("truncation of a product, role 1", reads, writes, |k, s, [z, dealt, e, beta, y2], [message, a, b]| {
        k.truncation_role1::<W>(s, d, [z, dealt], [e, beta], y2, Results { message, a, b })
    });
}

pub(crate) fn product_role0<W: Element>(
    d: u32,
    words: [View; 2],
    bits: [View; 2],
    masks: [&Draw; 2],
    results: Results<ViewMut>,
) {
    let Results { message, a, b } = results;
    let masks = Masks::of(masks, message.ordinal());
    let [gamma, y0] = masks.views();
    let (reads, writes) = ([words[0], words[1], bits[0], bits[1], gamma, y0], [message, a, b]);
    launch("truncation of a product, role 0", reads, writes, |k, s, reads, [message, a, b]| {
        let [z, received, e, alpha, gamma, y0] = reads;
        k.truncation_role0::<W>(s, d, [z, received], [e, alpha], [gamma, y0], Results { message, a, b })
    });
}

pub(crate) fn shared_role0<W: Element>(d: u32, x: [View; 2], masks: [&Draw; 4], results: Results<ViewMut>) {
    let Results { message, a, b } = results;
    let masks = Masks::of(masks, message.ordinal());
    let [a1, mu, nu, y1] = masks.views();
    let (reads, writes) = ([x[0], x[1], a1, mu, nu, y1], [message, a, b]);
    launch("truncation, role 0", reads, writes, |k, s, [x0, x1, a1, mu, nu, y1], [message, a, b]| {
        k.truncation_shared_role0::<W>(s, d, [x0, x1], [a1, mu, nu, y1], Results { message, a, b })
    });
}

pub(crate) fn shared_term<W: Element>(
    d: u32,
    v: View,
    share: TermShare<&Draw, View>,
    mask: &Draw,
    planes: ViewMut,
    kept: ViewMut,
) {
    let (operation, ordinal, writes) = ("truncation, roles 1 and 2", planes.ordinal(), [planes, kept]);
    match share {
        TermShare::Drawn { share, y1 } => {
            let masks = Masks::of([mask, share, y1], ordinal);
            let [mask, share, y1] = masks.views();
            launch(operation, [v, mask, share, y1], writes, |k, s, [v, mask, share, y1], [planes, kept]| {
                k.truncation_shared_term::<W>(s, d, v, TermShare::Drawn { share, y1 }, mask, planes, kept)
            });
        }
        TermShare::Received(received) => {
            let masks = Masks::of([mask], ordinal);
            let [mask] = masks.views();
            launch(operation, [v, mask, received], writes, |k, s, [v, mask, received], [planes, kept]| {
                k.truncation_shared_term::<W>(s, d, v, TermShare::Received(received), mask, planes, kept)
            });
        }
    }
}

pub(crate) fn shared_closings<W: Element>(d: u32, closings: Vec<CloseTerms<View, ViewMut>>) {
    let reads: Vec<View> = closings.iter().flat_map(|each| [each.v, each.terms[0], each.terms[1]]).collect();
    let writes = closings.iter().map(|each| each.y2.allocation).collect();
    launch_all("truncation, last step", &reads, writes, |k, s| {
        let words = closings.into_iter().map(|CloseTerms { v, terms, y2 }| {
            let terms = terms.map(|term| term.words());
            CloseTerms { v: v.words(), terms, y2: y2.words() }
        });
        k.truncation_shared_close::<W>(s, d, words.collect())
    });
}
