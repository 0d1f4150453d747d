//! Pictures against what Pillow and NumPy make of the same files (`data/pictures/make.py`), and files that are none.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use cryptgpu_datasets::pictures::{self, Preprocessing};
use cryptgpu_datasets::{Normalisation, npy};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/pictures").join(name)
}

/// By how many of 255 levels the picture is at most away from Pillow's.
fn levels_from_pillow(file: &str, preset: &str) -> f64 {
    let stem = file.split('.').next().unwrap();
    let expected = npy::read(data(&format!("{stem}-{preset}.npy"))).unwrap();
    let &[channels, height, width] = expected.shape() else { panic!("{:?}", expected.shape()) };
    let preprocessing: Preprocessing = preset.parse().unwrap();
    let made = pictures::read(&[data(file)], &preprocessing, [channels, height, width]).unwrap();
    let made = made.index_axis(ndarray::Axis(0), 0);
    let std = |channel: usize| preprocessing.std[channel % preprocessing.std.len()];
    let away = made.indexed_iter().map(|((c, y, x), value)| (value - expected[[c, y, x]]).abs() * std(c));
    away.fold(0.0, f64::max) * preprocessing.scale
}

#[test]
fn pictures_become_what_pillow_makes_of_them() {
    for (file, preset, levels) in [
        ("wide.png", "imagenet", 1.01),
        ("wide.png", "open-nsfw", 1.01),
        ("wide.png", "mnist", 1.01),
        ("grey.png", "unit", 1.01),
        // Decoders of JPEG differ.
        ("tall.jpg", "imagenet", 4.01),
        ("turned.jpg", "imagenet", 4.01),
    ] {
        let away = levels_from_pillow(file, preset);
        assert!(away < levels, "{file} with {preset}: {away} levels away");
    }
}

#[test]
fn presets_of_our_data_sets_are_those_that_networks_were_trained_with() {
    for (preset, trained) in [
        ("mnist", Normalisation::mnist()),
        ("fashion-mnist", Normalisation::fashion_mnist()),
        ("cifar10", Normalisation::cifar10()),
        ("cifar100", Normalisation::cifar100()),
    ] {
        let preprocessing: Preprocessing = preset.parse().unwrap();
        let as_f32 = |numbers: &[f64]| numbers.iter().map(|&x| x as f32).collect::<Vec<_>>();
        assert_eq!((as_f32(&preprocessing.mean), as_f32(&preprocessing.std)), (trained.mean, trained.std));
    }
}

#[test]
fn a_folder_is_its_pictures_by_name() {
    let names = |path: &Path| -> Vec<String> {
        let paths = pictures::list(path).unwrap();
        paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(&data("")), ["grey.png", "tall.jpg", "turned.jpg", "wide.png"]);
    assert_eq!(names(&data("wide.png")), ["wide.png"]);
    let empty = tempfile::tempdir().unwrap();
    let error = pictures::list(empty.path()).unwrap_err().to_string();
    assert!(error.contains("has no .png"), "{error}");
    assert!(pictures::list(&data("gone.png")).unwrap_err().to_string().contains("is not there"));
}

#[test]
fn what_is_no_picture_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let unit: Preprocessing = "unit".parse().unwrap();
    let refused = |name: &str, bytes: &[u8], shape| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = pictures::read(std::slice::from_ref(&path), &unit, shape).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("is no picture that can be used"), "{error}");
        error
    };
    let wide = std::fs::read(data("wide.png")).unwrap();
    let tall = std::fs::read(data("tall.jpg")).unwrap();
    refused("text.png", b"no picture", [3, 8, 8]);
    refused("empty.jpg", b"", [3, 8, 8]);
    for cut in [9, 40, wide.len() / 2, wide.len() - 20] {
        refused("cut.png", &wide[..cut], [3, 8, 8]);
    }
    refused("cut.jpg", &tall[..300], [3, 8, 8]);
    let error = refused("wide.png", &wide, [4, 8, 8]);
    assert!(error.contains("takes 4 channels"), "{error}");
    let imagenet: Preprocessing = "imagenet".parse().unwrap();
    let error = pictures::read(&[data("grey.png")], &imagenet, [1, 8, 8]).unwrap_err().to_string();
    assert!(error.contains("3 numbers for 1 channels"), "{error}");
}

/// A header that promises a picture of 8 GB costs an error, not memory.
#[test]
fn a_picture_that_claims_to_be_huge_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = std::fs::read(data("wide.png")).unwrap();
    bytes[16..24].copy_from_slice(&[0, 0, 0xc0, 0, 0, 0, 0xc0, 0]);
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    let path = folder.path().join("huge.png");
    std::fs::write(&path, bytes).unwrap();
    let error = pictures::read(&[path], &"unit".parse().unwrap(), [3, 8, 8]).unwrap_err().to_string();
    assert!(error.contains("huge.png"), "{error}");
}

/// The sum of a chunk of a PNG file.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum()
}
