//! What a party's process prints: passed on line by line with the party's name in front, the last lines of its
//! standard error kept for errors. At the end of each run a party marks both streams, so that the caller sees all that
//! was printed before it sees the result. Where the caller keeps logs, it is written there too.

use super::logs::Logs;
use crate::cluster::wire::mark::MARK;
use crate::cluster::wire::text::harmless;
use crate::net::PartyId;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// So many last lines of a party's log are kept for errors.
const LOG_LINES: usize = 12;

/// A longer line is passed on in pieces of so many bytes.
const LINE_BYTES: usize = 8 << 10;

/// So much of what one run prints is passed on, of each stream.
const RUN_BYTES: usize = 4 << 20;

/// The two streams of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

#[derive(Debug, Default)]
struct State {
    log: VecDeque<String>,
    /// The last run that was marked, by stream.
    marked: [u64; 2],
}

/// What came from a party's streams so far.
#[derive(Clone, Debug, Default)]
pub(in crate::cluster) struct Printed(Arc<(Mutex<State>, Condvar)>, Logs);

impl Printed {
    /// Nothing yet; what comes is written to these logs too.
    pub(in crate::cluster) fn kept_in(logs: Logs) -> Self {
        Printed(Arc::default(), logs)
    }

    /// Passes standard output on, on a thread of its own, until it ends.
    pub(in crate::cluster) fn drain_output(&self, id: PartyId, from: impl Read + Send + 'static) -> io::Result<()> {
        self.drain(id, Stream::Output, from)
    }

    /// Passes standard error on, on a thread of its own, until it ends.
    pub(in crate::cluster) fn drain_error(&self, id: PartyId, from: impl Read + Send + 'static) -> io::Result<()> {
        self.drain(id, Stream::Error, from)
    }

    /// Whether all of standard error has been passed on, up to its end.
    pub(in crate::cluster) fn error_has_ended(&self) -> bool {
        self.state().marked[Stream::Error as usize] == u64::MAX
    }

    /// There is no standard output to wait for.
    pub(in crate::cluster) fn no_output(&self) {
        self.state().marked[Stream::Output as usize] = u64::MAX;
    }

    fn drain(&self, id: PartyId, stream: Stream, from: impl Read + Send + 'static) -> io::Result<()> {
        let (printed, name) = (self.clone(), if stream == Stream::Output { "output" } else { "log" });
        let thread = std::thread::Builder::new().name(format!("{name}-{id}"));
        thread.spawn(move || printed.pass(id, stream, from)).map(drop)
    }

    /// The last lines of standard error.
    pub(in crate::cluster) fn log(&self) -> Vec<String> {
        self.state().log.iter().cloned().collect()
    }

    /// Waits until everything printed up to the end of `run` has been passed on, but no longer than `until`.
    pub(in crate::cluster) fn settle(&self, run: u64, until: Instant) {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let behind = |state: &mut State| state.marked.iter().any(|marked| *marked < run);
        // Late lines are no reason to fail.
        self.0.1.wait_while_for(&mut self.state(), behind, left);
    }

    fn pass(&self, id: PartyId, stream: Stream, from: impl Read) {
        let show = |text: &str| {
            self.1.printed(id, text);
            match stream {
                Stream::Output => println!("[P{id}] {text}"),
                Stream::Error => eprintln!("[P{id}] {text}"),
            }
        };
        let mut from = BufReader::new(from);
        let (mut line, mut left) = (Vec::new(), Some(RUN_BYTES));
        while next_line(&mut from, &mut line).unwrap_or(false) {
            let whole = String::from_utf8_lossy(&line);
            let (text, mark) = match whole.split_once(MARK) {
                Some((text, run)) => (text, run.trim().parse().ok()),
                None => (&*whole, None),
            };
            let text = harmless(text);
            if mark.is_none() || !text.is_empty() {
                match left.map(|left| left.checked_sub(text.len() + 1)) {
                    Some(Some(rest)) => {
                        left = Some(rest);
                        show(&text);
                    }
                    Some(None) => {
                        left = None;
                        show("(more than 4 MiB in one run: what else it prints until the run ends is not shown)");
                    }
                    None => {}
                }
            }
            let mut state = self.state();
            if stream == Stream::Error && mark.is_none() {
                state.log.push_back(text.into_owned());
                if state.log.len() > LOG_LINES {
                    state.log.pop_front();
                }
            }
            if let Some(run) = mark {
                left = Some(RUN_BYTES);
                state.marked[stream as usize] = run;
                drop(state);
                self.0.1.notify_all();
            }
        }
        // A stream that has ended holds nobody up.
        self.state().marked[stream as usize] = u64::MAX;
        self.0.1.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock()
    }
}

/// Reads a line, or [`LINE_BYTES`] of a longer one, without its end; false at the end of the stream.
fn next_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    from.take(LINE_BYTES as u64).read_until(b'\n', line)?;
    let any = !line.is_empty();
    if line.last() == Some(&b'\n') {
        line.pop();
        line.pop_if(|last| *last == b'\r');
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_end_are_cut_and_the_rest_of_a_flood_is_dropped() {
        let mut line = Vec::new();
        let mut endless = io::repeat(b'x').take(3 * LINE_BYTES as u64).chain(&b"\nlast\r\n\n"[..]);
        let mut endless = BufReader::new(&mut endless);
        let mut lengths = vec![];
        while next_line(&mut endless, &mut line).unwrap() {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [LINE_BYTES, LINE_BYTES, LINE_BYTES, 0, 4, 0]);
    }

    #[test]
    fn marks_are_waited_for_and_not_kept() {
        let printed = Printed::default();
        let error = format!("one\ntwo{MARK}3\n{MARK}4\nthree\n");
        let output = format!("{MARK}4\n");
        printed.drain_output(PartyId::P0, io::Cursor::new(output)).unwrap();
        printed.drain_error(PartyId::P0, io::Cursor::new(error)).unwrap();
        printed.settle(4, Instant::now() + Duration::from_secs(10));
        let until = Instant::now() + Duration::from_secs(10);
        while printed.log().len() < 2 && Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(printed.log(), ["one", "three"]);
    }

    #[test]
    fn a_missing_mark_holds_nobody_up_for_long() {
        let (output, writer) = io::pipe().unwrap();
        let printed = Printed::default();
        printed.drain_output(PartyId::P0, output).unwrap();
        printed.drain_error(PartyId::P0, io::empty()).unwrap();
        let start = Instant::now();
        printed.settle(1, start + Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(15));
        drop(writer);
        printed.settle(1, start + Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
