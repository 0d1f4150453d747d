//! Bytes passed on between the connection of a caller and the standard streams of a session's process, for whoever has
//! started that process. The control link inside is theirs.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::process::Child;
use tokio::time::timeout;

/// How long the end of a connection may take.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Passes bytes on until the caller or the process ends.
pub(in crate::cluster) async fn relay(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    child: &mut Child,
) -> io::Result<()> {
    let pipes = (child.stdin.take(), child.stdout.take());
    let (Some(mut input), Some(mut output)) = pipes else { return Err(io::Error::other("no standard streams")) };
    let (mut from, mut to) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = tokio::io::copy(&mut from, &mut input) => ended,
        ended = tokio::io::copy(&mut output, &mut to) => ended,
    };
    // The caller may be gone.
    let _ = timeout(END_WITHIN, to.shutdown()).await;
    match ended {
        Err(error) if tcp_is_over(&error) => Ok(()),
        ended => ended.map(drop),
    }
}

/// A caller that ends or is killed closes its connection without a word, and a process that ends its pipe.
fn tcp_is_over(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
