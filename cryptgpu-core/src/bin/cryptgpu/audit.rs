//! `cryptgpu audit`: what a party's log says, if nobody has changed it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cryptgpu_core::cluster::owner::{AuditEvent, read_audit};

use super::Result;

/// Which log, and what of it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The log of a party, as its party.toml names it
    file: PathBuf,
    /// Print what was revealed and refused, and nothing else
    #[arg(long)]
    brief: bool,
    /// Print the lines as they are, as JSON
    #[arg(long, conflicts_with = "brief")]
    json: bool,
    /// A digest that this command printed earlier: the log must still hold the line that it is of, so that nobody has cut
    /// the end off since then
    #[arg(long, value_name = "DIGEST")]
    head: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let (mut known, mut written) = (arguments.head.is_none(), Ok(()));
    let of_note = |event: &AuditEvent| match event {
        AuditEvent::Run { reveals, function, .. } => !reveals.is_empty() || function.is_some(),
        AuditEvent::Refused { .. } => true,
        _ => false,
    };
    let head = read_audit(&arguments.file, |line| {
        known |= arguments.head.as_ref() == Some(&line.before);
        if written.is_ok() && (!arguments.brief || of_note(&line.event)) {
            written = match arguments.json {
                true => serde_json::to_string(line).map_err(Into::into).and_then(|line| writeln!(out, "{line}")),
                false => writeln!(out, "{line}"),
            };
        }
    })?;
    written?;
    known |= arguments.head.as_ref() == Some(&head.digest);
    if !known {
        let (file, lines) = (arguments.file.display(), head.lines);
        return Err(
            format!("{file}: none of its {lines} lines has the digest that was given: its end was cut off").into()
        );
    }
    eprintln!("{} lines, each follows from the one before; the digest of the last is\n{}", head.lines, head.digest);
    Ok(ExitCode::SUCCESS)
}
