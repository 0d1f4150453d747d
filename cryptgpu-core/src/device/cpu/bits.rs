//! Some bits of every word to packed planes and back: how values of a few bits travel.

use super::parallel::{Out, for_units};
use super::planes::{load, load_planes, store_planes};
use super::rows::row_kernel;
use crate::ring::{Layout, Word};

/// `planes` = bits `low .. low + width` of every word, packed as [`Layout`] tells; zero where a
/// group has no element. `planes` has `width`·⌈n/64⌉ words; low + width is at most the word's bits.
pub fn to_planes<W: Word>(low: u32, width: u32, x: &[u64], planes: &mut [u64]) {
    let (x, out) = (W::of(x), Out::new(planes));
    for_units(Layout::new(x.len()), |unit| {
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(unit.planes(width as usize)) };
        to_planes_unit(unit.lanes(), low, &x[unit.elements.clone()], out);
    });
}

row_kernel! {
    fn to_planes_unit<R, W>(low: u32, x: &[W], planes: &mut [u64]) {
        let mut rows = [R::zero(); 64];
        load(&mut rows, x.len(), |t| R::load(x, t).shr(low));
        store_planes(&mut rows, planes);
    }
}

/// `out` = the values below 2^width whose bits `planes` has: the inverse of [`to_planes`].
pub fn from_planes<W: Word>(width: u32, planes: &[u64], out: &mut [u64]) {
    let out = W::of_mut(out);
    let layout = Layout::new(out.len());
    let out = Out::new(out);
    for_units(layout, |unit| {
        // SAFETY: each unit takes its own range, once.
        let out = unsafe { out.range(unit.elements.clone()) };
        from_planes_unit(unit.lanes(), &planes[unit.planes(width as usize)], out);
    });
}

row_kernel! {
    fn from_planes_unit<R, W>(planes: &[u64], out: &mut [W]) {
        let mut rows = [R::zero(); 64];
        load_planes(&mut rows, planes);
        for (t, row) in rows.iter().take(out.len() / R::LANES).enumerate() {
            row.store(out, t);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn come_back<W: Word>(words: &[u64], low: u32, width: u32) {
        let (x, low) = (W::of(words), low % W::BITS);
        let width = width.min(W::BITS - low);
        let mut planes = vec![u64::MAX; width as usize * Layout::new(x.len()).words()];
        to_planes::<W>(low, width, words, &mut planes);
        if width == 1 {
            let bits: Vec<bool> = x.iter().map(|&x| x.as_() >> low & 1 == 1).collect();
            assert_eq!(Layout::pack(&bits), planes);
        }
        let mut back = vec![0; words.len()];
        from_planes::<W>(width, &planes, &mut back);
        let expected: Vec<u64> = x.iter().map(|&x| x.as_() >> low & u64::MAX >> (64 - width)).collect();
        assert_eq!(W::of(&back).iter().map(|&x| x.as_()).collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn planes_hold_the_bits_and_come_back(
            x in proptest::collection::vec(any::<u64>(), 1..1200), low in 0u32..64, width in 1u32..=64,
        ) {
            come_back::<u64>(&x, low, width);
            come_back::<u32>(&x, low, width);
        }
    }
}
