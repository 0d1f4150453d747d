//! Requests of clients to a model that the parties serve: what the two say to each other, the client, and a party's door with
//! its queue. A client needs no party: it shares its images itself, a part to each party over TLS, and opens the scores
//! itself. How three parties agree on batches and compute them is in `party/serving.rs`.
//!
//! | file | what |
//! |---|---|
//! | `service.rs` | [`Service`]: what is served to whom; [`ServiceFile`]: where clients find it |
//! | `message.rs` | what client and party say to each other |
//! | `client.rs` | [`Client`] |
//! | `deal.rs` | shares that somebody outside the parties deals |
//! | `queue.rs` | requests that wait at a party, as many as there is room for |
//! | `door.rs` | where clients connect to a party |
//! | `fuzz.rs` | what fuzzers call: messages from bytes |
//! | `error.rs` | [`ServingError`] |

mod client;
pub(super) mod deal;
pub(super) mod door;
mod error;
pub(crate) mod fuzz;
pub(super) mod message;
pub(super) mod queue;
pub(super) mod service;

pub use client::Client;
pub use error::ServingError;
pub use service::{Service, ServiceFile};
