//! What runs in a party: serving its controller, executing jobs, and the party's halves of call, share, model and self-test.
//! Messages to the other parties are sent by the layers below; of here are only the words of the self-test and the digests
//! by which parties of different owners agree on a run.
//!
//! | file | what |
//! |---|---|
//! | `serve.rs` | what a party's process does, from bootstrap to end |
//! | `relay.rs` | bytes between a caller's connection and a session's process |
//! | `own_process.rs` | what that process does about itself: hiding, ending with its controller |
//! | `execute.rs` | getting a party ready, and running one job after the other |
//! | `context.rs` | [`PartyContext`](crate::cluster::PartyContext): what a job has at hand |
//! | `gate.rs` | what a run asks of a party, who decides on it, and that all three agree |
//! | `job.rs` | [`Job`](crate::cluster::Job): what a party can be asked to do by name |
//! | `jobs.rs` | the table of all jobs that a party knows |
//! | `call.rs` | the entry of a function, and the jump to it |
//! | `share.rs` | taking shares, giving components, opening to one party |
//! | `model.rs` | holding a model's shares, evaluating it |
//! | `dataset.rs` | reading what a party owns of a data set, sharing minibatches, measuring accuracy on them |
//! | `training.rs` | training a network as one job, opening it to the party that may have it |
//! | `keeper.rs` | what is in the checkpoints of a training, and going on from one |
//! | `saved.rs` | saving models and tensors by name, and loading them in another session |
//! | `serving.rs` | serving a model to clients: which requests are a batch, and its answers |
//! | `agenda.rs` | what three parties have told each other of requests, and what becomes of them |
//! | `state.rs` | a party's state as bytes |
//! | `checkpoint/` | [`Checkpoints`](crate::cluster::Checkpoints): a party's state in sealed files, by iteration or by name |
//! | `self_test.rs` | a job that tries the links and, on request, the ways to fail |
//! | `failing.rs` | errors of functions, with kind, step and peer |

mod agenda;
pub(super) mod call;
pub(super) mod checkpoint;
pub(super) mod context;
pub(super) mod dataset;
pub(super) mod execute;
pub(super) mod failing;
pub(super) mod gate;
pub(super) mod job;
pub(super) mod jobs;
pub(super) mod keeper;
pub(super) mod model;
pub(super) mod own_process;
pub(super) mod relay;
pub(super) mod saved;
pub(super) mod self_test;
pub(super) mod serve;
pub(super) mod serving;
pub(super) mod share;
mod state;
pub(super) mod training;

pub use serve::{LIBRARY_ENTRY, serve, serve_from, serve_if_asked, serve_to_the_end};
