//! Shares as one party holds them, and all that is computed on them without a message: sums, products with public
//! values, and the summands of secret products. Nothing here sends, receives or draws; `protocol` does.
//!
//! | file | what |
//! |---|---|
//! | `replicated.rs` | [`Rep`]: xᵢ and xᵢ₊₁ of x = x₀ + x₁ + x₂ |
//! | `bilinear.rs` | products of matrices and convolutions; [`Operand`]: a share that is multiplied again and again |
//! | `bits.rs` | [`RepBits`]: one bit an element, packed |
//! | `binary.rs` | [`RepXor`]: words, x = x₀ ⊕ x₁ ⊕ x₂ |
//! | `components.rs` | what [`Rep`] and [`RepXor`] have in common: two tensors of one shape, and what is done to each alike |
//! | `additive.rs` | [`Additive`]: one summand at each party, as local products give it |
//! | `channels.rs` | sums, a summand or a factor for each channel |
//! | `rearrange.rs` | axes in another order, parts of axes, repeated axes |
//! | `gradients.rs` | gradients of layers' weights and inputs, and of windows |
//!
//! ```
//! use cryptgpu_core::mpc::{MpcError, Party, Rep, World};
//! use ndarray::array;
//!
//! /// x · y: each party computes a summand of it, and the summands become a replicated share.
//! fn product(p: &mut Party, x: &Rep, y: &Rep) -> Result<Rep, MpcError> {
//!     let z = x.local_mul(y)?;
//!     p.reshare(z)
//! }
//!
//! let world = World::seeded(1);
//! let (x, y) = (world.deal(&array![3, 5]), world.deal(&array![7, 11]));
//! let [z, ..] = world.run(|p| {
//!     let i = p.id().index();
//!     let z = product(p, &x[i], &y[i])?;
//!     p.open(&z)
//! });
//! assert_eq!(z?.to_array()?, array![21, 55].into_dyn());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod additive;
mod bilinear;
mod binary;
mod bits;
mod channels;
mod components;
mod gradients;
mod rearrange;
mod replicated;

pub use additive::{Additive, Group, Sum, Xor};
pub use bilinear::Operand;
pub(in crate::mpc) use bilinear::summand;
pub use binary::RepXor;
pub use bits::RepBits;
pub(in crate::mpc) use components::component_0;
pub use replicated::Rep;
