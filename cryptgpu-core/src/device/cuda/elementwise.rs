//! Element-wise operations, streams and zero-shares on a card.

use super::{Buffer, View, ViewMut, launch, launch_all};
use crate::device::{Binary, BlockOrder, Unary, XorOf};
use crate::prg::{Stream, Zero};
use cryptgpu_kernels::ZeroShare;

pub(crate) fn binary(op: Binary, x: View, y: View, out: ViewMut) {
    launch("element-wise operation", [x, y], [out], |k, s, [x, y], [out]| k.binary(s, op, x, y, out));
}

pub(crate) fn xors(all: Vec<XorOf<View, ViewMut>>) {
    let reads: Vec<View> = all.iter().flat_map(XorOf::reads).collect();
    let writes = all.iter().map(|xor| xor.out.allocation).collect();
    launch_all("XORs", &reads, writes, |k, s| {
        k.xors(s, all.into_iter().map(|xor| xor.map(|view| view.words(), |out| out.words())).collect())
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

pub(crate) fn fills(fills: Vec<(&Stream, ViewMut)>) {
    let writes = fills.iter().map(|(_, out)| out.allocation).collect();
    launch_all("words of streams", &[], writes, |k, s| {
        k.fills(s, fills.into_iter().map(|(stream, out)| (stream.for_card(), out.words())).collect())
    });
}

/// The first `len` words of a stream, on the card of `like`: a mask that a kernel takes as words.
pub(super) fn mask(stream: &Stream, len: usize, like: &ViewMut) -> Buffer {
    let mut words = Buffer::alloc(like.ordinal(), len);
    fill(stream, words.slice_mut(0..len));
    words
}

pub(crate) fn add_zero(zero: &Zero, z: ViewMut) {
    zero_share("zero-share", ZeroShare::Arithmetic, zero, z);
}

/// `z` gets a zero-share on top of it.
pub(super) fn zero_share(operation: &'static str, share: ZeroShare, zero: &Zero, z: ViewMut) {
    let streams = [zero.plus.for_card(), zero.minus.for_card()];
    launch(operation, [], [z], |k, s, [], [z]| k.add_zero(s, share, streams, 0, z));
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
