//! Element-wise operations, sums.

use crate::support::card::cards;
use crate::support::data::{SIZES, words};
use cryptgpu_core::device::cpu::elementwise as cpu;
use cryptgpu_kernels::{Binary, BlockOrder, Combine, Combined, Unary};

#[test]
fn binary_operations_agree() {
    let operations = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Xor, Binary::And];
    for card in cards() {
        for n in SIZES {
            let (x, y) = (words(1, n), words(2, n));
            for op in operations {
                let mut expected = vec![0; n];
                cpu::binary(op, &x, &y, &mut expected);
                let mut out = card.blank(n);
                let (dx, dy) = (card.up(&x), card.up(&y));
                card.kernels.binary(&card.stream, op, dx.words(), dy.words(), out.words_mut()).unwrap();
                assert_eq!(card.down(&out), expected, "{op:?}, n = {n}, {}", card.name);
            }
        }
    }
}

#[test]
fn operations_with_a_constant_agree() {
    for card in cards() {
        for n in [0, 1, 33, 1613] {
            let x = words(3, n);
            let dx = card.up(&x);
            let check = |op: Unary| {
                let mut expected = vec![0; n];
                cpu::unary(op, &x, &mut expected);
                let mut out = card.blank(n);
                card.kernels.unary(&card.stream, op, dx.words(), out.words_mut()).unwrap();
                assert_eq!(card.down(&out), expected, "{op:?}, n = {n}, {}", card.name);
            };
            for c in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
                check(Unary::Add(c));
                check(Unary::Mul(c));
                check(Unary::Xor(c));
                check(Unary::And(c));
            }
            for k in [0, 1, 31, 32, 63, 64, 200] {
                check(Unary::Shl(k));
                check(Unary::Shr(k));
                check(Unary::Sar(k));
            }
        }
    }
}

#[test]
fn constants_product_shares_and_sums_agree() {
    for card in cards() {
        for n in SIZES {
            let x = [words(4, n), words(5, n)];
            let y = [words(6, n), words(7, n)];
            let mut expected = vec![0; n];
            cpu::product_share([&x[0], &x[1]], [&y[0], &y[1]], &mut expected);
            let (dx, dy) = (x.each_ref().map(|x| card.up(x)), y.each_ref().map(|y| card.up(y)));
            let mut out = card.blank(n);
            let (xs, ys) = (dx.each_ref().map(|x| x.words()), dy.each_ref().map(|y| y.words()));
            card.kernels.product_share(&card.stream, xs, ys, out.words_mut()).unwrap();
            assert_eq!(card.down(&out), expected, "product share, n = {n}, {}", card.name);

            card.kernels.fill_constant(&card.stream, 42, out.words_mut()).unwrap();
            assert_eq!(card.down(&out), vec![42; n], "constant, n = {n}, {}", card.name);

            let mut sum = [0];
            cpu::sum(&x[0], &mut sum);
            let mut out = card.up(&[1000]);
            card.kernels.sum(&card.stream, xs[0], out.words_mut()).unwrap();
            assert_eq!(card.down(&out), [sum[0].wrapping_add(1000)], "sum, n = {n}, {}", card.name);
        }
    }
}

#[test]
fn a_sum_of_more_than_the_grid_agrees() {
    for card in cards() {
        let n = 1_000_003;
        let x = words(8, n);
        let mut sum = [0];
        cpu::sum(&x, &mut sum);
        let (dx, mut out) = (card.up(&x), card.up(&[0]));
        card.kernels.sum(&card.stream, dx.words(), out.words_mut()).unwrap();
        assert_eq!(card.down(&out), sum, "{}", card.name);
    }
}

#[test]
fn biases_agree() {
    for card in cards() {
        for (images, channels, inner) in
            [(1, 1, 1), (2, 3, 1), (2, 10, 49), (3, 7, 33), (0, 5, 5), (2, 0, 4), (2, 4, 0)]
        {
            let (bias, mut z) = (words(9, channels), words(10, images * channels * inner));
            let (db, mut dz) = (card.up(&bias), card.up(&z));
            cpu::add_bias(&bias, inner, &mut z);
            card.kernels.add_bias(&card.stream, db.words(), inner, dz.words_mut()).unwrap();
            assert_eq!(card.down(&dz), z, "{images} images of {channels} × {inner}, {}", card.name);
        }
    }
}

#[test]
fn wrong_lengths_are_refused_before_anything_is_launched() {
    for card in cards() {
        let (x, y) = (card.up(&words(1, 10)), card.up(&words(2, 11)));
        let mut out = card.up(&[7; 10]);
        let error = card.kernels.binary(&card.stream, Binary::Add, x.words(), y.words(), out.words_mut()).unwrap_err();
        assert!(error.to_string().contains("y has 11 words, 10 are needed"), "{error}");
        let error = card.kernels.sum(&card.stream, x.words(), out.words_mut()).unwrap_err();
        assert!(error.to_string().contains("out has 10 words, 1 are needed"), "{error}");
        assert!(x.words().slice(3..11).is_err());
        assert_eq!(card.down(&out), [7; 10]);
    }
}

#[test]
fn orders_of_blocks_agree() {
    let swapped = BlockOrder::swapped(3, [5, 7], 9);
    let one_by_one = BlockOrder::swapped(1, [40, 33], 1);
    let orders = [swapped, BlockOrder { reversed: true, ..swapped }, one_by_one, BlockOrder::mirrored([2, 5, 3], 70)];
    for card in cards() {
        for order in orders {
            let x = words(8, order.words());
            let mut expected = vec![0; x.len()];
            cpu::reorder(&order, &x, &mut expected);
            let (dx, mut out) = (card.up(&x), card.blank(x.len()));
            card.kernels.reorder(&card.stream, &order, dx.words(), out.words_mut()).unwrap();
            assert_eq!(card.down(&out), expected, "{order:?}, {}", card.name);
            let short = card.up(&x[1..]);
            assert!(card.kernels.reorder(&card.stream, &order, short.words(), out.words_mut()).is_err());
        }
    }
}

/// Sums and XORs of none to five parts, with and without a constant, more than a launch has room for; and refusals.
#[test]
fn several_combinations_agree() {
    for card in cards() {
        let sizes: Vec<usize> = SIZES.into_iter().chain([1, 0, 7, 300, 9]).collect();
        let parts: Vec<Vec<Vec<u64>>> =
            sizes.iter().enumerate().map(|(i, &n)| (0..i % 6).map(|k| words(50 + k as u64, n)).collect()).collect();
        let on_card: Vec<Vec<_>> = parts.iter().map(|all| all.iter().map(|words| card.up(words)).collect()).collect();
        let how = |i: usize| if i.is_multiple_of(3) { Combine::Xor } else { Combine::Add };
        let constant = |i: usize| if i.is_multiple_of(2) { u64::MAX } else { 0 };
        let mut outs: Vec<_> = sizes.iter().map(|&n| card.blank(n)).collect();
        let jobs = outs.iter_mut().zip(&on_card).enumerate().map(|(i, (out, parts))| {
            let parts = parts.iter().map(|part| part.words()).collect();
            Combined { how: how(i), parts, constant: constant(i), out: out.words_mut() }
        });
        card.kernels.combine(&card.stream, jobs.collect()).unwrap();
        for (i, out) in outs.iter().enumerate() {
            let mut expected = vec![0; sizes[i]];
            let slices = parts[i].iter().map(|part| &part[..]).collect();
            let (how, constant) = (how(i), constant(i));
            cpu::combine(vec![Combined { how, parts: slices, constant, out: &mut expected[..] }]);
            let join = |sum: u64, x: u64| if how == Combine::Add { sum.wrapping_add(x) } else { sum ^ x };
            let by_hand = |j: usize| parts[i].iter().fold(constant, |sum, part| join(sum, part[j]));
            assert!((0..sizes[i]).all(|j| expected[j] == by_hand(j)));
            assert_eq!(card.down(out), expected, "combination {i}, {}", card.name);
        }
        let (x, mut out) = (card.up(&[1; 8]), card.blank(8));
        let many = Combined::sum([x.words(); 6], out.words_mut());
        assert!(card.kernels.combine(&card.stream, vec![many]).is_err(), "six parts");
        let mut short = card.blank(7);
        assert!(card.kernels.combine(&card.stream, vec![Combined::sum([x.words()], short.words_mut())]).is_err());
    }
}
