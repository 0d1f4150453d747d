//! The frames that messages of the control protocol travel in, and the ends of a control link.
//!
//! A frame is a magic number, a length, and that many bytes: a header in postcard, and behind
//! it, for jobs and outputs, their own encoding. The length is checked before memory is taken.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;
use tokio::sync::mpsc::unbounded_channel;

const MAGIC: [u8; 4] = *b"CGC1";

/// The largest frame: a job or an output of a party.
const MAX_FRAME_BYTES: u64 = 8 << 30;

/// A header and, behind it, the encoding of `body`.
pub(in crate::cluster) fn encode<B: Serialize>(header: &impl Serialize, body: &B) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(body, encode_header(header)?)
}

/// A header alone.
pub(in crate::cluster) fn encode_header(header: &impl Serialize) -> Result<Vec<u8>, postcard::Error> {
    postcard::to_extend(header, Vec::new())
}

/// The header of a frame, and where its body begins.
pub(in crate::cluster) fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<(T, usize), postcard::Error> {
    let (header, body) = postcard::take_from_bytes(frame)?;
    Ok((header, frame.len() - body.len()))
}

/// The sending end of a control link, which lives on tasks or leads to a thread; sending never waits.
#[derive(Clone)]
pub(in crate::cluster) struct Outbox(Arc<dyn Fn(Vec<u8>) + Send + Sync>);

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbox(..)")
    }
}

impl Outbox {
    /// An end that hands frames to `post`.
    pub(in crate::cluster) fn new(post: impl Fn(Vec<u8>) + Send + Sync + 'static) -> Self {
        Outbox(Arc::new(post))
    }

    /// Posts a frame. If the link is down, its receiving end says so, to whom it concerns.
    pub(in crate::cluster) fn post(&self, frame: Vec<u8>) {
        (self.0)(frame);
    }

    /// Posts a message without a body.
    pub(in crate::cluster) fn tell(&self, header: &impl Serialize) -> Result<(), postcard::Error> {
        self.post(encode_header(header)?);
        Ok(())
    }
}

/// What comes on a control link.
#[derive(Debug)]
pub(in crate::cluster) enum Incoming {
    /// A piece of a large frame: a sign of life.
    Piece,
    /// A whole frame.
    Frame(Vec<u8>),
}

/// Runs a control link on tasks of `runtime`: `arrived` gets what comes, and at last why the
/// link ended.
pub(in crate::cluster) fn attach<S>(
    runtime: &Handle,
    stream: S,
    arrived: impl Fn(Result<Incoming, String>) + Send + Sync + 'static,
) -> Outbox
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (outbox, mut queue) = unbounded_channel::<Vec<u8>>();
    runtime.spawn(async move {
        loop {
            match read_frame(&mut reader, || arrived(Ok(Incoming::Piece))).await {
                Ok(frame) => arrived(Ok(Incoming::Frame(frame))),
                Err(error) => return arrived(Err(error.to_string())),
            }
        }
    });
    runtime.spawn(async move {
        while let Some(frame) = queue.recv().await {
            if write_frame(&mut writer, &frame).await.is_err() {
                return;
            }
        }
        // Whoever is at the other end sees the end anyway.
        let _ = writer.shutdown().await;
    });
    Outbox::new(move |frame| drop(outbox.send(frame)))
}

/// Large frames are read, and their memory taken, by pieces of this size.
const PIECE_BYTES: usize = 16 << 20;

pub(super) async fn read_frame(reader: &mut (impl AsyncRead + Unpin), piece: impl Fn()) -> io::Result<Vec<u8>> {
    let mut head = [0u8; 12];
    reader.read_exact(&mut head).await?;
    if head[..4] != MAGIC {
        return Err(io::Error::other("what came is not a frame of the control protocol"));
    }
    let len = u64::from_le_bytes([head[4], head[5], head[6], head[7], head[8], head[9], head[10], head[11]]);
    if len > MAX_FRAME_BYTES {
        return Err(io::Error::other(format!("a frame of {len} bytes exceeds the limit of {MAX_FRAME_BYTES}")));
    }
    let len = len as usize;
    let mut frame = Vec::with_capacity(len.min(PIECE_BYTES));
    loop {
        let at = frame.len();
        frame.resize(len.min(at + PIECE_BYTES), 0);
        reader.read_exact(&mut frame[at..]).await?;
        if frame.len() == len {
            return Ok(frame);
        }
        piece();
    }
}

pub(super) async fn write_frame(writer: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    let mut head = [0u8; 12];
    head[..4].copy_from_slice(&MAGIC);
    head[4..].copy_from_slice(&(frame.len() as u64).to_le_bytes());
    writer.write_all(&head).await?;
    writer.write_all(frame).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::super::message::Command;
    use super::*;
    use std::cell::Cell;
    use std::io::Cursor;

    fn block_on<T>(task: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(task)
    }

    fn framed(frame: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        block_on(write_frame(&mut bytes, frame)).unwrap();
        bytes
    }

    fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        block_on(read_frame(&mut Cursor::new(bytes), || ()))
    }

    #[test]
    fn header_and_body_survive_the_wire() {
        let command = Command::Run { run: 7, job: "self-test".into() };
        let frame = read(framed(&encode(&command, &(1u8, "body")).unwrap())).unwrap();
        let (back, body): (Command, usize) = decode(&frame).unwrap();
        assert!(matches!(back, Command::Run { run: 7, .. }));
        assert_eq!(postcard::from_bytes::<(u8, String)>(&frame[body..]).unwrap(), (1, "body".into()));
    }

    #[test]
    fn large_frames_come_by_pieces() {
        let frame = vec![5u8; 2 * PIECE_BYTES + 1];
        let pieces = Cell::new(0);
        let back = block_on(read_frame(&mut Cursor::new(framed(&frame)), || pieces.set(pieces.get() + 1)));
        assert_eq!(back.unwrap(), frame);
        assert_eq!(pieces.get(), 2);
    }

    #[test]
    fn frames_that_are_cut_foreign_or_oversized_are_errors() {
        let whole = framed(b"some frame");
        for cut in 0..whole.len() {
            assert!(read(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        let mut foreign = whole.clone();
        foreign[0] ^= 1;
        assert!(read(foreign).unwrap_err().to_string().contains("not a frame"));
        let mut oversized = whole;
        oversized[4..12].copy_from_slice(&(MAX_FRAME_BYTES + 1).to_le_bytes());
        assert!(read(oversized).unwrap_err().to_string().contains("exceeds the limit"));
        // An honest length whose bytes never come takes no more memory than one piece.
        let mut hollow = framed(b"");
        hollow[4..12].copy_from_slice(&MAX_FRAME_BYTES.to_le_bytes());
        assert!(read(hollow).is_err());
    }
}
