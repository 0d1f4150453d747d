//! Local steps of a secret bit times a secret tensor, and of a bit's conversion (`bit_product.cu`), as the core's CPU
//! kernels of the same names define them. Bits are packed, one word for 64 elements. Masks are words that the caller has
//! filled from their streams ([`Kernels::fills`]). Operands are words of memory, which hold elements of `W`, or bits.

use crate::KernelError;
use crate::check::{equal, packed};
use crate::compile::Family;
use crate::launch::{Element, In, InOut, Job, Jobs, Kernel, KernelInfo, Kernels, Words, WordsMut};
use crate::sign::Summed;
use cudarc::driver::CudaStream;

const THREADS: u32 = 256;
const ROLE0: Kernel<(In, In, In, In, In, In, In, InOut, InOut, InOut, u64)> =
    Kernel::new(Family::BitProduct, "bit_product_role0", THREADS);
const TERMS: Kernel<(Jobs<TermJob, TERM_JOBS>,)> = Kernel::new(Family::BitProduct, "bit_product_terms", THREADS);
const CONVERT_ROLE0: Kernel<(In, In, InOut, u64)> = Kernel::new(Family::BitProduct, "convert_role0", THREADS);
const CONVERT_TERM: Kernel<(In, In, u64, In, InOut, u64)> = Kernel::new(Family::BitProduct, "convert_term", THREADS);

pub(crate) const KERNELS: &[KernelInfo] = &[ROLE0.info, TERMS.info, CONVERT_ROLE0.info, CONVERT_TERM.info];

/// Terms of one launch (`TERM_JOBS` in `bit_product.cu`).
const TERM_JOBS: usize = 2;

/// A role's term, as in `bit_product.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct TermJob {
    bits: [In; 2],
    x: [In; 2],
    opened: In,
    mask: In,
    message: InOut,
    n: u64,
    end: u32,
    padding: u32,
}

impl Job for TermJob {
    const NONE: Self = TermJob {
        bits: [In::NONE; 2],
        x: [In::NONE; 2],
        opened: In::NONE,
        mask: In::NONE,
        message: InOut::NONE,
        n: 0,
        end: 0,
        padding: 0,
    };
}

/// What role 1 or role 2 of a bit product sends, on a card and on the CPU. With x the sum of its parts and a = (1 − 2v)x,
/// first `message` = (1 − 2u)a − mask, and last, when the role has what the other one opened, e,
/// `message` = vx + u(a + e) − mask. `S` is what the mask is: a stream, or its words.
#[derive(Debug)]
pub struct BitTerm<V, S, M> {
    /// u (u₁ at role 1, u₂ at role 2) and v, packed.
    pub bits: [V; 2],
    /// x₁ and x₂ at role 1, x₀ alone at role 2.
    pub x: Summed<V>,
    /// e.
    pub opened: Option<V>,
    /// The mask.
    pub mask: S,
    /// The result.
    pub message: M,
}

impl<V: Copy, S, M> BitTerm<V, S, M> {
    /// All that is read but for the mask.
    pub fn reads(&self) -> impl Iterator<Item = V> + use<V, S, M> {
        let Summed(first, second) = self.x;
        self.bits.into_iter().chain([first]).chain(second).chain(self.opened)
    }

    /// The same on other kinds of views.
    pub fn map<W, T, N>(
        self,
        view: impl Fn(V) -> W,
        mask: impl FnOnce(S) -> T,
        message: impl FnOnce(M) -> N,
    ) -> BitTerm<W, T, N> {
        let x = Summed(view(self.x.0), self.x.1.map(&view));
        let (bits, opened) = (self.bits.map(&view), self.opened.map(&view));
        BitTerm { bits, x, opened, mask: mask(self.mask), message: message(self.message) }
    }
}

impl Kernels {
    /// Role 0: `message` = p₀ − f with p₀ = u₂α + u₁β, `y0` = f + ν, `y1` = p₀ − f + μ. `u` = [u₁, u₂],
    /// `masks` = [α, β, f, μ, ν].
    ///
    /// # Errors
    /// [`KernelError::Length`] unless bits have ⌈n/64⌉ words and all else n elements; errors of compilation and launch.
    pub fn bit_product_role0<W: Element>(
        &self,
        stream: &CudaStream,
        u: [Words; 2],
        masks: [Words; 5],
        message: WordsMut,
        y0: WordsMut,
        y1: WordsMut,
    ) -> Result<(), KernelError> {
        let (masks, [mut message, mut y0, mut y1]) =
            (masks.map(Words::elements::<W>), [message, y0, y1].map(WordsMut::elements::<W>));
        let (operation, n) = ("bit product, role 0", message.len());
        packed(operation, [("u₁", u[0].len()), ("u₂", u[1].len())], 1, n)?;
        equal(operation, masks.map(|mask| ("a mask", mask.len())), n)?;
        equal(operation, [("y₀", y0.len()), ("y₁", y1.len())], n)?;
        let ([u1, u2], [alpha, beta, f, mu, nu]) = (u.map(|u| u.device()), masks.map(|mask| mask.device()));
        let results = (message.device(), y0.device(), y1.device());
        let arguments = (u1, u2, alpha, beta, f, mu, nu, results.0, results.1, results.2, n as u64);
        self.launch::<W, _>(stream, &ROLE0, self.grid(&ROLE0, n), arguments)
    }

    /// What roles 1 and 2 send, up to two terms in a launch.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless bits have ⌈n/64⌉ words and all else n elements; errors of compilation and launch.
    pub fn bit_product_terms<W: Element>(
        &self,
        stream: &CudaStream,
        terms: Vec<BitTerm<Words, Words, WordsMut>>,
    ) -> Result<(), KernelError> {
        let operation = "bit product, roles 1 and 2";
        let mut terms: Vec<_> = terms.into_iter().filter(|term| !term.message.is_empty()).collect();
        for some in terms.chunks_mut(TERM_JOBS) {
            let (mut jobs, mut end) = (Jobs::NONE, 0);
            for (job, BitTerm { bits, x: Summed(first, second), opened, mask, message }) in jobs.0.iter_mut().zip(some)
            {
                let n = message.len() * W::WIDTH.packed();
                packed(operation, bits.map(|bits| ("bits", bits.len())), 1, n)?;
                let words = message.len();
                let [second_len, opened_len] = [&*second, &*opened].map(|all| all.as_ref().map_or(words, Words::len));
                let lengths = [("x₁", first.len()), ("x₂", second_len), ("e", opened_len), ("mask", mask.len())];
                equal(operation, lengths, words)?;
                end += self.grid(&TERMS, n)[0];
                let device = |words: &Option<Words>| words.as_ref().map_or(In::NONE, Words::device);
                *job = TermJob {
                    bits: bits.map(|bits| bits.device()),
                    x: [first.device(), device(second)],
                    opened: device(opened),
                    mask: mask.device(),
                    message: message.device(),
                    n: n as u64,
                    end,
                    padding: 0,
                };
            }
            self.launch::<W, _>(stream, &TERMS, [end, 1, 1], (jobs,))?;
        }
        Ok(())
    }

    /// Conversion, role 0: `message` = u − u₁.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless `u` has ⌈n/64⌉ words and `u1` n; errors of compilation and launch.
    pub fn convert_role0<W: Element>(
        &self,
        stream: &CudaStream,
        u: Words,
        u1: Words,
        message: WordsMut,
    ) -> Result<(), KernelError> {
        let (u1, mut message) = (u1.elements::<W>(), message.elements::<W>());
        let (operation, n) = ("conversion, role 0", message.len());
        packed(operation, [("u", u.len())], 1, n)?;
        equal(operation, [("u₁", u1.len())], n)?;
        let arguments = (u.device(), u1.device(), message.device(), n as u64);
        self.launch::<W, _>(stream, &CONVERT_ROLE0, self.grid(&CONVERT_ROLE0, n), arguments)
    }

    /// Conversion, roles 1 and 2: `message` = (1 − 2v)·share − mask, with v added by role 2 (`with_v`).
    ///
    /// # Errors
    /// [`KernelError::Length`] unless `v` has ⌈n/64⌉ words and all else n; errors of compilation and launch.
    pub fn convert_term<W: Element>(
        &self,
        stream: &CudaStream,
        v: Words,
        share: Words,
        mask: Words,
        with_v: bool,
        message: WordsMut,
    ) -> Result<(), KernelError> {
        let ([share, mask], mut message) = ([share, mask].map(Words::elements::<W>), message.elements::<W>());
        let (operation, n) = ("conversion, roles 1 and 2", message.len());
        packed(operation, [("v", v.len())], 1, n)?;
        equal(operation, [("share", share.len()), ("mask", mask.len())], n)?;
        let arguments = (v.device(), share.device(), u64::from(with_v), mask.device(), message.device(), n as u64);
        self.launch::<W, _>(stream, &CONVERT_TERM, self.grid(&CONVERT_TERM, n), arguments)
    }
}
