//! Element-wise ring operations and sums (`elementwise.cu`).

use crate::KernelError;
use crate::check::{equal, fits, narrow};
use crate::compile::Family;
use crate::launch::{Element, In, InOut, Job, Jobs, Kernel, KernelInfo, Kernels, Words, WordsMut};
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
const COMBINE: Kernel<(Jobs<CombinedJob, COMBINED_JOBS>,)> = Kernel::new(Family::Elementwise, "combine", THREADS);
const FILL: Kernel<(u64, InOut, u64)> = Kernel::new(Family::Elementwise, "fill_constant", THREADS).of_64_bits();
const PRODUCT_SHARE: Kernel<(In, In, In, In, InOut, u64)> = Kernel::new(Family::Elementwise, "product_share", THREADS);
const ADD_BIAS: Kernel<(In, u64, u64, InOut, u64)> = Kernel::new(Family::Elementwise, "add_bias", THREADS);
const REORDER: Kernel<(In, u32, u32, u64, u64, u64, u64, u32, InOut, u64)> =
    Kernel::new(Family::Elementwise, "reorder", THREADS);
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
    COMBINE.info,
    FILL.info,
    PRODUCT_SHARE.info,
    ADD_BIAS.info,
    REORDER.info,
    SUM.info,
];

/// Jobs of one launch, and parts of one (`COMBINED_JOBS` and `COMBINED_PARTS` in `elementwise.cu`).
const COMBINED_JOBS: usize = 8;
const COMBINED_PARTS: usize = 5;

/// One combination of several, as in `elementwise.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct CombinedJob {
    parts: [In; COMBINED_PARTS],
    constant: u64,
    out: InOut,
    n: u64,
    sum: u32,
    end: u32,
}

impl Job for CombinedJob {
    const NONE: Self =
        CombinedJob { parts: [In::NONE; COMBINED_PARTS], constant: 0, out: InOut::NONE, n: 0, sum: 0, end: 0 };
}

/// How words are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// By addition in the ring.
    Add,
    /// By exclusive or.
    Xor,
}

/// `out` = x₀ + x₁ + … + c, or with ⊕, of up to five parts, on a card and on the CPU. One part and c = 0 is a copy.
#[derive(Debug)]
pub struct Combined<V, M> {
    /// What joins the parts.
    pub how: Combine,
    /// The parts.
    pub parts: Vec<V>,
    /// c.
    pub constant: u64,
    /// The result.
    pub out: M,
}

impl<V: Copy, M> Combined<V, M> {
    /// The sum of the parts; of one part a copy.
    pub fn sum(parts: impl IntoIterator<Item = V>, out: M) -> Self {
        Combined { how: Combine::Add, parts: parts.into_iter().collect(), constant: 0, out }
    }

    /// The exclusive or of the parts, or its complement.
    pub fn xor(parts: impl IntoIterator<Item = V>, complement: bool, out: M) -> Self {
        let constant = if complement { u64::MAX } else { 0 };
        Combined { how: Combine::Xor, parts: parts.into_iter().collect(), constant, out }
    }

    /// The same on other kinds of views.
    pub fn map<W, N>(self, view: impl Fn(V) -> W, out: impl FnOnce(M) -> N) -> Combined<W, N> {
        let parts = self.parts.into_iter().map(view).collect();
        Combined { how: self.how, parts, constant: self.constant, out: out(self.out) }
    }
}

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
    /// Bits moved up by k, zeros behind; k of the element's bits or more leaves nothing.
    Shl(u32),
    /// Bits moved down by k, zeros before; k of the element's bits or more leaves nothing.
    Shr(u32),
    /// Bits moved down by k, the sign bit before: ⌊x/2^k⌋ of a two's complement x.
    Sar(u32),
}

/// An order of blocks of elements, on a card and on the CPU: block (i, j, k) of the result is the block of the source
/// that begins at element i·`strides[0]` + j·`strides[1]` + k·`strides[2]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockOrder {
    /// How many blocks the result has along each of its three axes.
    pub sizes: [usize; 3],
    /// Elements in the source from one block to the next along each axis of the result.
    pub strides: [usize; 3],
    /// Elements of a block.
    pub block: usize,
    /// Whether each block's elements come from the last to the first.
    pub reversed: bool,
}

impl BlockOrder {
    /// The source `[rows, columns, block]` with its two leading axes swapped, for each of `groups` sources one after
    /// the other.
    pub fn swapped(groups: usize, [rows, columns]: [usize; 2], block: usize) -> Self {
        let strides = [rows * columns * block, block, columns * block];
        BlockOrder { sizes: [groups, columns, rows], strides, block, reversed: false }
    }

    /// The source `[a, b, c, block]` as `[c, b, a, block]`.
    pub fn mirrored([a, b, c]: [usize; 3], block: usize) -> Self {
        BlockOrder { sizes: [c, b, a], strides: [block, c * block, b * c * block], block, reversed: false }
    }

    /// Elements of the result.
    pub fn words(&self) -> usize {
        self.sizes.iter().fold(self.block, |words, &size| words.saturating_mul(size))
    }

    /// Elements of the source up to the end of the last block.
    pub fn reach(&self) -> usize {
        if self.words() == 0 {
            return 0;
        }
        let last = self.sizes.iter().zip(self.strides).map(|(size, stride)| (size - 1).saturating_mul(stride));
        last.fold(self.block, usize::saturating_add)
    }
}

impl Kernels {
    /// All of these, up to eight in a launch. None reads what another writes; a part may be the job's own result.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless all buffers of a job have as many elements, [`KernelError::Argument`] for more than five
    /// parts; errors of compilation and launch.
    pub fn combine<W: Element>(
        &self,
        stream: &CudaStream,
        all: Vec<Combined<Words<W>, WordsMut<W>>>,
    ) -> Result<(), KernelError> {
        let operation = "combination of words";
        let mut all: Vec<_> = all.into_iter().filter(|job| !job.out.is_empty()).collect();
        for some in all.chunks_mut(COMBINED_JOBS) {
            let (mut jobs, mut end) = (Jobs::NONE, 0);
            for (job, Combined { how, parts, constant, out }) in jobs.0.iter_mut().zip(some) {
                let n = out.len();
                fits(operation, "number of parts", parts.len(), 0..COMBINED_PARTS + 1)?;
                let mut places = [In::NONE; COMBINED_PARTS];
                for (place, part) in places.iter_mut().zip(parts.iter()) {
                    equal(operation, [("part", part.len())], n)?;
                    *place = part.device();
                }
                end += self.grid(&COMBINE, n)[0];
                let sum = u32::from(*how == Combine::Add);
                let (parts, out, n) = (places, out.device(), n as u64);
                *job = CombinedJob { parts, constant: *constant, out, n, sum, end };
            }
            self.launch::<W, _>(stream, &COMBINE, [end, 1, 1], (jobs,))?;
        }
        Ok(())
    }

    /// `out[at ..]` = n elements of `x` from `first` on, wherever in words they stand. What is around them stays as it is.
    ///
    /// # Errors
    /// [`KernelError::Length`] when `x` or `out` end before they do; errors of compilation and launch.
    pub fn copy_part<W: Element>(
        &self,
        stream: &CudaStream,
        n: usize,
        (x, first): (Words<W>, usize),
        (mut out, at): (WordsMut<W>, usize),
    ) -> Result<(), KernelError> {
        let operation = "copy of a part";
        for (argument, start, found) in [("x", first, x.len()), ("out", at, out.len())] {
            let expected = start.saturating_add(n);
            if found < expected {
                return Err(KernelError::Length { operation, argument, expected, found });
            }
        }
        let mut job = CombinedJob { out: out.device_from(at), n: n as u64, sum: 1, ..CombinedJob::NONE };
        (job.parts[0], job.end) = (x.device_from(first), self.grid(&COMBINE, n)[0]);
        let (grid, mut jobs) = ([job.end, 1, 1], Jobs::NONE);
        jobs.0[0] = job;
        self.launch::<W, _>(stream, &COMBINE, grid, (jobs,))
    }

    /// `out` = x ∘ y.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless all have the same length; errors of compilation and launch.
    pub fn binary<W: Element>(
        &self,
        stream: &CudaStream,
        op: Binary,
        x: Words<W>,
        y: Words<W>,
        mut out: WordsMut<W>,
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
        let arguments = (x.device(), y.device(), out.device(), n as u64);
        self.launch::<W, _>(stream, &kernel, self.grid(&kernel, n), arguments)
    }

    /// `out` = x ∘ c.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless both have the same length; errors of compilation and launch.
    pub fn unary<W: Element>(
        &self,
        stream: &CudaStream,
        op: Unary,
        x: Words<W>,
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let (n, bits) = (out.len(), W::WIDTH.bits());
        equal("element-wise operation with a constant", [("x", x.len())], n)?;
        let (kernel, constant) = match op {
            Unary::Add(c) => (ADD_CONSTANT, c),
            Unary::Mul(c) => (MUL_CONSTANT, c),
            Unary::Xor(c) => (XOR_CONSTANT, c),
            Unary::And(c) => (AND_CONSTANT, c),
            Unary::Shl(k) | Unary::Shr(k) if k >= bits => (AND_CONSTANT, 0),
            Unary::Shl(k) => (SHIFT_LEFT, u64::from(k)),
            Unary::Shr(k) => (SHIFT_RIGHT, u64::from(k)),
            Unary::Sar(k) => (SHIFT_RIGHT_SIGNED, u64::from(k.min(bits - 1))),
        };
        let arguments = (x.device(), constant, out.device(), n as u64);
        self.launch::<W, _>(stream, &kernel, self.grid(&kernel, n), arguments)
    }

    /// All words of `out` become `value`.
    ///
    /// # Errors
    /// Errors of compilation and launch.
    pub fn fill_constant(&self, stream: &CudaStream, value: u64, mut out: WordsMut) -> Result<(), KernelError> {
        let n = out.len();
        self.launch::<u64, _>(stream, &FILL, self.grid(&FILL, n), (value, out.device(), n as u64))
    }

    /// One party's additive share of an element-wise product, without its zero-share:
    /// `out` = x₀(y₀ + y₁) + x₁y₀.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless all have the same length; errors of compilation and launch.
    pub fn product_share<W: Element>(
        &self,
        stream: &CudaStream,
        x: [Words<W>; 2],
        y: [Words<W>; 2],
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let ([x0, x1], [y0, y1], n) = (x, y, out.len());
        equal("product share", [("x₀", x0.len()), ("x₁", x1.len()), ("y₀", y0.len()), ("y₁", y1.len())], n)?;
        let arguments = (x0.device(), x1.device(), y0.device(), y1.device(), out.device(), n as u64);
        self.launch::<W, _>(stream, &PRODUCT_SHARE, self.grid(&PRODUCT_SHARE, n), arguments)
    }

    /// `z` += bias, `inner` elements for each entry of the bias, again and again. What is left behind the last
    /// whole image stays as it is, as on the CPU.
    ///
    /// # Errors
    /// Errors of compilation and launch.
    pub fn add_bias<W: Element>(
        &self,
        stream: &CudaStream,
        bias: Words<W>,
        inner: usize,
        mut z: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let image = bias.len() * inner;
        if image == 0 {
            return Ok(());
        }
        let n = z.len() / image * image;
        let arguments = (bias.device(), bias.len() as u64, inner as u64, z.device(), n as u64);
        self.launch::<W, _>(stream, &ADD_BIAS, self.grid(&ADD_BIAS, n), arguments)
    }

    /// `out` = the blocks of `x` in another order.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless `out` has the elements of `order`, or when `x` ends before its last block does;
    /// [`KernelError::Argument`] for 2³² blocks and more; errors of compilation and launch.
    pub fn reorder<W: Element>(
        &self,
        stream: &CudaStream,
        order: &BlockOrder,
        x: Words<W>,
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let (operation, n) = ("order of blocks", out.len());
        equal(operation, [("out", n)], order.words())?;
        let (expected, found) = (order.reach(), x.len());
        if found < expected {
            return Err(KernelError::Length { operation, argument: "x", expected, found });
        }
        let BlockOrder { sizes, strides, block, reversed } = *order;
        let blocks = sizes.iter().fold(1, |blocks: usize, &size| blocks.saturating_mul(size));
        narrow(operation, "number of blocks", blocks, u32::MAX as usize)?;
        let [_, size1, size2] = sizes;
        let [s0, s1, s2] = strides.map(|stride| stride as u64);
        // Each size is at most the number of blocks where there is any; else nothing is launched.
        let (size1, size2) = (size1 as u32, size2 as u32);
        let arguments =
            (x.device(), size1, size2, s0, s1, s2, block as u64, u32::from(reversed), out.device(), n as u64);
        self.launch::<W, _>(stream, &REORDER, self.grid(&REORDER, n), arguments)
    }

    /// `out[0]` += Σ x: `out` holds zero, or what the sum is to be added to.
    ///
    /// # Errors
    /// [`KernelError::Length`] unless `out` is one element; errors of compilation and launch.
    pub fn sum<W: Element>(&self, stream: &CudaStream, x: Words<W>, mut out: WordsMut<W>) -> Result<(), KernelError> {
        equal("sum", [("out", out.len())], 1)?;
        let n = x.len();
        self.launch::<W, _>(stream, &SUM, self.grid(&SUM, n), (x.device(), out.device(), n as u64))
    }
}
