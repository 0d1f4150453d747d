//! CryptGPU in Rust: private inference and training of convolutional networks by three parties that hold
//! replicated secret shares of 64-bit integers (semi-honest, one corruption tolerated).
//!
//! The folders are layers, and each may use only those above it in this list:
//!
//! | layer | what lives there |
//! |---|---|
//! | [`show`] | how values become words and tables for people |
//! | [`ring`] | Z_2^64 words, the fixed-point codec, bit-packed words |
//! | [`prg`] | pseudo-random streams and correlated randomness with single-use counters |
//! | [`device`] | the tensor API and its implementations: the CPU, and cards by CUDA |
//! | [`net`] | messages between parties: in memory, TCP with TLS, shaped links |
//! | [`mpc`] | replicated sharing and every protocol |
//! | [`nn`] | layers, the paper's networks, weights, plaintext oracle, private evaluation |
//! | [`cluster`] | three party processes and their control protocol |
//! | [`experiment`] | the paper's experiments as declarations, measurements as records |
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
