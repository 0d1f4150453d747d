//! `cryptgpu soak`: a campaign of faults, its records, and what came of each kind.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use cryptgpu_core::experiment::soak::{FaultRecord, Soak, summaries};

use super::Result;
use super::arguments::{Output, RingName};

/// Arguments of `cryptgpu soak`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Functions, LeNet's inference and a training run on three processes and on three threads of this machine. In the middle of
each, a process is killed or stopped; a connection between processes is cut, silent, slow or led elsewhere; a TLS record or a
message is lost, repeated, late, changed or overtaken; a pipe or a disk is full. Each ends with the right result or an error in
time; the next run is right; no process, file or socket is left. What is not so is a violation, and the program ends with 1;
with 3, if a run hangs.

Examples:
  cryptgpu soak --minutes 10
  cryptgpu soak --minutes 60 --seed 7 --ring 32 --out soak.jsonl")]
pub struct Arguments {
    /// How long
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// All random choices come from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End after so many faults, if that is earlier
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    faults: u64,
    /// Milliseconds that a party waits for another before the run ends with an error
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    deadline_ms: u64,
    /// Bits of the ring's words: 64 or 32
    #[arg(long, default_value_t)]
    ring: RingName,
    #[command(flatten)]
    output: Output,
}

fn minutes(text: &str) -> std::result::Result<f64, String> {
    let hint = || format!("`{text}` is not a number of minutes: use 0.1 to 10000");
    text.parse().ok().filter(|minutes| (0.1..=10_000.0).contains(minutes)).ok_or_else(hint)
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    arguments.output.check()?;
    let folder = Folder::new()?;
    // SAFETY: this program has no other thread yet. The parties inherit both.
    unsafe {
        std::env::set_var("CRYPTGPU_KEYS", folder.0.join("keys"));
        std::env::set_var("TMPDIR", folder.0.join("tmp"));
    }
    let soak = Soak {
        seed: arguments.seed,
        time: Duration::from_secs_f64(60.0 * arguments.minutes),
        faults: arguments.faults,
        deadline: Duration::from_millis(arguments.deadline_ms),
        ring: arguments.ring.0,
        program: std::env::current_exe()?,
        folder: folder.0.clone(),
    };
    let mut written = Ok(());
    let records = soak.run(|record| {
        let line = serde_json::to_string(record).map(|line| line + "\n").map_err(Into::into);
        let now = line.and_then(|line| arguments.output.write(&line));
        written = std::mem::replace(&mut written, Ok(())).and(now);
        if let Some(violation) = &record.violation {
            eprintln!("fault {} ({:?} at party {}): {violation}", record.number, record.fault, record.party);
        }
    })?;
    written?;
    let left: Vec<_> = std::fs::read_dir(folder.0.join("tmp"))?.flatten().map(|entry| entry.path()).collect();
    if !left.is_empty() {
        eprintln!("temporary files are left: {left:?}");
    }
    if !arguments.output.json {
        print(&records)?;
    }
    let is_well = left.is_empty() && records.iter().all(|record| record.violation.is_none());
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(records: &[FaultRecord]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["where", "fault", "done", "right result", "error", "violations", "slowest, s"]);
    let all = summaries(records);
    for ((place, fault), of) in &all {
        let name = |known: serde_json::Result<String>| known.unwrap_or_default().trim_matches('"').to_owned();
        let (place, fault) = (name(serde_json::to_string(place)), name(serde_json::to_string(fault)));
        let numbers = [of.done, of.right, of.errors, of.violations].map(|number| number.to_string());
        let [done, right, errors, violations] = numbers;
        table.add_row([&place, &fault, &done, &right, &errors, &violations, &format!("{:.2}", of.slowest)]);
    }
    for column in 2..7 {
        table.column_mut(column).into_iter().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    }
    let done: u64 = all.values().map(|of| of.done).sum();
    let violations: u64 = all.values().map(|of| of.violations).sum();
    let seconds: f64 = records.iter().map(|record| record.seconds).sum();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{table}")?;
    writeln!(out, "{done} faults in {} runs of {seconds:.0} s, {violations} violations", records.len())?;
    Ok(())
}

/// A folder for checkpoints, keys and a small disk; gone with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let folder = Folder(std::env::temp_dir().join(format!("cryptgpu-soak-{}", std::process::id())));
        ["disk", "tmp"].iter().try_for_each(|part| std::fs::create_dir_all(folder.path().join(part)))?;
        Ok(folder)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the system's to remove.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
