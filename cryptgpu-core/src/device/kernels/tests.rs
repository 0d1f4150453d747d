//! Operations that go by shapes, on memory of both rings against their definitions, which are computed modulo 2⁶⁴: reduction is a
//! homomorphism. Shapes have odd numbers of elements as often as even ones; what fills a word is set to something before.

use super::*;
use crate::device::PoolGeometry;
use crate::ring::Word;
use proptest::prelude::*;

const RINGS: [Ring; 2] = [Ring::Z32, Ring::Z64];

/// Words without structure.
fn words(count: usize, seed: u64) -> Vec<u64> {
    (1..=count as u64).map(|i| (i ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)).collect()
}

/// Memory of these elements' residues; what fills the last word is not zero.
fn memory(ring: Ring, elements: &[u64]) -> Vec<u64> {
    let mut memory = vec![0x5555_5555_5555_5555; elements.len().div_ceil(ring.packed())];
    match ring {
        Ring::Z32 => u32::of_mut(&mut memory).iter_mut().zip(elements).for_each(|(to, &from)| *to = from as u32),
        Ring::Z64 => memory.copy_from_slice(elements),
    }
    memory
}

/// What an operation of the ring makes of these elements, from memory to memory: the residues of what is expected, and zero where
/// an element fills a word.
fn expect<const N: usize>(
    ring: Ring,
    inputs: [&[u64]; N],
    before: Vec<u64>,
    expected: &[u64],
    run: impl FnOnce([View; N], ViewMut),
) {
    let inputs = inputs.map(|elements| memory(ring, elements));
    let mut out = memory(ring, &before);
    run(inputs.each_ref().map(|memory| View::Cpu(memory)), ViewMut::Cpu(&mut out));
    let mut all = expected.to_vec();
    all.resize(expected.len().next_multiple_of(ring.packed()), 0);
    assert!(out == memory(ring, &all), "{ring}");
}

fn add_product(to: &mut u64, x: u64, y: u64) {
    *to = to.wrapping_add(x.wrapping_mul(y));
}

/// Which input (y, x) of a plane each tap of each window sees: (window, tap, input).
fn seen(windows: &PlaneWindows) -> Vec<[usize; 3]> {
    let PlaneWindows { window, input, output } = *windows;
    let mut seen = vec![];
    for at in 0..output[0] * output[1] {
        for tap in 0..window.kernel[0] * window.kernel[1] {
            let place = |axis: usize, position: usize, tap: usize| {
                let at = position * window.stride[axis] + tap * window.dilation[axis];
                at.checked_sub(window.padding[2 * axis]).filter(|&at| at < input[axis])
            };
            let y = place(0, at / output[1], tap / window.kernel[1]);
            let x = place(1, at % output[1], tap % window.kernel[1]);
            if let (Some(y), Some(x)) = (y, x) {
                seen.push([at, tap, y * input[1] + x]);
            }
        }
    }
    seen
}

/// The products of a convolution: places of the output, of the image's word and of the weight.
fn products(geometry: &ConvGeometry) -> Vec<[usize; 3]> {
    let windows = geometry.windows().unwrap();
    let [_, channels, height, width] = geometry.weight_shape();
    let sizes = [windows.output, windows.input].map(|size| size[0] * size[1]);
    let mut products = vec![];
    for (image, o, c) in (0..geometry.batch)
        .flat_map(|image| (0..geometry.out_channels).flat_map(move |o| (0..channels).map(move |c| (image, o, c))))
    {
        let source = image * geometry.in_channels + o / (geometry.out_channels / geometry.groups) * channels + c;
        for [at, tap, input] in seen(&windows) {
            let out = (image * geometry.out_channels + o) * sizes[0] + at;
            products.push([out, source * sizes[1] + input, (o * channels + c) * height * width + tap]);
        }
    }
    products
}

prop_compose! {
    fn windows()(
        kernel in [1usize..4, 1usize..4], stride in [1usize..3, 1usize..3], padding in prop::array::uniform4(0usize..3),
        dilation in [1usize..3, 1usize..3], input in [1usize..9, 1usize..9],
    ) -> (PoolGeometry, [usize; 2]) {
        (PoolGeometry { kernel, stride, padding, dilation }, input)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn sums_and_biases(shape in prop::array::uniform3(1usize..8), seed in any::<u64>()) {
        let [_, channels, inner] = shape;
        let n = shape.iter().product();
        let (x, bias) = (words(n, seed), words(channels, !seed));
        let total = x.iter().fold(0, |sum: u64, x| sum.wrapping_add(*x));
        let biased: Vec<u64> = (0..n).map(|i| x[i].wrapping_add(bias[i / inner % channels])).collect();
        for ring in RINGS {
            expect(ring, [&x], vec![9], &[total], |[x], out| sum(ring, n, x, out));
            expect(ring, [&bias], x.clone(), &biased, |[bias], z| add_bias(ring, shape, bias, z));
        }
    }

    #[test]
    fn blocks_in_another_order(sizes in prop::array::uniform3(1usize..5), block in 1usize..6, seed in any::<u64>()) {
        let [a, b, c] = sizes;
        let x = words(a * b * c * block, seed);
        let order = BlockOrder { reversed: true, ..BlockOrder::swapped(a, [b, c], block) };
        let mut expected = vec![];
        for (i, k, j) in (0..a).flat_map(|i| (0..c).flat_map(move |k| (0..b).map(move |j| (i, k, j)))) {
            let from = ((i * b + j) * c + k) * block;
            expected.extend(x[from..from + block].iter().rev());
        }
        for ring in RINGS {
            expect(ring, [&x], words(x.len(), 1), &expected, |[x], out| reorder(ring, &order, x, out));
        }
    }

    #[test]
    fn windows_of_planes((window, input) in windows(), planes in 1usize..4, seed in any::<u64>()) {
        let Ok(windows) = window.over(input) else { return Ok(()) };
        let [inputs, outputs] = [input, windows.output].map(|size| size[0] * size[1]);
        let taps = window.kernel[0] * window.kernel[1];
        let (x, g) = (words(planes * inputs, seed), words(taps * planes * outputs, !seed));
        let (mut sums, mut last) = (vec![0; planes * outputs], vec![77; planes * outputs]);
        let (mut spread_sums, mut spread_taps) = (vec![0; planes * inputs], vec![0; planes * inputs]);
        for (plane, [at, tap, from]) in (0..planes).flat_map(|plane| seen(&windows).into_iter().map(move |s| (plane, s))) {
            let (out, from) = (plane * outputs + at, plane * inputs + from);
            add_product(&mut sums[out], x[from], 1);
            add_product(&mut spread_sums[from], g[out], 1);
            add_product(&mut spread_taps[from], g[tap * planes * outputs + out], 1);
            if tap == taps - 1 {
                last[out] = x[from];
            }
        }
        let tap = window.kernel.map(|size| size - 1);
        for ring in RINGS {
            let of_outputs = words(planes * outputs, 2);
            expect(ring, [&x], of_outputs.clone(), &sums, |[x], out| sum_pool(ring, &windows, planes, x, out));
            expect(ring, [&x], of_outputs, &last, |[x], out| pool_tap(ring, &windows, planes, tap, 77, x, out));
            for (by_tap, expected) in [(false, &spread_sums), (true, &spread_taps)] {
                let g = if by_tap { &g[..] } else { &g[..planes * outputs] };
                expect(ring, [g], words(x.len(), 3), expected, |[g], inputs| {
                    spread(ring, &windows, planes, by_tap, g, inputs);
                });
            }
        }
    }

    #[test]
    fn products_of_matrices(
        size in [1usize..20, 1usize..20], depths in [0usize..9, 0usize..40], transposed in any::<[bool; 2]>(), seed in any::<u64>(),
    ) {
        let [m, n] = size;
        let terms = [0, 1].map(|t| (words(m * depths[t], seed ^ t as u64), words(depths[t] * n, !seed ^ t as u64)));
        let mut expected = vec![0; m * n];
        for (at, out) in expected.iter_mut().enumerate() {
            let (i, j) = (at / n, at % n);
            for ((x, y), depth) in terms.iter().zip(depths) {
                for k in 0..depth {
                    let x = x[if transposed[0] { k * m + i } else { i * depth + k }];
                    add_product(out, x, y[if transposed[1] { j * depth + k } else { k * n + j }]);
                }
            }
        }
        let geometry = MatmulGeometry { size, depths, transposed };
        for ring in RINGS {
            let inputs = [&terms[0].0[..], &terms[0].1, &terms[1].0, &terms[1].1];
            expect(ring, inputs, words(m * n, 4), &expected, |[x0, y0, x1, y1], out| {
                matmul_sum(ring, &geometry, vec![(x0, y0), (x1, y1)], out).unwrap();
            });
        }
    }

    #[test]
    fn convolutions_and_their_gradients(
        (window, input) in windows(), batch in 1usize..3, groups in 1usize..4, channels in 1usize..4, multiplier in 1usize..4,
        seed in any::<u64>(),
    ) {
        let (in_channels, out_channels) = (groups * channels, groups * multiplier);
        let geometry = ConvGeometry { batch, in_channels, input, out_channels, window, groups };
        let Ok(output) = geometry.output_shape() else { return Ok(()) };
        let count = |shape: [usize; 4]| shape.iter().product::<usize>();
        let [y, x, w] = [output, geometry.input_shape(), geometry.weight_shape()].map(count);
        let terms = [seed, !seed].map(|seed| [words(y, seed), words(x, seed ^ 1), words(w, seed ^ 2)]);
        let [mut outputs, mut images, mut weights] = [y, x, w].map(|n| vec![0; n]);
        for ([dy, x, w], [at, from, weight]) in terms.iter().flat_map(|term| products(&geometry).into_iter().map(move |p| (term, p))) {
            add_product(&mut outputs[at], x[from], w[weight]);
            add_product(&mut weights[weight], dy[at], x[from]);
            add_product(&mut images[from], dy[at], w[weight]);
        }
        let [first, second] = &terms;
        for ring in RINGS {
            let of = |a: usize, b: usize| [&first[a][..], &first[b], &second[a], &second[b]];
            expect(ring, of(1, 2), words(y, 5), &outputs, |[x0, w0, x1, w1], out| {
                conv2d_sum(ring, &geometry, vec![(x0, w0), (x1, w1)], out).unwrap();
            });
            expect(ring, of(0, 1), words(w, 6), &weights, |[dy0, x0, dy1, x1], out| {
                conv2d_weight_gradient_sum(ring, &geometry, vec![(dy0, x0), (dy1, x1)], out).unwrap();
            });
            expect(ring, of(0, 2), words(x, 7), &images, |[dy0, w0, dy1, w1], out| {
                conv2d_input_gradient_sum(ring, &geometry, vec![(dy0, w0), (dy1, w1)], out).unwrap();
            });
        }
    }
}
