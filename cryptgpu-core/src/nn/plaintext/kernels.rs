//! Convolution, matrix product and pooling in f64. Convolution gathers the input pixels of a block of
//! outputs as columns (im2col) and multiplies; blocks go to rayon's threads.

use crate::device::{ConvGeometry, PoolGeometry};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Array3, ArrayD, ArrayView2, ArrayViewMut2, Ix2, Ix4, IxDyn, s};
use rayon::prelude::*;

/// Output pixels that one task works on: the column matrix of a large layer stays within a few MiB.
pub(super) const BLOCK: usize = 512;

/// Convolution of `x` `[batch, in, h, w]` with `weight` `[out, in / groups, kh, kw]`. `None` when the arrays do
/// not have the geometry's shapes.
pub(super) fn conv2d<W: Copy + Into<f64>>(
    geometry: &ConvGeometry,
    x: &ArrayD<f64>,
    weight: &ArrayD<W>,
    bias: Option<&ArrayD<W>>,
) -> Option<ArrayD<f64>> {
    let [batch, out, height, width] = geometry.output_shape().ok()?;
    if x.shape() != geometry.input_shape() || weight.shape() != geometry.weight_shape() {
        return None;
    }
    let x = x.as_standard_layout();
    let pixels = height * width;
    let (group_out, group_in) = (out / geometry.groups, geometry.in_channels / geometry.groups);
    let taps = weight.len() / out;
    // As a slice: to walk an array of any rank takes longer than the product of an image.
    let weight: Vec<f64> = weight.as_standard_layout().as_slice()?.iter().map(|&w| w.into()).collect();
    let weight = ArrayView2::from_shape((out, taps), &weight).ok()?;
    let image = geometry.in_channels * geometry.input[0] * geometry.input[1];
    let x = x.as_slice()?;

    let tasks: Vec<(usize, usize, usize)> = (0..batch)
        .flat_map(|n| (0..geometry.groups).flat_map(move |g| (0..pixels).step_by(BLOCK).map(move |p| (n, g, p))))
        .collect();
    let blocks: Vec<Array2<f64>> = tasks
        .par_iter()
        .map(|&(n, g, start)| {
            let len = BLOCK.min(pixels - start);
            let channels = &x[n * image..][..image][g * group_in * geometry.input[0] * geometry.input[1]..];
            let mut columns = Array2::zeros((taps, len));
            gather(geometry, channels, [start, width], &mut columns.view_mut());
            let filters = weight.slice(s![g * group_out..(g + 1) * group_out, ..]);
            let mut block = Array2::zeros((group_out, len));
            general_mat_mul(1.0, &filters, &columns, 0.0, &mut block);
            block
        })
        .collect();

    let mut result = Array2::zeros((batch * out, pixels));
    for ((n, g, start), block) in tasks.into_iter().zip(blocks) {
        let row = n * out + g * group_out;
        result.slice_mut(s![row..row + group_out, start..start + block.ncols()]).assign(&block);
    }
    if let Some(bias) = bias {
        for (row, mut line) in result.rows_mut().into_iter().enumerate() {
            line += (*bias.get([row % out].as_slice())?).into();
        }
    }
    result.into_shape_with_order(IxDyn(&[batch, out, height, width])).ok()
}

/// Fills `columns` `[taps, pixels]` with what the output pixels from `start` on see of `channels`; padding is 0.
pub(super) fn gather(
    geometry: &ConvGeometry,
    channels: &[f64],
    [start, width]: [usize; 2],
    columns: &mut ArrayViewMut2<'_, f64>,
) {
    let PoolGeometry { kernel, stride, padding, dilation } = geometry.window;
    let [in_height, in_width] = geometry.input;
    for (tap, mut row) in columns.rows_mut().into_iter().enumerate() {
        let (channel, ky, kx) = (tap / (kernel[0] * kernel[1]), tap / kernel[1] % kernel[0], tap % kernel[1]);
        let plane = &channels[channel * in_height * in_width..][..in_height * in_width];
        for (offset, value) in row.iter_mut().enumerate() {
            let (y, x) = ((start + offset) / width, (start + offset) % width);
            let (y, x) = (y * stride[0] + ky * dilation[0], x * stride[1] + kx * dilation[1]);
            if y >= padding[0] && y - padding[0] < in_height && x >= padding[2] && x - padding[2] < in_width {
                *value = plane[(y - padding[0]) * in_width + x - padding[2]];
            }
        }
    }
}

/// x·Wᵀ + b for `x` `[batch, in]` and `weight` `[out, in]`. `None` when shapes differ.
pub(super) fn linear(x: &ArrayD<f64>, weight: &ArrayD<f32>, bias: Option<&ArrayD<f32>>) -> Option<ArrayD<f64>> {
    let x = x.view().into_dimensionality::<Ix2>().ok()?;
    let weight = weight.view().into_dimensionality::<Ix2>().ok()?;
    if x.ncols() != weight.ncols() {
        return None;
    }
    // Row by row: a copy of the largest weights in f64 would take almost a gigabyte.
    let (batch, out) = (x.nrows(), weight.nrows());
    let rows: Vec<Vec<f64>> = (0..out)
        .into_par_iter()
        .map(|row| {
            let filter = weight.row(row).mapv(f64::from);
            x.rows().into_iter().map(|image| image.dot(&filter)).collect()
        })
        .collect();
    let mut y = ArrayD::from_shape_fn(IxDyn(&[batch, out]), |index| rows[index[1]][index[0]]);
    if let Some(bias) = bias {
        y = y + bias.mapv(f64::from);
    }
    Some(y)
}

/// x · y for each entry of the leading axes: `[…, m, k]` and `[…, k, n]`. `None` when shapes differ.
pub(super) fn matmul(x: &ArrayD<f64>, y: &ArrayD<f64>) -> Option<ArrayD<f64>> {
    let ([leading @ .., m, k], [others @ .., inner, n]) = (x.shape(), y.shape()) else { return None };
    if leading != others || k != inner {
        return None;
    }
    let matrices = leading.iter().product::<usize>();
    let (left, right) = (x.to_shape((matrices, *m, *k)).ok()?, y.to_shape((matrices, *k, *n)).ok()?);
    let mut z = Array3::zeros((matrices, *m, *n));
    for ((left, right), mut z) in left.outer_iter().zip(right.outer_iter()).zip(z.outer_iter_mut()) {
        general_mat_mul(1.0, &left, &right, 0.0, &mut z);
    }
    z.into_shape_with_order(IxDyn(&[leading, &[*m, *n]].concat())).ok()
}

/// Every pixel of `x` `[batch, channels, h, w]` as so many rows and columns of pixels.
pub(super) fn upsample(x: &ArrayD<f64>, [down, right]: [usize; 2]) -> Option<ArrayD<f64>> {
    let &[batch, channels, height, width] = x.shape() else { return None };
    let pixel = |at: ndarray::IxDyn| x[[at[0], at[1], at[2] / down, at[3] / right]];
    Some(ArrayD::from_shape_fn(IxDyn(&[batch, channels, height * down, width * right]), pixel))
}

/// Folds `merge` over every window of `x` `[batch, channels, h, w]`, from `start`; padding takes no part.
pub(super) fn pool(
    window: &PoolGeometry,
    x: &ArrayD<f64>,
    start: f64,
    merge: impl Fn(f64, f64) -> f64 + Sync,
) -> Option<ArrayD<f64>> {
    let x = x.view().into_dimensionality::<Ix4>().ok()?;
    let (batch, channels, in_height, in_width) = x.dim();
    let [height, width] = window.output([in_height, in_width]).ok()?;
    let PoolGeometry { kernel, stride, padding, dilation } = *window;
    let planes: Vec<Vec<f64>> = (0..batch * channels)
        .into_par_iter()
        .map(|plane| {
            let input = x.slice(s![plane / channels, plane % channels, .., ..]);
            let mut out = vec![start; height * width];
            for (index, value) in out.iter_mut().enumerate() {
                let (y, x) = (index / width * stride[0], index % width * stride[1]);
                for (ky, kx) in (0..kernel[0]).flat_map(|ky| (0..kernel[1]).map(move |kx| (ky, kx))) {
                    let (y, x) = (y + ky * dilation[0], x + kx * dilation[1]);
                    if y >= padding[0] && y - padding[0] < in_height && x >= padding[2] && x - padding[2] < in_width {
                        *value = merge(*value, input[[y - padding[0], x - padding[2]]]);
                    }
                }
            }
            out
        })
        .collect();
    ArrayD::from_shape_vec(IxDyn(&[batch, channels, height, width]), planes.concat()).ok()
}
