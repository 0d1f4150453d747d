//! Twenty-two networks as torchvision builds them, exported by PyTorch's two exporters (`tests/data/onnx/exports.py`), and four of
//! Keras, by tf2onnx (`exports_keras.py`), against onnxruntime.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::support::{infer, largest, max_difference};
use cryptgpu_core::mpc::Settings;
use cryptgpu_core::nn::{LowerOptions, OnnxModel, plaintext};
use cryptgpu_datasets::npy;
use std::path::Path;

/// In the clear within 1e-4 of the largest value, privately within 1e-3.
#[test]
fn exports_of_pytorch_and_keras_compute_what_onnxruntime_computes() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx/exports"));
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    names.retain(|path| OnnxModel::is_named_so(path));
    assert_eq!(names.len(), 26);
    for path in names {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let array = |part: &str| npy::read(folder.join(format!("{name}.{part}.npy"))).unwrap();
        let model = OnnxModel::load(&path).unwrap_or_else(|error| panic!("{error}"));
        let (x, y) = (model.arrange(&array("x")).unwrap(), array("y"));
        let clear = plaintext::evaluate(&model.graph, &model.weights, &x).unwrap();
        let error = max_difference(&model.finish(&clear).unwrap(), &y) / largest(&y);
        assert!(error < 1e-4, "{name}: in the clear {error:.2e} away");
        let private = infer(&model.graph, &model.weights, &x, LowerOptions::default(), Settings::default());
        let error = max_difference(&model.finish(&private.scores).unwrap(), &y) / largest(&y);
        assert!(error < 1e-3, "{name}: privately {error:.2e} away");
        assert_eq!(private.measured.bytes, private.declared.bytes, "{name}");
    }
}
