//! What fuzzers and the test of their corpora call: the readers of foreign files, on bytes in memory. Nothing else does.

use std::io::Cursor;
use std::path::Path;

use crate::read::Source;
use crate::{idx, npy, png_rows};

/// Reads an IDX file of images; what was read is written and read again alike.
///
/// # Panics
/// When it is not, which is what a fuzzer looks for.
pub fn idx_images(bytes: &[u8]) {
    let path = Path::new("fuzz.idx3");
    if let Ok(images) = idx::parse_images(Source::bytes(path, bytes), path) {
        let again = idx::parse_images(Source::bytes(path, &idx::write_images(&images)), path);
        assert!(again.is_ok_and(|again| again == images), "images changed on their way");
    }
}

/// Reads an IDX file of labels; what was read is written and read again alike.
///
/// # Panics
/// As [`idx_images`].
pub fn idx_labels(bytes: &[u8]) {
    let path = Path::new("fuzz.idx1");
    if let Ok(labels) = idx::parse_labels(Source::bytes(path, bytes), path) {
        let again = idx::parse_labels(Source::bytes(path, &idx::write_labels(&labels)), path);
        assert!(again.is_ok_and(|again| again == labels), "labels changed on their way");
    }
}

/// Reads a PNG whose rows are images.
///
/// # Panics
/// When an image has another shape than it must have.
pub fn png_images(bytes: &[u8]) {
    if let Ok(images) = png_rows::parse(Path::new("fuzz.png"), Cursor::new(bytes)) {
        assert_eq!(images.shape()[1..], [3, 32, 32]);
    }
}

/// Reads a NumPy array; what was read is written and read again alike.
///
/// # Panics
/// When it is not.
pub fn npy(bytes: &[u8]) {
    let path = Path::new("fuzz.npy");
    if let Ok(array) = npy::parse(bytes, path) {
        let again = npy::parse(&npy::bytes(&array), path);
        let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits();
        assert!(again.is_ok_and(|again| again.shape() == array.shape() && again.iter().zip(&array).all(same)));
    }
}
