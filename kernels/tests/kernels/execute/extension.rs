//! The way between the rings.

use crate::support::card::{Buffer, cards};
use crate::support::data::{Draws, drawn, words};
use cryptgpu_core::device::cpu::extension as cpu;
use cryptgpu_core::prg::{Randomness, Stream};
use cryptgpu_kernels::{CloseTerms, Results, TermShare};

#[test]
fn extensions_and_reductions_agree() {
    let mut draws = Draws::new(Randomness::Aes128Ctr, 9);
    for card in cards() {
        let (kernels, stream) = (&card.kernels, &card.stream);
        for half in [0, 1, 32, 33, 257, 700] {
            let (n, what) = (2 * half, format!("{half} words, {}", card.name));
            let x = [words(60, half), words(61, half)];
            let dx = x.each_ref().map(|x| card.up(x));
            let xs = dx.each_ref().map(|x| x.words());
            let mut draw = |n: usize| -> (Stream, Buffer) {
                let stream = draws.next().0;
                let words = card.up(&drawn(&stream, n));
                (stream, words)
            };
            let masks = [draw(half), draw(half), draw(half), draw(n)];
            let [(a1, da1), (mu, dmu), (nu, dnu), (y1, dy1)] = &masks;
            let mut expected = [vec![0; n + half], vec![0; n], vec![0; n]];
            let [message, a, b] = expected.each_mut().map(|words| &mut words[..]);
            cpu::role0([&x[0], &x[1]], [a1, mu, nu, y1], Results { message, a, b });
            let mut out = expected.each_ref().map(|words| card.blank(words.len()));
            let [message, a, b] = out.each_mut().map(|out| out.words_mut());
            let drawn = [da1, dmu, dnu, dy1].map(|mask| mask.words());
            kernels.extension_role0(stream, xs, drawn, Results { message, a, b }).unwrap();
            assert_eq!(out.each_ref().map(|out| card.down(out)), expected, "role 0, {what}");

            let received = words(62, n + half);
            let dr = card.up(&received);
            for (host, device) in [
                (TermShare::Drawn { share: mu, y1 }, TermShare::Drawn { share: dmu.words(), y1: dy1.words() }),
                (TermShare::Received(&received[..]), TermShare::Received(dr.words())),
            ] {
                let mut expected = [vec![0; half], vec![0; n]];
                let [message, kept] = expected.each_mut().map(|words| &mut words[..]);
                cpu::term(&x[0], host, nu, message, kept);
                let mut out = [card.blank(half), card.blank(n)];
                let [message, kept] = out.each_mut().map(|out| out.words_mut());
                kernels.extension_term(stream, xs[0], device, dnu.words(), message, kept).unwrap();
                assert_eq!(out.each_ref().map(|out| card.down(out)), expected, "term, {what}");
            }

            let (mut expected, mut out) = (vec![0; n], card.blank(n));
            cpu::close(CloseTerms { v: &x[0], terms: [&x[1], &x[0]], y2: &mut expected });
            let closing = CloseTerms { v: xs[0], terms: [xs[1], xs[0]], y2: out.words_mut() };
            kernels.extension_close(stream, closing).unwrap();
            assert_eq!(card.down(&out), expected, "last, {what}");

            // Of an even number of elements and of an odd one.
            for n in [half, half + 1] {
                let x = words(63, n);
                let (mut expected, dx, mut out) = (vec![0; n.div_ceil(2)], card.up(&x), card.blank(n.div_ceil(2)));
                cpu::reduce(&x, &mut expected);
                kernels.reduce(stream, dx.words(), out.words_mut()).unwrap();
                assert_eq!(card.down(&out), expected, "reduction of {n}, {}", card.name);
            }
            let mut short = card.blank(n + 1);
            let wrong = CloseTerms { v: xs[0], terms: [xs[1], xs[0]], y2: short.words_mut() };
            assert!(kernels.extension_close(stream, wrong).is_err());
        }
    }
}
