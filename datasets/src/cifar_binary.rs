//! The binary versions of CIFAR-10 and CIFAR-100: records of one label byte, or a coarse and a fine one, and 3,072 pixel
//! bytes, the red plane, then green, then blue, 32×32 each, row by row.

use std::path::Path;

use ndarray::Array4;

use crate::images::MAX_IMAGES;
use crate::read::read_up_to;
use crate::{DatasetError, Result, format};

/// Channels, height and width of a CIFAR image.
pub const SHAPE: [usize; 3] = [3, 32, 32];
const PIXELS: usize = SHAPE[0] * SHAPE[1] * SHAPE[2];
/// Largest file read: CIFAR has 50,000 records in a file at most, this allows 100,000.
const MAX_RECORDS: u64 = 100_000;
const _: () = assert!(MAX_RECORDS < MAX_IMAGES);

/// Whose records a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Records {
    /// A label, and the pixels.
    Cifar10,
    /// A coarse label, a fine one, and the pixels.
    Cifar100,
}

impl Records {
    fn label_bytes(self) -> usize {
        if self == Records::Cifar10 { 1 } else { 2 }
    }

    fn size(self) -> usize {
        self.label_bytes() + PIXELS
    }

    fn classes(self) -> u8 {
        if self == Records::Cifar10 { 10 } else { 100 }
    }

    fn other(self) -> Self {
        if self == Records::Cifar10 { Records::Cifar100 } else { Records::Cifar10 }
    }

    fn expected(self) -> &'static str {
        match self {
            Records::Cifar10 => "a file of CIFAR-10 records (a label byte and 3,072 pixel bytes each)",
            Records::Cifar100 => "a file of CIFAR-100 records (two label bytes and 3,072 pixel bytes each)",
        }
    }

    /// What a file of the others' is, where these were expected, and what to do with it.
    fn are_not(self) -> (&'static str, &'static str) {
        match self {
            Records::Cifar10 => (
                "of the size that CIFAR-100 has (two label bytes and 3,072 pixel bytes a record)",
                "CIFAR-10's files are data_batch_1.bin to data_batch_5.bin and test_batch.bin",
            ),
            Records::Cifar100 => (
                "of the size that CIFAR-10 has (a label byte and 3,072 pixel bytes a record)",
                "CIFAR-100's files are train.bin and test.bin",
            ),
        }
    }
}

/// Reads one file of records (`data_batch_1.bin`, `test.bin`): pixels as (count, 3, 32, 32),
/// and labels, of CIFAR-100 the fine ones.
///
/// # Errors
/// A [`DatasetError`] that names the file when it is missing, too large, or not a whole number of
/// records.
pub fn read(path: &Path, records: Records) -> Result<(Array4<u8>, Vec<u8>)> {
    parse(path, &open(path)?, records)
}

/// As [`read`], of whichever of the two the file's size says that it has.
///
/// # Errors
/// As [`read`].
pub fn read_either(path: &Path) -> Result<(Array4<u8>, Vec<u8>)> {
    let bytes = open(path)?;
    let is = |records: Records| bytes.len().is_multiple_of(records.size());
    let records = if is(Records::Cifar100) && !is(Records::Cifar10) { Records::Cifar100 } else { Records::Cifar10 };
    parse(path, &bytes, records)
}

fn open(path: &Path) -> Result<Vec<u8>> {
    read_up_to(path, MAX_RECORDS * Records::Cifar100.size() as u64, "the size of the file in bytes")
}

fn parse(path: &Path, bytes: &[u8], records: Records) -> Result<(Array4<u8>, Vec<u8>)> {
    let (size, labels) = (records.size(), records.label_bytes());
    let rest = bytes.len() % size;
    // Whole records that begin with a label may begin like another format by chance.
    let foreign = rest != 0 || bytes.get(labels - 1).is_some_and(|&label| label >= records.classes());
    if foreign && format::recognise(bytes).is_some() {
        return Err(format::other(path, records.expected(), bytes));
    }
    if rest != 0 && bytes.len().is_multiple_of(records.other().size()) {
        let (found, advice) = records.are_not();
        return Err(DatasetError::OtherFormat {
            path: path.to_path_buf(),
            expected: records.expected(),
            found,
            advice,
        });
    }
    if rest != 0 || bytes.is_empty() {
        let (what, expected, found) = ("the last record", size as u64, rest as u64);
        return Err(DatasetError::Truncated { path: path.to_path_buf(), what, expected, found });
    }
    let all = bytes.chunks_exact(size);
    let count = all.len() as u64;
    let pixels = all.clone().flat_map(|record| record[labels..].iter().copied()).collect();
    let array = crate::idx::to_array(path, pixels, count, 3, 32, 32)?;
    Ok((array, all.map(|record| record[labels - 1]).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn planes_and_labels_are_where_the_format_says() {
        for records in [Records::Cifar10, Records::Cifar100] {
            let size = records.size();
            let mut file = vec![0; 2 * size];
            file[size + records.label_bytes() - 1] = 7; // label of the second image
            file[size + records.label_bytes() + 1024 + 32 + 2] = 200; // its green plane, row 1, column 2
            let (pixels, labels) = parse(Path::new("b.bin"), &file, records).unwrap();
            assert_eq!(labels, [0, 7]);
            assert_eq!((pixels.dim(), pixels[[1, 1, 1, 2]]), ((2, 3, 32, 32), 200));
            assert_eq!(pixels.iter().filter(|&&byte| byte != 0).count(), 1);
        }
    }

    proptest! {
        #[test]
        fn any_length_but_whole_records_is_an_error(length in 0usize..4 * 3074) {
            for records in [Records::Cifar10, Records::Cifar100] {
                let parsed = parse(Path::new("b.bin"), &vec![1; length], records);
                prop_assert_eq!(parsed.is_ok(), length > 0 && length % records.size() == 0);
            }
        }
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        let case = |name: &str| {
            let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases")).join(name);
            let error = read(&path, Records::Cifar10).unwrap_err();
            assert!(matches!(error, DatasetError::OtherFormat { .. }), "{error}");
            error.to_string()
        };
        let error = case("cifar100.bin");
        assert!(error.contains("CIFAR-100") && error.contains("data_batch_1.bin"), "{error}");
        let error = case("cifar_gz.bin");
        assert!(error.contains("compressed with gzip; unpack it first"), "{error}");
    }

    #[test]
    fn whose_records_a_file_has_is_told_by_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.bin");
        for (label, label_bytes) in [([3, 3], 1), ([3, 42], 2)] {
            std::fs::write(&path, [&label[..label_bytes], &[9; 3072]].concat()).unwrap();
            assert_eq!(read_either(&path).unwrap().1, [label[label_bytes - 1]]);
        }
        let error = read(&path, Records::Cifar10).unwrap_err().to_string();
        assert!(error.contains("CIFAR-100"), "{error}");
        std::fs::write(&path, [0; 3073]).unwrap();
        let error = read(&path, Records::Cifar100).unwrap_err().to_string();
        assert!(error.contains("the size that CIFAR-10 has") && error.contains("test.bin"), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.bin");
        std::fs::File::create(&path).unwrap().set_len(MAX_RECORDS * 3074 + 1).unwrap(); // sparse: takes no disk
        assert!(matches!(read(&path, Records::Cifar10), Err(DatasetError::TooLarge { .. })));
    }
}
