//! What a client and a party say to each other, each message behind its length, which is looked at before memory is taken.

use crate::cluster::marshal::words::Words;
use crate::net::PartyId;
use crate::nn::range::InputRange;
use crate::ring::FixedPoint;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Both must speak the same.
pub(in crate::cluster) const VERSION: &str = concat!("cryptgpu ", env!("CARGO_PKG_VERSION"), " serving 3");

/// The longest message but for shares.
pub(in crate::cluster) const MOST_BYTES: usize = 16 << 10;

/// A request's number, drawn by its client.
pub(in crate::cluster) type RequestId = [u8; 16];

/// What a client says.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::cluster) enum Say {
    /// First of all.
    Hello { version: String },
    /// It wants so many images evaluated: is there room?
    Ask { id: RequestId, images: u32 },
    /// This party's two components of the images that there was room for.
    Shares { id: RequestId, components: [Words; 2] },
    /// It sends no shares after all: another party has no room.
    Withdraw { id: RequestId },
}

/// What a party answers.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::cluster) enum Answer {
    /// To a hello.
    Welcome(Offer),
    /// There is room: the shares may come.
    Go { id: RequestId },
    /// There is none.
    Busy { id: RequestId },
    /// Its two components of the scores, masked anew.
    Scores { id: RequestId, components: [Words; 2] },
    /// These parties had no shares in time.
    Missing { id: RequestId, parties: Vec<PartyId> },
    /// What came is not what belongs here; the connection ends.
    Refused { detail: String },
    /// The service ends, and with it the connection.
    Ended,
    /// Two parties were sent different words for the component that both hold: nothing was computed of them.
    Inconsistent { id: RequestId },
    /// A value of its evaluation left the range, and the scores would be wrong.
    LeftRange { id: RequestId },
}

/// What a party serves: all that a client needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cluster) struct Offer {
    pub(in crate::cluster) version: String,
    pub(in crate::cluster) party: PartyId,
    /// The service, by a number that its three parties have in common and no other.
    pub(in crate::cluster) service: [u8; 16],
    pub(in crate::cluster) network: String,
    pub(in crate::cluster) input_shape: [usize; 3],
    pub(in crate::cluster) output_shape: Vec<usize>,
    pub(in crate::cluster) codec: FixedPoint,
    pub(in crate::cluster) input: InputRange,
    /// Images of one request.
    pub(in crate::cluster) most_images: u32,
}

impl Offer {
    /// The words of a component of so many images.
    pub(in crate::cluster) fn input_words(&self, images: usize) -> usize {
        self.codec.ring().words(images * self.input_shape.iter().product::<usize>())
    }

    /// Elements of the scores of so many images.
    pub(in crate::cluster) fn scores(&self, images: usize) -> usize {
        images * self.output_shape.iter().product::<usize>()
    }

    /// The longest message with two components of so many words.
    pub(in crate::cluster) fn bytes(words: usize) -> usize {
        MOST_BYTES + 16 * words
    }
}

pub(in crate::cluster) async fn write(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let mut bytes = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    to.write_all(&bytes).await?;
    to.flush().await
}

/// The next message, of at most so many bytes.
pub(in crate::cluster) async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await?;
    let length = u32::from_le_bytes(length) as usize;
    let bad = |detail: String| io::Error::new(io::ErrorKind::InvalidData, detail);
    if length > most {
        return Err(bad(format!("a message of {length} bytes, where at most {most} belong")));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    postcard::from_bytes(&bytes).map_err(|error| bad(format!("a message that cannot be read: {error}")))
}
