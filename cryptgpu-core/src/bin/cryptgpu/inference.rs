//! `cryptgpu run inference`: private inference of networks, their records, and the comparison at the end.

use std::process::ExitCode;

use clap::ValueEnum;
use cryptgpu_core::experiment::{Inference, Parties, Record, Suite, WeightSource, measure};
use cryptgpu_core::nn::zoo;

use super::arguments::{self, Output, item};
use super::progress::Progress;
use super::{Result, format, table};

/// Arguments of `cryptgpu run inference`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Party 1 brings the weights, party 0 the images; no party sees the other's, or the result, which only
this program puts together. Each iteration is on the next batch of images.

Examples:
  cryptgpu run inference --networks lenet
      real digits, the bundled weights: seconds, and the accuracy
  cryptgpu run inference --networks lenet --dataset mnist-test --batch 100 --images 10000
      all MNIST test images (get them with scripts/fetch-datasets)
  cryptgpu run inference --networks resnet50 --weights resnet50.safetensors --iterations 3
      your own weights, with PyTorch's names
  cryptgpu run inference --networks lenet --link wan --out results.jsonl
      as if the parties were 40 ms apart; the record is added to a file
  cryptgpu run inference --networks lenet --parties ann@h0,bob@h1,eve@h2
      on three hosts, started over SSH
  cryptgpu run inference --networks lenet --fidelity paper
      the truncation that CryptGPU's code uses, for comparison")]
pub struct InferenceArguments {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    pub parties: arguments::Parties,
    #[command(flatten)]
    computation: arguments::Computation,
    /// Images to compare with plaintext evaluation; else all, or one for networks of 10⁹ MACs and more
    #[arg(long)]
    compare: Option<usize>,
    #[command(flatten)]
    output: Output,
}

/// What is evaluated, on what and how often: in private and in the clear alike.
#[derive(Debug, clap::Args)]
pub struct What {
    /// Networks, separated by commas (`cryptgpu networks` lists them)
    #[arg(long, value_delimiter = ',', value_parser = item::<String>, conflicts_with = "suite")]
    networks: Vec<String>,
    #[command(flatten)]
    sizes: arguments::Sizes,
    /// Networks by set: small fits in about two minutes, full is the paper's ten
    #[arg(long, value_enum, default_value_t = SuiteName::Small)]
    suite: SuiteName,
    /// Timed iterations; one that is not timed goes before
    #[arg(long, default_value_t = 5, conflicts_with = "images")]
    iterations: usize,
    /// Images at a time
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Images in all, in place of a number of iterations; a multiple of the batch
    #[arg(long)]
    images: Option<usize>,
    #[command(flatten)]
    inputs: arguments::Inputs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SuiteName {
    Small,
    Full,
}

pub fn run(arguments: &InferenceArguments) -> Result<ExitCode> {
    // Everything is checked before anything runs: a name that is wrong does not show after minutes.
    let declarations = arguments.declarations()?;
    arguments.output.check()?;
    let mut parties = Parties::new(arguments.parties.builder()?);
    let mut records = Vec::new();
    let mut failed = false;
    for declaration in &declarations {
        match one(declaration, &mut parties, &arguments.output) {
            Ok(record) => records.push(record),
            Err(error) => {
                eprintln!("cryptgpu: {}: {error}", declaration.network);
                failed = true;
            }
        }
    }
    if !arguments.output.json && !records.is_empty() {
        table::print(&records)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn one(declaration: &Inference, parties: &mut Parties, output: &Output) -> Result<Record> {
    if let (WeightSource::File(_), false) = (&declaration.weights, output.json) {
        // The file does not say which of several functions it was trained for.
        eprintln!("{}: {}", declaration.network, zoo::function(&declaration.graph()?));
    }
    let mut progress = Progress::new(&declaration.network, output.json);
    let record = measure(declaration, parties, &mut |stage| progress.show(stage))?;
    progress.finish(&summary(&record));
    output.write(&record.to_line()?)?;
    Ok(record)
}

pub fn summary(record: &Record) -> String {
    let cost = match record.is_plaintext() {
        true => format!("in the clear, {}", record.engine),
        false => format!("{} at {} rounds", format::bytes(record.total_bytes() as f64), record.rounds),
    };
    let mut text = format!(
        "{} for {} ({cost})",
        // How long an emulator takes says nothing.
        if record.is_emulated() { "emulated".to_owned() } else { format::seconds(record.seconds) },
        if record.batch == 1 { "one image".to_owned() } else { format!("{} images", record.batch) },
    );
    if record.device != "cpu" {
        text += &format!(", on {}", places(record));
    }
    if record.is_insecure() {
        text += &format!(", INSECURE ({})", record.randomness);
    }
    if record.parties.ends_with("unencrypted") {
        text += &format!(", {}", record.parties);
    }
    if let Some(agreement) = record.agreement {
        text += &format!(", same prediction as plaintext on {agreement} of {}", record.compared);
    }
    if let Some(accuracy) = record.accuracy {
        text += &format!(", accuracy {:.2} %", 100.0 * accuracy);
        if let Some(plaintext) = record.plaintext_accuracy.filter(|_| !record.is_plaintext()) {
            text += &format!(" (plaintext {:.2} %)", 100.0 * plaintext);
        }
    }
    text
}

/// Which card each party took: `cuda:0 (NVIDIA V100), cpu, cpu`.
fn places(record: &Record) -> String {
    let devices: Vec<&str> = record.device.split(',').cycle().take(3).collect();
    let place = |(device, card): (&&str, &String)| match card.is_empty() {
        true => (*device).to_owned(),
        false => format!("{device} ({card})"),
    };
    devices.iter().zip(&record.cards).map(place).collect::<Vec<_>>().join(", ")
}

impl What {
    /// One declaration for each network, on the settings of a usual run.
    pub fn declarations(&self) -> Result<Vec<Inference>> {
        let suite = match self.suite {
            SuiteName::Small => Suite::Small,
            SuiteName::Full => Suite::Full,
        };
        let of_suite = || suite.networks().iter().map(|&name| name.to_owned()).collect();
        let networks: Vec<String> = if self.networks.is_empty() { of_suite() } else { self.networks.clone() };
        networks.iter().map(|network| self.declaration(&self.sizes.of(network))).collect()
    }

    fn declaration(&self, network: &str) -> Result<Inference> {
        let default = Inference::of(network)?;
        let iterations = match self.images {
            None => self.iterations,
            Some(images) if self.batch > 0 && images.is_multiple_of(self.batch) => images / self.batch,
            Some(images) => return Err(format!("--images {images} is not a multiple of --batch {}", self.batch).into()),
        };
        let shape = default.graph()?.input_shape();
        let (images, weights) = self.inputs.choose(shape, default.images, default.weights)?;
        let (network, batch) = (network.to_owned(), self.batch);
        Ok(Inference { network, images, weights, batch, iterations, ..default })
    }
}

impl InferenceArguments {
    /// One declaration for each network, all of them valid.
    fn declarations(&self) -> Result<Vec<Inference>> {
        self.what.declarations()?.into_iter().map(|declaration| self.private(declaration)).collect()
    }

    fn private(&self, default: Inference) -> Result<Inference> {
        let declaration = Inference {
            link: self.computation.link,
            device: self.computation.device,
            fidelity: self.computation.fidelity.into(),
            randomness: self.computation.randomness,
            ring: self.computation.numbers.ring(),
            fraction_bits: self.computation.numbers.fraction_bits(),
            window: self.computation.window()?,
            check_range: self.computation.check_range_in_inference(),
            compare: self.compare.unwrap_or(default.compare),
            ..default
        };
        for notice in declaration.validate()? {
            eprintln!("cryptgpu: {}: {notice}", declaration.weights);
        }
        Ok(declaration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use cryptgpu_core::experiment::Images;
    use cryptgpu_core::mpc::SignWindow;
    use cryptgpu_core::mpc::{CheckRange, Fidelity};
    use cryptgpu_core::net::Link;
    use cryptgpu_core::prg::Randomness;
    use cryptgpu_datasets::ImageSet;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: InferenceArguments,
    }

    fn declarations(line: &str) -> Result<Vec<Inference>> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Line::try_parse_from(words)?.arguments.declarations()
    }

    #[test]
    fn arguments_become_declarations() {
        assert_eq!(
            Line::try_parse_from(["x", "--networks", "lenet, resnet18"]).unwrap().arguments.what.networks,
            ["lenet", "resnet18"]
        );
        let all =
            declarations("--networks lenet,resnet50 --iterations 3 --link wan --fidelity paper --seed 7").unwrap();
        assert_eq!((all[0].network.as_str(), all[1].network.as_str()), ("lenet", "resnet50"));
        assert_eq!((all[0].iterations, all[0].link, all[0].fidelity), (3, Link::Wan, Fidelity::Paper));
        assert_eq!((&all[0].weights, &all[1].weights), (&WeightSource::Bundled, &WeightSource::Random(7)));
        assert_eq!((&all[0].images, &all[1].images), (&Images::Set(ImageSet::MnistBundled), &Images::Random(7)));
        assert_eq!(declarations("--networks lenet --batch 10 --images 50").unwrap()[0].iterations, 5);
        assert_eq!(all[0].randomness, Randomness::Aes128Ctr);
        let insecure = declarations("--networks lenet --randomness insecure-philox").unwrap();
        assert_eq!(insecure[0].randomness, Randomness::InsecurePhilox);
        assert_eq!(declarations("--suite full").unwrap().len(), 10);
        let checks = ["", " --check-range", " --check-range=layers", " --ring 32", " --ring 32 --check-range=off"];
        let checks = checks.map(|check| declarations(&format!("--networks lenet{check}")).unwrap()[0].check_range);
        let [off, run, layers] = [CheckRange::Off, CheckRange::Run, CheckRange::Layers];
        assert_eq!(checks, [off, run, layers, run, off]);
        assert_eq!(declarations("--networks lenet --window 0:32").unwrap()[0].window, SignWindow::new(0, 32).unwrap());
    }

    #[test]
    fn bad_arguments_say_what_can_be_used() {
        for (line, hint) in [
            ("--networks lenet,resnet51", "resnet50"),
            ("--networks lenet --images 7 --batch 2", "multiple"),
            ("--networks lenet --link moon", "wan"),
            ("--networks lenet --window 3:7", "0:32"),
            ("--networks lenet --check-range=all", "layers"),
            ("--networks lenet --check-range --window 8:32", "(0:32)"),
            ("--networks lenet --dataset imagenet", "random"),
            ("--networks lenet --device tpu", "cuda:N"),
            ("--networks lenet --randomness philox", "insecure-philox"),
            ("--networks resnet50 --weights bundled", "those of lenet"),
            ("--networks lenet --weights no/such.safetensors --batch 0", "at least 1"),
            ("--networks lenet --images 10 --iterations 3", "cannot be used with"),
            ("--networks lenet --batch 250 --images 2000", "1000 images"),
            ("--networks lenet --batch 4611686018427387904", "at most"),
            ("--networks lenet --dataset random --batch 4611686018427387904 --images 4611686018427387904", "at most"),
            ("--networks lenet --dataset random --iterations 18446744073709551615", "at most"),
            ("--networks lenet --fraction-bits 4294967295", "fraction bits"),
            ("--networks lenet --window 4294967280:16", "0:32"),
            ("--networks lenet --ring 32 --window 0:64", "--window 0:64: it ends at bit 64"),
            ("--networks lenet --ring 32 --window 16:32", "such as 16:16"),
        ] {
            let error = declarations(line).unwrap_err().to_string();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }
}
