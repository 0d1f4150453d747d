//! Windows over image planes, on a card.

use super::{View, ViewMut, launch};
use crate::device::PoolGeometry;
use cryptgpu_kernels::Window;

/// As kernels take it: `output` says what padding below and to the right has to be.
pub(super) fn window(geometry: &PoolGeometry, input: [usize; 2], output: [usize; 2]) -> Window {
    let PoolGeometry { kernel, stride, padding, dilation } = *geometry;
    Window { input, output, kernel, stride, before: [padding[0], padding[2]], dilation }
}

pub(crate) fn sum(input: [usize; 2], geometry: &PoolGeometry, size: [usize; 2], x: View, sums: ViewMut) {
    let window = window(geometry, input, size);
    launch("sum pooling", [x], [sums], |k, s, [x], [sums]| k.sum_pool(s, &window, x, sums));
}

pub(crate) fn tap(
    input: [usize; 2],
    geometry: &PoolGeometry,
    size: [usize; 2],
    tap: [usize; 2],
    fill: u64,
    x: View,
    taps: ViewMut,
) {
    let window = window(geometry, input, size);
    launch("max pooling", [x], [taps], |k, s, [x], [taps]| k.pool_tap(s, &window, tap, fill, x, taps));
}
