//! How the parties of an experiment compute, from what it declares: settings and lowering. The window of comparisons as
//! records write it, and the window of records that were written before they named it.

use super::label::STANDARD_WINDOW;
use super::{ExperimentError, Record};
use crate::mpc::{CheckRange, Fidelity, Settings, SignWindow};
use crate::nn::{LowerOptions, cost, fold, lower::lower, zoo};
use crate::ring::FixedPoint;

/// How each party computes.
///
/// # Errors
/// [`Declaration`](ExperimentError::Declaration) for fraction bits that leave no room, or a window that no check of ranges
/// goes with.
pub(super) fn settings(
    fraction_bits: u32,
    fidelity: Fidelity,
    window: SignWindow,
    check_range: CheckRange,
) -> Result<Settings, ExperimentError> {
    let codec = FixedPoint::new(fraction_bits).map_err(|error| ExperimentError::Declaration {
        field: "fraction bits",
        value: fraction_bits.to_string(),
        hint: error.to_string(),
    })?;
    check_range.check_window(window).map_err(|hint| ExperimentError::Declaration {
        field: "range check",
        value: check_range.to_string(),
        hint,
    })?;
    Ok(Settings { codec, fidelity, window, check_range })
}

/// How the network is evaluated: as the paper's code does under [`Fidelity::Paper`].
pub(super) fn lowering(fidelity: Fidelity) -> LowerOptions {
    match fidelity {
        Fidelity::Exact => LowerOptions::default(),
        Fidelity::Paper => LowerOptions { defer_averages: false, max_before_relu: false },
    }
}

/// `lowest:width`, as the command line takes it.
pub(super) fn text(window: SignWindow) -> String {
    format!("{}:{}", window.low(), window.width())
}

/// The window of a record that does not name one, from the bytes that it counted: narrower windows send fewer. The
/// lowest bit of a narrow one cannot be told (`?:16`); nothing where no width fits, as for other versions of a protocol.
pub(super) fn of_older(record: &Record) -> Option<String> {
    let fidelity = [Fidelity::Exact, Fidelity::Paper].into_iter().find(|kind| kind.to_string() == record.fidelity)?;
    let graph = zoo::by_name(&record.network).ok()?;
    let plan = lower(&fold::fold_graph(&graph).ok()?, lowering(fidelity)).ok()?;
    let codec = FixedPoint::new(record.fraction_bits).ok()?;
    let input = 8 * (record.batch as u64).checked_mul(graph.input_shape().iter().product::<usize>() as u64)?;
    let bytes = |width: u32| {
        let window = SignWindow::new(0, width)?;
        let settings = Settings { codec, fidelity, window, check_range: CheckRange::Off };
        Some(input + cost::infer(&plan, record.batch, &settings).bytes)
    };
    let width = [64, 32, 16].into_iter().find(|&width| bytes(width) == Some(record.total_bytes()))?;
    Some(if width == 64 { STANDARD_WINDOW.to_owned() } else { format!("?:{width}") })
}
