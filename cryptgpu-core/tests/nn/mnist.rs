//! The trained LeNet on the bundled MNIST digits, privately in both rings and in plaintext.
#![allow(clippy::unwrap_used)]

use crate::support::{infer, max_difference, unit};
use cryptgpu_core::mpc::{CheckRange, Settings};
use cryptgpu_core::nn::{LowerOptions, Weights, plaintext, zoo};
use cryptgpu_core::ring::Ring;
use cryptgpu_datasets::bundled;
use ndarray::{ArrayD, ArrayView1, Axis};

fn predictions(scores: &ArrayD<f64>) -> Vec<u8> {
    let best = |row: ArrayView1<f64>| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u8;
    scores.rows().into_iter().map(best).collect()
}

/// Predictions as in plaintext but for one at most, and scores within so many units of the codec's last bit.
fn reads_digits_as_plaintext_does(ring: Ring) {
    const UNITS: f64 = 150.0;
    let net = zoo::by_name("lenet").unwrap();
    let weights = Weights::from_safetensors(bundled::LENET_MNIST_SAFETENSORS, "bundled LeNet").unwrap();
    let digits = bundled::mnist_test_1000().unwrap();
    let settings = Settings { codec: ring.into(), check_range: CheckRange::usual(ring), ..Settings::default() };
    const IMAGES: usize = 400;
    let (mut right, mut same, mut error) = ([0, 0], 0, 0.0f64);
    for start in (0..IMAGES).step_by(200) {
        let images = digits.batch(start..start + 200).unwrap().mapv(f64::from).into_dyn();
        let labels = digits.labels_of(start..start + 200).unwrap();
        let expected = plaintext::evaluate(&net, &weights, &images.view()).unwrap();
        let outcome = infer(&net, &weights, &images, LowerOptions::default(), settings);
        assert_eq!(outcome.scores.len_of(Axis(0)), 200);
        error = error.max(max_difference(&outcome.scores, &expected));
        let [private, plain] = [&outcome.scores, &expected].map(predictions);
        same += private.iter().zip(&plain).filter(|(a, b)| a == b).count();
        for (right, predicted) in right.iter_mut().zip([&private, &plain]) {
            *right += predicted.iter().zip(labels).filter(|(a, b)| a == b).count();
        }
    }
    let units = error / unit(settings.codec);
    println!(
        "{ring}, right: {} private, {} plaintext; same: {same} of {IMAGES}; largest error {error:.2e}, {units:.0} units",
        right[0], right[1]
    );
    assert!(same + 1 >= IMAGES && units < UNITS, "{same} equal predictions, largest error {error}");
    assert!(right[0] >= 390 && right[1] >= 390, "{right:?}");
}

#[test]
fn private_lenet_reads_digits_as_plaintext_does() {
    reads_digits_as_plaintext_does(Ring::Z64);
}

#[test]
fn private_lenet_reads_digits_as_plaintext_does_in_32_bits() {
    reads_digits_as_plaintext_does(Ring::Z32);
}
