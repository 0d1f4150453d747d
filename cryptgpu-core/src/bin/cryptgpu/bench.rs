//! `cryptgpu bench`: measurements that need hardware.

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use comfy_table::{Table, presets};
use cryptgpu_core::device::Device;
use cryptgpu_core::experiment::{KernelRecord, measure_kernels};

use super::arguments::{Output, RingName};
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
    /// Bits of the ring's words: 64 or 32
    #[arg(long, default_value_t)]
    ring: RingName,
    #[command(flatten)]
    output: Output,
}

pub fn run(bench: &Bench) -> Result<ExitCode> {
    let Bench::Gpu(arguments) = bench;
    arguments.output.check()?;
    let records = measure_kernels(arguments.device, arguments.ring.0)?;
    for record in &records {
        arguments.output.write(&(serde_json::to_string(record)? + "\n"))?;
    }
    if !arguments.output.json {
        writeln!(std::io::stdout().lock(), "{}", draw(&records))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn draw(records: &[KernelRecord]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "operation",
        "ring",
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
            record.ring.to_string(),
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
