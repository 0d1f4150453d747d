//! Images that are part of the program, for machines without NVRTC: with the feature `embedded`, those that
//! `scripts/embed-kernels` has made. They are found by what they were made from, so images of other sources are not
//! used.

use super::{Family, Image, Target, source_key};
use crate::launch::Width;

#[cfg(feature = "embedded")]
const IMAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
#[cfg(not(feature = "embedded"))]
const IMAGES: &[(&str, &[u8])] = &[];

/// The embedded image of `family` for elements of a width and for `target`, if there is one of these very sources.
pub(super) fn image(family: Family, width: Width, target: Target) -> Option<Image> {
    find(IMAGES, &source_key(family, width, target))
}

fn find(images: &[(&str, &[u8])], key: &str) -> Option<Image> {
    images.iter().find(|(name, _)| *name == key).map(|(_, image)| Image(image.to_vec()))
}

/// Whether all images are there for `target`.
pub(super) fn has_all(target: Target) -> bool {
    let there = |family, width| IMAGES.iter().any(|(name, _)| *name == source_key(family, width, target));
    Family::ALL.iter().all(|&family| family.widths().all(|width| there(family, width)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Format;

    #[test]
    fn images_are_found_by_their_sources() {
        let target = Target { arch: 80, format: Format::Cubin };
        let key = source_key(Family::Aes, Width::Bits64, target);
        let images: &[(&str, &[u8])] = &[(&key, &[1, 2, 3])];
        assert_eq!(find(images, &key).map(|image| image.0), Some(vec![1, 2, 3]));
        assert!(find(images, &source_key(Family::Aes, Width::Bits64, Target { arch: 90, ..target })).is_none());
        assert!(find(images, &source_key(Family::Aes, Width::Bits32, target)).is_none());
        assert!(find(images, &source_key(Family::Sign, Width::Bits64, target)).is_none());
        assert_eq!(has_all(target), cfg!(feature = "embedded"));
    }
}
