//! The node tests that the package onnx ships, as networks (`scripts/onnx_node_tests.py` makes them so), run privately; the table of
//! what passes, and why others do not, is `docs/onnx-node-tests.md`.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::support::{infer, max_difference};
use cryptgpu_core::mpc::Settings;
use cryptgpu_core::nn::onnx::{OnnxError, Unsupported};
use cryptgpu_core::nn::{LowerOptions, OnnxModel};
use cryptgpu_datasets::npy;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What became of a test.
enum Outcome {
    Passed,
    /// It is no network that can be computed, and why.
    Not(String),
    /// It gives something else than it should.
    Wrong(String),
}

/// Products of numbers with 20 fraction bits hold below 2^22: networks that multiply larger values are refused by their bounds.
const LARGEST: f64 = (1 << 21) as f64;

/// Runs a test.
fn run(folder: &Path, name: &str) -> Outcome {
    let array = |part: &str| npy::read(folder.join(format!("{name}.{part}.npy"))).unwrap();
    let model = match OnnxModel::load(folder.join(format!("{name}.onnx"))) {
        Ok(model) => model,
        Err(OnnxError::Unsupported(Unsupported { refused, .. })) => return Outcome::Not(refused[0].what.clone()),
        Err(error) => return Outcome::Not(without_path(&error.to_string())),
    };
    let (x, y) = (array("x"), array("y"));
    let Ok(images) = model.arrange(&x) else {
        return Outcome::Not("its input has no batch in front".into());
    };
    if !x.iter().chain(&y).all(|value| value.abs() < LARGEST) {
        return Outcome::Not("values beyond the range, NaN or infinite".into());
    }
    let private = infer(&model.graph, &model.weights, &images, LowerOptions::default(), Settings::default());
    let ours = model.finish(&private.scores).unwrap();
    if ours.shape() != y.shape() {
        return Outcome::Wrong(format!("{name}: of shape {:?} for {:?}", ours.shape(), y.shape()));
    }
    let largest = y.iter().fold(1.0f64, |largest, value| largest.max(value.abs()));
    let error = max_difference(&ours, &y) / largest;
    if error < 1e-3 {
        Outcome::Passed
    } else {
        Outcome::Wrong(format!("{name}: {error:.2e} of the largest value away"))
    }
}

/// What an error says behind the file's name.
fn without_path(text: &str) -> String {
    text.split_once(".onnx").map_or(text, |(_, what)| what.trim_start_matches(':').trim_start()).to_owned()
}

/// Of one operator: tests that passed, and why how many others are not run.
#[derive(Default)]
struct Row {
    passed: usize,
    not: BTreeMap<String, usize>,
}

fn rows(folder: &Path, tests: &[Value]) -> BTreeMap<String, Row> {
    let (mut rows, mut wrong) = (BTreeMap::<String, Row>::new(), Vec::new());
    for test in tests {
        let (name, operators) = (test["name"].as_str().unwrap(), test["operators"].as_array().unwrap());
        let operator = match operators.as_slice() {
            [one] => one.as_str().unwrap().to_owned(),
            _ => "several in one file".to_owned(),
        };
        let outcome = test["why"].as_str().map_or_else(|| run(folder, name), |why| Outcome::Not(why.into()));
        let row = rows.entry(operator).or_default();
        match outcome {
            Outcome::Passed => row.passed += 1,
            Outcome::Not(why) => *row.not.entry(why).or_default() += 1,
            Outcome::Wrong(what) => wrong.push(what),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    rows
}

/// The reasons, those of most tests first.
fn reasons(row: &Row) -> String {
    let mut all: Vec<_> = row.not.iter().collect();
    all.sort_by_key(|&(why, &count)| (std::cmp::Reverse(count), why));
    let all: Vec<String> =
        all.into_iter().map(|(why, count)| format!("{count}: {}", why.replace('|', "\\|"))).collect();
    all.join("; ")
}

fn page(folder: &Path) -> String {
    let tests: Value = serde_json::from_slice(&std::fs::read(folder.join("tests.json")).unwrap()).unwrap();
    let all = tests["tests"].as_array().unwrap();
    let rows = rows(folder, all);
    let passed: usize = rows.values().map(|row| row.passed).sum();
    let version = tests["version"].as_str().unwrap();
    let mut page = format!(
        "# ONNX's node tests\n\nThe package onnx {version} ships {} tests of single nodes. `scripts/onnx_node_tests.py` makes networks of \
         them: the first input stays the secret one, and others become constants. **{passed} pass** privately, three parties in one \
         process with the default settings, each within 1e-3 of the largest value (`cargo test --release -p cryptgpu-core --test nn onnx_nodes`, \
         which wrote this page). The others are no networks of one secret batch, or have nodes that are not computed; \
         [onnx.md](onnx.md) says what is.\n\n| operator | passed | not run, and why |\n|---|---:|---|\n",
        all.len()
    );
    for (operator, row) in rows.iter().filter(|(_, row)| row.passed > 0) {
        let _infallible = writeln!(page, "| {operator} | {} | {} |", row.passed, reasons(row));
    }
    page += "\n## Operators of which no test is run\n\n| operator | tests, and why |\n|---|---|\n";
    for (operator, row) in rows.iter().filter(|(_, row)| row.passed == 0) {
        let _infallible = writeln!(page, "| {operator} | {} |", reasons(row));
    }
    page += "\n## The package's light models\n\nNetworks whose weights are made by nodes.\n\n| file | |\n|---|---|\n";
    let mut light: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    light.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("light_")));
    light.sort();
    for path in light {
        let (name, says) = (path.file_stem().unwrap().to_string_lossy(), OnnxModel::load(&path));
        let says = match says {
            Ok(model) => format!("loads: {} layers", model.graph.nodes().len()),
            Err(OnnxError::Unsupported(Unsupported { refused, .. })) => {
                let all: BTreeMap<&str, &str> =
                    refused.iter().map(|node| (node.operator.as_str(), node.what.as_str())).collect();
                let all: Vec<String> = all.into_iter().map(|(operator, what)| format!("{operator}: {what}")).collect();
                all.join("; ")
            }
            Err(error) => without_path(&error.to_string()),
        };
        let _infallible = writeln!(page, "| {name} | {} |", says.replace('|', "\\|"));
    }
    page
}

#[test]
fn onnx_nodes_of_the_package_are_in_the_table() {
    let Some(folder) = std::env::var_os("CRYPTGPU_ONNX_NODES") else {
        eprintln!("skipped: scripts/onnx_node_tests.py makes the files, and CRYPTGPU_ONNX_NODES names their folder");
        return;
    };
    let page = page(Path::new(&folder));
    let committed = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/onnx-node-tests.md"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&committed, &page).unwrap();
    }
    let written = std::fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        written == page,
        "docs/onnx-node-tests.md is not what passes: run this test with UPDATE_DOCS=1 and look at the difference"
    );
}
