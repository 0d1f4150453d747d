//! What running a function at the parties costs beyond the function: `cargo bench --bench cluster`.
//!
//! The parties are three processes of this program, or three threads. LeNet and a product are here to be set beside the
//! same in a notebook, whose parties run the library that cells link.

use cryptgpu_core::cluster::{Cluster, ClusterBuilder, Jobs, Result, Shared, party};
use cryptgpu_core::mpc::{Party, Rep};
use cryptgpu_core::nn::WeightSource;
use divan::Bencher;
use divan::counter::BytesCount;
use ndarray::{Array1, Array2, ArrayD};

fn main() {
    party::serve_if_asked(&Jobs::default());
    divan::main();
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Processes,
    Threads,
}

const PLACES: [Place; 2] = [Place::Processes, Place::Threads];

fn cluster(place: Place) -> Cluster {
    let builder: ClusterBuilder = match place {
        Place::Processes => Cluster::local(),
        Place::Threads => Cluster::in_memory(),
    };
    some(builder.start())
}

/// A bench that cannot run says why and ends.
fn some<T, E: std::fmt::Display>(result: std::result::Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1)
    })
}

fn nothing(_: &mut Party, (): ()) -> Result<()> {
    Ok(())
}

fn same(_: &mut Party, x: Rep) -> Result<Rep> {
    Ok(x)
}

fn count(_: &mut Party, x: Array1<f64>) -> Result<usize> {
    Ok(x.len())
}

fn product(p: &mut Party, x: Rep) -> Result<Rep> {
    Ok(p.matmul(&x, &x)?)
}

/// Three parties from nothing, and their end.
#[divan::bench(args = PLACES, sample_count = 10)]
fn start(place: Place) {
    drop(cluster(place));
}

/// A function that does nothing, called and answered.
#[divan::bench(args = PLACES)]
fn call(bencher: Bencher, place: Place) {
    let cluster = cluster(place);
    bencher.bench_local(|| some(cluster.run(nothing, ())));
}

/// A handle of 16 MB in, another out, the one before freed.
#[divan::bench(args = PLACES)]
fn handle(bencher: Bencher, place: Place) {
    let cluster = cluster(place);
    let x: Shared = some(cluster.share_words(&Array1::<u64>::zeros(1 << 20)));
    bencher.bench_local(|| some(cluster.run(same, &x)));
}

/// 8 MB of plain numbers to each party.
#[divan::bench(args = PLACES, sample_count = 20)]
fn plain_array(bencher: Bencher, place: Place) {
    let cluster = cluster(place);
    let x = Array1::<f64>::zeros(1 << 20);
    bencher.counter(BytesCount::new(3 * 8 * x.len())).bench_local(|| some(cluster.run(count, &x)));
}

/// 768 by 768, times itself.
#[divan::bench(args = PLACES, sample_count = 20)]
fn matmul_768(bencher: Bencher, place: Place) {
    let cluster = cluster(place);
    let x = some(cluster.share(&Array2::from_shape_fn((768, 768), |(i, j)| (i + 2 * j) as f64 / 1000.0)));
    bencher.bench_local(|| some(cluster.run(product, &x)));
}

/// LeNet on one image, from the caller's pixels to the caller's scores.
#[divan::bench(args = PLACES, sample_count = 50)]
fn lenet(bencher: Bencher, place: Place) {
    let cluster = cluster(place);
    let lenet = some(cluster.load_model("lenet", WeightSource::Bundled));
    let image = ArrayD::<f64>::zeros(vec![1, 1, 28, 28]);
    bencher.bench_local(|| some(cluster.infer(&lenet, &image)));
}
