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
}

/// A file of these weights, their names behind `prefix`, with more tensors beside them.
fn lenet_file(prefix: &str, beside: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Weights {
    let (_, weights) = lenet();
    let tensors: Vec<_> = weights
        .iter()
        .map(|(name, tensor)| {
            let bytes = tensor.iter().flat_map(|value| value.to_le_bytes()).collect();
            (format!("{prefix}{name}"), Dtype::F32, tensor.shape().to_vec(), bytes)
        })
        .collect();
    let tensors = tensors.iter().map(|(name, dtype, shape, bytes): &(String, _, _, Vec<u8>)| {
        (name.as_str(), *dtype, shape.as_slice(), bytes.clone())
    });
    let all: Vec<_> = tensors.chain(beside.iter().cloned()).collect();
    Weights::from_safetensors(&file(&all), "t").unwrap()
}

#[test]
fn training_state_beside_the_weights_is_left_out_on_request() {
    let (net, weights) = lenet();
    let epoch = ("epoch", Dtype::I64, &[][..], 12i64.to_le_bytes().to_vec());
    let momentum = ("optimizer.momentum", Dtype::F32, &[1][..], vec![0; 4]);
    let error = lenet_file("", &[epoch.clone(), momentum.clone()]).fit(&net, false).unwrap_err().to_string();
    assert!(error.contains("`optimizer.momentum`, `epoch` (of type I64)"), "{error}");
    assert!(error.contains("--ignore-extra"), "{error}");
    // The advice works.
    let fitted = lenet_file("", &[epoch, momentum]).fit(&net, true).unwrap();
    assert_eq!(fitted.weights, weights);
    assert_eq!(fitted.notices.len(), 1);
    assert!(fitted.notices[0].contains("left out") && fitted.notices[0].contains("`epoch`"), "{:?}", fitted.notices);

    // What the network needs is never left out.
    let mut quantised = lenet().1;
    quantised.remove("fc1.bias");
    let path = tempfile::tempdir().unwrap();
    let path = path.path().join("q.safetensors");
    quantised.save(&path).unwrap();
    let error = Weights::load(&path).unwrap().fit(&net, true).unwrap_err();
    assert!(matches!(error, NnError::MissingTensor { .. }), "{error}");
    let integers = file(&[("fc1.bias", Dtype::I8, &[500], vec![1; 500])]);
    let integers = Weights::from_safetensors(&integers, "q").unwrap().fit(&single("fc1.bias"), true);
    assert!(integers.is_err());
}

/// A network with one linear layer: a tensor of this name is its bias.
fn single(bias: &str) -> Graph {
    let name = bias.strip_suffix(".bias").unwrap();
    let mut builder = Graph::builder("single", [1, 1, 1]);
    let flat = builder.add("flatten", cryptgpu_core::nn::Op::Flatten, &[builder.input()]).unwrap();
    let op = cryptgpu_core::nn::Op::Linear { out_features: 500, bias: true };
    let out = builder.add(name, op, &[flat]).unwrap();
    builder.finish(out).unwrap()
}

#[test]
fn needed_integers_are_named_with_their_type() {
    let bytes =
        file(&[("fc1.bias", Dtype::I8, &[500], vec![1; 500]), ("fc1.weight", Dtype::F32, &[500, 1], vec![0; 2000])]);
    let error = Weights::from_safetensors(&bytes, "q").unwrap().check(&single("fc1.bias")).unwrap_err().to_string();
    assert!(error.contains("`fc1.bias`") && error.contains("I8") && error.contains("convert it to F32"), "{error}");
}

#[test]
fn what_wrappers_put_before_names_is_taken_off_with_a_notice() {
    let (net, weights) = lenet();
    assert_eq!(lenet_file("", &[]).fit(&net, false).unwrap().notices, Vec::<String>::new());
    for prefix in ["module.", "_orig_mod.", "model.", "module._orig_mod.", "model.module."] {
        let fitted = lenet_file(prefix, &[]).fit(&net, false).unwrap();
        assert_eq!(fitted.weights, weights, "{prefix}");
        let notice = &fitted.notices[0];
        assert!(fitted.notices.len() == 1 && notice.contains(&format!("8 tensors begin with `{prefix}`")), "{notice}");
    }
    let counter = ("module.epoch", Dtype::I64, &[][..], vec![0; 8]);
    assert_eq!(lenet_file("module.", &[counter]).fit(&net, true).unwrap().notices.len(), 2);
    // Two copies of the weights: which is meant is not for us to say.
    let beside = ("module.fc2.bias", Dtype::F32, &[10][..], vec![0; 40]);
    let error = lenet_file("", &[beside]).fit(&net, false).unwrap_err().to_string();
    assert!(error.contains("`module.fc2.bias`"), "{error}");
    assert!(lenet_file("net.", &[]).fit(&net, false).unwrap_err().to_string().contains("`net.conv1."));
}

#[test]
fn a_variance_counts_with_eps_added() {
    let resnet = zoo::by_name("resnet18").unwrap();
    let with = |value: f32| {
        let mut weights = Weights::seeded(&resnet, 1);
        weights.insert("bn1.running_var", ArrayD::from_elem(IxDyn(&[64]), value));
        cryptgpu_core::nn::fold_weights(&resnet, &weights)
    };
    let (_, folded) = with(-1e-12).unwrap();
    assert!(folded.get("conv1.weight").unwrap().iter().all(|value| value.is_finite()));
    for value in [-1.001e-5, -1.0] {
        let error = with(value).unwrap_err();
        assert!(matches!(error, NnError::Variance { index: 0, .. }), "{value}: {error}");
        assert!(error.to_string().contains("eps = 0.00001"), "{error}");
    }
}

#[test]
fn saving_overwrites_nothing_but_the_file_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mine = ["run.partial", "run.safetensors.partial", ".run.safetensors.partial"];
    for name in mine {
        std::fs::write(folder.path().join(name), "mine").unwrap();
    }
    let path = folder.path().join("run.safetensors");
    let (_, weights) = lenet();
    weights.save(&path).unwrap();
    weights.save(&path).unwrap();
    for name in mine {
        assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), "mine", "{name}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), mine.len() + 1, "nothing is left behind");
    // A target that cannot be replaced: the error leaves nothing behind either.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    assert!(weights.save(&taken).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), mine.len() + 2);
}

#[test]
fn no_error_shows_a_weight() {
    let (net, good) = lenet();
    let mut weights = good.clone();
    weights.insert("fc2.bias", ArrayD::from_elem(IxDyn(&[10]), f32::NAN));
    let error = weights.check(&net).unwrap_err();
    assert!(error.to_string().contains("`fc2.bias`") && format!("{error:?}").contains("(withheld)"), "{error:?}");
    let resnet = zoo::by_name("resnet18").unwrap();
    let mut weights = Weights::seeded(&resnet, 1);
    weights.insert("bn1.running_var", ArrayD::from_elem(IxDyn(&[64]), -0.123_45));
    let error = weights.check(&resnet).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("1234"), "{error:?}");
    assert!(matches!(error, NnError::Variance { value, .. } if *value.for_owner() == f64::from(-0.123_45f32)));
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
