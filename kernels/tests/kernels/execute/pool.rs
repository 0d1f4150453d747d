//! Windows over images.

use super::Elements;
use crate::support::card::cards;
use crate::support::data::words;
use cryptgpu_core::device::{PoolGeometry, cpu::pool as cpu};
use cryptgpu_kernels::Window;

pub fn device_window(input: [usize; 2], output: [usize; 2], window: &PoolGeometry) -> Window {
    let PoolGeometry { kernel, stride, padding, dilation } = *window;
    Window { input, output, kernel, stride, before: [padding[0], padding[2]], dilation }
}

in_both_rings!(sums_and_taps_agree);

fn sums_and_taps_agree<W: Elements>() {
    let cases = [
        ([1, 1], PoolGeometry::square(1, 1, 0), 1),
        ([4, 4], PoolGeometry::square(2, 2, 0), 3),
        ([7, 7], PoolGeometry::square(7, 1, 0), 20),
        ([9, 6], PoolGeometry::square(3, 2, 1), 5),
        ([8, 11], PoolGeometry { kernel: [3, 2], stride: [1, 3], padding: [0, 1, 2, 0], dilation: [2, 1] }, 4),
        ([5, 5], PoolGeometry { kernel: [2, 5], stride: [3, 2], padding: [1, 0, 3, 3], dilation: [1, 2] }, 2),
        ([6, 6], PoolGeometry::square(3, 2, 1), 0),
    ];
    for card in cards() {
        for (input, window, planes) in cases {
            let windows = window.over(input).unwrap();
            let out = windows.output;
            let [inputs, n] = [input, out].map(|[height, width]| planes * height * width);
            let x = words(12, W::memory(inputs));
            let (dx, device) = (card.up(&x), device_window(input, out, &window));
            let (hx, from) = (W::first(&x, inputs), dx.words().first::<W>(inputs));
            let mut expected = vec![0; W::memory(n)];
            cpu::sum(&windows, hx, W::first_mut(&mut expected, n));
            let mut sums = card.blank(expected.len());
            card.kernels.sum_pool(&card.stream, &device, from, sums.words_mut().first(n)).unwrap();
            assert_eq!(card.down(&sums), expected, "{window:?} on {input:?}, {}", card.name);
            for (by_tap, taps) in [(false, 1), (true, window.kernel[0] * window.kernel[1])] {
                let g = words(13, W::memory(taps * n));
                let (dg, mut spread) = (card.up(&g), vec![0; x.len()]);
                cpu::spread(&windows, by_tap, W::first(&g, taps * n), W::first_mut(&mut spread, inputs));
                let mut found = card.blank(x.len());
                let (g, to) = (dg.words().first::<W>(taps * n), found.words_mut().first(inputs));
                card.kernels.spread(&card.stream, &device, by_tap, g, to).unwrap();
                assert_eq!(card.down(&found), spread, "by tap {by_tap}: {window:?} on {input:?}, {}", card.name);
            }
            for ky in 0..window.kernel[0] {
                for kx in 0..window.kernel[1] {
                    cpu::tap(&windows, [ky, kx], 77, hx, W::first_mut(&mut expected, n));
                    let mut taps = card.blank(expected.len());
                    let tap = [ky, kx];
                    card.kernels.pool_tap(&card.stream, &device, tap, 77, from, taps.words_mut().first(n)).unwrap();
                    assert_eq!(card.down(&taps), expected, "tap {tap:?} of {window:?}, {}", card.name);
                }
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    for card in cards() {
        let window = device_window([4, 4], [2, 2], &PoolGeometry::square(2, 2, 0));
        let (x, mut out) = (card.up(&words(1, 17)), card.blank(4));
        assert!(card.kernels.spread(&card.stream, &window, true, x.words(), card.blank(16).words_mut()).is_err());
        assert!(card.kernels.spread(&card.stream, &window, false, x.words(), out.words_mut()).is_err());
        assert!(card.kernels.sum_pool(&card.stream, &window, x.words(), out.words_mut()).is_err());
        let x = card.up(&words(1, 32));
        assert!(card.kernels.sum_pool(&card.stream, &window, x.words(), out.words_mut()).is_err());
        let x = card.up(&words(1, 16));
        assert!(card.kernels.pool_tap(&card.stream, &window, [2, 0], 0, x.words(), out.words_mut()).is_err());
    }
}
