//! The task at the sending end of a link: writes what is queued, hears what is acknowledged, gives signs of life, and has
//! a broken connection made anew.

use super::super::PartyId;
use super::super::frame::{FrameKind, Header};
use super::super::inbox::Fault;
use super::pulse::{Pulse, Quiet, silent};
use super::reader::{Notice, died};
use super::writer::{Broken, Frame, Shared};
use super::{Unmade, Way};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedReceiver;

/// The sending end's task.
pub(super) struct Task {
    shared: Arc<Shared>,
    orders: UnboundedReceiver<Frame>,
    /// Frames to write before those that are ordered: what a broken connection may have lost, the one that is being written.
    line: VecDeque<Frame>,
    /// Whether nothing more will be ordered.
    closed: bool,
    pulse: Pulse,
    quiet: Quiet,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, orders: UnboundedReceiver<Frame>) -> Self {
        let pulse = Pulse::of(&shared.way.options);
        Task { shared, orders, line: VecDeque::new(), closed: false, pulse, quiet: Quiet::default() }
    }

    /// Writes what is queued until the outlet is gone and all is acknowledged; then closes the connection.
    pub(super) async fn run(mut self) {
        let mut beats = self.pulse.beats();
        loop {
            let outcome = tokio::select! {
                biased;
                outcome = poll_fn(|context| self.poll(context)) => outcome,
                _ = beats.tick() => match self.beat() {
                    Ok(()) => continue,
                    Err(error) => Err(Broken::Connection(error)),
                },
            };
            let ended = match outcome {
                Ok(()) => break,
                Err(Broken::Link(fault)) => Err(Unmade::Fault(fault)),
                Err(Broken::Connection(error)) => self.resume(error).await,
            };
            match ended {
                Ok(()) => beats.reset(),
                Err(unmade) => {
                    if let Unmade::Fault(fault) = unmade {
                        self.shared.way.inbox.close(fault);
                    }
                    break;
                }
            }
        }
        // The peer has what was sent or is gone: nothing to tell anyone either way.
        let _ = poll_fn(|context| self.shared.sink.lock().poll_close(context)).await;
    }

    /// Ready when everything has come, or nothing more can be sent.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            if self.line.is_empty() && !self.closed {
                match self.orders.poll_recv(context) {
                    Poll::Ready(Some(frame)) => self.line.push_back(frame),
                    Poll::Ready(None) => self.closed = true,
                    Poll::Pending => {}
                }
            }
            let Some(frame) = self.line.front_mut() else { break };
            let mut sink = self.shared.sink.lock();
            if let Some(error) = sink.broken.take() {
                return Poll::Ready(Err(Broken::Connection(error)));
            }
            let given_up = self.shared.given_up.load(Ordering::Acquire);
            let skipped = given_up && frame.header.kind == FrameKind::Message && !frame.has_begun();
            if !skipped {
                match sink.poll_frame(context, frame) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Broken::of(error))),
                    Poll::Pending => break,
                }
            }
            if let Some(frame) = self.line.pop_front() {
                if !skipped {
                    sink.keep(frame);
                }
                self.shared.queued.fetch_sub(1, Ordering::AcqRel);
            }
        }
        let mut sink = self.shared.sink.lock();
        if let Poll::Ready(Err(broken)) = sink.poll_acknowledgements(context) {
            return if sink.over { Poll::Ready(Ok(())) } else { Poll::Ready(Err(broken)) };
        }
        match sink.over || self.closed && self.line.is_empty() && sink.has_delivered() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Gives a sign of life where nothing else did; an error if the other end has given none for too long.
    fn beat(&mut self) -> io::Result<()> {
        let mut sink = self.shared.sink.lock();
        if self.quiet.beat(std::mem::take(&mut sink.heard)) {
            return Err(silent(&self.pulse));
        }
        if !std::mem::take(&mut sink.wrote) && self.shared.queued.load(Ordering::Acquire) == 0 {
            let mut frame = Frame::new(Header::bare(FrameKind::Beat, 0), Vec::new());
            // The task polls it again, with its own waker.
            if sink.poll_frame(&mut Context::from_waker(Waker::noop()), &mut frame)?.is_pending() {
                self.shared.queued.fetch_add(1, Ordering::AcqRel);
                self.line.push_back(frame);
            }
        }
        Ok(())
    }

    /// Goes on with another connection, after one broke with `error`.
    async fn resume(&mut self, error: io::Error) -> Result<(), Unmade> {
        let shared = self.shared.clone();
        let way = &shared.way;
        {
            let mut sink = shared.sink.lock();
            // The other end may have said why before the connection broke.
            let last_word = sink.poll_acknowledgements(&mut Context::from_waker(Waker::noop()));
            sink.disconnect();
            if sink.over {
                return Err(Unmade::Over);
            }
            if let Poll::Ready(Err(Broken::Link(fault))) = last_word {
                return Err(Unmade::Fault(fault));
            }
        }
        self.quiet = Quiet::default();
        let Some(redial) = &way.redial else {
            gone(way, &error);
            return Err(Unmade::Gone);
        };
        if self.pulse.resume.is_zero() {
            return Err(Unmade::Fault(Fault::Closed(format!("cannot send to it any more ({error})"))));
        }
        // A link that is down need not be resumed, unless the peer shall hear that it is given up.
        let needed = || way.inbox.fault().is_none() || shared.given_up.load(Ordering::Acquire);
        let since = Instant::now();
        let (stream, expected) = match redial.redial(&error, self.pulse.resume, &needed).await {
            Ok(made) => made,
            Err(unmade) => {
                if matches!(unmade, Unmade::Gone) {
                    gone(way, &error);
                }
                return Err(unmade);
            }
        };
        let again = {
            let mut sink = shared.sink.lock();
            let mut again = sink.reconnect(stream, expected).map_err(Unmade::Fault)?;
            // Before a sending thread may see the new connection: these frames are first.
            shared.queued.fetch_add(again.len(), Ordering::AcqRel);
            let frames = again.len();
            again.append(&mut self.line);
            self.line = again;
            frames
        };
        way.inbox.reconnected();
        log(way.id, way.peer, &error, since, again);
        Ok(())
    }
}

/// The peer's process is gone. What it sent before is still read; a reader that has ended knows why.
fn gone(way: &Way, error: &io::Error) {
    if way.reader.send(Notice::Gone).is_err() {
        way.inbox.close(died(error));
    }
}

fn log(party: PartyId, peer: PartyId, error: &io::Error, since: Instant, again: usize) {
    eprintln!(
        "party {party}: the connection to party {peer} broke ({error}) and was made anew after {:.1?}; frames sent again: {again}",
        since.elapsed()
    );
}
