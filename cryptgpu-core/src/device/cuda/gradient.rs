//! Gradients of convolutions on a card: convolutions of their own, on operands in another order.

use super::pool::window;
use super::product::{conv2d_sum, convolve, term};
use super::{Buffer, View, ViewMut, elementwise, launch, launch_all, pool};
use crate::device::dispatch::Shaped;
use crate::device::{BlockOrder, ConvGeometry, DeviceError, GeometryError, PlaneWindows, PoolGeometry};
use cryptgpu_kernels::{Conv2d, Element, Window};

/// As a convolution of its own: images `[C/g, g·N, H, W]` with the outputs' gradients `[O, N, H′, W′]` as weights, g
/// groups, stride and dilation exchanged, which gives `[C/g, O, kh, kw]`. Where a group has one input channel there is
/// a kernel for it.
pub(crate) fn weights<W: Element>(
    geometry: &ConvGeometry,
    terms: Vec<(Shaped<View>, Shaped<View>)>,
    Shaped(out, n): Shaped<ViewMut>,
) -> Result<(), DeviceError> {
    let operation = "gradient of a convolution's weights";
    let windows = geometry.windows().map_err(|source| DeviceError::Geometry { operation, source })?;
    let ConvGeometry { batch, in_channels, out_channels, groups, .. } = *geometry;
    let seen = window(&windows);
    if groups > 1 && in_channels == groups {
        let conv = Conv2d { batch, in_channels, out_channels, groups, window: seen };
        let reads: Vec<View> = terms.iter().flat_map(|(Shaped(dy, _), Shaped(x, _))| [*dy, *x]).collect();
        launch_all(operation, &reads, vec![out.allocation], |k, s| {
            let each = terms
                .iter()
                .map(|(Shaped(dy, outputs), Shaped(x, inputs))| term::<W>([*inputs, *outputs], x.words(), dy.words()));
            k.depthwise_weight_gradient(s, &conv, &each.collect::<Vec<_>>(), out.words().first(n))
        });
        return Ok(());
    }
    let channels = in_channels / groups;
    let (pixels, plane) = (seen.output[0] * seen.output[1], seen.input[0] * seen.input[1]);
    let images = BlockOrder::mirrored([batch, groups, channels], plane);
    let gradients = BlockOrder::swapped(1, [batch, out_channels], pixels);
    let ordinal = out.ordinal();
    let swapped = |(Shaped(dy, outputs), Shaped(x, inputs)): &(Shaped<View>, Shaped<View>)| {
        [(&images, *x, *inputs), (&gradients, *dy, *outputs)]
            .map(|(order, x, n)| (reordered::<W>(ordinal, order, x), n))
    };
    let swapped: Vec<_> = terms.iter().map(swapped).collect();
    let swapped: Vec<_> = swapped
        .iter()
        .map(|[(x, inputs), (dy, outputs)]| (Shaped(x.view(), *inputs), Shaped(dy.view(), *outputs)))
        .collect();
    let window =
        Window { output: seen.kernel, kernel: seen.output, stride: seen.dilation, dilation: seen.stride, ..seen };
    let conv = Conv2d { batch: channels, in_channels: groups * batch, out_channels, groups, window };
    let mut result = Buffer::alloc(ordinal, out.len());
    convolve::<W>(operation, &conv, &swapped, Shaped(result.slice_mut(0..out.len()), n))?;
    let taps = seen.kernel[0] * seen.kernel[1];
    let order = BlockOrder::swapped(1, [channels, out_channels], taps);
    elementwise::reorder::<W>(&order, result.view(), Shaped(out, n));
    Ok(())
}

/// As a convolution with the flipped weights ([`FlippedConv`]).
pub(crate) fn images<W: Element>(
    geometry: &ConvGeometry,
    terms: Vec<(Shaped<View>, Shaped<View>)>,
    out: Shaped<ViewMut>,
) -> Result<(), DeviceError> {
    let operation = "gradient of a convolution's images";
    let ordinal = out.0.ordinal();
    let flipped = FlippedConv::new(geometry).map_err(|source| DeviceError::Geometry { operation, source })?;
    let Some(FlippedConv { insertion, geometry, weight_order }) = flipped else {
        launch(operation, [], [out.0], |k, s, [], [out]| k.fill_constant(s, 0, out));
        return Ok(());
    };
    let weights = weight_order.words();
    let flipped: Vec<_> = terms.iter().map(|(_, Shaped(w, _))| reordered::<W>(ordinal, &weight_order, *w)).collect();
    let flipped = flipped.iter().map(|w| Shaped(w.view(), weights));
    let Some(windows) = insertion else {
        let terms = terms.iter().zip(flipped).map(|((dy, _), w)| (*dy, w));
        return conv2d_sum::<W>(&geometry, terms.collect(), out);
    };
    let n = geometry.input_shape().iter().product();
    let spread = |(dy, _): &(Shaped<View>, Shaped<View>)| {
        let mut planes = alloc::<W>(ordinal, n);
        let all = 0..planes.len();
        pool::spread::<W>(&windows, false, *dy, Shaped(planes.slice_mut(all), n));
        planes
    };
    let spread: Vec<_> = terms.iter().map(spread).collect();
    let terms = spread.iter().zip(flipped).map(|(dy, w)| (Shaped(dy.view(), n), w));
    conv2d_sum::<W>(&geometry, terms.collect(), out)
}

/// Memory for `n` elements.
fn alloc<W: Element>(ordinal: u32, n: usize) -> Buffer {
    Buffer::alloc(ordinal, n.div_ceil(W::WIDTH.packed()))
}

/// A copy of elements on a card in another order.
fn reordered<W: Element>(ordinal: u32, order: &BlockOrder, x: View) -> Buffer {
    let mut copy = alloc::<W>(ordinal, order.words());
    let all = 0..copy.len();
    elementwise::reorder::<W>(order, x, Shaped(copy.slice_mut(all), order.words()));
    copy
}

/// The gradient of a convolution's images as a convolution of the outputs' gradient with the flipped weights
/// ([`FlippedConv::weight_order`]): with stride 1, over planes in which zeros stand between the output pixels of a
/// strided convolution, and from which the pixels are cut whose windows lie in the padding alone.
#[derive(Clone, Copy, Debug)]
struct FlippedConv {
    /// From output pixels to those planes, as windows of one input each; none where the planes are the same.
    insertion: Option<PlaneWindows>,
    /// The convolution, over the planes.
    geometry: ConvGeometry,
    /// The order of its weights in those of the convolution whose gradient it is.
    weight_order: BlockOrder,
}

impl FlippedConv {
    /// None where no output pixel sees an input.
    fn new(geometry: &ConvGeometry) -> Result<Option<Self>, GeometryError> {
        let PlaneWindows { window, input, output } = geometry.windows()?;
        let (mut cut, mut planes, mut padding, mut same) = ([0; 4], [0; 2], [0; 4], true);
        for axis in 0..2 {
            let (before, reach) = (window.padding[2 * axis], window.dilation[axis] * (window.kernel[axis] - 1));
            // Output pixels with zeros between them; those beyond `input + before` see no input.
            let (full, seen) = (output[axis].saturating_sub(1) * window.stride[axis] + 1, input[axis] + before);
            cut[2 * axis] = before.saturating_sub(reach);
            padding[2 * axis] = reach.saturating_sub(before);
            padding[2 * axis + 1] = seen.saturating_sub(full);
            planes[axis] = full.min(seen).saturating_sub(cut[2 * axis]);
            same &= planes[axis] == full && full == output[axis];
        }
        if planes.contains(&0) || input.contains(&0) {
            return Ok(None);
        }
        let one = PoolGeometry { kernel: [1; 2], stride: window.stride, padding: cut, dilation: [1; 2] };
        let insertion = PlaneWindows { window: one, input: planes, output };
        let ConvGeometry { batch, in_channels, out_channels, groups, .. } = *geometry;
        let channels = [out_channels / groups, in_channels / groups];
        Ok(Some(FlippedConv {
            insertion: (!same).then_some(insertion),
            geometry: ConvGeometry {
                batch,
                in_channels: out_channels,
                input: planes,
                out_channels: in_channels,
                window: PoolGeometry { stride: [1; 2], padding, ..window },
                groups,
            },
            weight_order: BlockOrder {
                reversed: true,
                ..BlockOrder::swapped(groups, channels, window.kernel[0] * window.kernel[1])
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::cpu;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// The same composition of the CPU's kernels gives the CPU's gradient.
        #[test]
        fn the_flipped_convolution_gives_the_gradient_of_the_images(
            groups in 1usize..3, channels in [1usize..3, 1usize..3], input in [1usize..9, 1usize..9],
            kernel in [1usize..4, 1usize..4], stride in [1usize..4, 1usize..4],
            padding in prop::array::uniform4(0usize..6), dilation in [1usize..3, 1usize..3],
        ) {
            let window = PoolGeometry { kernel, stride, padding, dilation };
            let [in_channels, out_channels] = channels.map(|channels| groups * channels);
            let geometry = ConvGeometry { batch: 2, in_channels, input, out_channels, window, groups };
            prop_assume!(geometry.output().is_ok());
            let words = |shape: [usize; 4], step: u64| -> Vec<u64> {
                (1..=shape.iter().product::<usize>() as u64).map(|i| i.wrapping_mul(step)).collect()
            };
            let gradient = words(geometry.output_shape().unwrap(), 0x9e37_79b9_7f4a_7c15);
            let weight = words(geometry.weight_shape(), 0x94d0_49bb_1331_11eb);
            let mut expected = words(geometry.input_shape(), 1);
            let term = cpu::conv::InputGradientTerm { gradient: &gradient, weight: &weight };
            cpu::conv::input_gradient_sum(&geometry, &[term], &mut expected).unwrap();
            let Some(flipped) = FlippedConv::new(&geometry).unwrap() else {
                prop_assert_eq!(expected, words(geometry.input_shape(), 0));
                return Ok(());
            };
            let (mut flipped_weight, mut found) = (vec![0; weight.len()], vec![9; expected.len()]);
            cpu::elementwise::reorder(&flipped.weight_order, &weight, &mut flipped_weight);
            let planes = flipped.insertion.map_or(gradient.clone(), |windows| {
                let mut planes = words(flipped.geometry.input_shape(), 1);
                cpu::pool::spread(&windows, false, &gradient, &mut planes);
                planes
            });
            let term = cpu::conv::ConvTerm { input: &planes, weight: &flipped_weight };
            cpu::conv::conv2d_sum(&flipped.geometry, &[term], &mut found).unwrap();
            prop_assert_eq!(found, expected);
        }
    }
}
