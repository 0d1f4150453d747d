//! Products of matrices.

use super::choose::{Card, Plan, Route, Shape, THIN_COLUMNS, THIN_ROWS, check, choose};
use super::{INT8_ARCH, INT8_SHARED, Method, THREADS};
use crate::KernelError;
use crate::check::{equal, narrow};
use crate::compile::Family;
use crate::launch::{Argument, Element, In, InOut, Kernel, KernelInfo, Kernels, Words, WordsMut};
use cudarc::driver::CudaStream;

type Gemm = Kernel<(RawGemm,)>;
type GemmDouble = Kernel<(RawGemm, u32)>;

const NATIVE: Gemm = Kernel::new(Family::Gemm, "gemm_native", THREADS);
const INT8: Gemm = Kernel::new(Family::Gemm, "gemm_int8", THREADS).shared(INT8_SHARED).since(INT8_ARCH);
const THIN_DEPTH: Gemm = Kernel::new(Family::Gemm, "gemm_thin_depth", THREADS);
const THIN_LANES: Gemm = Kernel::new(Family::Gemm, "gemm_thin_lanes", THREADS);
const DOUBLE: [GemmDouble; 4] = [
    Kernel::new(Family::Gemm, "gemm_double_2", THREADS),
    Kernel::new(Family::Gemm, "gemm_double_3", THREADS),
    Kernel::new(Family::Gemm, "gemm_double_4", THREADS),
    Kernel::new(Family::Gemm, "gemm_double_8", THREADS),
];

pub(crate) const KERNELS: &[KernelInfo] = &[
    NATIVE.info,
    INT8.info,
    THIN_DEPTH.info,
    THIN_LANES.info,
    DOUBLE[0].info,
    DOUBLE[1].info,
    DOUBLE[2].info,
    DOUBLE[3].info,
];

/// A matrix in device memory: entry (row, column) is element row·`row_stride` + column·`column_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, W = u64> {
    /// The elements.
    pub words: Words<'a, W>,
    /// Elements from one row to the next.
    pub row_stride: usize,
    /// Elements from one column to the next.
    pub column_stride: usize,
}

impl<'a, W: Element> Matrix<'a, W> {
    /// A contiguous row-major matrix with `columns` columns.
    pub fn row_major(words: Words<'a, W>, columns: usize) -> Self {
        Matrix { words, row_stride: columns, column_stride: 1 }
    }

    /// The transposed matrix, at no cost.
    #[must_use]
    pub fn transposed(self) -> Self {
        Matrix { words: self.words, row_stride: self.column_stride, column_stride: self.row_stride }
    }

    fn check(&self, argument: &'static str, rows: usize, columns: usize) -> Result<(), KernelError> {
        if rows == 0 || columns == 0 {
            return Ok(());
        }
        let reach = |count: usize, stride: usize| (count - 1).saturating_mul(stride);
        let expected = reach(rows, self.row_stride).saturating_add(reach(columns, self.column_stride));
        let (expected, found) = (expected.saturating_add(1), self.words.len());
        if found < expected {
            return Err(KernelError::Length { operation: OPERATION, argument, expected, found });
        }
        Ok(())
    }
}

/// One product of a sum: A of m × `depth` times B of `depth` × n.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a, W = u64> {
    /// Columns of A and rows of B.
    pub depth: usize,
    /// The left operand.
    pub a: Matrix<'a, W>,
    /// The right operand.
    pub b: Matrix<'a, W>,
}

/// `Matrix` of `ring_product.cuh`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawMatrix {
    data: In,
    lane_stride: u64,
    depth_stride: u64,
}

/// `Gemm` of `gemm.cu`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawGemm {
    a0: RawMatrix,
    b0: RawMatrix,
    a1: RawMatrix,
    b1: RawMatrix,
    output: InOut,
    row_stride: u64,
    column_stride: u64,
    depths: [u32; 2],
    m: u32,
    n: u32,
    splits: u32,
    unused: u32,
}

// SAFETY: the fields of `Gemm` in `gemm.cu`, in order and of the same types, without padding.
unsafe impl Argument for RawGemm {}

impl RawGemm {
    /// The transposed product, (A·B)ᵀ = Bᵀ·Aᵀ.
    fn transposed(self) -> Self {
        RawGemm {
            a0: self.b0,
            b0: self.a0,
            a1: self.b1,
            b1: self.a1,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            m: self.n,
            n: self.m,
            ..self
        }
    }
}

const OPERATION: &str = "ring product";

impl Kernels {
    /// How `method` makes a product of elements `W` of `[m, n]` with terms of these depths on this card.
    ///
    /// # Errors
    /// [`KernelError::Unsupported`] or [`KernelError::Argument`] when this card or these kernels cannot.
    pub fn plan_gemm<W: Element>(
        &self,
        method: Method,
        [m, n]: [usize; 2],
        depths: [usize; 2],
    ) -> Result<Plan, KernelError> {
        let size = |what, value| narrow(OPERATION, what, value, i32::MAX as usize);
        let shape = Shape {
            rows: size("rows", m)?,
            columns: size("columns", n)?,
            depths: [size("depth", depths[0])?, size("depth", depths[1])?],
            groups: 1,
            may_be_thin: true,
            width: W::WIDTH,
        };
        choose(Card { arch: self.target().arch, multiprocessors: self.multiprocessors() }, method, shape)
    }

    /// `out` = Σₜ Aₜ·Bₜ in the ring, row-major m × n, for one or two terms.
    ///
    /// # Errors
    /// [`KernelError::Length`] when a matrix reaches beyond its words or `out` is not m·n elements,
    /// [`KernelError::Argument`] for another number of terms or too large sizes, [`KernelError::Unsupported`] when
    /// the card lacks what `method` names; errors of compilation and launch.
    pub fn gemm<W: Element>(
        &self,
        stream: &CudaStream,
        method: Method,
        shape: [usize; 2],
        terms: &[Term<W>],
        out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let depth = |term: usize| terms.get(term).map_or(0, |term| term.depth);
        let plan = self.plan_gemm::<W>(method, shape, [depth(0), depth(1)])?;
        self.gemm_by(stream, plan, shape, terms, out)
    }

    /// As [`Kernels::gemm`] by a given plan: to measure and test how products are cut.
    ///
    /// # Errors
    /// As [`Kernels::gemm`], and [`KernelError::Argument`] when the plan is not exact for these depths.
    pub fn gemm_by<W: Element>(
        &self,
        stream: &CudaStream,
        plan: Plan,
        [m, n]: [usize; 2],
        terms: &[Term<W>],
        mut out: WordsMut<W>,
    ) -> Result<(), KernelError> {
        let (first, second) = match terms {
            [first] => (first, &Term { depth: 0, ..*first }),
            [first, second] => (first, second),
            _ => {
                let (argument, found) = ("number of terms", terms.len().to_string());
                return Err(KernelError::Argument { operation: OPERATION, argument, found, rule: "it must be 1 or 2" });
            }
        };
        equal(OPERATION, [("output", out.len())], m.saturating_mul(n))?;
        for term in [first, second] {
            term.a.check("left matrix", m, term.depth)?;
            term.b.check("right matrix", term.depth, n)?;
        }
        let size = |what, value| narrow(OPERATION, what, value, i32::MAX as usize);
        let depths = [size("depth", first.depth)?, size("depth", second.depth)?];
        check(plan, W::WIDTH, depths)?;
        if plan.splits > 1 {
            self.fill_constant(stream, 0, out.memory())?;
        }
        let left = |a: Matrix<W>| RawMatrix {
            data: a.words.device(),
            lane_stride: a.row_stride as u64,
            depth_stride: a.column_stride as u64,
        };
        let right = |b: Matrix<W>| left(b.transposed());
        let raw = RawGemm {
            a0: left(first.a),
            b0: right(first.b),
            a1: left(second.a),
            b1: right(second.b),
            output: out.device(),
            row_stride: n as u64,
            column_stride: 1,
            depths,
            m: size("rows", m)?,
            n: size("columns", n)?,
            splits: plan.splits,
            unused: 0,
        };
        self.launch_gemm::<W>(stream, plan, raw)
    }

    fn launch_gemm<W: Element>(&self, stream: &CudaStream, plan: Plan, raw: RawGemm) -> Result<(), KernelError> {
        let tiles = |rows: u32, columns: u32, raw: &RawGemm| -> Result<[u32; 3], KernelError> {
            let y = narrow(OPERATION, "tiles of rows", raw.m.div_ceil(rows) as usize, 65_535)?;
            let z = narrow(OPERATION, "parts along the depth", plan.splits as usize, 65_535)?;
            Ok([raw.n.div_ceil(columns), y, z])
        };
        match plan.route {
            Route::Native => self.launch::<W, _>(stream, &NATIVE, tiles(64, 64, &raw)?, (raw,)),
            Route::Int8 => self.launch::<W, _>(stream, &INT8, tiles(64, 64, &raw)?, (raw,)),
            Route::Double { limbs, flush } => {
                let index = super::LIMBS.iter().position(|&known| known == limbs).unwrap_or(0);
                self.launch::<W, _>(stream, &DOUBLE[index], tiles(64, 32, &raw)?, (raw, flush))
            }
            Route::Thin => {
                let raw = if raw.m <= raw.n { raw } else { raw.transposed() };
                let [along, across] = THIN_COLUMNS;
                if raw.b0.depth_stride == 1 {
                    self.launch::<W, _>(stream, &THIN_DEPTH, tiles(THIN_ROWS, along, &raw)?, (raw,))
                } else {
                    self.launch::<W, _>(stream, &THIN_LANES, tiles(THIN_ROWS, across, &raw)?, (raw,))
                }
            }
        }
    }
}
