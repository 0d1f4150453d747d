//! Bytes passed on between the connection of a caller and the standard streams of a session's process, for whoever has
//! started that process: the control link, which is theirs, and what the process prints.

use crate::cluster::wire::mark::MARK;
use crate::cluster::wire::text::harmless;
use std::io::{self, Write};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

/// How long the end of a connection may take.
const END_WITHIN: Duration = Duration::from_secs(10);

/// How long the last lines of a process may take.
const SETTLE_WITHIN: Duration = Duration::from_millis(300);

/// A longer line is passed on in pieces.
const LINE_BYTES: u64 = 8 << 10;

/// Passes bytes on until the caller or the process ends, and meanwhile to standard error what the process prints there.
pub(in crate::cluster) async fn relay(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    child: &mut Child,
) -> io::Result<()> {
    let pipes = (child.stdin.take(), child.stdout.take());
    let (Some(mut input), Some(mut output)) = pipes else { return Err(io::Error::other("no standard streams")) };
    let printed = child.stderr.take().map(|errors| tokio::spawn(pass_on(errors)));
    let (mut from, mut to) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = tokio::io::copy(&mut from, &mut input) => ended,
        ended = tokio::io::copy(&mut output, &mut to) => ended,
    };
    // The caller may be gone.
    let _ = timeout(END_WITHIN, to.shutdown()).await;
    drop(input);
    if let Some(printed) = printed {
        let _ = timeout(SETTLE_WITHIN, printed).await;
    }
    match ended {
        Err(error) if tcp_is_over(&error) => Ok(()),
        ended => ended.map(drop),
    }
}

/// Passes on lines, harmless for a terminal and without the marks that are for a caller.
async fn pass_on(errors: impl AsyncRead + Unpin) {
    let (mut from, mut line) = (BufReader::new(errors), Vec::new());
    loop {
        line.clear();
        if !matches!((&mut from).take(LINE_BYTES).read_until(b'\n', &mut line).await, Ok(1..)) {
            return;
        }
        if let Some(text) = said(&String::from_utf8_lossy(&line)) {
            // Where nobody reads it, it is lost.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

/// What a line says, if it says anything.
fn said(line: &str) -> Option<String> {
    let line = line.trim_end_matches(['\n', '\r']);
    match line.split_once(MARK) {
        Some(("", _)) => None,
        Some((text, _)) => Some(harmless(text).into_owned()),
        None => Some(harmless(line).into_owned()),
    }
}

/// A caller that ends or is killed closes its connection without a word, and a process that ends its pipe.
fn tcp_is_over(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_on_without_marks_and_control_characters() {
        let lines = ["one\n", "", "two\x1b[2J\r\n", "half\u{1e}cryptgpu run 3\n", "\u{1e}cryptgpu run 4\n"];
        let [one, empty, two, half, mark] = lines.map(said);
        assert_eq!([one, empty, half, mark], [Some("one".into()), Some(String::new()), Some("half".into()), None]);
        assert!(two.is_some_and(|two| two.starts_with("two") && !two.contains('\x1b')));
    }
}
