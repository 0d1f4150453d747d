//! `cryptgpu show`: a network layer by layer, and what private inference of it costs, before anything runs.

use std::io::Write;
use std::process::ExitCode;

use cryptgpu_core::mpc::Settings;
use cryptgpu_core::net::Link;
use cryptgpu_core::nn::plan::Step;
use cryptgpu_core::nn::{Graph, LowerOptions, Plan, cost, count, estimate, fold, lower, window};
use cryptgpu_core::ring::FixedPoint;
use cryptgpu_core::show::{Cell, PlainTable, Show};
use serde::Serialize;

use super::arguments::{Numbers, Sizes};
use super::model::Model;
use super::{Result, format};

/// Arguments of `cryptgpu show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Bytes are exact. Rounds are what the protocols declare; a run's longest chain of messages is often shorter. Memory is that
of a party's process, within a ninth for the paper's networks; times are guesses, within a factor of two on the two cores
that they are fitted to (docs/performance.md).

Examples:
  cryptgpu show net.onnx
  cryptgpu show resnet50 --batch 8
  cryptgpu show resnet18 --classes 2 --input-size 3x96x96
  cryptgpu show net.onnx --json | tail -n 1")]
pub struct Arguments {
    /// An ONNX file, or the name of a network (`cryptgpu networks` lists them)
    network: String,
    /// Which output of an ONNX file that has several: its name. Else the only one that holds numbers
    #[arg(long, value_name = "NAME")]
    output_name: Option<String>,
    #[command(flatten)]
    sizes: Sizes,
    /// Images at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    batch: u32,
    #[command(flatten)]
    numbers: Numbers,
    /// Write JSON: a line for each step, and one for the whole
    #[arg(long)]
    json: bool,
}

/// A step of the evaluation.
#[derive(Serialize)]
struct Row<'a> {
    layer: &'a str,
    operation: &'static str,
    shape: &'a [usize],
    parameters: u64,
    macs: u64,
    relus: u64,
    rounds: u64,
    bytes: u64,
}

/// The whole evaluation.
#[derive(Serialize)]
pub struct Whole {
    network: String,
    digest: Option<String>,
    batch: usize,
    pub rounds: u64,
    pub bytes: u64,
    /// Of the weights' owner.
    pub memory_bytes_of_owner: u64,
    /// Of each other party.
    pub memory_bytes_of_others: u64,
    seconds_cpu: f64,
    seconds_lan: f64,
    seconds_wan: f64,
}

impl Whole {
    /// What inference of `batch` images costs.
    pub fn of(model: &Model, folded: &Graph, plan: &Plan, batch: usize, settings: &Settings) -> Self {
        let cost = cost::infer(plan, batch, settings);
        let seconds = |link| estimate::seconds(folded, plan, batch, settings, link);
        let memory = |owns| plan.memory(batch, settings.check_range, owns).total();
        Whole {
            network: model.graph.name().to_owned(),
            digest: model.onnx.as_ref().map(|onnx| onnx.digest.clone()),
            batch,
            rounds: cost.rounds,
            bytes: cost.bytes,
            memory_bytes_of_owner: memory(true),
            memory_bytes_of_others: memory(false),
            seconds_cpu: seconds(Link::None),
            seconds_lan: seconds(Link::Lan),
            seconds_wan: seconds(Link::Wan),
        }
    }

    pub fn text(&self) -> String {
        let images = if self.batch == 1 { "One image".to_owned() } else { format!("{} images", self.batch) };
        format!(
            "{images}: {} rounds, {} sent by all parties, {} of memory at the weights' owner, {} at the others. A guess of the time on \
             two cores: {} on one machine, {} over a LAN, {} over a WAN.",
            self.rounds,
            format::bytes(self.bytes as f64),
            format::memory(self.memory_bytes_of_owner),
            format::memory(self.memory_bytes_of_others),
            format::seconds(self.seconds_cpu),
            format::seconds(self.seconds_lan),
            format::seconds(self.seconds_wan),
        )
    }
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let model = Model::open(&arguments.network, arguments.output_name.as_deref(), &arguments.sizes)?;
    let settings = Settings {
        codec: FixedPoint::in_ring(arguments.numbers.ring(), arguments.numbers.fraction_bits())?,
        ..Settings::from(arguments.numbers.ring())
    };
    let folded = fold::fold_graph(&model.graph)?;
    let plan = lower::lower(&folded, LowerOptions::default(), settings.codec.ring())?;
    window::check_plan(&plan, &settings)?;
    let batch = arguments.batch as usize;
    let rows: Vec<Row<'_>> = plan.steps().iter().map(|step| row(&folded, &plan, step, batch, &settings)).collect();
    let whole = Whole::of(&model, &folded, &plan, batch, &settings);
    let mut out = std::io::stdout().lock();
    if arguments.json {
        for row in &rows {
            writeln!(out, "{}", serde_json::to_string(row)?)?;
        }
        writeln!(out, "{}", serde_json::to_string(&whole)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let some = |count: u64| Cell::from((count > 0).then_some(count as usize));
    let columns = ["layer", "operation", "shape", "parameters", "MACs", "ReLUs", "rounds", "bytes"];
    let table = PlainTable::new(columns).titled(model.describe()).whole().rows(rows.iter().map(|row| -> [Cell; 8] {
        let shape = row.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        let costs = [row.parameters, row.macs, row.relus, row.rounds, row.bytes].map(some);
        let [parameters, macs, relus, rounds, bytes] = costs;
        [row.layer.into(), row.operation.into(), shape.into(), parameters, macs, relus, rounds, bytes]
    }));
    writeln!(out, "{}", table.note(whole.text()).text())?;
    Ok(ExitCode::SUCCESS)
}

/// What a step is and costs, for the whole batch but for parameters and shape.
fn row<'a>(graph: &Graph, plan: &'a Plan, step: &'a Step, batch: usize, settings: &Settings) -> Row<'a> {
    let shape = plan.shape(step.output);
    let elements = shape.iter().map(|&size| size as u64).product::<u64>() * batch as u64;
    let node = graph.nodes().iter().find(|node| node.name == step.name);
    let parameters = graph.parameters().into_iter().filter(|parameter| graph.node(parameter.node).name == step.name);
    let cost = cost::of_step(plan, step, batch, settings);
    Row {
        layer: &step.name,
        operation: step.op.kind(),
        shape,
        parameters: parameters.map(|parameter| parameter.shape.iter().map(|&size| size as u64).product::<u64>()).sum(),
        macs: node.map_or(0, |node| count::macs(graph, node)) * batch as u64,
        relus: if node.is_some_and(|node| count::compares(&node.op)) { elements } else { 0 },
        rounds: cost.rounds,
        bytes: cost.bytes,
    }
}
