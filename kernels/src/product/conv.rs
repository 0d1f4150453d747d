//! Convolutions.

use super::choose::{Card, Plan, Route, Shape, choose};
use super::{Divisor, INT8_ARCH, INT8_SHARED, LIMBS, Method, THREADS};
use crate::KernelError;
use crate::Window;
use crate::check::{equal, narrow};
use crate::compile::Family;
use crate::launch::{Argument, Element, In, InOut, Kernel, KernelInfo, Kernels, Words, WordsMut};
use cudarc::driver::CudaStream;

type Conv = Kernel<(RawConv,)>;
type ConvDouble = Kernel<(RawConv, u32)>;

const NATIVE: Conv = Kernel::new(Family::Conv, "conv_native", THREADS);
const INT8: Conv = Kernel::new(Family::Conv, "conv_int8", THREADS).shared(INT8_SHARED).since(INT8_ARCH);
const DEPTHWISE: Conv = Kernel::new(Family::Conv, "conv_depthwise", THREADS);
const DEPTHWISE_WEIGHTS: Conv = Kernel::new(Family::Conv, "conv_depthwise_weights", THREADS);
const DOUBLE: [ConvDouble; 4] = [
    Kernel::new(Family::Conv, "conv_double_2", THREADS),
    Kernel::new(Family::Conv, "conv_double_3", THREADS),
    Kernel::new(Family::Conv, "conv_double_4", THREADS),
    Kernel::new(Family::Conv, "conv_double_8", THREADS),
];

pub(crate) const KERNELS: &[KernelInfo] = &[
    NATIVE.info,
    INT8.info,
    DEPTHWISE.info,
    DEPTHWISE_WEIGHTS.info,
    DOUBLE[0].info,
    DOUBLE[1].info,
    DOUBLE[2].info,
    DOUBLE[3].info,
];

/// A two-dimensional convolution: images NCHW, weights `[out_channels, in_channels / groups, kernel height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Images in the batch.
    pub batch: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Groups; both numbers of channels are multiples.
    pub groups: usize,
    /// The window, with the sizes of input and output planes.
    pub window: Window,
}

/// One convolution of a sum.
#[derive(Clone, Copy, Debug)]
pub struct ConvTerm<'a, W = u64> {
    /// Images.
    pub input: Words<'a, W>,
    /// Weights.
    pub weight: Words<'a, W>,
}

/// `Conv` of `conv.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawConv {
    w0: In,
    x0: In,
    w1: In,
    x1: In,
    output: InOut,
    batch: u32,
    channels: u32,
    height: u32,
    width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
    groups: u32,
    group_channels: u32,
    group_outputs: u32,
    stride: [u32; 2],
    before: [u32; 2],
    dilation: [u32; 2],
    kernel_x: u32,
    kernel_words: u32,
    terms: u32,
    splits: u32,
    by_pixels: Divisor,
    by_out_width: Divisor,
    by_taps: Divisor,
    by_kernel_x: Divisor,
}

// SAFETY: the fields of `Conv` in `conv.cu`, in order and of the same types, without padding: five pointers, twenty
// and four times four `u32`.
unsafe impl Argument for RawConv {}

const OPERATION: &str = "ring convolution";

impl Conv2d {
    fn check(&self) -> Result<(), KernelError> {
        let refuse =
            |argument, found: String, rule| Err(KernelError::Argument { operation: OPERATION, argument, found, rule });
        let divides = |channels: usize| channels.is_multiple_of(self.groups);
        if self.groups == 0 || !divides(self.in_channels) || !divides(self.out_channels) {
            let found = format!("{} ({} to {} channels)", self.groups, self.in_channels, self.out_channels);
            return refuse("groups", found, "both numbers of channels must be multiples");
        }
        if self.window.kernel.contains(&0) {
            return refuse("kernel", format!("{:?}", self.window.kernel), "it must be at least 1 × 1");
        }
        self.window.raw(OPERATION).map(drop)
    }

    /// Words of all images, of the weights, of the output, and of one output channel's kernel.
    fn sizes(&self) -> Result<[usize; 4], KernelError> {
        let product = |factors: &[usize]| {
            factors.iter().try_fold(1usize, |product, &factor| product.checked_mul(factor)).ok_or_else(|| {
                let (argument, found) = ("shape", format!("{factors:?}"));
                KernelError::Argument { operation: OPERATION, argument, found, rule: "it must fit the address space" }
            })
        };
        let Window { input, output, kernel, .. } = self.window;
        let words = product(&[self.in_channels / self.groups, kernel[0], kernel[1]])?;
        Ok([
            product(&[self.batch, self.in_channels, input[0], input[1]])?,
            product(&[self.out_channels, words])?,
            product(&[self.batch, self.out_channels, output[0], output[1]])?,
            words,
        ])
    }

    fn depthwise(&self) -> bool {
        self.groups > 1 && self.in_channels == self.groups
    }
}

impl Kernels {
    /// How `method` makes this convolution of elements `W` on this card with `terms` terms; depthwise ones have one kernel only.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] or [`KernelError::Argument`] when this card or these kernels cannot.
    pub fn plan_conv2d<W: Element>(&self, method: Method, conv: &Conv2d, terms: usize) -> Result<Plan, KernelError> {
        conv.check()?;
        let size = |what, value| narrow(OPERATION, what, value, i32::MAX as usize);
        let [_, _, _, depth] = conv.sizes()?;
        let depth = size("depth", depth)?;
        let shape = Shape {
            rows: size("output channels", conv.out_channels / conv.groups)?,
            columns: size(
                "output pixels",
                conv.batch.saturating_mul(conv.window.output[0]).saturating_mul(conv.window.output[1]),
            )?,
            depths: [depth, if terms > 1 { depth } else { 0 }],
            groups: size("groups", conv.groups)?,
            may_be_thin: false,
            width: W::WIDTH,
        };
        choose(Card { arch: self.target().arch, multiprocessors: self.multiprocessors() }, method, shape)
    }

    /// `out` = Σₜ wₜ ⊛ xₜ in the ring for one or two terms, NCHW. No im2col matrix is made. With one input channel a
    /// group every method is the same: integers, directly.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless all have the elements of their shapes, [`KernelError::Argument`] for another
    /// number of terms, groups that do not divide or sizes beyond 2³¹, [`KernelError::Unsupported`] when the card
    /// lacks what `method` names; errors of compilation and launch.
    pub fn conv2d<W: Element>(
        &self,
        stream: &CudaStream,
        method: Method,
        conv: &Conv2d,
        terms: &[ConvTerm<W>],
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let (first, second) = both(terms)?;
        let plan = self.plan_conv2d::<W>(method, conv, terms.len())?;
        let [input, weight, output, _] = conv.sizes()?;
        equal(OPERATION, [("output", out.len())], output)?;
        equal(OPERATION, [("input", first.input.len()), ("second input", second.input.len())], input)?;
        equal(OPERATION, [("weight", first.weight.len()), ("second weight", second.weight.len())], weight)?;
        let depthwise = conv.depthwise();
        let splits = if depthwise { 1 } else { plan.splits };
        if splits > 1 {
            self.fill_constant(stream, 0, out.memory())?;
        }
        let raw = raw(conv, [first, second], terms.len(), splits, out.device())?;
        if depthwise {
            return self.launch::<W, _>(stream, &DEPTHWISE, self.grid(&DEPTHWISE, output), (raw,));
        }
        let tiles = |rows: u32, columns: u32| -> Result<[u32; 3], KernelError> {
            let y = narrow(OPERATION, "tiles of channels", raw.group_outputs.div_ceil(rows) as usize, 65_535)?;
            let parts = raw.groups as usize * splits as usize;
            let z = narrow(OPERATION, "groups times parts along the depth", parts, 65_535)?;
            Ok([(raw.batch * raw.out_height * raw.out_width).div_ceil(columns), y, z])
        };
        match plan.route {
            Route::Int8 => self.launch::<W, _>(stream, &INT8, tiles(64, 64)?, (raw,)),
            Route::Double { limbs, flush } => {
                let index = LIMBS.iter().position(|&known| known == limbs).unwrap_or(0);
                self.launch::<W, _>(stream, &DOUBLE[index], tiles(64, 32)?, (raw, flush))
            }
            Route::Native | Route::Thin => self.launch::<W, _>(stream, &NATIVE, tiles(64, 64)?, (raw,)),
        }
    }

    /// The gradient of the weights of a convolution with one input channel a group, from the gradients of its outputs
    /// (`ConvTerm::weight`): `out[o, 0, ky, kx]` = Σₜ Σ over images and output pixels of that gradient times the input
    /// under the tap.
    ///
    /// # Errors
    /// As [`Kernels::conv2d`], with the outputs' elements in the place of the weights', and [`KernelError::Argument`] when
    /// a group has several input channels.
    pub fn depthwise_weight_gradient<W: Element>(
        &self,
        stream: &CudaStream,
        conv: &Conv2d,
        terms: &[ConvTerm<W>],
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let (first, second) = both(terms)?;
        conv.check()?;
        if conv.in_channels != conv.groups {
            let (argument, found) = ("groups", format!("{} of {} channels", conv.groups, conv.in_channels));
            let rule = "a group must have one input channel";
            return Err(KernelError::Argument { operation: OPERATION, argument, found, rule });
        }
        let [input, weight, output, _] = conv.sizes()?;
        equal(OPERATION, [("weight gradient", out.len())], weight)?;
        equal(OPERATION, [("input", first.input.len()), ("second input", second.input.len())], input)?;
        equal(OPERATION, [("gradient", first.weight.len()), ("second gradient", second.weight.len())], output)?;
        let blocks = narrow(OPERATION, "weights", weight, i32::MAX as usize)?;
        let pixels = conv.window.output[0].saturating_mul(conv.window.output[1]);
        narrow(OPERATION, "output pixels", conv.batch.saturating_mul(pixels), i32::MAX as usize)?;
        let raw = raw(conv, [first, second], terms.len(), 1, out.device())?;
        self.launch::<W, _>(stream, &DEPTHWISE_WEIGHTS, [blocks, 1, 1], (raw,))
    }
}

/// The two terms of a sum, the first twice where it stands alone.
fn both<'t, 'a, W>(terms: &'t [ConvTerm<'a, W>]) -> Result<(&'t ConvTerm<'a, W>, &'t ConvTerm<'a, W>), KernelError> {
    match terms {
        [first] => Ok((first, first)),
        [first, second] => Ok((first, second)),
        _ => {
            let (argument, found) = ("number of terms", terms.len().to_string());
            Err(KernelError::Argument { operation: OPERATION, argument, found, rule: "it must be 1 or 2" })
        }
    }
}

fn raw<W: Element>(
    conv: &Conv2d,
    [first, second]: [&ConvTerm<W>; 2],
    terms: usize,
    splits: u32,
    output: InOut,
) -> Result<RawConv, KernelError> {
    let size = |value: usize| narrow(OPERATION, "size", value, i32::MAX as usize);
    let pair = |[y, x]: [usize; 2]| Ok::<_, KernelError>([size(y)?, size(x)?]);
    let Window { input, output: out, kernel, stride, before, dilation } = conv.window;
    let ([height, width], [out_height, out_width], [kernel_y, kernel_x]) = (pair(input)?, pair(out)?, pair(kernel)?);
    let group_channels = size(conv.in_channels / conv.groups)?;
    let taps = size(kernel[0].saturating_mul(kernel[1]))?;
    debug_assert_eq!(taps, kernel_y * kernel_x);
    Ok(RawConv {
        w0: first.weight.device(),
        x0: first.input.device(),
        w1: second.weight.device(),
        x1: second.input.device(),
        output,
        batch: size(conv.batch)?,
        channels: size(conv.in_channels)?,
        height,
        width,
        out_channels: size(conv.out_channels)?,
        out_height,
        out_width,
        groups: size(conv.groups)?,
        group_channels,
        group_outputs: size(conv.out_channels / conv.groups)?,
        stride: pair(stride)?,
        before: pair(before)?,
        dilation: pair(dilation)?,
        kernel_x,
        kernel_words: size(group_channels as usize * taps as usize)?,
        terms: size(terms)?,
        splits,
        by_pixels: Divisor::new(out_height * out_width),
        by_out_width: Divisor::new(out_width),
        by_taps: Divisor::new(taps),
        by_kernel_x: Divisor::new(kernel_x),
    })
}
