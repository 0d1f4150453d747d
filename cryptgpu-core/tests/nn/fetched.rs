//! Pretrained networks that are fetched, never committed: `scripts/fetch-models`, then
//! `cargo test --release -p cryptgpu-core --test nn -- --ignored fetched`. Tests of the same readers and layers on small
//! committed files, which run everywhere, are in `onnx.rs` (`ending-softmax-opennsfw-like`), `torch.rs` and `plaintext.rs`.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::support::{infer, max_difference};
use cryptgpu_core::mpc::Settings;
use cryptgpu_core::nn::{LowerOptions, OnnxModel, WeightSource, plaintext, zoo};
use ndarray::{Array, ArrayD};
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    let folder = std::env::var_os("CRYPTGPU_MODELS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/downloads/models")),
        PathBuf::from,
    );
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not there: run scripts/fetch-models", path.display());
    path
}

/// Stripes of whole numbers from 0 to 255, `[1, 3, 224, 224]`.
fn stripes() -> ArrayD<f64> {
    Array::from_shape_fn((1, 3, 224, 224), |(_, c, h, w)| ((c * 50 + h * 3 + w * 2) % 256) as f64).into_dyn()
}

/// A ResNet of 50 layers from Keras: what onnxruntime 1.32 gives, in the clear and privately.
#[test]
#[ignore = "needs scripts/fetch-models"]
fn fetched_opennsfw() {
    let model = OnnxModel::load(file("open-nsfw.onnx")).unwrap();
    assert_eq!((model.input_dims(1), model.output_dims(1)), (vec![1, 224, 224, 3], vec![1, 2]));
    let x = stripes().mapv(|value| value - 110.0).permuted_axes(vec![0, 2, 3, 1]);
    let images = model.arrange(&x).unwrap();
    let expected = Array::from_shape_vec((1, 2), vec![0.997_214_138_507_843, 0.002_785_880_351_439_118_4]).unwrap();
    let scores = plaintext::evaluate(&model.graph, &model.weights, &images).unwrap();
    let error = max_difference(&model.finish(&scores).unwrap(), &expected.clone().into_dyn());
    assert!(error < 1e-5, "in the clear {error:.2e} away from onnxruntime");
    let private = infer(&model.graph, &model.weights, &images, LowerOptions::default(), Settings::default());
    let error = max_difference(&model.finish(&private.scores).unwrap(), &expected.into_dyn());
    assert!(error < 1e-3, "privately {error:.2e} away from onnxruntime");
}

/// EfficientNet-Lite0 of a state dict of before PyTorch 1.6: what PyTorch 2.15 gives with the same padding.
#[test]
#[ignore = "needs scripts/fetch-models"]
fn fetched_efficientnet_lite0() {
    let graph = zoo::by_name("efficientnet-lite0").unwrap();
    let source = WeightSource::File(file("efficientnet-lite0-57934424.pth").into());
    let opened = source.open(&graph).unwrap();
    assert!(opened.notices.is_empty(), "{:?}", opened.notices);
    let x = stripes().mapv(|value| (value - 127.0) / 128.0);
    let scores = plaintext::evaluate(&graph, &opened.weights, &x).unwrap();
    let expected = [
        (769, 5.529_487),
        (767, 5.493_484),
        (644, 5.414_574_6),
        (902, 4.840_554_7),
        (418, 4.820_91),
        (0, 0.707_685_3),
        (1, 0.854_173_4),
        (2, -0.761_701_4),
    ];
    for (class, score) in expected {
        let found = scores[[0, class]];
        assert!((found - score).abs() < 1e-4, "class {class}: {found}, not {score}");
    }
    let private = infer(&graph, &opened.weights, &x, LowerOptions::default(), Settings::default());
    let error = max_difference(&private.scores, &scores);
    assert!(error < 2e-2, "privately {error:.2e} away from plaintext");
}
