//! Local steps of the way between the rings (`extension.cu`), as the core's CPU kernels of the same names define them. Elements of
//! 32 bits stand two in a word. Masks are words that the caller has filled from their streams ([`Kernels::fills`]).

use crate::KernelError;
use crate::check::equal;
use crate::compile::Family;
use crate::launch::{In, InOut, Kernel, KernelInfo, Kernels, Words, WordsMut};
use crate::truncation::{CloseTerms, Results, TermShare};
use cudarc::driver::CudaStream;

const THREADS: u32 = 256;
const ROLE0: Kernel<(In, In, In, In, In, In, InOut, InOut, InOut, u64)> =
    Kernel::new(Family::Extension, "extension_role0", THREADS).of_64_bits();
const TERM: Kernel<(In, In, In, In, InOut, InOut, u64)> =
    Kernel::new(Family::Extension, "extension_term", THREADS).of_64_bits();
const CLOSE: Kernel<(In, In, In, InOut, u64)> = Kernel::new(Family::Extension, "extension_close", THREADS).of_64_bits();
const REDUCE: Kernel<(In, InOut, u64)> = Kernel::new(Family::Extension, "reduce", THREADS).of_64_bits();

pub(crate) const KERNELS: &[KernelInfo] = &[ROLE0.info, TERM.info, CLOSE.info, REDUCE.info];

impl Kernels {
    /// Role 0, with `masks` = [a₁, μ, ν, y₁], u = x₀ + x₁ + 2^30 modulo 2^32: `message` = [y₀ = u − 2^30 − 2^32 − 2^32(μ + ν) −
    /// y₁][¬msb(u) − a₁ modulo 2^32], a = y₀, b = y₁.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless x₀, x₁, a₁, μ and ν have n/2 words, y₁, a and b n, `message` 3n/2; errors of compilation and
    /// launch.
    pub fn extension_role0(
        &self,
        stream: &CudaStream,
        x: [Words; 2],
        masks: [Words; 4],
        results: Results<WordsMut>,
    ) -> Result<(), KernelError> {
        let (operation, half) = ("extension, role 0", x[0].len());
        let n = 2 * half;
        let Results { mut message, mut a, mut b } = results;
        equal(operation, [("x₁", x[1].len())], half)?;
        equal(operation, [("a₁", masks[0].len()), ("μ", masks[1].len()), ("ν", masks[2].len())], half)?;
        equal(operation, [("y₁", masks[3].len()), ("a", a.len()), ("b", b.len())], n)?;
        equal(operation, [("message", message.len())], n + half)?;
        let ([x0, x1], [a1, mu, nu, y1]) = (x.map(|x| x.device()), masks.map(|mask| mask.device()));
        let arguments = (x0, x1, a1, mu, nu, y1, message.device(), a.device(), b.device(), n as u64);
        self.launch::<u64, _>(stream, &ROLE0, self.grid(&ROLE0, n), arguments)
    }

    /// Roles 1 and 2: `message` = b·share + mask modulo 2^32, b = ¬msb(v); `kept` = y₁ at role 1, and at role 2 the y₀ that it
    /// received, [y₀][its share].
    ///
    /// # Errors
    /// [`KernelError::Length`] unless v, the mask, the share and `message` have n/2 words, y₁ and `kept` n; errors of compilation
    /// and launch.
    pub fn extension_term(
        &self,
        stream: &CudaStream,
        v: Words,
        share: TermShare<Words, Words>,
        mask: Words,
        mut message: WordsMut,
        mut kept: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, half) = ("extension, roles 1 and 2", v.len());
        let n = 2 * half;
        let (share, keep) = match share {
            TermShare::Drawn { share, y1 } => (share, y1),
            TermShare::Received(received) => {
                equal(operation, [("what role 0 sent", received.len())], n + half)?;
                (received.slice(n..n + half)?, received.slice(0..n)?)
            }
        };
        equal(operation, [("mask", mask.len()), ("share", share.len()), ("message", message.len())], half)?;
        equal(operation, [("y₁", keep.len()), ("kept", kept.len())], n)?;
        let (v, share, mask, keep) = (v.device(), share.device(), mask.device(), keep.device());
        let arguments = (v, share, mask, keep, message.device(), kept.device(), n as u64);
        self.launch::<u64, _>(stream, &TERM, self.grid(&TERM, n), arguments)
    }

    /// Roles 1 and 2, last: y₂ = v + 2^32(m₁ + m₂).
    ///
    /// # Errors
    /// [`KernelError::Length`] unless v, m₁ and m₂ have n/2 words and y₂ n; errors of compilation and launch.
    pub fn extension_close(
        &self,
        stream: &CudaStream,
        closing: CloseTerms<Words, WordsMut>,
    ) -> Result<(), KernelError> {
        let CloseTerms { v, terms, mut y2 } = closing;
        let (operation, half) = ("extension, last step", v.len());
        let n = 2 * half;
        equal(operation, terms.map(|term| ("a term", term.len())), half)?;
        equal(operation, [("y₂", y2.len())], n)?;
        let [first, second] = terms.map(|term| term.device());
        self.launch::<u64, _>(stream, &CLOSE, self.grid(&CLOSE, n), (v.device(), first, second, y2.device(), n as u64))
    }

    /// `out` = x modulo 2^32; zero where no element fills the last word.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless `out` has ⌈n/2⌉ words; errors of compilation and launch.
    pub fn reduce(&self, stream: &CudaStream, x: Words, mut out: WordsMut) -> Result<(), KernelError> {
        let n = x.len();
        equal("reduction to 32 bits", [("out", out.len())], n.div_ceil(2))?;
        self.launch::<u64, _>(stream, &REDUCE, self.grid(&REDUCE, n), (x.device(), out.device(), n as u64))
    }
}
