//! Three parties and their control protocol: three processes, or three threads of this one.
//!
//! [`Cluster`] is the caller's side: it starts the parties, introduces them to each other, runs functions
//! ([`Cluster::run`]) and [`Job`]s in them and collects outputs, usage and one clear error. `party` is what such a
//! process does. Both speak over TLS with certificates made for the session; a party receives its own key by its
//! standard input, never by arguments or environment. No protocol and no network lives here: functions and jobs
//! call those.
//!
//! | file | what |
//! |---|---|
//! | `builder.rs` | [`ClusterBuilder`]: settings |
//! | `controller.rs` | [`Cluster`]: one run at a time, starting again after a failure |
//! | `watch.rs` | one run: who has told what, and which error to report |
//! | `run.rs` | [`Run`]: outputs, usage |
//! | `session.rs` | one set of three parties, from start to end |
//! | `launch.rs` | what parties are: threads, or processes of which program |
//! | `process.rs` | a party's process: spawned, its log drained, always reaped |
//! | `output.rs` | what a party's process prints, passed on |
//! | `record.rs` | what a party recorded of a job: timeline and claims, which become a trace |
//! | `memory.rs` | parties on threads |
//! | `party.rs` | what a party's process does |
//! | `call.rs` | [`Cluster::run`], and the entry of a function at a party |
//! | `code.rs` | where a function's code is, here and in another process |
//! | `pass/` | arguments and outcomes on their way |
//! | `shared.rs` | [`Shared`] and other handles: sharing, revealing |
//! | `show.rs` | how a cluster, handles, runs and results show themselves |
//! | `store.rs` | what a party keeps for handles |
//! | `failing.rs` | errors of functions, with kind, step and peer |
//! | `job.rs` | [`Job`], [`PartyContext`], [`JobError`] |
//! | `jobs.rs` | the table of all jobs that a party knows |
//! | `model.rs` | [`Model`]: weights kept by the parties, inference image by image |
//! | `self_test.rs` | a job that tries the links and, on request, the ways to fail |
//! | `wire.rs` | the control protocol's messages and frames |

mod builder;
mod call;
mod code;
mod controller;
mod error;
mod failing;
mod job;
mod jobs;
mod launch;
mod memory;
mod model;
mod output;
pub mod party;
mod pass;
mod process;
mod record;
mod run;
mod self_test;
mod session;
mod shared;
mod show;
mod store;
mod watch;
mod wire;
mod words;

pub use builder::ClusterBuilder;
pub use controller::{Cluster, Progress};
pub use error::{ClusterError, Failure, FailureKind};
pub use failing::{BoxError, Result};
pub use job::{Job, JobError, PartyContext};
pub use jobs::Jobs;
pub use model::{ImageFile, Infer, Inference, Inferred, LoadModel, Model};
pub use pass::{Argument, OnlyAt, Outcome, PassedAs, PerParty, Plain};
pub use run::{Openable, Run};
pub use self_test::{Fault, SelfTest};
pub use shared::{Revealed, Shared, SharedBits};
pub use wire::Usage;
pub use words::Words;
