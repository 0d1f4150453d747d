//! `cryptgpu run precision`: how many fraction bits training needs, by simulation of the arithmetic in the clear, and which way to
//! cut products decides it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use cryptgpu_core::experiment::check_writable;
use cryptgpu_core::experiment::training::{Cutting, Division, Precision, Simulation, TrainingRecord, read};
use cryptgpu_core::ring::Ring;

use super::arguments::{Output, RingName, item};
use super::train::{What, watched};
use super::{Result, format};

/// Epochs where neither these nor iterations are asked for.
const EPOCHS: usize = 5;
/// Iterations from one loss in a record to the next, where nothing else is asked for.
const LOSS_EVERY: usize = 10;

/// Arguments of `cryptgpu run precision`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Trains in the clear, in f64, with every product cut to so many fraction bits: unbiased as our protocols do, local as CryptGPU,
CrypTen and Piranha do, or by a plain shift (docs/precision.md). All runs begin with the same weights and see the same minibatches. Each
is added to the file as soon as it is done, and what the file has already is not run again, so that Ctrl-C loses one run at most.
notebooks/paper/11-precision.ipynb shows the file beside private runs.

Examples:
  cryptgpu run precision --networks lenet --dataset digits
      the bundled digits: some minutes
  cryptgpu run precision --networks alexnet-cifar10 --dataset cifar10 --rate 0.03 --epochs 2 --fraction-bits 10,12,16,20,22
      AlexNet from scratch: a quarter of an hour for each number of bits and way to cut
  cryptgpu run precision --networks lenet --dataset digits --ring 32 --cuts unbiased
      the ring of 32 bits: products that it could not hold are counted")]
pub struct PrecisionArguments {
    #[command(flatten)]
    what: What,
    /// Numbers of fraction bits, separated by commas; by default 8,10,12,14,16,18,20,22,24, and 8,10,11,12,13,14 in the ring of 32 bits
    #[arg(long, value_delimiter = ',', value_parser = item::<u32>)]
    fraction_bits: Vec<u32>,
    /// Ways to cut products: unbiased, local, floor
    #[arg(long, value_delimiter = ',', value_parser = item::<Cutting>, default_value = "unbiased,local,floor")]
    cuts: Vec<Cutting>,
    /// Where gradients are divided by the batch: deferred (in the update of weights), early (where they begin), or where they
    /// begin but for so many examples; by default deferred,early, and 16 in the ring of 32 bits, as a private training there
    #[arg(long, value_delimiter = ',', value_parser = item::<Division>)]
    gradients: Vec<Division>,
    /// Bits of the ring in which products stand before they are cut: 64 or 32
    #[arg(long, default_value_t)]
    ring: RingName,
    /// The file of records (JSON Lines)
    #[arg(long, default_value = "results/precision.jsonl")]
    out: PathBuf,
    /// Run again what the file has already
    #[arg(long)]
    fresh: bool,
    /// Say what would be run, and run nothing
    #[arg(long)]
    list: bool,
}

pub fn run(arguments: &PrecisionArguments) -> Result<ExitCode> {
    let mut simulations = vec![];
    for study in arguments.studies()? {
        simulations.extend(study.runs()?);
    }
    let kept = if arguments.out.exists() && !arguments.fresh { read(&arguments.out)? } else { vec![] };
    let known = |run: &Simulation| kept.iter().rev().find(|record| run.is_of(record)).cloned();
    let mut records: Vec<Option<TrainingRecord>> = simulations.iter().map(known).collect();
    let all = simulations.len();
    eprintln!("{all} trainings, {} of them in {} already", records.iter().flatten().count(), arguments.out.display());
    if arguments.list {
        let mut out = std::io::stdout().lock();
        for (run, _) in simulations.iter().zip(&records).filter(|(_, record)| record.is_none()) {
            writeln!(out, "{}: {run}", run.training().network)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = arguments.out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    check_writable(&arguments.out)?;
    let output = Output::to(arguments.out.clone());
    for (at, (run, record)) in simulations.iter().zip(&mut records).enumerate() {
        if record.is_none() {
            let name = format!("[{}/{all}] {}, {run}", at + 1, run.training().network);
            *record = Some(watched(&name, &output, "reading examples", |observe| run.measure(observe))?);
        }
    }
    let done: Vec<(&Simulation, &TrainingRecord)> =
        simulations.iter().zip(&records).filter_map(|(run, record)| Some((run, record.as_ref()?))).collect();
    writeln!(std::io::stdout(), "{}", table(&done))?;
    Ok(ExitCode::SUCCESS)
}

impl PrecisionArguments {
    /// A study for each network.
    fn studies(&self) -> Result<Vec<Precision>> {
        let declarations = self.what.declarations()?;
        let study = |mut training: cryptgpu_core::experiment::training::Training| {
            if !self.what.says_how_long() {
                (training.train.epochs, training.train.iterations) = (EPOCHS, None);
            }
            training.train.reveal.accuracy_every = training.data.held_out().map(|_| 1);
            training.train.reveal.loss_every.get_or_insert(LOSS_EVERY);
            let (fraction_bits, divisions) = self.bits_and_divisions();
            Precision { training, fraction_bits, cuttings: self.cuts.clone(), divisions, ring: self.ring.0 }
        };
        Ok(declarations.into_iter().map(study).collect())
    }

    /// Numbers of fraction bits and where gradients are divided: what is asked for, or what says most of the ring.
    fn bits_and_divisions(&self) -> (Vec<u32>, Vec<Division>) {
        let (bits, divisions): (&[u32], _) = match self.ring.0 {
            Ring::Z64 => (&[8, 10, 12, 14, 16, 18, 20, 22, 24], vec![Division::usual(Ring::Z64), Division::Early]),
            // Of two fraction bits more, products of 2 are beyond the ring.
            Ring::Z32 => (&[8, 10, 11, 12, 13, 14], vec![Division::usual(Ring::Z32)]),
        };
        let fraction_bits = if self.fraction_bits.is_empty() { bits.to_vec() } else { self.fraction_bits.clone() };
        (fraction_bits, if self.gradients.is_empty() { divisions } else { self.gradients.clone() })
    }
}

/// A line for each run: what it came to, and what the ring could not hold.
fn table(runs: &[(&Simulation, &TrainingRecord)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["network", "cut, gradients divided, fraction bits", "last loss", "accuracy", "beyond the ring"]);
    for (run, record) in runs {
        let beyond = record.simulated.as_ref().map(|simulated| simulated.counts);
        let accuracy = record.accuracy.map(|accuracy| format!("{:.2} %", 100.0 * accuracy));
        table.add_row([
            record.network.clone(),
            run.to_string(),
            format::or_dash(record.losses.last().map(|(_, loss)| format!("{loss:.3}"))),
            record.left_range.map_or_else(|| format::or_dash(accuracy), |left| left.to_string()),
            format::or_dash(beyond.map(|counts| match counts.beyond {
                0 => format!("none of {}", format::large(counts.values)),
                beyond => format!("{} of {}", format::count(beyond), format::large(counts.values)),
            })),
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

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: PrecisionArguments,
    }

    fn arguments(line: &str) -> PrecisionArguments {
        Line::try_parse_from(std::iter::once("x").chain(line.split_whitespace())).unwrap().arguments
    }

    #[test]
    fn arguments_become_studies() {
        let study = arguments("--networks lenet --dataset digits").studies().unwrap().remove(0);
        assert_eq!(study.training.train.epochs, EPOCHS);
        assert_eq!(study.training.train.reveal.accuracy_every, Some(1));
        assert_eq!(study.runs().unwrap().len(), 1 + 3 * 2 * 9);
        let study = arguments("--networks lenet --dataset digits --ring 32").studies().unwrap().remove(0);
        assert_eq!((study.fraction_bits, study.divisions), (vec![8, 10, 11, 12, 13, 14], vec![Division::Summing(16)]));
        let line =
            "--networks lenet --dataset digits --iterations 3 --ring 32 --fraction-bits 12 --gradients 8 --cuts local";
        let study = arguments(line).studies().unwrap().remove(0);
        assert_eq!((study.ring, study.training.train.iterations), (Ring::Z32, Some(3)));
        assert_eq!(study.divisions, [Division::Summing(8)]);
    }

    #[test]
    fn what_the_file_has_is_not_run_again() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("precision.jsonl");
        let line =
            "--networks lenet --dataset digits --batch 8 --iterations 2 --fraction-bits 12 --gradients deferred --cuts";
        let with = |cuts: &str| arguments(&format!("{line} {cuts} --out {}", out.display()));
        run(&with("unbiased")).unwrap();
        let first = read(&out).unwrap();
        assert_eq!(first.len(), 2, "floating point, and 12 bits");
        run(&with("unbiased,floor")).unwrap();
        let both = read(&out).unwrap();
        assert_eq!((both.len(), &both[..2]), (3, &first[..]));
        let runs = with("unbiased").studies().unwrap()[0].runs().unwrap();
        let runs: Vec<_> = runs.iter().zip(&both).collect();
        assert!(table(&runs).to_string().contains("none of"), "{}", table(&runs));
    }
}
