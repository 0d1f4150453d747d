//! CIFAR-10's binary version: records of one label byte and 3,072 pixel bytes, the red plane, then
//! green, then blue, 32×32 each, row by row.

use std::path::Path;

use ndarray::Array4;

use crate::images::MAX_IMAGES;
use crate::read::read_up_to;
use crate::{DatasetError, Result, format};

/// Number of classes.
pub const CLASSES: u8 = 10;
/// Channels, height and width of a CIFAR image.
pub const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = SHAPE[0] * SHAPE[1] * SHAPE[2];
const RECORD: usize = 1 + PIXELS;
/// Bytes of a record of CIFAR-100: a coarse label, a fine one, the pixels.
const RECORD_OF_100: usize = 2 + PIXELS;
/// Largest file read: CIFAR-10 has 10,000 records in a file, this allows 100,000.
const MAX_BYTES: u64 = 100_000 * RECORD as u64;
const _: () = assert!(MAX_BYTES / (RECORD as u64) < MAX_IMAGES);

/// Reads one file of records (`data_batch_1.bin`, `test_batch.bin`): pixels as (count, 3, 32, 32),
/// and labels.
///
/// # Errors
/// A [`DatasetError`] that names the file when it is missing, too large, or not a whole number of
/// records.
pub fn read(path: &Path) -> Result<(Array4<u8>, Vec<u8>)> {
    parse(path, &read_up_to(path, MAX_BYTES, "the size of the file in bytes")?)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<(Array4<u8>, Vec<u8>)> {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    let expected = "a file of CIFAR-10 records (a label byte and 3,072 pixel bytes each)";
    // Whole records that begin with a label may begin like another format by chance.
    let foreign = !rest.is_empty() || bytes.first().is_some_and(|&label| label >= CLASSES);
    if foreign && format::recognise(bytes).is_some() {
        return Err(format::other(path, expected, bytes));
    }
    if !rest.is_empty() && bytes.len().is_multiple_of(RECORD_OF_100) {
        return Err(DatasetError::OtherFormat {
            path: path.to_path_buf(),
            expected,
            found: "of the size that CIFAR-100 has (two label bytes and 3,072 pixel bytes a record)",
            advice: "CIFAR-10 is read: its files are data_batch_1.bin to data_batch_5.bin and test_batch.bin",
        });
    }
    if !rest.is_empty() || records.is_empty() {
        let (what, expected, found) = ("the last record", RECORD as u64, rest.len() as u64);
        return Err(DatasetError::Truncated { path: path.to_path_buf(), what, expected, found });
    }
    let labels = records.iter().map(|record| record[0]).collect();
    let pixels = records.iter().flat_map(|record| record[1..].iter().copied()).collect();
    let array = crate::idx::to_array(path, pixels, records.len() as u64, 3, 32, 32)?;
    Ok((array, labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn planes_and_labels_are_where_the_format_says() {
        let mut file = vec![0; 2 * RECORD];
        file[RECORD] = 7; // label of the second image
        file[RECORD + 1 + 1024 + 32 + 2] = 200; // its green plane, row 1, column 2
        let (pixels, labels) = parse(Path::new("b.bin"), &file).unwrap();
        assert_eq!(labels, [0, 7]);
        assert_eq!((pixels.dim(), pixels[[1, 1, 1, 2]]), ((2, 3, 32, 32), 200));
        assert_eq!(pixels.iter().filter(|&&byte| byte != 0).count(), 1);
    }

    proptest! {
        #[test]
        fn any_length_but_whole_records_is_an_error(length in 0usize..4 * RECORD) {
            let parsed = parse(Path::new("b.bin"), &vec![1; length]);
            prop_assert_eq!(parsed.is_ok(), length > 0 && length % RECORD == 0);
        }
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        let case = |name: &str| {
            let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases")).join(name);
            let error = read(&path).unwrap_err();
            assert!(matches!(error, DatasetError::OtherFormat { .. }), "{error}");
            error.to_string()
        };
        let error = case("cifar100.bin");
        assert!(error.contains("CIFAR-100") && error.contains("data_batch_1.bin"), "{error}");
        let error = case("cifar_gz.bin");
        assert!(error.contains("compressed with gzip; unpack it first"), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.bin");
        std::fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap(); // sparse: takes no disk
        assert!(matches!(read(&path), Err(DatasetError::TooLarge { .. })));
    }
}
