//! What a caller and the parties of other owners say to each other before a session, and where a caller finds them.

use crate::mpc::Settings;
use crate::net::{Fingerprint, Link};
use crate::prg::Randomness;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Three parties of different owners, and the key by which the caller is known to them: what
/// [`Cluster::owners`](crate::cluster::Cluster::owners) needs, read from a file by [`Owners::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owners {
    pub(in crate::cluster) certificate: PathBuf,
    pub(in crate::cluster) key: PathBuf,
    /// By index.
    pub(in crate::cluster) parties: [OwnedParty; 3],
}

/// A party of somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct OwnedParty {
    pub(in crate::cluster) name: String,
    /// `host:port` where it waits for callers.
    pub(in crate::cluster) address: String,
    pub(in crate::cluster) fingerprint: Fingerprint,
}

/// What a caller asks a party for, first of all. Who the caller is, TLS has shown; where the other parties are, the party
/// knows by itself.
#[derive(Clone, Debug, Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Hello {
    pub(in crate::cluster) version: String,
    pub(in crate::cluster) session: [u8; 16],
    pub(in crate::cluster) randomness: Randomness,
    pub(in crate::cluster) settings: Settings,
    pub(in crate::cluster) link: Link,
    pub(in crate::cluster) deadline: Duration,
    pub(in crate::cluster) resume_within: Duration,
    pub(in crate::cluster) connect_within: Duration,
}

/// What the party answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Answer {
    /// The control link of the session follows on the same connection.
    Admitted,
    /// The connection ends.
    Refused(String),
    /// Another session goes on. The connection ends.
    Busy,
}

/// No greeting is longer.
const MAX_BYTES: usize = 64 << 10;

/// Writes a message behind its length.
pub(in crate::cluster) async fn say(to: &mut (impl AsyncWrite + Unpin), message: &impl Serialize) -> io::Result<()> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    to.write_all(&(body.len() as u32).to_le_bytes()).await?;
    to.write_all(&body).await?;
    to.flush().await
}

/// Reads a message behind its length.
pub(in crate::cluster) async fn hear<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let mut head = [0u8; 4];
    from.read_exact(&mut head).await?;
    let len = u32::from_le_bytes(head) as usize;
    if len > MAX_BYTES {
        return Err(io::Error::other(format!("a greeting of {len} bytes")));
    }
    let mut body = vec![0u8; len];
    from.read_exact(&mut body).await?;
    postcard::from_bytes(&body).map_err(io::Error::other)
}
