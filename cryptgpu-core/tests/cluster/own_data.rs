//! Networks with other classes and images, on data of one's own: folders of pictures by class, files with their labels; models
//! of scikit-learn on rows of features.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use cryptgpu_datasets::{LabelledImages, bundled, idx, npy};
use ndarray::Axis;
use serde_json::Value;

fn cryptgpu(arguments: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_cryptgpu");
    Command::new(program).args(arguments.split_whitespace()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Pictures of the digits `of` among the images `range`, each in a folder for its digit.
fn pictures(digits: &LabelledImages, range: std::ops::Range<usize>, of: [(u8, &str); 2], folder: &Path) -> usize {
    let mut count = 0;
    for index in range {
        let Some((_, name)) = of.iter().find(|(digit, _)| *digit == digits.labels[index]) else { continue };
        std::fs::create_dir_all(folder.join(name)).unwrap();
        let pixels = digits.pixels.index_axis(Axis(0), index).iter().copied().collect();
        let picture = image::GrayImage::from_raw(28, 28, pixels).unwrap();
        picture.save(folder.join(name).join(format!("{index:03}.png"))).unwrap();
        count += 1;
    }
    count
}

fn record(done: &Output) -> Value {
    assert!(done.status.success(), "{}", text(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn refused(arguments: &str, hint: &str) {
    let done = cryptgpu(arguments);
    assert!(!done.status.success() && text(&done.stderr).contains(hint), "{arguments}: {}", text(&done.stderr));
}

#[test]
fn a_network_of_two_classes_learns_the_pictures_of_two_folders() {
    let dir = tempfile::tempdir().unwrap();
    let digits = bundled::mnist_test_1000().unwrap();
    let of = [(0, "nought"), (1, "one")];
    let train = dir.path().join("train");
    pictures(&digits, 0..500, of, &train);
    pictures(&digits, 500..700, of, &dir.path().join("val"));
    let run = format!(
        "run train --networks lenet --classes 2 --dataset {} --preprocess mnist --epochs 1 --batch 8 --rate 0.02 --accuracy \
         --parties threads --json",
        train.display()
    );
    let trained = record(&cryptgpu(&run));
    assert_eq!(trained["network"], "lenet:classes=2");
    assert!(trained["accuracy"].as_f64().unwrap() > 0.9, "{}", trained["accuracy"]);
    refused(&run.replace("--preprocess mnist", ""), "say with --preprocess how they are scaled");
    refused(&run.replace("--classes 2", "--classes 1"), "not below 1");
}

#[test]
fn pictures_by_class_have_an_accuracy() {
    let dir = tempfile::tempdir().unwrap();
    let digits = bundled::mnist_test_1000().unwrap();
    let folder = dir.path().join("digits");
    let count = pictures(&digits, 0..20, [(7, "seven"), (1, "one")], &folder);
    let labels = dir.path().join("labels.txt");
    std::fs::write(&labels, "zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n").unwrap();
    let (input, output) = (folder.display(), dir.path().join("y.npy"));
    let infer = format!(
        "infer --model lenet --input {input} --output {} --preprocess mnist --parties threads --labels {}",
        output.display(),
        labels.display()
    );
    let told = text(&cryptgpu(&infer).stdout);
    assert!(told.contains(&format!("{count} of {count} pictures are of the class of their folder, 100.0 %")), "{told}");
    std::fs::write(&labels, "zero\none\n").unwrap();
    refused(&infer, "the folder seven has no line");
}

/// Whatever was in the files for the result and for the record before, and nothing where they were not there.
#[test]
fn an_inference_that_fails_leaves_its_files_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let digits = bundled::mnist_test_1000().unwrap().batch(0..2).unwrap().mapv(f64::from).into_dyn();
    let (x, y, kept, record) = (at("x.npy"), at("y.npy"), at("kept.npy"), at("record.jsonl"));
    npy::write(&x, &(&digits * 1e3)).unwrap();
    let names = || std::fs::read_dir(dir.path()).unwrap().count();
    // A refusal by the owner, before; and one that the parties make, when everything has been looked at.
    for (model, says) in
        [("--model lenet --ring 32", "do not fit"), ("--model lenet --parties threads --device cuda:63", "cuda:63")]
    {
        let infer = |output: &str| format!("infer {model} --input {x} --output {output} --out {record}");
        refused(&infer(&y), says);
        assert_eq!(names(), 1, "{model}");
    }
    npy::write(&kept, &digits).unwrap();
    refused(&format!("infer --model lenet --input {x} --output {kept} --parties threads --device cuda:63"), "cuda:63");
    assert_eq!(npy::read(&kept).unwrap(), digits);
    let done = cryptgpu(&format!("infer --model lenet --input {x} --output {kept} --parties threads"));
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!((npy::read(&kept).unwrap().shape(), names()), (&[2, 10][..], 2));
}

#[test]
fn a_file_brings_its_labels_and_says_how_it_is_scaled() {
    let dir = tempfile::tempdir().unwrap();
    let digits = bundled::mnist_test_1000().unwrap().first(20).unwrap();
    let [images, labels] = ["images.idx3", "labels.idx1"].map(|name| dir.path().join(name));
    std::fs::write(&images, idx::write_images(&digits.pixels)).unwrap();
    std::fs::write(&labels, idx::write_labels(&digits.labels)).unwrap();
    let run = |dataset: &str| {
        record(&cryptgpu(&format!(
            "run inference --networks lenet --batch 10 --images 20 --parties threads --json --dataset {dataset}"
        )))
    };
    let (bundled, file) = (run("mnist-test-1000"), format!("{} --label-file {}", images.display(), labels.display()));
    let mine = run(&file);
    assert_eq!(mine["accuracy"], bundled["accuracy"]);
    assert_eq!(mine["max_error"].as_f64().is_some(), bundled["max_error"].as_f64().is_some());
    // Without its normalisation the network sees other images.
    assert_ne!(run(&format!("{file} --preprocess unit,std=0.1"))["accuracy"], bundled["accuracy"]);
    refused("run inference --networks lenet --dataset mnist-test-1000 --preprocess mnist", "no file and no folder");
    refused("run inference --networks lenet:depth=3", "neither classes=N nor input=CxHxW");
    refused(&format!("run inference --networks lenet --dataset {}", dir.path().display()), "say with --preprocess");
}

#[test]
fn sizes_are_arguments() {
    let done = cryptgpu("show resnet20-cifar10 --classes 100 --input-size 3x48x48");
    assert!(
        text(&done.stdout).contains("resnet20-cifar10:classes=100:input=3x48x48: 3×48×48 to 100"),
        "{}",
        text(&done.stdout)
    );
    refused("show lenet --input-size 28", "write channels, height and width as 3x96x96");
}

/// The files that `tests/data/onnx/exports_sklearn.py` has made.
fn onnx(name: &str) -> String {
    format!("{}/tests/data/onnx/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A classifier of scikit-learn gives labels and probabilities: these are the result, and an output is named where there are several.
#[test]
fn a_model_of_scikit_learn_is_evaluated_on_rows() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("y.npy");
    let [model, input] =
        ["logistic-of-words.onnx", "logistic-of-words.x.npy"].map(|name| onnx(&format!("sklearn/{name}")));
    let done =
        cryptgpu(&format!("infer --model {model} --input {input} --output {} --parties threads", output.display()));
    let told = text(&done.stderr);
    assert!(done.status.success(), "{told}");
    for notice in
        ["`probabilities` is computed, and not `label`", "those of the classes even, odd, zero", "of the opened scores"]
    {
        assert_eq!(told.matches(notice).count(), 1, "{notice}: {told}");
    }
    let ours = cryptgpu_datasets::npy::read(&output).unwrap();
    let expected = cryptgpu_datasets::npy::read(onnx("sklearn/logistic-of-words.y.npy")).unwrap();
    let error = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(ours.shape() == expected.shape() && error < 1e-4, "{error}");
    let several = onnx("refused/two-outputs.onnx");
    let shown = cryptgpu(&format!("show {several} --output-name high"));
    assert!(shown.status.success() && text(&shown.stdout).contains("relu"), "{}", text(&shown.stderr));
    for (arguments, hint) in [
        (format!("show {several}"), "--output-name"),
        (format!("show {several} --output-name middle"), "none of its outputs is `middle`"),
        ("show lenet --output-name high".to_owned(), "for ONNX files"),
    ] {
        let refused = cryptgpu(&arguments);
        assert!(!refused.status.success() && text(&refused.stderr).contains(hint), "{}", text(&refused.stderr));
    }
}
