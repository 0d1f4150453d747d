//! Everything that a cell of a CryptGPU notebook needs, as one dynamic library.
//!
//! Cells link this library and nothing else, so all of them share one copy of every static and thread-local: a
//! runtime that one cell starts serves the next. Data frames and figures are in a second library, `cryptgpu-frame`,
//! which shares this one and is loaded only by notebooks that show tables. Re-exports live here, and [`cell`].

pub mod cell;

pub use {cryptgpu_core, cryptgpu_datasets, libc, ndarray, postcard, serde, serde_json, thiserror, tokio};

/// What a party of a notebook runs: `cryptgpu party --runtime` opens this library and calls this function, so that cells,
/// which link the same library, find their code and the party's to be one. Returns the exit code of the process.
#[unsafe(no_mangle)]
pub extern "C" fn cryptgpu_party() -> i32 {
    use cryptgpu_core::cluster::{Jobs, party};
    party::serve_to_the_end(&Jobs::default())
}

/// What every cell may use without a `use` line: the kernel starts with
/// `use cryptgpu::prelude::*;` (and with `use cryptgpu::eprintln;`, which a glob cannot bring: see [`cell`]).
pub mod prelude {
    pub use cryptgpu_core::cluster::{Cluster, OnlyAt, PerParty, Plain, Result, Revealed, Run, Shared, SharedBits};
    pub use cryptgpu_core::device::{Binary, Tensor};
    pub use cryptgpu_core::experiment::{Inference, Record, Suite};
    pub use cryptgpu_core::mpc::{Additive, Fidelity, MpcError, Party, PartyView, Rep, RepBits, RepXor, Side, World};
    pub use cryptgpu_core::net::{Link, PartyId};
    pub use cryptgpu_core::nn::{Graph, WeightSource, Weights, plaintext, zoo};
    pub use cryptgpu_core::ring::FixedPoint;
    pub use cryptgpu_core::{cluster, device, experiment, mpc, net, nn, prg, ring};
    pub use cryptgpu_datasets as datasets;
    pub use ndarray::{Array1, Array2, Array3, Array4, ArrayD, ArrayViewD, Axis, array, s};
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};
}
