//! Everything that a cell of a CryptGPU notebook needs, as one dynamic library.
//!
//! Cells link this library and nothing else, so all of them share one copy of every static and thread-local: a
//! runtime that one cell starts serves the next. Data frames and figures are in a second library, `cryptgpu-frame`,
//! which shares this one and is loaded only by notebooks that show tables. Re-exports live here, and [`cell`].

pub mod cell;
mod interrupt;

pub use {cryptgpu_core, cryptgpu_datasets, libc, ndarray, postcard, serde, serde_json, thiserror, tokio};

/// What a party of a notebook runs: `cryptgpu party --runtime` opens this library and calls this function, so that cells,
/// which link the same library, find their code and the party's to be one. Returns the exit code of the process.
#[unsafe(no_mangle)]
pub extern "C" fn cryptgpu_party() -> i32 {
    use cryptgpu_core::cluster::{Jobs, party};
    party::serve_to_the_end(&Jobs::default())
}

/// What the process of a session runs at a party that somebody else owns, whose `party.toml` names this library (`runtime`): so
/// functions of callers' cells run there, as far as the owner allows them. Returns the exit code of the process.
///
/// # Safety
/// `config` is the path of `party.toml`, and ends with a zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cryptgpu_owner_session(config: *const std::ffi::c_char) -> i32 {
    use cryptgpu_core::cluster::{Jobs, owner};
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: so says the caller.
    let config = unsafe { std::ffi::CStr::from_ptr(config) };
    owner::serve_session_to_the_end(std::ffi::OsStr::from_bytes(config.to_bytes()).as_ref(), &Jobs::default())
}

/// What every cell may use without a `use` line: the kernel starts with
/// `use cryptgpu::prelude::*;` (and with `use cryptgpu::eprintln;`, which a glob cannot bring: see [`cell`]).
///
/// The names of [`cryptgpu_core::prelude::protocol`], the library's folders, and crates that cells use by name:
/// `ndarray::Array5`, `serde_json::json!`, `tokio::time`.
pub mod prelude {
    pub use cryptgpu_core::cluster::{
        AccuracyPoint, Checkpointing, Client, FirstWeights, Hosts, Iteration, LossPoint, Owners, Service, ServiceFile,
        Serving, Start,
    };
    pub use cryptgpu_core::experiment::training::{Training, TrainingRecord};
    pub use cryptgpu_core::experiment::{Inference, Record, Suite};
    pub use cryptgpu_core::prelude::protocol::*;
    pub use cryptgpu_core::show::PlainTable;
    pub use cryptgpu_core::{cluster, device, experiment, mpc, net, nn, prg, ring, show};
    pub use cryptgpu_datasets as datasets;
    pub use ndarray::{ArrayViewD, Axis, s};
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};
    pub use {serde, serde_json, tokio};
}

#[cfg(test)]
mod tests {
    /// As a cell: the prelude, and nothing else.
    #[test]
    fn crates_and_names_that_cells_use_are_in_the_prelude() {
        use crate::prelude::*;
        let image: ndarray::Array4<f64> = ndarray::Array4::zeros((1, 1, 2, 2));
        let settings = Settings { fidelity: Fidelity::Exact, ..Ring::Z64.into() };
        let ended: std::result::Result<(), ClusterError> = Ok(());
        let text = serde_json::json!({"pixels": image.len(), "bits": settings.codec.fraction_bits()}).to_string();
        assert!(ended.is_ok() && text.starts_with("{\"pixels\":4"), "{text}");
        assert_eq!(Cost { bytes: 8, rounds: 1 }.text(), "1 round, 8 bytes");
        let train = Train {
            batch: 128,
            epochs: 2,
            optimizer: Sgd::new(0.1).momentum(0.9),
            seed: 7,
            schedule: Schedule::Steps { epochs: 1, factor: 0.5 },
            initial: Initial::PyTorch,
            loss: Loss::CrossEntropy,
            ..Default::default()
        };
        assert!(matches!(train.optimizer, Optimizer::Sgd(Sgd { momentum: 0.9, .. })));
        let owners = (Images::at(0), Labels::rows([(0, 0..9), (2, 9..20)]));
        assert_eq!(PlainTable::new(["rounds"]).row([3u64.into()]).text(), "rounds\n     3");
        assert!(train.reveal == Reveal::default() && format!("{owners:?}").contains("9..20"));
    }
}
