//! Tensors with their elements elsewhere: axes in another order, parts of an axis, an axis repeated. Nothing is computed; each is
//! one or a few launches of the kernel that puts blocks into another order, in whichever ring.

use super::{BlockOrder, DeviceError, Tensor};

/// Elements along an axis: `start`, `start + step`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Part {
    /// The axis.
    pub axis: usize,
    /// The first.
    pub start: usize,
    /// From one to the next.
    pub step: usize,
    /// How many.
    pub count: usize,
}

impl Part {
    /// The shape of this part of a tensor; None where it reaches beyond that, or has no elements.
    pub fn of(&self, shape: &[usize]) -> Option<Vec<usize>> {
        let last = self.count.checked_sub(1)?.checked_mul(self.step)?.checked_add(self.start)?;
        let mut part = shape.to_vec();
        let size = part.get_mut(self.axis).filter(|size| self.step > 0 && last < **size)?;
        *size = self.count;
        Some(part)
    }
}

/// The shape with its axes in another order; None where that is no order of them.
pub fn permuted(shape: &[usize], order: &[usize]) -> Option<Vec<usize>> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    let every = sorted.into_iter().eq(0..shape.len());
    every.then(|| order.iter().filter_map(|&axis| shape.get(axis).copied()).collect())
}

impl Tensor {
    /// The same elements with the axes in another order: axis k of the result is axis `order[k]`.
    ///
    /// ```
    /// use cryptgpu_core::device::{Device, Tensor};
    /// let x = Tensor::from_array(Device::Cpu, &ndarray::array![[[1, 2], [3, 4], [5, 6]]]);
    /// assert_eq!(x.permute(&[1, 2, 0])?.to_array()?, ndarray::array![[[1], [2]], [[3], [4]], [[5], [6]]].into_dyn());
    /// assert_eq!(x.permute(&[2, 0, 1])?.to_array()?, ndarray::array![[[1, 3, 5]], [[2, 4, 6]]].into_dyn());
    /// # Ok::<(), cryptgpu_core::device::DeviceError>(())
    /// ```
    ///
    /// # Errors
    /// [`DeviceError::Shape`] for an order that is none of its axes.
    pub fn permute(&self, order: &[usize]) -> Result<Tensor, DeviceError> {
        let shape = permuted(self.shape(), order).ok_or_else(|| DeviceError::Shape {
            operation: "permute",
            lhs: self.shape().to_vec(),
            rhs: order.to_vec(),
            rule: "the order must name every axis once",
        })?;
        // Axes that stay behind one another are one, and the blocks of it move together.
        let mut together: Vec<Vec<usize>> = vec![];
        for &axis in order.iter().filter(|&&axis| self.shape()[axis] != 1) {
            let next = |last: usize| (last + 1..axis).all(|between| self.shape()[between] == 1) && last < axis;
            match together.last_mut() {
                Some(axes) if axes.last().is_some_and(|&last| next(last)) => axes.push(axis),
                _ => together.push(vec![axis]),
            }
        }
        let mut source: Vec<&Vec<usize>> = together.iter().collect();
        source.sort_unstable();
        let size = |axes: &Vec<usize>| axes.iter().map(|&axis| self.shape()[axis]).product::<usize>();
        let mut result = self.clone();
        for (place, axes) in together.iter().enumerate() {
            let at = source.iter().position(|other| *other == axes).unwrap_or(place);
            if at != place {
                let [groups, rows, columns] = [&source[..place], &source[place..at], &source[at..=at]]
                    .map(|all| all.iter().map(|&axes| size(axes)).product());
                let block = source[at + 1..].iter().map(|&axes| size(axes)).product();
                result = result.reorder(&BlockOrder::swapped(groups, [rows, columns], block), self.shape());
                let moved = source.remove(at);
                source.insert(place, moved);
            }
        }
        result.reshape(&shape)
    }

    /// A part of one axis.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] for a part that reaches beyond the axis, or has no elements.
    pub fn along(&self, part: &Part) -> Result<Tensor, DeviceError> {
        let shape = part.of(self.shape()).ok_or_else(|| DeviceError::Shape {
            operation: "part of an axis",
            lhs: self.shape().to_vec(),
            rhs: vec![part.axis, part.start, part.step, part.count],
            rule: "the part must have elements, and lie within the axis",
        })?;
        let block: usize = self.shape()[part.axis + 1..].iter().product();
        let outer = self.shape()[..part.axis].iter().product();
        let from = part.start * block;
        let strides = [self.shape()[part.axis] * block, 0, part.step * block];
        let order = BlockOrder { sizes: [outer, 1, part.count], strides, block, reversed: false };
        if from == 0 {
            return Ok(self.reorder(&order, &shape));
        }
        Ok(self.part(from, &[self.len() - from]).reorder(&order, &shape))
    }

    /// An axis of one entry, that many times.
    ///
    /// # Errors
    /// [`DeviceError::Shape`] for an axis that has not one entry, or no times.
    pub fn repeat(&self, axis: usize, times: usize) -> Result<Tensor, DeviceError> {
        let mut shape = self.shape().to_vec();
        match shape.get_mut(axis) {
            Some(size @ 1) if times > 0 => *size = times,
            _ => {
                return Err(DeviceError::Shape {
                    operation: "repeat",
                    lhs: self.shape().to_vec(),
                    rhs: vec![axis, times],
                    rule: "an axis of one entry is repeated, once or more",
                });
            }
        }
        let block: usize = shape[axis + 1..].iter().product();
        let outer = shape[..axis].iter().product();
        let order = BlockOrder { sizes: [outer, 1, times], strides: [block, 0, 0], block, reversed: false };
        Ok(self.reorder(&order, &shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::ring::Ring;
    use ndarray::{ArrayD, Axis, IxDyn, Slice};
    use proptest::prelude::*;

    fn tensors(shape: &[usize]) -> (ArrayD<u64>, [Tensor; 2]) {
        let mut next = 0;
        let array = ArrayD::from_shape_simple_fn(IxDyn(shape), || {
            next += 1;
            next
        });
        let tensors = [Ring::Z32, Ring::Z64].map(|ring| Tensor::from_array_in(ring, Device::Cpu, &array));
        (array, tensors)
    }

    proptest! {
        #[test]
        fn axes_come_in_the_order_that_is_said(
            (shape, order) in prop::collection::vec(1usize..5, 1..6)
                .prop_flat_map(|shape| (Just((0..shape.len()).collect::<Vec<_>>()).prop_shuffle(), Just(shape)))
                .prop_map(|(order, shape)| (shape, order)),
        ) {
            let (array, tensors) = tensors(&shape);
            let expected = array.view().permuted_axes(IxDyn(&order)).as_standard_layout().into_owned();
            for x in tensors {
                prop_assert_eq!(&x.permute(&order).unwrap().to_array().unwrap(), &expected);
            }
        }

        #[test]
        fn parts_and_repeats_are_those_of_arrays(
            shape in prop::collection::vec(1usize..7, 1..5), axis in 0usize..4, start in 0usize..6, step in 1usize..4,
            times in 1usize..5,
        ) {
            let axis = axis % shape.len();
            let start = start % shape[axis];
            let (array, tensors) = tensors(&shape);
            let expected = array.slice_axis(Axis(axis), Slice::new(start as isize, None, step as isize)).to_owned();
            let part = Part { axis, start, step, count: expected.shape()[axis] };
            for x in tensors {
                let part = x.along(&part).unwrap();
                prop_assert_eq!(part.to_array().unwrap(), expected.as_standard_layout().to_owned());
                let one = part.along(&Part { axis, start: 0, step: 1, count: 1 }).unwrap();
                let all = one.repeat(axis, times).unwrap().to_array().unwrap();
                let mut wide = shape.clone();
                wide[axis] = times;
                let one = one.to_array().unwrap();
                prop_assert_eq!(&all, &one.broadcast(IxDyn(&wide)).unwrap());
            }
        }
    }

    #[test]
    fn what_is_no_part_is_refused() {
        let (_, [x, _]) = tensors(&[2, 3]);
        for part in [[2, 0, 1, 1], [1, 2, 1, 2], [1, 0, 2, 3], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, usize::MAX, 3]] {
            let [axis, start, step, count] = part;
            assert!(x.along(&Part { axis, start, step, count }).is_err(), "{part:?}");
        }
        assert!(x.permute(&[0, 0]).is_err() && x.permute(&[1]).is_err() && x.repeat(1, 2).is_err());
    }
}
