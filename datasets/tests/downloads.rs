//! The real data sets, where they are downloaded: right files, right labels, and the normalisation
//! constants are what the pixels give. Without downloads these tests say so and pass.

use cryptgpu_datasets::{Collection, DatasetError, LabelledImages, Result, Split, downloads_dir, manifest};

/// The set, or nothing if it is not downloaded; anything else that is wrong fails the test.
fn downloaded(set: Result<LabelledImages>) -> Option<LabelledImages> {
    match set {
        Ok(set) => Some(set),
        Err(DatasetError::Missing { path }) => {
            eprintln!("skipped: {} is not there (scripts/fetch-datasets gets it)", path.display());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// How often each class occurs.
fn census(set: &LabelledImages) -> Vec<usize> {
    let mut counts = vec![0; usize::from(set.classes)];
    set.labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
    counts
}

/// Mean and deviation of channel `c`, in units of the full range, in exact integer arithmetic.
fn statistics(set: &LabelledImages, c: usize) -> (f64, f64) {
    let channel = set.pixels.index_axis(ndarray::Axis(1), c);
    let (sum, squares) = channel.iter().fold((0u64, 0u64), |(sum, squares), &byte| {
        (sum + u64::from(byte), squares + u64::from(byte) * u64::from(byte))
    });
    let (count, mean) = (channel.len() as f64, sum as f64 / channel.len() as f64);
    (mean / 255.0, (squares as f64 / count - mean * mean).sqrt() / 255.0)
}

fn assert_normalisation(set: &LabelledImages) {
    for (c, (&mean, &std)) in set.normalisation.mean.iter().zip(&set.normalisation.std).enumerate() {
        let found = statistics(set, c);
        assert!((found.0 - f64::from(mean)).abs() < 6e-5 && (found.1 - f64::from(std)).abs() < 6e-5, "{c}: {found:?}");
    }
}

#[test]
fn downloaded_files_are_those_of_the_manifest() {
    for entry in manifest::entries().unwrap() {
        match entry.verify(&downloads_dir()) {
            Ok(()) | Err(DatasetError::Missing { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn mnist_is_whole() {
    if let Some(train) = downloaded(Collection::Mnist.load(Split::Train)) {
        assert_eq!(train.pixels.dim(), (60_000, 1, 28, 28));
        assert_eq!(census(&train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
        assert_normalisation(&train);
    }
    if let Some(test) = downloaded(Collection::Mnist.load(Split::Test)) {
        assert_eq!(test.pixels.dim(), (10_000, 1, 28, 28));
        assert_eq!(census(&test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    }
}

#[test]
fn cifar10_is_whole() {
    if let Some(train) = downloaded(Collection::Cifar10.load(Split::Train)) {
        assert_eq!(train.pixels.dim(), (50_000, 3, 32, 32));
        assert_eq!(census(&train), [5000; 10]);
        assert_normalisation(&train);
    }
    if let Some(test) = downloaded(Collection::Cifar10.load(Split::Test)) {
        assert_eq!(test.pixels.dim(), (10_000, 3, 32, 32));
        assert_eq!(census(&test), [1000; 10]);
        assert_eq!(test.labels[..8], [3, 8, 8, 0, 6, 6, 1, 6]);
    }
}

#[test]
fn fashion_mnist_is_whole() {
    if let Some(train) = downloaded(Collection::FashionMnist.load(Split::Train)) {
        assert_eq!(train.pixels.dim(), (60_000, 1, 28, 28));
        assert_eq!(census(&train), [6000; 10]);
        assert_normalisation(&train);
    }
    if let Some(test) = downloaded(Collection::FashionMnist.load(Split::Test)) {
        assert_eq!(census(&test), [1000; 10]);
        assert_eq!(test.labels[..8], [9, 2, 1, 1, 6, 1, 4, 6]);
    }
}

/// Where their user has them: nothing of this project fetches them.
#[test]
fn cifar_100_and_emnist_are_whole() {
    if let Some(train) = downloaded(Collection::Cifar100.load(Split::Train)) {
        assert_eq!(train.pixels.dim(), (50_000, 3, 32, 32));
        assert_eq!(census(&train), [500; 100]);
        assert_normalisation(&train);
    }
    for collection in Collection::ALL.into_iter().filter(|collection| collection.folder() == "emnist") {
        for split in [Split::Train, Split::Test] {
            if let Some(part) = downloaded(collection.load(split)) {
                assert_eq!(part.pixels.dim(), (collection.count(split), 1, 28, 28), "{collection}");
            }
        }
    }
}
