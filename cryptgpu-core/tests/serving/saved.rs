//! A model is shared once, saved, and loaded by other processes without its weights; what does not belong together is refused.

#![allow(clippy::unwrap_used)]

use crate::support::{self, RINGS, far, file, local, plaintext_scores, tolerance};
use cryptgpu_core::cluster::{Cluster, ClusterError, Images, Labels, Network};
use cryptgpu_core::mpc::Settings;
use cryptgpu_core::nn::range::InputRange;
use cryptgpu_core::nn::training::{Sgd, Train};
use cryptgpu_core::nn::{WeightSource, zoo};
use cryptgpu_core::ring::{FixedPoint, Ring};
use ndarray::{ArrayD, array};
use std::fs;
use std::process::Command;

fn digits(count: usize) -> ArrayD<f64> {
    support::digits(0..count)
}

#[test]
fn a_model_is_loaded_by_name_when_its_parties_and_its_weights_are_gone() {
    RINGS.into_iter().for_each(a_model_is_loaded_by_name);
}

fn a_model_is_loaded_by_name(ring: Ring) {
    let bound = tolerance(ring);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lenet.safetensors");
    WeightSource::Bundled.load(&zoo::by_name("lenet").unwrap()).unwrap().save(&path).unwrap();
    let images = digits(4);
    let expected = plaintext_scores(&images);
    let cluster = local().ring(ring).start().unwrap();
    let range = InputRange::new(-1.0, 4.0).unwrap();
    let model = cluster.load_model(Network::from("lenet").input_range(range), WeightSource::File(path.into())).unwrap();
    model.save("kept").unwrap();
    assert!(far(&cluster.infer(&model, &images).unwrap().scores, &expected) < bound, "saving changes nothing");
    drop(folder);
    cluster.restart().unwrap();
    assert!(matches!(cluster.infer(&model, &images), Err(ClusterError::StaleHandle { .. })));
    let again = cluster.load("kept").unwrap();
    assert_eq!((again.graph().name(), again.input_range()), ("lenet", range));
    assert!(far(&cluster.infer(&again, &images).unwrap().scores, &expected) < bound);
    drop(cluster);

    // On threads of this process too, which are other parties with the same keys.
    let cluster = Cluster::in_memory().ring(ring).start().unwrap();
    assert!(far(&cluster.infer(&cluster.load("kept").unwrap(), &images).unwrap().scores, &expected) < bound);
    let saved = cluster.saved().unwrap();
    let kept = saved.iter().find(|saved| saved.name == "kept").unwrap();
    assert_eq!(
        (kept.what.as_str(), &kept.problem, kept.codec),
        ("the model lenet", &None, Some(FixedPoint::from(ring)))
    );

    // Nothing of the weights is in the files: neither as numbers nor as words of the ring.
    for party in 0..3 {
        let bytes = fs::read(file("kept", party)).unwrap();
        let small = |bytes: &[u8]| match ring {
            Ring::Z64 => i64::from_le_bytes(bytes.try_into().unwrap()).unsigned_abs() < 1 << 40,
            Ring::Z32 => i32::from_le_bytes(bytes.try_into().unwrap()).unsigned_abs() < 1 << 13,
        };
        let small = bytes.windows(ring.bits() as usize / 8).filter(|word| small(word)).count();
        assert!(small < 50, "{small} words of {} bytes are as small as weights", bytes.len());
    }

    // A name is taken once, and the parties hold what they held after that refusal.
    let model = cluster.load("kept").unwrap();
    let error = model.save("kept").unwrap_err().to_string();
    assert!(error.contains("something is saved as `kept` already"), "{error}");
    cluster.infer(&model, &images).unwrap();
    cluster.delete_saved("kept").unwrap();
    let error = cluster.load("kept").unwrap_err().to_string();
    assert!(error.contains("party 0 has nothing saved as `kept`"), "{error}");
    let error = cluster.delete_saved("kept").unwrap_err().to_string();
    assert!(error.contains("no party has anything saved"), "{error}");
    let error = cluster.load("../kept").unwrap_err().to_string();
    assert!(error.contains("`../kept` is no name"), "{error}");
}

#[test]
fn parts_that_do_not_belong_together_are_refused_by_party_and_file() {
    let cluster = Cluster::in_memory().start().unwrap();
    let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    ["one", "two"].iter().for_each(|name| lenet.save(name).unwrap());
    let whole: Vec<Vec<u8>> = (0..3).map(|party| fs::read(file("one", party)).unwrap()).collect();
    let restore = || (0..3).for_each(|party| fs::write(file("one", party), &whole[party]).unwrap());
    let refused = |says: &[&str]| {
        let error = cluster.load("one").unwrap_err().to_string();
        says.iter().for_each(|says| assert!(error.contains(says), "{says}: {error}"));
        restore();
    };
    // Party 1 has what it saved as `two`; then under the name `one`, as an interrupted saving leaves it.
    fs::copy(file("two", 1), file("one", 1)).unwrap();
    refused(&["what party 0 has as `one`", "what party 1 has", "not of one saving", "delete `one`"]);
    lenet.save("three").unwrap();
    cluster.delete_saved("one").unwrap();
    lenet.save("one").unwrap();
    fs::write(file("one", 0), &whole[0]).unwrap();
    refused(&["not of one saving"]);
    // Another party's part.
    fs::copy(file("one", 2), file("one", 0)).unwrap();
    refused(&["one.party0.shares", "is of party 2, and not of party 0"]);
    fs::remove_file(file("one", 2)).unwrap();
    refused(&["party 2 has nothing saved as `one`"]);
    let changed = |party: usize, at: usize, says: &str| {
        let mut bytes = whole[party].clone();
        let at = if at == 0 { bytes.len() / 2 } else { at };
        bytes[at] ^= 1;
        fs::write(file("one", party), bytes).unwrap();
        refused(&[&format!("one.party{party}.shares"), says]);
    };
    changed(1, 0, "some byte of it has changed");
    changed(2, 8, "format");
    changed(0, 24, "sealed with another key");
    fs::write(file("one", 1), &whole[1][..whole[1].len() / 2]).unwrap();
    refused(&["one.party1.shares", "ends after", "save it again"]);
    let saved = cluster.saved().unwrap();
    assert!(saved.iter().any(|saved| saved.name == "one" && saved.problem.is_none()));
    // Other numbers.
    let short = FixedPoint::in_ring(Ring::Z32, 12).unwrap();
    let other = Cluster::in_memory().computing(Settings { codec: short, ..Settings::default() }).start().unwrap();
    let error = other.load("one").unwrap_err().to_string();
    assert!(error.contains("modulo 2^64 with 20 fraction bits") && error.contains("modulo 2^32"), "{error}");
    let error = cluster.load_shared("one").unwrap_err().to_string();
    assert!(error.contains("is the model lenet: load it with `load`"), "{error}");
    ["one", "two", "three"].iter().for_each(|name| cluster.delete_saved(name).unwrap());
}

#[test]
fn tensors_trained_networks_and_both_rings_are_saved() {
    let short = FixedPoint::in_ring(Ring::Z32, 12).unwrap();
    for (codec, name) in [(FixedPoint::default(), "long"), (short, "short")] {
        let settings = Settings { codec, ..Settings::default() };
        let start = || Cluster::in_memory().computing(settings).start().unwrap();
        let value = array![[1.5, -2.25, 0.0]];
        let cluster = start();
        cluster.share(&value).unwrap().save(name).unwrap();
        let model = format!("{name}-lenet");
        cluster.load_model("lenet", WeightSource::Bundled).unwrap().save(&model).unwrap();
        drop(cluster);
        let cluster = start();
        let shared = cluster.load_shared(name).unwrap();
        assert_eq!((shared.shape(), shared.reveal().unwrap()), (&[1, 3][..], value.into_dyn()));
        let result = cluster.infer(&cluster.load(&model).unwrap(), &digits(2)).unwrap();
        assert_eq!(result.predictions(), [7, 2]);
        assert!(cluster.load(name).unwrap_err().to_string().contains("load it with `load_shared`"));
        [name, &model].iter().for_each(|name| cluster.delete_saved(name).unwrap());
    }
    let cluster = Cluster::in_memory().start().unwrap();
    let data = cluster.dataset("digits-train", Images::at(0), Labels::at(2)).unwrap();
    let optimizer = Sgd::new(0.05).momentum(0.9);
    let train = Train { batch: 32, iterations: Some(3), optimizer, ..Train::default() };
    let run = cluster.train("lenet", &data, train).unwrap();
    let before = run.model().infer(&digits(2)).unwrap().scores;
    run.model().save("trained").unwrap();
    cluster.restart().unwrap();
    let model = cluster.load("trained").unwrap();
    assert!(far(&cluster.infer(&model, &digits(2)).unwrap().scores, &before) < 1e-3);
    cluster.delete_saved("trained").unwrap();
}

#[test]
fn the_program_saves_lists_infers_and_deletes() {
    let folder = tempfile::tempdir().unwrap();
    let [input, output] = ["x.npy", "y.npy"].map(|name| folder.path().join(name));
    cryptgpu_datasets::npy::write(&input, &digits(3)).unwrap();
    let cryptgpu = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryptgpu"));
        command.args(["saved"]).args(arguments.split_whitespace());
        let run = command.env("CRYPTGPU_SAVED", folder.path().join("saved")).output().unwrap();
        let [out, err] = [run.stdout, run.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (run.status.success(), out, err)
    };
    assert_eq!(cryptgpu("list --parties threads").1, "Nothing is saved.\n");
    let (done, out, err) = cryptgpu("add digits --model lenet --input-range -1:4");
    assert!(done && out.contains("lenet is saved as `digits`"), "{out}{err}");
    assert_eq!(cryptgpu("list").1, "digits: the model lenet, numbers modulo 2^64 with 20 fraction bits\n");
    let (done, out, err) =
        cryptgpu(&format!("infer digits --batch 2 --input {} --output {}", input.display(), output.display()));
    assert!(done && out.contains("3 images in"), "{out}{err}");
    let scores = cryptgpu_datasets::npy::read(&output).unwrap();
    assert!(far(&scores, &plaintext_scores(&digits(3))) < 1e-3);
    // Rows of features, of a model that takes such.
    let sklearn = |name: &str| format!("{}/tests/data/onnx/sklearn/linear-svc{name}", env!("CARGO_MANIFEST_DIR"));
    let (done, out, err) = cryptgpu(&format!("add rows --model {} --parties threads", sklearn(".onnx")));
    assert!(done, "{out}{err}");
    let (done, out, err) =
        cryptgpu(&format!("infer rows --input {} --output {} --parties threads", sklearn(".x.npy"), output.display()));
    assert!(done, "{out}{err}");
    let [ours, expected] =
        [output.clone(), sklearn(".y.npy").into()].map(|path| cryptgpu_datasets::npy::read(&path).unwrap());
    assert!(far(&ours, &expected) < 1e-3);
    assert!(cryptgpu("delete rows --parties threads").0);
    let (done, _, err) =
        cryptgpu(&format!("infer letters --input x.npy --output {} --parties threads", output.display()));
    assert!(!done && err.contains("party 0 has nothing saved as `letters`"), "{err}");
    assert!(
        cryptgpu("delete digits --parties threads").0 && cryptgpu("list --parties threads").1.starts_with("Nothing")
    );
}
