//! The caller's side: starting a cluster, running one thing at a time in it, and the caller's halves of call, share and
//! model.
//!
//! | file | what |
//! |---|---|
//! | `builder.rs` | [`ClusterBuilder`]: what is chosen before it starts |
//! | `cluster.rs` | [`Cluster`]: starting, running jobs, starting again after a failure |
//! | `inner.rs` | what a cluster and its handles have in common |
//! | `turn.rs` | the right to run one thing, from frames to outcome |
//! | `watch.rs` | one run as the caller watches it, and which error to report |
//! | `run.rs` | [`Run`]: outputs, usage |
//! | `call.rs` | [`Cluster::run`] |
//! | `share.rs` | [`Cluster::share`], and how handles reveal |
//! | `saved.rs` | [`Cluster::load`], [`Cluster::saved`]: models and tensors by name |
//! | `serving.rs` | [`Cluster::serve`] |
//! | `network.rs` | [`Network`]: what to load |
//! | `model.rs` | [`Cluster::load_model`], [`Cluster::infer`] |
//! | `dataset.rs` | [`Cluster::dataset`], [`Cluster::accuracy`] |
//! | `training.rs` | [`Cluster::train`], [`TrainingRun`], [`TrainedModel`] |
//! | `together.rs` | what three parties tell of an iteration, put together |
//! | `restart.rs` | [`Restart`]: a training that lost its parties goes on with new ones |
//! | `start.rs` | [`Start`]: what a training begins with, its checkpoints |
//! | `inference.rs` | [`InferenceResult`] |

mod builder;
mod call;
mod cluster;
mod dataset;
mod inference;
mod inner;
mod model;
mod network;
mod restart;
mod run;
mod saved;
mod serving;
mod share;
mod start;
mod together;
mod training;
mod turn;
mod watch;

pub use builder::ClusterBuilder;
pub use cluster::Cluster;
pub use dataset::Accuracy;
pub use inference::InferenceResult;
pub use network::Network;
pub use restart::Restart;
pub use run::Run;
pub use saved::Saved;
pub use serving::{Served, Serving};
pub use start::{Checkpointing, FirstWeights, Start};
pub use training::{AccuracyPoint, Iteration, LossPoint, StepUsage, TrainedModel, TrainingRun};
pub use watch::Progress;
