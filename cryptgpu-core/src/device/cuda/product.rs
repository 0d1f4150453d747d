//! Ring products on a card. Which kernel makes a product, by card and shape, is for the kernels'
//! chooser to say, unless `CRYPTGPU_CUDA_PRODUCT` names a method ([`METHOD_VARIABLE`]).

use super::pool::window;
use super::{View, ViewMut, launch};
use crate::device::dispatch::Shaped;
use crate::device::{ConvGeometry, DeviceError, MatmulGeometry};
use cryptgpu_kernels::{Conv2d, ConvTerm, Element, Matrix, Method, Term, Words};
use std::sync::OnceLock;

/// Environment variable: how cards make ring products. `auto` (the default), `native` (integers),
/// `int8` (tensor cores) or `double` (the paper's embedding by four limbs, exact); all give the same bits.
pub const METHOD_VARIABLE: &str = "CRYPTGPU_CUDA_PRODUCT";

/// The method that the environment names.
///
/// # Errors
/// [`DeviceError::Kernel`] for a name that is none.
pub(super) fn method(operation: &'static str) -> Result<Method, DeviceError> {
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

pub(crate) fn matmul_sum<W: Element>(
    geometry: &MatmulGeometry,
    terms: [(View, View); 2],
    Shaped(out, n): Shaped<ViewMut>,
) -> Result<(), DeviceError> {
    let operation = "matmul";
    let method = method(operation)?;
    let MatmulGeometry { size, depths, transposed: [left, right] } = *geometry;
    let [(x0, y0), (x1, y1)] = terms;
    launch(operation, [x0, y0, x1, y1], [out], |k, s, [x0, y0, x1, y1], [out]| {
        let [x0, y0, x1, y1] = [x0, y0, x1, y1].map(|words| words.elements::<W>());
        let term = |depth, x, y| {
            let a = if left { Matrix::row_major(x, size[0]).transposed() } else { Matrix::row_major(x, depth) };
            let b = if right { Matrix::row_major(y, depth).transposed() } else { Matrix::row_major(y, size[1]) };
            Term { depth, a, b }
        };
        k.gemm(s, method, size, &[term(depths[0], x0, y0), term(depths[1], x1, y1)], out.first(n))
    });
    Ok(())
}

pub(crate) fn conv2d_sum<W: Element>(
    geometry: &ConvGeometry,
    terms: [(Shaped<View>, Shaped<View>); 2],
    Shaped(out, n): Shaped<ViewMut>,
) -> Result<(), DeviceError> {
    let operation = "conv2d";
    let method = method(operation)?;
    let windows = geometry.windows().map_err(|source| DeviceError::Geometry { operation, source })?;
    let ConvGeometry { batch, in_channels, out_channels, groups, .. } = *geometry;
    let conv = Conv2d { batch, in_channels, out_channels, groups, window: window(&windows) };
    let [(Shaped(x0, images), Shaped(w0, weights)), (Shaped(x1, _), Shaped(w1, _))] = terms;
    launch(operation, [x0, w0, x1, w1], [out], |k, s, [x0, w0, x1, w1], [out]| {
        let terms = [term::<W>([images, weights], x0, w0), term([images, weights], x1, w1)];
        k.conv2d(s, method, &conv, &terms, out.first(n))
    });
    Ok(())
}

/// A term of so many elements of images and of weights.
pub(super) fn term<'a, W: Element>([images, weights]: [usize; 2], x: Words<'a>, w: Words<'a>) -> ConvTerm<'a, W> {
    ConvTerm { input: x.first(images), weight: w.first(weights) }
}
