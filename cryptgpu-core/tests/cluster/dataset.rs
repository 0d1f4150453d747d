//! Data sets whose images and labels stay with their owners, and the accuracy of a model on them.

#![allow(clippy::unwrap_used, clippy::panic)]

use cryptgpu_core::cluster::{Cluster, ClusterError, DataSource, Images, Labels};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::{Graph, WeightSource, plaintext, predictions, zoo};
use cryptgpu_datasets::{ImageSet, bundled};

/// Whoever owns the rows, the count is the one of plaintext evaluation.
#[test]
fn the_accuracy_is_that_of_plaintext_whoever_owns_the_rows() {
    let digits = bundled::mnist_test_1000().unwrap().slice(800..900).unwrap();
    let (images, graph) = (digits.batch(0..100).unwrap(), zoo::by_name("lenet").unwrap());
    // Weights that are wrong on many images.
    let weights = WeightSource::Random(3);
    let scores = plaintext::evaluate(&graph, &weights.load(&graph).unwrap(), &images).unwrap();
    let expected = predictions(&scores).iter().zip(&digits.labels).filter(|(a, b)| **a == usize::from(**b)).count();

    let cluster = Cluster::in_memory().start().unwrap();
    let lenet = cluster.load_model("lenet", weights).unwrap();
    let labels: Vec<usize> = digits.labels.iter().map(|&label| label.into()).collect();
    let owned = Images::rows([(1, 0..30), (0, 30..100)]);
    let data = [
        cluster.dataset("digits-test", owned, Labels::rows([(2, 0..60), (1, 60..100)])).unwrap(),
        cluster.dataset_from(&images, &labels, 10).unwrap(),
    ];
    assert_eq!(
        data[0].owners(),
        "images at parties 1 (rows 0 to 30), 0 (rows 30 to 100), labels at parties 2 (rows 0 to \
                                  60), 1 (rows 60 to 100)"
    );
    for data in &data {
        let found = cluster.accuracy(&lenet, data, 64).unwrap();
        assert_eq!((found.right, found.examples), (expected, 100), "{data:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_a_hint_and_without_labels() {
    let cluster = Cluster::in_memory().start().unwrap();
    let argument = |source: DataSource, images: Images, labels: Labels, hint: &str| {
        let error = cluster.dataset(source, images, labels).unwrap_err();
        assert!(matches!(error, ClusterError::Argument { .. }) && error.to_string().contains(hint), "{error}");
    };
    argument("digit-train".into(), Images::at(0), Labels::at(1), "digits-train");
    argument("digits-train".into(), Images::at(3), Labels::at(1), "party 3 does not exist");
    argument("digits-train".into(), Images::at(0), Labels::rows([(1, 0..700)]), "800 images and 700 labels");
    argument("digits-train".into(), Images::rows([(0, 0..9), (1, 10..20)]), Labels::at(1), "do not follow row 9");
    argument(DataSource::random([1, 2, 2], 0, 9), Images::at(0), Labels::at(1), "classes");

    let missing =
        ImageSet::File { images: "no/such/images".into(), labels: Some("no/such/labels".into()), preprocessing: None };
    for (images, labels, path, party) in [(0, 0, "no/such/images", PartyId::P0), (1, 2, "no/such/", PartyId::P1)] {
        let error = cluster.dataset(missing.clone(), Images::at(images), Labels::at(labels)).unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
        assert!(error.party().is_some_and(|at| at == party || labels == 2), "{error}");
    }
    let error = cluster.dataset("digits-train", Images::rows([(0, 0..801)]), Labels::at(1)).unwrap_err();
    assert!(error.to_string().contains("800 images"), "{error}");

    let mut net = Graph::builder("five", [1, 28, 28]);
    let input = net.input();
    let flat = net.flatten("flatten", input).unwrap();
    let fc = net.linear("fc", flat, 5).unwrap();
    let net = net.finish(fc).unwrap();
    let model = cluster.load_model(&net, WeightSource::Random(1)).unwrap();
    let digits = cluster.dataset("digits-test", Images::at(0), Labels::at(2)).unwrap();
    let error = cluster.accuracy(&model, &digits, 0).unwrap_err();
    assert!(error.to_string().contains("at least 1"), "{error}");
    let error = cluster.accuracy(&model, &digits, 50).unwrap_err();
    assert!(error.party() == Some(PartyId::P2) && error.to_string().contains("not below 5"), "{error}");

    let model = cluster.load_model(&net, WeightSource::Random(1)).unwrap();
    let error = cluster.accuracy(&model, &digits, 50).unwrap_err();
    assert!(matches!(error, ClusterError::StaleHandle { .. }), "{error}");
    assert!(error.to_string().contains("the data set digits-test"), "{error}");
    let colours = cluster.dataset(DataSource::random([3, 32, 32], 10, 20), Images::at(0), Labels::at(0)).unwrap();
    let error = cluster.accuracy(&model, &colours, 10).unwrap_err();
    assert!(error.to_string().contains("[3, 32, 32]") && error.to_string().contains("five takes"), "{error}");
}
