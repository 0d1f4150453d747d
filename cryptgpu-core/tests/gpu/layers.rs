//! What layers of networks are made of, on a card against the CPU's, bit for bit as in `operations`: pools, products of matrices,
//! convolutions and their gradients, orders of blocks.

use super::Body;
use super::data::words;
use super::operations::{Out, in_both, same};
use cryptgpu_core::device::{BlockOrder, ConvGeometry, Device, MatmulGeometry, PoolGeometry, Tensor, kernels};
use cryptgpu_core::ring::Ring;
use ndarray::{ArrayD, IxDyn};

pub const BODIES: &[(&str, Body)] = &[
    ("pooling", |card| in_both(card, pooling)),
    ("matrix_products", |card| in_both(card, matrix_products)),
    ("convolutions", |card| in_both(card, convolutions)),
    ("gradients", |card| in_both(card, gradients)),
    ("orders_of_blocks", |card| in_both(card, orders_of_blocks)),
];

/// An odd number.
const PLANES: usize = 5;

fn pooling(ring: Ring, card: Device) {
    let uneven = PoolGeometry { kernel: [3, 2], stride: [2, 3], padding: [0, 1, 2, 0], dilation: [2, 1] };
    let windows = [PoolGeometry::square(2, 2, 0), PoolGeometry::square(3, 2, 1), PoolGeometry::square(1, 1, 0), uneven];
    for window in windows {
        for input in [[8, 8], [13, 9]] {
            let windows = window.over(input).unwrap();
            let (n, out) = (PLANES * input[0] * input[1], PLANES * windows.output[0] * windows.output[1]);
            let what = format!("{window:?} on {input:?}");
            same(&what, card, [words(ring.words(n), 1)], [Out::New(ring.words(out))], |[x], [y]| {
                kernels::sum_pool(ring, &windows, PLANES, x, y)
            });
            for tap in [[0, 0], [window.kernel[0] - 1, window.kernel[1] - 1]] {
                same(&what, card, [words(ring.words(n), 1)], [Out::New(ring.words(out))], |[x], [y]| {
                    kernels::pool_tap(ring, &windows, PLANES, tap, 77, x, y)
                });
            }
            for (by_tap, taps) in [(false, 1), (true, window.kernel[0] * window.kernel[1])] {
                let what = format!("spread by tap {by_tap}, {what}");
                same(&what, card, [words(ring.words(taps * out), 2)], [Out::New(ring.words(n))], |[g], [inputs]| {
                    kernels::spread(ring, &windows, PLANES, by_tap, g, inputs)
                });
            }
        }
    }
}

fn matrix_products(ring: Ring, card: Device) {
    for [m, k, n] in [[1, 1, 1], [1, 784, 10], [3, 40, 130], [16, 64, 16], [65, 33, 71], [100, 300, 20], [64, 500, 1]] {
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            let inputs = [
                words(ring.words(m * k), 1),
                words(ring.words(k * n), 2),
                words(ring.words(m * k), 3),
                words(ring.words(k * n), 4),
            ];
            let what = format!("{m} × {k} × {n}, transposed {transposed:?}");
            same(&what, card, inputs.clone(), [Out::New(ring.words(m * n))], |[x0, y0, x1, y1], [out]| {
                let geometry = MatmulGeometry { size: [m, n], depths: [k, k], transposed };
                kernels::matmul_sum(ring, &geometry, vec![(x0, y0), (x1, y1)], out).unwrap()
            });
            same(&format!("{what}, alone"), card, inputs, [Out::New(ring.words(m * n))], |[x, y, ..], [out]| {
                let geometry = MatmulGeometry { size: [m, n], depths: [k, 0], transposed };
                kernels::matmul_sum(ring, &geometry, vec![(x, y)], out).unwrap()
            });
        }
    }
}

/// So many images of so many channels, to so many others.
fn geometry(
    batch: usize,
    in_channels: usize,
    input: [usize; 2],
    out_channels: usize,
    window: PoolGeometry,
    groups: usize,
) -> ConvGeometry {
    ConvGeometry { batch, in_channels, input, out_channels, window, groups }
}

fn convolutions(ring: Ring, card: Device) {
    let uneven = PoolGeometry { kernel: [3, 2], stride: [2, 1], padding: [0, 1, 1, 0], dilation: [1, 2] };
    for geometry in [
        geometry(1, 1, [28, 28], 6, PoolGeometry::square(5, 1, 2), 1),
        geometry(1, 3, [9, 11], 7, PoolGeometry::square(3, 2, 1), 1),
        geometry(1, 16, [7, 7], 20, PoolGeometry::square(1, 1, 0), 1),
        geometry(2, 8, [10, 6], 12, uneven, 4),
        geometry(1, 12, [9, 9], 24, PoolGeometry::square(3, 1, 1), 12),
        geometry(1, 64, [6, 6], 64, PoolGeometry::square(3, 1, 1), 1),
    ] {
        let count = |shape: [usize; 4]| shape.iter().product::<usize>();
        let shapes = [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape().unwrap()];
        let [x, w, y] = shapes.map(|shape| ring.words(count(shape)));
        let inputs = [words(x, 1), words(w, 2), words(x, 3), words(w, 4)];
        same(&format!("{geometry:?}"), card, inputs.clone(), [Out::New(y)], |[x0, w0, x1, w1], [out]| {
            kernels::conv2d_sum(ring, &geometry, vec![(x0, w0), (x1, w1)], out).unwrap()
        });
        same(&format!("{geometry:?}, alone"), card, inputs, [Out::New(y)], |[x, w, ..], [out]| {
            kernels::conv2d_sum(ring, &geometry, vec![(x, w)], out).unwrap()
        });
    }
}

/// Gradients of convolutions, of images and of weights: strided, dilated, in groups, with windows in the padding alone.
fn gradients(ring: Ring, card: Device) {
    let uneven = PoolGeometry { kernel: [3, 2], stride: [2, 1], padding: [0, 1, 3, 0], dilation: [1, 2] };
    for geometry in [
        geometry(3, 1, [12, 12], 6, PoolGeometry::square(5, 1, 0), 1),
        geometry(1, 3, [9, 11], 7, PoolGeometry::square(3, 2, 1), 1),
        geometry(2, 8, [10, 6], 12, uneven, 4),
        geometry(3, 5, [7, 6], 10, PoolGeometry::square(3, 2, 1), 5),
        geometry(2, 4, [4, 4], 4, PoolGeometry::square(1, 1, 0), 4),
        geometry(2, 2, [3, 3], 2, PoolGeometry::square(1, 2, 2), 1),
    ] {
        let shapes = [geometry.output_shape().unwrap(), geometry.input_shape(), geometry.weight_shape()];
        let [host, there] = [Device::Cpu, card].map(|device| {
            let tensor = |(shape, seed): ([usize; 4], u64)| {
                let words = words(shape.iter().product(), seed);
                Tensor::from_array_in(ring, device, &ArrayD::from_shape_vec(IxDyn(&shape), words).unwrap())
            };
            let [dy, x, w] = [(shapes[0], 1), (shapes[1], 2), (shapes[2], 3)].map(tensor);
            let [other_dy, other_x, other_w] = [(shapes[0], 4), (shapes[1], 5), (shapes[2], 6)].map(tensor);
            let dw = Tensor::conv2d_weight_gradient_sum(&[(&dy, &x), (&other_dy, &other_x)], &geometry).unwrap();
            let dx = Tensor::conv2d_input_gradient_sum(&[(&dy, &w), (&other_dy, &other_w)], &geometry).unwrap();
            let dw_alone = Tensor::conv2d_weight_gradient_sum(&[(&dy, &x)], &geometry).unwrap();
            let dx_alone = Tensor::conv2d_input_gradient_sum(&[(&dy, &w)], &geometry).unwrap();
            [dw, dx, dw_alone, dx_alone].map(|gradient| gradient.into_host().unwrap())
        });
        assert!(host == there, "{geometry:?}, {ring}");
    }
}

fn orders_of_blocks(ring: Ring, card: Device) {
    let swapped = BlockOrder::swapped(3, [5, 7], 9);
    let one_by_one = BlockOrder::swapped(1, [40, 33], 1);
    // Every third block of four groups, and each block five times.
    let part = BlockOrder { sizes: [4, 1, 3], strides: [9 * 7, 0, 3 * 7], block: 7, reversed: false };
    let repeated = BlockOrder { sizes: [6, 1, 5], strides: [33, 0, 0], block: 33, reversed: false };
    let reversed = BlockOrder { reversed: true, ..swapped };
    let orders = [swapped, reversed, one_by_one, BlockOrder::mirrored([2, 5, 3], 70), part, repeated];
    for order in orders {
        let n = order.words();
        same(
            &format!("{order:?}"),
            card,
            [words(ring.words(order.reach()), 1)],
            [Out::New(ring.words(n))],
            |[x], [out]| kernels::reorder(ring, &order, x, out),
        );
    }
}
