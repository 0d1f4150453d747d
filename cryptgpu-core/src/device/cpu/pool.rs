//! Windows over image planes: sums, single taps, and their adjoints. Memory-bound: every input word is read once
//! a tap from cache, every output word written once. Windows that lie next to each other, those of nearly all networks, are
//! walked as pieces of a row.

use crate::device::PlaneWindows;
use crate::ring::Word;
use rayon::prelude::*;

/// Output planes smaller than this stay on one thread.
const PARALLEL_MIN: usize = 1 << 15;

/// The input rows (or columns) that tap `k` of every output position sees: start + stride·i, or
/// none where that is padding.
fn source(position: usize, tap: usize, stride: usize, dilation: usize, before: usize, size: usize) -> Option<usize> {
    (position * stride + tap * dilation).checked_sub(before).filter(|&at| at < size)
}

/// Do windows lie next to each other along an axis, without gaps and padding?
fn beside(windows: &PlaneWindows, axis: usize) -> bool {
    let window = &windows.window;
    window.kernel[axis] == window.stride[axis]
        && (window.dilation[axis] == 1 || window.kernel[axis] == 1)
        && window.padding[2 * axis..2 * axis + 2] == [0; 2]
}

fn for_planes<W: Word>(windows: &PlaneWindows, x: &[W], result: &mut [W], body: impl Fn(&[W], &mut [W]) + Sync) {
    let PlaneWindows { input, output, .. } = windows;
    let (from, to) = (input[0] * input[1], output[0] * output[1]);
    if from == 0 || to == 0 {
        return;
    }
    if x.len() < PARALLEL_MIN {
        x.chunks_exact(from).zip(result.chunks_exact_mut(to)).for_each(|(x, y)| body(x, y));
    } else {
        x.par_chunks_exact(from).zip(result.par_chunks_exact_mut(to)).for_each(|(x, y)| body(x, y));
    }
}

/// Sum over each window of every plane of `x`.
pub fn sum<W: Word>(windows: &PlaneWindows, x: &[W], sums: &mut [W]) {
    let PlaneWindows { window, input: [height, width], output: out } = *windows;
    for_planes(windows, x, sums, |plane, result| {
        // Rows first, then columns: kh + kw additions an output instead of kh·kw.
        let mut row = vec![W::zero(); width];
        for oy in 0..out[0] {
            row.fill(W::zero());
            for ky in 0..window.kernel[0] {
                let Some(y) = source(oy, ky, window.stride[0], window.dilation[0], window.padding[0], height) else {
                    continue;
                };
                row.iter_mut().zip(&plane[y * width..]).for_each(|(sum, v)| *sum = sum.wrapping_add(v));
            }
            let sums = &mut result[oy * out[1]..(oy + 1) * out[1]];
            if beside(windows, 1) {
                sums_beside(window.kernel[1], &row, sums);
                continue;
            }
            for (ox, sum) in sums.iter_mut().enumerate() {
                let mut total = W::zero();
                for kx in 0..window.kernel[1] {
                    let at = source(ox, kx, window.stride[1], window.dilation[1], window.padding[2], width);
                    total = total.wrapping_add(&at.map_or(W::zero(), |x| row[x]));
                }
                *sum = total;
            }
        }
    })
}

/// Sums of so many neighbours in a row.
fn sums_beside<W: Word>(each: usize, row: &[W], sums: &mut [W]) {
    match each {
        2 => sums.iter_mut().zip(row.as_chunks().0).for_each(|(sum, [a, b])| *sum = a.wrapping_add(b)),
        _ => sums.iter_mut().zip(row.chunks_exact(each)).for_each(|(sum, words)| {
            *sum = words.iter().fold(W::zero(), |sum, word| sum.wrapping_add(word));
        }),
    }
}

/// Tap (ky, kx) of each window of every plane of `x`, `fill` where it is padding.
pub fn tap<W: Word>(windows: &PlaneWindows, tap: [usize; 2], fill: u64, x: &[W], taps: &mut [W]) {
    let fill = W::of_u64(fill);
    let PlaneWindows { window, input: [height, width], output: out } = *windows;
    for_planes(windows, x, taps, |plane, result| {
        for oy in 0..out[0] {
            let y = source(oy, tap[0], window.stride[0], window.dilation[0], window.padding[0], height);
            for (ox, value) in result[oy * out[1]..(oy + 1) * out[1]].iter_mut().enumerate() {
                let x = source(ox, tap[1], window.stride[1], window.dilation[1], window.padding[2], width);
                *value = match (y, x) {
                    (Some(y), Some(x)) => plane[y * width + x],
                    _ => fill,
                };
            }
        }
    })
}

/// The adjoint of [`sum`] and [`tap`]: `inputs` = for every input of every plane the sum over the windows that see it,
/// of the window's word in `g`, or when `by_tap` of the word in `g` of the tap that sees it (all windows of the first
/// tap, then all of the second, …). Every window's word is read once a tap, every input is in cache meanwhile.
pub fn spread<W: Word>(windows: &PlaneWindows, by_tap: bool, g: &[W], inputs: &mut [W]) {
    let PlaneWindows { input: [height, width], output: out, .. } = *windows;
    if inputs.is_empty() {
        return;
    }
    let pixels = out[0] * out[1];
    let tap_words = if by_tap { inputs.len() / (height * width) * pixels } else { 0 };
    let one_each = !by_tap && beside(windows, 0) && beside(windows, 1);
    let body = |(plane, inputs): (usize, &mut [W])| {
        let g = &g[plane * pixels..];
        if one_each {
            spread_beside(windows, &g[..pixels], inputs);
        } else {
            inputs.fill(W::zero());
            add_taps(windows, tap_words, g, inputs);
        }
    };
    if inputs.len() < PARALLEL_MIN {
        inputs.chunks_exact_mut(height * width).enumerate().for_each(body);
    } else {
        inputs.par_chunks_exact_mut(height * width).enumerate().for_each(body);
    }
}

/// The word of its window for every input of one plane, zero for those behind the last window.
fn spread_beside<W: Word>(windows: &PlaneWindows, g: &[W], plane: &mut [W]) {
    let PlaneWindows { window, input: [height, width], output: out } = *windows;
    let [kernel_height, kernel_width] = window.kernel;
    if [out[0] * kernel_height, out[1] * kernel_width] != [height, width] {
        plane.fill(W::zero());
    }
    for (words, rows) in g.chunks_exact(out[1]).zip(plane.chunks_exact_mut(kernel_height * width)) {
        let (first, others) = rows.split_at_mut(width);
        match kernel_width {
            2 => first.as_chunks_mut().0.iter_mut().zip(words).for_each(|(pair, word)| *pair = [*word; 2]),
            _ => first.chunks_exact_mut(kernel_width).zip(words).for_each(|(inputs, word)| inputs.fill(*word)),
        }
        others.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(first));
    }
}

/// Adds to each input of one plane the words of the taps that see it; a tap's begin `tap_words` after the tap before.
#[inline(always)]
pub(super) fn add_taps<W: Word>(windows: &PlaneWindows, tap_words: usize, g: &[W], plane: &mut [W]) {
    let PlaneWindows { window, input: [height, width], output: out } = *windows;
    let [kernel_height, kernel_width] = window.kernel;
    for (ky, kx) in (0..kernel_height).flat_map(|ky| (0..kernel_width).map(move |kx| (ky, kx))) {
        let words = &g[(ky * kernel_width + kx) * tap_words..][..out[0] * out[1]];
        let [stride, across] = [window.stride[1], kx * window.dilation[1]];
        // Windows whose tap lies inside the plane: left padding ≤ ox·stride + across < width + left padding.
        let from = window.padding[2].saturating_sub(across).div_ceil(stride);
        let to = (width + window.padding[2]).saturating_sub(across).div_ceil(stride).min(out[1]);
        if from >= to {
            continue;
        }
        let first = from * stride + across - window.padding[2];
        for oy in 0..out[0] {
            let Some(y) = source(oy, ky, window.stride[0], window.dilation[0], window.padding[0], height) else {
                continue;
            };
            let (row, words) = (&mut plane[y * width + first..(y + 1) * width], &words[oy * out[1]..][from..to]);
            match stride {
                1 => row.iter_mut().zip(words).for_each(|(sum, g)| *sum = sum.wrapping_add(g)),
                _ => row.iter_mut().step_by(stride).zip(words).for_each(|(sum, g)| *sum = sum.wrapping_add(g)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::PoolGeometry;
    use proptest::prelude::*;

    fn window() -> impl Strategy<Value = ([usize; 2], PoolGeometry)> {
        let pair = |range: std::ops::Range<usize>| [range.clone(), range];
        (pair(1..4), pair(1..4), [0usize..3, 0usize..3, 0usize..3, 0usize..3], pair(1..3), pair(6..12)).prop_map(
            |(kernel, stride, padding, dilation, input)| (input, PoolGeometry { kernel, stride, padding, dilation }),
        )
    }

    fn words<W: Word>(len: usize, step: u64) -> Vec<W> {
        (1..=len as u64).map(|i| W::of_u64(i.wrapping_mul(step).rotate_left(17))).collect()
    }

    fn sums_are_of_taps<W: Word>(input: [usize; 2], window: PoolGeometry, seed: u64) {
        let windows = window.over(input).unwrap();
        let x = words::<W>(3 * input[0] * input[1], seed | 1);
        let mut sums = vec![W::one(); 3 * windows.output[0] * windows.output[1]];
        sum(&windows, &x, &mut sums);
        let mut expected = vec![W::zero(); sums.len()];
        for ky in 0..window.kernel[0] {
            for kx in 0..window.kernel[1] {
                let mut taps = vec![W::one(); sums.len()];
                tap(&windows, [ky, kx], 0, &x, &mut taps);
                expected.iter_mut().zip(taps).for_each(|(e, t)| *e = e.wrapping_add(&t));
            }
        }
        assert_eq!(sums, expected);
    }

    /// Σ spread(g) · x = Σ g · taps of x, for sums and for single taps: what an adjoint is.
    fn spreading_is_adjoint<W: Word>(input: [usize; 2], window: PoolGeometry, seed: u64) {
        let windows = window.over(input).unwrap();
        let (len, out) = (3 * input[0] * input[1], 3 * windows.output[0] * windows.output[1]);
        let dot = |x: &[W], y: &[W]| x.iter().zip(y).fold(W::zero(), |s, (x, y)| s.wrapping_add(&x.wrapping_mul(y)));
        let (x, g) = (words::<W>(len, seed | 1), words::<W>(out * window.kernel[0] * window.kernel[1], seed | 7));
        let (mut sums, mut inputs) = (vec![W::zero(); out], vec![W::one(); len]);
        sum(&windows, &x, &mut sums);
        spread(&windows, false, &g[..out], &mut inputs);
        assert_eq!(dot(&inputs, &x), dot(&g[..out], &sums));
        let mut expected = W::zero();
        for (tap_index, g) in g.chunks_exact(out).enumerate() {
            let at = [tap_index / window.kernel[1], tap_index % window.kernel[1]];
            tap(&windows, at, 0, &x, &mut sums);
            expected = expected.wrapping_add(&dot(g, &sums));
        }
        spread(&windows, true, &g, &mut inputs);
        assert_eq!(dot(&inputs, &x), expected);
    }

    proptest! {
        #[test]
        fn sums_are_sums_of_taps((input, window) in window(), seed in any::<u64>()) {
            sums_are_of_taps::<u64>(input, window, seed);
            sums_are_of_taps::<u32>(input, window, seed);
        }

        #[test]
        fn spreading_is_the_adjoint((input, window) in window(), seed in any::<u64>()) {
            spreading_is_adjoint::<u64>(input, window, seed);
            spreading_is_adjoint::<u32>(input, window, seed);
        }
    }

    /// Windows next to each other, whose last ones need not reach the edge.
    #[test]
    fn windows_beside_each_other() {
        for kernel in [[1, 1], [2, 2], [3, 3], [2, 3], [3, 1]] {
            for input in [[6, 6], [7, 8], [8, 7], [5, 5]] {
                for (padding, dilation) in [([0; 4], [1, 1]), ([0, 1, 0, 1], [1, 1]), ([0; 4], [2, 2])] {
                    let window = PoolGeometry { kernel, stride: kernel, padding, dilation };
                    sums_are_of_taps::<u64>(input, window, 3);
                    sums_are_of_taps::<u32>(input, window, 5);
                    spreading_is_adjoint::<u64>(input, window, 7);
                    spreading_is_adjoint::<u32>(input, window, 9);
                }
            }
        }
    }

    #[test]
    fn padding_is_filled() {
        let windows = PoolGeometry::square(2, 2, 1).over([2, 2]).unwrap();
        let x: Vec<u64> = (1..=4).collect();
        for (at, expected) in [([0, 0], [9, 9, 9, 4]), ([1, 1], [1, 9, 9, 9])] {
            let mut taps = [0; 4];
            tap(&windows, at, 9, &x, &mut taps);
            assert_eq!(taps, expected);
        }
    }
}
