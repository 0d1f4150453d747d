//! The comparison with the paper, as a table on the terminal.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use cryptgpu_core::experiment::training;
use cryptgpu_core::experiment::{InferenceRow, Record, inference_caption, inference_table, latest, read};

use super::{Result, format, train};

/// Arguments of `cryptgpu table`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cryptgpu run inference --out results.jsonl && cryptgpu table results.jsonl")]
pub struct Arguments {
    /// Files of records (JSON Lines), as `run --out` writes them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Show every record, not only the last of each measurement
    #[arg(long)]
    all: bool,
    /// Write the rows as JSON, one per line
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (mut records, mut trainings) = (Vec::new(), Vec::new());
    for file in &arguments.files {
        records.extend(read(file)?);
        trainings.extend(training::read(file)?);
    }
    if !arguments.all {
        (records, trainings) = (latest(&records), training::latest(&trainings));
    }
    if arguments.json {
        let mut out = std::io::stdout().lock();
        for row in inference_table(&records)? {
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        }
        for row in training::training_table(&trainings)? {
            writeln!(out, "{}", serde_json::to_string(&row)?)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !records.is_empty() || trainings.is_empty() {
        print(&records)?;
    }
    if !trainings.is_empty() {
        train::print(&trainings)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the inference table of `records` with its caption.
pub fn print(records: &[Record]) -> Result<()> {
    let rows = inference_table(records)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", draw(&rows))?;
    writeln!(out, "{}", inference_caption(&rows)?)?;
    Ok(())
}

fn draw(rows: &[InferenceRow]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "network",
        "batch",
        "link",
        "time",
        "CryptGPU's",
        "faster",
        "sent",
        "CryptGPU's code sends",
        "of theirs",
        "rounds",
        "max error",
        "accuracy",
    ]);
    for row in rows {
        table.add_row([
            row.label(),
            row.batch.to_string(),
            row.link.clone(),
            if row.emulated { "–".to_owned() } else { format::seconds(row.seconds) },
            format::cited(&row.cryptgpu_seconds, format::seconds),
            format::or_dash(row.speed_up.map(|factor| format!("{} ×", format::digits(factor)))),
            format::bytes(row.bytes as f64),
            format::cited(&row.cryptgpu_bytes_sent, format::bytes),
            format::or_dash(row.bytes_fraction.map(|fraction| format!("{:.1} %", 100.0 * fraction))),
            row.rounds.to_string(),
            format::or_dash(row.max_abs_error.map(|error| format!("{error:.1e}"))),
            format::or_dash(row.accuracy.map(|accuracy| format!("{:.2} %", 100.0 * accuracy))),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
