//! Private inference in bars, from the same rows as its table.

use cryptgpu_core::experiment::{Record, latest};

use super::bars::{self, Group};
use crate::Result;
use crate::figure::Figure;
use crate::tables::{inference_rows, places};

/// Private inference, time on the left and bytes of all parties on the right, both on a logarithmic scale: ours,
/// CryptGPU's and Falcon's. Hollow bars are figures that nobody could check. Bytes of CryptGPU are those that its code
/// really sends.
///
/// # Errors
/// As [`tables::inference`](crate::tables::inference), and [`Draw`](crate::NotebookError::Draw).
pub fn inference(records: &[Record]) -> Result<Figure> {
    let rows = inference_rows(records)?;
    let seconds = rows
        .iter()
        .map(|row| Group::of(row.label(), Some(row.seconds), [&row.cryptgpu_seconds, &row.falcon_seconds], 1.0));
    let bytes = rows.iter().map(|row| {
        Group::of(
            row.label(),
            (row.bytes > 0).then_some(row.bytes as f64),
            [&row.cryptgpu_bytes_sent, &row.falcon_bytes],
            1e6,
        )
    });
    let figure = bars::draw([("seconds", seconds.collect()), ("MB, all parties", bytes.collect())])?;
    let note =
        format!("Private inference; less is better. {}. Published: sources in the table.", places(&latest(records)));
    let title = format!("bars: seconds and bytes of {} network(s), ours, CryptGPU's and Falcon's", rows.len());
    Ok(figure.title(title).noted(&note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NotebookError;
    use crate::tables;
    use crate::tables::record;
    use cryptgpu_core::show::Show;

    #[test]
    fn a_figure_names_every_network_and_draws_unverified_bars_hollow() {
        let svg = inference(&[record("lenet", 0.019), record("resnet50", 4.655)]).unwrap().html();
        assert!(svg.contains("lenet") && svg.contains("resnet50") && svg.contains("9.31"), "{svg}");
        // CryptGPU's bar: LeNet's time is from a checked source, ResNet-50's is not.
        let orange = |fill: &str| svg.lines().filter(|l| l.contains("<rect") && l.contains(fill)).count();
        assert!(orange("fill=\"#D55E00\"") >= 1 && orange("stroke=\"#D55E00\"") >= 1, "{svg}");
    }

    #[test]
    fn nothing_measured_is_an_error_that_says_what_to_run() {
        for error in [inference(&[]).unwrap_err(), tables::inference(&[]).unwrap_err()] {
            assert!(matches!(error, NotebookError::Empty { .. }), "{error}");
            assert!(error.to_string().contains("cryptgpu run inference"), "{error}");
        }
    }
}
