//! `cryptgpu run paper`: all measurements of the paper's tables and figures, one after the other, into one file.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::ValueEnum;
use cryptgpu_core::device::Devices;
use cryptgpu_core::experiment::micro::{self, MicroRecord};
use cryptgpu_core::experiment::paper::{self, Entry, Exhibit, Measured, Measuring, Size};
use cryptgpu_core::experiment::training::{self, TrainingRecord};
use cryptgpu_core::experiment::{Record, append_line, check_writable, commit, latest};

use super::arguments::{self, item};
use super::progress::Progress;
use super::{Result, format, inference, table, train};

/// Arguments of `cryptgpu run paper`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each measurement is added to the file as soon as it is done. What the file has already is not measured again: the
same measurement, on this machine, with the same devices, by this version of the program. So Ctrl-C loses one
measurement at most, and the same command goes on. One that fails is named at the end; the others go on.

The notebooks of notebooks/paper show the file's records.

Examples:
  cryptgpu run paper
      the quick suite: less than ten minutes on two cores
  cryptgpu run paper --only training,operations
      what two of the tables show
  cryptgpu run paper --suite full --device auto
      everything, on a card where there is one
  cryptgpu run paper --suite full --list
      what that would be, and about how long it would take")]
pub struct PaperArguments {
    /// How much: quick takes less than ten minutes on two cores, full less than forty
    #[arg(long, value_enum, default_value_t = SuiteName::Quick)]
    suite: SuiteName,
    /// Tables and figures, separated by commas: inference, batches, training, plaintext, parts, operations, curves,
    /// same-card, ablation, scaling; all by default
    #[arg(long, value_delimiter = ',', value_parser = item::<Exhibit>)]
    only: Vec<Exhibit>,
    /// The file of records (JSON Lines)
    #[arg(long, default_value = "results/paper.jsonl")]
    out: PathBuf,
    /// Measure again what the file has already
    #[arg(long)]
    fresh: bool,
    /// Say what would be measured, and measure nothing
    #[arg(long)]
    list: bool,
    /// Where the parties compute: cpu, auto (a card where there is one), cuda (cards in turn), cuda:N, or three of
    /// them by party, such as cuda:0,cpu,cpu
    #[arg(long, default_value_t)]
    device: Devices,
    #[command(flatten)]
    pub parties: arguments::Parties,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SuiteName {
    Quick,
    Full,
}

pub fn run(arguments: &PaperArguments) -> Result<ExitCode> {
    let mut entries = arguments.entries()?;
    let asked = entries.len();
    entries.retain(|entry| entry.work.has_its_data());
    if entries.len() < asked {
        let missing = asked - entries.len();
        eprintln!("{missing} measurements left out: their data set is not there (scripts/fetch-datasets gets it)");
    }
    entries.iter().try_for_each(|entry| entry.work.validate())?;
    let known = arguments.known()?;
    let mut measuring = Measuring::new(arguments.parties.builder()?, known);
    let (mut wanted, mut measured) = (vec![], vec![]);
    for entry in &entries {
        match measuring.known(entry)? {
            Some(known) if !arguments.fresh => measured.push(known.clone()),
            _ => wanted.push((entry, entry.work.guess()?)),
        }
    }
    let guess: f64 = wanted.iter().map(|(_, guess)| guess).sum();
    let (all, had) = (entries.len(), measured.len());
    eprintln!("{all} measurements, {had} of them in {} already; about {}", arguments.out.display(), left(guess));
    if arguments.list {
        let mut out = std::io::stdout().lock();
        for (entry, guess) in &wanted {
            writeln!(out, "{} ({})", entry.work, left(guess.ceil()))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = arguments.out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    check_writable(&arguments.out)?;
    let failed = measure(arguments, &mut measuring, &wanted, &mut measured)?;
    print(&measured)?;
    for (name, error) in &failed {
        eprintln!("cryptgpu: {name}: {error}");
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What each entry gave is added to `measured`; the names of those that failed come back with the reasons.
fn measure(
    arguments: &PaperArguments,
    measuring: &mut Measuring,
    wanted: &[(&Entry, f64)],
    measured: &mut Vec<Measured>,
) -> Result<Vec<(String, String)>> {
    if let Some((first, _)) = wanted.iter().find(|(entry, _)| !entry.work.is_plaintext()) {
        // Without parties there is nothing to measure, and no reason to say so for every entry.
        measuring.start(first)?;
        eprintln!("Ctrl-C keeps what is measured; the same command goes on");
    }
    let mut pace = Pace::new(wanted.iter().map(|(_, guess)| guess).sum());
    let mut failed = vec![];
    for (index, (entry, guess)) in wanted.iter().enumerate() {
        let name = format!("[{}/{}] {}", index + 1, wanted.len(), entry.work);
        let mut progress = Progress::new(&name, false);
        progress.update(0, 1, &pace.text(0.0));
        let done = measuring.measure(entry, &mut |step| {
            progress.update(step.done, step.of, &pace.text(guess * step.done as f64 / step.of.max(1) as f64));
        });
        pace.ended(*guess);
        match done.and_then(|done| done.to_line().map(|line| (done, line))) {
            Ok((done, line)) => {
                append_line(&arguments.out, &line)?;
                progress.finish(&summary(&done));
                measured.push(done);
            }
            Err(error) => {
                progress.finish("failed");
                failed.push((entry.work.to_string(), error.to_string()));
            }
        }
    }
    Ok(failed)
}

impl PaperArguments {
    /// What is asked for.
    fn entries(&self) -> Result<Vec<Entry>> {
        let size = match self.suite {
            SuiteName::Quick => Size::Quick,
            SuiteName::Full => Size::Full,
        };
        let asked = |entry: &Entry| self.only.is_empty() || self.only.iter().any(|only| entry.exhibits.contains(only));
        Ok(paper::suite(size, self.device)?.into_iter().filter(asked).collect())
    }

    /// The records of the file, if there is one. Of a program whose sources differ from its commit, those that are older
    /// than the program may be of other sources.
    fn known(&self) -> Result<Vec<Measured>> {
        if !self.out.exists() {
            return Ok(vec![]);
        }
        let mut known = paper::read(&self.out)?;
        if commit().ends_with('+') || commit() == "unknown" {
            let built = std::env::current_exe().and_then(std::fs::metadata).and_then(|program| program.modified());
            let built = built.ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            let built = cryptgpu_core::show::time_text(built.map_or(0, |since| since.as_secs()));
            known.retain(|measured| measured.time() >= built.as_str());
        }
        Ok(known)
    }
}

/// How much is left, by guesses that what is done puts right.
struct Pace {
    since: Instant,
    guessed: f64,
    done: f64,
}

impl Pace {
    /// A guess is trusted until so many seconds of it are done.
    const TRUSTED: f64 = 5.0;

    fn new(guessed: f64) -> Self {
        Pace { since: Instant::now(), guessed, done: 0.0 }
    }

    fn ended(&mut self, guess: f64) {
        self.done += guess;
    }

    /// `4 min left`, when so much of an entry's guess is done besides.
    fn text(&self, part: f64) -> String {
        let done = self.done + part;
        let factor = if done < Self::TRUSTED { 1.0 } else { self.since.elapsed().as_secs_f64() / done };
        format!("{} left", left((self.guessed - done).max(0.0) * factor))
    }
}

fn left(seconds: f64) -> String {
    format::time_left(seconds)
}

fn summary(measured: &Measured) -> String {
    match measured {
        Measured::Inference(record) => inference::summary(record),
        Measured::Training(record) => train::summary(record),
        Measured::Operation(record) => format::seconds(record.seconds),
    }
}

/// The tables that a terminal shows, each of its own records.
fn print(measured: &[Measured]) -> Result<()> {
    for exhibit in [Exhibit::Inference, Exhibit::Batches, Exhibit::Training, Exhibit::Operations] {
        let shown = paper::records(exhibit, measured)?;
        let inference: Vec<Record> = shown.iter().filter_map(Measured::inference).cloned().collect();
        let trainings: Vec<TrainingRecord> = shown.iter().filter_map(Measured::training).cloned().collect();
        let operations: Vec<MicroRecord> = shown.iter().filter_map(Measured::operation).cloned().collect();
        if !shown.is_empty() {
            writeln!(std::io::stdout(), "{exhibit} (notebooks/paper/{})", exhibit.notebook())?;
        }
        if !inference.is_empty() {
            table::print(&latest(&inference))?;
        }
        if !trainings.is_empty() {
            train::print(&training::latest(&trainings))?;
        }
        if !operations.is_empty() {
            super::micro::print(&micro::latest(&operations))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: PaperArguments,
    }

    #[test]
    fn parts_of_a_suite_are_asked_for_by_name() {
        let entries = |line: &str| {
            let words = std::iter::once("x").chain(line.split_whitespace());
            Line::try_parse_from(words).map_err(Box::from).and_then(|line| line.arguments.entries())
        };
        let all = entries("").unwrap().len();
        let some = entries("--only training, operations".replace(", ", ",").as_str()).unwrap().len();
        assert!(0 < some && some < all && all < entries("--suite full").unwrap().len());
        assert!(entries("--only figures").unwrap_err().to_string().contains("same-card"));
    }

    #[test]
    fn the_time_left_follows_what_was_done() {
        let mut pace = Pace::new(1000.0);
        assert_eq!(pace.text(0.0), "17 min left");
        pace.ended(900.0);
        pace.since = Instant::now() - std::time::Duration::from_secs(450);
        assert_eq!(pace.text(50.0), "24 s left", "twice as fast as guessed");
    }
}
