//! What is part of the program itself, so that a first private inference needs no download: the
//! first 1,000 MNIST test images, LeNet trained on MNIST, and ResNet-8 trained on CIFAR-10.
//!
//! The images are those of Y. LeCun, C. Cortes and C. J. C. Burges, under CC BY-SA 3.0
//! (`datasets/bundle/CREDITS.md`). How the weights were made stands beside them in `datasets/weights/*.json`;
//! `cargo run --release -p cryptgpu-trainer` makes them again.

use std::path::Path;

use crate::read::Source;
use crate::{Collection, LabelledImages, Normalisation, Result, Split, idx};

const IMAGES: &[u8] = include_bytes!("../bundle/mnist-test-1000-images-idx3-ubyte.gz");
const LABELS: &[u8] = include_bytes!("../bundle/mnist-test-1000-labels-idx1-ubyte.gz");

/// LeNet's weights as a safetensors file of f32 with PyTorch's names: `conv1.weight` \[20, 1, 5, 5\],
/// `conv1.bias`, `conv2.weight` \[50, 20, 5, 5\], `conv2.bias`, `fc1.weight` \[500, 800\], `fc1.bias`,
/// `fc2.weight` \[10, 500\], `fc2.bias`. Inputs are scaled by [`Normalisation::mnist`].
pub const LENET_MNIST_SAFETENSORS: &[u8] = include_bytes!("../weights/lenet-mnist.safetensors");

/// How [`LENET_MNIST_SAFETENSORS`] was made, as JSON: program, seed, settings, accuracy, data.
pub const LENET_MNIST_RECORD: &str = include_str!("../weights/lenet-mnist.json");

/// ResNet-8's weights likewise, under the names of `resnet8-cifar10`. Inputs are scaled by [`Normalisation::cifar10`].
pub const RESNET8_CIFAR10_SAFETENSORS: &[u8] = include_bytes!("../weights/resnet8-cifar10.safetensors");

/// How [`RESNET8_CIFAR10_SAFETENSORS`] was made.
pub const RESNET8_CIFAR10_RECORD: &str = include_str!("../weights/resnet8-cifar10.json");

/// The weights that are part of the program for a network of that name, as a safetensors file.
pub fn weights(network: &str) -> Option<&'static [u8]> {
    match network {
        "lenet" => Some(LENET_MNIST_SAFETENSORS),
        "resnet8-cifar10" => Some(RESNET8_CIFAR10_SAFETENSORS),
        _ => None,
    }
}

/// The first 1,000 images of MNIST's test set, in its order. Needs no file.
///
/// # Errors
/// None with the bundle as committed; a damaged bundle is reported like any damaged file.
pub fn mnist_test_1000() -> Result<LabelledImages> {
    let (images, labels) = (Path::new("bundle/images"), Path::new("bundle/labels"));
    let pixels = idx::parse_images(Source::bytes(images, IMAGES), images)?;
    let classes = idx::parse_labels(Source::bytes(labels, LABELS), labels)?;
    LabelledImages::new("mnist-test-1000", pixels, classes, Collection::Mnist.classes(), Normalisation::mnist(), labels)
}

/// Images of the bundle that [`digits`] trains with; it measures on the rest.
const TRAIN: usize = 800;

/// The first 800 images of the bundle to train with, the other 200 to measure accuracy on: for a first try of training,
/// without any download.
///
/// # Errors
/// As [`mnist_test_1000`].
pub fn digits(split: Split) -> Result<LabelledImages> {
    let all = mnist_test_1000()?;
    let range = match split {
        Split::Train => 0..TRAIN,
        Split::Test => TRAIN..all.len(),
    };
    Ok(LabelledImages { name: format!("digits-{split}"), ..all.slice(range)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DatasetError;
    use crate::read::sha256_hex;

    #[test]
    fn the_bundle_is_the_first_thousand_test_images() {
        let bundle = mnist_test_1000().unwrap();
        assert_eq!(bundle.pixels.dim(), (1000, 1, 28, 28));
        assert_eq!(bundle.labels[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
        // Of the raw pixels and labels, so that it does not depend on how they are packed.
        assert_eq!(sha256_hex(bundle.pixels.as_slice().unwrap()), PIXELS_SHA256);
        assert_eq!(sha256_hex(&bundle.labels), LABELS_SHA256);
        match Collection::Mnist.load(Split::Test) {
            Ok(full) => assert_eq!(full.first(1000).unwrap().pixels, bundle.pixels),
            Err(DatasetError::Missing { .. }) => eprintln!("not compared with the full test set: it is not downloaded"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn the_weights_are_those_of_the_record_and_accurate_enough() {
        for (record, weights, least, dataset, normalisation, words) in [
            // Parameters, and of ResNet-8 the running means and variances of its 9 normalisations, four bytes each.
            (LENET_MNIST_RECORD, LENET_MNIST_SAFETENSORS, 98.8, "mnist", Normalisation::mnist(), 431_080),
            (
                RESNET8_CIFAR10_RECORD,
                RESNET8_CIFAR10_SAFETENSORS,
                75.0,
                "cifar10",
                Normalisation::cifar10(),
                78_042 + 672,
            ),
        ] {
            let record: serde_json::Value = serde_json::from_str(record).unwrap();
            assert_eq!(record["weights_sha256"], sha256_hex(weights));
            assert!(record["test_accuracy_percent"].as_f64().unwrap() >= least);
            for (channel, (mean, std)) in normalisation.mean.iter().zip(&normalisation.std).enumerate() {
                assert_eq!(record["normalisation"]["mean"][channel].as_f64().unwrap() as f32, *mean);
                assert_eq!(record["normalisation"]["std"][channel].as_f64().unwrap() as f32, *std);
            }
            for entry in crate::manifest::entries().unwrap().iter().filter(|entry| entry.dataset == dataset) {
                assert_eq!(record["data_sha256"][&entry.member], entry.sha256, "{}", entry.member);
            }
            // Behind a header of a few hundred bytes, or thousand.
            assert!((words * 4..words * 4 + 5120).contains(&weights.len()), "{dataset}: {}", weights.len());
        }
    }

    const PIXELS_SHA256: &str = "f8f3c5a608a9f7d4bd5e9d69b90c53932b8b99371d9db26121b42f62f3abcd56";
    const LABELS_SHA256: &str = "d14ba0a1a3818edefa35518ed001ece84b7ac0eabe9394551c73928493175d3f";
}
