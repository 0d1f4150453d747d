//! What a protocol is made of, for those who write their own: additive shares, exclusive-or-shared
//! words, and randomness in common. Everything in this folder is local; messages are in `roads`.
//!
//! ```
//! use cryptgpu_core::mpc::{MpcError, Party, Rep, World};
//! use ndarray::array;
//!
//! /// x · y: each party computes a summand of it, and the summands become a replicated share.
//! fn product(p: &mut Party, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
//!     let z = x.local_product(y)?;
//!     p.reshare(z)
//! }
//!
//! let world = World::seeded(1);
//! let (x, y) = (world.deal(&array![3, 5])?, world.deal(&array![7, 11])?);
//! let [z, ..] = world.run(|p| {
//!     let i = p.id().index();
//!     let z = product(p, &x[i], &y[i])?;
//!     p.open(&z)
//! });
//! assert_eq!(z?.to_array()?, array![21, 55].into_dyn());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod additive;
mod draw;
mod words;

pub use additive::{Additive, Group, Ring, Xor};
pub use words::RepXor;
