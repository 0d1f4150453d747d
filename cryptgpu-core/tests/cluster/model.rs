//! Private LeNet in three processes, image by image, as a notebook runs it; and what happens when
//! a party dies or stops in the middle of it.

#![allow(clippy::unwrap_used, clippy::panic)]

use cryptgpu_core::cluster::{Cluster, ClusterBuilder, ClusterError, InferenceResult, Model, Network, Result};
use cryptgpu_core::mpc::{CheckRange, Party, Rep, Settings};
use cryptgpu_core::net::{Link, PartyId};
use cryptgpu_core::nn::{Graph, SharedModel, WeightSource, Weights, plaintext, zoo};
use cryptgpu_core::ring::FixedPoint;
use cryptgpu_datasets::{ImageSet, bundled};
use ndarray::{Array4, ArrayD};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn local() -> ClusterBuilder {
    Cluster::local().program(env!("CARGO_BIN_EXE_cryptgpu")).threads(1)
}

fn digits(count: usize) -> ArrayD<f64> {
    bundled::mnist_test_1000().unwrap().batch(0..count).unwrap().mapv(f64::from).into_dyn()
}

fn plaintext_scores(images: &ArrayD<f64>) -> ArrayD<f64> {
    let graph = zoo::by_name("lenet").unwrap();
    let weights = WeightSource::Bundled.load(&graph).unwrap();
    plaintext::evaluate(&graph, &weights, &images.view()).unwrap()
}

fn max_difference(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    a.iter().zip(b).fold(0.0, |worst, (a, b)| worst.max((a - b).abs()))
}

#[test]
fn digits_of_the_caller_and_of_a_party() {
    let cluster = local().start().unwrap();
    let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    let images = digits(10);
    let expected = plaintext_scores(&images);
    let result = cluster.infer(&lenet, &images).unwrap();
    assert!(max_difference(&result.scores, &expected) < 1e-3);
    assert!(!result.duration.is_zero() && result.rounds() > 30 && result.bytes() > 3_000_000);
    assert!(result.time_by_kind.seconds("relu") > 0.0);

    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../datasets/bundle");
    let path = Path::new(folder).join("mnist-test-1000-images-idx3-ubyte.gz");
    let file = ImageSet::file(path);
    let own = cluster.infer_file(&lenet, PartyId::P2, &file, 5..10).unwrap();
    assert_eq!(own.predictions(), result.predictions()[5..]);
    // Who reads images shares them within the time; those of the caller are shared before.
    assert!(own.time_by_kind.seconds("input") > 0.0 && result.time_by_kind.seconds("input") == 0.0);
    assert!(own.time_by_kind.total_seconds() <= own.duration.as_secs_f64());

    let error = cluster.infer_file(&lenet, PartyId::P2, &file, 998..1003).unwrap_err();
    assert!(error.to_string().contains("1000 images") && error.party() == Some(PartyId::P2), "{error}");
    let error = cluster.infer_file(&lenet, PartyId::P2, &file, 5..5).unwrap_err();
    assert!(error.to_string().contains("at least one"), "{error}");
}

/// The caller reads the structure of an ONNX file, and party 1 the weights.
#[test]
fn a_network_of_an_onnx_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/onnx");
    let read = |name: &str| cryptgpu_datasets::npy::read(folder.join(name)).unwrap();
    let cluster = local().start().unwrap();
    let model = cluster.load_onnx(folder.join("residual.onnx")).unwrap();
    let result = cluster.infer(&model, &read("residual.x.npy")).unwrap();
    assert!(max_difference(&result.scores, &read("residual.y.npy")) < 1e-3);
    let error = cluster.load_onnx(folder.join("refused/many.onnx")).unwrap_err();
    assert!(matches!(error, ClusterError::Argument { .. }) && error.to_string().contains("3 of 7 nodes"), "{error}");
    // What one party reads must be the network that all three were asked for.
    let other = WeightSource::File(folder.join("lenet-like.onnx").into());
    let error = cluster.load_model(model.graph(), other).unwrap_err();
    assert!(error.to_string().contains("another network") && error.party() == Some(PartyId::P1), "{error}");
    let again = cluster.load_onnx(folder.join("residual.onnx")).unwrap();
    assert!(cluster.infer(&again, &read("residual.x.npy")).is_ok());
    // Rows of features are taken as they are; the labels of a classifier are the places of its largest scores.
    let digits = cluster.load_onnx(folder.join("sklearn/mlp.onnx")).unwrap();
    assert!(digits.notices().iter().any(|notice| notice.contains("not `label`")), "{:?}", digits.notices());
    let result = cluster.infer(&digits, &read("sklearn/mlp.x.npy")).unwrap();
    assert_eq!(result.predictions(), cryptgpu_core::nn::predictions(&read("sklearn/mlp.y.npy")));
    // Another output than the usual one: the owner of the weights finds which it is.
    let several = folder.join("refused/two-outputs.onnx");
    let low = cryptgpu_core::nn::OnnxModel::load_output(&several, "low").unwrap();
    let low = cluster.load_model(low.graph, WeightSource::File(several.into())).unwrap();
    let scores = cluster.infer(&low, &ndarray::array![[0.5, -1.0, 2.0]]).unwrap().scores;
    assert!(max_difference(&scores, &ndarray::array![[-0.5, 1.0, -2.0]].into_dyn()) < 1e-5, "{scores}");
}

#[test]
fn mistakes_are_named_and_leave_the_cluster_usable() {
    let cluster = local().start().unwrap();
    let error = cluster.load_model("lanet", WeightSource::Bundled).unwrap_err().to_string();
    assert!(error.contains("did you mean") && error.contains("lenet"), "{error}");
    let missing = WeightSource::File("no/such/weights.safetensors".into());
    let error = cluster.load_model("lenet", missing).unwrap_err();
    assert!(error.to_string().contains("no/such/weights.safetensors"), "{error}");
    assert_eq!(error.party(), Some(PartyId::P1));

    let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    let error = cluster.infer(&lenet, &ArrayD::<f64>::zeros(vec![1, 3, 28, 28])).unwrap_err();
    assert!(matches!(error, ClusterError::Argument { .. }) && error.to_string().contains("28"), "{error}");
    let error = cluster.infer(&lenet, &ArrayD::from_elem(vec![1, 1, 28, 28], f64::NAN)).unwrap_err();
    assert!(error.to_string().contains("NaN"), "{error}");
    let error = cluster.infer(&lenet, &ArrayD::from_elem(vec![1, 1, 28, 28], 1e15)).unwrap_err();
    assert!(error.to_string().contains("at index 0") && !error.to_string().contains("000000"), "{error}");
    assert!(cluster.infer(&lenet, &digits(1)).is_ok());

    cluster.restart().unwrap();
    let error = cluster.infer(&lenet, &digits(1)).unwrap_err();
    assert!(matches!(error, ClusterError::StaleHandle { .. }), "{error}");
    assert!(error.to_string().contains("the model lenet") && error.to_string().contains("load it again"), "{error}");
}

fn in_memory() -> Cluster {
    Cluster::in_memory().start().unwrap()
}

/// How far the result is from plaintext evaluation with these weights.
fn deviation(result: &InferenceResult, weights: &WeightSource, images: &ArrayD<f64>) -> f64 {
    let graph = zoo::by_name("lenet").unwrap();
    max_difference(&result.scores, &plaintext::evaluate(&graph, &weights.load(&graph).unwrap(), images).unwrap())
}

#[test]
fn two_models_of_one_architecture_live_side_by_side() {
    let cluster = in_memory();
    let images = digits(2);
    let trained = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    let random = cluster.load_model("lenet", WeightSource::Random(7)).unwrap();
    for (model, weights) in
        [(&trained, WeightSource::Bundled), (&random, WeightSource::Random(7)), (&trained, WeightSource::Bundled)]
    {
        let result = cluster.infer(model, &images).unwrap();
        assert!(deviation(&result, &weights, &images) < 1e-3);
    }
}

#[test]
fn weights_and_images_have_the_settings_of_their_cluster() {
    let settings = Settings { codec: FixedPoint::new(13).unwrap(), ..Settings::default() };
    let cluster = Cluster::in_memory().computing(settings).start().unwrap();
    let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    let images = digits(2);
    let error = deviation(&cluster.infer(&lenet, &images).unwrap(), &WeightSource::Bundled, &images);
    assert!((1e-4..0.1).contains(&error), "13 fraction bits, not 20: {error}");
}

/// A run ends with an error where a value has left the range, whether a function or a network has computed it.
#[test]
fn a_cluster_that_checks_ranges_gives_no_wrong_result() {
    fn square(p: &mut Party, x: Rep) -> Result<Rep> {
        Ok(p.mul(&x, &x)?)
    }
    let cluster = Cluster::in_memory().check_range(CheckRange::Run).start().unwrap();
    let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    let images = digits(1);
    assert!(deviation(&cluster.infer(&lenet, &images).unwrap(), &WeightSource::Bundled, &images) < 1e-3);
    let x = cluster.share(&ndarray::array![3.0, 2000.0]).unwrap();
    assert!((cluster.run(square, &x).unwrap().reveal().unwrap()[1] - 4e6).abs() < 1.0);
    let x = cluster.share(&ndarray::array![3.0, 3000.0]).unwrap();
    let error = cluster.run(square, &x).unwrap_err().to_string();
    assert!(error.contains("range of the fixed-point numbers"), "{error}");
}

/// The bundled LeNet with all its weights times 30, which makes its last layers leave the ring.
fn lenet_times_30(dir: &Path) -> WeightSource {
    let graph = zoo::by_name("lenet").unwrap();
    let mut scaled = Weights::new();
    for (name, tensor) in WeightSource::Bundled.load(&graph).unwrap().iter() {
        scaled.insert(name, tensor * 30.0);
    }
    let file = dir.join("scale30.safetensors");
    scaled.save(&file).unwrap();
    WeightSource::File(file.into())
}

/// With a bit for each layer the error names the layer, and a network within the range evaluates as ever.
#[test]
fn a_cluster_that_checks_each_layer_names_the_one_that_leaves_the_range() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::in_memory().check_range(CheckRange::Layers).start().unwrap();
    let trained = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    let scaled = cluster.load_model("lenet", lenet_times_30(dir.path())).unwrap();
    let images = digits(2);
    assert!(deviation(&cluster.infer(&trained, &images).unwrap(), &WeightSource::Bundled, &images) < 1e-3);
    let error = cluster.infer(&scaled, &images).unwrap_err().to_string();
    assert!(error.contains("fc") && error.contains("range of the fixed-point numbers"), "{error}");
}

/// The owner of the weights evaluates images of its own before it shares; what it finds is named by layer, without values.
#[test]
fn values_that_leave_the_ring_and_settings_that_cannot_work_are_refused_by_layer() {
    let dir = tempfile::tempdir().unwrap();
    let source = lenet_times_30(dir.path());
    let tried = || Network::from("lenet").calibrated_on(ImageSet::MnistBundled, 0..2);
    let cluster = in_memory();
    let error = cluster.load_model(tried(), source.clone()).unwrap_err();
    assert!(error.party() == Some(PartyId::P1) && error.to_string().contains("fc2: "), "{error}");
    // Without images it is a warning, and the trained weights are as good as before.
    assert!(cluster.load_model("lenet", source).is_ok());
    assert!(cluster.load_model(tried(), WeightSource::Bundled).is_ok());

    let settings = Settings { codec: FixedPoint::new(30).unwrap(), ..Settings::default() };
    let cluster = Cluster::in_memory().computing(settings).start().unwrap();
    let error = cluster.load_model("lenet", WeightSource::Bundled).unwrap_err();
    assert!(matches!(error, ClusterError::Argument { .. }) && error.to_string().contains("conv2: "), "{error}");
}

#[test]
fn a_model_of_another_cluster_or_generation_is_refused() {
    let (one, other) = (in_memory(), in_memory());
    let lenet = one.load_model("lenet", WeightSource::Bundled).unwrap();
    other.load_model("lenet", WeightSource::Random(1)).unwrap();
    let error = other.infer(&lenet, &digits(1)).unwrap_err();
    assert!(matches!(error, ClusterError::ForeignHandle { .. }), "{error}");
    assert_eq!(one.generation(), other.generation(), "it is not the generation that tells them apart");

    one.restart().unwrap();
    let again = one.load_model("lenet", WeightSource::Random(1)).unwrap();
    let error = one.infer(&lenet, &digits(1)).unwrap_err();
    assert!(matches!(error, ClusterError::StaleHandle { .. }), "{error}");
    assert!(one.infer(&again, &digits(1)).is_ok());
    drop(lenet); // of the earlier generation: nothing of the present one goes
    assert!(one.infer(&again, &digits(1)).is_ok());
}

#[test]
fn the_parties_free_a_model_that_was_dropped() {
    fn nothing(_: &mut Party, (): ()) -> Result<()> {
        Ok(())
    }
    let cluster = in_memory();
    let held = || cluster.run(nothing, ()).unwrap().usage.map(|usage| usage.held_bytes);
    let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    let words: usize =
        lenet.graph().parameters().iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum();
    let clone = lenet.clone();
    drop(lenet);
    // At its owner two words for each weight and bias, at the others one for each weight and two for each of the 580 biases.
    let [owner, other] = [16 * words as u64, 8 * (words as u64 + 580)];
    assert_eq!(held(), [other, owner, other], "while one handle is left");
    cluster.infer(&clone, &digits(1)).unwrap();
    assert_eq!(held(), [other, owner, other], "an inference leaves nothing");
    clone.free();
    assert!(matches!(cluster.infer(&clone, &digits(1)), Err(ClusterError::FreedHandle { .. })));
    assert_eq!(held(), [0; 3]);
}

#[test]
fn a_network_is_a_name_or_a_graph_and_pixels_are_of_any_type() {
    let cluster = in_memory();
    let mut net = Graph::builder("one-layer", [1, 2, 2]);
    let (input, x) = (net.input(), Array4::from_shape_fn((2, 1, 2, 2), |(n, _, h, w)| (4 * n + 2 * h + w) as u8));
    let flat = net.flatten("flatten", input).unwrap();
    let fc = net.linear("fc", flat, 3).unwrap();
    let net = net.finish(fc).unwrap();
    let network = Network::from(&net).owner(PartyId::P0);
    let model = cluster.load_model(network, WeightSource::Random(3)).unwrap();
    let expected = plaintext::evaluate(&net, &Weights::seeded(&net, 3), &x).unwrap();
    let results = [
        cluster.infer(&model, &x).unwrap(),
        cluster.infer(&model, &x.mapv(f32::from)).unwrap(),
        cluster.infer(&model, &x.mapv(f64::from).into_dyn()).unwrap(),
    ];
    for result in &results {
        assert!(max_difference(&result.scores, &expected) < 1e-4);
    }
}

/// A function takes a model like a tensor, and cannot evaluate it with other settings than its weights have.
#[test]
fn a_function_takes_a_model() {
    fn scores(p: &mut Party, (model, x, bits): (Arc<SharedModel>, Rep, u32)) -> Result<Rep> {
        p.set_settings(Settings { codec: FixedPoint::new(bits)?, ..*p.settings() });
        Ok(model.infer(p, x)?)
    }
    let cluster = in_memory();
    let lenet: Model = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    let (images, bits) = (digits(1), cluster.settings().codec.fraction_bits());
    let x = cluster.share(&images).unwrap();
    let found = cluster.run(scores, (&lenet, &x, bits)).unwrap().reveal().unwrap();
    assert!(max_difference(&found, &plaintext_scores(&images)) < 1e-3);
    let error = cluster.run(scores, (&lenet, &x, bits - 5)).unwrap_err().to_string();
    assert!(error.contains(&format!("{bits} fraction bits")), "{error}");
}

#[test]
fn damaged_weights_are_refused_by_their_owner() {
    let folder = tempfile::tempdir().unwrap();
    let graph = zoo::by_name("lenet").unwrap();
    let cluster = local().start().unwrap();
    let path = folder.path().join("weights.safetensors");
    let mut weights = Weights::seeded(&graph, 1);
    weights.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let truncated = cluster.load_model("lenet", WeightSource::File(path.clone().into())).unwrap_err();
    assert!(truncated.to_string().contains("weights.safetensors"), "{truncated}");

    let mut infinite = weights.get("fc1.weight").unwrap().clone();
    infinite[[7, 3]] = f32::INFINITY;
    weights.insert("fc1.weight", infinite);
    weights.save(&path).unwrap();
    let error = cluster.load_model("lenet", WeightSource::File(path.clone().into())).unwrap_err().to_string();
    assert!(error.contains("fc1.weight"), "{error}");

    // A weight that does not fit is named by its place; its value stays with its owner.
    let mut large = Weights::seeded(&graph, 1).get("fc1.weight").unwrap().clone();
    large[[7, 3]] = 123_456_792_000_000.0;
    weights.insert("fc1.weight", large);
    weights.save(&path).unwrap();
    let error = cluster.load_model("lenet", WeightSource::File(path.into())).unwrap_err().to_string();
    assert!(error.contains("fc1.weight") && error.contains("index"), "{error}");
    assert!(!error.contains("12345") && !error.contains("1.2345"), "{error}");
}

fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

/// Kills and stops a party while LeNet runs over slow links (41 rounds of 40 ms), at moments that
/// fall into every layer: an error in time, no process left, and the cluster starts again.
#[test]
fn a_party_killed_or_stopped_during_lenet() {
    let deadline = Duration::from_secs(2);
    let cluster = local().link(Link::Wan).deadline(deadline).start().unwrap();
    // Each signal at six moments, at each party at two of them.
    for (moment, signal) in (0..12).zip([libc::SIGKILL, libc::SIGSTOP].into_iter().cycle()) {
        let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
        let pids = cluster.pids();
        let victim = pids[moment % 3];
        let strike = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(60 + 110 * moment as u64));
            // SAFETY: a signal to a child process of this test.
            unsafe { libc::kill(victim as libc::pid_t, signal) }
        });
        let start = Instant::now();
        let error = cluster.infer(&lenet, &digits(1)).unwrap_err();
        assert!(start.elapsed() < 4 * deadline + Duration::from_secs(4), "took {:?}: {error}", start.elapsed());
        assert_eq!(strike.join().unwrap(), 0);
        assert!(!error.to_string().is_empty());
        let gone = Instant::now();
        while !pids.iter().all(|&pid| is_gone(pid)) {
            assert!(gone.elapsed() < Duration::from_secs(5), "a process is left: {pids:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let lenet = cluster.load_model("lenet", WeightSource::Bundled).unwrap();
    assert!(cluster.infer(&lenet, &digits(1)).is_ok());
}

#[test]
fn jobs_do_not_show_secrets() {
    let words = cryptgpu_core::cluster::Words(vec![0xDEAD_BEEF; 3]);
    assert_eq!(format!("{words:?}"), "Words(3 words)");
}
