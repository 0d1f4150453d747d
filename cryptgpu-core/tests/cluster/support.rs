//! Lets a test program be its own parties, so that `Cluster::run` runs functions of the tests.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use cryptgpu_core::cluster::{Cluster, ClusterBuilder, Jobs, owner, party};
use cryptgpu_core::nn::Graph;
use std::time::Duration;

/// What comes before `main`, which is the test harness's.
extern "C" fn before_main() {
    party::serve_if_asked(&Jobs::default());
    owner::serve_if_asked(&Jobs::default());
}

// SAFETY: the linker puts pointers to functions without arguments here, and the program's start calls them.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

/// Three processes of this test program.
pub fn local() -> ClusterBuilder {
    Cluster::local().threads(1).deadline(Duration::from_secs(10))
}

/// The same three on threads.
pub fn in_memory() -> ClusterBuilder {
    Cluster::in_memory().deadline(Duration::from_secs(10))
}

/// Runs `body` with both kinds of cluster.
pub fn both(body: impl Fn(&Cluster)) {
    body(&in_memory().start().unwrap());
    body(&local().start().unwrap());
}

/// One fully connected layer: it learns digits within an epoch of the bundled ones.
pub fn small() -> Graph {
    let mut net = Graph::builder("small", [1, 28, 28]);
    let input = net.input();
    let flat = net.flatten("flatten", input).unwrap();
    let fc = net.linear("fc", flat, 10).unwrap();
    net.finish(fc).unwrap()
}
