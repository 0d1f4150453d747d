//! What one tap of a window sees of a plane, row by row: shared by the direct loops over taps, of a convolution and of
//! both its gradients. No word is touched here.

use crate::device::PoolGeometry;
use std::ops::Range;

/// One tap of the windows over a plane.
pub(super) struct Tap {
    /// Output columns whose input lies inside the plane.
    pub columns: Range<usize>,
    /// Input column of the first of them.
    first: usize,
    /// Rows from the window's first to the tap's.
    shift: usize,
    stride: usize,
    top: usize,
    input: [usize; 2],
}

impl Tap {
    /// Tap number `tap` of the kernel, row by row, over a plane of `input` height and width; `None` where it sees only
    /// padding in all of the `width` output columns.
    #[inline(always)]
    pub fn new(window: &PoolGeometry, tap: usize, input: [usize; 2], width: usize) -> Option<Self> {
        let ([stride, stride_x], [top, _, left, _]) = (window.stride, window.padding);
        let shift = tap / window.kernel[1] * window.dilation[0];
        let shift_x = tap % window.kernel[1] * window.dilation[1];
        let from = left.saturating_sub(shift_x).div_ceil(stride_x);
        let to = (input[1] + left).saturating_sub(shift_x).div_ceil(stride_x).min(width);
        (from < to).then(|| Tap {
            columns: from..to,
            first: from * stride_x + shift_x - left,
            shift,
            stride,
            top,
            input,
        })
    }

    /// Where in the plane the input of the first of the columns lies, for an output row; `None` in the padding.
    #[inline(always)]
    pub fn start(&self, row: usize) -> Option<usize> {
        let y = (row * self.stride + self.shift).wrapping_sub(self.top);
        (y < self.input[0]).then(|| y * self.input[1] + self.first)
    }
}
