//! Local steps of a secret bit times a secret tensor, and of a bit's conversion (`bit_product.cu`), as the core's CPU
//! kernels of the same names define them. Bits are packed, one word for 64 elements. A buffer that "holds" a mask on
//! entry was filled from its stream ([`Kernels::fill`]) by the caller.

use crate::KernelError;
use crate::check::{equal, packed};
use crate::compile::Family;
use crate::launch::{In, InOut, Kernel, KernelInfo, Kernels, Words, WordsMut};
use cudarc::driver::CudaStream;

const THREADS: u32 = 256;
const ROLE0: Kernel<(In, In, In, In, InOut, InOut, InOut, u64)> =
    Kernel::new(Family::BitProduct, "bit_product_role0", THREADS);
const OPEN: Kernel<(In, In, In, In, InOut, u64)> = Kernel::new(Family::BitProduct, "bit_product_open", THREADS);
const CLOSE: Kernel<(In, In, In, In, In, InOut, u64)> = Kernel::new(Family::BitProduct, "bit_product_close", THREADS);
const CONVERT_ROLE0: Kernel<(In, InOut, u64)> = Kernel::new(Family::BitProduct, "convert_role0", THREADS);
const CONVERT_TERM: Kernel<(In, In, u64, InOut, u64)> = Kernel::new(Family::BitProduct, "convert_term", THREADS);

pub(crate) const KERNELS: &[KernelInfo] = &[ROLE0.info, OPEN.info, CLOSE.info, CONVERT_ROLE0.info, CONVERT_TERM.info];

impl Kernels {
    /// Role 0: `message` holds f and becomes p₀ − f with p₀ = u₂α + u₁β; `y0` holds ν and becomes f + ν; `y1` holds
    /// μ and becomes p₀ − f + μ. `u` = [u₁, u₂], `pads` = [α, β].
    ///
    /// # Errors
    /// [`KernelError::Length`] unless bits have ⌈n/64⌉ words and all else n; errors of compilation and launch.
    pub fn bit_product_role0(
        &self,
        stream: &CudaStream,
        u: [Words; 2],
        pads: [Words; 2],
        mut message: WordsMut,
        mut y0: WordsMut,
        mut y1: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("bit product, role 0", message.len());
        packed(operation, [("u₁", u[0].len()), ("u₂", u[1].len())], 1, n)?;
        let words = [("α", pads[0].len()), ("β", pads[1].len()), ("y₀", y0.len()), ("y₁", y1.len())];
        equal(operation, words, n)?;
        let ([u1, u2], [alpha, beta]) = (u.map(|u| u.device()), pads.map(|pad| pad.device()));
        let arguments = (u1, u2, alpha, beta, message.device(), y0.device(), y1.device(), n as u64);
        self.launch(stream, &ROLE0, self.grid(&ROLE0, n), arguments)
    }

    /// Roles 1 and 2, first: `message` holds a pad α and becomes d = (1 − 2u₁)a − α with a = (1 − 2v)(x₁ + x₂). `bits` = [u₁, v],
    /// `x` = [x₁, x₂]. At role 2 with u₂ and [x₀, 0], as in the closing.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless bits have ⌈n/64⌉ words and all else n; errors of compilation and launch.
    pub fn bit_product_open(
        &self,
        stream: &CudaStream,
        bits: [Words; 2],
        x: [Words; 2],
        mut message: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("bit product, opening", message.len());
        packed(operation, [("u₁", bits[0].len()), ("v", bits[1].len())], 1, n)?;
        equal(operation, [("x₁", x[0].len()), ("x₂", x[1].len())], n)?;
        let ([u1, v], [x1, x2]) = (bits.map(|bit| bit.device()), x.map(|x| x.device()));
        let arguments = (u1, v, x1, x2, message.device(), n as u64);
        self.launch(stream, &OPEN, self.grid(&OPEN, n), arguments)
    }

    /// Roles 1 and 2, last: `message` holds a mask μ and becomes p₁ − μ with p₁ = v(x₁ + x₂) + u₁(a + e). `bits` = [u₁, v],
    /// `x` = [x₁, x₂].
    ///
    /// # Errors
    /// [`KernelError::Length`] unless bits have ⌈n/64⌉ words and all else n; errors of compilation and launch.
    pub fn bit_product_close(
        &self,
        stream: &CudaStream,
        bits: [Words; 2],
        x: [Words; 2],
        e: Words,
        mut message: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("bit product, closing", message.len());
        packed(operation, [("u₁", bits[0].len()), ("v", bits[1].len())], 1, n)?;
        equal(operation, [("x₁", x[0].len()), ("x₂", x[1].len()), ("e", e.len())], n)?;
        let ([u1, v], [x1, x2]) = (bits.map(|bit| bit.device()), x.map(|x| x.device()));
        let arguments = (u1, v, x1, x2, e.device(), message.device(), n as u64);
        self.launch(stream, &CLOSE, self.grid(&CLOSE, n), arguments)
    }

    /// Conversion, role 0: `message` holds u₁ and becomes u − u₁.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless `u` has ⌈n/64⌉ words; errors of compilation and launch.
    pub fn convert_role0(&self, stream: &CudaStream, u: Words, mut message: WordsMut) -> Result<(), KernelError> {
        let n = message.len();
        packed("conversion, role 0", [("u", u.len())], 1, n)?;
        let arguments = (u.device(), message.device(), n as u64);
        self.launch(stream, &CONVERT_ROLE0, self.grid(&CONVERT_ROLE0, n), arguments)
    }

    /// Conversion, roles 1 and 2: `message` holds a mask and becomes (1 − 2v)·share − mask, with v added by role 2
    /// (`with_v`).
    ///
    /// # Errors
    /// [`KernelError::Length`] unless `v` has ⌈n/64⌉ words and `share` n; errors of compilation and launch.
    pub fn convert_term(
        &self,
        stream: &CudaStream,
        v: Words,
        share: Words,
        with_v: bool,
        mut message: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("conversion, roles 1 and 2", message.len());
        packed(operation, [("v", v.len())], 1, n)?;
        equal(operation, [("share", share.len())], n)?;
        let arguments = (v.device(), share.device(), u64::from(with_v), message.device(), n as u64);
        self.launch(stream, &CONVERT_TERM, self.grid(&CONVERT_TERM, n), arguments)
    }
}
