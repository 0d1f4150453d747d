//! Element-wise operations, streams and zero-shares on a card.

use super::{Buffer, View, ViewMut, launch, launch_all};
use crate::device::dispatch::Shaped;
use crate::device::{Binary, BlockOrder, Combined, Draw, Unary};
use crate::prg::{Stream, Zero};
use cryptgpu_kernels::{Element, ZeroShare};

pub(crate) fn binary<W: Element>(op: Binary, x: View, y: View, out: ViewMut) {
    launch("element-wise operation", [x, y], [out], |k, s, [x, y], [out]| {
        k.binary::<W>(s, op, x.elements(), y.elements(), out.elements())
    });
}

pub(crate) fn combine<W: Element>(all: Vec<Combined<View, ViewMut>>) {
    let reads: Vec<View> = all.iter().flat_map(|job| job.parts.iter().copied()).collect();
    let writes = all.iter().map(|job| job.out.allocation).collect();
    launch_all("combining words", &reads, writes, |k, s| {
        let jobs = all.into_iter();
        k.combine::<W>(
            s,
            jobs.map(|job| job.map(|view| view.words().elements(), |out| out.words().elements())).collect(),
        )
    });
}

pub(crate) fn add_to<W: Element>(x: View, z: ViewMut) {
    launch_all("adding to words", &[x], vec![z.allocation], |k, s| {
        // The sum takes the place of one of its parts: a thread reads its word before it writes it.
        let parts = [x.words(), z.as_view().words()].map(|part| part.elements());
        k.combine::<W>(s, vec![Combined::sum(parts, z.words().elements())])
    });
}

pub(crate) fn unary<W: Element>(op: Unary, x: View, out: ViewMut) {
    launch("element-wise operation", [x], [out], |k, s, [x], [out]| k.unary::<W>(s, op, x.elements(), out.elements()));
}

/// `n` elements from `first` on to `out`, from its element `at` on.
pub(crate) fn copy_part<W: Element>(n: usize, first: usize, x: View, at: usize, out: ViewMut) {
    launch("copying a part", [x], [out], |k, s, [x], [out]| {
        k.copy_part::<W>(s, n, (x.elements(), first), (out.elements(), at))
    });
}

pub(crate) fn sum<W: Element>(Shaped(x, n): Shaped<View>, Shaped(out, one): Shaped<ViewMut>) {
    launch("sum", [x], [out], |k, s, [x], [mut out]| {
        k.fill_constant(s, 0, out.reborrow())?;
        k.sum::<W>(s, x.first(n), out.first(one))
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

pub(crate) fn add_zero<W: Element>(zero: &Zero, z: ViewMut) {
    let streams = [zero.plus.for_card(), zero.minus.for_card()];
    launch("zero-share", [], [z], |k, s, [], [z]| k.add_zero::<W>(s, ZeroShare::Arithmetic, streams, 0, z));
}

pub(crate) fn product_share<W: Element>(x: [View; 2], y: [View; 2], out: ViewMut) {
    let ([x0, x1], [y0, y1]) = (x, y);
    launch("product", [x0, x1, y0, y1], [out], |k, s, [x0, x1, y0, y1], [out]| {
        let [x, y] = [[x0, x1], [y0, y1]].map(|all| all.map(|words| words.elements()));
        k.product_share::<W>(s, x, y, out.elements())
    });
}

pub(crate) fn add_bias<W: Element>(Shaped(bias, channels): Shaped<View>, inner: usize, Shaped(z, n): Shaped<ViewMut>) {
    launch("bias", [bias], [z], |k, s, [bias], [z]| k.add_bias::<W>(s, bias.first(channels), inner, z.first(n)));
}

pub(crate) fn reorder<W: Element>(order: &BlockOrder, x: View, Shaped(out, n): Shaped<ViewMut>) {
    launch("order of blocks", [x], [out], |k, s, [x], [out]| k.reorder::<W>(s, order, x.elements(), out.first(n)));
}
