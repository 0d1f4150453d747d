//! Local steps of truncation without wrap (`truncation.cu`), as the core's CPU kernels of the same names define them.
//! `d` is the number of bits cut off, 1 to 62; numbers of d bits travel as d packed planes. A buffer that "holds" a
//! mask on entry was filled from its stream ([`Kernels::fill`]) by the caller.

use crate::KernelError;
use crate::check::{equal, fits, packed};
use crate::compile::Family;
use crate::launch::{In, InOut, Kernel, KernelInfo, Kernels, Words, WordsMut};
use cudarc::driver::CudaStream;

const THREADS: u32 = 256;
const OPEN_TOP: Kernel<(u64, In, In, InOut, u64)> = Kernel::new(Family::Truncation, "open_top", THREADS);
const PRODUCT_DEAL: Kernel<(u32, In, In, In, InOut, u64)> = Kernel::new(Family::Truncation, "product_deal", THREADS);
const PRODUCT_ROLE1: Kernel<(u32, In, In, In, In, In, In, InOut, u64)> =
    Kernel::new(Family::Truncation, "product_role1", THREADS);
const PRODUCT_ROLE0: Kernel<(u32, In, In, In, In, In, InOut, u64)> =
    Kernel::new(Family::Truncation, "product_role0", THREADS);
const SHARED_ROLE0: Kernel<(u32, In, In, In, In, In, InOut, InOut, u64)> =
    Kernel::new(Family::Truncation, "shared_role0", THREADS);
type SharedTerm = Kernel<(u32, In, In, In, InOut, u64)>;
const SHARED_TERM_WORDS: SharedTerm = Kernel::new(Family::Truncation, "shared_term_words", THREADS);
const SHARED_TERM_PLANES: SharedTerm = Kernel::new(Family::Truncation, "shared_term_planes", THREADS);
const SHARED_CLOSE: Kernel<(u32, In, In, In, InOut, u64)> = Kernel::new(Family::Truncation, "shared_close", THREADS);

pub(crate) const KERNELS: &[KernelInfo] = &[
    OPEN_TOP.info,
    PRODUCT_DEAL.info,
    PRODUCT_ROLE1.info,
    PRODUCT_ROLE0.info,
    SHARED_ROLE0.info,
    SHARED_TERM_WORDS.info,
    SHARED_TERM_PLANES.info,
    SHARED_CLOSE.info,
];

/// What makes a value of less than 2^62 in absolute value non-negative.
const OFFSET: u64 = 1 << 62;

/// The opened bits of a product's truncation, packed, and the pad of the role that computes; `V` is where they lie:
/// words on a card, a view, or a slice.
#[derive(Clone, Copy, Debug)]
pub struct OpenedBits<V> {
    /// e = a ⊕ α, role 0's.
    pub e: V,
    /// f = b ⊕ β, role 1's.
    pub f: V,
    /// α at role 0, β at role 1.
    pub pad: V,
}

impl<V> OpenedBits<V> {
    /// The same bits elsewhere.
    pub fn map<W>(self, f: impl Fn(V) -> W) -> OpenedBits<W> {
        OpenedBits { e: f(self.e), f: f(self.f), pad: f(self.pad) }
    }
}

impl OpenedBits<Words<'_>> {
    fn check(&self, operation: &'static str, n: usize) -> Result<(), KernelError> {
        packed(operation, [("e", self.e.len()), ("f", self.f.len()), ("pad", self.pad.len())], 1, n)
    }
}

/// A role's share of the bit a in the truncation of a replicated tensor. `S` is a stream, or the words drawn from
/// it; `V` is where received words lie.
#[derive(Clone, Copy, Debug)]
pub enum TermShare<S, V> {
    /// Drawn from the stream in common with role 0: one word an element.
    Drawn(S),
    /// Received in role 0's message: d planes.
    Received(V),
}

impl<S, V> TermShare<S, V> {
    /// The same share, with received words elsewhere.
    pub fn map_received<W>(self, f: impl FnOnce(V) -> W) -> TermShare<S, W> {
        match self {
            TermShare::Drawn(stream) => TermShare::Drawn(stream),
            TermShare::Received(words) => TermShare::Received(f(words)),
        }
    }
}

/// Bits to cut off, as kernels take them.
fn bits(operation: &'static str, d: u32) -> Result<(u32, usize), KernelError> {
    let d = fits(operation, "number of bits", d, 1..63)?;
    Ok((d, d as usize))
}

impl Kernels {
    /// `message` = ¬msb(u), packed, ⊕ `pad`; with `offset` of u + 2^62.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless `pad` and `message` have ⌈n/64⌉ words; errors of compilation and launch.
    pub fn truncation_open_top(
        &self,
        stream: &CudaStream,
        offset: bool,
        u: Words,
        pad: Words,
        mut message: WordsMut,
    ) -> Result<(), KernelError> {
        let n = u.len();
        packed("truncation, opening of the top bit", [("pad", pad.len()), ("message", message.len())], 1, n)?;
        let offset = if offset { OFFSET } else { 0 };
        let arguments = (offset, u.device(), pad.device(), message.device(), n as u64);
        self.launch(stream, &OPEN_TOP, self.grid_of_units(&OPEN_TOP, n), arguments)
    }

    /// Role 2 of a product: `planes` = γ₁ = αβ − γ₀ modulo 2^d; α and β packed, `gamma` = γ₀ as n words.
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_deal(
        &self,
        stream: &CudaStream,
        d: u32,
        [alpha, beta]: [Words; 2],
        gamma: Words,
        mut planes: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a product, role 2", gamma.len());
        let (d, count) = bits(operation, d)?;
        packed(operation, [("α", alpha.len()), ("β", beta.len())], 1, n)?;
        packed(operation, [("planes", planes.len())], count, n)?;
        let arguments = (d, alpha.device(), beta.device(), gamma.device(), planes.device(), n as u64);
        self.launch(stream, &PRODUCT_DEAL, self.grid_of_units(&PRODUCT_DEAL, n), arguments)
    }

    /// Role 1 of a product: `message` = (v ≫ d) + 2^(64−d)·(ef + e(1−2f)β + (1−2e)(1−2f)γ₁) − y₂, γ₁ as d planes.
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    #[allow(clippy::too_many_arguments)]
    pub fn truncation_role1(
        &self,
        stream: &CudaStream,
        d: u32,
        v: Words,
        opened: OpenedBits<Words>,
        gamma: Words,
        y2: Words,
        mut message: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a product, role 1", v.len());
        let (d, count) = bits(operation, d)?;
        opened.check(operation, n)?;
        packed(operation, [("γ₁", gamma.len())], count, n)?;
        equal(operation, [("y₂", y2.len()), ("message", message.len())], n)?;
        let OpenedBits { e, f, pad } = opened;
        let (e, f, pad) = (e.device(), f.device(), pad.device());
        let arguments = (d, v.device(), e, f, pad, gamma.device(), y2.device(), message.device(), n as u64);
        self.launch(stream, &PRODUCT_ROLE1, self.grid_of_units(&PRODUCT_ROLE1, n), arguments)
    }

    /// Role 0 of a product: `message` holds γ₀ and becomes
    /// (u ≫ d) + c + 2^(64−d)·(f(1−2e)α + (1−2e)(1−2f)γ₀) − y₀, u = z + 2^62, c = 1 − 2^(64−d) − 2^(62−d).
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_role0(
        &self,
        stream: &CudaStream,
        d: u32,
        z: Words,
        opened: OpenedBits<Words>,
        y0: Words,
        mut message: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a product, role 0", z.len());
        let (d, _) = bits(operation, d)?;
        opened.check(operation, n)?;
        equal(operation, [("y₀", y0.len()), ("message", message.len())], n)?;
        let OpenedBits { e, f, pad } = opened;
        let arguments = (d, z.device(), e.device(), f.device(), pad.device(), y0.device(), message.device(), n as u64);
        self.launch(stream, &PRODUCT_ROLE0, self.grid(&PRODUCT_ROLE0, n), arguments)
    }

    /// Role 0 of a replicated tensor: `y0` holds μ and becomes (u ≫ d) + c − 2^(64−d)(μ + ν) − y₁ with
    /// u = x₀ + x₁ + 2^62 and c as above; `planes` = a − a₁ modulo 2^d with a = ¬msb(u). `masks` = [a₁, ν, y₁].
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_shared_role0(
        &self,
        stream: &CudaStream,
        d: u32,
        x: [Words; 2],
        masks: [Words; 3],
        mut y0: WordsMut,
        mut planes: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a replicated tensor, role 0", y0.len());
        let (d, count) = bits(operation, d)?;
        equal(operation, [("x₀", x[0].len()), ("x₁", x[1].len())], n)?;
        equal(operation, [("a₁", masks[0].len()), ("ν", masks[1].len()), ("y₁", masks[2].len())], n)?;
        packed(operation, [("planes", planes.len())], count, n)?;
        let ([x0, x1], [a1, nu, y1]) = (x.map(|x| x.device()), masks.map(|mask| mask.device()));
        let arguments = (d, x0, x1, a1, nu, y1, y0.device(), planes.device(), n as u64);
        self.launch(stream, &SHARED_ROLE0, self.grid_of_units(&SHARED_ROLE0, n), arguments)
    }

    /// Roles 1 and 2 of a replicated tensor: `planes` = b·share + mask modulo 2^d, b = ¬msb(v).
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_shared_term(
        &self,
        stream: &CudaStream,
        d: u32,
        v: Words,
        share: TermShare<Words, Words>,
        mask: Words,
        mut planes: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a replicated tensor, roles 1 and 2", v.len());
        let (d, count) = bits(operation, d)?;
        equal(operation, [("mask", mask.len())], n)?;
        packed(operation, [("planes", planes.len())], count, n)?;
        let (kernel, share) = match share {
            TermShare::Drawn(words) => {
                equal(operation, [("share", words.len())], n)?;
                (SHARED_TERM_WORDS, words)
            }
            TermShare::Received(received) => {
                packed(operation, [("share", received.len())], count, n)?;
                (SHARED_TERM_PLANES, received)
            }
        };
        let arguments = (d, v.device(), share.device(), mask.device(), planes.device(), n as u64);
        self.launch(stream, &kernel, self.grid_of_units(&kernel, n), arguments)
    }

    /// Roles 1 and 2 of a replicated tensor, last: `y2` = (v ≫ d) + 2^(64−d)(m₁ + m₂), `terms` as d planes each.
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_shared_close(
        &self,
        stream: &CudaStream,
        d: u32,
        v: Words,
        terms: [Words; 2],
        mut y2: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a replicated tensor, last step", v.len());
        let (d, count) = bits(operation, d)?;
        packed(operation, [("m₁", terms[0].len()), ("m₂", terms[1].len())], count, n)?;
        equal(operation, [("y₂", y2.len())], n)?;
        let [first, second] = terms.map(|term| term.device());
        let arguments = (d, v.device(), first, second, y2.device(), n as u64);
        self.launch(stream, &SHARED_CLOSE, self.grid_of_units(&SHARED_CLOSE, n), arguments)
    }
}
