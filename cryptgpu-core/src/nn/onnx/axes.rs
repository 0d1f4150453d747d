//! Where the batch is. It comes in front, and exporters move it: attention of PyTorch has `[tokens, batch, features]`, and joins the
//! batch with the heads or the tokens into one axis. A layer has it in front always, so that moving it costs nothing; what is kept
//! here is which axis of the file holds it, and behind how many elements of an image.

use super::super::{Op, Rearrange};
use super::attributes::Attributes;
use super::constant::Dim;
use super::import::{Failure, Import};
use super::layers::{Kind, Order, Value};

type Result<T> = std::result::Result<T, Failure>;

/// The axes of a value in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axes {
    /// Their sizes; of the one with the batch what it has beside it, 1 for nothing.
    pub(super) sizes: Vec<usize>,
    /// Which one has the batch; none where the file is for a batch of one, and has left out its axis.
    pub(super) batch: Option<usize>,
    /// How many elements of an image come before the batch in this axis.
    within: usize,
}

fn product(sizes: &[usize]) -> usize {
    sizes.iter().product()
}

impl Axes {
    /// Of a value whose elements stand in the file's order.
    pub(super) fn of(x: &Value) -> Self {
        let front = |dims: &[usize]| Axes { sizes: [&[1], dims].concat(), batch: Some(0), within: 1 };
        match x.order {
            Order::Dropped => Axes { sizes: x.dims.clone(), batch: None, within: 1 },
            Order::Inside { axis, merged, within } => {
                let mut sizes = x.dims.clone();
                if !merged {
                    sizes.insert(axis, 1);
                }
                Axes { sizes, batch: Some(axis), within }
            }
            _ => front(&x.dims),
        }
    }

    /// The sizes without the batch: the shape of a layer.
    pub(super) fn dims(&self) -> Vec<usize> {
        let alone = |at: usize| self.batch == Some(at) && self.sizes[at] == 1;
        self.sizes.iter().enumerate().filter(|(at, _)| !alone(*at)).map(|(_, &size)| size).collect()
    }

    /// The axis of the layer that an axis of the file is; None for the batch alone.
    pub(super) fn place(&self, axis: usize) -> Option<usize> {
        match self.batch {
            Some(batch) if self.sizes[batch] == 1 && axis >= batch => {
                if axis == batch {
                    None
                } else {
                    Some(axis - 1)
                }
            }
            _ => Some(axis),
        }
    }

    /// A layer's result with these axes.
    pub(super) fn value(&self, layer: usize) -> Value {
        let order = match self.batch {
            None => Order::Dropped,
            Some(0) if self.sizes.first() == Some(&1) => Order::Same,
            Some(axis) => Order::Inside { axis, merged: self.sizes[axis] != 1, within: self.within },
        };
        Value { layer, dims: self.dims(), order }
    }

    /// With another size of one axis that is not the batch's.
    pub(super) fn with(mut self, axis: usize, size: usize) -> Self {
        self.sizes[axis] = size;
        self
    }

    /// Whether no element of an image comes before the batch, so that what a layer has in front the file has too.
    pub(super) fn is_outermost(&self) -> bool {
        self.batch.is_none_or(|batch| self.within == 1 && product(&self.sizes[..batch]) == 1)
    }

    /// Without or with more axes of size 1, as Squeeze and Unsqueeze say.
    pub(super) fn squeezed(&self, gone: &[usize]) -> Option<Self> {
        if gone.iter().any(|&axis| self.sizes.get(axis) != Some(&1) || self.batch == Some(axis)) {
            return None;
        }
        let sizes = self.sizes.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, &size)| size);
        let batch = self.batch.map(|batch| batch - gone.iter().filter(|&&axis| axis < batch).count());
        Some(Axes { sizes: sizes.collect(), batch, within: self.within })
    }

    pub(super) fn unsqueezed(&self, new: &[usize]) -> Option<Self> {
        let rank = self.sizes.len() + new.len();
        let (mut old, mut sizes, mut batch) = (0, vec![], None);
        for at in 0..rank {
            if new.contains(&at) {
                sizes.push(1);
                continue;
            }
            if self.batch == Some(old) {
                batch = Some(at);
            }
            sizes.push(*self.sizes.get(old)?);
            old += 1;
        }
        (old == self.sizes.len()).then_some(Axes { sizes, batch, within: self.within })
    }

    /// Another order, as Transpose says.
    pub(super) fn permuted(&self, order: &[usize]) -> Self {
        let sizes = order.iter().map(|&axis| self.sizes[axis]).collect();
        let batch = self.batch.and_then(|batch| order.iter().position(|&axis| axis == batch));
        Axes { sizes, batch, within: self.within }
    }

    /// Elements of an image before the batch.
    fn before(&self) -> usize {
        self.batch.map_or(1, |batch| product(&self.sizes[..batch]) * self.within)
    }

    /// The same elements with other axes, as Reshape asks for; `fixed` is the batch that the file is for, if it is for one.
    pub(super) fn reshaped(&self, target: &[Dim], keeps_zero: bool, fixed: Option<usize>) -> Option<Self> {
        let (mut sizes, mut batch, mut open) = (Vec::with_capacity(target.len()), None, None);
        for (at, dim) in target.iter().enumerate() {
            let size = match *dim {
                Dim::Batch(beside) if batch.is_none() => {
                    batch = Some(at);
                    usize::try_from(beside).ok()?
                }
                Dim::Is(0) if !keeps_zero => {
                    if self.batch == Some(at) {
                        batch = Some(at);
                    }
                    *self.sizes.get(at)?
                }
                Dim::Is(-1) if open.is_none() => {
                    open = Some(at);
                    1
                }
                Dim::Is(size) => usize::try_from(size).ok().filter(|&size| size > 0)?,
                Dim::Batch(_) => return None,
            };
            sizes.push(size);
        }
        let elements = product(&self.sizes);
        let known = |sizes: &[usize]| sizes.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
        if let (Some(batch), _) | (None, Some(batch)) = (batch, open.filter(|_| fixed.is_none())) {
            // What is not said is the batch, or what is left when the batch is said.
            if let Some(open) = open {
                sizes[open] = elements.checked_div(known(&sizes)?)?;
            }
            return self.holding(sizes, batch);
        }
        // All are numbers, the batch's among them.
        let fixed = fixed?;
        if let Some(open) = open {
            sizes[open] = elements.checked_mul(fixed)?.checked_div(known(&sizes)?)?;
        }
        if known(&sizes)? != elements.checked_mul(fixed)? {
            return None;
        }
        let holds = |axis: usize| {
            let mut sizes = sizes.clone();
            sizes[axis] = (sizes[axis] % fixed == 0).then_some(sizes[axis] / fixed)?;
            self.holding(sizes, axis)
        };
        let alone = |axis: &usize| sizes[*axis] == fixed;
        let all = 0..sizes.len();
        if let Some(found) = all.clone().filter(alone).find_map(holds) {
            return Some(found);
        }
        if fixed > 1 {
            return all.clone().find_map(holds);
        }
        // A batch of one may stand before any element.
        let batch = sizes.iter().position(|&size| size == 1);
        Some(Axes { sizes, batch, within: 1 })
    }

    /// These sizes with the batch in one of them, if the order of the elements is the same.
    fn holding(&self, sizes: Vec<usize>, batch: usize) -> Option<Self> {
        let (before, outside) = (self.before(), product(&sizes[..batch]));
        let within = (outside > 0 && before % outside == 0).then_some(before / outside)?;
        let fits = product(&sizes) == product(&self.sizes) && within > 0 && sizes[batch].is_multiple_of(within);
        fits.then_some(Axes { sizes, batch: Some(batch), within })
    }
}

impl<'a> Import<'a> {
    /// A value whose layer has the file's axes, without the batch, and these.
    pub(super) fn plain(&mut self, node: Attributes<'a>, x: &Value) -> Result<(Value, Axes)> {
        let x = self.in_order(node, x)?;
        let axes = Axes::of(&x);
        let layer = self.shaped(node, &x, x.dims.clone())?.layer;
        Ok((x.with(layer), axes))
    }

    /// A value whose elements stand in the file's order.
    pub(super) fn in_order(&mut self, node: Attributes<'a>, x: &Value) -> Result<Value> {
        let image = match x.order {
            Order::ChannelsLast => x.layer,
            Order::FlatChannelsLast(shape) => {
                let flat = Value { order: Order::Same, ..x.clone() };
                self.shaped(node, &flat, shape.to_vec())?.layer
            }
            _ => return Ok(x.clone()),
        };
        let image = Value::of(image, &self.layers);
        let moved = self.rearranged(node, &image, Rearrange::Permute(vec![1, 2, 0]))?;
        let ordered = Value { layer: moved.layer, dims: x.dims.clone(), order: Order::Same };
        match x.order {
            Order::FlatChannelsLast(_) => self.shaped(node, &ordered, x.dims.clone()),
            _ => Ok(ordered),
        }
    }

    /// A layer that puts the elements of a value's layer elsewhere.
    pub(super) fn rearranged(&mut self, node: Attributes<'a>, x: &Value, rearrange: Rearrange) -> Result<Value> {
        self.layer(node, None, Kind::Plain(Op::Rearrange(rearrange)), &[x])
    }

    /// A value with its axes in another order.
    pub(super) fn permuted(&mut self, node: Attributes<'a>, x: &Value, order: &[usize]) -> Result<Value> {
        let (x, axes) = self.plain(node, x)?;
        let moved: Vec<usize> = order.iter().filter_map(|&axis| axes.place(axis)).collect();
        let large: Vec<usize> = moved.iter().copied().filter(|&axis| x.dims[axis] > 1).collect();
        let layer = match large.is_sorted() {
            // Only axes of one element, or the batch, have moved.
            true => x.layer,
            false => self.rearranged(node, &x, Rearrange::Permute(moved))?.layer,
        };
        Ok(axes.permuted(order).value(layer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(sizes: &[usize], batch: usize, within: usize) -> Axes {
        Axes { sizes: sizes.to_vec(), batch: Some(batch), within }
    }

    /// As PyTorch's attention does it, of 17 tokens of 32 features in 4 heads.
    #[test]
    fn the_batch_is_followed_through_attention() {
        let is = |sizes: &[i64]| sizes.iter().map(|&size| Dim::Is(size)).collect::<Vec<_>>();
        let tokens = axes(&[1, 17, 32], 0, 1).permuted(&[1, 0, 2]);
        assert_eq!(tokens, axes(&[17, 1, 32], 1, 1));
        let heads = tokens.reshaped(&is(&[17, -1, 8]), true, None).unwrap();
        assert_eq!(heads, axes(&[17, 4, 8], 1, 1));
        let heads = heads.permuted(&[1, 0, 2]);
        assert!(heads.is_outermost() && !tokens.is_outermost());
        let apart = heads.reshaped(&is(&[-1, 4, 17, 8]), true, None).unwrap();
        assert_eq!((apart.value(3).dims, apart.value(3).order), (vec![4, 17, 8], Order::Same));
        let back = apart.permuted(&[2, 0, 1, 3]).reshaped(&is(&[-1, 32]), true, None).unwrap();
        assert_eq!(back, axes(&[17, 32], 0, 17), "tokens before the batch in one axis");
        let tokens = back.reshaped(&is(&[17, -1, 32]), true, None).unwrap();
        assert_eq!(tokens, axes(&[17, 1, 32], 1, 1));
        // The same for a batch that the file is for, and with its size as a symbol.
        let fixed = tokens.reshaped(&is(&[17, 8, 8]), true, Some(2)).unwrap();
        assert_eq!(fixed, axes(&[17, 4, 8], 1, 1));
        let symbol = [Dim::Is(17), Dim::Batch(4), Dim::Is(-1)];
        assert_eq!(tokens.reshaped(&symbol, false, None).unwrap(), axes(&[17, 4, 8], 1, 1));
        assert_eq!(tokens.reshaped(&is(&[0, 0, 4, -1]), false, None).unwrap(), axes(&[17, 1, 4, 8], 1, 1));
        // What would mix images is refused.
        for (target, fixed) in [
            (&[34, -1, 8][..], None),
            (&[16, -1, 2], None),
            (&[17, 32], None),
            (&[4, 136], Some(1)),
            (&[16, 68], Some(2)),
        ] {
            assert_eq!(tokens.reshaped(&is(target), true, fixed).is_none(), fixed != Some(1), "{target:?}");
        }
    }

    #[test]
    fn a_batch_of_one_may_be_left_out() {
        let is = |sizes: &[i64]| sizes.iter().map(|&size| Dim::Is(size)).collect::<Vec<_>>();
        let tokens = axes(&[17, 1, 32], 1, 1);
        let rows = tokens.reshaped(&is(&[17, 32]), true, Some(1)).unwrap();
        assert_eq!((rows.batch, rows.value(0).order, rows.is_outermost()), (None, Order::Dropped, true));
        assert_eq!(rows.reshaped(&is(&[17, 1, 32]), true, Some(1)).unwrap(), tokens);
        assert_eq!(rows.reshaped(&is(&[1, 17, -1]), true, Some(1)).unwrap(), axes(&[1, 17, 32], 0, 1));
    }

    #[test]
    fn axes_of_one_element_come_and_go() {
        let tokens = axes(&[17, 1, 32], 1, 1);
        let wide = tokens.unsqueezed(&[0, 3]).unwrap();
        assert_eq!(wide, axes(&[1, 17, 1, 1, 32], 2, 1));
        assert_eq!((wide.place(0), wide.place(2), wide.place(3)), (Some(0), None, Some(2)));
        assert_eq!(wide.squeezed(&[0, 3]).unwrap(), tokens);
        assert_eq!(wide.permuted(&[2, 0, 1, 3, 4]).squeezed(&[1, 3]).unwrap(), axes(&[1, 17, 32], 0, 1));
        assert!(tokens.squeezed(&[1]).is_none() && tokens.squeezed(&[0]).is_none());
    }
}
