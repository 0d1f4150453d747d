//! Training of networks on secret data with secret weights: what is trained and how, the backward pass, optimisers, and
//! their evaluation on shares. Every message is sent by [`crate::mpc`]; files, processes and the place where data comes
//! from do not live here.
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | [`Train`]: loss, optimiser, rate, batches, what may be revealed |
//! | `initial.rs` | [`initial()`]: weights to begin with |
//! | `batches.rs` | [`Batches`]: which examples each iteration takes |
//! | `plan.rs` | [`TrainingPlan`]: the steps of an iteration, forward and backward, and what each keeps |
//! | `forward.rs`, `backward.rs` | the passes on shares |
//! | `batch_norm/` | batch normalisation, both passes and running statistics; `short.rs`: in the ring of 32 bits |
//! | `loss.rs` | losses and their gradients |
//! | `optimizer.rs` | from gradients to new weights |
//! | `wide.rs` | what is computed in 64 bits in either ring |
//! | `cost.rs` | bytes and rounds of an iteration, step by step |
//! | `memory.rs` | memory of a party in an iteration |
//! | `model.rs` | [`SharedTraining`]: a network in training, one iteration, an evaluation |
//! | `export.rs` | to one party, to a shared model, to a checkpoint and back |
//! | `times.rs` | [`StepTime`]: what each step of an iteration took |

mod backward;
pub(in crate::nn) mod batch_norm;
mod batches;
mod cost;
mod export;
mod forward;
mod initial;
mod loss;
mod memory;
mod model;
mod optimizer;
mod plan;
mod settings;
mod times;
mod wide;

pub use batches::{Batch, Batches};
pub use cost::{Iteration, StepCost};
pub use initial::{Initial, initial};
pub use memory::TrainingMemory;
pub use model::SharedTraining;
pub(crate) use plan::SUMMED_32;
pub use plan::{BackwardStep, Keeps, TrainingPlan, TrainingTensor};
pub use settings::{Adam, Loss, Optimizer, Reveal, Schedule, Sgd, Train};
pub use times::{Pass, StepTime};
