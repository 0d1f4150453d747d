//! Readers of what others send or wrote, by name, for fuzzers (`fuzz/`) and for the test that runs their corpora. Each takes
//! any bytes; it may refuse them, and must not panic, hang or take more memory than the bytes warrant.

use crate::cluster::{fuzz as control, owner_fuzz as owners, serving_fuzz as clients};
use crate::net::fuzz as links;
use crate::nn::{OnnxModel, Weights};
use cryptgpu_datasets::fuzz as datasets;

/// A reader that is fuzzed.
pub type Target = fn(&[u8]);

/// All of them; `fuzz/fuzz_targets` has a program for each, and `fuzz/corpus` a folder.
pub const TARGETS: &[(&str, Target)] = &[
    ("frame", links::frame),
    ("control_frames", control::control_frames),
    ("control_message", control::control_message),
    ("bootstrap", control::bootstrap),
    ("cluster_file", control::cluster_file),
    ("policy", owners::policy),
    ("party_file", owners::party_file),
    ("owners_file", owners::owners_file),
    ("serving", clients::serving),
    ("safetensors", safetensors),
    ("torch", torch),
    ("onnx", onnx),
    ("idx_images", datasets::idx_images),
    ("idx_labels", datasets::idx_labels),
    ("png_images", datasets::png_images),
    ("npy", datasets::npy),
];

/// Runs one of them; nothing for a name that is none.
pub fn run(name: &str, bytes: &[u8]) {
    if let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) {
        target(bytes);
    }
}

/// What the corpora of links and control links begin with: name and bytes.
pub fn seeds(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    match target {
        "frame" => links::seeds(),
        "control_frames" => control::framed_seeds(),
        "control_message" => control::seeds(),
        "serving" => clients::seeds(),
        _ => vec![],
    }
}

/// Reads weights.
fn safetensors(bytes: &[u8]) {
    if let Ok(weights) = Weights::from_safetensors(bytes, "fuzz.safetensors") {
        assert!(weights.iter().all(|(_, tensor)| tensor.len() <= bytes.len()), "more numbers than bytes");
    }
}

/// Reads weights from a file of PyTorch.
fn torch(bytes: &[u8]) {
    if let Ok(weights) = Weights::from_torch(bytes, "fuzz.pt") {
        let elements: usize = weights.iter().map(|(_, tensor)| tensor.len()).sum();
        assert!(elements <= 4 * bytes.len(), "many more numbers than bytes");
    }
}

/// Reads a network.
fn onnx(bytes: &[u8]) {
    if let Ok(model) = OnnxModel::from_bytes(bytes, "fuzz.onnx") {
        let elements: usize = model.weights.iter().map(|(_, tensor)| tensor.len()).sum();
        assert!(elements <= 8 * bytes.len() + (1 << 21), "many more weights than bytes");
    }
}
