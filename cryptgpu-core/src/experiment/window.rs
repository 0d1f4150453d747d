//! How the parties of an experiment compute, from what it declares: settings and lowering. The window of comparisons as
//! records write it.

use super::ExperimentError;
use crate::mpc::cost::check_window;
use crate::mpc::{CheckRange, Fidelity, Settings, SignWindow};
use crate::nn::LowerOptions;
use crate::ring::{FixedPoint, Ring};

/// How each party computes.
///
/// # Errors
/// [`Declaration`](ExperimentError::Declaration) for fraction bits that leave no room in the ring, or a window that the ring does not have
/// or that no check of ranges goes with.
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
    if window != SignWindow::default() {
        check_window(ring, window).map_err(|hint| ExperimentError::Declaration {
            field: "window",
            value: text(window),
            hint,
        })?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// It was taken for all 32 bits, in silence.
    #[test]
    fn a_window_beyond_the_words_of_the_ring_is_refused() {
        let with = |ring, (low, width)| {
            let window = SignWindow::new(low, width).unwrap();
            settings(ring, 12, Fidelity::Exact, window, CheckRange::Off).map(|settings| settings.window)
        };
        for (low, width) in [(16, 32), (1, 32), (20, 16), (32, 32)] {
            let error = with(Ring::Z32, (low, width)).unwrap_err().to_string();
            let end = format!("ends at bit {}", low + width);
            assert!(error.contains(&end) && error.contains("the ring of 32 bits have 32"), "{error}");
            assert!(with(Ring::Z64, (low, width)).is_ok());
        }
        for (low, width) in [(0, 32), (0, 16), (16, 16), (0, 64)] {
            assert!(with(Ring::Z32, (low, width)).is_ok(), "{low}:{width}");
        }
    }
}
