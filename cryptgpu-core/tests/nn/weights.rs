//! Weights: files of every float type, every way a file can be wrong, seeds.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::nn::{Graph, NnError, Weights, zoo};
use ndarray::{ArrayD, IxDyn};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn lenet() -> (Graph, Weights) {
    let net = zoo::by_name("lenet").unwrap();
    let weights = Weights::seeded(&net, 1);
    (net, weights)
}

fn file(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

fn tiny_file() -> Vec<u8> {
    let values: Vec<u8> = [1.5f32, -2.0, 0.25, 8.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    file(&[("a.weight", Dtype::F32, &[2, 2], values), ("a.bias", Dtype::F16, &[1], vec![0, 0x3c])])
}

#[test]
fn every_float_type_is_read() {
    let values = [1.5f32, -2.0, 0.25];
    let bytes = |element: &dyn Fn(f32) -> Vec<u8>| values.iter().flat_map(|&v| element(v)).collect::<Vec<u8>>();
    let bytes = file(&[
        ("f32", Dtype::F32, &[3], bytes(&|v| v.to_le_bytes().to_vec())),
        ("f64", Dtype::F64, &[3], bytes(&|v| f64::from(v).to_le_bytes().to_vec())),
        ("f16", Dtype::F16, &[3], bytes(&|v| half::f16::from_f32(v).to_le_bytes().to_vec())),
        ("bf16", Dtype::BF16, &[3], bytes(&|v| half::bf16::from_f32(v).to_le_bytes().to_vec())),
        ("bn.num_batches_tracked", Dtype::I64, &[], vec![0; 8]),
    ]);
    let weights = Weights::from_safetensors(&bytes, "t").unwrap();
    assert_eq!(weights.len(), 4, "PyTorch's batch counter is left out");
    for (name, tensor) in weights.iter() {
        assert_eq!(tensor.as_slice().unwrap(), values, "{name}");
    }
    let integers = file(&[("quantised", Dtype::I8, &[3], vec![1, 2, 3])]);
    let error = Weights::from_safetensors(&integers, "q.safetensors").unwrap_err().to_string();
    assert!(error.contains("quantised") && error.contains("I8") && error.contains("q.safetensors"), "{error}");
}

#[test]
fn saved_weights_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lenet.safetensors");
    let (net, weights) = lenet();
    weights.save(&path).unwrap();
    let back = Weights::load(&path).unwrap();
    back.check(&net).unwrap();
    assert_eq!(back, weights);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written is left");
    assert!(matches!(weights.save(folder.path().join("no/such/folder")), Err(NnError::Write { .. })));
    let error = Weights::load(folder.path().join("absent.safetensors")).unwrap_err();
    assert!(matches!(error, NnError::Read { .. }) && error.to_string().contains("absent.safetensors"), "{error}");
}

#[test]
fn a_seed_means_the_same_weights_everywhere() {
    let (net, weights) = lenet();
    assert_eq!(weights, Weights::seeded(&net, 1));
    assert_ne!(weights, Weights::seeded(&net, 2));
    let first = weights.get("conv1.weight").unwrap().as_slice().unwrap()[..3].to_vec();
    assert_eq!(first, GOLDEN, "seeded weights are part of every recorded result: they must not change");
}

/// First elements of LeNet's `conv1.weight` for seed 1, recomputed with `openssl enc -aes-128-ctr`.
const GOLDEN: [f32; 3] = [0.388783, 0.24453357, 0.14829546];

#[test]
fn wrong_weights_are_named() {
    let (net, good) = lenet();
    let message = |weights: &Weights| weights.check(&net).unwrap_err().to_string();

    let mut weights = good.clone();
    let tensor = weights.remove("fc1.bias").unwrap();
    weights.insert("fc1.bia", tensor);
    let error = message(&weights);
    assert!(error.contains("`fc1.bias` of shape [500]") && error.contains("`fc1.bia`"), "{error}");
    assert!(message(&Weights::new()).contains("they are empty"));

    let mut weights = good.clone();
    weights.insert("fc3.weight", ArrayD::zeros(IxDyn(&[2, 2])));
    assert!(message(&weights).contains("`fc3.weight`"));

    let mut weights = good.clone();
    weights.insert("fc2.weight", ArrayD::zeros(IxDyn(&[500, 10])));
    let error = message(&weights);
    assert!(error.contains("fc2.weight") && error.contains("[500, 10]") && error.contains("[10, 500]"), "{error}");

    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut weights = good.clone();
        let mut tensor = good.get("conv2.weight").unwrap().clone();
        tensor[[0, 0, 0, 3]] = bad;
        weights.insert("conv2.weight", tensor);
        let error = message(&weights);
        assert!(error.contains("conv2.weight") && error.contains("index 3"), "{error}");
    }

    let resnet = zoo::by_name("resnet18").unwrap();
    let mut weights = Weights::seeded(&resnet, 1);
    weights.insert("bn1.running_var", ArrayD::from_elem(IxDyn(&[64]), -1.0));
    let error = weights.check(&resnet).unwrap_err();
    assert!(matches!(error, NnError::Variance { .. }) && error.to_string().contains("bn1.running_var"), "{error}");
}

#[test]
fn no_weight_is_shown() {
    let (_, weights) = lenet();
    let shown = format!("{weights:?}");
    assert!(shown.contains("conv1.weight") && shown.len() < 400, "{shown}");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = tiny_file();
    Weights::from_safetensors(&whole, "t").unwrap();
    for len in 0..whole.len() {
        let error = Weights::from_safetensors(&whole[..len], "cut.safetensors").unwrap_err();
        assert!(matches!(error, NnError::Format { .. }), "{len}: {error}");
        assert!(error.to_string().contains("cut.safetensors"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn corrupt_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let mut bytes = tiny_file();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1).max(bytes.len() / 2));
        let _ = Weights::from_safetensors(&bytes, "t").map(|weights| weights.check(&lenet().0));
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Weights::from_safetensors(&bytes, "t").is_err());
    }
}

/// One file fits several functions; where it says which it is of, the others refuse it.
#[test]
fn a_stated_network_is_kept_in_the_file_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lenet.safetensors");
    let [lenet, maxpool] = ["lenet", "lenet-maxpool"].map(|name| zoo::by_name(name).unwrap());
    let silent = Weights::seeded(&lenet, 1);
    silent.check(&maxpool).unwrap();
    silent.clone().stating("lenet-maxpool").save(&path).unwrap();
    let stated = Weights::load(&path).unwrap();
    assert_eq!(stated.network(), Some("lenet-maxpool"));
    stated.check(&maxpool).unwrap();
    let error = stated.check(&lenet).unwrap_err();
    assert!(matches!(error, NnError::OtherNetwork { .. }), "{error}");
    assert!(error.to_string().contains("run `lenet-maxpool`"), "{error}");
    silent.save(&path).unwrap();
    assert_eq!(Weights::load(&path).unwrap(), silent);
}
