//! `cryptgpu range`: how much room the values of a network have in the ring, layer by layer. For the owner of the weights;
//! nothing is shared and no party is started.

use std::io::Write;
use std::process::ExitCode;

use cryptgpu_core::experiment::Inference;
use cryptgpu_core::mpc::SignWindow;
use cryptgpu_core::nn::headroom_table;
use cryptgpu_core::nn::range::{Conditions, Headroom, InputRange, headroom, judge};
use cryptgpu_core::show::Show;
use serde::Serialize;

use super::Result;
use super::arguments::{self, item, window};

/// Arguments of `cryptgpu range`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The bound holds for every image of the declared range; images show what is usual. Ends with an error when a value
leaves the ring on an image, or on every image.

Examples:
  cryptgpu range --networks lenet
  cryptgpu range --networks resnet50-maxpool --weights resnet50.safetensors --images 2
  cryptgpu range --networks lenet --fraction-bits 24 --input-range 0:1 --images 0")]
pub struct Arguments {
    /// Networks, separated by commas (`cryptgpu networks` lists them)
    #[arg(long, value_delimiter = ',', value_parser = item::<String>, required = true)]
    networks: Vec<String>,
    #[command(flatten)]
    sizes: arguments::Sizes,
    #[command(flatten)]
    inputs: arguments::Inputs,
    /// Images to try, 0 for the bound alone; else ten, or one for networks of 10⁹ MACs and more
    #[arg(long)]
    images: Option<usize>,
    /// Range that all inputs are declared to lie in, `lowest:largest`; else −3 to 3
    #[arg(long, value_parser = input_range, allow_hyphen_values = true)]
    input_range: Option<InputRange>,
    #[command(flatten)]
    numbers: arguments::Numbers,
    /// Bits that comparisons look at, `lowest:width`, width 8, 16, 32 or 64
    #[arg(long, value_parser = window)]
    window: Option<SignWindow>,
    /// Write JSON, one layer per line
    #[arg(long)]
    json: bool,
}

/// The range of inputs, `lowest:largest`.
pub fn input_range(text: &str) -> std::result::Result<InputRange, String> {
    let hint = || format!("`{text}` is not a range: use <lowest>:<largest>, such as 0:1 or -2.2:2.7");
    let (low, high) = text.split_once(':').ok_or_else(hint)?;
    InputRange::new(low.parse().map_err(|_| hint())?, high.parse().map_err(|_| hint())?).map_err(|_| hint())
}

/// A line of JSON.
#[derive(Serialize)]
struct Row<'a> {
    network: &'a str,
    #[serde(flatten)]
    step: &'a Headroom,
    bits_by_bound: f64,
    bits_seen: Option<f64>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    // All names are looked at before anything is computed.
    let declarations = arguments.networks.iter().map(|network| arguments.declaration(&arguments.sizes.of(network)));
    let declarations = declarations.collect::<Result<Vec<_>>>()?;
    let mut failed = false;
    for declaration in &declarations {
        failed |= !arguments.show(declaration)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Arguments {
    fn declaration(&self, network: &str) -> Result<Inference> {
        let default = Inference::of(network)?;
        let count = self.images.unwrap_or(if default.compare == 1 { 1 } else { 10 });
        let (images, weights) = self.inputs.choose(default.graph()?.input_shape(), default.images, default.weights)?;
        let declaration = Inference {
            images,
            weights,
            batch: count.max(1),
            iterations: 1,
            ring: self.numbers.ring(),
            fraction_bits: self.numbers.fraction_bits(),
            window: arguments::window_of(self.window, self.numbers.ring())?,
            compare: count,
            network: default.network,
            link: default.link,
            device: default.device,
            threads: default.threads,
            fidelity: default.fidelity,
            randomness: default.randomness,
            check_range: default.check_range,
        };
        for notice in declaration.validate()? {
            eprintln!("cryptgpu: {}: {notice}", declaration.weights);
        }
        Ok(declaration)
    }

    /// Shows the room of each layer, and whether no value is too large.
    fn show(&self, declaration: &Inference) -> Result<bool> {
        let graph = declaration.graph()?;
        let conditions = Conditions { input: self.input_range.unwrap_or_default(), ..declaration.conditions()? };
        let weights = declaration.load_weights(&graph)?;
        let count = declaration.compare;
        let images = if count > 0 { Some(declaration.open_images(&graph)?.batch(0, count)?) } else { None };
        let room = headroom(&graph, &weights, images.as_ref().map(|images| images.view()), &conditions)?;
        let verdict = judge(&room, &conditions);
        let network = declaration.network.as_str();
        let mut out = std::io::stdout().lock();
        if self.json {
            for step in &room {
                let (bits_by_bound, bits_seen) = (step.bits_by_bound(), step.bits_seen());
                writeln!(out, "{}", serde_json::to_string(&Row { network, step, bits_by_bound, bits_seen })?)?;
            }
        } else {
            let title = format!(
                "{network}, weights {}, inputs from {}, {count} images of {}, ring of {}, {} fraction bits",
                declaration.weights, conditions.input, declaration.images, declaration.ring, declaration.fraction_bits
            );
            writeln!(out, "{}", headroom_table(&room).titled(title).text())?;
        }
        match &verdict {
            Ok(None) => eprintln!("{network}: every image of the range fits"),
            Ok(Some(warning)) => eprintln!("{network}: {warning}"),
            Err(error) => eprintln!("cryptgpu: {network}: {error}"),
        }
        Ok(verdict.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn run_line(line: &str) -> Result<ExitCode> {
        run(&Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace()))?.arguments)
    }

    #[test]
    fn room_is_shown_and_what_cannot_be_used_is_named() {
        for (line, code) in [
            ("--networks lenet --images 2", ExitCode::SUCCESS),
            ("--networks lenet --images 0 --json --input-range -1:1", ExitCode::SUCCESS),
            ("--networks lenet --images 2 --window 6:16", ExitCode::FAILURE),
        ] {
            assert_eq!(run_line(line).unwrap(), code, "{line}");
        }
        for (line, hint) in [
            ("--networks lenet51", "lenet"),
            ("--networks lenet --input-range 1", "0:1"),
            ("--networks lenet --input-range 2:1", "0:1"),
            ("--networks lenet --fraction-bits 30", "conv2"),
        ] {
            let error = run_line(line).unwrap_err().to_string();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }
}
