//! The sending end of a link: frames leave whole, in order and numbered, and each is kept until the receiver has
//! acknowledged it. Frames that a broken connection may have lost are sent again, byte for byte, on the one made in its
//! place.

use super::super::frame::{FrameKind, HEADER_BYTES, Header, checksum};
use super::super::inbox::Fault;
use super::super::payload::Payload;
use super::outgoing::Task;
use super::room::{Held, Room};
use super::{Stream, Way};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// One direction of a link, at its sender.
pub(super) struct Outlet {
    shared: Arc<Shared>,
    /// Held while a frame is posted, so that frames of several threads keep their order.
    queue: Mutex<UnboundedSender<Frame>>,
    task: JoinHandle<()>,
}

/// What the threads that send and the task have in common.
pub(super) struct Shared {
    pub(super) sink: Mutex<Sink>,
    /// Frames that the task has not yet written whole. While it is zero, whoever holds the queue has the sink for itself.
    pub(super) queued: AtomicUsize,
    pub(super) given_up: AtomicBool,
    /// What all frames take that are not acknowledged.
    room: Arc<Room>,
    pub(super) way: Way,
}

/// A frame and how much of it has left.
pub(super) struct Frame {
    pub(super) header: Header,
    /// The header's bytes, once the frame has its number. They and the words never change from then on.
    head: Option<[u8; HEADER_BYTES]>,
    words: Payload,
    written: usize,
    /// The connection on which that was written.
    connection: u64,
    /// What it takes while it is here.
    _held: Option<Held>,
}

/// The connection and what it has not certainly delivered.
pub(super) struct Sink {
    /// None while it is broken.
    stream: Option<Box<dyn Stream>>,
    /// How many connections there were before.
    connection: u64,
    /// How it broke, when a sending thread found it broken.
    pub(super) broken: Option<io::Error>,
    /// Frames that have left whole and are not acknowledged.
    kept: VecDeque<Frame>,
    /// The next frame's number.
    sequence: u64,
    /// All frames before this one have come.
    acknowledged: u64,
    /// Whether the last frame has come.
    pub(super) over: bool,
    with_checksum: bool,
    /// What has come of an acknowledgement.
    back: ([u8; HEADER_BYTES], usize),
    /// Whether anything left, and came back, since the last heart-beat.
    pub(super) wrote: bool,
    pub(super) heard: bool,
    /// Bytes that have left, those sent again among them.
    written: u64,
}

impl Outlet {
    /// Takes over a connection. Errors of writing go to the inbox of `way`, where the peer's end shows.
    pub(super) fn new(runtime: &Runtime, stream: Box<dyn Stream>, way: Way) -> Self {
        let with_checksum = way.kind.with_checksum;
        let shared = Arc::new(Shared {
            sink: Mutex::new(Sink {
                stream: Some(stream),
                connection: 0,
                broken: None,
                kept: VecDeque::new(),
                sequence: 0,
                acknowledged: 0,
                over: false,
                with_checksum,
                back: ([0; HEADER_BYTES], 0),
                wrote: false,
                heard: false,
                written: 0,
            }),
            queued: AtomicUsize::new(0),
            given_up: AtomicBool::new(false),
            room: Arc::default(),
            way,
        });
        let (queue, orders) = unbounded_channel();
        let task = runtime.spawn(Task::new(shared.clone(), orders).run());
        Outlet { shared, queue: Mutex::new(queue), task }
    }

    /// Posts a frame: writes it if it is short and nothing is before it, else queues it.
    pub(super) fn post(&self, header: Header, words: Vec<u64>) {
        let held = self.shared.room.hold(8 * words.len());
        let mut frame = Frame { _held: Some(held), ..Frame::new(header, words) };
        let queue = self.queue.lock();
        if frame.words.len() <= self.shared.way.kind.direct_words && self.shared.queued.load(Ordering::Acquire) == 0 {
            let mut sink = self.shared.sink.lock();
            // The task may have queued frames of a broken connection meanwhile.
            if sink.is_up() && self.shared.queued.load(Ordering::Acquire) == 0 {
                // The task polls again what is pending here, with its own waker.
                match sink.poll_frame(&mut Context::from_waker(Waker::noop()), &mut frame) {
                    Poll::Ready(Ok(())) => return sink.keep(frame),
                    Poll::Ready(Err(error)) => sink.broken = Some(error),
                    Poll::Pending => {}
                }
            }
        }
        self.shared.queued.fetch_add(1, Ordering::AcqRel);
        if queue.send(frame).is_err() {
            return self.shared.way.inbox.close(Fault::Closed("the transport has ended".into()));
        }
        self.shared.way.duty.given();
    }

    /// What is on its way to the peer.
    pub(super) fn room(&self) -> &Room {
        &self.shared.room
    }

    /// What changes whenever a part of what is on its way gets on.
    pub(super) fn progress(&self) -> (usize, u64) {
        (self.shared.room.held(), self.shared.sink.lock().written)
    }

    /// Messages that have not begun to leave shall not leave.
    pub(super) fn give_up(&self) {
        self.shared.given_up.store(true, Ordering::Release);
    }

    /// Lets the task write what is queued until all is acknowledged, close the connection, and end.
    pub(super) fn finish(self) -> JoinHandle<()> {
        self.task
    }
}

impl Frame {
    pub(super) fn new(header: Header, words: Vec<u64>) -> Self {
        Frame { header, head: None, words: Payload::new(words), written: 0, connection: 0, _held: None }
    }

    /// Whether it has a number: then it must leave, or all that follow would be out of order.
    pub(super) fn has_begun(&self) -> bool {
        self.head.is_some()
    }
}

impl Sink {
    pub(super) fn is_up(&self) -> bool {
        self.stream.is_some() && self.broken.is_none()
    }

    /// Writes as much of `frame` as the connection takes. A frame that has come already, on a connection that broke
    /// since, is written.
    pub(super) fn poll_frame(&mut self, context: &mut Context<'_>, frame: &mut Frame) -> Poll<io::Result<()>> {
        let is_numbered = frame.header.kind.is_numbered();
        let head = match frame.head {
            Some(_) if is_numbered && frame.header.sequence < self.acknowledged => return Poll::Ready(Ok(())),
            Some(_) if !is_numbered && frame.connection != self.connection => return Poll::Ready(Ok(())),
            Some(head) => head,
            None => {
                frame.header.sequence = self.sequence;
                self.sequence += u64::from(is_numbered);
                frame.header.payload_crc = if self.with_checksum { checksum(&frame.words) } else { 0 };
                *frame.head.insert(frame.header.encode())
            }
        };
        if frame.connection != self.connection {
            (frame.connection, frame.written) = (self.connection, 0);
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let mut stream = Pin::new(stream);
        let payload: &[u8] = bytemuck::cast_slice(&frame.words);
        while frame.written < HEADER_BYTES + payload.len() {
            let written = match frame.written.checked_sub(HEADER_BYTES) {
                None => {
                    let slices = [IoSlice::new(&head[frame.written..]), IoSlice::new(payload)];
                    stream.as_mut().poll_write_vectored(context, &slices)
                }
                Some(at) => stream.as_mut().poll_write(context, &payload[at..]),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => {
                    frame.written += bytes;
                    self.written += bytes as u64;
                }
            }
            self.wrote = true;
        }
        stream.poll_flush(context)
    }

    /// Keeps a frame that has left until it is acknowledged.
    pub(super) fn keep(&mut self, frame: Frame) {
        match frame.header.kind.is_numbered() && frame.header.sequence >= self.acknowledged {
            true => self.kept.push_back(frame),
            false => self.let_go(frame),
        }
    }

    /// A frame has come.
    fn let_go(&mut self, frame: Frame) {
        self.over |= frame.header.kind.is_last();
    }

    /// Whether everything that has left has come.
    pub(super) fn has_delivered(&self) -> bool {
        self.kept.is_empty()
    }

    /// Reads what the receiver acknowledges, and lets go of that.
    pub(super) fn poll_acknowledgements(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            let Some(stream) = &mut self.stream else { return Poll::Pending };
            let (bytes, got) = &mut self.back;
            let mut buffer = ReadBuf::new(&mut bytes[*got..]);
            ready!(Pin::new(stream).poll_read(context, &mut buffer)).map_err(Broken::of)?;
            let came = buffer.filled().len();
            if came == 0 {
                let ended = io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without notice");
                return Poll::Ready(Err(Broken::Connection(ended)));
            }
            self.heard = true;
            *got += came;
            if *got == HEADER_BYTES {
                *got = 0;
                let header = Header::decode(bytes).map_err(Broken::Link)?;
                if header.kind != FrameKind::Acknowledgement || header.words > 0 {
                    let other = "another frame came where only acknowledgements may";
                    return Poll::Ready(Err(Broken::Link(Fault::BadFrame(other.into()))));
                }
                self.acknowledge(header.sequence).map_err(Broken::Link)?;
            }
        }
    }

    /// All frames before `expected` have come.
    fn acknowledge(&mut self, expected: u64) -> Result<(), Fault> {
        if !(self.acknowledged..=self.sequence).contains(&expected) {
            return Err(Fault::BadFrame(format!(
                "it has {expected} frames, it says, of {}, of which it had {}: one of both ends is not the one it was",
                self.sequence, self.acknowledged
            )));
        }
        self.acknowledged = expected;
        while let Some(frame) = self.kept.pop_front_if(|frame| frame.header.sequence < expected) {
            self.let_go(frame);
        }
        Ok(())
    }

    /// Gives the broken connection up.
    pub(super) fn disconnect(&mut self) {
        (self.stream, self.broken, self.back.1) = (None, None, 0);
    }

    /// Goes on with another connection, whose receiver expects frame `expected`: what has to be sent again.
    pub(super) fn reconnect(&mut self, stream: Box<dyn Stream>, expected: u64) -> Result<VecDeque<Frame>, Fault> {
        self.acknowledge(expected)?;
        self.stream = Some(stream);
        self.connection += 1;
        Ok(std::mem::take(&mut self.kept))
    }

    /// Lets go of everything and closes the connection.
    pub(super) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.kept.clear();
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Why nothing more can be sent.
pub(super) enum Broken {
    /// The connection broke: it may be made anew.
    Connection(io::Error),
    /// The link ends with this.
    Link(Fault),
}

impl Broken {
    /// A connection whose bytes were changed is not to be trusted again.
    pub(super) fn of(error: io::Error) -> Self {
        super::reader::refused(&error).map_or(Broken::Connection(error), Broken::Link)
    }
}
