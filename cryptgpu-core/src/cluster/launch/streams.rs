//! What a party's process prints: passed on line by line with the party's name in front, the last lines of its
//! standard error kept for errors. At the end of each run a party marks both streams, so that the caller sees all that
//! was printed before it sees the result.

use crate::cluster::wire::mark::MARK;
use crate::net::PartyId;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many last lines of a party's log are kept for errors.
const LOG_LINES: usize = 12;

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
pub(in crate::cluster) struct Printed(Arc<(Mutex<State>, Condvar)>);

impl Printed {
    /// Passes both streams on, on threads of their own, until they end.
    pub(in crate::cluster) fn drain(
        &self,
        id: PartyId,
        output: impl Read + Send + 'static,
        error: impl Read + Send + 'static,
    ) -> io::Result<()> {
        let (for_output, for_error) = (self.clone(), self.clone());
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new().name(format!("{name}-{id}")).spawn(body).map(drop)
        };
        spawn("output", Box::new(move || for_output.pass(id, Stream::Output, output)))?;
        spawn("log", Box::new(move || for_error.pass(id, Stream::Error, error)))
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
        let _ = self.0.1.wait_timeout_while(self.state(), left, behind);
    }

    fn pass(&self, id: PartyId, stream: Stream, from: impl Read) {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            let (text, mark) = match line.split_once(MARK) {
                Some((text, run)) => (text, run.trim().parse().ok()),
                None => (&*line, None),
            };
            if mark.is_none() || !text.is_empty() {
                match stream {
                    Stream::Output => println!("[P{id}] {text}"),
                    Stream::Error => eprintln!("[P{id}] {text}"),
                }
            }
            let mut state = self.state();
            if stream == Stream::Error && mark.is_none() {
                state.log.push_back(text.to_owned());
                if state.log.len() > LOG_LINES {
                    state.log.pop_front();
                }
            }
            if let Some(run) = mark {
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
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_waited_for_and_not_kept() {
        let printed = Printed::default();
        let error = format!("one\ntwo{MARK}3\n{MARK}4\nthree\n");
        let output = format!("{MARK}4\n");
        printed.drain(PartyId::P0, io::Cursor::new(output), io::Cursor::new(error)).unwrap();
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
        printed.drain(PartyId::P0, output, io::empty()).unwrap();
        let start = Instant::now();
        printed.settle(1, start + Duration::from_millis(20));
        assert!(start.elapsed() >= Duration::from_millis(15));
        drop(writer);
        printed.settle(1, start + Duration::from_secs(60));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
