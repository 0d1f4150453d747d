//! Sockets between processes of one account on this machine, by names in Linux's abstract namespace: they are in no folder, go when
//! their process goes, and are those of one network namespace, as ports of the loopback interface are.

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, bind,
    connect, listen, recv, send, sendmsg, shutdown, socket_with,
};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::runtime::Handle;

/// So many may wait to be accepted.
const BACKLOG: i32 = 64;

/// So many pieces are written at a time; the system takes 1024 at most.
const MAX_PIECES: usize = 64;

/// Listens by `name`, without blocking.
///
/// # Errors
/// [`io::ErrorKind::AddrInUse`] where the name is taken.
pub(super) fn listener(name: &str) -> io::Result<UnixListener> {
    let socket = socket()?;
    bind(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Connects at once to who listens by `name`.
///
/// # Errors
/// [`io::ErrorKind::ConnectionRefused`] where nobody does, [`io::ErrorKind::WouldBlock`] where others are before this
/// process, [`io::ErrorKind::Other`] where it is a process of another account.
pub(super) fn reach(name: &str) -> io::Result<UnixStream> {
    let socket = socket()?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    let socket = UnixStream::from_std(socket.into())?;
    of_this_account(&socket)?;
    Ok(socket)
}

/// An end of another account is no party.
pub(super) fn of_this_account(socket: &UnixStream) -> io::Result<()> {
    match socket.peer_cred()?.uid() == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(io::Error::other("a process of another account is at the other end")),
    }
}

fn socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Has the runtime of this thread watch a socket.
fn watch(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is the socket's until that is dropped, which nobody takes out of what is returned.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// A connection. As a [`UnixStream`], but that room to write is asked for only where there was none: the system reports it whenever
/// the other end takes what was written, which would wake the sender for each of its messages.
#[derive(Debug)]
pub(super) struct LocalStream {
    socket: AsyncFd<OwnedFd>,
    /// The same socket while there is no room.
    full: Option<AsyncFd<OwnedFd>>,
    runtime: Handle,
}

impl LocalStream {
    /// # Errors
    /// What the system says.
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        let socket = OwnedFd::from(socket.into_std()?);
        Ok(LocalStream { socket: watch(socket, Interest::READABLE)?, full: None, runtime: Handle::current() })
    }

    /// Ready when something has come, or the end.
    pub(super) async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await.map(|mut guard| guard.retain_ready())
    }

    /// Writes by `write`, once there is room.
    fn poll_write_by(
        &mut self,
        context: &mut Context<'_>,
        mut write: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let room = match &self.full {
                Some(full) => Some(ready!(full.poll_write_ready(context))?),
                None => None,
            };
            match (write(self.socket.as_fd()), room) {
                (Err(Errno::AGAIN), Some(mut room)) => room.clear_ready(),
                (Err(Errno::AGAIN), None) => {
                    // The thread that writes may be outside of the runtime.
                    let _within = self.runtime.enter();
                    let again = self.socket.get_ref().try_clone()?;
                    self.full = Some(watch(again, Interest::WRITABLE)?);
                }
                (written, _) => {
                    self.full = None;
                    return Poll::Ready(Ok(written?));
                }
            }
        }
    }
}

impl AsFd for LocalStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsyncRead for LocalStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.socket.poll_read_ready(context))?;
            let room = into.remaining();
            match recv(self.socket.get_ref(), into.initialize_unfilled(), RecvFlags::empty()) {
                Ok((bytes, _)) => {
                    if (1..room).contains(&bytes) {
                        // There is no more: what comes from now on is reported.
                        guard.clear_ready();
                    }
                    into.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for LocalStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_by(context, |socket| send(socket, bytes, SendFlags::NOSIGNAL))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_by(context, |socket| {
            sendmsg(
                socket,
                &pieces[..pieces.len().min(MAX_PIECES)],
                &mut SendAncillaryBuffer::default(),
                SendFlags::NOSIGNAL,
            )
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is written is the system's.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(shutdown(self.socket.get_ref(), Shutdown::Write)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream as Blocking;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::Waker;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::runtime::{Builder, Runtime};

    fn pair(runtime: &Runtime) -> (LocalStream, Blocking) {
        let (here, there) = Blocking::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        let _within = runtime.enter();
        (LocalStream::new(UnixStream::from_std(here).unwrap()).unwrap(), there)
    }

    #[test]
    fn a_sender_sleeps_on_when_what_it_sent_is_taken() {
        let woken = Arc::new(AtomicUsize::new(0));
        let counts = woken.clone();
        let count = move || {
            counts.fetch_add(1, Relaxed);
        };
        let runtime = Builder::new_current_thread().enable_all().on_thread_unpark(count).build().unwrap();
        let (mut stream, mut there) = pair(&runtime);
        let taken = runtime.block_on(async {
            for message in 0..100 {
                stream.write_all(&[message]).await.unwrap();
            }
            let before = woken.load(Relaxed);
            let takes = std::thread::spawn(move || {
                for _ in 0..100 {
                    std::thread::sleep(Duration::from_millis(1));
                    there.read_exact(&mut [0]).unwrap();
                }
                there
            });
            let nothing = tokio::time::timeout(Duration::from_millis(500), stream.read_u8()).await;
            assert!(nothing.is_err(), "it is the other end's turn to speak");
            drop(takes.join().unwrap());
            woken.load(Relaxed) - before
        });
        assert!(taken < 20, "{taken} times");
    }

    #[test]
    fn who_fills_it_outside_of_the_runtime_goes_on_within() {
        const BYTES: usize = 3 << 20;
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (mut stream, mut there) = pair(&runtime);
        let bytes: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
        let mut sent = 0;
        while let Poll::Ready(written) =
            Pin::new(&mut stream).poll_write(&mut Context::from_waker(Waker::noop()), &bytes[sent..])
        {
            sent += written.unwrap();
        }
        assert!((1..BYTES).contains(&sent));
        let takes = std::thread::spawn(move || {
            let mut came = vec![];
            there.read_to_end(&mut came).map(|_| came).unwrap()
        });
        runtime.block_on(async {
            stream.write_all(&bytes[sent..]).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        assert!(takes.join().unwrap() == bytes);
        // The other end is gone, which is an error and no signal.
        let error = runtime.block_on(stream.write_all(&[1])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
