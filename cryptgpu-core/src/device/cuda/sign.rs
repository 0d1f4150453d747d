//! The sign bit's local steps, on a card. What each computes: `cpu/sign.rs`.

use super::elementwise::Masks;
use super::{View, ViewMut, launch, launch_all};
use crate::device::{Draw, SharedBits, SignWindow, TreeStep};
use cryptgpu_kernels::Element;

pub(crate) fn share_bits<W: Element>(
    window: SignWindow,
    x: [View; 2],
    summand: u64,
    mask: &Draw,
    message: ViewMut,
    [top, top_mask]: [ViewMut; 2],
) {
    let masks = Masks::of([mask], message.ordinal());
    let [mask] = masks.views();
    let reads = [x[0], x[1], mask];
    launch("sign bit, role 0", reads, [message, top, top_mask], |k, s, [x0, x1, mask], [message, top, top_mask]| {
        k.sign_share_bits::<W>(s, window, [x0, x1], summand, mask, message, top, top_mask)
    });
}

pub(crate) fn share_carries<W: Element>(
    window: SignWindow,
    b: View,
    shared: SharedBits<&Draw, View>,
    mask: View,
    carry: ViewMut,
    [top, top_a]: [ViewMut; 2],
) {
    let (operation, writes) = ("sign bit, roles 1 and 2", [carry, top, top_a]);
    match shared {
        SharedBits::Drawn(draw) => {
            let masks = Masks::of([draw], writes[0].ordinal());
            let [shared] = masks.views();
            launch(operation, [b, shared, mask], writes, |k, s, [b, shared, mask], [carry, top, top_a]| {
                k.sign_share_carries::<W>(s, window, b, SharedBits::Drawn(shared), mask, carry, [top, top_a])
            });
        }
        SharedBits::Received(shared) => {
            launch(operation, [b, shared, mask], writes, |k, s, [b, shared, mask], [carry, top, top_a]| {
                k.sign_share_carries::<W>(s, window, b, SharedBits::Received(shared), mask, carry, [top, top_a])
            });
        }
    }
}

pub(crate) fn tree(steps: Vec<TreeStep<View, ViewMut>>) {
    let reads: Vec<View> = steps.iter().flat_map(TreeStep::reads).collect();
    let writes = steps.iter().map(|step| step.out.allocation).collect();
    launch_all("sign bit, levels of the tree", &reads, writes, |k, s| {
        k.sign_tree(s, steps.into_iter().map(|step| step.map(|view| view.words(), |out| out.words())).collect())
    });
}
