//! Some bits of every word to packed planes and back, on a card.

use super::{View, ViewMut, launch};

pub(crate) fn to_planes(low: u32, width: u32, x: View, planes: ViewMut) {
    launch("to planes", [x], [planes], |k, s, [x], [planes]| k.to_planes(s, low, width, x, planes));
}

pub(crate) fn from_planes(width: u32, planes: View, out: ViewMut) {
    launch("from planes", [planes], [out], |k, s, [planes], [out]| k.from_planes(s, width, planes, out));
}
