//! Formats told by their first bytes: what a file is that was given to a reader of something else, in words for a
//! message. No reader decides by this what it reads.

use std::path::Path;

use crate::DatasetError;

/// Beginnings of files, what has them, and what to do with such a file.
const KNOWN: &[(&[u8], &str, &str)] = &[
    (&[0x1f, 0x8b], "compressed with gzip", "unpack it first (gunzip; tar xf for a .tar.gz)"),
    (b"BZh", "compressed with bzip2", "unpack it first (bunzip2)"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "compressed with xz", "unpack it first (unxz)"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "compressed with Zstandard", "unpack it first (unzstd)"),
    (b"PK\x03\x04", "a zip archive (or NumPy's .npz, or PyTorch's .pt)", "unpack it first, or export it anew"),
    (b"\x93NUMPY", "a NumPy array", "write it as IDX, CIFAR-10 records or PNG rows"),
    (b"\x89HDF", "an HDF5 file", "write it as IDX, CIFAR-10 records or PNG rows"),
    (b"\x89PNG", "a PNG picture", "give it a name that ends with .png if its rows are images"),
    (&[0xff, 0xd8, 0xff], "a JPEG picture", "write it as IDX, CIFAR-10 records or PNG rows"),
    (&[0, 0, 8, 1], "an IDX file of labels", "are images and labels exchanged?"),
    (&[0, 0, 8, 3], "an IDX file of images", "are images and labels exchanged?"),
];

/// The types of elements that IDX files can have.
const IDX_TYPES: [u8; 6] = [0x08, 0x09, 0x0b, 0x0c, 0x0d, 0x0e];

/// What a file that begins with `start` is, and what to do with it, if its beginning is known.
pub(crate) fn recognise(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let known = KNOWN.iter().find(|(beginning, ..)| start.starts_with(beginning));
    match (known, start) {
        (Some((_, what, advice)), _) => Some((what, advice)),
        (None, [0, 0, element, 1..=4, ..]) if IDX_TYPES.contains(element) => {
            Some(("an IDX file of other elements or dimensions", "unsigned bytes are read, as MNIST has them"))
        }
        (None, [0x80, 2..=5, ..]) => {
            Some(("a Python pickle (CIFAR's \"python version\"?)", "fetch the binary version (scripts/fetch-datasets)"))
        }
        (None, [b'<', ..]) => Some(("a web page or XML", "fetch it again: was the download refused?")),
        _ => None,
    }
}

/// The error for a file that begins with `start` and is not what was expected.
pub(crate) fn other(path: &Path, expected: &'static str, start: &[u8]) -> DatasetError {
    let (found, advice) = recognise(start).unwrap_or((
        "of a format that is not known here",
        "is it the right file, or compressed with something other than gzip?",
    ));
    DatasetError::OtherFormat { path: path.to_path_buf(), expected, found, advice }
}
