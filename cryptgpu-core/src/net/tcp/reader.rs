//! The receiving end of a link: reads frames as they come, checks them, and queues them.

use super::super::frame::{FrameKind, HEADER_BYTES, Header};
use super::super::inbox::{Fault, Inbox, Incoming};
use super::super::payload::Payload;
use super::super::shaped::Shaper;
use super::super::spare::SpareBuffers;
use super::super::{GaveUp, Options, PartyId};
use super::Stream;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;

/// The task: fills `inbox` until the link ends, and says there why it ended.
pub(super) async fn run(
    mut stream: Box<dyn Stream>,
    peer: PartyId,
    inbox: Arc<Inbox>,
    options: Options,
    spare: Arc<SpareBuffers>,
    with_checksum: bool,
) {
    let mut reader = Reader { shaper: Shaper::new(options.link), options, spare, with_checksum, expected: 0 };
    loop {
        match reader.frame(&mut stream).await {
            Ok(Content::Message(message)) => {
                inbox.push(message);
            }
            Ok(Content::Abort(reason)) => return inbox.abort(Fault::gave_up(peer, reason)),
            Ok(Content::End) => return inbox.close(Fault::Closed(format!("party {peer} has ended"))),
            Err(fault) => return inbox.close(fault),
        }
    }
}

/// What a frame carries.
enum Content {
    Message(Incoming),
    Abort(GaveUp),
    End,
}

struct Reader {
    options: Options,
    spare: Arc<SpareBuffers>,
    with_checksum: bool,
    shaper: Shaper,
    expected: u64,
}

impl Reader {
    /// The next frame. Everything that the header tells is checked before memory is taken.
    async fn frame(&mut self, stream: &mut Box<dyn Stream>) -> Result<Content, Fault> {
        let mut head = [0u8; HEADER_BYTES];
        stream.read_exact(&mut head[..1]).await.map_err(between_frames)?;
        let start = Instant::now();
        stream.read_exact(&mut head[1..]).await.map_err(within_frame)?;
        let header = Header::decode(&head)?;
        let limit = match header.kind {
            FrameKind::Message => self.options.max_message_bytes,
            FrameKind::Abort => 8 * GaveUp::WORDS as u64,
            FrameKind::End => 0,
        };
        header.admit(self.expected, limit)?;
        self.expected += 1;
        let mut words = Payload::new(self.spare.take(header.words as usize));
        stream.read_exact(bytemuck::cast_slice_mut(&mut words)).await.map_err(within_frame)?;
        if self.with_checksum {
            header.verify(&words)?;
        }
        Ok(match header.kind {
            FrameKind::Abort => match words[..] {
                [word] => GaveUp::from_word(word).map(Content::Abort).ok_or_else(unknown)?,
                _ => return Err(unknown()),
            },
            FrameKind::End => Content::End,
            FrameKind::Message => {
                let ready = self.shaper.deliver(start, (HEADER_BYTES + 8 * words.len()) as u64);
                Content::Message(Incoming { tag: header.tag, rounds: header.rounds, words, ready })
            }
        })
    }
}

fn unknown() -> Fault {
    Fault::BadFrame("it gave up for a reason that does not exist: do both ends run the same version?".into())
}

fn between_frames(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            Fault::Closed("the connection ended without notice: the process at the other end has died".into())
        }
        io::ErrorKind::InvalidData => Fault::BadFrame(format!("TLS refused a record: {error}")),
        _ => Fault::Closed(error.to_string()),
    }
}

fn within_frame(error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            Fault::Closed("the connection ended within a frame: the process at the other end has died".into())
        }
        _ => between_frames(error),
    }
}
