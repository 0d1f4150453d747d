//! `cryptgpu run micro`: private operations by size.

use std::io::Write;
use std::process::ExitCode;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use cryptgpu_core::device::Devices;
use cryptgpu_core::experiment::Cited;
use cryptgpu_core::experiment::micro::{Bench, Micro, MicroRecord, MicroRow, Operation, micro_caption, micro_table};
use cryptgpu_core::mpc::Settings;
use cryptgpu_core::net::Link;
use cryptgpu_core::prg::Randomness;
use cryptgpu_core::ring::FixedPoint;

use super::arguments::{Numbers, Output, Parties, item};
use super::{Result, format};

/// Arguments of `cryptgpu run micro`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An operation is timed from shares to shares, its
truncation included.

Examples:
  cryptgpu run micro
      the sizes that are published for other systems: matrix products, convolutions, ReLUs
  cryptgpu run micro --operations 'relu 100000,convolution 28x28 1->16 k5' --link wan --out results.jsonl
      two of them, as if the parties were 40 ms apart; the records are added to a file")]
pub struct MicroArguments {
    /// Operations, separated by commas: `matmul MxKxN`, `convolution SxS IN->OUT kK`, `relu N`; else the published ones
    #[arg(long, value_delimiter = ',', value_parser = item::<Operation>)]
    operations: Vec<Operation>,
    #[command(flatten)]
    pub parties: Parties,
    /// Timed iterations; one that is not timed goes before
    #[arg(long, default_value_t = 5)]
    iterations: usize,
    /// Where the parties compute: auto, cpu, cuda:N, or three of them by party; an emulator's time is refused
    #[arg(long, default_value_t)]
    device: Devices,
    /// Links: none (as they are), lan (1.25 GB/s, 0.2 ms), wan (100 MB/s, 40 ms), or `MB/s:ms`
    #[arg(long, default_value = "none")]
    link: Link,
    /// What masks are drawn from: aes128-ctr, or insecure-philox, which is not cryptographic and protects nothing;
    /// it shows what the cipher costs
    #[arg(long, default_value_t)]
    randomness: Randomness,
    #[command(flatten)]
    numbers: Numbers,
    #[command(flatten)]
    output: Output,
}

pub fn run(arguments: &MicroArguments) -> Result<ExitCode> {
    let declarations = arguments.declarations()?;
    arguments.output.check()?;
    let codec = FixedPoint::in_ring(arguments.numbers.ring(), arguments.numbers.fraction_bits())?;
    let builder = arguments.parties.builder()?.device(arguments.device).randomness(arguments.randomness);
    let builder = builder.computing(Settings { codec, ..Settings::default() });
    let bench = Bench::start(builder, arguments.link)?;
    let mut records = Vec::with_capacity(declarations.len());
    for declaration in &declarations {
        records.push(one(&bench, declaration, &arguments.output)?);
    }
    if !arguments.output.json {
        print(&records)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the table of micro-benchmarks with its caption.
pub fn print(records: &[MicroRecord]) -> Result<()> {
    let rows = micro_table(records)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n{}", draw(&rows), micro_caption(&rows)?)?;
    Ok(())
}

fn one(bench: &Bench, declaration: &Micro, output: &Output) -> Result<MicroRecord> {
    let record = bench.measure(declaration)?;
    output.write(&record.to_line()?)?;
    if !output.json {
        eprintln!("{}: {}", declaration.operation, format::seconds(record.seconds));
    }
    Ok(record)
}

impl MicroArguments {
    /// All of them valid, before anything runs.
    fn declarations(&self) -> Result<Vec<Micro>> {
        let operations = if self.operations.is_empty() { Operation::published() } else { self.operations.clone() };
        let declaration = |operation| {
            let declaration = Micro { operation, iterations: self.iterations };
            declaration.validate().map(|()| declaration)
        };
        Ok(operations.into_iter().map(declaration).collect::<std::result::Result<_, _>>()?)
    }
}

fn draw(rows: &[MicroRow]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "operation",
        "size",
        "device",
        "time",
        "best",
        "a second",
        "sent",
        "rounds",
        "max error",
        "Piranha's (GPU)",
        "MP-SPDZ's (CPU)",
    ]);
    let cite = |cited: &Option<Cited>| {
        let text = |cited: &Cited| format!("{} ({})", format::seconds(cited.value), cited.tag());
        cited.as_ref().map_or_else(|| "–".to_owned(), text)
    };
    for row in rows {
        table.add_row([
            row.operation.clone(),
            row.size.clone(),
            row.series(),
            format::seconds(row.seconds),
            format::seconds(row.best_seconds),
            format::large(row.per_second as u64),
            format::bytes(row.bytes as f64),
            row.rounds.to_string(),
            format!("{:.1e}", row.max_abs_error),
            cite(&row.piranha_seconds),
            cite(&row.mp_spdz_seconds),
        ]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: MicroArguments,
    }

    fn declarations(words: &[&str]) -> Result<Vec<Micro>> {
        Line::try_parse_from([&["x"], words].concat())?.arguments.declarations()
    }

    #[test]
    fn arguments_become_declarations() {
        assert_eq!(declarations(&[]).unwrap().len(), 15);
        let two = declarations(&["--operations", "relu 12, convolution 28x28 1->16 k5", "--iterations", "3"]).unwrap();
        assert_eq!(two[0], Micro { operation: Operation::Relu { n: 12 }, iterations: 3 });
        assert_eq!(two[1].operation.size(), "28x28 1->16 k5");
        for (words, hint) in [
            (["--operations", "relu"], "matmul 100x100x100"),
            (["--operations", "relu 0"], "at least 1"),
            (["--iterations", "0"], "at least 1"),
            (["--randomness", "philox"], "insecure-philox"),
        ] {
            let error = declarations(&words).unwrap_err().to_string();
            assert!(error.contains(hint), "{words:?}: {error}");
        }
    }
}
