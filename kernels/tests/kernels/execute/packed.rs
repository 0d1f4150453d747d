//! Steps on packed bits: planes, sign bit, bit product, truncation.

use super::Elements;
use crate::support::card::{Buffer, Card, cards};
use crate::support::data::{Draws, SIZES, drawn, words};
use cryptgpu_core::device::cpu::{bit_product, bits, sign, truncation};
use cryptgpu_core::prg::{Randomness, Stream};
use cryptgpu_core::ring::Word;
use cryptgpu_kernels::{
    BitTerm, CloseTerms, Deal, OpenTop, Results, SharedBits, SignWindow, Summed, TermShare, TreeStep,
};

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

in_both_rings!(
    planes_agree,
    sharing_of_bits_agrees,
    sharing_of_carries_agrees,
    bit_products_agree,
    truncations_of_products_agree,
    truncations_of_replicated_tensors_agree
);

/// Elements that fill words of memory, and the words.
fn sizes<W: Elements>() -> impl Iterator<Item = (usize, usize)> {
    SIZES.into_iter().map(|n| (W::memory(n) * W::PACKED, W::memory(n)))
}

fn planes_agree<W: Elements>() {
    for card in cards() {
        for (n, w) in sizes::<W>() {
            let x = words(20, w);
            let dx = card.up(&x);
            let all = [(0, 1), (0, 32), (31, 1), (5, 13), (0, 64), (63, 1), (20, 32), (1, 63)];
            for (low, width) in all.into_iter().filter(|(low, width)| low + width <= <W as Word>::BITS) {
                let mut expected = vec![0; width as usize * plane(n)];
                bits::to_planes::<W>(low, width, &x, &mut expected);
                let mut planes = card.blank(expected.len());
                let from = dx.words().elements::<W>();
                card.kernels.to_planes(&card.stream, low, width, from, planes.words_mut()).unwrap();
                assert_eq!(card.down(&planes), expected, "bits {low} and {width} more, n = {n}, {}", card.name);
                let (mut back, mut out) = (vec![0; w], card.blank(w));
                bits::from_planes::<W>(width, &expected, &mut back);
                let to = out.words_mut().elements::<W>();
                card.kernels.from_planes(&card.stream, width, planes.words(), to).unwrap();
                assert_eq!(card.down(&out), back, "{width} bits back, n = {n}, {}", card.name);
            }
        }
    }
}

const WINDOWS: [(u32, u32); 8] = [(0, 64), (0, 32), (13, 32), (7, 16), (16, 16), (48, 16), (5, 8), (24, 8)];

fn sharing_of_bits_agrees<W: Elements>() {
    let mut draws = draws(1);
    for card in cards() {
        for (n, w) in sizes::<W>() {
            let x = [words(21, w), words(22, w)];
            let dx = x.each_ref().map(|x| card.up(x));
            for (low, width) in WINDOWS.into_iter().filter(|(low, width)| low + width <= <W as Word>::BITS) {
                let window = SignWindow::new(low, width).unwrap();
                let len = window.shared_planes() * plane(n);
                let ([stream], [mask]) = masks(card, &mut draws, len);
                let (mut message, mut top, mut top_mask) = (vec![0; len], vec![0; plane(n)], vec![0; plane(n)]);
                let (summand, tops) = (!u64::from(low), [&mut top[..], &mut top_mask[..]]);
                sign::share_bits::<W>(window, [&x[0], &x[1]], summand, &stream, &mut message, tops);
                let mut out = [card.blank(len), card.blank(plane(n)), card.blank(plane(n))];
                let [m, t, tm] = &mut out;
                let xs = dx.each_ref().map(|x| x.words());
                let (m, t, tm) = (m.words_mut(), t.words_mut(), tm.words_mut());
                let mask = mask.words();
                card.kernels.sign_share_bits::<W>(&card.stream, window, xs, summand, mask, m, t, tm).unwrap();
                let found = out.each_ref().map(|out| card.down(out));
                assert_eq!(found, [message, top, top_mask], "{window:?}, n = {n}, {}", card.name);
            }
        }
    }
}

fn sharing_of_carries_agrees<W: Elements>() {
    let mut draws = draws(2);
    for card in cards() {
        for (n, w) in sizes::<W>() {
            let b = words(23, w);
            let db = card.up(&b);
            for (low, width) in WINDOWS.into_iter().filter(|(low, width)| low + width <= <W as Word>::BITS) {
                let window = SignWindow::new(low, width).unwrap();
                let shared = words(24, window.shared_planes() * plane(n));
                let ([stream], [drawn]) = masks(card, &mut draws, shared.len());
                let ds = card.up(&shared);
                let both = [
                    (SharedBits::Drawn(&stream), SharedBits::Drawn(drawn.words())),
                    (SharedBits::Received(&shared[..]), SharedBits::Received(ds.words())),
                ];
                for (shared, on_card) in both {
                    let mask = words(25, window.carry_planes() * plane(n));
                    let mut expected = [vec![0; mask.len()], vec![0; plane(n)], vec![0; plane(n)]];
                    let [carry, top, top_a] = &mut expected;
                    sign::share_carries::<W>(window, &b, shared, &mask, carry, [top, top_a]);
                    let dm = card.up(&mask);
                    let mut out = [mask.len(), plane(n), plane(n)].map(|len| card.blank(len));
                    let [c, top, top_a] = out.each_mut().map(|out| out.words_mut());
                    let (kernels, db, dm) = (&card.kernels, db.words(), dm.words());
                    kernels.sign_share_carries::<W>(&card.stream, window, db, on_card, dm, c, [top, top_a]).unwrap();
                    let found = out.each_ref().map(|out| card.down(out));
                    assert_eq!(found, expected, "{window:?}, n = {n}, {}", card.name);
                }
            }
        }
    }
}

#[test]
fn levels_of_the_tree_agree() {
    for card in cards() {
        for n in SIZES {
            for half in [1, 2, 4, 8] {
                let (planes_in, planes_out) = ((4 * half - 1) * plane(n), (2 * half - 1) * plane(n));
                let [a, b, second] = [26, 27, 29].map(|seed| words(seed, planes_in));
                let [mask, more] = [40, 41].map(|seed| words(seed, planes_out));
                let [da, db, ds, dmask, dmore] = [&a, &b, &second, &mask, &more].map(|words| card.up(words));
                let [mut dealt, mut climbed] = [card.blank(planes_out), card.blank(planes_out)];
                // A role 0's, behind one mask; and one of the other roles', with a component and a mask in two parts.
                let (x, y) =
                    ([Summed(da.words(), None), Summed(db.words(), None)], Summed(ds.words(), Some(da.words())));
                let (one, two) = (Summed(dmask.words(), None), Summed(dmask.words(), Some(dmore.words())));
                let steps = vec![
                    TreeStep { elements: n, half, x, mask: one, out: dealt.words_mut() },
                    TreeStep { elements: n, half, x: [y, x[1]], mask: two, out: climbed.words_mut() },
                ];
                card.kernels.sign_tree(&card.stream, steps).unwrap();
                let [mut expected_dealt, mut expected] = [vec![0; planes_out], vec![0; planes_out]];
                let (x, mask_one) = ([Summed(&a[..], None), Summed(&b[..], None)], Summed(&mask[..], None));
                let out = &mut expected_dealt[..];
                sign::tree_step(TreeStep { elements: n, half, x, mask: mask_one, out });
                let (x, mask) = ([Summed(&second[..], Some(&a[..])), x[1]], Summed(&mask[..], Some(&more[..])));
                sign::tree_step(TreeStep { elements: n, half, x, mask, out: &mut expected[..] });
                let found = [card.down(&dealt), card.down(&climbed)];
                assert_eq!(found, [expected_dealt, expected], "half {half}, n = {n}, {}", card.name);
            }
        }
    }
}

fn bit_products_agree<W: Elements>() {
    let mut draws = draws(4);
    for card in cards() {
        for (n, w) in sizes::<W>() {
            let bits = [words(30, plane(n)), words(31, plane(n))];
            let (x, e) = ([words(32, w), words(33, w)], words(34, w));
            let on_card = |words: &[Vec<u64>; 2]| [card.up(&words[0]), card.up(&words[1])];
            let (db, dx, de) = (on_card(&bits), on_card(&x), card.up(&e));
            let (b, xs) = (db.each_ref().map(|b| b.words()), dx.each_ref().map(|x| x.words()));
            let (hb, hx) = ([&bits[0][..], &bits[1][..]], [&x[0][..], &x[1][..]]);
            let (kernels, stream) = (&card.kernels, &card.stream);

            let (s, m) = masks::<5>(card, &mut draws, w);
            let mut expected = [vec![0; w], vec![0; w], vec![0; w]];
            let [message, y0, y1] = &mut expected;
            bit_product::role0::<W>(hb, s.each_ref(), message, y0, y1);
            let m = m.each_ref().map(|mask| mask.words());
            let mut out = [card.blank(w), card.blank(w), card.blank(w)];
            let [message, y0, y1] = out.each_mut().map(|out| out.words_mut());
            kernels.bit_product_role0::<W>(stream, b, m, message, y0, y1).unwrap();
            assert_eq!(out.each_ref().map(|out| card.down(out)), expected, "role 0, n = {n}, {}", card.name);

            // Role 1's and role 2's, which has one component, in one launch; first, and last.
            for last in [false, true] {
                let (s, m) = masks::<2>(card, &mut draws, w);
                let mut expected = [vec![0; w], vec![0; w]];
                let [one, two] = expected.each_mut().map(|words| &mut words[..]);
                let opened = last.then_some(&e[..]);
                let (both, alone) = (Summed(hx[0], Some(hx[1])), Summed(hx[1], None));
                bit_product::term::<W>(BitTerm { bits: hb, x: both, opened, mask: &s[0], message: one });
                bit_product::term::<W>(BitTerm { bits: hb, x: alone, opened, mask: &s[1], message: two });
                let mut out = [card.blank(w), card.blank(w)];
                let [one, two] = out.each_mut().map(|out| out.words_mut());
                let (opened, masks) = (last.then(|| de.words()), m.each_ref().map(|mask| mask.words()));
                let (both, alone) = (Summed(xs[0], Some(xs[1])), Summed(xs[1], None));
                let terms = vec![
                    BitTerm { bits: b, x: both, opened, mask: masks[0], message: one },
                    BitTerm { bits: b, x: alone, opened, mask: masks[1], message: two },
                ];
                kernels.bit_product_terms::<W>(stream, terms).unwrap();
                let found = out.each_ref().map(|out| card.down(out));
                assert_eq!(found, expected, "terms, last {last}, n = {n}, {}", card.name);
            }

            let (s, [u1]) = masks::<1>(card, &mut draws, w);
            let (mut expected, mut message) = (vec![0; w], card.blank(w));
            bit_product::convert_role0::<W>(&bits[0], &s[0], &mut expected);
            kernels.convert_role0::<W>(stream, b[0], u1.words(), message.words_mut()).unwrap();
            assert_eq!(card.down(&message), expected, "conversion at role 0, n = {n}, {}", card.name);
            for with_v in [false, true] {
                let (s, [mask]) = masks::<1>(card, &mut draws, w);
                let mut message = card.blank(w);
                bit_product::convert_term::<W>(&bits[1], &e, &s[0], with_v, &mut expected);
                kernels.convert_term::<W>(stream, b[1], de.words(), mask.words(), with_v, message.words_mut()).unwrap();
                assert_eq!(card.down(&message), expected, "conversion term, n = {n}, {}", card.name);
            }
        }
    }
}

const CUTS: [u32; 6] = [1, 13, 20, 30, 32, 62];

fn truncations_of_products_agree<W: Elements>() {
    let mut draws = draws(5);
    for card in cards() {
        let (kernels, stream) = (&card.kernels, &card.stream);
        for (n, w) in sizes::<W>() {
            let u = words(40, w);
            let packed = [words(41, plane(n)), words(42, plane(n)), words(43, plane(n))];
            let (du, dp) = (card.up(&u), packed.each_ref().map(|bits| card.up(bits)));
            let bits = dp.each_ref().map(|bits| bits.words());
            // Of the other role fewer elements, with one element none.
            let (short, part) = (w / 2 * W::PACKED, w / 2);
            for d in CUTS.into_iter().filter(|d| d + 2 <= <W as Word>::BITS) {
                let count = d as usize * plane(n);
                let ([gamma], [dg]) = masks(card, &mut draws, w);
                let (mut dealt, mut opened) = (vec![0; w + count], vec![0; plane(short)]);
                let deal =
                    Deal { z: &u[..], halves: [&packed[0][..], &packed[1]], gamma: &gamma, message: &mut dealt[..] };
                truncation::product_deal::<W>(d, deal);
                let (z, alpha) = (&u[..part], &packed[2][..plane(short)]);
                truncation::open_top::<W>(OpenTop { z, alpha, message: &mut opened[..] });
                let mut out = [card.blank(w + count), card.blank(plane(short))];
                let [m, o] = out.each_mut().map(|out| out.words_mut());
                let deal = Deal { z: du.words(), halves: [bits[0], bits[1]], gamma: dg.words(), message: m };
                let (z, alpha) = (du.words().slice(0..part).unwrap(), bits[2].slice(0..plane(short)).unwrap());
                kernels.truncation_first::<W>(stream, d, deal, OpenTop { z, alpha, message: o }).unwrap();
                let found = out.each_ref().map(|out| card.down(out));
                assert_eq!(found, [dealt.clone(), opened], "first, d = {d}, n = {n}, {}", card.name);

                let ([y2], [dy2]) = masks(card, &mut draws, w);
                let mut expected = [vec![0; w + plane(n)], vec![0; w], vec![0; w]];
                let [message, a, b] = expected.each_mut().map(|words| &mut words[..]);
                let results_on_host = Results { message, a, b };
                truncation::product_role1::<W>(d, [&u, &dealt], [&packed[0], &packed[1]], &y2, results_on_host);
                let mut m = expected.each_ref().map(|words| card.blank(words.len()));
                let [message, a, b] = m.each_mut().map(|out| out.words_mut());
                let shares = [du.words(), out[0].words()];
                let on_card = Results { message, a, b };
                kernels.truncation_role1::<W>(stream, d, shares, [bits[0], bits[1]], dy2.words(), on_card).unwrap();
                let found = m.each_ref().map(|out| card.down(out));
                assert_eq!(found, expected, "role 1, d = {d}, n = {n}, {}", card.name);
                let [received, ..] = expected;

                let (s, drawn) = masks::<2>(card, &mut draws, w);
                let mut expected = [vec![0; w], vec![0; w], vec![0; w]];
                let [message, a, b] = expected.each_mut().map(|words| &mut words[..]);
                let results_on_host = Results { message, a, b };
                let words = [&u[..], &received[..]];
                truncation::product_role0::<W>(d, words, [&packed[0], &packed[2]], s.each_ref(), results_on_host);
                let mut last = expected.each_ref().map(|words| card.blank(words.len()));
                let [message, a, b] = last.each_mut().map(|out| out.words_mut());
                let (words, drawn) = ([du.words(), m[0].words()], drawn.each_ref().map(|mask| mask.words()));
                let on_card = Results { message, a, b };
                kernels.truncation_role0::<W>(stream, d, words, [bits[0], bits[2]], drawn, on_card).unwrap();
                let found = last.each_ref().map(|out| card.down(out));
                assert_eq!(found, expected, "role 0, d = {d}, n = {n}, {}", card.name);
            }
        }
    }
}

fn truncations_of_replicated_tensors_agree<W: Elements>() {
    let mut draws = draws(6);
    for card in cards() {
        let (kernels, stream) = (&card.kernels, &card.stream);
        for (n, w) in sizes::<W>() {
            let x = [words(50, w), words(51, w)];
            let dx = x.each_ref().map(|x| card.up(x));
            let xs = dx.each_ref().map(|x| x.words());
            for d in CUTS.into_iter().filter(|d| d + 2 <= <W as Word>::BITS) {
                let count = d as usize * plane(n);
                let (s, drawn) = masks::<4>(card, &mut draws, w);
                let mut expected = [vec![0; w + count], vec![0; w], vec![0; w]];
                let [message, a, b] = expected.each_mut().map(|words| &mut words[..]);
                truncation::shared_role0::<W>(d, [&x[0], &x[1]], s.each_ref(), Results { message, a, b });
                let mut out = expected.each_ref().map(|words| card.blank(words.len()));
                let [message, a, b] = out.each_mut().map(|out| out.words_mut());
                let drawn = drawn.each_ref().map(|mask| mask.words());
                kernels.truncation_shared_role0::<W>(stream, d, xs, drawn, Results { message, a, b }).unwrap();
                let found = out.each_ref().map(|out| card.down(out));
                assert_eq!(found, expected, "role 0, d = {d}, n = {n}, {}", card.name);

                let ([mask, share, y1], [dmask, dshare, dy1]) = masks(card, &mut draws, w);
                let received = words(52, w + count);
                let dr = card.up(&received);
                let drawn = TermShare::Drawn { share: dshare.words(), y1: dy1.words() };
                let cases = [
                    (TermShare::Drawn { share: &share, y1: &y1 }, drawn),
                    (TermShare::Received(&received[..]), TermShare::Received(dr.words())),
                ];
                for (host, device) in cases {
                    let mut expected = [vec![0; count], vec![0; w]];
                    let [planes, kept] = expected.each_mut().map(|words| &mut words[..]);
                    truncation::shared_term::<W>(d, &x[0], host, &mask, planes, kept);
                    let mut out = [card.blank(count), card.blank(w)];
                    let [planes, kept] = out.each_mut().map(|out| out.words_mut());
                    let mask = dmask.words();
                    kernels.truncation_shared_term::<W>(stream, d, xs[0], device, mask, planes, kept).unwrap();
                    let found = out.each_ref().map(|out| card.down(out));
                    assert_eq!(found, expected, "term, d = {d}, n = {n}, {}", card.name);
                }

                // Both roles' in one launch, of a half and of all elements.
                let [first, second] = [54, 53].map(|seed| words(seed, count));
                let (df, ds, short) = (card.up(&first), card.up(&second), w / 2);
                let few = d as usize * plane(short * W::PACKED);
                let mut expected = [vec![0; short], vec![0; w]];
                let [y_short, y] = expected.each_mut().map(|words| &mut words[..]);
                let terms = [&first[..few], &second[..few]];
                truncation::shared_close::<W>(d, CloseTerms { v: &x[0][..short], terms, y2: y_short });
                truncation::shared_close::<W>(d, CloseTerms { v: &x[1][..], terms: [&first[..], &second], y2: y });
                let mut out = [card.blank(short), card.blank(w)];
                let [y_short, y] = out.each_mut().map(|out| out.words_mut());
                let (part, terms) = (xs[0].slice(0..short).unwrap(), [df.words(), ds.words()]);
                let closings = vec![
                    CloseTerms { v: part, terms: terms.map(|term| term.slice(0..few).unwrap()), y2: y_short },
                    CloseTerms { v: xs[1], terms, y2: y },
                ];
                kernels.truncation_shared_close::<W>(stream, d, closings).unwrap();
                let found = out.each_ref().map(|out| card.down(out));
                assert_eq!(found, expected, "last step, d = {d}, n = {n}, {}", card.name);
            }
        }
    }
}
