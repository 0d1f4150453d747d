//! CryptGPU in Rust: private inference and training of convolutional networks by three parties that hold
//! replicated secret shares of integers modulo 2^64 or 2^32 (semi-honest, one corruption tolerated).
//!
//! The folders are layers, and each may use only those above it in this list:
//!
//! | layer | what lives there |
//! |---|---|
//! | [`show`] | how values become words and tables for people |
//! | [`ring`] | Z_2^64 and Z_2^32, the fixed-point codec, bit-packed words |
//! | [`prg`] | pseudo-random streams and correlated randomness with single-use counters |
//! | [`device`] | the tensor API and its implementations: the CPU, and cards by CUDA |
//! | [`net`] | messages between parties: in memory, TCP with TLS, shaped links |
//! | [`mpc`] | replicated sharing and every protocol |
//! | [`nn`] | layers, the paper's networks, weights, plaintext oracle, private evaluation |
//! | [`cluster`] | three party processes and their control protocol |
//! | [`experiment`] | the paper's experiments as declarations, measurements as records |
//!
//! # The way in
//!
//! - **Run a network privately**: [`Cluster`](cluster::Cluster) starts three parties; its `load_model`, `infer` and `train`
//!   take a network of the [`zoo`](nn::zoo) or a [`Graph`](nn::Graph) of yours, and give results with their rounds, bytes and times.
//! - **See whether its values fit**: [`nn::range`] bounds every layer; a value that leaves the ring is no error otherwise.
//! - **Write a protocol**: a function of [`Party`](mpc::Party) and shares ([`mpc::Rep`]) that [`Cluster::run`](cluster::Cluster::run)
//!   calls at all three; [`mpc::check`] tries its values, cost and views, and [`mpc::World`] runs it on three threads.
//! - **See what a message is and what hides it**: the methods of [`Party`](mpc::Party) state rounds and bytes; the masks come from
//!   [`prg::Correlated`].
//! - **Look into a run**: [`net::Trace`], step by step and message by message.
//! - **Measure, and compare with the paper**: [`experiment`].
//! - **Add an operation or a device**: [`device`], with `docs/adding-an-operation.md`.
//!
//! [`prelude`] has the names that nearly every program needs, [`prelude::protocol`] those of authors of protocols.

pub mod cluster;
pub mod device;
pub mod experiment;
#[doc(hidden)]
pub mod fuzz;
pub mod mpc;
pub mod net;
pub mod nn;
pub mod prelude;
pub mod prg;
pub mod ring;
pub mod show;

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("messages and tensors are little-endian 64-bit words: this needs a 64-bit little-endian machine");
