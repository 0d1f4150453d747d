//! Element-wise operations, streams and zero-shares on a card.

use super::{Buffer, View, ViewMut, launch, launch_all};
use crate::device::{Binary, BlockOrder, Combined, Draw, Unary};
use crate::prg::{Stream, Zero};
use cryptgpu_kernels::ZeroShare;

pub(crate) fn binary(op: Binary, x: View, y: View, out: ViewMut) {
    launch("element-wise operation", [x, y], [out], |k, s, [x, y], [out]| k.binary(s, op, x, y, out));
}

pub(crate) fn combine(all: Vec<Combined<View, ViewMut>>) {
    let reads: Vec<View> = all.iter().flat_map(|job| job.parts.iter().copied()).collect();
    let writes = all.iter().map(|job| job.out.allocation).collect();
    launch_all("combining words", &reads, writes, |k, s| {
        k.combine(s, all.into_iter().map(|job| job.map(|view| view.words(), |out| out.words())).collect())
    });
}

pub(crate) fn add_to(x: View, z: ViewMut) {
    launch_all("adding to words", &[x], vec![z.allocation], |k, s| {
        // The sum takes the place of one of its parts: a thread reads its word before it writes it.
        k.combine(s, vec![Combined::sum([x.words(), z.as_view().words()], z.words())])
    });
}

pub(crate) fn unary(op: Unary, x: View, out: ViewMut) {
    launch("element-wise operation", [x], [out], |k, s, [x], [out]| k.unary(s, op, x, out));
}

pub(crate) fn sum(x: View, out: ViewMut) {
    launch("sum", [x], [out], |k, s, [x], [mut out]| {
        k.fill_constant(s, 0, out.reborrow())?;
        k.sum(s, x, out)
    });
}

pub(crate) fn fill(stream: &Stream, out: ViewMut) {
    launch("words of a stream", [], [out], |k, s, [], [out]| k.fill(s, stream.for_card(), 0, out));
}

/// Streams to their places, in one launch.
pub(crate) fn fills(fills: Vec<(&Stream, ViewMut)>) {
    let writes = fills.iter().map(|(_, out)| out.allocation).collect();
    launch_all("words of streams", &[], writes, |k, s| {
        k.fills(s, fills.into_iter().map(|(stream, out)| (stream.for_card(), out.words())).collect())
    });
}

/// The words of masks, which kernels read: those that are made, and the others, which are made now.
pub(super) struct Masks<'a, const N: usize>([MaskWords<'a>; N]);

enum MaskWords<'a> {
    Made(View<'a>),
    Now(Buffer),
}

impl<'a, const N: usize> Masks<'a, N> {
    pub(super) fn of(draws: [&'a Draw; N], ordinal: u32) -> Self {
        let mut all = draws.map(|draw| match draw.made() {
            Some(words) => MaskWords::Made(words.view().on_card()),
            None => MaskWords::Now(Buffer::alloc(ordinal, draw.len())),
        });
        let now = all.iter_mut().zip(draws).filter_map(|(words, draw)| match words {
            MaskWords::Now(words) => Some((draw.stream(), words.slice_mut(0..draw.len()))),
            MaskWords::Made(_) => None,
        });
        fills(now.collect());
        Masks(all)
    }

    pub(super) fn views(&self) -> [View<'_>; N] {
        self.0.each_ref().map(|words| match words {
            MaskWords::Made(words) => *words,
            MaskWords::Now(words) => words.view(),
        })
    }
}

pub(crate) fn add_zero(zero: &Zero, z: ViewMut) {
    let streams = [zero.plus.for_card(), zero.minus.for_card()];
    launch("zero-share", [], [z], |k, s, [], [z]| k.add_zero(s, ZeroShare::Arithmetic, streams, 0, z));
}

pub(crate) fn product_share(x: [View; 2], y: [View; 2], out: ViewMut) {
    let ([x0, x1], [y0, y1]) = (x, y);
    launch("product", [x0, x1, y0, y1], [out], |k, s, [x0, x1, y0, y1], [out]| {
        k.product_share(s, [x0, x1], [y0, y1], out)
    });
}

pub(crate) fn add_bias(bias: View, inner: usize, z: ViewMut) {
    launch("bias", [bias], [z], |k, s, [bias], [z]| k.add_bias(s, bias, inner, z));
}

pub(crate) fn reorder(order: &BlockOrder, x: View, out: ViewMut) {
    launch("order of blocks", [x], [out], |k, s, [x], [out]| k.reorder(s, order, x, out));
}
