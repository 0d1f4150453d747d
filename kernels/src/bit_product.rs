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
const ROLE1_OPEN: Kernel<(In, In, In, In, InOut, u64)> =
    Kernel::new(Family::BitProduct, "bit_product_role1_open", THREADS);
const ROLE2: Kernel<(In, In, In, In, InOut, InOut, InOut, u64)> =
    Kernel::new(Family::BitProduct, "bit_product_role2", THREADS);
const ROLE1_CLOSE: Kernel<(In, In, In, In, In, InOut, u64)> =
    Kernel::new(Family::BitProduct, "bit_product_role1_close", THREADS);
const CONVERT_ROLE0: Kernel<(In, InOut, u64)> = Kernel::new(Family::BitProduct, "convert_role0", THREADS);
const CONVERT_TERM: Kernel<(In, In, u64, InOut, u64)> = Kernel::new(Family::BitProduct, "convert_term", THREADS);

pub(crate) const KERNELS: &[KernelInfo] =
    &[ROLE0.info, ROLE1_OPEN.info, ROLE2.info, ROLE1_CLOSE.info, CONVERT_ROLE0.info, CONVERT_TERM.info];

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

    /// Role 1, first: `message` holds α and becomes d = (1 − 2u₁)a − α with a = (1 − 2v)(x₁ + x₂). `bits` = [u₁, v],
    /// `x` = [x₁, x₂].
    ///
    /// # Errors
    /// [`KernelError::Length`] unless bits have ⌈n/64⌉ words and all else n; errors of compilation and launch.
    pub fn bit_product_role1_open(
        &self,
        stream: &CudaStream,
        bits: [Words; 2],
        x: [Words; 2],
        mut message: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("bit product, role 1's first message", message.len());
        packed(operation, [("u₁", bits[0].len()), ("v", bits[1].len())], 1, n)?;
        equal(operation, [("x₁", x[0].len()), ("x₂", x[1].len())], n)?;
        let ([u1, v], [x1, x2]) = (bits.map(|bit| bit.device()), x.map(|x| x.device()));
        let arguments = (u1, v, x1, x2, message.device(), n as u64);
        self.launch(stream, &ROLE1_OPEN, self.grid(&ROLE1_OPEN, n), arguments)
    }

    /// Role 2: `e` holds β and becomes (1 − 2u₂)b − β with b = (1 − 2v)x₀; `r` holds ν and becomes p₂ − ν with
    /// p₂ = v·x₀ + u₂(b + d); `y0` holds f and becomes f + ν. `bits` = [u₂, v].
    ///
    /// # Errors
    /// [`KernelError::Length`] unless bits have ⌈n/64⌉ words and all else n; errors of compilation and launch.
    #[allow(clippy::too_many_arguments)]
    pub fn bit_product_role2(
        &self,
        stream: &CudaStream,
        bits: [Words; 2],
        x0: Words,
        d: Words,
        mut e: WordsMut,
        mut r: WordsMut,
        mut y0: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("bit product, role 2", x0.len());
        packed(operation, [("u₂", bits[0].len()), ("v", bits[1].len())], 1, n)?;
        equal(operation, [("d", d.len()), ("e", e.len()), ("r", r.len()), ("y₀", y0.len())], n)?;
        let [u2, v] = bits.map(|bit| bit.device());
        let arguments = (u2, v, x0.device(), d.device(), e.device(), r.device(), y0.device(), n as u64);
        self.launch(stream, &ROLE2, self.grid(&ROLE2, n), arguments)
    }

    /// Role 1, last: `message` holds μ and becomes p₁ − μ with p₁ = v(x₁ + x₂) + u₁(a + e). `bits` = [u₁, v],
    /// `x` = [x₁, x₂].
    ///
    /// # Errors
    /// [`KernelError::Length`] unless bits have ⌈n/64⌉ words and all else n; errors of compilation and launch.
    pub fn bit_product_role1_close(
        &self,
        stream: &CudaStream,
        bits: [Words; 2],
        x: [Words; 2],
        e: Words,
        mut message: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("bit product, role 1's last message", message.len());
        packed(operation, [("u₁", bits[0].len()), ("v", bits[1].len())], 1, n)?;
        equal(operation, [("x₁", x[0].len()), ("x₂", x[1].len()), ("e", e.len())], n)?;
        let ([u1, v], [x1, x2]) = (bits.map(|bit| bit.device()), x.map(|x| x.device()));
        let arguments = (u1, v, x1, x2, e.device(), message.device(), n as u64);
        self.launch(stream, &ROLE1_CLOSE, self.grid(&ROLE1_CLOSE, n), arguments)
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
