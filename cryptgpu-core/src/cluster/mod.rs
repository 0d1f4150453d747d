//! Three party processes and their control protocol.
//!
//! [`Cluster`] is the controller's side: it starts `cryptgpu party` three times, introduces the
//! parties to each other, hands them [`Job`]s and collects outputs, usage and one clear error.
//! `party` is what such a process does. Both speak over TLS with certificates made for the
//! session; a party receives its own key by its standard input, never by arguments or environment.
//! No protocol and no network lives here: a job calls those.
//!
//! | file | what |
//! |---|---|
//! | `builder.rs` | [`ClusterBuilder`]: settings, and finding the program |
//! | `controller.rs` | [`Cluster`]: running jobs, choosing the error to report, starting again |
//! | `session.rs` | one set of three processes, from start to end |
//! | `process.rs` | a party's process: spawned, its log drained, always reaped |
//! | `party.rs` | what `cryptgpu party` does |
//! | `job.rs` | [`Job`], [`PartyContext`], [`JobError`] |
//! | `jobs.rs` | the table of all jobs that a party knows |
//! | `model.rs` | [`Model`]: weights kept by the parties, inference image by image |
//! | `self_test.rs` | a job that tries the links and, on request, the ways to fail |
//! | `wire.rs` | the control protocol's messages and frames |

mod builder;
mod controller;
mod error;
mod job;
mod jobs;
mod model;
pub mod party;
mod process;
mod self_test;
mod session;
mod wire;
mod words;

pub use builder::ClusterBuilder;
pub use controller::{Cluster, Progress, Run};
pub use error::{ClusterError, Failure, FailureKind};
pub use job::{Job, JobError, PartyContext};
pub use jobs::Jobs;
pub use model::{ImageFile, Infer, Inference, Inferred, LoadModel, Model};
pub use self_test::{Fault, SelfTest};
pub use wire::Usage;
pub use words::Words;
