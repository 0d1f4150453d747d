//! Element-wise ring operations and sums (`elementwise.cu`).

use crate::KernelError;
use crate::check::equal;
use crate::compile::Family;
use crate::launch::{In, InOut, Kernel, KernelInfo, Kernels, Words, WordsMut};
use cudarc::driver::CudaStream;

type OfTwo = Kernel<(In, In, InOut, u64)>;
type WithConstant = Kernel<(In, u64, InOut, u64)>;

const THREADS: u32 = 256;
const fn of_two(name: &'static str) -> OfTwo {
    Kernel::new(Family::Elementwise, name, THREADS)
}
const fn with_constant(name: &'static str) -> WithConstant {
    Kernel::new(Family::Elementwise, name, THREADS)
}

const ADD: OfTwo = of_two("add_words");
const SUB: OfTwo = of_two("sub_words");
const MUL: OfTwo = of_two("mul_words");
const XOR: OfTwo = of_two("xor_words");
const AND: OfTwo = of_two("and_words");
const ADD_CONSTANT: WithConstant = with_constant("add_constant");
const MUL_CONSTANT: WithConstant = with_constant("mul_constant");
const XOR_CONSTANT: WithConstant = with_constant("xor_constant");
const AND_CONSTANT: WithConstant = with_constant("and_constant");
const SHIFT_LEFT: WithConstant = with_constant("shift_left");
const SHIFT_RIGHT: WithConstant = with_constant("shift_right");
const SHIFT_RIGHT_SIGNED: WithConstant = with_constant("shift_right_signed");
const FILL: Kernel<(u64, InOut, u64)> = Kernel::new(Family::Elementwise, "fill_constant", THREADS);
const PRODUCT_SHARE: Kernel<(In, In, In, In, InOut, u64)> = Kernel::new(Family::Elementwise, "product_share", THREADS);
const ADD_BIAS: Kernel<(In, u64, u64, InOut, u64)> = Kernel::new(Family::Elementwise, "add_bias", THREADS);
const SUM: Kernel<(In, InOut, u64)> = Kernel::new(Family::Elementwise, "sum_words", THREADS);

pub(crate) const KERNELS: &[KernelInfo] = &[
    ADD.info,
    SUB.info,
    MUL.info,
    XOR.info,
    AND.info,
    ADD_CONSTANT.info,
    MUL_CONSTANT.info,
    XOR_CONSTANT.info,
    AND_CONSTANT.info,
    SHIFT_LEFT.info,
    SHIFT_RIGHT.info,
    SHIFT_RIGHT_SIGNED.info,
    FILL.info,
    PRODUCT_SHARE.info,
    ADD_BIAS.info,
    SUM.info,
];

/// An element-wise operation of two tensors, on a card and on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// x + y.
    Add,
    /// x − y.
    Sub,
    /// x · y.
    Mul,
    /// x ⊕ y.
    Xor,
    /// x ∧ y.
    And,
}

/// An element-wise operation of a tensor and a public word, on a card and on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// x + c.
    Add(u64),
    /// c · x; −1 negates.
    Mul(u64),
    /// x ⊕ c.
    Xor(u64),
    /// x ∧ c.
    And(u64),
    /// Bits moved up by k, zeros behind; k of 64 or more leaves nothing.
    Shl(u32),
    /// Bits moved down by k, zeros before; k of 64 or more leaves nothing.
    Shr(u32),
    /// Bits moved down by k, the sign bit before: ⌊x/2^k⌋ of a two's complement x.
    Sar(u32),
}

impl Kernels {
    /// `out` = x ∘ y.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless all have the same length; errors of compilation and launch.
    pub fn binary(
        &self,
        stream: &CudaStream,
        op: Binary,
        x: Words,
        y: Words,
        mut out: WordsMut,
    ) -> Result<(), KernelError> {
        let n = out.len();
        equal("element-wise operation", [("x", x.len()), ("y", y.len())], n)?;
        let kernel = match op {
            Binary::Add => ADD,
            Binary::Sub => SUB,
            Binary::Mul => MUL,
            Binary::Xor => XOR,
            Binary::And => AND,
        };
        self.launch(stream, &kernel, self.grid(&kernel, n), (x.device(), y.device(), out.device(), n as u64))
    }

    /// `out` = x ∘ c.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless both have the same length; errors of compilation and launch.
    pub fn unary(&self, stream: &CudaStream, op: Unary, x: Words, mut out: WordsMut) -> Result<(), KernelError> {
        let n = out.len();
        equal("element-wise operation with a constant", [("x", x.len())], n)?;
        let (kernel, constant) = match op {
            Unary::Add(c) => (ADD_CONSTANT, c),
            Unary::Mul(c) => (MUL_CONSTANT, c),
            Unary::Xor(c) => (XOR_CONSTANT, c),
            Unary::And(c) => (AND_CONSTANT, c),
            Unary::Shl(64..) | Unary::Shr(64..) => (AND_CONSTANT, 0),
            Unary::Shl(k) => (SHIFT_LEFT, u64::from(k)),
            Unary::Shr(k) => (SHIFT_RIGHT, u64::from(k)),
            Unary::Sar(k) => (SHIFT_RIGHT_SIGNED, u64::from(k.min(63))),
        };
        self.launch(stream, &kernel, self.grid(&kernel, n), (x.device(), constant, out.device(), n as u64))
    }

    /// All words of `out` become `value`.
    ///
    /// # Errors
    /// Errors of compilation and launch.
    pub fn fill_constant(&self, stream: &CudaStream, value: u64, mut out: WordsMut) -> Result<(), KernelError> {
        let n = out.len();
        self.launch(stream, &FILL, self.grid(&FILL, n), (value, out.device(), n as u64))
    }

    /// One party's additive share of an element-wise product, without its zero-share:
    /// `out` = x₀(y₀ + y₁) + x₁y₀.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless all have the same length; errors of compilation and launch.
    pub fn product_share(
        &self,
        stream: &CudaStream,
        x: [Words; 2],
        y: [Words; 2],
        mut out: WordsMut,
    ) -> Result<(), KernelError> {
        let ([x0, x1], [y0, y1], n) = (x, y, out.len());
        equal("product share", [("x₀", x0.len()), ("x₁", x1.len()), ("y₀", y0.len()), ("y₁", y1.len())], n)?;
        let arguments = (x0.device(), x1.device(), y0.device(), y1.device(), out.device(), n as u64);
        self.launch(stream, &PRODUCT_SHARE, self.grid(&PRODUCT_SHARE, n), arguments)
    }

    /// `z` += bias, `inner` elements for each entry of the bias, again and again. What is left behind the last
    /// whole image stays as it is, as on the CPU.
    ///
    /// # Errors
    /// Errors of compilation and launch.
    pub fn add_bias(&self, stream: &CudaStream, bias: Words, inner: usize, mut z: WordsMut) -> Result<(), KernelError> {
        let image = bias.len() * inner;
        if image == 0 {
            return Ok(());
        }
        let n = z.len() / image * image;
        let arguments = (bias.device(), bias.len() as u64, inner as u64, z.device(), n as u64);
        self.launch(stream, &ADD_BIAS, self.grid(&ADD_BIAS, n), arguments)
    }

    /// `out[0]` += Σ x: `out` holds zero, or what the sum is to be added to.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless `out` is one word; errors of compilation and launch.
    pub fn sum(&self, stream: &CudaStream, x: Words, mut out: WordsMut) -> Result<(), KernelError> {
        equal("sum", [("out", out.len())], 1)?;
        let n = x.len();
        self.launch(stream, &SUM, self.grid(&SUM, n), (x.device(), out.device(), n as u64))
    }
}
