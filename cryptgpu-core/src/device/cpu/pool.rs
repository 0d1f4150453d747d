//! Windows over image planes: sums, single taps, and their adjoints. Memory-bound: every input word is read once
//! a tap from cache, every output word written once. Sums go down rows first, then along one row with its padding; their
//! adjoint goes along a row first, then down.

use crate::device::{PlaneWindows, PoolGeometry};
use crate::ring::Word;
use rayon::prelude::*;

/// Output planes smaller than this stay on one thread.
const PARALLEL_MIN: usize = 1 << 15;

/// The input rows (or columns) that tap `k` of every output position sees: start + stride·i, or
/// none where that is padding.
fn source(position: usize, tap: usize, stride: usize, dilation: usize, before: usize, size: usize) -> Option<usize> {
    (position * stride + tap * dilation).checked_sub(before).filter(|&at| at < size)
}

/// Do windows lie next to each other, without gaps and padding, so that no input is seen by two?
fn one_each(windows: &PlaneWindows) -> bool {
    let window = &windows.window;
    let axis = |axis: usize| {
        window.kernel[axis] == window.stride[axis] && (window.dilation[axis] == 1 || window.kernel[axis] == 1)
    };
    window.padding == [0; 4] && axis(0) && axis(1)
}

/// The words of a row with its padding, as far as its windows see.
fn padded_width(windows: &PlaneWindows) -> usize {
    let PlaneWindows { window, input, output } = windows;
    let seen = output[1].saturating_sub(1) * window.stride[1] + (window.kernel[1] - 1) * window.dilation[1] + 1;
    seen.max(window.padding[2] + input[1])
}

/// `body` for every plane of `x` and of `result`, with zeros of that thread: a row of a plane with its padding.
fn for_planes<W: Word>(
    windows: &PlaneWindows,
    x: &[W],
    result: &mut [W],
    body: impl Fn(&mut [W], &[W], &mut [W]) + Sync,
) {
    let PlaneWindows { input, output, .. } = windows;
    let (from, to) = (input[0] * input[1], output[0] * output[1]);
    if from == 0 || to == 0 {
        return;
    }
    let mut row = vec![W::zero(); padded_width(windows)];
    if x.len() < PARALLEL_MIN {
        x.chunks_exact(from).zip(result.chunks_exact_mut(to)).for_each(|(x, y)| body(&mut row, x, y));
    } else {
        let planes = x.par_chunks_exact(from).zip(result.par_chunks_exact_mut(to));
        planes.for_each_init(|| row.clone(), |row, (x, y)| body(row, x, y));
    }
}

/// Sum over each window of every plane of `x`.
pub fn sum<W: Word>(windows: &PlaneWindows, x: &[W], sums: &mut [W]) {
    let PlaneWindows { window, input: [height, width], output: out } = *windows;
    if one_each(windows) && out == [1, 1] && window.kernel == [height, width] {
        return sum_planes(height * width, x, sums);
    }
    for_planes(windows, x, sums, |row, plane, result| {
        // Rows first, then columns: kh + kw additions an output instead of kh·kw.
        for (oy, sums) in result.chunks_exact_mut(out[1]).enumerate() {
            let seen = &mut row[window.padding[2]..][..width];
            let rows = (0..window.kernel[0])
                .filter_map(|ky| source(oy, ky, window.stride[0], window.dilation[0], window.padding[0], height));
            let mut rows = rows.map(|y| &plane[y * width..][..width]);
            match (rows.next(), rows.next()) {
                (Some(first), Some(second)) => {
                    seen.iter_mut().zip(first.iter().zip(second)).for_each(|(sum, (x, y))| *sum = x.wrapping_add(y));
                }
                (Some(only), None) => seen.copy_from_slice(only),
                _ => seen.fill(W::zero()),
            }
            rows.for_each(|words| seen.iter_mut().zip(words).for_each(|(sum, v)| *sum = sum.wrapping_add(v)));
            sum_columns(&window, row, sums);
        }
    })
}

/// Sums over whole planes of so many words: those of one window each, as at the end of many networks.
fn sum_planes<W: Word>(words: usize, x: &[W], sums: &mut [W]) {
    let window = PoolGeometry { kernel: [1, words], stride: [1, words], padding: [0; 4], dilation: [1, 1] };
    if x.len() < PARALLEL_MIN {
        return sum_columns(&window, x, sums);
    }
    let each = PARALLEL_MIN.div_ceil(words);
    let planes = x.par_chunks(each * words).zip(sums.par_chunks_mut(each));
    planes.for_each(|(x, sums)| sum_columns(&window, x, sums));
}

/// Sums over the windows along a row, which has its padding. The windows of nearly all networks are of constants, from which
/// come instructions on many words.
fn sum_columns<W: Word>(window: &PoolGeometry, row: &[W], sums: &mut [W]) {
    let (kernel, stride, dilation) = (window.kernel[1], window.stride[1], window.dilation[1]);
    match (kernel, stride, dilation) {
        (2, 1, 1) => sum_neighbours::<W, 2, 1>(row, sums),
        (2, 2, 1) => sum_neighbours::<W, 2, 2>(row, sums),
        (3, 1, 1) => sum_neighbours::<W, 3, 1>(row, sums),
        (3, 2, 1) => sum_neighbours::<W, 3, 2>(row, sums),
        (3, 3, 1) => sum_neighbours::<W, 3, 3>(row, sums),
        (4, 4, 1) => sum_neighbours::<W, 4, 4>(row, sums),
        _ => sums.iter_mut().enumerate().for_each(|(ox, sum)| {
            let words = row[ox * stride..].iter().step_by(dilation).take(kernel);
            *sum = words.fold(W::zero(), |sum, word| sum.wrapping_add(word));
        }),
    }
}

/// Sums of so many neighbours, every so many words.
fn sum_neighbours<W: Word, const KERNEL: usize, const STRIDE: usize>(row: &[W], sums: &mut [W]) {
    let windows = row.array_windows::<KERNEL>().step_by(STRIDE);
    sums.iter_mut().zip(windows).for_each(|(sum, words)| {
        *sum = words.iter().fold(W::zero(), |sum, word| sum.wrapping_add(word));
    });
}

/// Tap (ky, kx) of each window of every plane of `x`, `fill` where it is padding.
pub fn tap<W: Word>(windows: &PlaneWindows, tap: [usize; 2], fill: u64, x: &[W], taps: &mut [W]) {
    let fill = W::of_u64(fill);
    let PlaneWindows { window, input: [height, width], output: out } = *windows;
    for_planes(windows, x, taps, |_, plane, result| {
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
/// tap, then all of the second, …). Every window's word is read once, or by tap once a tap, every input is in cache
/// meanwhile.
pub fn spread<W: Word>(windows: &PlaneWindows, by_tap: bool, g: &[W], inputs: &mut [W]) {
    let PlaneWindows { input: [height, width], output: out, .. } = *windows;
    if inputs.is_empty() {
        return;
    }
    let pixels = out[0] * out[1];
    let tap_words = if by_tap { inputs.len() / (height * width) * pixels } else { 0 };
    let one_each = one_each(windows);
    let body = |row: &mut [W], (plane, inputs): (usize, &mut [W])| {
        let g = &g[plane * pixels..];
        if by_tap {
            inputs.fill(W::zero());
            add_taps(windows, tap_words, g, inputs);
        } else if one_each {
            spread_beside(windows, &g[..pixels], inputs);
        } else {
            spread_rows(windows, row, &g[..pixels], inputs);
        }
    };
    let mut row = vec![W::zero(); padded_width(windows)];
    if inputs.len() < PARALLEL_MIN {
        inputs.chunks_exact_mut(height * width).enumerate().for_each(|inputs| body(&mut row, inputs));
    } else {
        inputs
            .par_chunks_exact_mut(height * width)
            .enumerate()
            .for_each_init(|| row.clone(), |row, inputs| body(row, inputs));
    }
}

/// For every input of one plane the sum of the words of the windows that see it: along rows first, then down, as windows are
/// summed. `row` has room for a row with its padding.
fn spread_rows<W: Word>(windows: &PlaneWindows, row: &mut [W], g: &[W], plane: &mut [W]) {
    let PlaneWindows { window, input: [height, width], output: out } = *windows;
    plane.fill(W::zero());
    for (oy, words) in g.chunks_exact(out[1]).enumerate() {
        spread_columns(&window, words, row);
        let seen = &row[window.padding[2]..][..width];
        for ky in 0..window.kernel[0] {
            let y = source(oy, ky, window.stride[0], window.dilation[0], window.padding[0], height);
            let Some(y) = y else { continue };
            plane[y * width..][..width].iter_mut().zip(seen).for_each(|(sum, v)| *sum = sum.wrapping_add(v));
        }
    }
}

/// The adjoint of [`sum_columns`].
fn spread_columns<W: Word>(window: &PoolGeometry, words: &[W], row: &mut [W]) {
    let (kernel, stride, dilation) = (window.kernel[1], window.stride[1], window.dilation[1]);
    row.fill(W::zero());
    for kx in 0..kernel {
        let row = &mut row[kx * dilation..];
        match stride {
            1 => row.iter_mut().zip(words).for_each(|(sum, g)| *sum = sum.wrapping_add(g)),
            2 => row.iter_mut().step_by(2).zip(words).for_each(|(sum, g)| *sum = sum.wrapping_add(g)),
            _ => row.iter_mut().step_by(stride).zip(words).for_each(|(sum, g)| *sum = sum.wrapping_add(g)),
        }
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
        for row in rows.chunks_exact_mut(width) {
            match kernel_width {
                2 => row.as_chunks_mut().0.iter_mut().zip(words).for_each(|(pair, word)| *pair = [*word; 2]),
                _ => row.chunks_exact_mut(kernel_width).zip(words).for_each(|(inputs, word)| inputs.fill(*word)),
            }
        }
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
