//! How the parties of an experiment compute, from what it declares: settings and lowering. The window of comparisons as
//! records write it.

use super::ExperimentError;
use crate::mpc::{CheckRange, Fidelity, Settings, SignWindow};
use crate::nn::LowerOptions;
use crate::ring::{FixedPoint, Ring};

/// How each party computes.
///
/// # Errors
/// [`Declaration`](ExperimentError::Declaration) for fraction bits that leave no room in the ring, or a window that no check of
/// ranges goes with.
pub fn settings(
    ring: Ring,
    fraction_bits: u32,
    fidelity: Fidelity,
    window: SignWindow,
    check_range: CheckRange,
) -> Result<Settings, ExperimentError> {
    let codec = FixedPoint::in_ring(ring, fraction_bits).map_err(|error| ExperimentError::Declaration {
        field: "fraction bits",
        value: fraction_bits.to_string(),
        hint: error.to_string(),
    })?;
    check_range.check_window(codec.ring(), window).map_err(|hint| ExperimentError::Declaration {
        field: "range check",
        value: check_range.to_string(),
        hint,
    })?;
    Ok(Settings { codec, fidelity, window, check_range })
}

/// How the network is evaluated: as the paper's code does under [`Fidelity::Paper`].
pub fn lowering(fidelity: Fidelity) -> LowerOptions {
    match fidelity {
        Fidelity::Exact => LowerOptions::default(),
        Fidelity::Paper => LowerOptions { defer_averages: false, max_before_relu: false, sum_before_cut: false },
    }
}

/// `lowest:width`, as the command line takes it.
pub(super) fn text(window: SignWindow) -> String {
    format!("{}:{}", window.low(), window.width())
}
