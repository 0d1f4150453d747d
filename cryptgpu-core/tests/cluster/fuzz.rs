//! The corpora of the fuzzers (`fuzz/`), run without one.

#![allow(clippy::unwrap_used, clippy::panic)]

use cryptgpu_core::fuzz::{TARGETS, seeds};
use cryptgpu_core::nn::Weights;
use cryptgpu_datasets::idx;
use ndarray::{Array4, ArrayD};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn fuzz_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz"))
}

/// What each corpus begins with, as this version writes it.
fn beginnings(target: &str) -> Vec<(&'static str, Vec<u8>)> {
    match target {
        "safetensors" => {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("weights");
            let mut weights = Weights::new();
            weights.insert("fc.weight", ArrayD::from_shape_fn(vec![2, 3], |at| at[1] as f32 - 0.5));
            weights.insert("fc.bias", ArrayD::zeros(vec![2]));
            weights.stating("small").save(&path).unwrap();
            vec![("two", std::fs::read(path).unwrap())]
        }
        "idx_images" => {
            let pixels = Array4::from_shape_fn((2, 1, 3, 4), |(n, _, h, w)| (n * 12 + h * 4 + w) as u8);
            let plain = idx::write_images(&pixels);
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            std::io::Write::write_all(&mut packed, &plain).unwrap();
            vec![("plain", plain), ("gzip", packed.finish().unwrap())]
        }
        "idx_labels" => vec![("three", idx::write_labels(&[7, 0, 9]))],
        _ => seeds(target),
    }
}

/// Every corpus, whole, cut anywhere and with any byte changed, is read without a panic. With `CRYPTGPU_WRITE_CORPORA` set,
/// what corpora begin with is written anew.
#[test]
fn corpora_are_read_without_a_panic() {
    for (name, target) in TARGETS {
        let folder = fuzz_folder().join("corpus").join(name);
        if std::env::var_os("CRYPTGPU_WRITE_CORPORA").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            beginnings(name).iter().for_each(|(seed, bytes)| std::fs::write(folder.join(seed), bytes).unwrap());
        }
        let files = std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("{} is missing", folder.display()));
        let committed = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        let inputs: Vec<Vec<u8>> = committed.chain(beginnings(name).into_iter().map(|(_, bytes)| bytes)).collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        target(&[]);
        for input in inputs {
            let step = 1 + input.len() / 200;
            target(&input);
            for at in (0..input.len()).step_by(step) {
                target(&input[..at]);
                for change in [0x01, 0x80, 0xff] {
                    let mut changed = input.clone();
                    changed[at] ^= change;
                    target(&changed);
                }
            }
        }
    }
}

/// Every reader has its program for cargo-fuzz, and every program its reader.
#[test]
fn every_target_has_a_program() {
    let programs = std::fs::read_dir(fuzz_folder().join("fuzz_targets")).unwrap();
    let programs: BTreeSet<String> =
        programs.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(programs, targets);
    let manifest = std::fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    assert!(targets.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))));
}
