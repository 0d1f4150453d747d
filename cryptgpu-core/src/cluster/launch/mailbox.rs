//! The mailbox of a session: everything that the parties send comes together here, decoded and counted.

use super::board::Board;
use super::logs::Logs;
use crate::cluster::wire::error::Failure;
use crate::cluster::wire::frame::{self, Incoming};
use crate::cluster::wire::message::Event;
use crate::cluster::wire::text::harmless;
use crate::net::PartyId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What came from a party.
#[derive(Debug)]
pub(in crate::cluster) struct Arrival {
    pub(in crate::cluster) from: PartyId,
    pub(in crate::cluster) what: What,
}

/// An event, or the end of the link.
#[derive(Debug)]
pub(in crate::cluster) enum What {
    /// An event with its frame, whose body begins at the offset.
    Event(Event, Vec<u8>, usize),
    /// A piece of something large.
    Piece,
    /// The control link is down: the process has ended or is about to.
    Gone(String),
    /// The caller wants the run to end: no party's doing.
    Cancelled,
}

/// Takes what parties send, and counts it.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Mailbox {
    sender: Sender<Arrival>,
    bytes: Arc<AtomicU64>,
    cancelled: Arc<AtomicBool>,
    /// Where it is written down.
    logs: Logs,
    /// Where the present state is kept.
    board: Board,
}

impl Mailbox {
    /// A mailbox that writes down what comes, and where what arrives comes out.
    pub(in crate::cluster) fn new(logs: Logs, board: Board) -> (Self, Receiver<Arrival>) {
        let (sender, arrivals) = channel();
        (Mailbox { sender, bytes: Arc::default(), cancelled: Arc::default(), logs, board }, arrivals)
    }

    /// Tells whoever waits that the caller wants the run, or the start, to end.
    pub(in crate::cluster) fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
        // Nobody waits any more once the session has ended.
        let _ = self.sender.send(Arrival { from: PartyId::P0, what: What::Cancelled });
    }

    /// Whether it was told so.
    pub(in crate::cluster) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// Where it is written down what comes.
    pub(in crate::cluster) fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Bytes of events so far, but for signs of life.
    pub(in crate::cluster) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Passes what came on a control link to whoever waits for it.
    pub(in crate::cluster) fn deliver(&self, from: PartyId, received: Result<Incoming, String>) {
        let what = match received {
            Ok(Incoming::Piece) => What::Piece,
            Ok(Incoming::Frame(frame)) => match frame::decode(&frame) {
                Ok((event, body)) => {
                    if !matches!(event, Event::Alive { .. }) {
                        self.bytes.fetch_add(frame.len() as u64, Relaxed);
                    }
                    let event = shown_as_text(event);
                    self.logs.heard(from, &event);
                    self.board.heard(from, &event);
                    What::Event(event, frame, body)
                }
                Err(error) => What::Gone(format!("it sent something that is no event ({error})")),
            },
            Err(detail) => What::Gone(detail),
        };
        if let What::Gone(detail) = &what {
            self.logs.gone(from, detail);
        }
        // Nobody waits any more once the session has ended.
        let _ = self.sender.send(Arrival { from, what });
    }
}

/// The event with its texts, which end on the caller's terminal, made harmless for it.
fn shown_as_text(event: Event) -> Event {
    let plain = |text: String| harmless(&text).into_owned();
    match event {
        Event::Unable { detail } => Event::Unable { detail: plain(detail) },
        Event::Progress { run, fraction, text, step } => {
            Event::Progress { run, fraction, text: plain(text), step: plain(step) }
        }
        Event::Failed { run, failure: Failure { kind, step, message, peer } } => {
            let failure = Failure { kind, step: plain(step), message: plain(message), peer };
            Event::Failed { run, failure }
        }
        other => other,
    }
}
