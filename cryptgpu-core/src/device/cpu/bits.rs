//! Some bits of every word to packed planes and back: how values of a few bits travel.

use super::parallel::{Out, for_units};
use super::planes::{load, load_planes, store_planes};
use super::rows::row_kernel;
use crate::ring::Layout;

/// `planes` = bits `low .. low + width` of every word, packed as [`Layout`] tells; zero where a
/// group has no element. `planes` has `width`·⌈n/64⌉ words; low + width is at most 64.
pub fn to_planes(low: u32, width: u32, x: &[u64], planes: &mut [u64]) {
    let out = Out::new(planes);
    for_units(Layout::new(x.len()), |unit| {
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(unit.planes(width as usize)) };
        to_planes_unit(unit.lanes(), low, &x[unit.elements.clone()], out);
    });
}

row_kernel! {
    fn to_planes_unit<R>(low: u32, x: &[u64], planes: &mut [u64]) {
        store_planes(load(x.len(), |t| R::load(x, t).shr(low)), planes);
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

row_kernel! {
    fn from_planes_unit<R>(planes: &[u64], out: &mut [u64]) {
        let rows = load_planes::<R>(planes);
        for (t, row) in rows.into_iter().take(out.len() / R::LANES).enumerate() {
            row.store(out, t);
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
