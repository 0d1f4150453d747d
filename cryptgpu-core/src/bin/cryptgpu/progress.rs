//! How far a long run is, on standard error: a bar on a terminal, otherwise a line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use cryptgpu_core::experiment::Stage;
use indicatif::{ProgressBar, ProgressStyle};

/// Away from a terminal a line is written at most so often, besides the first.
const EVERY: Duration = Duration::from_secs(5);

/// Shows the stages of one measurement.
pub struct Progress {
    name: String,
    bar: Option<ProgressBar>,
    start: Instant,
    last: Option<Instant>,
    quiet: bool,
}

impl Progress {
    /// Progress of a measurement called `name`; `quiet` shows nothing.
    pub fn new(name: &str, quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new(1);
            if let Ok(style) = ProgressStyle::with_template("{prefix:>20} {bar:24} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { name: name.to_owned(), bar, start: Instant::now(), last: None, quiet }
    }

    /// Shows that the measurement is at `stage`.
    pub fn show(&mut self, stage: Stage) {
        let (text, done, all) = match stage {
            Stage::Setup => ("sharing the weights".to_owned(), 0, 1),
            Stage::Private(done, all) => (format!("private inference, {done} of {all}"), done, all),
            Stage::Plaintext(done, all) => (format!("comparing with plaintext, {done} of {all}"), done, all),
        };
        self.update(done, all, &text);
    }

    /// Shows that `done` of `all` is done, and what is known of it.
    pub fn update(&mut self, done: usize, all: usize, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
            bar.set_message(text.to_owned());
        } else if !self.quiet && self.last.is_none_or(|last| last.elapsed() >= EVERY) {
            eprintln!("{}: {text} ({:.0} s)", self.name, self.start.elapsed().as_secs_f64());
            self.last = Some(Instant::now());
        }
    }

    /// Ends with a line that stays.
    pub fn finish(self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if !self.quiet {
            eprintln!("{}: {text}", self.name);
        }
    }
}
