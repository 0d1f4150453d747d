//! Ring products on a card. Which kernel makes a product, by card and shape, is for the kernels'
//! chooser to say, unless `CRYPTGPU_CUDA_PRODUCT` names a method ([`METHOD_VARIABLE`]).

use super::pool::window;
use super::{View, ViewMut, launch_all};
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
    terms: Vec<(View, View)>,
    Shaped(out, n): Shaped<ViewMut>,
) -> Result<(), DeviceError> {
    let operation = "matmul";
    let method = method(operation)?;
    let MatmulGeometry { size, depths, transposed: [left, right] } = *geometry;
    let reads: Vec<View> = terms.iter().flat_map(|&(x, y)| [x, y]).collect();
    launch_all(operation, &reads, vec![out.allocation], |k, s| {
        let each = terms.iter().zip(depths).map(|(&(x, y), depth)| {
            let (x, y) = (x.words().elements::<W>(), y.words().elements::<W>());
            let a = if left { Matrix::row_major(x, size[0]).transposed() } else { Matrix::row_major(x, depth) };
            let b = if right { Matrix::row_major(y, depth).transposed() } else { Matrix::row_major(y, size[1]) };
            Term { depth, a, b }
        });
        let terms: Vec<_> = each.collect();
        k.gemm(s, method, size, &terms, out.words().first(n))
    });
    Ok(())
}

pub(crate) fn conv2d_sum<W: Element>(
    geometry: &ConvGeometry,
    terms: Vec<(Shaped<View>, Shaped<View>)>,
    Shaped(out, n): Shaped<ViewMut>,
) -> Result<(), DeviceError> {
    let operation = "conv2d";
    let windows = geometry.windows().map_err(|source| DeviceError::Geometry { operation, source })?;
    let ConvGeometry { batch, in_channels, out_channels, groups, .. } = *geometry;
    convolve::<W>(
        operation,
        &Conv2d { batch, in_channels, out_channels, groups, window: window(&windows) },
        &terms,
        Shaped(out, n),
    )
}

/// The convolution `conv` of images with weights, summed over the terms.
pub(super) fn convolve<W: Element>(
    operation: &'static str,
    conv: &Conv2d,
    terms: &[(Shaped<View>, Shaped<View>)],
    Shaped(out, n): Shaped<ViewMut>,
) -> Result<(), DeviceError> {
    let method = method(operation)?;
    let reads: Vec<View> = terms.iter().flat_map(|(Shaped(x, _), Shaped(w, _))| [*x, *w]).collect();
    launch_all(operation, &reads, vec![out.allocation], |k, s| {
        let each = terms
            .iter()
            .map(|(Shaped(x, images), Shaped(w, weights))| term::<W>([*images, *weights], x.words(), w.words()));
        k.conv2d(s, method, conv, &each.collect::<Vec<_>>(), out.words().first(n))
    });
    Ok(())
}

/// A term of so many elements of images and of weights.
pub(super) fn term<'a, W: Element>([images, weights]: [usize; 2], x: Words<'a>, w: Words<'a>) -> ConvTerm<'a, W> {
    ConvTerm { input: x.first(images), weight: w.first(weights) }
}
