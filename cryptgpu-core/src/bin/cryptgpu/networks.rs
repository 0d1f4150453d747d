//! `cryptgpu networks`: the networks and their sizes.

use std::io::Write;
use std::process::ExitCode;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use cryptgpu_core::mpc::CheckRange;
use cryptgpu_core::nn::count::{Counts, count};
use cryptgpu_core::nn::{LowerOptions, fold, lower, zoo};
use cryptgpu_core::ring::Ring;
use serde::Serialize;

use super::{Result, format};

/// Arguments of `cryptgpu networks`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Names follow the paper's tables. A suffix makes a variant of the ten and of resnet18:
  -maxpool           real max-pooling, as in textbooks: what a file with torchvision's names means
  -relu-after-pool   ReLU after pooling, as in Piranha: fewer ReLUs, another function

Example:
  cryptgpu run inference --networks lenet,lenet-maxpool")]
pub struct Arguments {
    /// Include the variants
    #[arg(long)]
    all: bool,
    /// Write JSON, one network per line
    #[arg(long)]
    json: bool,
}

/// What is shown of a network.
#[derive(Serialize)]
struct Row {
    network: String,
    input: [usize; 3],
    /// Which function it is, where its weights fit others.
    function: String,
    #[serde(flatten)]
    counts: Counts,
    memory_bytes_of_owner: u64,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let names: Vec<String> =
        if arguments.all { zoo::names() } else { zoo::PAPER.iter().map(|&name| name.to_owned()).collect() };
    let rows = names.into_iter().map(row).collect::<Result<Vec<_>>>()?;
    let mut out = std::io::stdout().lock();
    if arguments.json {
        for row in &rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["network", "input", "ReLUs", "linear outputs", "MACs", "parameters", "memory"]);
    for row in &rows {
        let [channels, height, width] = row.input;
        table.add_row([
            row.network.clone(),
            format!("{channels}×{height}×{width}"),
            format::count(row.counts.relus),
            format::count(row.counts.linear_outputs),
            format::large(row.counts.macs),
            format::large(row.counts.parameters),
            format::memory(row.memory_bytes_of_owner),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    writeln!(out, "{table}")?;
    writeln!(
        out,
        "For one image; memory is of the process of the weights' owner, in the ring of 64 bits. Linear outputs are those of \
         convolutions and fully connected layers."
    )?;
    if !arguments.all {
        writeln!(
            out,
            "These are the ten networks of the paper; --all lists {} more.",
            zoo::names().len() - rows.len()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(network: String) -> Result<Row> {
    let graph = zoo::by_name(&network)?;
    let plan = lower::lower(&fold::fold_graph(&graph)?, LowerOptions::default(), Ring::Z64)?;
    let memory_bytes_of_owner = plan.memory(1, CheckRange::Off, true).total();
    Ok(Row {
        function: zoo::function(&graph),
        input: graph.input_shape(),
        counts: count(&graph),
        memory_bytes_of_owner,
        network,
    })
}
