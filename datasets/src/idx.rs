//! The IDX format of MNIST: a magic number, one 32-bit size per dimension (most significant byte
//! first), then bytes. Read plain or gzipped; anything but unsigned bytes is refused.

use std::path::Path;

use ndarray::Array4;

use crate::images::{MAX_IMAGES, checked_pixel_bytes};
use crate::read::{GZIP, Source};
use crate::{DatasetError, Result, format};

/// Magic number of a file of labels: unsigned bytes, one dimension.
pub const LABELS_MAGIC: u32 = 0x0801;
/// Magic number of a file of images: unsigned bytes, three dimensions.
pub const IMAGES_MAGIC: u32 = 0x0803;

/// Reads grey images (`t10k-images-idx3-ubyte` and the like), plain or gzipped, as
/// (count, 1, height, width).
///
/// # Errors
/// A [`DatasetError`] that names the file when it is missing, cut, too long, of another format or of
/// absurd size (see the limits in [`images`](crate::images)).
pub fn read_images(path: &Path) -> Result<Array4<u8>> {
    parse_images(Source::open(path)?, path)
}

/// Reads labels (`t10k-labels-idx1-ubyte` and the like), plain or gzipped. Whether a label is a class
/// is for the data set to say.
///
/// # Errors
/// As [`read_images`].
pub fn read_labels(path: &Path) -> Result<Vec<u8>> {
    parse_labels(Source::open(path)?, path)
}

pub(crate) fn parse_images(mut source: Source<'_>, path: &Path) -> Result<Array4<u8>> {
    magic(&mut source, path, IMAGES_MAGIC, "an IDX file of images (unsigned bytes, three dimensions)")?;
    let mut size = || source.take_u32("the header").map(u64::from);
    let (images, height, width) = (size()?, size()?, size()?);
    let bytes = source.take(checked_pixel_bytes(path, images, 1, height, width)?, "the pixels")?;
    source.finish()?;
    to_array(path, bytes, images, 1, height, width)
}

pub(crate) fn parse_labels(mut source: Source<'_>, path: &Path) -> Result<Vec<u8>> {
    magic(&mut source, path, LABELS_MAGIC, "an IDX file of labels (unsigned bytes, one dimension)")?;
    let declared = u64::from(source.take_u32("the header")?);
    if declared > MAX_IMAGES {
        let (path, what) = (path.to_path_buf(), "the number of labels");
        return Err(DatasetError::TooLarge { path, what, declared, limit: MAX_IMAGES });
    }
    let labels = source.take(declared, "the labels")?;
    source.finish()?;
    Ok(labels)
}

fn magic(source: &mut Source<'_>, path: &Path, wanted: u32, expected: &'static str) -> Result<()> {
    match source.take_u32("the header")? {
        found if found == wanted => Ok(()),
        found if source.is_gzipped() && found.to_be_bytes().starts_with(GZIP) => Err(DatasetError::OtherFormat {
            path: path.to_path_buf(),
            expected,
            found: "compressed with gzip twice",
            advice: "unpack it once (gunzip)",
        }),
        found => Err(format::other(path, expected, &found.to_be_bytes())),
    }
}

/// Bytes already in the order of the array.
pub(crate) fn to_array(
    path: &Path,
    bytes: Vec<u8>,
    images: u64,
    channels: u64,
    height: u64,
    width: u64,
) -> Result<Array4<u8>> {
    let shape = (images as usize, channels as usize, height as usize, width as usize);
    let found = bytes.len() as u64;
    Array4::from_shape_vec(shape, bytes).map_err(|_| DatasetError::Truncated {
        path: path.to_path_buf(),
        what: "the pixels",
        expected: images * channels * height * width,
        found,
    })
}

/// An IDX file of grey images, for fixtures and for making the bundle.
pub fn write_images(images: &Array4<u8>) -> Vec<u8> {
    let (count, channels, height, width) = images.dim();
    let header = [IMAGES_MAGIC, count as u32, (channels * height) as u32, width as u32];
    header.into_iter().flat_map(u32::to_be_bytes).chain(images.iter().copied()).collect()
}

/// An IDX file of labels, for fixtures and for making the bundle.
pub fn write_labels(labels: &[u8]) -> Vec<u8> {
    let header = [LABELS_MAGIC, labels.len() as u32];
    header.into_iter().flat_map(u32::to_be_bytes).chain(labels.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    const NAME: &str = "digits.idx";

    fn images(bytes: &[u8]) -> Result<Array4<u8>> {
        parse_images(Source::bytes(Path::new(NAME), bytes), Path::new(NAME))
    }

    fn labels(bytes: &[u8]) -> Result<Vec<u8>> {
        parse_labels(Source::bytes(Path::new(NAME), bytes), Path::new(NAME))
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn header(sizes: [u32; 3]) -> Vec<u8> {
        [IMAGES_MAGIC, sizes[0], sizes[1], sizes[2]].into_iter().flat_map(u32::to_be_bytes).collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_plain_and_gzipped(n in 0usize..4, h in 0usize..6, w in 0usize..6, seed: u8) {
            let array = Array4::from_shape_fn((n, 1, h, w), |(n, _, h, w)| (n * 31 + h * 7 + w) as u8 ^ seed);
            let file = write_images(&array);
            prop_assert_eq!(&images(&file).unwrap(), &array);
            prop_assert_eq!(&images(&gzip(&file)).unwrap(), &array);
        }

        #[test]
        fn every_cut_and_every_extra_byte_is_noticed(cut in 0usize..28, gz: bool) {
            let file = write_images(&Array4::from_elem((3, 1, 2, 2), 9)); // 28 bytes
            let pack = |bytes: &[u8]| if gz { gzip(bytes) } else { bytes.to_vec() };
            let error = images(&pack(&file[..cut])).unwrap_err();
            prop_assert!(matches!(error, DatasetError::Truncated { .. }), "{}", error);
            let longer = [&file[..], &[0]].concat();
            let error = images(&pack(&longer)).unwrap_err();
            prop_assert!(matches!(error, DatasetError::TrailingBytes { expected: 28, .. }), "{}", error);
        }

        #[test]
        fn any_bytes_give_an_array_or_an_error(bytes: Vec<u8>, known_magic: bool) {
            let file = if known_magic { [&IMAGES_MAGIC.to_be_bytes()[..], &bytes].concat() } else { bytes };
            if let Ok(array) = images(&file) {
                prop_assert_eq!(array.len() + 16, file.len());
            }
            if let Ok(found) = labels(&file) {
                prop_assert_eq!(found.len() + 8, file.len());
            }
        }

        #[test]
        fn a_damaged_gzip_file_is_an_error_or_unchanged(at in 0usize..60, flip in 1u8..=255) {
            let array = Array4::from_shape_fn((2, 1, 5, 5), |(n, _, h, w)| (n * 25 + h * 5 + w) as u8);
            let mut file = gzip(&write_images(&array));
            let at = at % file.len();
            file[at] ^= flip;
            // Bytes of the gzip header (a time stamp, say) change nothing; all others are under its sum.
            if let Ok(found) = images(&file) {
                prop_assert_eq!(found, array);
            }
        }
    }

    #[test]
    fn sizes_are_refused_before_memory_is_taken() {
        for (sizes, limit) in [
            ([u32::MAX, 28, 28], MAX_IMAGES),
            ([1, 5000, 28], crate::images::MAX_SIDE),
            ([1, 28, 5000], crate::images::MAX_SIDE),
            ([1000, 4096, 4096], crate::images::MAX_PIXEL_BYTES),
        ] {
            let error = images(&header(sizes)).unwrap_err();
            assert!(matches!(error, DatasetError::TooLarge { limit: l, .. } if l == limit), "{error}");
        }
        // Within the limits but not there: an error after the bytes that are.
        let error = images(&header([1 << 20, 32, 32])).unwrap_err();
        assert!(matches!(error, DatasetError::Truncated { expected: 1_073_741_824, found: 0, .. }), "{error}");
        let error = labels(&[LABELS_MAGIC.to_be_bytes(), u32::MAX.to_be_bytes()].concat()).unwrap_err();
        assert!(matches!(error, DatasetError::TooLarge { .. }), "{error}");
    }

    #[test]
    fn exchanged_files_are_told_apart_and_named() {
        let error = images(&write_labels(&[1, 2])).unwrap_err().to_string();
        assert!(error.starts_with("digits.idx is not an IDX file of images"), "{error}");
        assert!(error.contains("but an IDX file of labels; are images and labels exchanged?"), "{error}");
        let error = labels(&write_images(&Array4::zeros((1, 1, 2, 2)))).unwrap_err().to_string();
        assert!(error.contains("but an IDX file of images"), "{error}");
    }

    /// A case of `tests/cases`: real files as other programs write them.
    fn case(name: &str) -> Result<Array4<u8>> {
        read_images(&Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases")).join(name))
    }

    #[test]
    fn gzip_members_are_one_file_and_zeros_behind_them_are_padding() {
        let whole = case("gz_multi_member.gz").unwrap();
        assert_eq!(whole.dim(), (3, 1, 28, 28));
        assert_eq!(case("gz_trailing_zeros.gz").unwrap(), whole);
    }

    #[test]
    fn what_follows_the_data_in_a_gzip_file_is_refused_as_in_a_plain_one() {
        for name in ["gz_second_member_extra.gz", "gz_trailing_junk.gz"] {
            let error = case(name).unwrap_err();
            assert!(matches!(error, DatasetError::TrailingBytes { expected: 2368, .. }), "{name}: {error}");
        }
        let file = write_images(&Array4::from_elem((3, 1, 2, 2), 9));
        for behind in [&[0, 0, 7][..], &[0, 0x1f, 0x8b], &[0x1f]] {
            let error = images(&[&gzip(&file), behind].concat()).unwrap_err();
            let named = matches!(error, DatasetError::TrailingBytes { .. } | DatasetError::Io { .. });
            assert!(named, "{behind:?}: {error}");
        }
    }

    #[test]
    fn other_formats_are_named() {
        let error = case("gz_double.gz").unwrap_err().to_string();
        assert!(error.contains("gz_double.gz is not an IDX file of images"), "{error}");
        assert!(error.contains("compressed with gzip twice; unpack it once"), "{error}");
        for (start, name) in [
            (&b"PK\x03\x04"[..], "zip"),
            (b"BZh9", "bzip2"),
            (b"\x93NUM", "format that is not known"),
            (&[0, 0, 13, 2], "other elements"),
        ] {
            let error = images(&[start, &[0; 40]].concat()).unwrap_err();
            assert!(matches!(&error, DatasetError::OtherFormat { .. }) && error.to_string().contains(name), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_file_in_any_number_of_members_is_read_whole(cuts in prop::collection::vec(0usize..64, 0..5), zeros in 0usize..9) {
            let array = Array4::from_shape_fn((3, 1, 4, 4), |(n, _, h, w)| (n * 31 + h * 7 + w) as u8);
            let file = write_images(&array); // 64 bytes
            let mut cuts = cuts;
            cuts.extend([0, 64]);
            cuts.sort_unstable();
            let mut packed: Vec<u8> = cuts.windows(2).flat_map(|pair| gzip(&file[pair[0]..pair[1]])).collect();
            packed.extend(vec![0; zeros]);
            prop_assert_eq!(&images(&packed).unwrap(), &array);
            packed.push(1);
            prop_assert!(images(&packed).is_err());
        }
    }

    #[test]
    fn a_missing_file_says_how_to_get_it() {
        let error = read_images(Path::new("no/such/file")).unwrap_err();
        assert!(error.to_string().contains("scripts/fetch-datasets"), "{error}");
    }
}
