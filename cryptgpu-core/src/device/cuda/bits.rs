//! Some bits of every word to packed planes and back, on a card.

use super::{View, ViewMut, launch};
use cryptgpu_kernels::Element;

pub(crate) fn to_planes<W: Element>(low: u32, width: u32, x: View, planes: ViewMut) {
    launch("to planes", [x], [planes], |k, s, [x], [planes]| k.to_planes::<W>(s, low, width, x.elements(), planes));
}

pub(crate) fn from_planes<W: Element>(width: u32, planes: View, out: ViewMut) {
    launch("from planes", [planes], [out], |k, s, [planes], [out]| {
        k.from_planes::<W>(s, width, planes, out.elements())
    });
}
