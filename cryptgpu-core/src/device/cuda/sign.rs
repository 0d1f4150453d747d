//! The sign bit's local steps, on a card. What each computes: `cpu/sign.rs`.

use super::elementwise::mask as words_of;
use super::{View, ViewMut, launch, launch_all};
use crate::device::{SignWindow, TreeStep};
use crate::prg::Stream;

pub(crate) fn share_bits(
    window: SignWindow,
    x: [View; 2],
    mask: &Stream,
    message: ViewMut,
    [top, top_mask]: [ViewMut; 2],
) {
    let mask = words_of(mask, message.len(), &message);
    let [x0, x1] = x;
    let reads = [x0, x1, mask.view()];
    launch("sign bit, role 0", reads, [message, top, top_mask], |k, s, [x0, x1, mask], [message, top, top_mask]| {
        k.sign_share_bits(s, window, [x0, x1], mask, message, top, top_mask)
    });
}

pub(crate) fn share_carries(window: SignWindow, with_constants: bool, bits: [View; 2], carry: ViewMut, top: ViewMut) {
    launch("sign bit, roles 1 and 2", bits, [carry, top], |k, s, [b, shared], [carry, top]| {
        k.sign_share_carries(s, window, with_constants, b, shared, carry, top)
    });
}

pub(crate) fn tree(steps: Vec<TreeStep<View, ViewMut>>) {
    let reads: Vec<View> = steps.iter().flat_map(TreeStep::reads).collect();
    let writes = steps.iter().map(|step| step.out.allocation).collect();
    launch_all("sign bit, levels of the tree", &reads, writes, |k, s| {
        k.sign_tree(s, steps.into_iter().map(|step| step.map(|view| view.words(), |out| out.words())).collect())
    });
}

pub(crate) fn first_plane(elements: usize, planes: usize, bits: View, out: ViewMut) {
    launch("first plane", [bits], [out], |k, s, [bits], [out]| k.first_plane(s, elements, planes, bits, out));
}
