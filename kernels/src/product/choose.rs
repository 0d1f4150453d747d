//! Which kernel makes a product: the one place that knows.

use super::{INT8_ARCH, LIMBS};
use crate::KernelError;
use crate::launch::Width;

/// How ring products are to be made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// What suits card and shape; exact.
    #[default]
    Auto,
    /// Integer multiplications; exact.
    Native,
    /// 8-bit limbs on tensor cores, compute capability 8.0 and newer; exact.
    Int8,
    /// The embedding of CryptGPU into doubles, by 3, 4 or 8 limbs (the paper's code takes 4); exact.
    Double {
        /// Limbs of a word.
        limbs: u32,
    },
    /// As `Double`, from 2 limbs on, **wrong** when products grow beyond what doubles hold: to show where.
    DoubleInexact {
        /// Limbs of a word.
        limbs: u32,
    },
}

/// The kernel that a product takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Few rows (or columns): bound by reading the other operand once.
    Thin,
    /// Tiles of integers.
    Native,
    /// Tiles of 8-bit limbs.
    Int8,
    /// Tiles of limbs in doubles.
    Double {
        /// Limbs of a word.
        limbs: u32,
        /// Steps after which sums are added to words.
        flush: u32,
    },
}

/// How a product is cut and by which kernel it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The kernel.
    pub route: Route,
    /// Parts along the depth, each adding to the output.
    pub splits: u32,
}

/// What a choice depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) depths: [u32; 2],
    /// Products of this shape side by side: groups of a convolution.
    pub(crate) groups: u32,
    /// Whether there is a kernel for few rows or columns.
    pub(crate) may_be_thin: bool,
    /// Of the elements.
    pub(crate) width: Width,
}

/// What of the card a choice depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Card {
    pub(crate) arch: u32,
    pub(crate) multiprocessors: u32,
}

/// Rows up to which a product is thin: one pass of the kernel.
pub(crate) const THIN_ROWS: u32 = 8;
/// Columns that a block of the thin kernels takes, along the depth and across lanes.
pub(crate) const THIN_COLUMNS: [u32; 2] = [8, 256];
/// Steps of 32 that the accumulators of the int8 kernels for 64 bits hold exactly: K ≤ 16,384 (`ring_product.cuh` has the proof).
/// Those for 32 bits may wrap.
const INT8_STEPS: u32 = 512;
/// Products whose tiles are mostly empty are better off with integers.
const INT8_SIDE: u32 = 16;
/// Steps that a split has at least, so that its beginning and end do not outweigh it.
const SPLIT_STEPS: u32 = 8;
/// Blocks a multiprocessor that splitting aims at.
const BLOCKS: u32 = 2;

/// Chooses kernel and cut for `method`.
pub(crate) fn choose(card: Card, method: Method, shape: Shape) -> Result<Plan, KernelError> {
    let side = shape.rows.min(shape.columns);
    let route = match method {
        Method::Auto if shape.may_be_thin && side <= THIN_ROWS => Route::Thin,
        Method::Auto if card.arch >= INT8_ARCH && side >= INT8_SIDE => Route::Int8,
        Method::Auto | Method::Native => Route::Native,
        Method::Int8 if card.arch >= INT8_ARCH => Route::Int8,
        Method::Int8 => {
            return Err(KernelError::Unsupported {
                operation: "ring product on 8-bit tensor cores",
                needed: format!("{}.{}", INT8_ARCH / 10, INT8_ARCH % 10),
                found: format!("{}.{}", card.arch / 10, card.arch % 10),
            });
        }
        Method::Double { limbs } => {
            let (limbs, flush) = exact_steps(limbs, shape.width)?;
            Route::Double { limbs, flush }
        }
        Method::DoubleInexact { limbs } => Route::Double { limbs: known(limbs)?, flush: u32::MAX },
    };
    Ok(Plan { route, splits: splits(card, route, shape) })
}

/// Refuses a plan that is not one for these depths: no parts, or more depth a part than accumulators hold exactly.
pub(crate) fn check(plan: Plan, width: Width, depths: [u32; 2]) -> Result<(), KernelError> {
    let steps: u32 = depths.iter().map(|depth| depth.div_ceil(step(plan.route))).sum();
    let exact = !bounded(plan.route, width) || steps.div_ceil(plan.splits.max(1)) <= INT8_STEPS;
    if plan.splits > 0 && exact {
        return Ok(());
    }
    Err(KernelError::Argument {
        operation: "ring product",
        argument: "plan",
        found: format!("{plan:?} for depths {depths:?}"),
        rule: "8-bit limbs of 64 bits need at least one part for a depth of 16,384, all others at least one part",
    })
}

fn known(limbs: u32) -> Result<u32, KernelError> {
    LIMBS.contains(&limbs).then_some(limbs).ok_or_else(|| KernelError::Argument {
        operation: "ring product in doubles",
        argument: "limbs",
        found: limbs.to_string(),
        rule: "there are kernels for 2, 3, 4 and 8",
    })
}

/// Whether accumulators of 32 bits must not overflow.
fn bounded(route: Route, width: Width) -> bool {
    route == Route::Int8 && width == Width::Bits64
}

/// Depth of a step of each kernel.
fn step(route: Route) -> u32 {
    match route {
        Route::Thin | Route::Int8 => 32,
        Route::Native => 16,
        Route::Double { .. } => 8,
    }
}

/// Steps after which sums in doubles must be added to words: L · K · 2^(2w) ≤ 2⁵³ with w = ⌈l / L⌉ for l bits.
fn exact_steps(limbs: u32, width: Width) -> Result<(u32, u32), KernelError> {
    let depth = exact_depth(known(limbs)?, width);
    let steps = depth / step(Route::Double { limbs, flush: 0 });
    if steps == 0 {
        return Err(KernelError::Argument {
            operation: "ring product in doubles",
            argument: "limbs",
            found: limbs.to_string(),
            rule: "a product of so wide limbs is beyond 2^53: use 3 or more",
        });
    }
    Ok((limbs, steps))
}

/// The depth up to which sums of products of limbs are exact in doubles.
fn exact_depth(limbs: u32, width: Width) -> u32 {
    let width = width.bits().div_ceil(limbs);
    1u64.checked_shl(53u32.saturating_sub(2 * width))
        .filter(|_| 2 * width <= 53)
        .map_or(0, |most| u32::try_from(most / u64::from(limbs)).unwrap_or(u32::MAX))
}

/// Parts along the depth: enough blocks for the card, and no more steps a part than its accumulators hold.
fn splits(card: Card, route: Route, shape: Shape) -> u32 {
    let steps: u32 = shape.depths.iter().map(|depth| depth.div_ceil(step(route))).sum();
    let (rows, columns) = match route {
        Route::Thin => (THIN_ROWS, THIN_COLUMNS[0]),
        Route::Native | Route::Int8 => (64, 64),
        Route::Double { .. } => (64, 32),
    };
    let blocks = u64::from(shape.rows.div_ceil(rows)) * u64::from(shape.columns.div_ceil(columns));
    let blocks = (blocks * u64::from(shape.groups)).max(1);
    let wanted = u64::from(card.multiprocessors * BLOCKS).div_ceil(blocks);
    let most = u64::from(steps / SPLIT_STEPS).max(1);
    let least = if bounded(route, shape.width) { u64::from(steps.div_ceil(INT8_STEPS)) } else { 1 };
    // Between 1 and the number of steps, so it fits.
    wanted.min(most).max(least).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(rows: u32, columns: u32, depth: u32) -> Shape {
        Shape { rows, columns, depths: [depth; 2], groups: 1, may_be_thin: true, width: Width::Bits64 }
    }
    const A100: Card = Card { arch: 80, multiprocessors: 108 };
    const V100: Card = Card { arch: 70, multiprocessors: 80 };

    #[test]
    fn accumulators_of_limbs_never_overflow() {
        assert!(4 * 255u64.pow(2) * u64::from(INT8_STEPS * 32) < 1 << 32);
        for depth in [1, 31, 8191, 8192, 8193, 16_384, 100_000, 25_088, 1 << 24] {
            for (rows, columns) in [(16, 16), (64, 64), (4096, 4096)] {
                let plan = choose(A100, Method::Int8, shape(rows, columns, depth)).unwrap();
                let steps = 2 * depth.div_ceil(32);
                assert!(steps.div_ceil(plan.splits) <= INT8_STEPS, "{plan:?} for depth {depth}");
                assert!(check(plan, Width::Bits64, [depth; 2]).is_ok());
                // Those of 32 bits may wrap.
                let wrapping = Plan { route: Route::Int8, splits: 1 };
                assert_eq!(check(wrapping, Width::Bits64, [depth; 2]).is_ok(), steps <= INT8_STEPS);
                assert!(check(wrapping, Width::Bits32, [depth; 2]).is_ok());
            }
        }
    }

    #[test]
    fn doubles_are_exact_by_the_bound() {
        assert_eq!(exact_depth(2, Width::Bits64), 0);
        assert_eq!(exact_depth(3, Width::Bits64), (1 << 9) / 3);
        assert_eq!(exact_depth(4, Width::Bits64), 1 << 19);
        assert_eq!(exact_depth(2, Width::Bits32), 1 << 20);
        for (limbs, bits) in
            [(3, Width::Bits64), (4, Width::Bits64), (8, Width::Bits64), (2, Width::Bits32), (3, Width::Bits32)]
        {
            let width = bits.bits().div_ceil(limbs);
            let worst = (u128::from(limbs) * u128::from(exact_depth(limbs, bits))) << (2 * width);
            assert!(worst <= 1 << 53, "{limbs} limbs of {bits}");
        }
        assert!(choose(A100, Method::Double { limbs: 2 }, shape(64, 64, 64)).is_err());
        assert!(choose(A100, Method::DoubleInexact { limbs: 2 }, shape(64, 64, 64)).is_ok());
        assert!(choose(A100, Method::Double { limbs: 7 }, shape(64, 64, 64)).is_err());
    }

    #[test]
    fn cards_and_shapes_get_what_suits_them() {
        let route = |card, rows, columns, depth| choose(card, Method::Auto, shape(rows, columns, depth)).unwrap().route;
        assert_eq!(route(A100, 512, 512, 512), Route::Int8);
        assert_eq!(route(V100, 512, 512, 512), Route::Native);
        assert_eq!(route(A100, 1, 4096, 9216), Route::Thin);
        assert_eq!(route(A100, 4096, 1, 9216), Route::Thin);
        assert_eq!(route(A100, 12, 4096, 9216), Route::Native);
        assert!(choose(V100, Method::Int8, shape(64, 64, 64)).is_err());
        // Few tiles and much depth: the card is filled by splitting.
        let plan = choose(A100, Method::Auto, shape(512, 49, 4608)).unwrap();
        assert!(plan.splits >= 20, "{plan:?}");
        assert_eq!(choose(A100, Method::Auto, shape(4096, 4096, 512)).unwrap().splits, 1);
    }
}
