//! Greetings: who connects to whom, for which session, and whether a link begins or goes on; and what the other end
//! answers.

use super::super::PartyId;
use super::Stream;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes of a greeting.
const HELLO_BYTES: usize = 24;

/// Where in it stands whether the link begins (0) or goes on (1).
const PURPOSE: usize = 6;

/// Whether a link begins with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Purpose {
    /// The first connection of a direction of a link.
    Begin,
    /// One in place of a connection that broke.
    Resume,
}

/// What the connecting end says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Hello {
    pub(in super::super) from: PartyId,
    pub(in super::super) to: PartyId,
    pub(in super::super) purpose: Purpose,
    pub(in super::super) session: [u8; 16],
}

/// What the listening end answers, behind the greeting, which it repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Answer {
    /// All frames before this one have come.
    Expects(u64),
    /// The link has ended there.
    Ended,
    /// It belongs to another session, or speaks to somebody else.
    Stranger,
}

impl Answer {
    fn to_word(self) -> u64 {
        match self {
            Answer::Expects(sequence) => sequence,
            Answer::Ended => u64::MAX,
            Answer::Stranger => u64::MAX - 1,
        }
    }

    fn from_word(word: u64) -> Self {
        match word {
            u64::MAX => Answer::Ended,
            word if word == u64::MAX - 1 => Answer::Stranger,
            sequence => Answer::Expects(sequence),
        }
    }
}

impl Hello {
    fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0u8; HELLO_BYTES];
        bytes[..4].copy_from_slice(b"CGPH");
        bytes[4] = self.from.into();
        bytes[5] = self.to.into();
        bytes[PURPOSE] = u8::from(self.purpose == Purpose::Resume);
        bytes[8..].copy_from_slice(&self.session);
        bytes
    }

    /// Greets the other end; its answer.
    ///
    /// # Errors
    /// When the connection ends first, or the other end does not repeat the greeting: then it belongs to another session.
    pub(in super::super) async fn greet(&self, stream: &mut Box<dyn Stream>) -> io::Result<Answer> {
        let greeting = self.encode();
        stream.write_all(&greeting).await?;
        stream.flush().await?;
        // In TLS 1.3 a client learns by the first answer only that it was accepted.
        let (mut repeated, mut word) = ([0u8; HELLO_BYTES], [0u8; 8]);
        stream.read_exact(&mut repeated).await?;
        stream.read_exact(&mut word).await?;
        match (repeated == greeting, Answer::from_word(u64::from_le_bytes(word))) {
            (false, _) | (true, Answer::Stranger) => Err(io::Error::other("the other end belongs to another session")),
            (true, answer) => Ok(answer),
        }
    }

    /// The greeting of whoever connected, if it is one of `expected`. A greeting for another session is answered with a refusal.
    ///
    /// # Errors
    /// When it is another greeting, or the connection ends first.
    pub(in super::super) async fn hear(stream: &mut Box<dyn Stream>, expected: &[Hello]) -> io::Result<Hello> {
        let mut greeting = [0u8; HELLO_BYTES];
        stream.read_exact(&mut greeting).await?;
        if let Some(hello) = expected.iter().find(|hello| hello.encode() == greeting) {
            return Ok(*hello);
        }
        greeting[PURPOSE] ^= 1;
        if expected.iter().any(|hello| hello.encode() == greeting) {
            // Not answered: an end that wants to go on comes again, when the link has begun here too.
            return Err(io::Error::other("it wants to begin a link that has begun, or go on with one that has not"));
        }
        greeting[PURPOSE] ^= 1;
        send(stream, &greeting, Answer::Stranger).await?;
        Err(io::Error::other("it belongs to another session"))
    }

    /// Answers a greeting.
    pub(in super::super) async fn answer(&self, stream: &mut Box<dyn Stream>, answer: Answer) -> io::Result<()> {
        send(stream, &self.encode(), answer).await
    }
}

async fn send(stream: &mut Box<dyn Stream>, greeting: &[u8; HELLO_BYTES], answer: Answer) -> io::Result<()> {
    let mut bytes = [0u8; HELLO_BYTES + 8];
    bytes[..HELLO_BYTES].copy_from_slice(greeting);
    bytes[HELLO_BYTES..].copy_from_slice(&answer.to_word().to_le_bytes());
    stream.write_all(&bytes).await?;
    stream.flush().await
}
