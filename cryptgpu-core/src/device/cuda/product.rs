//! Ring products on a card. Which kernel makes a product, by card and shape, is for the kernels'
//! chooser to say, unless `CRYPTGPU_CUDA_PRODUCT` names a method ([`METHOD_VARIABLE`]).

use super::pool::window;
use super::{Buffer, View, ViewMut, elementwise, launch};
use crate::device::{BlockOrder, ConvGeometry, DeviceError, MatmulGeometry};
use cryptgpu_kernels::{Conv2d, ConvTerm, Matrix, Method, Term, Window};
use std::sync::OnceLock;

/// Environment variable: how cards make ring products. `auto` (the default), `native` (64-bit integers),
/// `int8` (tensor cores) or `double` (the paper's embedding by four limbs, exact); all give the same bits.
pub const METHOD_VARIABLE: &str = "CRYPTGPU_CUDA_PRODUCT";

/// The method that the environment names.
///
/// # Errors
/// [`DeviceError::Kernel`] for a name that is none.
fn method(operation: &'static str) -> Result<Method, DeviceError> {
    static NAMED: OnceLock<Result<Method, String>> = OnceLock::new();
    let read = || match std::env::var(METHOD_VARIABLE).as_deref() {
        Err(_) | Ok("" | "auto") => Ok(Method::Auto),
        Ok("native") => Ok(Method::Native),
        Ok("int8") => Ok(Method::Int8),
        Ok("double") => Ok(Method::Double { limbs: 4 }),
        Ok(other) => Err(format!("{METHOD_VARIABLE}={other}: there are auto, native, int8 and double")),
    };
    NAMED.get_or_init(read).clone().map_err(|detail| DeviceError::Kernel { operation, detail })
}

pub(crate) fn matmul_sum(geometry: &MatmulGeometry, terms: [(View, View); 2], out: ViewMut) -> Result<(), DeviceError> {
    let operation = "matmul";
    let method = method(operation)?;
    let MatmulGeometry { size, depths, transposed: [left, right] } = *geometry;
    let [(x0, y0), (x1, y1)] = terms;
    launch(operation, [x0, y0, x1, y1], [out], |k, s, [x0, y0, x1, y1], [out]| {
        let term = |depth, x, y| {
            let a = if left { Matrix::row_major(x, size[0]).transposed() } else { Matrix::row_major(x, depth) };
            let b = if right { Matrix::row_major(y, depth).transposed() } else { Matrix::row_major(y, size[1]) };
            Term { depth, a, b }
        };
        k.gemm(s, method, size, &[term(depths[0], x0, y0), term(depths[1], x1, y1)], out)
    });
    Ok(())
}

pub(crate) fn conv2d_sum(geometry: &ConvGeometry, terms: [(View, View); 2], out: ViewMut) -> Result<(), DeviceError> {
    let operation = "conv2d";
    let method = method(operation)?;
    let windows = geometry.windows().map_err(|source| DeviceError::Geometry { operation, source })?;
    let ConvGeometry { batch, in_channels, out_channels, groups, .. } = *geometry;
    let conv = Conv2d { batch, in_channels, out_channels, groups, window: window(&windows) };
    let [(x0, w0), (x1, w1)] = terms;
    launch(operation, [x0, w0, x1, w1], [out], |k, s, [x0, w0, x1, w1], [out]| {
        let term = |input, weight| ConvTerm { input, weight };
        k.conv2d(s, method, &conv, &[term(x0, w0), term(x1, w1)], out)
    });
    Ok(())
}

/// As a convolution of its own: images `[C/g, g·N, H, W]` with the outputs' gradients `[O, N, H′, W′]` as weights, g
/// groups, stride and dilation exchanged, which gives `[C/g, O, kh, kw]`. Where a group has one input channel there is
/// a kernel for it.
pub(crate) fn conv2d_weight_gradient_sum(
    geometry: &ConvGeometry,
    terms: [(View, View); 2],
    out: ViewMut,
) -> Result<(), DeviceError> {
    let operation = "gradient of a convolution's weights";
    let method = method(operation)?;
    let windows = geometry.windows().map_err(|source| DeviceError::Geometry { operation, source })?;
    let ConvGeometry { batch, in_channels, out_channels, groups, .. } = *geometry;
    let [(dy0, x0), (dy1, x1)] = terms;
    let seen = window(&windows);
    let term = |weight, input| ConvTerm { input, weight };
    if groups > 1 && in_channels == groups {
        let conv = Conv2d { batch, in_channels, out_channels, groups, window: seen };
        launch(operation, [dy0, x0, dy1, x1], [out], |k, s, [dy0, x0, dy1, x1], [out]| {
            k.depthwise_weight_gradient(s, &conv, &[term(dy0, x0), term(dy1, x1)], out)
        });
        return Ok(());
    }
    let channels = in_channels / groups;
    let (pixels, plane) = (seen.output[0] * seen.output[1], seen.input[0] * seen.input[1]);
    let images = BlockOrder::mirrored([batch, groups, channels], plane);
    let gradients = BlockOrder::swapped(1, [batch, out_channels], pixels);
    let ordinal = out.ordinal();
    let reordered = |order: &BlockOrder, words: View| {
        let mut copy = Buffer::alloc(ordinal, words.len());
        elementwise::reorder(order, words, copy.slice_mut(0..words.len()));
        copy
    };
    let [x0, x1] = [x0, x1].map(|x| reordered(&images, x));
    let [dy0, dy1] = [dy0, dy1].map(|dy| reordered(&gradients, dy));
    let window =
        Window { output: seen.kernel, kernel: seen.output, stride: seen.dilation, dilation: seen.stride, ..seen };
    let conv = Conv2d { batch: channels, in_channels: groups * batch, out_channels, groups, window };
    let mut result = Buffer::alloc(ordinal, out.len());
    let (reads, words) = ([dy0.view(), x0.view(), dy1.view(), x1.view()], result.slice_mut(0..out.len()));
    launch(operation, reads, [words], |k, s, [dy0, x0, dy1, x1], [out]| {
        k.conv2d(s, method, &conv, &[term(dy0, x0), term(dy1, x1)], out)
    });
    let taps = seen.kernel[0] * seen.kernel[1];
    elementwise::reorder(&BlockOrder::swapped(1, [channels, out_channels], taps), result.view(), out);
    Ok(())
}
