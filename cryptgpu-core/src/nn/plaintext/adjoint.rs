//! Gradients of the operations in f64: given the gradient of a result, those of what it was computed from.

use super::kernels::{BLOCK, gather};
use crate::device::{ConvGeometry, PoolGeometry};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewMut2, Axis, Ix2, Ix4, IxDyn, s};
use rayon::prelude::*;

/// Tasks that a batch is cut into: each holds a gradient of the weights of its own.
const TASKS: usize = 4;

/// Gradients of a convolution's input and weight. `None` when the arrays do not have the geometry's shapes.
pub(super) fn conv2d(
    geometry: &ConvGeometry,
    x: &ArrayD<f64>,
    weight: &ArrayD<f64>,
    dy: &ArrayD<f64>,
) -> Option<[ArrayD<f64>; 2]> {
    let [batch, out, height, width] = geometry.output_shape().ok()?;
    if x.shape() != geometry.input_shape()
        || weight.shape() != geometry.weight_shape()
        || dy.shape() != [batch, out, height, width]
    {
        return None;
    }
    let (x, dy, weight) = (x.as_standard_layout(), dy.as_standard_layout(), weight.as_standard_layout());
    let taps = weight.len() / out;
    let weight = ArrayView2::from_shape((out, taps), weight.as_slice()?).ok()?;
    let image = geometry.in_channels * geometry.input[0] * geometry.input[1];
    let (x, dy) = (x.as_slice()?, dy.as_slice()?);
    let mut dx = vec![0.0; x.len()];
    let share = batch.div_ceil(TASKS);
    let result = height * width * out;
    let parts: Vec<Array2<f64>> = (dx.par_chunks_mut(share * image))
        .zip(x.par_chunks(share * image))
        .zip(dy.par_chunks(share * result))
        .map(|((dx, x), dy)| {
            let mut sum = Array2::zeros((out, taps));
            for ((dx, x), dy) in dx.chunks_mut(image).zip(x.chunks(image)).zip(dy.chunks(result)) {
                if let Ok(dy) = ArrayView2::from_shape((out, height * width), dy) {
                    one_image(geometry, width, (x, dx), (&weight, &dy), &mut sum);
                }
            }
            sum
        })
        .collect();
    let sum = parts.into_iter().reduce(|sum, part| sum + part)?;
    let dw = sum.into_shape_with_order(IxDyn(&geometry.weight_shape())).ok()?;
    Some([ArrayD::from_shape_vec(IxDyn(&geometry.input_shape()), dx).ok()?, dw])
}

/// Adds the gradients of one image to `dx` and `dw`.
fn one_image(
    geometry: &ConvGeometry,
    width: usize,
    (x, dx): (&[f64], &mut [f64]),
    (weight, dy): (&ArrayView2<'_, f64>, &ArrayView2<'_, f64>),
    dw: &mut Array2<f64>,
) {
    let (out, pixels, taps) = (geometry.out_channels / geometry.groups, dy.ncols(), weight.ncols());
    let channels = geometry.in_channels / geometry.groups * geometry.input[0] * geometry.input[1];
    for group in 0..geometry.groups {
        let (own, filters) = (group * channels.., group * out..(group + 1) * out);
        for start in (0..pixels).step_by(BLOCK) {
            let len = BLOCK.min(pixels - start);
            let dy = dy.slice(s![filters.clone(), start..start + len]);
            let mut columns = Array2::zeros((taps, len));
            gather(geometry, &x[own.clone()], [start, width], &mut columns.view_mut());
            general_mat_mul(1.0, &dy, &columns.t(), 1.0, &mut dw.slice_mut(s![filters.clone(), ..]));
            general_mat_mul(1.0, &weight.slice(s![filters.clone(), ..]).t(), &dy, 0.0, &mut columns);
            scatter(geometry, &mut dx[own.clone()], [start, width], &columns.view_mut());
        }
    }
}

/// Adds `columns` `[taps, pixels]` to what the output pixels from `start` on saw of `channels`: the adjoint of `gather`.
fn scatter(
    geometry: &ConvGeometry,
    channels: &mut [f64],
    [start, width]: [usize; 2],
    columns: &ArrayViewMut2<'_, f64>,
) {
    let PoolGeometry { kernel, stride, padding, dilation } = geometry.window;
    let [in_height, in_width] = geometry.input;
    for (tap, row) in columns.rows().into_iter().enumerate() {
        let (channel, ky, kx) = (tap / (kernel[0] * kernel[1]), tap / kernel[1] % kernel[0], tap % kernel[1]);
        let plane = &mut channels[channel * in_height * in_width..][..in_height * in_width];
        for (offset, value) in row.iter().enumerate() {
            let (y, x) = ((start + offset) / width, (start + offset) % width);
            let (y, x) = (y * stride[0] + ky * dilation[0], x * stride[1] + kx * dilation[1]);
            if y >= padding[0] && y - padding[0] < in_height && x >= padding[2] && x - padding[2] < in_width {
                plane[(y - padding[0]) * in_width + x - padding[2]] += value;
            }
        }
    }
}

/// x·Wᵀ + b for weights in f64.
pub(super) fn linear_forward(x: &ArrayD<f64>, weight: &ArrayD<f64>, bias: Option<&ArrayD<f64>>) -> Option<ArrayD<f64>> {
    let x = x.view().into_dimensionality::<Ix2>().ok()?;
    let weight = weight.view().into_dimensionality::<Ix2>().ok()?;
    if x.ncols() != weight.ncols() {
        return None;
    }
    let y = x.dot(&weight.t()).into_dyn();
    Some(if let Some(bias) = bias { y + bias } else { y })
}

/// Gradients of a fully connected layer's input, dy·W, and weight, dyᵀ·x.
pub(super) fn linear(x: &ArrayD<f64>, weight: &ArrayD<f64>, dy: &ArrayD<f64>) -> Option<[ArrayD<f64>; 2]> {
    let two = |array: &ArrayD<f64>| array.view().into_dimensionality::<Ix2>().map(|view| view.to_owned()).ok();
    let (x, weight, dy) = (two(x)?, two(weight)?, two(dy)?);
    if x.nrows() != dy.nrows() || dy.ncols() != weight.nrows() || x.ncols() != weight.ncols() {
        return None;
    }
    Some([dy.dot(&weight).into_dyn(), dy.t().dot(&x).into_dyn()])
}

/// The sum over all axes but the second: `[channels]`.
pub(super) fn channel_sums(values: &ArrayD<f64>) -> ArrayD<f64> {
    ArrayD::from_shape_fn(IxDyn(&[values.shape()[1]]), |channel| values.index_axis(Axis(1), channel[0]).sum())
}

/// Gradient of the input of a pool over `window` whose input is `x`. With `maximum`, a window's gradient goes to the first
/// of its largest inputs; else all its inputs get it, which is the adjoint of a sum.
pub(super) fn pool(window: &PoolGeometry, x: &ArrayD<f64>, dy: &ArrayD<f64>, maximum: bool) -> Option<ArrayD<f64>> {
    let (x, dy) = (x.view().into_dimensionality::<Ix4>().ok()?, dy.view().into_dimensionality::<Ix4>().ok()?);
    let (batch, channels, in_height, in_width) = x.dim();
    let [height, width] = window.output([in_height, in_width]).ok()?;
    if dy.dim() != (batch, channels, height, width) {
        return None;
    }
    let PoolGeometry { kernel, stride, padding, dilation } = *window;
    let planes: Vec<Vec<f64>> = (0..batch * channels)
        .into_par_iter()
        .map(|plane| {
            let at = (plane / channels, plane % channels);
            let (x, dy) = (x.slice(s![at.0, at.1, .., ..]), dy.slice(s![at.0, at.1, .., ..]));
            let mut dx = vec![0.0; in_height * in_width];
            for ((row, column), value) in dy.indexed_iter() {
                let mut largest: Option<[usize; 2]> = None;
                for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
                    let (y, xx) = (row * stride[0] + ky * dilation[0], column * stride[1] + kx * dilation[1]);
                    if y < padding[0] || y - padding[0] >= in_height || xx < padding[2] || xx - padding[2] >= in_width {
                        continue;
                    }
                    let here = [y - padding[0], xx - padding[2]];
                    if !maximum {
                        dx[here[0] * in_width + here[1]] += value;
                    } else if largest.is_none_or(|largest| x[here] > x[largest]) {
                        largest = Some(here);
                    }
                }
                if let Some([y, xx]) = largest {
                    dx[y * in_width + xx] += value;
                }
            }
            dx
        })
        .collect();
    ArrayD::from_shape_vec(IxDyn(&[batch, channels, in_height, in_width]), planes.concat()).ok()
}
