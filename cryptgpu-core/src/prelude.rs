//! Names that nearly every program needs: to start parties, share, run functions and networks, and reveal. Authors of
//! protocols take [`protocol`] instead, which has these too. Only re-exports live here.
//!
//! ```
//! use cryptgpu_core::prelude::*;
//!
//! fn inner_product(p: &mut Party, (x, y): (Rep, Rep)) -> Result<Rep> {
//!     Ok(p.mul(&x, &y)?.sum())
//! }
//!
//! let cluster = Cluster::in_memory().start()?;
//! let (x, y) = (cluster.share(&array![1.0, 2.0])?, cluster.share(&array![3.0, 4.0])?);
//! let run = cluster.run(inner_product, (&x, &y))?;
//! assert!((run.reveal()?.sum() - 11.0).abs() < 1e-5);
//! println!("{}", run.text());
//! # Ok::<(), ClusterError>(())
//! ```

pub use crate::cluster::{
    Cluster, ClusterError, Dataset, Images, Labels, Model, OnlyAt, PerParty, Plain, Result, Revealed, Run, Shared,
    SharedBits, TrainingRun,
};
pub use crate::device::{Device, DeviceChoice};
pub use crate::mpc::{CheckRange, Fidelity, Party, Rep, RepBits, Settings};
pub use crate::net::{Link, LinkType, PartyId, Trace};
pub use crate::nn::training::{Adam, Initial, Loss, Optimizer, Reveal, Schedule, Sgd, Train};
pub use crate::nn::{Graph, OnnxModel, WeightSource, Weights, plaintext, zoo};
pub use crate::prg::Randomness;
pub use crate::ring::Ring;
pub use crate::show::Show;
pub use ndarray;
pub use ndarray::{Array1, Array2, Array3, Array4, ArrayD, array};

/// Names for authors of protocols, with all of [`prelude`](super): other shares, messages by hand, three parties in one
/// process, the checker, and what a party observes.
///
/// ```
/// use cryptgpu_core::prelude::protocol::*;
///
/// fn square(p: &mut Party, x: &Rep) -> std::result::Result<Rep, MpcError> {
///     p.declare(1, 24 * x.len() as u64);
///     p.reshare(x.local_mul(x)?)
/// }
///
/// let check = Check::new("square", 1);
/// let report = check.run(|p, x: &[Rep]| square(p, &x[0]), elementwise(|v| v[0].wrapping_mul(v[0])))?;
/// assert!(report.passed());
/// # Ok::<(), CheckError>(())
/// ```
pub mod protocol {
    pub use super::*;
    pub use crate::device::{Binary, Tensor, Unary};
    pub use crate::mpc::check::{Check, CheckError, elementwise};
    pub use crate::mpc::{
        Additive, CheckedClaim, Cost, MpcError, Octaves, Operand, PartyView, RepXor, Side, SignWindow, World,
    };
    pub use crate::ring::FixedPoint;
}
