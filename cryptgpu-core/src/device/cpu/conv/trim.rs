//! Kernels without the rows and columns that only ever see padding: a 3 × 3 kernel with padding 1 on a 1 × 1 image is
//! its middle.

use crate::device::cpu::elementwise::reorder;
use crate::device::spare::Elements;
use crate::device::{BlockOrder, ConvGeometry, GeometryError, PlaneWindows};
use crate::ring::Word;

/// A convolution with the part of its kernel that sees inputs.
pub(super) struct Trim {
    /// The convolution with that part as its kernel.
    pub geometry: ConvGeometry,
    /// The whole kernel's height and width.
    kernel: [usize; 2],
    /// The part's first row and column.
    first: [usize; 2],
}

impl Trim {
    /// None where every row and column of the kernel sees an input, or padding cannot say where the part begins.
    pub fn of(geometry: &ConvGeometry) -> Result<Option<Self>, GeometryError> {
        let PlaneWindows { window, input, output } = geometry.windows()?;
        let (mut first, mut trimmed) = ([0; 2], window);
        for axis in 0..2 {
            let (stride, dilation, before) = (window.stride[axis], window.dilation[axis], window.padding[2 * axis]);
            // The first window under whose tap an input lies, if any, is the first that begins late enough.
            let sees = |tap: &usize| {
                let from = before.saturating_sub(tap * dilation).div_ceil(stride);
                from < output[axis] && from * stride + tap * dilation < input[axis] + before
            };
            let Some(last) = (0..window.kernel[axis]).rev().find(sees) else { return Ok(None) };
            let live = (0..=last).find(sees).unwrap_or(last);
            first[axis] = live.min(before / dilation);
            trimmed.kernel[axis] = last + 1 - first[axis];
            trimmed.padding[2 * axis] = before - first[axis] * dilation;
            let window = dilation * (trimmed.kernel[axis] - 1) + 1;
            let reach = (output[axis] - 1) * stride + window;
            trimmed.padding[2 * axis + 1] = reach.saturating_sub(input[axis] + trimmed.padding[2 * axis]);
        }
        let live = ConvGeometry { window: trimmed, ..*geometry };
        let pays = trimmed.kernel != window.kernel && live.output() == Ok(output);
        Ok(pays.then_some(Trim { geometry: live, kernel: window.kernel, first }))
    }

    /// The part of the weights.
    pub fn weights<T: Word>(&self, weights: &[T]) -> Elements<T> {
        let ([height, width], [top, left], shape) = (self.kernel, self.first, self.geometry.weight_shape());
        let mut live = Elements::scratch(shape.iter().product());
        if !live.is_empty() {
            let [outputs, channels, rows, columns] = shape;
            let (sizes, strides) = ([outputs * channels, rows, 1], [height * width, width, 0]);
            let order = BlockOrder { sizes, strides, block: columns, reversed: false };
            reorder(&order, &weights[top * width + left..], &mut live);
        }
        live
    }

    /// The whole kernels whose part `live` is, zero elsewhere.
    pub fn put_weights<T: Word>(&self, live: &[T], weights: &mut [T]) {
        let ([height, width], [top, left], [rows, columns]) = (self.kernel, self.first, self.geometry.window.kernel);
        weights.fill(T::zero());
        for (kernel, live) in weights.chunks_exact_mut(height * width).zip(live.chunks_exact(rows * columns)) {
            for (row, live) in kernel.chunks_exact_mut(width).skip(top).zip(live.chunks_exact(columns)) {
                row[left..left + columns].copy_from_slice(live);
            }
        }
    }
}
