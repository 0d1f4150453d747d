//! Twenty-two networks as torchvision builds them, exported by PyTorch's two exporters (`tests/data/onnx/exports.py`), four of
//! Keras, by tf2onnx (`exports_keras.py`), and models of scikit-learn, by skl2onnx (`exports_sklearn.py`), against onnxruntime.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::support::{infer, largest, max_difference};
use cryptgpu_core::mpc::Settings;
use cryptgpu_core::nn::onnx::OnnxError;
use cryptgpu_core::nn::{LowerOptions, OnnxModel, WeightSource, plaintext};
use cryptgpu_datasets::npy;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/onnx")).join(name)
}

/// The models of a folder, by name.
fn models(name: &str) -> Vec<(String, PathBuf)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder(name)).unwrap().map(|file| file.unwrap().path()).collect();
    paths.retain(|path| OnnxModel::is_named_so(path));
    paths.sort();
    paths.into_iter().map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path)).collect()
}

/// In the clear within 1e-4 of the largest value that onnxruntime has computed, privately within 1e-3.
fn compare(name: &str, path: &Path, model: &OnnxModel) {
    let array = |part: &str| npy::read(path.with_file_name(format!("{name}.{part}.npy"))).unwrap();
    let (x, y) = (model.arrange(&array("x")).unwrap(), array("y"));
    let clear = plaintext::evaluate(&model.graph, &model.weights, &x).unwrap();
    let error = max_difference(&model.finish(&clear).unwrap(), &y) / largest(&y);
    assert!(error < 1e-4, "{name}: in the clear {error:.2e} away");
    let private = infer(&model.graph, &model.weights, &x, LowerOptions::default(), Settings::default());
    let error = max_difference(&model.finish(&private.scores).unwrap(), &y) / largest(&y);
    assert!(error < 1e-3, "{name}: privately {error:.2e} away");
    assert_eq!(private.measured.bytes, private.declared.bytes, "{name}");
}

#[test]
fn exports_of_pytorch_and_keras_compute_what_onnxruntime_computes() {
    let models = models("exports");
    assert_eq!(models.len(), 26);
    for (name, path) in models {
        compare(&name, &path, &OnnxModel::load(&path).unwrap_or_else(|error| panic!("{error}")));
    }
}

/// Of classifiers the scores or probabilities are the result; what else the file gives is said, and so are names of classes.
#[test]
fn exports_of_scikit_learn_compute_what_onnxruntime_computes() {
    let models = models("sklearn");
    assert_eq!(models.len(), 19);
    for (name, path) in models {
        let model = OnnxModel::load(&path).unwrap_or_else(|error| panic!("{error}"));
        compare(&name, &path, &model);
        let notices = model.notices.join("; ");
        let regresses = ["linear-regression", "linear-svr", "mlp-regressor", "poisson"].contains(&name.as_str());
        assert_eq!(notices.contains("a label is the class of the largest score"), !regresses, "{name}: {notices}");
        let words = ["logistic-of-words", "logistic-one-by-one", "mlp-of-words", "naive-bayes-of-gauss"];
        let named = notices.contains("those of the classes even, odd, zero, in this order");
        assert_eq!(named, words.contains(&name.as_str()), "{name}: {notices}");
    }
    // Factors go into the layer behind them, and what makes probabilities of scores is computed in the clear.
    let kinds = |name: &str| {
        let model = OnnxModel::load(folder("sklearn").join(format!("{name}.onnx"))).unwrap();
        model.graph.nodes().iter().map(|node| node.op.kind()).collect::<Vec<_>>()
    };
    for name in ["logistic", "ridge-of-two", "linear-svc", "linear-svr", "naive-bayes", "poisson"] {
        let more = if name == "ridge-of-two" { vec!["rearrange"] } else { vec![] };
        assert_eq!(kinds(name), [vec!["input", "flatten", "linear"], more].concat(), "{name}");
    }
    assert_eq!(kinds("mlp"), ["input", "flatten", "linear", "relu", "linear"]);
}

/// Another output than the usual one is asked for by name, and whoever owns the weights finds which it is.
#[test]
fn one_of_several_outputs_is_the_result() {
    let path = folder("refused").join("two-outputs.onnx");
    let error = OnnxModel::load(&path).unwrap_err().to_string();
    assert!(error.contains("`high`, `low`") && error.contains("--output-name"), "{error}");
    let last = |output: &str| {
        let model = OnnxModel::load_output(&path, output).unwrap();
        let source = WeightSource::File(path.clone().into());
        assert_eq!(source.load(&model.graph).unwrap(), model.weights);
        model.graph.nodes().last().unwrap().op.kind()
    };
    assert_eq!([last("high"), last("low")], ["relu", "piecewise_linear"]);
    let error = OnnxModel::load_output(&path, "middle").unwrap_err().to_string();
    assert!(error.contains("none of its outputs is `middle`") && error.contains("`high`, `low`"), "{error}");
    // Heads that are alike in all but their weights cannot be told apart by a graph.
    let path = folder("refused").join("heads-alike.onnx");
    let low = OnnxModel::load_output(&path, "low").unwrap();
    let error = WeightSource::File(path.into()).load(&low.graph).unwrap_err().to_string();
    assert!(error.contains("several of its outputs") && error.contains("names of their own"), "{error}");
    for (file, output, hint) in [
        ("ridge-of-two", "label", "its output is a label"),
        ("logistic", "output_label", "it computes with a label"),
        ("mlp", "label", "of the opened scores"),
        ("mlp-of-words", "output_label", "is words"),
    ] {
        let path = folder("sklearn").join(format!("{file}.onnx"));
        let error = OnnxModel::load_output(path, output).unwrap_err().to_string();
        assert!(error.contains(hint), "{file}: {error}");
    }
}

#[test]
fn models_that_are_no_networks_say_all_that_is_missing() {
    let refused = |name: &str| match OnnxModel::load(folder("refused").join(format!("{name}.onnx"))) {
        Err(OnnxError::Unsupported(refused)) => refused,
        other => panic!("{name}: {other:?}"),
    };
    let several = refused("classical");
    let named: Vec<&str> = several.refused.iter().map(|node| node.operator.as_str()).collect();
    assert_eq!(named, ["Binarizer", "OneHotEncoder", "Scaler", "LinearRegressor"]);
    let text = several.to_string();
    for hint in ["4 of 5 nodes", "compares features", "before the data are shared", "for 2 features", "is PROBIT"] {
        assert!(text.contains(hint), "{hint}: {text}");
    }
    for (name, hint) in [("sklearn-forest", "trees are not computed"), ("sklearn-kernel", "train LinearSVC")] {
        let refused = refused(name);
        assert!(refused.refused.len() == 1 && refused.to_string().contains(hint), "{refused}");
    }
}
