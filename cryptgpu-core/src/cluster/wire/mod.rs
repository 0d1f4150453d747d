//! What both ends know: the messages between the controller and the parties, the frames they travel in, the configuration
//! of a cluster, its errors, and the identity of a function. Nothing here starts, runs or decides anything.
//!
//! | file | what |
//! |---|---|
//! | `message.rs` | the control protocol's messages; [`Usage`] |
//! | `frame.rs` | frames, and the ends of a control link |
//! | `configuration.rs` | what is chosen when a cluster is started |
//! | `hosts.rs` | [`Hosts`]: three hosts for parties, and the file that describes them |
//! | `owners.rs` | [`Owners`]: three parties of other owners, and what is said to them before a session |
//! | `rendezvous.rs` | the folder in which the tasks of a job find each other, and what they say first |
//! | `error.rs` | [`ClusterError`], [`Failure`]: what the caller sees |
//! | `job_error.rs` | [`JobError`]: why a job failed at a party, as the caller gets it |
//! | `function.rs` | the identity of a function: its object file, and where in it |
//! | `object/` | object files: which they are, and opening one that was compared before |
//! | `fuzz.rs` | what fuzzers call: frames and messages from bytes |
//! | `trace.rs` | what one party recorded of a run |
//! | `view.rs` | [`ClusterView`]: how a cluster is at one moment, as others of the same user see it |
//! | `text.rs` | digests as digits, and others' text, made harmless for a terminal |
//! | `mark.rs` | the mark that ends what a run has printed |

pub(super) mod configuration;
pub(super) mod error;
pub(super) mod frame;
pub(super) mod function;
pub(crate) mod fuzz;
pub(super) mod hosts;
pub(super) mod job_error;
pub(super) mod mark;
pub(super) mod message;
pub(super) mod object;
pub(super) mod owners;
pub(super) mod rendezvous;
pub(super) mod text;
pub(super) mod trace;
pub(super) mod view;

pub use error::{ClusterError, Failure, FailureKind};
pub use hosts::Hosts;
pub use job_error::JobError;
pub use message::Usage;
pub use object::CodeError;
pub use view::{ClusterView, JobView, PartyView};
