//! The sending end of a link: frames leave whole, in order and numbered.

use super::super::frame::{FrameKind, HEADER_BYTES, Header, checksum};
use super::super::inbox::{Fault, Inbox};
use super::super::payload::Payload;
use super::super::spare::SpareBuffers;
use super::Stream;
use parking_lot::Mutex;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use tokio::io::AsyncWrite;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// A message of at most so many words is written by the thread that sends it.
const SHORT_WORDS: usize = 4 << 10;

/// One direction of a link, at its sender.
pub(super) struct Outlet {
    shared: Arc<Shared>,
    queue: UnboundedSender<Frame>,
    writer: JoinHandle<()>,
}

struct Shared {
    sink: Mutex<Sink>,
    /// Frames that the task has not yet written whole. Only senders add to it, so a sender that
    /// sees zero has the sink for itself.
    queued: AtomicUsize,
    given_up: AtomicBool,
    inbox: Arc<Inbox>,
    spare: Arc<SpareBuffers>,
}

/// A frame and how much of it has left.
struct Frame {
    header: Header,
    /// The header's bytes, once the frame has its number.
    head: Option<[u8; HEADER_BYTES]>,
    words: Payload,
    written: usize,
}

struct Sink {
    stream: Box<dyn Stream>,
    sequence: u64,
    with_checksum: bool,
}

impl Outlet {
    /// Takes over a connection. Errors of writing go to `inbox`, where the peer's end shows.
    pub(super) fn new(
        runtime: &Runtime,
        stream: Box<dyn Stream>,
        inbox: Arc<Inbox>,
        spare: Arc<SpareBuffers>,
        with_checksum: bool,
    ) -> Self {
        let shared = Arc::new(Shared {
            sink: Mutex::new(Sink { stream, sequence: 0, with_checksum }),
            queued: AtomicUsize::new(0),
            given_up: AtomicBool::new(false),
            inbox,
            spare,
        });
        let (queue, orders) = unbounded_channel();
        let writer = runtime.spawn(run(shared.clone(), orders));
        Outlet { shared, queue, writer }
    }

    /// Posts a frame: writes it if it is short and nothing is before it, else queues it.
    pub(super) fn post(&self, header: Header, words: Vec<u64>) {
        let mut frame = Frame { header, head: None, words: Payload::new(words), written: 0 };
        if frame.words.len() <= SHORT_WORDS && self.shared.queued.load(Ordering::Acquire) == 0 {
            // The task polls again what is pending here, with its own waker.
            let mut context = Context::from_waker(Waker::noop());
            match self.shared.poll_frame(&mut context, &mut frame) {
                Poll::Ready(Ok(())) => return,
                Poll::Ready(Err(error)) => return self.shared.fail(&error),
                Poll::Pending => {}
            }
        }
        self.shared.queued.fetch_add(1, Ordering::AcqRel);
        if self.queue.send(frame).is_err() {
            self.shared.inbox.close(Fault::Closed("the transport has ended".into()));
        }
    }

    /// Messages that have not begun to leave shall not leave.
    pub(super) fn give_up(&self) {
        self.shared.given_up.store(true, Ordering::Release);
    }

    /// Lets the task write what is queued, close the connection, and end.
    pub(super) fn finish(self) -> JoinHandle<()> {
        self.writer
    }
}

impl Shared {
    fn poll_frame(&self, context: &mut Context<'_>, frame: &mut Frame) -> Poll<io::Result<()>> {
        self.sink.lock().poll_frame(context, frame)
    }

    fn fail(&self, error: &io::Error) {
        self.inbox.close(Fault::Closed(format!("cannot send to it any more ({error})")));
    }
}

impl Sink {
    /// Writes as much of `frame` as the connection takes.
    fn poll_frame(&mut self, context: &mut Context<'_>, frame: &mut Frame) -> Poll<io::Result<()>> {
        let head = match frame.head {
            Some(head) => head,
            None => {
                frame.header.sequence = self.sequence;
                self.sequence += 1;
                frame.header.payload_crc = if self.with_checksum { checksum(&frame.words) } else { 0 };
                *frame.head.insert(frame.header.encode())
            }
        };
        let payload: &[u8] = bytemuck::cast_slice(&frame.words);
        let mut stream = Pin::new(&mut self.stream);
        while frame.written < HEADER_BYTES + payload.len() {
            let written = match frame.written.checked_sub(HEADER_BYTES) {
                None => {
                    let slices = [IoSlice::new(&head[frame.written..]), IoSlice::new(payload)];
                    stream.as_mut().poll_write_vectored(context, &slices)
                }
                Some(at) => stream.as_mut().poll_write(context, &payload[at..]),
            };
            match written {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => frame.written += bytes,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        stream.poll_flush(context)
    }
}

/// The task: writes what is queued until the outlet is gone, then closes the connection.
async fn run(shared: Arc<Shared>, mut orders: UnboundedReceiver<Frame>) {
    while let Some(mut frame) = orders.recv().await {
        let begun = frame.head.is_some();
        let skip = frame.header.kind == FrameKind::Message && !begun && shared.given_up.load(Ordering::Acquire);
        if !skip && let Err(error) = poll_fn(|context| shared.poll_frame(context, &mut frame)).await {
            shared.fail(&error);
            return;
        }
        shared.queued.fetch_sub(1, Ordering::AcqRel);
        shared.spare.put(frame.words);
    }
    let closed = poll_fn(|context| {
        let mut sink = shared.sink.lock();
        Pin::new(&mut sink.stream).poll_shutdown(context)
    });
    // The peer has what was sent or is gone: nothing to tell anyone either way.
    let _ = closed.await;
}
