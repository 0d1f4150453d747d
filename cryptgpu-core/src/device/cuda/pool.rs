//! Windows over image planes, on a card.

use super::{View, ViewMut, launch};
use crate::device::dispatch::Shaped;
use crate::device::{PlaneWindows, PoolGeometry};
use cryptgpu_kernels::{Element, Window};

/// As kernels take it: `output` says what padding below and to the right has to be.
pub(super) fn window(windows: &PlaneWindows) -> Window {
    let PlaneWindows { window: PoolGeometry { kernel, stride, padding, dilation }, input, output } = *windows;
    Window { input, output, kernel, stride, before: [padding[0], padding[2]], dilation }
}

pub(crate) fn sum<W: Element>(windows: &PlaneWindows, Shaped(x, n): Shaped<View>, Shaped(sums, out): Shaped<ViewMut>) {
    let window = window(windows);
    launch("sum pooling", [x], [sums], |k, s, [x], [sums]| k.sum_pool::<W>(s, &window, x.first(n), sums.first(out)));
}

pub(crate) fn tap<W: Element>(
    windows: &PlaneWindows,
    tap: [usize; 2],
    fill: u64,
    Shaped(x, n): Shaped<View>,
    Shaped(taps, out): Shaped<ViewMut>,
) {
    let window = window(windows);
    launch("max pooling", [x], [taps], |k, s, [x], [taps]| {
        k.pool_tap::<W>(s, &window, tap, fill, x.first(n), taps.first(out))
    });
}

pub(crate) fn spread<W: Element>(
    windows: &PlaneWindows,
    by_tap: bool,
    Shaped(g, windowed): Shaped<View>,
    Shaped(inputs, n): Shaped<ViewMut>,
) {
    let window = window(windows);
    launch("spreading over windows", [g], [inputs], |k, s, [g], [inputs]| {
        k.spread::<W>(s, &window, by_tap, g.first(windowed), inputs.first(n))
    });
}
