use super::*;
use num_traits::AsPrimitive;
use proptest::prelude::*;

/// A slice with a matrix in it at random strides, and the matrix as rows.
fn matrix<T: Word>(
    rows: usize,
    columns: usize,
    transposed: bool,
    pad: usize,
    seed: &mut u64,
) -> (Vec<T>, usize, usize) {
    let (outer, inner) = if transposed { (columns, rows) } else { (rows, columns) };
    let stride = inner + pad;
    let data = (0..outer * stride).map(|_| T::of_u64(word(seed))).collect();
    if transposed { (data, 1, stride) } else { (data, stride, 1) }
}

/// Words with runs of zeros and ones among random ones: carries and wraps everywhere.
fn word(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    let random = *seed ^ *seed >> 29;
    match random >> 60 {
        0 => u64::MAX,
        1 => 0,
        2 => 1 << 63,
        3 => random | 0xffff_ffff,
        4 => random | 0xfff << 52,
        _ => random.wrapping_mul(0x9e37_79b9_7f4a_7c15),
    }
}

/// The definition, in 128-bit arithmetic.
fn reference<T: Word>(m: usize, n: usize, terms: &[Term<'_, T>], c: &mut [T], accumulate: bool) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = if accumulate { u128::from(AsPrimitive::<u64>::as_(c[i * n + j])) } else { 0 };
            for term in terms {
                for k in 0..term.depth {
                    let a: u64 = term.a.data[i * term.a.row_stride + k * term.a.col_stride].as_();
                    let b: u64 = term.b.data[k * term.b.row_stride + j * term.b.col_stride].as_();
                    sum = (sum + u128::from(a) * u128::from(b)) & u128::from(u64::MAX);
                }
            }
            c[i * n + j] = T::of_u64(sum as u64);
        }
    }
}

fn supported() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_supported())
}

/// In both rings.
fn compare(m: usize, n: usize, depths: &[usize], layout: [bool; 2], pad: usize, accumulate: bool, seed: u64) {
    compare_in::<u32>(m, n, depths, layout, pad, accumulate, seed);
    compare_in::<u64>(m, n, depths, layout, pad, accumulate, seed);
}

fn compare_in<T: Word>(
    m: usize,
    n: usize,
    depths: &[usize],
    layout: [bool; 2],
    pad: usize,
    accumulate: bool,
    mut seed: u64,
) {
    let seed = &mut seed;
    let a: Vec<_> = depths.iter().map(|&k| matrix(m, k, layout[0], pad, seed)).collect();
    let b: Vec<_> = depths.iter().map(|&k| matrix(k, n, layout[1], pad, seed)).collect();
    let view = |(data, row_stride, col_stride): &'_ (Vec<T>, usize, usize)| (data.clone(), *row_stride, *col_stride);
    let (a, b): (Vec<_>, Vec<_>) = (a.iter().map(view).collect(), b.iter().map(view).collect());
    let terms: Vec<Term<'_, T>> = (depths.iter().zip(&a).zip(&b))
        .map(|((&depth, a), b)| Term {
            depth,
            a: MatRef { data: &a.0, row_stride: a.1, col_stride: a.2 },
            b: MatRef { data: &b.0, row_stride: b.1, col_stride: b.2 },
        })
        .collect();
    let start: Vec<T> = (0..m * n).map(|_| T::of_u64(word(seed))).collect();
    let mut expected = start.clone();
    reference(m, n, &terms, &mut expected, accumulate);
    for isa in supported() {
        let mut c = start.clone();
        gemm_with(isa, m, n, &terms, &mut c, accumulate).unwrap();
        assert!(c == expected, "{isa}, {}: {m} × {n}, depths {depths:?}, transposed {layout:?}", T::RING);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_implementation_equals_wide_arithmetic(
        m in 0usize..70, n in 0usize..90,
        depths in prop::collection::vec(0usize..150, 0..4),
        layout in any::<[bool; 2]>(), pad in 0usize..3, accumulate in any::<bool>(), seed in any::<u64>(),
    ) {
        compare(m, n, &depths, layout, pad, accumulate, seed);
    }
}

#[test]
fn depths_and_rows_beyond_one_block() {
    compare(37, 35, &[1100, 63], [false, false], 0, false, 1);
    compare(300, 17, &[700], [true, true], 1, true, 2);
    compare(9, 1100, &[65], [false, true], 0, false, 3);
    compare(1, 300, &[1500, 20], [false, true], 0, true, 4);
    compare(3, 300, &[1500], [true, false], 2, false, 5);
}

/// Lanes are taken one, two or four at a time with four or eight others, depths by vectors and pieces, and rows of a tile four or
/// eight at a time: every remainder of each, on both sides, with depths next to each other and apart.
#[test]
fn every_remainder_of_few_lanes_and_of_rows() {
    for few in 1..=9 {
        for (many, depths) in [(1, [5, 0]), (7, [1033, 3]), (8, [15, 17]), (131, [2, 31])] {
            for layout in [[false, true], [true, false]] {
                compare(few, many, &depths, layout, 1, few % 2 == 0, few as u64);
                compare(many, few, &depths, layout, 0, many == 8, many as u64);
            }
        }
    }
    (10..=33).for_each(|rows| compare(rows, rows, &[rows, 2 * rows + 1], [false, false], 3, false, rows as u64));
}

#[test]
fn all_ones_in_deep_products() {
    fn in_ring<T: Word>() {
        let ones = vec![T::max_value(); 40 * 20_000];
        let (m, n, depth) = (20, 40, 20_000);
        let term = Term { depth, a: MatRef::row_major(&ones, depth), b: MatRef::row_major(&ones, n) };
        for isa in supported() {
            let mut c = vec![T::of_u64(7); m * n];
            gemm_with(isa, m, n, &[term], &mut c, true).unwrap();
            assert!(c.iter().all(|&c| c == T::of_u64(7 + depth as u64)), "{isa}, {}", T::RING); // (−1)·(−1) = 1
        }
    }
    in_ring::<u32>();
    in_ring::<u64>();
}

/// Where halves of words, and carries between them, are at their ends.
#[test]
fn words_whose_halves_are_at_their_ends() {
    let halves = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff_u32];
    let all: Vec<u32> = halves.iter().flat_map(|high| halves.map(|low| high << 16 | low)).collect();
    let (count, depth) = (all.len(), 3);
    let (a, b): (Vec<u32>, Vec<u32>) = (
        (0..count * depth).map(|at| all[at / depth]).collect(),
        (0..depth * count).map(|at| all[at % count]).collect(),
    );
    let term = Term { depth, a: MatRef::row_major(&a, depth), b: MatRef::row_major(&b, count) };
    for isa in supported() {
        let mut c = vec![0; count * count];
        gemm_with(isa, count, count, &[term], &mut c, false).unwrap();
        let expected = |at: usize| all[at / count].wrapping_mul(all[at % count]).wrapping_mul(depth as u32);
        assert!((0..c.len()).all(|at| c[at] == expected(at)), "{isa}");
    }
}

/// 10⁹ products and more, at a depth of 4,000: reduction is a homomorphism, so the kernels of the two rings, whose instructions
/// have nothing in common, must agree modulo 2³².
#[test]
fn a_billion_products_are_the_residues_of_the_wider_ring() {
    let (m, n, depth) = (500, 504, 4_000);
    let mut seed = 17;
    let (a, b): (Vec<u64>, Vec<u64>) =
        ((0..m * depth).map(|_| word(&mut seed)).collect(), (0..n * depth).map(|_| word(&mut seed)).collect());
    let narrow = |words: &[u64]| words.iter().map(|&word| word as u32).collect::<Vec<_>>();
    let (a32, b32) = (narrow(&a), narrow(&b));
    let mut wide = vec![0; m * n];
    let term = Term { depth, a: MatRef::row_major(&a, depth), b: MatRef::row_major(&b, n) };
    gemm_sum(m, n, &[term], &mut wide, false).unwrap();
    let term = Term { depth, a: MatRef::row_major(&a32, depth), b: MatRef::row_major(&b32, n) };
    let mut found = vec![0; m * n];
    gemm_sum(m, n, &[term], &mut found, false).unwrap();
    assert!(found == narrow(&wide));
}

#[test]
fn results_do_not_depend_on_threads() {
    let mut seed = 11;
    let (m, n, depth) = (150, 190, 130);
    let (a, b): (Vec<u64>, Vec<u64>) =
        ((0..m * depth).map(|_| word(&mut seed)).collect(), (0..n * depth).map(|_| word(&mut seed)).collect());
    let term = Term { depth, a: MatRef::row_major(&a, depth), b: MatRef::row_major(&b, n) };
    let mut expected = vec![0_u64; m * n];
    reference(m, n, &[term], &mut expected, false);
    for isa in supported() {
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut c = vec![0; m * n];
            pool.install(|| gemm_with(isa, m, n, &[term], &mut c, false)).unwrap();
            assert!(c == expected, "{isa} on {threads} threads");
        }
    }
}

#[test]
fn wrong_lengths_are_refused_and_nothing_is_written() {
    let data = vec![1_u64; 12];
    let a = MatRef::row_major(&data, 4);
    let mut c = vec![5; 9];
    let short = gemm(3, 3, 5, a, a, &mut c, false);
    assert!(matches!(short, Err(GemmError::Operand { side: "left", term: 0, columns: 5, words: 12, .. })), "{short:?}");
    let output = gemm(3, 4, 3, a, a, &mut c, false);
    assert!(matches!(output, Err(GemmError::Output { expected: 12, found: 9, .. })), "{output:?}");
    let huge = MatRef { data: &data, row_stride: usize::MAX, col_stride: 2 };
    assert!(gemm(3, 3, 4, huge, a, &mut c, false).is_err());
    assert!(matches!(gemm(usize::MAX, 3, 4, a, a, &mut c, false), Err(GemmError::TooLarge { .. })));
    assert_eq!(c, vec![5; 9]);
}
