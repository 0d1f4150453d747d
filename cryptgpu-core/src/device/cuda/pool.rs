//! Windows over image planes, on a card.

use super::{View, ViewMut, launch};
use crate::device::{PlaneWindows, PoolGeometry};
use cryptgpu_kernels::Window;

/// As kernels take it: `output` says what padding below and to the right has to be.
pub(super) fn window(windows: &PlaneWindows) -> Window {
    let PlaneWindows { window: PoolGeometry { kernel, stride, padding, dilation }, input, output } = *windows;
    Window { input, output, kernel, stride, before: [padding[0], padding[2]], dilation }
}

pub(crate) fn sum(windows: &PlaneWindows, x: View, sums: ViewMut) {
    let window = window(windows);
    launch("sum pooling", [x], [sums], |k, s, [x], [sums]| k.sum_pool(s, &window, x, sums));
}

pub(crate) fn tap(windows: &PlaneWindows, tap: [usize; 2], fill: u64, x: View, taps: ViewMut) {
    let window = window(windows);
    launch("max pooling", [x], [taps], |k, s, [x], [taps]| k.pool_tap(s, &window, tap, fill, x, taps));
}

pub(crate) fn spread(windows: &PlaneWindows, by_tap: bool, g: View, inputs: ViewMut) {
    let window = window(windows);
    launch("spreading over windows", [g], [inputs], |k, s, [g], [inputs]| k.spread(s, &window, by_tap, g, inputs));
}
