//! Element-wise operations, sums.

use super::Elements;
use crate::support::card::cards;
use crate::support::data::{SIZES, words};
use cryptgpu_core::device::cpu::elementwise as cpu;
use cryptgpu_kernels::{Binary, BlockOrder, Combine, Combined, Unary};

in_both_rings!(
    binary_operations_agree,
    operations_with_a_constant_agree,
    constants_product_shares_and_sums_agree,
    biases_agree,
    orders_of_blocks_agree,
    several_combinations_agree
);

fn binary_operations_agree<W: Elements>() {
    let operations = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Xor, Binary::And];
    for card in cards() {
        for n in SIZES {
            let (x, y) = (words(1, n), words(2, n));
            for op in operations {
                let mut expected = vec![0; n];
                cpu::binary(op, W::of(&x), W::of(&y), W::of_mut(&mut expected));
                let mut out = card.blank(n);
                let (dx, dy) = (card.up(&x), card.up(&y));
                let (dx, dy) = (dx.words().elements::<W>(), dy.words().elements());
                card.kernels.binary(&card.stream, op, dx, dy, out.words_mut().elements()).unwrap();
                assert_eq!(card.down(&out), expected, "{op:?}, n = {n}, {}", card.name);
            }
        }
    }
}

fn operations_with_a_constant_agree<W: Elements>() {
    for card in cards() {
        for n in [0, 1, 33, 1613] {
            let x = words(3, n);
            let dx = card.up(&x);
            let check = |op: Unary| {
                let mut expected = vec![0; n];
                cpu::unary(op, W::of(&x), W::of_mut(&mut expected));
                let mut out = card.blank(n);
                let (dx, to) = (dx.words().elements::<W>(), out.words_mut().elements());
                card.kernels.unary(&card.stream, op, dx, to).unwrap();
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

fn constants_product_shares_and_sums_agree<W: Elements>() {
    for card in cards() {
        for n in SIZES {
            let x = [words(4, n), words(5, n)];
            let y = [words(6, n), words(7, n)];
            let mut expected = vec![0; n];
            cpu::product_share([W::of(&x[0]), W::of(&x[1])], [W::of(&y[0]), W::of(&y[1])], W::of_mut(&mut expected));
            let (dx, dy) = (x.each_ref().map(|x| card.up(x)), y.each_ref().map(|y| card.up(y)));
            let mut out = card.blank(n);
            let xs = dx.each_ref().map(|x| x.words().elements::<W>());
            let ys = dy.each_ref().map(|y| y.words().elements());
            card.kernels.product_share(&card.stream, xs, ys, out.words_mut().elements()).unwrap();
            assert_eq!(card.down(&out), expected, "product share, n = {n}, {}", card.name);

            card.kernels.fill_constant(&card.stream, 42, out.words_mut()).unwrap();
            assert_eq!(card.down(&out), vec![42; n], "constant, n = {n}, {}", card.name);

            let mut sum = [0];
            cpu::sum(W::of(&x[0]), W::first_mut(&mut sum, 1));
            // What the sum is added to, and what stands behind it in its word.
            let beside = if W::PACKED == 2 { 7 << 32 } else { 0 };
            let mut out = card.up(&[1000 + beside]);
            card.kernels.sum(&card.stream, xs[0], out.words_mut().first(1)).unwrap();
            let mut expected = [1000 + beside];
            let total = W::of(&sum)[0].wrapping_add(&W::of(&expected)[0]);
            W::of_mut(&mut expected)[0] = total;
            assert_eq!(card.down(&out), expected, "sum, n = {n}, {}", card.name);
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

fn biases_agree<W: Elements>() {
    for card in cards() {
        for (images, channels, inner) in
            [(1, 1, 1), (2, 3, 1), (2, 10, 49), (3, 7, 33), (0, 5, 5), (2, 0, 4), (2, 4, 0)]
        {
            let n = images * channels * inner;
            let (bias, mut z) = (words(9, W::memory(channels)), words(10, W::memory(n)));
            let (db, mut dz) = (card.up(&bias), card.up(&z));
            W::of_mut(&mut z)[n..].fill(W::zero());
            cpu::add_bias(W::first(&bias, channels), inner, W::first_mut(&mut z, n));
            let bias = db.words().first::<W>(channels);
            card.kernels.add_bias(&card.stream, bias, inner, dz.words_mut().first(n)).unwrap();
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
        assert!(error.to_string().contains("y has 11 elements or words of bits, 10 are needed"), "{error}");
        let error = card.kernels.sum(&card.stream, x.words(), out.words_mut()).unwrap_err();
        assert!(error.to_string().contains("out has 10 elements or words of bits, 1 are needed"), "{error}");
        assert!(x.words().slice(3..11).is_err());
        assert_eq!(card.down(&out), [7; 10]);
    }
}

fn orders_of_blocks_agree<W: Elements>() {
    let swapped = BlockOrder::swapped(3, [5, 7], 9);
    let one_by_one = BlockOrder::swapped(1, [40, 33], 1);
    let orders = [swapped, BlockOrder { reversed: true, ..swapped }, one_by_one, BlockOrder::mirrored([2, 5, 3], 71)];
    for card in cards() {
        for order in orders {
            let n = order.words();
            let x = words(8, W::memory(n));
            let mut expected = vec![0; x.len()];
            cpu::reorder(&order, W::of(&x), W::first_mut(&mut expected, n));
            let (dx, mut out) = (card.up(&x), card.blank(x.len()));
            let from = dx.words().elements::<W>();
            card.kernels.reorder(&card.stream, &order, from, out.words_mut().first(n)).unwrap();
            assert_eq!(card.down(&out), expected, "{order:?}, {}", card.name);
            let short = card.up(&x[1..]);
            assert!(
                card.kernels
                    .reorder(&card.stream, &order, short.words().elements::<W>(), out.words_mut().first(n))
                    .is_err()
            );
        }
    }
}

/// Sums and XORs of none to five parts, with and without a constant, more than a launch has room for; and refusals.
fn several_combinations_agree<W: Elements>() {
    for card in cards() {
        let sizes: Vec<usize> = SIZES.into_iter().chain([1, 0, 7, 300, 9]).collect();
        let parts: Vec<Vec<Vec<u64>>> =
            sizes.iter().enumerate().map(|(i, &n)| (0..i % 6).map(|k| words(50 + k as u64, n)).collect()).collect();
        let on_card: Vec<Vec<_>> = parts.iter().map(|all| all.iter().map(|words| card.up(words)).collect()).collect();
        let how = |i: usize| if i.is_multiple_of(3) { Combine::Xor } else { Combine::Add };
        let constant = |i: usize| if i.is_multiple_of(2) { u64::MAX } else { 0 };
        let mut outs: Vec<_> = sizes.iter().map(|&n| card.blank(n)).collect();
        let jobs = outs.iter_mut().zip(&on_card).enumerate().map(|(i, (out, parts))| {
            let parts = parts.iter().map(|part| part.words().elements::<W>()).collect();
            Combined { how: how(i), parts, constant: constant(i), out: out.words_mut().elements() }
        });
        card.kernels.combine(&card.stream, jobs.collect()).unwrap();
        for (i, out) in outs.iter().enumerate() {
            let mut expected = vec![0; sizes[i]];
            let slices = parts[i].iter().map(|part| W::of(part)).collect();
            let (how, constant) = (how(i), constant(i));
            cpu::combine(vec![Combined { how, parts: slices, constant, out: W::of_mut(&mut expected[..]) }]);
            assert_eq!(card.down(out), expected, "combination {i}, {}", card.name);
        }
        let (x, mut out) = (card.up(&[1; 8]), card.blank(8));
        let many = Combined::sum([x.words().elements::<W>(); 6], out.words_mut().elements());
        assert!(card.kernels.combine(&card.stream, vec![many]).is_err(), "six parts");
        let mut short = card.blank(7);
        assert!(
            card.kernels
                .combine(&card.stream, vec![Combined::sum([x.words().elements::<W>()], short.words_mut().elements())])
                .is_err()
        );
    }
}
