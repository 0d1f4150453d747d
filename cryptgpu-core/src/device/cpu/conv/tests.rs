use super::*;
use crate::device::PoolGeometry;
use proptest::prelude::*;

fn words<T: Word>(count: usize, seed: &mut u64) -> Vec<T> {
    let mut next = || {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*seed ^ *seed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    (0..count).map(|_| T::of_u64(next())).collect()
}

/// The definition: seven loops.
fn reference<T: Word>(geometry: &ConvGeometry, terms: &[ConvTerm<'_, T>]) -> Vec<T> {
    let [batch, out_channels, height, width] = geometry.output_shape().unwrap();
    let [_, channels, kernel_height, kernel_width] = geometry.weight_shape();
    let PoolGeometry { stride, padding, dilation, .. } = geometry.window;
    let mut y = Vec::new();
    for index in 0..batch * out_channels * height * width {
        let (column, row) = (index % width, index / width % height);
        let (out, image) = (index / width / height % out_channels, index / width / height / out_channels);
        let group = out / (out_channels / geometry.groups);
        let mut sum = T::zero();
        for term in terms {
            for tap in 0..channels * kernel_height * kernel_width {
                let (kx, ky) = (tap % kernel_width, tap / kernel_width % kernel_height);
                let channel = tap / kernel_width / kernel_height;
                let iy = (row * stride[0] + ky * dilation[0]) as isize - padding[0] as isize;
                let ix = (column * stride[1] + kx * dilation[1]) as isize - padding[2] as isize;
                let [input_height, input_width] = geometry.input.map(|size| size as isize);
                if (0..input_height).contains(&iy) && (0..input_width).contains(&ix) {
                    let plane = image * geometry.in_channels + group * channels + channel;
                    let x =
                        term.input[plane * geometry.input[0] * geometry.input[1] + (iy * input_width + ix) as usize];
                    let w = term.weight[out * channels * kernel_height * kernel_width + tap];
                    sum = sum.wrapping_add(&x.wrapping_mul(&w));
                }
            }
        }
        y.push(sum);
    }
    y
}

/// The definition of the weights' gradient: every weight's output pixels.
fn weight_reference<T: Word>(geometry: &ConvGeometry, terms: &[WeightGradientTerm<'_, T>]) -> Vec<T> {
    let [batch, out_channels, height, width] = geometry.output_shape().unwrap();
    let [_, channels, kernel_height, kernel_width] = geometry.weight_shape();
    let PoolGeometry { stride, padding, dilation, .. } = geometry.window;
    let word = |index: usize| {
        let (kx, ky) = (index % kernel_width, index / kernel_width % kernel_height);
        let (channel, out) =
            (index / kernel_width / kernel_height % channels, index / (channels * kernel_height * kernel_width));
        let channel = out / (out_channels / geometry.groups) * channels + channel;
        let mut sum = T::zero();
        for (term, image) in terms.iter().flat_map(|term| (0..batch).map(move |image| (term, image))) {
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
                let y = (row * stride[0] + ky * dilation[0]).wrapping_sub(padding[0]);
                let x = (column * stride[1] + kx * dilation[1]).wrapping_sub(padding[2]);
                if y < geometry.input[0] && x < geometry.input[1] {
                    let gradient = term.gradient[((image * out_channels + out) * height + row) * width + column];
                    let plane = image * geometry.in_channels + channel;
                    let input = term.input[(plane * geometry.input[0] + y) * geometry.input[1] + x];
                    sum = sum.wrapping_add(&gradient.wrapping_mul(&input));
                }
            }
        }
        sum
    };
    (0..geometry.weight_shape().iter().product()).map(word).collect()
}

/// In both rings, of random words.
fn compare_weights(geometry: &ConvGeometry, terms: usize, seed: u64) {
    let mut seeds = [seed; 2];
    compare_weights_in::<u32>(geometry, terms, |count| words(count, &mut seeds[0]));
    compare_weights_in::<u64>(geometry, terms, |count| words(count, &mut seeds[1]));
}

fn compare_weights_in<T: Word>(geometry: &ConvGeometry, terms: usize, mut words: impl FnMut(usize) -> Vec<T>) {
    let count = |shape: [usize; 4]| shape.iter().product();
    let data: Vec<_> = (0..terms)
        .map(|_| (words(count(geometry.output_shape().unwrap())), words(count(geometry.input_shape()))))
        .collect();
    let terms: Vec<_> = data.iter().map(|(gradient, input)| WeightGradientTerm { gradient, input }).collect();
    let expected = weight_reference(geometry, &terms);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_supported()) {
        let mut dw = vec![T::max_value(); expected.len()];
        weight_gradient_with(isa, geometry, &terms, &mut dw).unwrap();
        assert!(dw == expected, "{isa}, {}: {geometry:?}", T::RING);
    }
}

/// Σ dx · x = Σ dy · (x ⊛ w) for the gradient dx of the images: what an adjoint is.
fn compare_images(geometry: &ConvGeometry, terms: usize, seed: u64) {
    compare_images_in::<u32>(geometry, terms, seed);
    compare_images_in::<u64>(geometry, terms, seed);
}

fn compare_images_in<T: Word>(geometry: &ConvGeometry, terms: usize, mut seed: u64) {
    let [input, weight, output] = [geometry.input_shape(), geometry.weight_shape(), geometry.output_shape().unwrap()];
    let mut words = |shape: [usize; 4]| words::<T>(shape.iter().product(), &mut seed);
    let dot = |x: &[T], y: &[T]| x.iter().zip(y).fold(T::zero(), |sum, (x, y)| sum.wrapping_add(&x.wrapping_mul(y)));
    let x = words(input);
    let data: Vec<_> = (0..terms).map(|_| (words(output), words(weight))).collect();
    let expected = data.iter().fold(T::zero(), |sum, (gradient, weight)| {
        sum.wrapping_add(&dot(gradient, &reference(geometry, &[ConvTerm { input: &x, weight }])))
    });
    let terms: Vec<_> = data.iter().map(|(gradient, weight)| InputGradientTerm { gradient, weight }).collect();
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_supported()) {
        let mut dx = vec![T::max_value(); x.len()];
        input_gradient_with(isa, geometry, &terms, &mut dx).unwrap();
        assert!(dot(&dx, &x) == expected, "{isa}, {}: {geometry:?}", T::RING);
    }
}

/// In both rings.
fn compare(geometry: &ConvGeometry, terms: usize, seed: u64) {
    compare_in::<u32>(geometry, terms, seed);
    compare_in::<u64>(geometry, terms, seed);
}

fn compare_in<T: Word>(geometry: &ConvGeometry, terms: usize, mut seed: u64) {
    let data: Vec<(Vec<T>, Vec<T>)> = (0..terms)
        .map(|_| {
            let input = words(geometry.input_shape().iter().product(), &mut seed);
            (input, words(geometry.weight_shape().iter().product(), &mut seed))
        })
        .collect();
    let terms: Vec<_> = data.iter().map(|(input, weight)| ConvTerm { input, weight }).collect();
    let expected = reference(geometry, &terms);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_supported()) {
        let mut y = vec![T::max_value(); expected.len()];
        conv2d_with(isa, geometry, &terms, &mut y).unwrap();
        assert!(y == expected, "{isa}, {}: {geometry:?}", T::RING);
    }
}

prop_compose! {
    fn geometries()(
        batch in 1usize..4, groups in 1usize..4, depthwise in any::<bool>(),
        channels in 1usize..6, multiplier in 1usize..9,
        input in [1usize..15, 1usize..22], kernel in [1usize..5, 1usize..5],
        stride in [1usize..4, 1usize..4], padding in prop::array::uniform4(0usize..4), dilation in [1usize..3, 1usize..3],
    ) -> ConvGeometry {
        let channels = if depthwise { 1 } else { channels };
        ConvGeometry {
            batch, in_channels: groups * channels, input, out_channels: groups * multiplier,
            window: PoolGeometry { kernel, stride, padding, dilation }, groups,
        }
    }
}

prop_compose! {
    /// Convolutions that are cut into tiles where that pays.
    fn tiled()(
        batch in 1usize..4, in_channels in 4usize..10, out_channels in 4usize..18,
        input in [2usize..14, 2usize..14], kernel in [1usize..6, 1usize..6], padding in prop::array::uniform4(0usize..4),
    ) -> ConvGeometry {
        let window = PoolGeometry { kernel, stride: [1; 2], padding, dilation: [1; 2] };
        ConvGeometry { batch, in_channels, input, out_channels, window, groups: 1 }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn tiles_equal_the_definition(geometry in tiled(), terms in 1usize..3, seed in any::<u64>()) {
        prop_assume!(geometry.output().is_ok());
        compare(&geometry, terms, seed);
        compare_weights(&geometry, terms, seed);
        compare_images(&geometry, terms, seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_implementation_equals_the_definition(geometry in geometries(), terms in 0usize..3, seed in any::<u64>()) {
        prop_assume!(geometry.output().is_ok());
        compare(&geometry, terms, seed);
    }

    #[test]
    fn every_weight_gradient_equals_the_definition(geometry in geometries(), terms in 0usize..3, seed in any::<u64>()) {
        prop_assume!(geometry.output().is_ok());
        compare_weights(&geometry, terms, seed);
    }

    #[test]
    fn every_image_gradient_is_the_adjoint(geometry in geometries(), terms in 0usize..3, seed in any::<u64>()) {
        prop_assume!(geometry.output().is_ok());
        compare_images(&geometry, terms, seed);
    }
}

#[test]
fn weight_gradients_of_large_batches() {
    let window = PoolGeometry::square(3, 1, 1);
    let layer = |batch, in_channels, size, out_channels, groups| ConvGeometry {
        batch,
        in_channels,
        input: [size; 2],
        out_channels,
        window,
        groups,
    };
    // 131,072 and more products a weight, with every limb at its largest and at random.
    compare_weights_in(&layer(128, 1, 32, 2, 1), 1, |count| vec![u32::MAX; count]);
    compare_weights_in(&layer(128, 1, 32, 2, 1), 1, |count| vec![u64::MAX; count]);
    compare_weights(&layer(128, 1, 33, 1, 1), 1, 3);
    compare_weights(&layer(33, 20, 9, 21, 1), 2, 4);
    compare_weights(&layer(9, 6, 17, 12, 6), 2, 5);
}

#[test]
fn layers_of_real_networks() {
    let layer = |batch, in_channels, size, out_channels, kernel, stride, padding, groups| ConvGeometry {
        batch,
        in_channels,
        input: [size; 2],
        out_channels,
        window: PoolGeometry::square(kernel, stride, padding),
        groups,
    };
    compare(&layer(1, 1, 28, 20, 5, 1, 0, 1), 2, 1);
    compare(&layer(2, 3, 32, 40, 7, 2, 3, 1), 2, 2);
    compare(&layer(9, 64, 7, 40, 1, 1, 0, 1), 2, 3);
    compare(&layer(1, 90, 7, 70, 3, 1, 1, 1), 1, 4);
    compare(&layer(2, 24, 14, 24, 3, 2, 1, 24), 2, 5);
    compare(&layer(1, 40, 9, 33, 1, 2, 0, 1), 1, 6);
}

#[test]
fn image_gradients_of_real_networks() {
    let layer = |batch, in_channels, size, out_channels, kernel, stride, padding| ConvGeometry {
        batch,
        in_channels,
        input: [size; 2],
        out_channels,
        window: PoolGeometry::square(kernel, stride, padding),
        groups: 1,
    };
    compare_images(&layer(9, 20, 12, 50, 5, 1, 0), 2, 1);
    compare_images(&layer(3, 16, 14, 20, 3, 2, 1), 2, 2);
    compare_images(&layer(5, 24, 1, 30, 3, 1, 1), 2, 3);
    compare_images(&layer(2, 17, 8, 19, 3, 1, 1), 2, 4);
}

/// The tiles of VGG's and AlexNet's layers: four rows, two rows between zeros, five taps.
#[test]
fn tiles_of_real_networks() {
    for (batch, size, kernel, padding) in [(3, 8, 3, 1), (5, 2, 3, 1), (2, 4, 5, 2), (2, 7, 3, 1)] {
        let window = PoolGeometry::square(kernel, 1, padding);
        let geometry = ConvGeometry { batch, in_channels: 17, input: [size; 2], out_channels: 24, window, groups: 1 };
        compare(&geometry, 2, 1);
        compare_weights(&geometry, 2, 2);
        compare_images(&geometry, 2, 3);
    }
}

#[test]
fn wrong_shapes_are_refused_and_nothing_is_written() {
    let window = PoolGeometry::square(3, 1, 1);
    let geometry = ConvGeometry { batch: 1, in_channels: 2, input: [4, 4], out_channels: 2, window, groups: 1 };
    let (input, weight, mut y) = (vec![1_u64; 32], vec![1; 36], vec![9; 32]);
    let short = ConvTerm { input: &input, weight: &weight[1..] };
    let found = conv2d_sum(&geometry, &[short], &mut y);
    assert!(matches!(found, Err(GemmError::Tensor { what: "weight", expected: 36, found: 35, .. })), "{found:?}");
    let term = ConvTerm { input: &input, weight: &weight };
    assert!(matches!(conv2d_sum(&geometry, &[term], &mut y[1..]), Err(GemmError::Output { expected: 32, .. })));
    assert!(matches!(
        conv2d_sum(&ConvGeometry { groups: 3, ..geometry }, &[term], &mut y),
        Err(GemmError::Geometry(_))
    ));
    assert_eq!(y, vec![9; 32]);
}
