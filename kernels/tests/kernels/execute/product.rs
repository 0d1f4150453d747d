//! Ring products and convolutions by every method.

use super::Elements;
use super::pool::device_window;
use crate::support::card::{Card, cards};
use crate::support::data::words;
use cryptgpu_core::device::cpu::{conv, gemm};
use cryptgpu_core::device::{ConvGeometry, PoolGeometry};
use cryptgpu_kernels::{Conv2d, ConvTerm, Matrix, Method, Plan, Route, Term, WordsMut};

const METHODS: [Method; 6] = [
    Method::Auto,
    Method::Native,
    Method::Int8,
    Method::Double { limbs: 3 },
    Method::Double { limbs: 4 },
    Method::Double { limbs: 8 },
];

in_both_rings!(
    products_agree_by_every_method,
    thin_products_agree,
    deep_products_are_split_and_exact,
    convolutions_agree_by_every_method,
    depthwise_weight_gradients_agree
);

/// Compares a product of two terms with the CPU's; `layout` says which of A and B are transposed in memory.
fn check<W: Elements>(card: &Card, method: Method, [m, n]: [usize; 2], depths: [usize; 2], layout: [bool; 2]) {
    let data: Vec<[Vec<u64>; 2]> = depths
        .iter()
        .zip(60..)
        .map(|(&k, seed)| [words(seed, W::memory(m * k)), words(seed + 10, W::memory(k * n))])
        .collect();
    let mut expected = vec![0; W::memory(m * n)];
    let terms: Vec<gemm::Term<W>> = (0..2)
        .map(|t| {
            let (depth, [a, b]) = (depths[t], data[t].each_ref().map(|words| W::of(words)));
            let (a, b) = match layout {
                [false, false] => (gemm::MatRef::row_major(a, depth), gemm::MatRef::row_major(b, n)),
                [false, true] => (gemm::MatRef::row_major(a, depth), gemm::MatRef::row_major(b, depth).transposed()),
                [true, false] => (gemm::MatRef::row_major(a, m).transposed(), gemm::MatRef::row_major(b, n)),
                [true, true] => {
                    (gemm::MatRef::row_major(a, m).transposed(), gemm::MatRef::row_major(b, depth).transposed())
                }
            };
            gemm::Term { depth, a, b }
        })
        .collect();
    gemm::gemm_sum(m, n, &terms, W::first_mut(&mut expected, m * n), false).unwrap();

    let buffers: Vec<_> = data.iter().map(|[a, b]| [card.up(a), card.up(b)]).collect();
    let device: Vec<Term<W>> = (0..2)
        .map(|t| {
            let (depth, [a, b]) = (depths[t], buffers[t].each_ref().map(|buffer| buffer.words().elements()));
            let a = if layout[0] { Matrix::row_major(a, m).transposed() } else { Matrix::row_major(a, depth) };
            let b = if layout[1] { Matrix::row_major(b, depth).transposed() } else { Matrix::row_major(b, n) };
            Term { depth, a, b }
        })
        .collect();
    let mut out = card.blank(expected.len());
    card.kernels.gemm(&card.stream, method, [m, n], &device, out.words_mut().first(m * n)).unwrap();
    assert!(card.down(&out) == expected, "{method:?}, {m} × {n}, depths {depths:?}, {layout:?}, {}", card.name);
}

fn products_agree_by_every_method<W: Elements>() {
    let shapes = [
        ([1, 1], [1, 1]),
        ([31, 33], [32, 31]),
        ([64, 64], [64, 0]),
        ([65, 63], [33, 17]),
        ([17, 130], [100, 1]),
        ([0, 5], [3, 3]),
        ([5, 0], [3, 3]),
        ([20, 20], [0, 0]),
    ];
    for card in cards() {
        for method in METHODS.into_iter().filter(|&method| has(card, method)) {
            for (shape, depths) in shapes {
                check::<W>(card, method, shape, depths, [false, false]);
                check::<W>(card, method, shape, depths, [false, true]);
            }
            check::<W>(card, method, [40, 50], [37, 35], [true, false]);
            check::<W>(card, method, [40, 50], [37, 35], [true, true]);
        }
    }
}

fn thin_products_agree<W: Elements>() {
    for card in cards() {
        for (shape, depths) in [([1, 300], [257, 64]), ([8, 40], [100, 100]), ([3, 10], [500, 500]), ([70, 2], [65, 1])]
        {
            let plan = card.kernels.plan_gemm::<W>(Method::Auto, shape, depths).unwrap();
            assert_eq!(plan.route, Route::Thin);
            for layout in [[false, false], [false, true], [true, false]] {
                check::<W>(card, Method::Auto, shape, depths, layout);
            }
        }
    }
}

#[test]
fn accumulators_of_limbs_wrap_and_stay_exact() {
    for card in cards() {
        // The largest depth of one part, every word at its largest: sums of diagonals 4 to 7 pass 2³².
        let (m, n, depth) = (16, 16, 16_384);
        let (da, db) = (card.up(&vec![u64::MAX; m * depth]), card.up(&vec![u64::MAX; (depth + 1) * n]));
        let mut out = card.blank(m * n);
        let product = |depth: usize, splits: u32, out: WordsMut| {
            let (a, b) = (Matrix::row_major(da.words(), depth), Matrix::row_major(db.words(), n));
            let plan = Plan { route: Route::Int8, splits };
            card.kernels.gemm_by(&card.stream, plan, [m, n], &[Term { depth, a, b }], out)
        };
        if !has(card, Method::Int8) {
            continue;
        }
        product(depth, 1, out.words_mut()).unwrap();
        assert_eq!(card.down(&out), vec![depth as u64; m * n], "(−1)² summed, {}", card.name);
        // One word deeper is refused in one part.
        assert!(
            card.kernels
                .gemm_by(
                    &card.stream,
                    Plan { route: Route::Int8, splits: 1 },
                    [1, n],
                    &[Term {
                        depth: depth + 1,
                        a: Matrix::row_major(da.words(), 1),
                        b: Matrix::row_major(db.words(), n)
                    }],
                    card.blank(n).words_mut(),
                )
                .is_err()
        );
        assert!(product(100, 0, out.words_mut()).is_err());

        // Those of 32 bits may wrap at any depth.
        let (m, n, depth) = (2, 4, 70_000);
        let (da, db) = (card.up(&vec![u64::MAX; m * depth / 2]), card.up(&vec![u64::MAX; depth * n / 2]));
        let (a, b) = (da.words().elements::<u32>(), db.words().elements());
        let term = Term { depth, a: Matrix::row_major(a, depth), b: Matrix::row_major(b, n) };
        let (plan, mut out) = (Plan { route: Route::Int8, splits: 1 }, card.blank(m * n / 2));
        card.kernels.gemm_by(&card.stream, plan, [m, n], &[term], out.words_mut().elements()).unwrap();
        assert_eq!(card.down(&out), vec![depth as u64 * (1 + (1 << 32)); m * n / 2], "{}", card.name);
    }
}

fn deep_products_are_split_and_exact<W: Elements>() {
    for card in cards() {
        let method = if has(card, Method::Int8) { Method::Int8 } else { Method::Native };
        let plan = card.kernels.plan_gemm::<W>(method, [16, 16], [5000, 1200]).unwrap();
        assert!(plan.splits > 1);
        check::<W>(card, method, [16, 16], [5000, 1200], [false, true]);
        check::<W>(card, Method::Native, [16, 16], [2000, 1200], [false, true]);
    }
}

/// Whether the card can; if not, that it says so.
fn has(card: &Card, method: Method) -> bool {
    let can = method != Method::Int8 || card.kernels.target().arch >= 80;
    assert_eq!(card.kernels.plan_gemm::<u64>(method, [64, 64], [64, 0]).is_ok(), can, "{method:?}");
    can
}

/// The embedding in doubles with `limbs` limbs and no regard to 2⁵³, as the kernel computes it.
fn embedded(limbs: u32, a: &[u64], b: &[u64]) -> u64 {
    let width = 64u32.div_ceil(limbs);
    let limb = |x: u64, i: u32| (x >> (i * width) & (u64::MAX >> (64 - width))) as f64;
    let mut sums = vec![0f64; limbs as usize];
    for (&x, &y) in a.iter().zip(b) {
        for i in 0..limbs {
            for j in 0..limbs - i {
                sums[(i + j) as usize] = limb(x, i).mul_add(limb(y, j), sums[(i + j) as usize]);
            }
        }
    }
    sums.iter().zip(0..).fold(0, |total: u64, (&sum, d)| total.wrapping_add((sum as i64 as u64) << (d * width)))
}

#[test]
fn too_few_limbs_go_wrong_where_the_bound_says() {
    for card in cards() {
        let product = |limbs: u32, depth: usize| {
            let (a, b) = (vec![u64::MAX; depth], vec![u64::MAX; depth]);
            let (da, db) = (card.up(&a), card.up(&b));
            let term = Term { depth, a: Matrix::row_major(da.words(), depth), b: Matrix::row_major(db.words(), 1) };
            let mut out = card.blank(1);
            let method = Method::DoubleInexact { limbs };
            // The model sums in one part.
            assert_eq!(card.kernels.plan_gemm::<u64>(method, [1, 1], [depth, 0]).unwrap().splits, 1);
            card.kernels.gemm(&card.stream, method, [1, 1], &[term], out.words_mut()).unwrap();
            (card.down(&out)[0], embedded(limbs, &a, &b), depth as u64)
        };
        // Below the bound the result is right; two limbs are wrong at once, because 2³² · 2³² > 2⁵³.
        for (limbs, depth, exact) in [(4, 60, true), (3, 60, true), (8, 60, true), (2, 1, false), (2, 60, false)] {
            let (found, model, right) = product(limbs, depth);
            assert_eq!(found, model, "{limbs} limbs, depth {depth}, {}", card.name);
            assert_eq!(found == right, exact, "{limbs} limbs, depth {depth}, {}", card.name);
        }
        assert!(card.kernels.plan_gemm::<u64>(Method::Double { limbs: 2 }, [1, 1], [1, 0]).is_err());
    }
}

fn conv_cases() -> Vec<ConvGeometry> {
    let conv = |batch, in_channels, input, out_channels, window, groups| ConvGeometry {
        batch,
        in_channels,
        input,
        out_channels,
        window,
        groups,
    };
    let odd = PoolGeometry { kernel: [3, 2], stride: [1, 3], padding: [0, 1, 2, 0], dilation: [2, 1] };
    vec![
        conv(1, 1, [5, 5], 1, PoolGeometry::square(1, 1, 0), 1),
        conv(1, 1, [12, 12], 20, PoolGeometry::square(5, 1, 0), 1),
        conv(2, 3, [9, 7], 5, PoolGeometry::square(3, 2, 1), 1),
        conv(2, 3, [8, 11], 4, odd, 1),
        conv(1, 32, [4, 4], 65, PoolGeometry::square(3, 1, 1), 1),
        conv(3, 64, [3, 3], 10, PoolGeometry::square(1, 1, 0), 1),
        conv(2, 6, [5, 6], 9, PoolGeometry::square(3, 1, 1), 3),
        conv(2, 4, [6, 7], 4, PoolGeometry::square(3, 2, 1), 4),
        conv(1, 3, [5, 5], 6, PoolGeometry::square(3, 1, 1), 3),
        conv(0, 3, [5, 5], 6, PoolGeometry::square(3, 1, 1), 1),
    ]
}

fn convolutions_agree_by_every_method<W: Elements>() {
    for card in cards() {
        for geometry in conv_cases() {
            let [height, width] = geometry.output().unwrap();
            let device = Conv2d {
                batch: geometry.batch,
                in_channels: geometry.in_channels,
                out_channels: geometry.out_channels,
                groups: geometry.groups,
                window: device_window(geometry.input, [height, width], &geometry.window),
            };
            let len = |shape: [usize; 4]| shape.into_iter().product::<usize>();
            let (input, weight) = (len(geometry.input_shape()), len(geometry.weight_shape()));
            let n = len(geometry.output_shape().unwrap());
            let x = [80, 81].map(|seed| words(seed, W::memory(input)));
            let w = [82, 83].map(|seed| words(seed, W::memory(weight)));
            let (dx, dw) = (x.each_ref().map(|x| card.up(x)), w.each_ref().map(|w| card.up(w)));
            for count in [1, 2] {
                let host = (0..count)
                    .map(|t| conv::ConvTerm { input: W::first(&x[t], input), weight: W::first(&w[t], weight) });
                let host: Vec<_> = host.collect();
                let mut expected = vec![0; W::memory(n)];
                conv::conv2d_sum(&geometry, &host, W::first_mut(&mut expected, n)).unwrap();
                let term =
                    |t: usize| ConvTerm::<W> { input: dx[t].words().first(input), weight: dw[t].words().first(weight) };
                let terms: Vec<_> = (0..count).map(term).collect();
                for method in METHODS.into_iter().filter(|&method| has(card, method)) {
                    let mut out = card.blank(expected.len());
                    card.kernels.conv2d(&card.stream, method, &device, &terms, out.words_mut().first(n)).unwrap();
                    let same = card.down(&out) == expected;
                    assert!(same, "{method:?}, {count} terms, {geometry:?}, {}", card.name);
                }
            }
        }
    }
}

fn depthwise_weight_gradients_agree<W: Elements>() {
    for card in cards() {
        for geometry in conv_cases().into_iter().filter(|geometry| geometry.in_channels == geometry.groups) {
            let [height, width] = geometry.output().unwrap();
            let device = Conv2d {
                batch: geometry.batch,
                in_channels: geometry.in_channels,
                out_channels: geometry.out_channels,
                groups: geometry.groups,
                window: device_window(geometry.input, [height, width], &geometry.window),
            };
            let len = |shape: [usize; 4]| shape.into_iter().product::<usize>();
            let (input, output) = (len(geometry.input_shape()), len(geometry.output_shape().unwrap()));
            let n = len(geometry.weight_shape());
            let x = [84, 85].map(|seed| words(seed, W::memory(input)));
            let dy = [86, 87].map(|seed| words(seed, W::memory(output)));
            let (dx, ddy) = (x.each_ref().map(|x| card.up(x)), dy.each_ref().map(|dy| card.up(dy)));
            for count in [1, 2] {
                let term = |t: usize| conv::WeightGradientTerm {
                    gradient: W::first(&dy[t], output),
                    input: W::first(&x[t], input),
                };
                let host: Vec<_> = (0..count).map(term).collect();
                let mut expected = vec![0; W::memory(n)];
                conv::weight_gradient_sum(&geometry, &host, W::first_mut(&mut expected, n)).unwrap();
                let term = |t: usize| ConvTerm::<W> {
                    input: dx[t].words().first(input),
                    weight: ddy[t].words().first(output),
                };
                let terms: Vec<_> = (0..count).map(term).collect();
                let (mut out, kernels) = (card.blank(expected.len()), &card.kernels);
                let found = kernels.depthwise_weight_gradient(&card.stream, &device, &terms, out.words_mut().first(n));
                found.unwrap();
                assert_eq!(card.down(&out), expected, "{count} terms, {geometry:?}, {}", card.name);
            }
        }
    }
}
