//! The receiving end of a link: reads frames as they come, checks them, queues them and acknowledges them. When its
//! connection breaks it waits for the sender to make it anew, and goes on with the first frame that has not come whole.

use super::super::frame::{FrameKind, HEADER_BYTES, Header};
use super::super::inbox::{Fault, Inbox, Incoming};
use super::super::payload::{Letters, Payload};
use super::super::shaped::Shaper;
use super::super::{GaveUp, Options, PartyId};
use super::Stream;
use super::hello::{Answer, Hello};
use super::pulse::{Pulse, Quiet, silent};
use super::watch::Duty;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep_until};

/// What came is acknowledged after so many bytes or frames, and with every heart-beat.
const ACKNOWLEDGED_BYTES: usize = 256 << 10;
const ACKNOWLEDGED_FRAMES: u64 = 256;

/// What others tell the receiving end.
pub(in super::super) enum Notice {
    /// The sender has made the connection anew, and waits for the answer to its greeting.
    Connection(Box<dyn Stream>, Hello),
    /// The peer's process is gone: no connection will come, only what is on its way.
    Gone,
}

/// What a frame carries.
enum Content {
    Message(Incoming),
    Abort(GaveUp),
    End,
    Beat,
}

/// Why a connection is not read any more.
enum Stop {
    /// The last frame has come, and the inbox knows.
    Last,
    /// What came may not come.
    Fault(Fault),
    /// The connection broke.
    Broken(io::Error),
    /// The sender has made it anew.
    Replaced(Box<dyn Stream>, Hello),
}

/// The receiving end of one direction of a link.
pub(super) struct Reader {
    peer: PartyId,
    inbox: Arc<Inbox>,
    options: Options,
    pulse: Pulse,
    with_checksum: bool,
    /// Where the sender may leave messages on a card.
    letters: Option<Arc<dyn Letters>>,
    duty: Arc<Duty>,
    shaper: Shaper,
    /// The number of the frame that is due: all before it have come.
    expected: u64,
    part: Part,
    /// Number of the first frame that is not acknowledged yet.
    acknowledged: u64,
    unacknowledged_bytes: usize,
    /// Whether anything came since the last heart-beat.
    heard: bool,
    quiet: Quiet,
    /// Whether the peer's process is gone.
    gone: bool,
    /// Until when a broken connection must have been made anew.
    expiry: Option<Instant>,
}

/// What has come of the present frame. It outlives the waiting for the rest, which others may interrupt.
struct Part {
    head: [u8; HEADER_BYTES],
    got: usize,
    start: Option<std::time::Instant>,
    header: Option<Header>,
    words: Payload,
    bytes: usize,
}

impl Default for Part {
    fn default() -> Self {
        Part { head: [0; HEADER_BYTES], got: 0, start: None, header: None, words: Payload::default(), bytes: 0 }
    }
}

impl Reader {
    pub(super) fn new(
        peer: PartyId,
        inbox: Arc<Inbox>,
        options: Options,
        with_checksum: bool,
        letters: Option<Arc<dyn Letters>>,
        duty: Arc<Duty>,
    ) -> Self {
        Reader {
            peer,
            inbox,
            pulse: Pulse::of(&options),
            shaper: Shaper::new(options.link),
            options,
            with_checksum,
            letters,
            duty,
            expected: 0,
            part: Part::default(),
            acknowledged: 0,
            unacknowledged_bytes: 0,
            heard: false,
            quiet: Quiet::default(),
            gone: false,
            expiry: None,
        }
    }

    /// The task: fills the inbox until the link ends, and says there why it ended.
    pub(super) async fn run(mut self, stream: Box<dyn Stream>, mut notices: UnboundedReceiver<Notice>) {
        let mut stop = self.serve(stream, &mut notices).await;
        let fault = loop {
            let (stream, hello) = match stop {
                Stop::Last => return,
                Stop::Fault(fault) => break fault,
                Stop::Replaced(stream, hello) => (stream, hello),
                Stop::Broken(error) => match self.wait(&error, &mut notices).await {
                    Ok(anew) => anew,
                    Err(fault) => break fault,
                },
            };
            stop = match self.resume(stream, hello).await {
                Ok(stream) => self.serve(stream, &mut notices).await,
                Err(error) => Stop::Broken(error),
            };
        };
        self.inbox.close(fault);
    }

    /// Reads a connection until it ends.
    async fn serve(&mut self, mut stream: Box<dyn Stream>, notices: &mut UnboundedReceiver<Notice>) -> Stop {
        let mut beats = self.pulse.beats();
        loop {
            let outcome = tokio::select! {
                biased;
                Some(notice) = notices.recv() => match notice {
                    Notice::Connection(stream, hello) => return Stop::Replaced(stream, hello),
                    // What is on its way has a heart-beat's time.
                    Notice::Gone => { self.gone = true; beats.reset(); Ok(()) }
                },
                _ = beats.tick() => self.beat(&mut stream).await.map_err(Stop::Broken),
                content = self.frame(&mut stream) => match content {
                    Ok(content) => self.take(content, &mut stream).await,
                    Err(stop) => Err(stop),
                },
            };
            if let Err(stop) = outcome {
                return stop;
            }
        }
    }

    /// Waits for the sender to make its connection anew, after it broke with `error`.
    async fn wait(
        &mut self,
        error: &io::Error,
        notices: &mut UnboundedReceiver<Notice>,
    ) -> Result<(Box<dyn Stream>, Hello), Fault> {
        if self.gone || self.pulse.resume.is_zero() {
            return Err(died(error));
        }
        let expiry = *self.expiry.get_or_insert(Instant::now() + self.pulse.resume);
        tokio::select! {
            Some(notice) = notices.recv() => match notice {
                Notice::Connection(stream, hello) => Ok((stream, hello)),
                Notice::Gone => Err(died(error)),
            },
            () = sleep_until(expiry) => {
                let (peer, within) = (self.peer, self.pulse.resume);
                Err(Fault::Closed(format!(
                    "its connection broke ({error}), and party {peer} did not make it anew within {within:?}: is the network between the hosts up?"
                )))
            }
        }
    }

    /// Answers the sender's greeting: from here on its new connection carries the link.
    async fn resume(&mut self, mut stream: Box<dyn Stream>, hello: Hello) -> io::Result<Box<dyn Stream>> {
        self.part = Part::default();
        self.quiet = Quiet::default();
        hello.answer(&mut stream, Answer::Expects(self.expected)).await?;
        (self.acknowledged, self.unacknowledged_bytes) = (self.expected, 0);
        self.inbox.reconnected();
        eprintln!(
            "the link from party {} goes on with frame {}: its connection was made anew",
            self.peer, self.expected
        );
        Ok(stream)
    }

    /// Sends a sign of life; an error if the other end has given none for too long.
    async fn beat(&mut self, stream: &mut Box<dyn Stream>) -> io::Result<()> {
        let heard = std::mem::take(&mut self.heard);
        match self.quiet.beat(heard) || self.gone {
            true => Err(silent(&self.pulse)),
            false => self.acknowledge(stream).await,
        }
    }

    async fn acknowledge(&mut self, stream: &mut Box<dyn Stream>) -> io::Result<()> {
        (self.acknowledged, self.unacknowledged_bytes) = (self.expected, 0);
        stream.write_all(&Header::bare(FrameKind::Acknowledgement, self.expected).encode()).await?;
        stream.flush().await
    }

    /// Queues what a frame carries, and acknowledges when it is time to.
    async fn take(&mut self, content: Content, stream: &mut Box<dyn Stream>) -> Result<(), Stop> {
        let due = match content {
            Content::Beat => false,
            Content::Message(message) => {
                self.unacknowledged_bytes += 8 * message.words.len();
                self.inbox.push(message);
                self.duty.served();
                self.unacknowledged_bytes >= ACKNOWLEDGED_BYTES
                    || self.expected - self.acknowledged >= ACKNOWLEDGED_FRAMES
            }
            Content::Abort(reason) => {
                self.inbox.abort(Fault::gave_up(self.peer, reason));
                return Err(self.last(stream).await);
            }
            Content::End => {
                self.inbox.close(Fault::Closed(format!("party {} has ended", self.peer)));
                return Err(self.last(stream).await);
            }
        };
        match due {
            true => self.acknowledge(stream).await.map_err(Stop::Broken),
            false => Ok(()),
        }
    }

    async fn last(&mut self, stream: &mut Box<dyn Stream>) -> Stop {
        // If this is lost, the sender connects again, and the answer there says that the link has ended.
        let _ = self.acknowledge(stream).await;
        Stop::Last
    }

    /// The next frame. Everything that the header tells is checked before memory is taken. May be dropped and called
    /// again: what has come is kept.
    async fn frame(&mut self, stream: &mut Box<dyn Stream>) -> Result<Content, Stop> {
        let header = match self.part.header {
            Some(header) => header,
            None => {
                let header = self.header(stream).await?;
                self.part.words = Payload::scratch(header.following());
                *self.part.header.insert(header)
            }
        };
        let part = &mut self.part;
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut part.words);
        while part.bytes < bytes.len() {
            part.bytes += some(stream.read(&mut bytes[part.bytes..]).await)?;
            self.heard = true;
        }
        let Part { words, start, .. } = std::mem::take(&mut self.part);
        if self.with_checksum {
            header.verify(&words).map_err(Stop::Fault)?;
        }
        self.expected += u64::from(header.kind.is_numbered());
        self.expiry = None;
        Ok(match header.kind {
            FrameKind::Abort => match words[..] {
                [word] => GaveUp::from_word(word).map(Content::Abort).ok_or_else(unknown)?,
                _ => return Err(unknown()),
            },
            FrameKind::End => Content::End,
            FrameKind::Beat => Content::Beat,
            FrameKind::Acknowledgement => return Err(misplaced()),
            FrameKind::Message | FrameKind::Mailed => {
                let len = header.words as usize;
                let words = match (header.kind, &self.letters) {
                    (FrameKind::Mailed, Some(letters)) => {
                        letters.clone().came(words[0], len).map_err(Stop::Fault)?.into()
                    }
                    _ => words.into(),
                };
                let start = start.unwrap_or_else(std::time::Instant::now);
                let ready = self.shaper.deliver(start, (HEADER_BYTES + 8 * len) as u64);
                Content::Message(Incoming { tag: header.tag, rounds: header.rounds, words, ready })
            }
        })
    }

    /// The header of the present frame, checked.
    async fn header(&mut self, stream: &mut Box<dyn Stream>) -> Result<Header, Stop> {
        let part = &mut self.part;
        while part.got < HEADER_BYTES {
            let bytes = some(stream.read(&mut part.head[part.got..]).await)?;
            part.start.get_or_insert_with(std::time::Instant::now);
            part.got += bytes;
            self.heard = true;
        }
        let header = Header::decode(&part.head).map_err(Stop::Fault)?;
        let limit = match header.kind {
            FrameKind::Mailed if self.letters.is_none() => {
                let detail = "a message on a card came on a link that has no memory there";
                return Err(Stop::Fault(Fault::BadFrame(detail.into())));
            }
            FrameKind::Message | FrameKind::Mailed => self.options.max_message_bytes,
            FrameKind::Abort => 8 * GaveUp::WORDS as u64,
            FrameKind::End | FrameKind::Beat | FrameKind::Acknowledgement => 0,
        };
        header.admit(self.expected, limit).map_err(Stop::Fault)?;
        Ok(header)
    }
}

/// How many bytes came, if any did. A connection that ends before the last frame is broken; one whose bytes were
/// changed is not to be trusted again.
fn some(read: io::Result<usize>) -> Result<usize, Stop> {
    match read {
        Ok(0) => Err(Stop::Broken(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without notice"))),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(match refused(&error) {
            Some(fault) => Stop::Fault(fault),
            None => Stop::Broken(error),
        }),
    }
}

/// Whether what came was refused: by TLS, or as nothing that shared memory may say.
pub(in super::super) fn refused(error: &io::Error) -> Option<Fault> {
    (error.kind() == io::ErrorKind::InvalidData).then(|| Fault::BadFrame(format!("what came was refused: {error}")))
}

/// How a link ends whose peer cannot be reached any more.
pub(super) fn died(error: &io::Error) -> Fault {
    Fault::Closed(format!("the connection ended without notice: the process at the other end has died ({error})"))
}

fn unknown() -> Stop {
    let detail = "it gave up for a reason that does not exist: do both ends run the same version?";
    Stop::Fault(Fault::BadFrame(detail.into()))
}

fn misplaced() -> Stop {
    Stop::Fault(Fault::BadFrame("an acknowledgement came where only frames may".into()))
}
