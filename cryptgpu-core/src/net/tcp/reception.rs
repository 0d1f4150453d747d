//! A listener that strangers may find: connections are accepted as they come and say who they are side by side, so that
//! nobody who connects and stays silent, nor a crowd of them, keeps the parties from linking. What a visitor has to say
//! is the caller's business.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// So many visitors are listened to at a time, each holding a descriptor.
const MAX_VISITORS: usize = 64;

/// How long a visitor may take to say who it is.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// How long accepting rests when the system has no descriptor to give (or another reason to refuse).
const REST: Duration = Duration::from_millis(20);

/// The pause of a party that was turned away, before it connects again.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Whether a TLS handshake that failed like this was turned away unheard, as happens where a crowd is at the door: an
/// end that dislikes a certificate says so.
pub(crate) fn is_unheard(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// Where visitors come.
pub(crate) trait Listen: Sync {
    type Socket: Send + Sync + 'static;

    /// The next visitor, and from where it comes, if from an address. May be dropped and called again.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Socket, Option<SocketAddr>)>> + Send;

    /// Ready when something has come from the visitor, or its end.
    fn readable(socket: &Self::Socket) -> impl Future<Output = io::Result<()>> + Send;
}

impl Listen for TcpListener {
    type Socket = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        TcpListener::accept(self).await.map(|(stream, from)| (stream, Some(from)))
    }

    async fn readable(socket: &TcpStream) -> io::Result<()> {
        socket.readable().await
    }
}

/// A listener with those who are saying who they are.
pub(crate) struct Reception<'a, T, L = TcpListener> {
    listener: &'a L,
    handshakes: JoinSet<(Option<SocketAddr>, io::Result<T>)>,
    /// From the longest there.
    visitors: VecDeque<Visitor>,
}

struct Visitor {
    task: AbortHandle,
    /// Whether anything has come from it: from a party it does at once.
    spoke: Arc<AtomicBool>,
}

impl<'a, T: Send + 'static, L: Listen> Reception<'a, T, L> {
    pub(crate) fn new(listener: &'a L) -> Self {
        Reception { listener, handshakes: JoinSet::new(), visitors: VecDeque::new() }
    }

    /// The next visitor that has told `identify` who it is, or failed to, and from where; or why none could be accepted. May
    /// be dropped and called again.
    pub(crate) async fn next<F>(
        &mut self,
        identify: impl Fn(L::Socket) -> F + Clone + Send + 'static,
    ) -> (Option<SocketAddr>, io::Result<T>)
    where
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        loop {
            tokio::select! {
                connection = self.listener.accept() => match connection {
                    Ok((socket, from)) => self.admit(socket, from, identify.clone()),
                    Err(error) => {
                        // Most likely there is no descriptor left: half of the visitors' are given back.
                        (0..self.visitors.len().div_ceil(2)).for_each(|_| self.turn_away());
                        tokio::time::sleep(REST).await;
                        return (None, Err(error));
                    }
                },
                Some(ended) = self.handshakes.join_next() => {
                    self.visitors.retain(|visitor| !visitor.task.is_finished());
                    // Those that were turned away have no outcome.
                    if let Ok((from, outcome)) = ended {
                        return (from, outcome);
                    }
                }
            }
        }
    }

    fn admit<F>(
        &mut self,
        socket: L::Socket,
        from: Option<SocketAddr>,
        identify: impl Fn(L::Socket) -> F + Send + 'static,
    ) where
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        if self.visitors.len() >= MAX_VISITORS {
            self.turn_away();
        }
        let spoke = Arc::new(AtomicBool::new(false));
        let speaks = spoke.clone();
        let handshake = async move {
            L::readable(&socket).await?;
            speaks.store(true, Relaxed);
            identify(socket).await
        };
        let task = self.handshakes.spawn(async move {
            let outcome = tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await;
            let silent = || Err(io::Error::new(io::ErrorKind::TimedOut, "it did not say in time who it is"));
            (from, outcome.unwrap_or_else(|_| silent()))
        });
        self.visitors.push_back(Visitor { task, spoke });
    }

    /// Ends the connection with the visitor that is least likely to be a party: the longest there of those that have
    /// said nothing, or else of all.
    fn turn_away(&mut self) {
        let silent = self.visitors.iter().position(|visitor| !visitor.spoke.load(Relaxed));
        if let Some(visitor) = self.visitors.remove(silent.unwrap_or(0)) {
            visitor.task.abort();
        }
    }
}
