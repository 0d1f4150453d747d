//! `cryptgpu top`: a running cluster, drawn again each second.

use std::io::{IsTerminal, Read, Write, stdin, stdout};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::execute;
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use crossterm::terminal::{disable_raw_mode, enable_raw_mode, size};
use cryptgpu_core::cluster::running::{self, Running};
use cryptgpu_core::cluster::{ClusterView, PartyView};

use super::{Result, format};

/// A party that was not heard of for longer is shown as silent.
const SILENT: f64 = 4.0;

/// Which cluster, and how.
#[derive(Debug, Args)]
#[command(after_help = "\
It shows the clusters of this user's programs and notebooks on this machine, wherever their parties are. `q` ends it.
Rounds, bytes and waiting count from the beginning of the run that goes on, or of the last one.

Examples:
  cryptgpu top                    the only cluster that runs; where several do, their names
  cryptgpu top 4711.0 --once      one of them, once
  cryptgpu top --json             a line of JSON each second, until the cluster ends")]
pub struct Arguments {
    /// The cluster, by its name or by the number of its process; needed where several run
    cluster: Option<String>,
    /// Show how it is now, and end
    #[arg(long)]
    once: bool,
    /// Write JSON, one line for each look
    #[arg(long)]
    json: bool,
    /// Seconds from one look to the next; parties tell how they are once a second
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut watched = chosen(running::all(), arguments.cluster.as_deref())?;
    let every = Duration::from_secs(arguments.every);
    let drawn = !arguments.once && !arguments.json && stdout().is_terminal() && stdin().is_terminal();
    if drawn {
        return draw(&mut watched, every);
    }
    let mut out = stdout().lock();
    loop {
        match arguments.json {
            true => writeln!(out, "{}", serde_json::to_string(&Line { name: &watched.name, view: &watched.view })?)?,
            false => writeln!(out, "{}", text(&watched.name, &watched.view, None))?,
        }
        out.flush()?;
        // Tables are for people: where there is no terminal to draw on, one is enough.
        if arguments.once || !arguments.json {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(every);
        if watched.look().is_err() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// A line of `--json`.
#[derive(serde::Serialize)]
struct Line<'a> {
    name: &'a str,
    #[serde(flatten)]
    view: &'a ClusterView,
}

/// The cluster of that name, or the only one.
fn chosen(all: Vec<Running>, wanted: Option<&str>) -> Result<Running> {
    let is_wanted = |running: &Running| {
        wanted.is_none_or(|wanted| running.name == wanted || running.view.pid.to_string() == wanted)
    };
    let lines = |all: &[Running]| all.iter().map(|running| format!("\n  {}", line(running))).collect::<String>();
    let (mut fit, others): (Vec<_>, Vec<_>) = all.into_iter().partition(is_wanted);
    match (fit.pop(), wanted) {
        (Some(only), _) if fit.is_empty() => Ok(only),
        (Some(last), _) => {
            fit.push(last);
            Err(format!("{} clusters run; name one of them:{}", fit.len(), lines(&fit)).into())
        }
        (None, Some(wanted)) if !others.is_empty() => {
            Err(format!("no cluster `{wanted}` runs; these do:{}", lines(&others)).into())
        }
        (None, _) => Err("no cluster of yours runs on this machine: start one, as with `cryptgpu run train`".into()),
    }
}

/// A cluster among several.
fn line(running: &Running) -> String {
    let Running { name, view, .. } = running;
    let job = view.job.as_ref().map_or("nothing", |job| &job.name);
    format!("{name}  {}, {}: runs {job}", view.program, view.places)
}

/// Draws until `q` is pressed or the cluster has ended.
fn draw(watched: &mut Running, every: Duration) -> Result<ExitCode> {
    let screen = Screen::open()?;
    let keys = keys();
    let ended = loop {
        screen.show(&text(&watched.name, &watched.view, size().ok().map(|(width, _)| width)))?;
        match keys.recv_timeout(every) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) => break false,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(every),
        }
        if watched.look().is_err() {
            break true;
        }
    };
    drop(screen);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text(&watched.name, &watched.view, size().ok().map(|(width, _)| width)))?;
    if ended {
        writeln!(out, "The cluster has ended.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The terminal, as it was before when this is dropped.
struct Screen(());

impl Screen {
    fn open() -> Result<Self> {
        enable_raw_mode()?;
        let screen = Screen(());
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    fn show(&self, text: &str) -> Result<()> {
        let height = size().map_or(usize::MAX, |(_, height)| usize::from(height));
        let mut out = stdout().lock();
        execute!(out, MoveTo(0, 0))?;
        for (at, line) in text.lines().take(height).enumerate() {
            if at > 0 {
                out.write_all(b"\r\n")?;
            }
            out.write_all(line.as_bytes())?;
            execute!(out, Clear(ClearType::UntilNewLine))?;
        }
        execute!(out, Clear(ClearType::FromCursorDown))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = execute!(stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Tells when a key was pressed that ends it: q, escape, or Ctrl-C and Ctrl-D, which are keys as others are now.
fn keys() -> Receiver<()> {
    let (pressed, keys) = channel();
    std::thread::spawn(move || {
        for key in stdin().lock().bytes().map_while(std::result::Result::ok) {
            if matches!(key, b'q' | b'Q' | 0x1b | 3 | 4) && pressed.send(()).is_err() {
                return;
            }
        }
    });
    keys
}

/// The cluster in words and a table, not wider than `width`.
fn text(name: &str, view: &ClusterView, width: Option<u16>) -> String {
    let mut lines =
        vec![format!("{name}: {}, parties are {}, for {}", view.program, view.places, format::time_left(view.seconds))];
    lines.push(match &view.job {
        None => "nothing runs".to_owned(),
        Some(job) => {
            let mut said = vec![format!("{} (run {}) for {}", job.name, job.run, format::time_left(job.seconds))];
            said.extend(job.fraction.map(|fraction| format!("{:.1} % done", 100.0 * fraction)));
            said.extend((!job.doing.is_empty()).then(|| job.doing.clone()));
            said.extend(job.seconds_left.map(|left| format!("about {} left", format::time_left(left))));
            said.join(", ")
        }
    });
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table.set_header([
        "party", "on", "does", "step", "done", "rounds", "a second", "sent", "a second", "for 0", "for 1", "for 2",
        "memory",
    ]);
    let seconds = view.job.as_ref().map(|job| job.seconds);
    for (number, party) in view.parties.iter().enumerate() {
        table.add_row(row(number, party, seconds));
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    lines.push(table.to_string());
    lines.push("for 0, 1, 2: how long it has waited for messages of that party".to_owned());
    lines.iter().map(|line| format!("{}\n", cut(line, width))).collect()
}

/// A party's line. `seconds`: how long the run goes on.
fn row(number: usize, party: &PartyView, seconds: Option<f64>) -> Vec<String> {
    let does = match (party.heard_seconds, party.waits_for) {
        (None, _) => "starts".to_owned(),
        (Some(ago), _) if ago > SILENT => format!("silent for {}", format::time_left(ago)),
        (_, Some((peer, waits))) if waits >= 1.0 => format!("waits for {peer}, {}", format::time_left(waits)),
        (_, Some((peer, _))) => format!("waits for {peer}"),
        (_, None) if seconds.is_none() => "rests".to_owned(),
        (_, None) => "computes".to_owned(),
    };
    let waited = |peer: usize| match seconds {
        _ if peer == number => "–".to_owned(),
        Some(seconds) if seconds >= 1.0 => {
            let share = (100.0 * party.waited_seconds[peer] / seconds).min(100.0);
            format!("{} ({share:.0} %)", format::time_left(party.waited_seconds[peer]))
        }
        _ => format::time_left(party.waited_seconds[peer]),
    };
    vec![
        number.to_string(),
        format::or_dash(party.device.clone()),
        does,
        format::or_dash((!party.step.is_empty()).then(|| party.step.clone())),
        format::or_dash(party.fraction.map(|fraction| format!("{:.0} %", 100.0 * fraction))),
        format::count(party.rounds),
        format::count(party.rounds_per_second.round() as u64),
        format::bytes(party.sent_bytes as f64),
        format::bytes(party.sent_bytes_per_second),
        waited(0),
        waited(1),
        waited(2),
        format::memory(party.resident_bytes),
    ]
}

/// Lines of a text that are longer are cut: a terminal would break them.
fn cut(text: &str, width: Option<u16>) -> String {
    let Some(width) = width.map(usize::from) else { return text.to_owned() };
    let lines = text.lines().map(|line| match line.chars().count() > width {
        true => line.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => line.to_owned(),
    });
    lines.collect::<Vec<String>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: &str = r#"{
        "program": "cryptgpu", "pid": 4711, "places": "processes of this machine", "seconds": 200.0,
        "job": {"name": "train", "run": 3, "seconds": 60.0, "fraction": 0.42, "doing": "iteration 5 of 12", "seconds_left": 83.0},
        "parties": [
            {"pid": 4712, "device": "cpu", "step": "conv1/relu", "fraction": 0.5, "waits_for": [2, 1.6], "rounds": 12345,
             "rounds_per_second": 205.7, "sent_bytes": 1200000000, "sent_bytes_per_second": 30000000.0,
             "waited_seconds": [0.0, 6.0, 30.0], "resident_bytes": 327155712, "heard_seconds": 0.4},
            {"pid": 4713, "device": "cuda:0 (NVIDIA H100)", "step": "", "fraction": null, "waits_for": null, "rounds": 0,
             "rounds_per_second": 0.0, "sent_bytes": 0, "sent_bytes_per_second": 0.0,
             "waited_seconds": [0.0, 0.0, 0.0], "resident_bytes": 0, "heard_seconds": 9.0},
            {"pid": null, "device": null, "step": "fc", "fraction": 0.42, "waits_for": null, "rounds": 1,
             "rounds_per_second": 0.0, "sent_bytes": 12, "sent_bytes_per_second": 0.0,
             "waited_seconds": [0.5, 0.0, 0.0], "resident_bytes": 1048576, "heard_seconds": 0.1}
        ]}"#;

    /// The cells of the lines of a table, without what fills them.
    fn cells(text: &str) -> Vec<Vec<String>> {
        let rows = text.lines().filter(|line| line.starts_with('│'));
        let split = |line: &str| {
            line.trim_matches('│')
                .split("  ")
                .map(|cell| cell.trim().to_owned())
                .filter(|cell| !cell.is_empty())
                .collect()
        };
        rows.map(split).collect()
    }

    #[test]
    fn a_cluster_is_drawn_with_what_each_party_does() {
        let view: ClusterView = serde_json::from_str(VIEW).unwrap();
        let text = text("4711.0", &view, None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "4711.0: cryptgpu, parties are processes of this machine, for 3 min");
        assert_eq!(lines[1], "train (run 3) for 60 s, 42.0 % done, iteration 5 of 12, about 83 s left");
        let cells = cells(&text);
        let of = |row: usize| cells[row].iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!(
            of(1),
            [
                "0",
                "cpu",
                "waits for 2, 2 s",
                "conv1/relu",
                "50 %",
                "12,345",
                "206",
                "1.20 GB",
                "30.0 MB",
                "–",
                "6 s (10 %)",
                "30 s (50 %)",
                "312 MiB"
            ]
        );
        assert_eq!(of(2)[1..4], ["cuda:0 (NVIDIA H100)", "silent for 9 s", "–"]);
        assert_eq!(of(3)[1..4], ["–", "computes", "fc"]);
        let narrow = super::text("4711.0", &view, Some(80));
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");

        let mut idle = view;
        idle.job = None;
        assert!(super::text("4711.0", &idle, None).contains("nothing runs\n"));
    }

    #[test]
    fn the_only_cluster_needs_no_name_and_others_do() {
        let none = chosen(vec![], None).unwrap_err().to_string();
        assert!(none.contains("no cluster of yours runs"), "{none}");
        assert!(chosen(vec![], Some("4711.0")).is_err());
    }
}
