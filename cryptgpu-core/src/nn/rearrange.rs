//! Elements in other places: axes in another order, a part of an axis, entries of an axis in any order, an axis repeated. Each costs nothing, at one place for shapes,
//! plaintext arrays, bounds and shares.

use super::bound::Interval;
use crate::device::{DeviceError, Part, permuted};
use crate::mpc::Rep;
use ndarray::{ArrayD, Axis, IxDyn, Slice};

/// Where the elements of a value go. Axes are counted without the batch.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rearrange {
    /// Axis k of the result is axis `order[k]`.
    Permute(Vec<usize>),
    /// A part of one axis.
    Part(Part),
    /// Entries of an axis in any order, each as often as it is named.
    Select {
        /// The axis.
        axis: usize,
        /// Which entries; one or more.
        entries: Vec<usize>,
    },
    /// An axis of one entry, that many times.
    Repeat {
        /// The axis.
        axis: usize,
        /// How many times.
        times: usize,
    },
}

impl Rearrange {
    /// Shape of the result; None where it does not fit.
    pub(super) fn shape(&self, shape: &[usize]) -> Option<Vec<usize>> {
        match self {
            Rearrange::Permute(order) => permuted(shape, order),
            Rearrange::Part(part) => part.of(shape),
            Rearrange::Select { axis, entries } => {
                let mut shape = shape.to_vec();
                let size = shape.get_mut(*axis).filter(|size| entries.iter().all(|entry| entry < size))?;
                *size = entries.len();
                (*size > 0).then_some(shape)
            }
            Rearrange::Repeat { axis, times } => {
                let mut shape = shape.to_vec();
                let size = shape.get_mut(*axis).filter(|size| **size == 1 && *times > 0)?;
                *size = *times;
                Some(shape)
            }
        }
    }

    /// Of a batch `[batch, …]`, in the clear.
    pub(super) fn array(&self, x: &ArrayD<f64>) -> Option<ArrayD<f64>> {
        self.shape(x.shape().get(1..)?)?;
        let y = match self {
            Rearrange::Permute(order) => {
                let order: Vec<usize> = std::iter::once(0).chain(order.iter().map(|axis| axis + 1)).collect();
                x.view().permuted_axes(IxDyn(&order)).to_owned()
            }
            Rearrange::Part(Part { axis, start, step, count }) => {
                let end = start + step * (count - 1) + 1;
                let part = Slice::new(*start as isize, Some(end as isize), *step as isize);
                x.slice_axis(Axis(axis + 1), part).to_owned()
            }
            Rearrange::Select { axis, entries } => x.select(Axis(axis + 1), entries),
            Rearrange::Repeat { axis, times } => {
                let mut shape = x.shape().to_vec();
                shape[axis + 1] = *times;
                x.broadcast(IxDyn(&shape))?.to_owned()
            }
        };
        Some(y.as_standard_layout().into_owned())
    }

    /// Of a batch of shares. Local.
    pub(super) fn share(&self, x: &Rep) -> Result<Rep, DeviceError> {
        match self {
            Rearrange::Permute(order) => {
                let order: Vec<usize> = std::iter::once(0).chain(order.iter().map(|axis| axis + 1)).collect();
                x.permute(&order)
            }
            Rearrange::Part(part) => x.along(&Part { axis: part.axis + 1, ..*part }),
            Rearrange::Select { axis, entries } => {
                // Shares are joined along their first axis.
                let rest = (0..x.shape().len()).filter(|at| *at != axis + 1);
                let front: Vec<usize> = std::iter::once(axis + 1).chain(rest).collect();
                let back: Vec<usize> = (1..=axis + 1).chain([0]).chain(axis + 2..front.len()).collect();
                let moved = x.permute(&front)?;
                let parts = parts(entries).iter().map(|part| moved.along(part)).collect::<Result<Vec<_>, _>>()?;
                Rep::concat(&parts)?.permute(&back)
            }
            Rearrange::Repeat { axis, times } => x.repeat(axis + 1, *times),
        }
    }

    /// The intervals of the entries of the first axis, from those of the first axis before.
    pub(super) fn intervals(&self, x: &[Interval], shape: &[usize]) -> Vec<Interval> {
        match self {
            Rearrange::Permute(order) if order.first().is_none_or(|&first| first == 0) => x.to_vec(),
            Rearrange::Part(Part { axis: 0, start, step, count }) => {
                x.iter().skip(*start).step_by(*step).take(*count).copied().collect()
            }
            Rearrange::Repeat { axis: 0, times } => x.iter().cycle().take(x.len() * times).copied().collect(),
            Rearrange::Select { axis: 0, entries } => {
                entries.iter().filter_map(|&entry| x.get(entry)).copied().collect()
            }
            Rearrange::Part(_) | Rearrange::Select { .. } | Rearrange::Repeat { .. } => x.to_vec(),
            Rearrange::Permute(_) => {
                Interval::hull(x).map_or(vec![], |all| vec![all; shape.first().copied().unwrap_or(1)])
            }
        }
    }
}

/// Entries of the first axis as parts of it: those that follow one another at equal distances forwards are one.
fn parts(entries: &[usize]) -> Vec<Part> {
    let mut parts: Vec<Part> = vec![];
    for &entry in entries {
        if let Some(Part { start, step, count, .. }) = parts.last_mut() {
            if *count == 1 && entry > *start {
                (*step, *count) = (entry - *start, 2);
                continue;
            }
            if *count > 1 && entry == *start + *step * *count {
                *count += 1;
                continue;
            }
        }
        parts.push(Part { axis: 0, start: entry, step: 1, count: 1 });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mpc::World;
    use ndarray::ArrayD;

    #[test]
    fn entries_are_as_few_parts_as_they_can_be() {
        let part = |start, step, count| Part { axis: 0, start, step, count };
        assert_eq!(
            parts(&[2, 1, 0, 1, 2, 3, 2, 1]),
            [part(2, 1, 1), part(1, 1, 1), part(0, 1, 4), part(2, 1, 1), part(1, 1, 1)]
        );
        assert_eq!(parts(&[1, 3, 5, 6]), [part(1, 2, 3), part(6, 1, 1)]);
        assert_eq!(parts(&[4, 4, 9]), [part(4, 1, 1), part(4, 5, 2)]);
    }

    /// Shares and arrays go to the same places, and every element stays in its interval.
    #[test]
    fn shares_go_where_arrays_go() {
        let x = ArrayD::from_shape_fn(IxDyn(&[2, 3, 1, 4]), |at| (at[0] * 1000 + at[1] * 100 + at[3]) as f64);
        let own: Vec<Interval> =
            (0..3).map(|k| Interval { low: f64::from(k) * 100.0, high: f64::from(k) * 100.0 + 1003.0 }).collect();
        let world = World::seeded(1);
        let shares = world.deal(&x.mapv(|x| x as u64));
        let part = |axis, start, step, count| Rearrange::Part(Part { axis, start, step, count });
        for rearrange in [
            Rearrange::Permute(vec![2, 0, 1]),
            Rearrange::Permute(vec![0, 2, 1]),
            part(0, 1, 2, 1),
            part(0, 0, 2, 2),
            part(2, 1, 2, 2),
            Rearrange::Repeat { axis: 1, times: 3 },
            Rearrange::Select { axis: 0, entries: vec![2, 0, 0, 1, 2] },
            Rearrange::Select { axis: 1, entries: vec![0, 0] },
            Rearrange::Select { axis: 2, entries: vec![3, 2, 1, 0, 1, 3] },
        ] {
            let y = rearrange.array(&x).unwrap();
            assert_eq!(y.shape()[1..], rearrange.shape(&x.shape()[1..]).unwrap());
            let [shared, ..] = world.run(|p| {
                let y = rearrange.share(&shares[p.id().index()]).unwrap();
                p.open(&y).unwrap().to_array().unwrap()
            });
            assert_eq!(shared.mapv(|x| x as f64), y, "{rearrange:?}");
            let intervals = rearrange.intervals(&own, &y.shape()[1..]);
            assert_eq!(intervals.len(), y.shape()[1]);
            for (interval, entries) in intervals.iter().zip(y.axis_iter(Axis(1))) {
                assert!(entries.iter().all(|&y| y >= interval.low && y <= interval.high), "{rearrange:?}");
            }
        }
        for wrong in [
            Rearrange::Permute(vec![0, 1]),
            part(0, 0, 1, 4),
            part(3, 0, 1, 1),
            Rearrange::Repeat { axis: 0, times: 2 },
            Rearrange::Select { axis: 0, entries: vec![0, 3] },
            Rearrange::Select { axis: 1, entries: vec![] },
        ] {
            assert!(wrong.shape(&[3, 1, 4]).is_none() && wrong.array(&x).is_none(), "{wrong:?}");
        }
    }
}
