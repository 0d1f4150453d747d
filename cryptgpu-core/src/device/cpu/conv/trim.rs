//! Kernels without the rows and columns that only ever see padding: a 3 × 3 kernel with padding 1 on a 1 × 1 image is
//! its middle.

use crate::device::cpu::elementwise::reorder;
use crate::device::spare::Elements;
use crate::device::{BlockOrder, ConvGeometry, GeometryError, SeenKernel};
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
        let seen = geometry.windows()?.seen();
        Ok(seen.map(|SeenKernel { window, first }| Trim {
            geometry: ConvGeometry { window, ..*geometry },
            kernel: geometry.window.kernel,
            first,
        }))
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
