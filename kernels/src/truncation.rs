//! Local steps of truncation without wrap (`truncation.cu`), as the core's CPU kernels of the same names define them.
//! `d` is the number of bits cut off, 1 to l − 2 of the l bits of the ring; numbers of d bits travel as d packed planes. Masks are
//! words that the caller has filled from their streams ([`Kernels::fills`]). Operands are words of memory, which hold elements of `W`,
//! or bits.

use crate::KernelError;
use crate::check::{equal, fits, packed};
use crate::compile::Family;
use crate::launch::{Argument, Element, In, InOut, Job, Jobs, Kernel, KernelInfo, Kernels, Words, WordsMut};
use cudarc::driver::CudaStream;

const THREADS: u32 = 256;
const PRODUCT_FIRST: Kernel<(u32, u32, DealJob, OpenJob)> = Kernel::new(Family::Truncation, "product_first", THREADS);
const PRODUCT_ROLE1: Kernel<(u32, In, In, In, In, In, InOut, InOut, InOut, u64)> =
    Kernel::new(Family::Truncation, "product_role1", THREADS);
const PRODUCT_ROLE0: Kernel<(u32, In, In, In, In, In, In, InOut, InOut, InOut, u64)> =
    Kernel::new(Family::Truncation, "product_role0", THREADS);
const SHARED_ROLE0: Kernel<(u32, In, In, In, In, In, In, InOut, InOut, InOut, u64)> =
    Kernel::new(Family::Truncation, "shared_role0", THREADS);
const SHARED_TERM_WORDS: Kernel<(u32, In, In, In, In, InOut, InOut, u64)> =
    Kernel::new(Family::Truncation, "shared_term_words", THREADS);
const SHARED_TERM_PLANES: Kernel<(u32, In, In, In, InOut, InOut, u64)> =
    Kernel::new(Family::Truncation, "shared_term_planes", THREADS);
const SHARED_CLOSE: Kernel<(u32, Jobs<CloseJob, CLOSE_JOBS>)> =
    Kernel::new(Family::Truncation, "shared_close", THREADS);

pub(crate) const KERNELS: &[KernelInfo] = &[
    PRODUCT_FIRST.info,
    PRODUCT_ROLE1.info,
    PRODUCT_ROLE0.info,
    SHARED_ROLE0.info,
    SHARED_TERM_WORDS.info,
    SHARED_TERM_PLANES.info,
    SHARED_CLOSE.info,
];

/// Closings of one launch (`CLOSE_JOBS` in `truncation.cu`).
const CLOSE_JOBS: usize = 2;

/// `Deal` of `truncation.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct DealJob {
    z: In,
    alpha: In,
    beta: In,
    gamma: In,
    message: InOut,
    n: u64,
}

// SAFETY: the layout of `Deal`: six times eight bytes.
unsafe impl Argument for DealJob {}

/// `Open` of `truncation.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct OpenJob {
    z: In,
    alpha: In,
    message: InOut,
    n: u64,
}

// SAFETY: the layout of `Open`: four times eight bytes.
unsafe impl Argument for OpenJob {}

/// `Close` of `truncation.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CloseJob {
    v: In,
    terms: [In; 2],
    y2: InOut,
    n: u64,
    end: u32,
    padding: u32,
}

impl Job for CloseJob {
    const NONE: Self = CloseJob { v: In::NONE, terms: [In::NONE; 2], y2: InOut::NONE, n: 0, end: 0, padding: 0 };
}

/// What role 2 of a product's truncation deals, on a card and on the CPU: `message` = [z₂][γ₁ = αβ − γ₀ modulo 2^d as
/// planes]. `S` is what the masks are: streams, or their words.
#[derive(Clone, Copy, Debug)]
pub struct Deal<V, S, M> {
    /// z₂.
    pub z: V,
    /// α and β, packed.
    pub halves: [V; 2],
    /// γ₀.
    pub gamma: S,
    /// The result.
    pub message: M,
}

/// What role 0 of a product's truncation opens: `message` = e = ¬msb(z₀ + 2^(l−2)) ⊕ α, packed.
#[derive(Clone, Copy, Debug)]
pub struct OpenTop<V, M> {
    /// z₀.
    pub z: V,
    /// α, packed.
    pub alpha: V,
    /// The result.
    pub message: M,
}

/// The results of a step that sends a message: the message, and the places of the role's components.
#[derive(Clone, Copy, Debug)]
pub struct Results<M> {
    /// What is sent.
    pub message: M,
    /// Component a.
    pub a: M,
    /// Component b.
    pub b: M,
}

impl<M> Results<M> {
    /// The same places as another kind of view.
    pub fn map<N>(self, f: impl Fn(M) -> N) -> Results<N> {
        Results { message: f(self.message), a: f(self.a), b: f(self.b) }
    }
}

/// The last step of roles 1 and 2 in the truncation of a replicated tensor: `y2` = (v ≫ d) + 2^(l−d)(m₁ + m₂).
#[derive(Clone, Copy, Debug)]
pub struct CloseTerms<V, M> {
    /// v.
    pub v: V,
    /// m₁ and m₂, d planes each.
    pub terms: [V; 2],
    /// The result.
    pub y2: M,
}

/// What a role has of the bit a in the truncation of a replicated tensor. `S` is a stream, or the words drawn from
/// it; `V` is where received words lie.
#[derive(Clone, Copy, Debug)]
pub enum TermShare<S, V> {
    /// Role 1: its share and its component y₁, drawn from the streams in common with role 0, one word an element.
    Drawn {
        /// The share.
        share: S,
        /// y₁.
        y1: S,
    },
    /// Role 2: role 0's message, [y₀][its share as d planes].
    Received(V),
}

/// Bits to cut off, as kernels take them.
fn bits<W: Element>(operation: &'static str, d: u32) -> Result<u32, KernelError> {
    fits(operation, "number of bits", d, 1..W::WIDTH.bits() - 1)
}

/// Words of memory of n elements and of d planes behind them.
fn with_planes<W: Element>(n: usize, d: u32) -> usize {
    n.div_ceil(W::WIDTH.packed()).saturating_add(n.div_ceil(64).saturating_mul(d as usize))
}

impl Kernels {
    /// Roles 2 and 0 of a product, first, in one launch: [`Deal`] and [`OpenTop`].
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_first<W: Element>(
        &self,
        stream: &CudaStream,
        d: u32,
        deal: Deal<Words, Words, WordsMut>,
        open: OpenTop<Words, WordsMut>,
    ) -> Result<(), KernelError> {
        let (operation, d) =
            ("truncation of a product, roles 2 and 0", bits::<W>("truncation of a product, role 2", d)?);
        let Deal { z, halves: [alpha, beta], gamma, mut message } = deal;
        let n = z.elements::<W>().len();
        equal(operation, [("γ₀", gamma.len())], z.len())?;
        packed(operation, [("α", alpha.len()), ("β", beta.len())], 1, n)?;
        equal(operation, [("what role 2 sends", message.len())], with_planes::<W>(n, d))?;
        let blocks = self.grid_of_units(&PRODUCT_FIRST, n)[0];
        let (alpha, beta, gamma) = (alpha.device(), beta.device(), gamma.device());
        let deal = DealJob { z: z.device(), alpha, beta, gamma, message: message.device(), n: n as u64 };
        let OpenTop { z, alpha, mut message } = open;
        let n = z.elements::<W>().len();
        packed(operation, [("α", alpha.len()), ("e", message.len())], 1, n)?;
        let grid = blocks + self.grid_of_units(&PRODUCT_FIRST, n)[0];
        let open = OpenJob { z: z.device(), alpha: alpha.device(), message: message.device(), n: n as u64 };
        self.launch::<W, _>(stream, &PRODUCT_FIRST, [grid, 1, 1], (d, blocks, deal, open))
    }

    /// Role 1 of a product, from z₁, what role 2 dealt, [z₂][γ₁ as planes], e and β: v = z₁ + z₂, b = ¬msb(v), and
    /// `message` = [p₁ = (v ≫ d) + 2^(l−d)·(ef + e(1−2f)β + (1−2e)(1−2f)γ₁) − y₂][f = b ⊕ β, packed], a = p₁, b = y₂.
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_role1<W: Element>(
        &self,
        stream: &CudaStream,
        d: u32,
        [z, dealt]: [Words; 2],
        [e, beta]: [Words; 2],
        y2: Words,
        results: Results<WordsMut>,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a product, role 1", z.elements::<W>().len());
        let d = bits::<W>(operation, d)?;
        let Results { mut message, mut a, mut b } = results;
        packed(operation, [("e", e.len()), ("β", beta.len())], 1, n)?;
        equal(operation, [("y₂", y2.len()), ("a", a.len()), ("b", b.len())], z.len())?;
        equal(operation, [("what role 2 dealt", dealt.len())], with_planes::<W>(n, d))?;
        equal(operation, [("message", message.len())], with_planes::<W>(n, 1))?;
        let (z, dealt, e, beta, y2) = (z.device(), dealt.device(), e.device(), beta.device(), y2.device());
        let arguments = (d, z, dealt, e, beta, y2, message.device(), a.device(), b.device(), n as u64);
        self.launch::<W, _>(stream, &PRODUCT_ROLE1, self.grid_of_units(&PRODUCT_ROLE1, n), arguments)
    }

    /// Role 0 of a product, from z₀, what role 1 sent, \[p₁\]\[f\], its own e and α, and `masks` = [γ₀, y₀]:
    /// `message` = p₀ = (u ≫ d) + c + 2^(l−d)·(f(1−2e)α + (1−2e)(1−2f)γ₀) − y₀, u = z₀ + 2^(l−2),
    /// c = 1 − 2^(l−d) − 2^(l−2−d); a = y₀, b = p₀ + p₁.
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_role0<W: Element>(
        &self,
        stream: &CudaStream,
        d: u32,
        [z, received]: [Words; 2],
        [e, alpha]: [Words; 2],
        masks: [Words; 2],
        results: Results<WordsMut>,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a product, role 0", z.elements::<W>().len());
        let d = bits::<W>(operation, d)?;
        let Results { mut message, mut a, mut b } = results;
        packed(operation, [("e", e.len()), ("α", alpha.len())], 1, n)?;
        equal(operation, [("γ₀", masks[0].len()), ("y₀", masks[1].len())], z.len())?;
        equal(operation, [("message", message.len()), ("a", a.len()), ("b", b.len())], z.len())?;
        equal(operation, [("what role 1 sent", received.len())], with_planes::<W>(n, 1))?;
        let ([gamma, y0], (e, alpha)) = (masks.map(|mask| mask.device()), (e.device(), alpha.device()));
        let (z, received, n) = (z.device(), received.device(), n as u64);
        let arguments = (d, z, e, alpha, gamma, y0, received, message.device(), a.device(), b.device(), n);
        self.launch::<W, _>(stream, &PRODUCT_ROLE0, self.grid(&PRODUCT_ROLE0, n as usize), arguments)
    }

    /// Role 0 of a replicated tensor, with `masks` = [a₁, μ, ν, y₁], u = x₀ + x₁ + 2^(l−2) and c as above:
    /// `message` = [y₀ = (u ≫ d) + c − 2^(l−d)(μ + ν) − y₁][¬msb(u) − a₁ modulo 2^d as planes], a = y₀, b = y₁.
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_shared_role0<W: Element>(
        &self,
        stream: &CudaStream,
        d: u32,
        x: [Words; 2],
        masks: [Words; 4],
        results: Results<WordsMut>,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a replicated tensor, role 0", x[0].elements::<W>().len());
        let d = bits::<W>(operation, d)?;
        let Results { mut message, mut a, mut b } = results;
        equal(operation, [("x₁", x[1].len()), ("a", a.len()), ("b", b.len())], x[0].len())?;
        equal(operation, masks.map(|mask| ("a mask", mask.len())), x[0].len())?;
        equal(operation, [("message", message.len())], with_planes::<W>(n, d))?;
        let ([x0, x1], [a1, mu, nu, y1]) = (x.map(|x| x.device()), masks.map(|mask| mask.device()));
        let arguments = (d, x0, x1, a1, mu, nu, y1, message.device(), a.device(), b.device(), n as u64);
        self.launch::<W, _>(stream, &SHARED_ROLE0, self.grid_of_units(&SHARED_ROLE0, n), arguments)
    }

    /// Roles 1 and 2 of a replicated tensor: `planes` = b·share + mask modulo 2^d, b = ¬msb(v); `kept` = y₁ at role 1, and
    /// at role 2 the y₀ that it received.
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    #[allow(clippy::too_many_arguments)]
    pub fn truncation_shared_term<W: Element>(
        &self,
        stream: &CudaStream,
        d: u32,
        v: Words,
        share: TermShare<Words, Words>,
        mask: Words,
        mut planes: WordsMut,
        mut kept: WordsMut,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("truncation of a replicated tensor, roles 1 and 2", v.elements::<W>().len());
        let d = bits::<W>(operation, d)?;
        let words = v.len();
        equal(operation, [("mask", mask.len()), ("kept", kept.len())], words)?;
        packed(operation, [("planes", planes.len())], d as usize, n)?;
        let (v, mask, planes, kept) = (v.device(), mask.device(), planes.device(), kept.device());
        match share {
            TermShare::Drawn { share, y1 } => {
                equal(operation, [("share", share.len()), ("y₁", y1.len())], words)?;
                let arguments = (d, v, share.device(), mask, y1.device(), planes, kept, n as u64);
                self.launch::<W, _>(stream, &SHARED_TERM_WORDS, self.grid_of_units(&SHARED_TERM_WORDS, n), arguments)
            }
            TermShare::Received(received) => {
                equal(operation, [("what role 0 sent", received.len())], with_planes::<W>(n, d))?;
                let arguments = (d, v, received.device(), mask, planes, kept, n as u64);
                self.launch::<W, _>(stream, &SHARED_TERM_PLANES, self.grid_of_units(&SHARED_TERM_PLANES, n), arguments)
            }
        }
    }

    /// The last steps of roles 1 and 2 of a replicated tensor, up to two in a launch.
    ///
    /// # Errors
    /// [`KernelError::Length`] for other lengths, [`KernelError::Argument`] for another d; errors of compilation
    /// and launch.
    pub fn truncation_shared_close<W: Element>(
        &self,
        stream: &CudaStream,
        d: u32,
        closings: Vec<CloseTerms<Words, WordsMut>>,
    ) -> Result<(), KernelError> {
        let operation = "truncation of a replicated tensor, last step";
        let d = bits::<W>(operation, d)?;
        let mut closings: Vec<_> = closings.into_iter().filter(|closing| !closing.y2.is_empty()).collect();
        for some in closings.chunks_mut(CLOSE_JOBS) {
            let (mut jobs, mut end) = (Jobs::NONE, 0);
            for (job, CloseTerms { v, terms, y2 }) in jobs.0.iter_mut().zip(some) {
                let n = v.elements::<W>().len();
                packed(operation, terms.map(|term| ("a term", term.len())), d as usize, n)?;
                equal(operation, [("y₂", y2.len())], v.len())?;
                end += self.grid_of_units(&SHARED_CLOSE, n)[0];
                let (v, terms, y2) = (v.device(), terms.map(|term| term.device()), y2.device());
                *job = CloseJob { v, terms, y2, n: n as u64, end, padding: 0 };
            }
            self.launch::<W, _>(stream, &SHARED_CLOSE, [end, 1, 1], (d, jobs))?;
        }
        Ok(())
    }
}
