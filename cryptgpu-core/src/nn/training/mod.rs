//! Training of networks on secret data with secret weights: what is trained and how, the backward pass, optimisers, and
//! their evaluation on shares. Every message is sent by [`crate::mpc`]; files, processes and the place where data comes
//! from do not live here.
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | [`Train`]: loss, optimiser, rate, batches, what may be revealed |
//! | `initial.rs` | [`initial()`]: weights to begin with |
//! | `batches.rs` | [`Batches`]: which examples each iteration takes |

mod batches;
mod initial;
mod settings;

pub use batches::{Batch, Batches};
pub use initial::{Initial, initial};
pub use settings::{Adam, Loss, Optimizer, Reveal, Schedule, Sgd, Train};
