//! Some bits of every word to packed planes and back: how values of a few bits travel.

use super::parallel::{Out, for_units};
use super::planes::{Rows, load, transpose, unit_kernel};
use crate::ring::Layout;

/// `planes` = bits `low .. low + width` of every word, packed as [`Layout`] tells; zero where a
/// group has no element. `planes` has `width`·⌈n/64⌉ words; low + width is at most 64.
pub fn to_planes(low: u32, width: u32, x: &[u64], planes: &mut [u64]) {
    let out = Out::new(planes);
    for_units(Layout::new(x.len()), |unit| {
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(unit.planes(width as usize)) };
        to_planes_unit(unit.lanes(), low, width, &x[unit.elements.clone()], out);
    });
}

unit_kernel! {
    fn to_planes_unit(L, low: u32, width: u32, x: &[u64], planes: &mut [u64]) {
        let mut rows: Rows<L> = load(x.len(), |i| x[i] >> low);
        transpose(&mut rows);
        for (row, plane) in rows[..width as usize].iter().zip(planes.chunks_exact_mut(L)) {
            plane.copy_from_slice(row);
        }
    }
}

/// `out` = the values below 2^width whose bits `planes` has: the inverse of [`to_planes`].
pub fn from_planes(width: u32, planes: &[u64], out: &mut [u64]) {
    let layout = Layout::new(out.len());
    let out = Out::new(out);
    for_units(layout, |unit| {
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(unit.elements.clone()) };
        from_planes_unit(unit.lanes(), &planes[unit.planes(width as usize)], out);
    });
}

unit_kernel! {
    fn from_planes_unit(L, planes: &[u64], out: &mut [u64]) {
        let mut rows: Rows<L> = [[0; L]; 64];
        for (row, plane) in rows.iter_mut().zip(planes.chunks_exact(L)) {
            row.copy_from_slice(plane);
        }
        transpose(&mut rows);
        for (index, word) in out.iter_mut().enumerate() {
            *word = rows[index / L][index % L];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn planes_hold_the_bits_and_come_back(
            x in proptest::collection::vec(any::<u64>(), 1..1200), low in 0u32..64, width in 1u32..=64,
        ) {
            let width = width.min(64 - low);
            let layout = Layout::new(x.len());
            let mut planes = vec![u64::MAX; width as usize * layout.words()];
            to_planes(low, width, &x, &mut planes);
            if width == 1 {
                let bits: Vec<bool> = x.iter().map(|x| x >> low & 1 == 1).collect();
                prop_assert_eq!(&Layout::pack(&bits), &planes);
            }
            let mut back = vec![0; x.len()];
            from_planes(width, &planes, &mut back);
            let mask = u64::MAX >> (64 - width);
            let expected: Vec<u64> = x.iter().map(|x| x >> low & mask).collect();
            prop_assert_eq!(back, expected);
        }
    }
}
