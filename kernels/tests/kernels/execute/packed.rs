//! Steps on packed bits: planes, sign bit, bit product, truncation.

use crate::support::card::{Buffer, Card, cards};
use crate::support::data::{Draws, SIZES, drawn, words};
use cryptgpu_core::device::cpu::{bit_product, bits, sign, truncation};
use cryptgpu_core::prg::{Randomness, Stream};
use cryptgpu_kernels::{OpenedBits, SignWindow, Summed, TermShare, TreeStep};

fn draws(seed: u8) -> Draws {
    Draws::new(Randomness::Aes128Ctr, seed)
}

/// Words of a plane.
fn plane(n: usize) -> usize {
    n.div_ceil(64)
}

/// `N` streams, and their first words on the card.
fn masks<const N: usize>(card: &Card, draws: &mut Draws, n: usize) -> ([Stream; N], [Buffer; N]) {
    let streams: [Stream; N] = std::array::from_fn(|_| draws.next().0);
    let buffers = streams.each_ref().map(|stream| card.up(&drawn(stream, n)));
    (streams, buffers)
}

#[test]
fn planes_agree() {
    for card in cards() {
        for n in SIZES {
            let x = words(20, n);
            let dx = card.up(&x);
            for (low, width) in [(0, 1), (0, 64), (63, 1), (5, 13), (20, 32), (1, 63)] {
                let mut expected = vec![0; width as usize * plane(n)];
                bits::to_planes(low, width, &x, &mut expected);
                let mut planes = card.blank(expected.len());
                card.kernels.to_planes(&card.stream, low, width, dx.words(), planes.words_mut()).unwrap();
                assert_eq!(card.down(&planes), expected, "bits {low} and {width} more, n = {n}, {}", card.name);
                let (mut back, mut out) = (vec![0; n], card.blank(n));
                bits::from_planes(width, &expected, &mut back);
                card.kernels.from_planes(&card.stream, width, planes.words(), out.words_mut()).unwrap();
                assert_eq!(card.down(&out), back, "{width} bits back, n = {n}, {}", card.name);
            }
        }
    }
}

const WINDOWS: [(u32, u32); 5] = [(0, 64), (0, 32), (13, 32), (20, 16), (48, 16)];

#[test]
fn sharing_of_bits_agrees() {
    let mut draws = draws(1);
    for card in cards() {
        for n in SIZES {
            let x = [words(21, n), words(22, n)];
            let dx = x.each_ref().map(|x| card.up(x));
            for (low, width) in WINDOWS {
                let window = SignWindow::new(low, width).unwrap();
                let len = window.shared_planes() * plane(n);
                let ([stream], [mask]) = masks(card, &mut draws, len);
                let (mut message, mut top, mut top_mask) = (vec![0; len], vec![0; plane(n)], vec![0; plane(n)]);
                sign::share_bits(window, [&x[0], &x[1]], &stream, &mut message, [&mut top, &mut top_mask]);
                let mut out = [card.blank(len), card.blank(plane(n)), card.blank(plane(n))];
                let [m, t, tm] = &mut out;
                let xs = dx.each_ref().map(|x| x.words());
                let (m, t, tm) = (m.words_mut(), t.words_mut(), tm.words_mut());
                card.kernels.sign_share_bits(&card.stream, window, xs, mask.words(), m, t, tm).unwrap();
                let found = out.each_ref().map(|out| card.down(out));
                assert_eq!(found, [message, top, top_mask], "{window:?}, n = {n}, {}", card.name);
            }
        }
    }
}

#[test]
fn sharing_of_carries_agrees() {
    for card in cards() {
        for n in SIZES {
            let b = words(23, n);
            let db = card.up(&b);
            for (low, width) in WINDOWS {
                for constants in [false, true] {
                    let window = SignWindow::new(low, width).unwrap();
                    let shared = words(24, window.shared_planes() * plane(n));
                    let mut carry = words(25, window.carry_planes() * plane(n));
                    let mut top = vec![0; plane(n)];
                    let (mut dc, mut dt) = (card.up(&carry), card.blank(plane(n)));
                    sign::share_carries(window, constants, [&b, &shared], &mut carry, &mut top);
                    let ds = card.up(&shared);
                    let (c, t) = (dc.words_mut(), dt.words_mut());
                    let shared = ds.words();
                    card.kernels.sign_share_carries(&card.stream, window, constants, db.words(), shared, c, t).unwrap();
                    assert_eq!([card.down(&dc), card.down(&dt)], [carry, top], "{window:?}, n = {n}, {}", card.name);
                }
            }
        }
    }
}

#[test]
fn levels_of_the_tree_and_first_planes_agree() {
    for card in cards() {
        for n in SIZES {
            for half in [1, 2, 4, 8] {
                let (planes_in, planes_out) = ((4 * half - 1) * plane(n), (2 * half - 1) * plane(n));
                let [a, b, second] = [26, 27, 29].map(|seed| words(seed, planes_in));
                let [held, mask, more] = [28, 40, 41].map(|seed| words(seed, planes_out));
                let [da, db, ds, dmask, dmore] = [&a, &b, &second, &mask, &more].map(|words| card.up(words));
                let [mut onto, mut masked] = [card.up(&held), card.blank(planes_out)];
                // A role 0's, on top of what is there; and one of the other roles', with a component in two parts.
                let (x, y) =
                    ([Summed(da.words(), None), Summed(db.words(), None)], Summed(ds.words(), Some(da.words())));
                let masks = Some([dmask.words(), dmore.words()]);
                let steps = vec![
                    TreeStep { elements: n, half, x, masks: None, out: onto.words_mut() },
                    TreeStep { elements: n, half, x: [y, x[1]], masks, out: masked.words_mut() },
                ];
                card.kernels.sign_tree(&card.stream, steps).unwrap();
                let (mut expected, mut expected_masked) = (held, vec![0; planes_out]);
                let x = [Summed(&a[..], None), Summed(&b[..], None)];
                sign::tree_step(TreeStep { elements: n, half, x, masks: None, out: &mut expected });
                let (x, masks) = ([Summed(&second[..], Some(&a[..])), x[1]], Some([&mask[..], &more[..]]));
                sign::tree_step(TreeStep { elements: n, half, x, masks, out: &mut expected_masked });
                let found = [card.down(&onto), card.down(&masked)];
                assert_eq!(found, [expected, expected_masked], "half {half}, n = {n}, {}", card.name);

                let (planes, mut first) = (4 * half - 1, vec![0; plane(n)]);
                sign::first_plane(n, planes, &a, &mut first);
                let mut out = card.blank(plane(n));
                card.kernels.first_plane(&card.stream, n, planes, da.words(), out.words_mut()).unwrap();
                assert_eq!(card.down(&out), first, "first of {planes} planes, n = {n}, {}", card.name);
            }
        }
    }
}

#[test]
fn bit_products_agree() {
    let mut draws = draws(4);
    for card in cards() {
        for n in SIZES {
            let bits = [words(30, plane(n)), words(31, plane(n))];
            let (x, e) = ([words(32, n), words(33, n)], words(34, n));
            let on_card = |words: &[Vec<u64>; 2]| [card.up(&words[0]), card.up(&words[1])];
            let (db, dx, de) = (on_card(&bits), on_card(&x), card.up(&e));
            let (b, xs) = (db.each_ref().map(|b| b.words()), dx.each_ref().map(|x| x.words()));
            let (hb, hx) = ([&bits[0][..], &bits[1][..]], [&x[0][..], &x[1][..]]);
            let (kernels, stream) = (&card.kernels, &card.stream);

            let (s, m) = masks::<5>(card, &mut draws, n);
            let mut expected = [vec![0; n], vec![0; n], vec![0; n]];
            let [message, y0, y1] = &mut expected;
            bit_product::role0(hb, s.each_ref(), message, y0, y1);
            let [alpha, beta, mut f, mut mu, mut nu] = m;
            let pads = [alpha.words(), beta.words()];
            kernels.bit_product_role0(stream, b, pads, f.words_mut(), nu.words_mut(), mu.words_mut()).unwrap();
            assert_eq!([&f, &nu, &mu].map(|out| card.down(out)), expected, "role 0, n = {n}, {}", card.name);

            let (s, [mut message]) = masks::<1>(card, &mut draws, n);
            let mut expected = vec![0; n];
            bit_product::open(hb, hx, &s[0], &mut expected);
            kernels.bit_product_open(stream, b, xs, message.words_mut()).unwrap();
            assert_eq!(card.down(&message), expected, "opening, n = {n}, {}", card.name);

            let (s, [mut message]) = masks::<1>(card, &mut draws, n);
            let mut expected = vec![0; n];
            bit_product::close(hb, hx, &e, &s[0], &mut expected);
            kernels.bit_product_close(stream, b, xs, de.words(), message.words_mut()).unwrap();
            assert_eq!(card.down(&message), expected, "closing, n = {n}, {}", card.name);

            let (s, [mut message]) = masks::<1>(card, &mut draws, n);
            bit_product::convert_role0(&bits[0], &s[0], &mut expected);
            kernels.convert_role0(stream, b[0], message.words_mut()).unwrap();
            assert_eq!(card.down(&message), expected, "conversion at role 0, n = {n}, {}", card.name);
            for with_v in [false, true] {
                let (s, [mut message]) = masks::<1>(card, &mut draws, n);
                bit_product::convert_term(&bits[1], &e, &s[0], with_v, &mut expected);
                kernels.convert_term(stream, b[1], de.words(), with_v, message.words_mut()).unwrap();
                assert_eq!(card.down(&message), expected, "conversion term, n = {n}, {}", card.name);
            }
        }
    }
}

const CUTS: [u32; 5] = [1, 13, 20, 32, 62];

#[test]
fn truncations_of_products_agree() {
    let mut draws = draws(5);
    for card in cards() {
        let (kernels, stream) = (&card.kernels, &card.stream);
        for n in SIZES {
            let u = words(40, n);
            let packed = [words(41, plane(n)), words(42, plane(n)), words(43, plane(n))];
            let (du, dp) = (card.up(&u), packed.each_ref().map(|bits| card.up(bits)));
            for offset in [false, true] {
                let mut expected = vec![0; plane(n)];
                truncation::open_top(offset, &u, &packed[0], &mut expected);
                let mut out = card.blank(plane(n));
                kernels.truncation_open_top(stream, offset, du.words(), dp[0].words(), out.words_mut()).unwrap();
                assert_eq!(card.down(&out), expected, "top bits, n = {n}, {}", card.name);
            }
            let opened = OpenedBits { e: dp[0].words(), f: dp[1].words(), pad: dp[2].words() };
            let host = OpenedBits { e: &packed[0][..], f: &packed[1], pad: &packed[2] };
            for d in CUTS {
                let count = d as usize * plane(n);
                let ([gamma], [dg]) = masks(card, &mut draws, n);
                let mut planes = vec![0; count];
                truncation::product_deal(d, n, &packed[0], &packed[1], &gamma, &mut planes);
                let mut out = card.blank(count);
                let bits = [dp[0].words(), dp[1].words()];
                kernels.truncation_deal(stream, d, bits, dg.words(), out.words_mut()).unwrap();
                assert_eq!(card.down(&out), planes, "dealing, d = {d}, n = {n}, {}", card.name);

                let ([y2], [dy2]) = masks(card, &mut draws, n);
                let (mut message, mut y) = (vec![0; n], vec![0; n]);
                truncation::product_role1(d, &u, host, &planes, &y2, &mut message, &mut y);
                let mut m = card.blank(n);
                let (gamma, y2) = (out.words(), dy2.words());
                kernels.truncation_role1(stream, d, du.words(), opened, gamma, y2, m.words_mut()).unwrap();
                assert_eq!(card.down(&m), message, "role 1, d = {d}, n = {n}, {}", card.name);

                let ([gamma, y0], [mut dg, dy0]) = masks(card, &mut draws, n);
                truncation::product_role0(d, &u, host, [&gamma, &y0], &mut message, &mut y);
                kernels.truncation_role0(stream, d, du.words(), opened, dy0.words(), dg.words_mut()).unwrap();
                assert_eq!(card.down(&dg), message, "role 0, d = {d}, n = {n}, {}", card.name);
            }
        }
    }
}

#[test]
fn truncations_of_replicated_tensors_agree() {
    let mut draws = draws(6);
    for card in cards() {
        let (kernels, stream) = (&card.kernels, &card.stream);
        for n in SIZES {
            let x = [words(50, n), words(51, n)];
            let dx = x.each_ref().map(|x| card.up(x));
            let xs = dx.each_ref().map(|x| x.words());
            for d in CUTS {
                let count = d as usize * plane(n);
                let (s, [a1, mut mu, nu, y1]) = masks::<4>(card, &mut draws, n);
                let (mut message, mut y) = (vec![0; n + count], vec![0; n]);
                truncation::shared_role0(d, [&x[0], &x[1]], s.each_ref(), &mut message, &mut y);
                let mut planes = card.blank(count);
                let used = [a1.words(), nu.words(), y1.words()];
                kernels.truncation_shared_role0(stream, d, xs, used, mu.words_mut(), planes.words_mut()).unwrap();
                let found = [card.down(&mu), card.down(&planes)].concat();
                assert_eq!(found, message, "role 0, d = {d}, n = {n}, {}", card.name);

                let ([mask, share], [dmask, dshare]) = masks(card, &mut draws, n);
                let received = words(52, count);
                let dr = card.up(&received);
                let cases = [
                    (TermShare::Drawn(&share), TermShare::Drawn(dshare.words())),
                    (TermShare::Received(&received[..]), TermShare::Received(dr.words())),
                ];
                for (host, device) in cases {
                    let mut expected = vec![0; count];
                    truncation::shared_term(d, &x[0], host, &mask, &mut expected);
                    let mut out = card.blank(count);
                    let mask = dmask.words();
                    kernels.truncation_shared_term(stream, d, xs[0], device, mask, out.words_mut()).unwrap();
                    assert_eq!(card.down(&out), expected, "term, d = {d}, n = {n}, {}", card.name);
                }

                let (second, mut expected) = (words(53, count), vec![0; n]);
                truncation::shared_close(d, &x[1], [&received, &second], &mut expected);
                let (ds, mut out) = (card.up(&second), card.blank(n));
                let terms = [dr.words(), ds.words()];
                kernels.truncation_shared_close(stream, d, xs[1], terms, out.words_mut()).unwrap();
                assert_eq!(card.down(&out), expected, "last step, d = {d}, n = {n}, {}", card.name);
            }
        }
    }
}
