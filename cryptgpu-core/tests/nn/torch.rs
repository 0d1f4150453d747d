//! Weights from files of PyTorch, which `tests/data/torch/make.py` has made beside the same tensors in safetensors.
#![allow(clippy::unwrap_used, clippy::panic)]

use cryptgpu_core::nn::{NnError, Weights, zoo};
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/torch")).join(name)
}

/// Both kinds of file, two protocols of pickle, and checkpoints of a training give the tensors bit for bit: with strides, from
/// shared storages, of all float types; of integers the names and types.
#[test]
fn files_hold_what_safetensors_hold() {
    let expected = Weights::load(path("all.safetensors")).unwrap();
    assert_eq!(expected.len(), 10);
    assert_eq!(expected.get("columns.weight").unwrap().shape(), [6, 2]);
    for name in ["zip.pt", "legacy.pth"] {
        assert_eq!(Weights::load(path(name)).unwrap(), expected, "{name}");
    }
    for name in ["checkpoint.pt", "checkpoint-protocol-4.pt"] {
        assert_eq!(Weights::load(path(name)).unwrap(), expected, "{name}");
    }
    assert_eq!(Weights::load(path("module.pt")).unwrap(), Weights::load(path("module.safetensors")).unwrap());
    // Types that no weight has are named where the network is checked, as for safetensors.
    let lenet = zoo::by_name("lenet").unwrap();
    let mut weights = Weights::load(path("zip.pt")).unwrap();
    for (name, tensor) in Weights::seeded(&lenet, 1).iter() {
        weights.insert(name, tensor.clone());
    }
    let error = weights.fit(&lenet, false).unwrap_err().to_string();
    assert!(error.contains("bfloat.weight"), "{error}");
}

#[test]
fn nothing_is_executed_and_refusals_say_why() {
    for (name, hint) in [
        ("whole-module.pt", "state_dict()"),
        ("attack-zip.pt", "posix.system"),
        ("attack-legacy.pth", "nothing of a file is executed"),
        ("expanded.pt", "many times as many numbers"),
        ("no-dict.pt", "no dict of tensors"),
        ("no-torch.pt", "no file of torch.save"),
    ] {
        let error = Weights::load(path("refused").join(name)).unwrap_err();
        assert!(matches!(error, NnError::Torch { .. }) && error.to_string().contains(hint), "{name}: {error}");
    }
    for made in ["executed-by-a-pickle", "tests/data/torch/executed-by-a-pickle"] {
        assert!(!PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(made).exists(), "a pickle was executed");
    }
}

/// Cut at every byte it is refused; with a byte changed it is refused, or a storage without a checksum has other numbers.
#[test]
fn damage_is_an_error() {
    let expected = Weights::load(path("all.safetensors")).unwrap();
    for (name, checked) in [("zip.pt", true), ("legacy.pth", false)] {
        let bytes = std::fs::read(path(name)).unwrap();
        for end in 0..bytes.len() {
            assert!(Weights::from_torch(&bytes[..end], name).is_err(), "{name} cut to {end} bytes");
        }
        let mut refused = 0;
        for at in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            match Weights::from_torch(&changed, name) {
                // Bytes that fill up, dates and the like.
                Ok(weights) if checked => assert_eq!(weights, expected, "{name}: byte {at}"),
                Ok(_) => {}
                Err(_) => refused += 1,
            }
        }
        assert!(refused > bytes.len() / 70, "{name}: {refused} of {}", bytes.len() / 7);
    }
}
