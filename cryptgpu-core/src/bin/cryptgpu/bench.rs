//! `cryptgpu bench`: measurements that need hardware.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::{Table, presets};
use cryptgpu_core::device::Device;
use cryptgpu_core::experiment::{KernelRecord, append_line, measure_kernels};

use super::{Result, format};

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// The kernels of a card: time, and what was achieved of what the card can do. Refuses emulators
    Gpu(Arguments),
}

/// Arguments of `cryptgpu bench gpu`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The card
    #[arg(long, default_value = "cuda:0")]
    device: Device,
    /// Add the records to this file (JSON Lines)
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write the records to standard output as JSON Lines, and nothing else
    #[arg(long)]
    json: bool,
}

pub fn run(bench: &Bench) -> Result<ExitCode> {
    let Bench::Gpu(arguments) = bench;
    let records = measure_kernels(arguments.device)?;
    let mut out = std::io::stdout().lock();
    for record in &records {
        let line = serde_json::to_string(record)? + "\n";
        if let Some(path) = &arguments.out {
            append_line(path, &line)?;
        }
        if arguments.json {
            write!(out, "{line}")?;
        }
    }
    if !arguments.json {
        writeln!(out, "{}", draw(&records))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn draw(records: &[KernelRecord]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "operation",
        "size",
        "time",
        "bytes a second",
        "of its memory's",
        "of its integer units'",
        "of its tensor cores'",
    ]);
    for record in records {
        let percent = |part: f64| if part > 0.0 { format!("{:.0} %", 100.0 * part) } else { "–".to_owned() };
        table.add_row([
            record.operation.clone(),
            record.size.clone(),
            format::seconds(record.seconds),
            format::bytes(record.bytes / record.seconds),
            percent(record.of_bandwidth()),
            percent(record.of_integer_units()),
            percent(record.of_tensor_cores().unwrap_or(0.0)),
        ]);
    }
    table
}
