//! `cryptgpu run train`: private training of networks, their records, and the comparison at the end.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use cryptgpu_core::cluster::{Checkpointing, ClusterError, Iteration};
use cryptgpu_core::experiment::training::{
    Examples, Export, LeftRange, PAPER, Training, TrainingRecord, TrainingRow, TrainingStage, measure_curve,
    training_caption, training_table,
};
use cryptgpu_core::experiment::{ExperimentError, Parties, WeightFile, WeightSource};
use cryptgpu_core::net::PartyId;
use cryptgpu_core::nn::training::Train;

use super::arguments::{self, Output, item};
use super::progress::Progress;
use super::settings::TrainSettings;
use super::{Result, format};

/// Arguments of `cryptgpu run train`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Party 0 brings the images, party 2 the labels, party 1 the weights that training begins with; no party sees what
is another's, and the trained weights stay in shares. Nothing is revealed but what is asked for: the loss, the
accuracy after each epoch, the trained weights to one party.

Examples:
  cryptgpu run train
      four iterations of the paper's five settings: time and bytes beside the paper's
  cryptgpu run train --networks lenet --dataset digits --epochs 3 --reveal-loss-every 1 --accuracy
      the bundled digits: a minute
  cryptgpu run train --networks lenet --dataset mnist --epochs 2 --reveal-loss-every 50 --accuracy --out train.jsonl
      all of MNIST (get it with scripts/fetch-datasets); the record is added to a file
  cryptgpu run train --networks lenet --dataset mnist --epochs 2 --ring 32
      in the ring of 32 bits: half of the bytes; values that leave its range end the run with the layer's name
  cryptgpu run train --networks lenet --dataset mnist --epochs 2 --checkpoints kept --resume
      goes on with a run that was stopped; without --resume, begins one that leaves checkpoints and, with new parties,
      goes on from them by itself when it loses a party, a host or a connection (--restarts)
  cryptgpu run train --networks lenet --dataset mnist --epochs 3 --rate-every 1 --rate-factor 0.5 --export lenet.safetensors
      at half of the rate after each epoch; the weights go to party 1 (--export-to), which writes them for PyTorch to read
  cryptgpu run train --networks lenet --weights bundled --frozen conv1,conv2 --dataset digits --epochs 1
      the last layers only, from trained weights")]
pub struct TrainArguments {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    pub parties: arguments::Parties,
    /// Write checkpoints to this folder: each party its own, sealed with a key that it holds
    #[arg(long, value_name = "FOLDER")]
    checkpoints: Option<PathBuf>,
    /// Iterations from one checkpoint to the next
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..),
          requires = "checkpoints")]
    checkpoint_every: u32,
    /// Go on from the last checkpoint of that folder, bit for bit as if the run had not been stopped
    #[arg(long, requires = "checkpoints")]
    resume: bool,
    /// How often a run that has lost a party, its host or a connection starts new parties and goes on from the last
    /// checkpoint
    #[arg(long, value_name = "N", default_value_t = Checkpointing::RESTARTS as u32, requires = "checkpoints")]
    restarts: u32,
    /// Open the trained weights to one party at the end, which writes them to this safetensors file of its machine, with PyTorch's
    /// names
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// The party that they are opened to
    #[arg(long, value_name = "PARTY", default_value_t = 1, requires = "export", value_parser = clap::value_parser!(u8).range(..3))]
    export_to: u8,
    #[command(flatten)]
    computation: arguments::Computation,
    #[command(flatten)]
    output: Output,
}

/// What is trained, on what and how: in private and in the clear alike.
#[derive(Debug, clap::Args)]
pub struct What {
    /// Networks, separated by commas (`cryptgpu networks` lists them); the paper's five by default
    #[arg(long, value_delimiter = ',', value_parser = item::<String>)]
    networks: Vec<String>,
    #[command(flatten)]
    sizes: arguments::Sizes,
    /// Examples of a minibatch; by default the paper's, and 32 for networks that the paper does not train
    #[arg(long)]
    batch: Option<usize>,
    /// How often all examples are gone through
    #[arg(long, conflicts_with = "iterations")]
    epochs: Option<usize>,
    /// How many minibatches to train with; 4 by default. The first is not timed
    #[arg(long)]
    iterations: Option<usize>,
    /// Examples: mnist, fashion-mnist, emnist-letters and the like, cifar10, cifar100 (downloaded), digits (bundled), random; a
    /// file (IDX, CIFAR's .bin); or a folder with a folder of pictures for each class, whose accuracy is measured on the folder
    /// `test` or `val` beside it, if it is called `train`. Else what fits the network and is there
    #[arg(long)]
    dataset: Option<String>,
    #[command(flatten)]
    own: arguments::OwnData,
    /// Weights to begin with: bundled (of lenet and resnet8-cifar10), or a safetensors file; else drawn from the seed
    #[arg(long)]
    weights: Option<String>,
    #[command(flatten)]
    settings: TrainSettings,
    /// Reveal the mean loss of every so many minibatches to this program; none by default, and all in the clear
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    reveal_loss_every: Option<u32>,
    /// Measure the accuracy on the data set's test part after every epoch and at the end, and reveal it to this program
    #[arg(long)]
    accuracy: bool,
}

pub fn run(arguments: &TrainArguments) -> Result<ExitCode> {
    let declarations = arguments.declarations()?;
    arguments.output.check()?;
    let mut parties = Parties::new(arguments.parties.builder()?);
    let mut records = Vec::new();
    let mut failed = false;
    for declaration in &declarations {
        match one(declaration, &mut parties, &arguments.output) {
            Ok(record) => {
                if let Some(LeftRange { iteration, loss, .. }) = record.left_range {
                    // The record is of the iterations before, for those who study where it happens.
                    eprintln!("cryptgpu: {}: {}", declaration.network, ClusterError::LeftRange { iteration, loss });
                    failed = true;
                }
                records.push(record);
            }
            Err(error) => {
                eprintln!("cryptgpu: {}: {error}", declaration.network);
                failed = true;
            }
        }
    }
    if !arguments.output.json && !records.is_empty() {
        print(&records)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn one(declaration: &Training, parties: &mut Parties, output: &Output) -> Result<TrainingRecord> {
    if !output.json {
        let revealed = declaration.revealed();
        let revealed = if revealed.is_empty() { "nothing".to_owned() } else { revealed.join("; ") };
        let stated = declaration.stated()?;
        let memory = stated.memory_by_party().map(format::memory).join(", ");
        eprintln!(
            "{}: on {}, {} an iteration; memory of the parties: {memory}; revealed: {revealed}",
            declaration.network,
            declaration.data,
            format::bytes(stated.bytes as f64)
        );
    }
    let setup = "reading examples, sharing the weights";
    watched(&declaration.network, output, setup, |observe| measure_curve(declaration, parties, observe))
}

/// Measures a training, private or in the clear, while its progress is shown under `name`, and keeps the record.
pub fn watched(
    name: &str,
    output: &Output,
    setup: &str,
    measure: impl FnOnce(&mut dyn FnMut(TrainingStage<'_>)) -> std::result::Result<TrainingRecord, ExperimentError>,
) -> Result<TrainingRecord> {
    let mut progress = Progress::new(name, output.json);
    let mut pace = Pace::default();
    let record = measure(&mut |stage| match stage {
        TrainingStage::Setup => progress.update(0, 1, setup),
        TrainingStage::Iteration(iteration) => {
            let text = pace.after(iteration);
            progress.update(iteration.number + 1, iteration.of, &text);
        }
    })?;
    progress.finish(&summary(&record));
    output.write(&record.to_line()?)?;
    Ok(record)
}

/// What is known of a run's speed so far.
#[derive(Default)]
struct Pace {
    since: Option<Instant>,
    /// The first iteration of this run, which may go on with another.
    first: Option<usize>,
    /// How often the run has gone on with new parties.
    restarts: usize,
    bytes: u64,
    loss: Option<(usize, f64)>,
    accuracy: Option<(usize, f64)>,
}

impl Pace {
    /// `iteration 12 of 469, 3.1 a second, 4.80 GB, 2 min left, loss 0.31`.
    fn after(&mut self, iteration: &Iteration) -> String {
        let Iteration { number, of, loss, .. } = *iteration;
        let since = *self.since.get_or_insert_with(Instant::now);
        self.bytes += iteration.bytes.iter().sum::<u64>();
        self.loss = loss.map(|loss| (number + 1, loss)).or(self.loss);
        let mut text = format!("iteration {} of {of}", number + 1);
        // The first one's end is where the clock starts.
        let seconds = since.elapsed().as_secs_f64();
        if iteration.restarts != self.restarts {
            // The clock starts again: between them new parties were started.
            (self.restarts, self.since, self.first) = (iteration.restarts, Some(Instant::now()), None);
        }
        let ended = number - *self.first.get_or_insert(number);
        if ended > 0 && seconds > 0.0 {
            let speed = ended as f64 / seconds;
            let left = (of - number - 1) as f64 / speed;
            text += &format!(", {} a second, {} left", format::digits(speed), format::time_left(left));
        }
        if self.bytes > 0 {
            text += &format!(", {}", format::bytes(self.bytes as f64));
        }
        if let Some((from, times)) = self.first.filter(|_| self.restarts > 0).map(|from| (from, self.restarts)) {
            text += &format!(", {} (after iteration {from})", restarted(times));
        }
        if let Some((at, loss)) = self.loss {
            text += &format!(", loss {loss:.3} (iteration {at})");
        }
        if let Some(accuracy) = &iteration.accuracy {
            self.accuracy = Some((iteration.epoch + 1, accuracy.fraction()));
        }
        if let Some((epoch, accuracy)) = self.accuracy {
            text += &format!(", accuracy {:.2} % (epoch {epoch})", 100.0 * accuracy);
        }
        text
    }
}

/// `restarted twice`.
fn restarted(times: usize) -> String {
    match times {
        1 => "restarted once".to_owned(),
        2 => "restarted twice".to_owned(),
        times => format!("restarted {times} times"),
    }
}

pub fn summary(record: &TrainingRecord) -> String {
    let mut text = format!(
        "{} an iteration of {} examples{}, {} iterations in {}",
        if record.is_emulated() { "emulated".to_owned() } else { format::seconds(record.seconds) },
        record.batch,
        match record.is_plaintext() {
            true => format!(" in the clear ({})", record.engine),
            false => format!(" ({} at {} rounds)", format::bytes(record.bytes() as f64), record.rounds),
        },
        record.iterations,
        format::seconds(record.total_seconds),
    );
    let memory = record.peak_rss_bytes.into_iter().max().unwrap_or(0);
    // Nothing is known of a run that was stopped.
    if memory > 0 {
        let of = if record.is_plaintext() { "" } else { " a party" };
        text += &format!(", {} of memory{of}", format::memory(memory));
    }
    if let Some(from) = record.resumed_from {
        text += &format!(", resumed after iteration {from}");
    }
    if let Some(last) = record.restarts.last() {
        text += &format!(", {} (at last after iteration {})", restarted(record.restarts.len()), last.from);
    }
    if record.is_insecure() {
        text += &format!(", INSECURE ({})", record.randomness);
    }
    if let Some(left) = record.left_range {
        text += &format!(", {left}: a loss of {:.4} was revealed", left.loss);
    }
    if let Some((_, loss)) = record.losses.last() {
        text += &format!(", loss {loss:.3}");
    }
    if let Some(accuracy) = record.accuracy {
        text += &format!(", accuracy {:.2} % on {}", 100.0 * accuracy, record.tested_on);
    }
    text
}

impl What {
    /// Whether epochs or iterations were asked for.
    pub fn says_how_long(&self) -> bool {
        self.epochs.is_some() || self.iterations.is_some()
    }

    /// One declaration for each network, on the settings of a usual run.
    pub fn declarations(&self) -> Result<Vec<Training>> {
        let of_paper = || PAPER.iter().map(|(name, _)| (*name).to_owned()).collect();
        let networks: Vec<String> = if self.networks.is_empty() { of_paper() } else { self.networks.clone() };
        networks.iter().map(|network| self.declaration(&self.sizes.of(network))).collect()
    }

    fn declaration(&self, network: &str) -> Result<Training> {
        let default = Training::of(network)?;
        let shape = default.graph()?.input_shape();
        let mut train = self.settings.of(Train {
            batch: self.batch.unwrap_or(default.train.batch),
            epochs: self.epochs.unwrap_or(default.train.epochs),
            iterations: if self.epochs.is_some() { None } else { self.iterations.or(default.train.iterations) },
            ..default.train
        });
        train.reveal.loss_every = self.reveal_loss_every.map(|every| every as usize);
        train.reveal.accuracy_every = self.accuracy.then_some(1);
        let weights = self.weights.as_deref().map(|weights| match weights {
            "bundled" => WeightSource::Bundled,
            path => WeightSource::File(WeightFile::new(path)),
        });
        let asked = self.dataset.as_deref().map(|dataset| self.own.open(dataset, shape, str::parse::<Examples>));
        let data = asked.transpose()?.unwrap_or(default.data);
        Ok(Training { network: network.to_owned(), data, weights, train, ..default })
    }
}

impl TrainArguments {
    /// One declaration for each network, all of them valid.
    fn declarations(&self) -> Result<Vec<Training>> {
        let declarations = self.what.declarations()?;
        if self.checkpoints.is_some() && declarations.len() != 1 {
            return Err("a folder of checkpoints is for one run: name one network (--networks)".into());
        }
        if self.export.is_some() && declarations.len() != 1 {
            return Err("a file of weights is of one network: name one (--networks)".into());
        }
        declarations.into_iter().map(|declaration| self.private(declaration)).collect()
    }

    fn private(&self, declaration: Training) -> Result<Training> {
        let declaration = declaration.in_ring(self.computation.numbers.ring());
        let declaration = Training {
            checkpoints: self.checkpoints.as_ref().map(|folder| {
                let checkpoints = Checkpointing::every(self.checkpoint_every as usize, folder);
                let checkpoints = checkpoints.restarts(self.restarts as usize);
                if self.resume { checkpoints.resuming() } else { checkpoints }
            }),
            export: self.export.clone().zip(PartyId::new(self.export_to.into())).map(|(path, to)| Export { to, path }),
            link: self.computation.link,
            device: self.computation.device,
            fidelity: self.computation.fidelity.into(),
            randomness: self.computation.randomness,
            fraction_bits: self.computation.numbers.fraction_bits(),
            window: self.computation.window()?,
            check_range: self.computation.check_range().unwrap_or(declaration.check_range),
            ..declaration
        };
        declaration.validate()?;
        Ok(declaration)
    }
}

/// Prints the training table of `records` with its caption.
pub fn print(records: &[TrainingRecord]) -> Result<()> {
    let rows = training_table(records)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}\n{}", draw(&rows), training_caption(&rows)?)?;
    Ok(())
}

fn draw(rows: &[TrainingRow]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header([
        "network",
        "data",
        "batch",
        "link",
        "an iteration",
        "CryptGPU's",
        "faster",
        "sent",
        "CryptGPU's code sends",
        "of theirs",
        "rounds",
        "memory",
        "loss",
        "accuracy",
    ]);
    for row in rows {
        table.add_row([
            row.label(),
            row.dataset.clone(),
            row.batch.to_string(),
            row.link.clone(),
            if row.emulated { "–".to_owned() } else { format::seconds(row.seconds) },
            format::cited(&row.cryptgpu_seconds, format::seconds),
            format::or_dash(row.speed_up.map(|factor| format!("{} ×", format::digits(factor)))),
            format::bytes(row.bytes as f64),
            format::cited(&row.cryptgpu_bytes_sent, format::bytes),
            format::or_dash(row.bytes_fraction.map(|fraction| format!("{:.1} %", 100.0 * fraction))),
            row.rounds.to_string(),
            format::or_dash((row.peak_rss_bytes > 0).then(|| format::memory(row.peak_rss_bytes))),
            format::or_dash(row.loss.map(|loss| format!("{loss:.3}"))),
            format::or_dash(row.accuracy.map(|accuracy| format!("{:.2} %", 100.0 * accuracy))),
        ]);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use cryptgpu_core::mpc::{CheckRange, Fidelity};
    use cryptgpu_core::nn::training::{Adam, Initial, Loss, Schedule, Sgd};
    use cryptgpu_core::ring::Ring;
    use cryptgpu_datasets::ImageSet;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: TrainArguments,
    }

    fn declarations(line: &str) -> Result<Vec<Training>> {
        let words = std::iter::once("x").chain(line.split_whitespace());
        Line::try_parse_from(words)?.arguments.declarations()
    }

    #[test]
    fn arguments_become_declarations() {
        let paper = declarations("").unwrap();
        assert_eq!(paper.iter().map(|of| (of.network.as_str(), of.train.batch)).collect::<Vec<_>>(), PAPER);
        assert!(paper.iter().all(|of| of.train.iterations == Some(4) && of.revealed().is_empty()));
        let line = "--networks lenet --dataset digits --epochs 2 --batch 100 --rate 0.1 --momentum 0.5 --seed 7 \
                    --reveal-loss-every 5 --accuracy --fidelity paper --check-range=layers --frozen conv1,conv2";
        let one = declarations(line).unwrap().remove(0);
        assert_eq!(one.data, Examples::Set(ImageSet::DigitsTrain));
        assert_eq!((one.train.batch, one.train.epochs, one.train.iterations), (100, 2, None));
        assert_eq!(one.train.optimizer, Sgd::new(0.1).momentum(0.5));
        assert_eq!((one.train.seed, one.train.frozen.len(), one.train.reveal.loss_every), (7, 2, Some(5)));
        assert_eq!((one.fidelity, one.check_range), (Fidelity::Paper, CheckRange::Layers));
        assert_eq!(one.train.reveal.accuracy_every, Some(1));
        let of = |line: &str| {
            let one = declarations(&format!("--networks lenet --dataset digits {line}")).unwrap().remove(0);
            (one.ring, one.fraction_bits, one.check_range)
        };
        assert_eq!(of(""), (Ring::Z64, 20, CheckRange::Off));
        assert_eq!(of("--ring 32"), (Ring::Z32, 12, CheckRange::Layers));
        assert_eq!(of("--ring 32 --fraction-bits 10 --check-range"), (Ring::Z32, 10, CheckRange::Run));
        assert_eq!(of("--ring 32 --check-range=off"), (Ring::Z32, 12, CheckRange::Off));
        let adam = declarations("--networks lenet --dataset digits --adam --rate 0.001 --weights bundled").unwrap();
        assert_eq!((adam[0].train.optimizer, &adam[0].weights), (Adam::new(0.001), &Some(WeightSource::Bundled)));
    }

    #[test]
    fn all_that_train_has_can_be_asked_for() {
        let of = |line: &str| declarations(&format!("--networks lenet --dataset digits {line}")).unwrap().remove(0);
        let plain = of("").train;
        assert_eq!((plain.schedule, plain.initial, plain.loss), Default::default());
        let all =
            of("--nesterov --rate 0.1 --weight-decay 0.01 --rate-every 2 --initial pytorch --loss mean-squared-error");
        assert_eq!(all.train.optimizer, Sgd::nesterov(0.1, 0.9).weight_decay(0.01));
        assert_eq!(all.train.schedule, Schedule::Steps { epochs: 2, factor: 0.1 });
        assert_eq!((all.train.initial, all.train.loss, all.export), (Initial::PyTorch, Loss::MeanSquaredError, None));
        let adam = of("--adam --weight-decay 0.01 --rate-after 10,15 --rate-factor 0.5 --export w.safetensors");
        assert_eq!(adam.train.optimizer, Adam::new(0.01).weight_decay(0.01));
        assert_eq!(adam.train.schedule, Schedule::Milestones { epochs: vec![10, 15], factor: 0.5 });
        assert_eq!(adam.revealed(), ["the trained weights at the end, to party 1"]);
        let export = of("--export w.safetensors --export-to 2").export;
        assert_eq!(export, Some(Export { to: PartyId::P2, path: "w.safetensors".into() }));
    }

    #[test]
    fn bad_arguments_say_what_can_be_used() {
        for (line, hint) in [
            ("--networks lanet", "lenet"),
            ("--networks lenet --epochs 1 --iterations 3", "cannot be used with"),
            ("--networks lenet --dataset imagenet", "digits"),
            ("--networks lenet --dataset digits --batch 0", "batch"),
            ("--networks lenet --dataset digits --batch 5000", "800 examples"),
            ("--networks lenet --dataset digits --rate -1", "the rate is -1, and must be above 0"),
            ("--networks lenet --dataset digits --momentum -0.1", "the momentum is -0.1"),
            ("--networks lenet --dataset digits --weight-decay -0.1", "the weight decay is -0.1"),
            ("--networks lenet --dataset random --epochs 1", "number of iterations"),
            ("--networks lenet --dataset random --accuracy", "held out"),
            ("--networks lenet --reveal-loss-every 0", "1.."),
            ("--networks vgg16-tiny --weights bundled", "those of lenet"),
            ("--networks lenet --dataset digits --resume", "--checkpoints"),
            ("--networks lenet --dataset digits --restarts 2", "--checkpoints"),
            ("--checkpoints kept", "one network"),
            ("--export w.safetensors", "one network"),
            ("--networks lenet --dataset digits --export-to 2", "--export"),
            ("--networks lenet --dataset digits --export w.safetensors --export-to 3", "0..3"),
            ("--networks lenet --dataset digits --adam --nesterov", "cannot be used with"),
            ("--networks lenet --dataset digits --nesterov --momentum 0", "Nesterov"),
            ("--networks lenet --dataset digits --rate-factor 0.5", "--rate-every"),
            ("--networks lenet --dataset digits --rate-every 1 --rate-after 2", "cannot be used with"),
            ("--networks lenet --dataset digits --rate-every 1 --rate-factor -1", "the schedule's factor is -1"),
            ("--networks lenet --dataset digits --rate-every 0", "1.."),
            ("--networks lenet --dataset digits --rate-after 0,2", "number of epochs"),
            ("--networks lenet --dataset digits --initial zeros", "pytorch"),
            ("--networks lenet --dataset digits --initial pytorch --weights bundled", "cannot be used with"),
            ("--networks lenet --dataset digits --loss hinge", "cross-entropy"),
            ("--networks lenet --dataset digits --fraction-bits 61", "fraction bits"),
            ("--networks lenet --dataset digits --ring 32 --fraction-bits 15", "at most 14"),
            (
                "--networks resnet8-cifar10 --dataset random --iterations 1 --ring 32 --fraction-bits 14",
                "13 fraction bits",
            ),
        ] {
            let error = declarations(line).unwrap_err().to_string();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }
}
