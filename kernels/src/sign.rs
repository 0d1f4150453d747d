//! The sign bit's local steps (`sign.cu`), as the core's CPU kernels of the same names define them.

use crate::KernelError;
use crate::check::{equal, fits, packed};
use crate::compile::Family;
use crate::launch::{Element, In, InOut, Job, Jobs, Kernel, KernelInfo, Kernels, Words, WordsMut};
use cudarc::driver::CudaStream;

type ShareBits = Kernel<(u32, u64, In, In, In, InOut, InOut, InOut, u64)>;
type ShareCarries = Kernel<(u32, u64, In, In, In, InOut, InOut, InOut, u64)>;

const THREADS: u32 = 256;
const SHARE_BITS_8: ShareBits = Kernel::new(Family::Sign, "share_bits_8", THREADS);
const SHARE_BITS_16: ShareBits = Kernel::new(Family::Sign, "share_bits_16", THREADS);
const SHARE_BITS_32: ShareBits = Kernel::new(Family::Sign, "share_bits_32", THREADS);
const SHARE_BITS_64: ShareBits = Kernel::new(Family::Sign, "share_bits_64", THREADS).of_64_bits();
const SHARE_CARRIES_8: ShareCarries = Kernel::new(Family::Sign, "share_carries_8", THREADS);
const SHARE_CARRIES_16: ShareCarries = Kernel::new(Family::Sign, "share_carries_16", THREADS);
const SHARE_CARRIES_32: ShareCarries = Kernel::new(Family::Sign, "share_carries_32", THREADS);
const SHARE_CARRIES_64: ShareCarries = Kernel::new(Family::Sign, "share_carries_64", THREADS).of_64_bits();
const TREE_STEPS: Kernel<(Jobs<TreeJob, STEPS>,)> = Kernel::new(Family::Sign, "tree_steps", THREADS).of_64_bits();

pub(crate) const KERNELS: &[KernelInfo] = &[
    SHARE_BITS_8.info,
    SHARE_BITS_16.info,
    SHARE_BITS_32.info,
    SHARE_BITS_64.info,
    SHARE_CARRIES_8.info,
    SHARE_CARRIES_16.info,
    SHARE_CARRIES_32.info,
    SHARE_CARRIES_64.info,
    TREE_STEPS.info,
];

/// Levels of the tree in one launch (`TREE_STEPS` in `sign.cu`).
const STEPS: usize = 8;

/// A level of the tree, as in `sign.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct TreeJob {
    x: [[In; 2]; 2],
    masks: [In; 2],
    out: InOut,
    n: u64,
    half: u32,
    end: u32,
}

impl Job for TreeJob {
    const NONE: Self = TreeJob { x: [[In::NONE; 2]; 2], masks: [In::NONE; 2], out: InOut::NONE, n: 0, half: 0, end: 0 };
}

/// Words: a buffer, or the sum of two, which is an XOR where the words are bits.
#[derive(Clone, Copy, Debug)]
pub struct Summed<V>(pub V, pub Option<V>);

/// What a role has of role 0's bits. `S` is a stream, or the words drawn from it; `V` is where received words lie.
#[derive(Clone, Copy, Debug)]
pub enum SharedBits<S, V> {
    /// Role 1: role 0's mask, drawn from the stream in common with it.
    Drawn(S),
    /// Role 2: role 0's message.
    Received(V),
}

/// A level of the sign's tree at one party in one role, on a card and on the CPU: `half` pairs (generate, propagate) from
/// twice as many. `out` gets the party's share of 2·`half` − 1 planes.
#[derive(Debug)]
pub struct TreeStep<V, M> {
    /// Elements.
    pub elements: usize,
    /// Pairs of the result: 1, 2, 4 or 8.
    pub half: usize,
    /// Both replicated components, 4·`half` − 1 planes each.
    pub x: [Summed<V>; 2],
    /// The mask that hides the share, in one part or in two.
    pub mask: Summed<V>,
    /// The result.
    pub out: M,
}

impl<V: Copy, M> TreeStep<V, M> {
    /// All that is read.
    pub fn reads(&self) -> impl Iterator<Item = V> + use<V, M> {
        let all = [self.x[0], self.x[1], self.mask];
        all.into_iter().flat_map(|Summed(first, second)| std::iter::once(first).chain(second))
    }

    /// The same on other kinds of views.
    pub fn map<W, N>(self, view: impl Fn(V) -> W, out: impl FnOnce(M) -> N) -> TreeStep<W, N> {
        let summed = |Summed(first, second): Summed<V>| Summed(view(first), second.map(&view));
        let (x, mask) = (self.x.map(summed), summed(self.mask));
        TreeStep { elements: self.elements, half: self.half, x, mask, out: out(self.out) }
    }
}

/// The bits that decide a comparison: `low .. low + width`, the top one being the sign.
///
/// Exact while |x| ≤ 2^(low + width − 1) − 2^low in the ring, except that positive values below 2^low may count as negative.
/// With the default, all 64 bits, it is always exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "Bits")]
pub struct SignWindow {
    low: u32,
    width: u32,
}

/// A window as it is read, not yet checked.
#[derive(serde::Deserialize)]
struct Bits {
    low: u32,
    width: u32,
}

impl TryFrom<Bits> for SignWindow {
    type Error = String;

    fn try_from(Bits { low, width }: Bits) -> Result<Self, String> {
        let refused =
            || format!("no window of {width} bits from bit {low}: it has 8, 16, 32 or 64 bits and lies in the word");
        SignWindow::new(low, width).ok_or_else(refused)
    }
}

impl Default for SignWindow {
    fn default() -> Self {
        SignWindow { low: 0, width: 64 }
    }
}

impl SignWindow {
    /// Bits `low .. low + width`; none unless `width` is 8, 16, 32 or 64 and all bits lie in the word.
    pub const fn new(low: u32, width: u32) -> Option<Self> {
        if matches!(width, 8 | 16 | 32 | 64) && low <= 64 - width { Some(SignWindow { low, width }) } else { None }
    }

    /// Bits dropped at the bottom.
    #[inline]
    pub const fn low(self) -> u32 {
        self.low
    }

    /// Bits that take part: 8, 16, 32 or 64.
    #[inline]
    pub const fn width(self) -> u32 {
        self.width
    }

    /// Groups of four bits.
    #[inline]
    pub const fn groups(self) -> usize {
        self.width as usize / 4
    }

    /// Planes of the bits that role 0 shares: of every group the 15 products of its bits, but 8 of the one with the top bit.
    #[inline]
    pub const fn shared_planes(self) -> usize {
        15 * self.groups() - 7
    }

    /// Planes of generate and propagate before the tree.
    #[inline]
    pub const fn carry_planes(self) -> usize {
        2 * self.groups() - 1
    }
}

/// Refuses a window that does not lie in an element.
fn within<W: Element>(operation: &'static str, window: SignWindow) -> Result<(), KernelError> {
    fits(operation, "end of the window", window.low + window.width, 0..W::WIDTH.bits() + 1).map(drop)
}

impl Kernels {
    /// Role 0: products of the bits of A = x₀ + x₁ + `summand` as 15Q − 7 planes, Q = width/4. `message` = products ⊕ `mask`; `top`
    /// gets plane 0 of the message, `top_mask` plane 0 of the mask.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a window that does not lie in an element, [`KernelError::Length`] unless x₀ and x₁ have n
    /// elements, `message` and `mask` (15Q − 7)⌈n/64⌉, the tops
    /// ⌈n/64⌉; errors of compilation and launch.
    #[allow(clippy::too_many_arguments)]
    pub fn sign_share_bits<W: Element>(
        &self,
        stream: &CudaStream,
        window: SignWindow,
        x: [Words; 2],
        summand: u64,
        mask: Words,
        mut message: WordsMut,
        mut top: WordsMut,
        mut top_mask: WordsMut,
    ) -> Result<(), KernelError> {
        let x = x.map(Words::elements::<W>);
        let (operation, n) = ("sign bit, sharing of bits", x[0].len());
        within::<W>(operation, window)?;
        let planes = window.shared_planes();
        equal(operation, [("x₁", x[1].len())], n)?;
        packed(operation, [("mask", mask.len()), ("message", message.len())], planes, n)?;
        packed(operation, [("top", top.len()), ("top of the mask", top_mask.len())], 1, n)?;
        let kernel = match window.width {
            8 => SHARE_BITS_8,
            16 => SHARE_BITS_16,
            32 => SHARE_BITS_32,
            _ => SHARE_BITS_64,
        };
        let ([x0, x1], low) = (x.map(|x| x.device()), window.low);
        let (x, tops) = ((x0, x1), (top.device(), top_mask.device()));
        let arguments = (low, summand, x.0, x.1, mask.device(), message.device(), tops.0, tops.1, n as u64);
        self.launch::<W, _>(stream, &kernel, self.grid_of_units(&kernel, n), arguments)
    }

    /// Roles 1 and 2: `carry` = mask ⊕ the XOR share of every generate and propagate, 2Q − 1 planes, from the share of
    /// role 0's bits and B; `tops` get B's top bits and plane 0 of the shared bits. Role 1 adds the terms in B alone.
    ///
    /// # Errors
    /// [`KernelError::Argument`] for a window that does not lie in an element, [`KernelError::Length`] unless `b` has n elements, `shared` (15Q − 7)⌈n/64⌉, `mask` and `carry` (2Q − 1)⌈n/64⌉, the
    /// tops ⌈n/64⌉; errors of compilation and launch.
    #[allow(clippy::too_many_arguments)]
    pub fn sign_share_carries<W: Element>(
        &self,
        stream: &CudaStream,
        window: SignWindow,
        b: Words,
        shared: SharedBits<Words, Words>,
        mask: Words,
        mut carry: WordsMut,
        [mut top, mut top_a]: [WordsMut; 2],
    ) -> Result<(), KernelError> {
        let b = b.elements::<W>();
        let (keep, shared) = match shared {
            SharedBits::Drawn(words) => (u64::MAX, words),
            SharedBits::Received(words) => (0, words),
        };
        let (operation, n) = ("sign bit, sharing of carries", b.len());
        within::<W>(operation, window)?;
        packed(operation, [("shared bits", shared.len())], window.shared_planes(), n)?;
        packed(operation, [("mask", mask.len()), ("carry", carry.len())], window.carry_planes(), n)?;
        packed(operation, [("top", top.len()), ("top of the shared bits", top_a.len())], 1, n)?;
        let kernel = match window.width {
            8 => SHARE_CARRIES_8,
            16 => SHARE_CARRIES_16,
            32 => SHARE_CARRIES_32,
            _ => SHARE_CARRIES_64,
        };
        let (b, shared, mask, tops) = (b.device(), shared.device(), mask.device(), (top.device(), top_a.device()));
        let arguments = (window.low, keep, b, shared, mask, carry.device(), tops.0, tops.1, n as u64);
        self.launch::<W, _>(stream, &kernel, self.grid_of_units(&kernel, n), arguments)
    }

    /// Levels of the tree that do not read one another's results, up to eight in a launch.
    ///
    /// # Errors
    /// [`KernelError::Length`] for lengths other than [`TreeStep`]'s, [`KernelError::Argument`] unless `half` is 1 to 8;
    /// errors of compilation and launch.
    pub fn sign_tree(&self, stream: &CudaStream, steps: Vec<TreeStep<Words, WordsMut>>) -> Result<(), KernelError> {
        let mut steps: Vec<_> = steps.into_iter().filter(|step| step.elements > 0).collect();
        for some in steps.chunks_mut(STEPS) {
            let (mut jobs, mut end) = (Jobs::NONE, 0);
            for (job, step) in jobs.0.iter_mut().zip(some) {
                *job = self.tree_job(step, &mut end)?;
            }
            self.launch::<u64, _>(stream, &TREE_STEPS, [end, 1, 1], (jobs,))?;
        }
        Ok(())
    }

    /// One level, with as many blocks of threads as it needs behind the `end` so far.
    fn tree_job(&self, step: &mut TreeStep<Words, WordsMut>, end: &mut u32) -> Result<TreeJob, KernelError> {
        let TreeStep { elements, half, x, mask, out } = step;
        let (operation, elements) = ("sign bit, level of the tree", *elements);
        let half = fits(operation, "half", *half, 1..9)?;
        for Summed(first, second) in &*x {
            let second = second.unwrap_or(*first);
            packed(operation, [("x", first.len()), ("its second part", second.len())], 4 * half - 1, elements)?;
        }
        let (first, second) = (mask.0, mask.1.unwrap_or(mask.0));
        let results = [("out", out.len()), ("mask", first.len()), ("its second part", second.len())];
        packed(operation, results, 2 * half - 1, elements)?;
        *end += self.grid(&TREE_STEPS, elements.div_ceil(64) * half)[0];
        let device = |words: Option<Words>| words.map_or(In::NONE, |words| words.device());
        Ok(TreeJob {
            x: x.map(|Summed(first, second)| [first.device(), device(second)]),
            masks: [first.device(), device(mask.1)],
            out: out.device(),
            n: elements as u64,
            // At most 8, so the cast keeps the value.
            half: half as u32,
            end: *end,
        })
    }
}
