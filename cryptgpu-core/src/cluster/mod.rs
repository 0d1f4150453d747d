//! Three parties and their control protocol: three processes, or three threads of this one.
//!
//! [`Cluster`] is the caller's side: it starts the parties, introduces them to each other, runs functions
//! ([`Cluster::run`]) and [`Job`]s in them and collects outputs, usage and one clear error. [`party`] is what such a
//! process does. Both speak over TLS with certificates made for the session; a party receives its own key by its
//! standard input, never by arguments or environment. Functions and jobs call the protocols of [`crate::mpc`] and the
//! networks of [`crate::nn`].
//!
//! The folders are sides, and each may use only those above it in this list:
//!
//! | folder | what lives there |
//! |---|---|
//! | `wire/` | what both ends know: messages, frames, configuration, errors, the identity of a function |
//! | `marshal/` | values and handles: what travels between a caller and the parties, and what stays there |
//! | `serving/` | requests of clients to a model that is served: the client, a party's door and queue |
//! | `party/` | what runs in a party: serving, executing, jobs |
//! | `owner/` | a party of somebody else's: keys, policy, gate, audit log, daemon |
//! | `rendezvous/` | the tasks of a Slurm job as parties: how they find each other, what ranks 1 and 2 do |
//! | `launch/` | from nothing to three linked parties: program, processes, threads, sessions |
//! | `controller/` | the caller: builder, cluster, one run at a time, its halves of call, share and model |
//!
//! Beside them: [`interrupt`], by which a signal ends a run; [`running`], by which other programs of the user look at a
//! cluster; and `show.rs`: how a cluster, handles, runs and results show
//! themselves.

mod controller;
pub mod interrupt;
mod launch;
mod marshal;
pub mod owner;
pub mod party;
pub mod rendezvous;
pub mod running;
mod serving;
mod show;
mod wire;

pub use controller::{
    Accuracy, AccuracyPoint, Checkpointing, Cluster, ClusterBuilder, FirstWeights, InferenceResult, Iteration,
    LossPoint, Network, Progress, Restart, Run, Saved, Served, Serving, Start, StepUsage, TrainedModel, TrainingRun,
};
pub(crate) use marshal::InTheClear;
pub use marshal::{
    Argument, DataSource, Dataset, Images, Labels, Model, OnlyAt, Openable, Outcome, PartyNumber, PassedAs, PerParty,
    Plain, Revealed, Shared, SharedBits, Words,
};
pub use owner::Owners;
pub(crate) use owner::fuzz as owner_fuzz;
pub use party::checkpoint::{CheckpointKey, Checkpoints, Origin, SealedError, SealedKind};
pub use party::context::PartyContext;
pub use party::failing::{BoxError, Result};
pub use party::gate::{Asks, To, What};
pub use party::job::Job;
pub use party::jobs::Jobs;
pub use party::self_test::{Fault, SelfTest};
pub use rendezvous::{Rendezvous, RendezvousError};
pub(crate) use serving::fuzz as serving_fuzz;
pub use serving::{Client, Service, ServiceFile, ServingError};
pub(crate) use wire::configuration::Route;
pub(crate) use wire::fuzz;
pub use wire::{
    ClusterError, ClusterView, CodeError, Failure, FailureKind, Hosts, JobError, JobView, PartyView, Usage,
};
