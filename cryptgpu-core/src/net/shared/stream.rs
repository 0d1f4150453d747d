//! A byte stream through shared memory. Beside the two rings it has a socket between the two processes, on which nothing
//! but bells travel: a byte that says "look again" to whoever sleeps. The system closes the socket when a process ends, by
//! whatever cause, so its end is what the other process hears at once.

use super::super::local::LocalStream;
use super::ring::{Putter, Taker};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection. Both ends move whole words: what is written and read has a multiple of eight bytes.
#[derive(Debug)]
pub(super) struct SharedStream {
    bells: LocalStream,
    putter: Putter,
    taker: Taker,
    /// Whether the other end is gone: what it has put in is still there.
    ended: bool,
}

impl SharedStream {
    pub(super) fn new(bells: LocalStream, (putter, taker): (Putter, Taker)) -> Self {
        SharedStream { bells, putter, taker, ended: false }
    }

    /// Wakes the other end.
    fn ring(&self) -> io::Result<()> {
        match send(&self.bells, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            // A socket that is full of bells wakes it as well.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Ready when there is a reason to look again: a bell, or the end of the other process.
    fn poll_bell(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bells = [0; 64];
        let mut bells = ReadBuf::new(&mut bells);
        match ready!(Pin::new(&mut self.bells).poll_read(context, &mut bells)) {
            Ok(()) => self.ended |= bells.filled().is_empty(),
            // It ended before it heard all bells.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.ended = true,
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for SharedStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let (bytes, wakes) = this.taker.take(into.initialize_unfilled())?;
            if bytes > 0 || into.remaining() == 0 {
                into.advance(bytes);
                if wakes {
                    // What has come counts, even if its sender is gone.
                    let _ = this.ring();
                }
                return Poll::Ready(Ok(()));
            }
            if into.remaining() < 8 {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, "less than a word is asked for")));
            }
            if this.ended {
                return Poll::Ready(Ok(()));
            }
            if this.taker.sleeps()? {
                ready!(this.poll_bell(context))?;
            }
        }
    }
}

impl AsyncWrite for SharedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let (bytes, wakes) = this.putter.put(slices)?;
            if bytes > 0 {
                if wakes {
                    this.ring()?;
                }
                return Poll::Ready(Ok(bytes));
            }
            if slices.iter().map(|slice| slice.len()).sum::<usize>() < 8 {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, "less than a word is given")));
            }
            if this.putter.sleeps()? {
                ready!(this.poll_bell(context))?;
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bells).poll_shutdown(context)
    }
}
