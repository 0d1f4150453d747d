//! The sockets that links lie on: TCP's, and between processes of one account on one machine a local one, which takes less
//! work (`docs/adr/0069-past-tcp-on-one-machine.md`). Who is at the other end is found out above, for both alike.

use super::super::local::{self, LocalStream};
use super::reception::Listen;
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::future::pending;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};

/// So many bytes may lie in a local socket; the system makes less of it where it allows less. TCP's grow by themselves.
const LOCAL_BYTES: usize = 512 << 10;

/// Where the other parties reach this one, made by [`listen`](super::listen).
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    /// For processes of this account, where the address is of this machine alone.
    local: Option<UnixListener>,
}

impl Listener {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(address)?;
        tcp.set_nonblocking(true)?;
        let address = tcp.local_addr()?;
        // Whoever cannot have it is reached by TCP.
        let local = if address.ip().is_loopback() { local::listener(&name(address)).ok() } else { None };
        Ok(Listener { tcp, local })
    }

    /// The address and the port, also where any free one was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// The same for tasks.
    pub(super) fn entrance(&self) -> io::Result<Entrance> {
        let tcp = tokio::net::TcpListener::from_std(self.tcp.try_clone()?)?;
        let local =
            self.local.as_ref().map(|local| tokio::net::UnixListener::from_std(local.try_clone()?)).transpose()?;
        Ok(Entrance { tcp, local })
    }
}

/// The local socket of the party that listens on `address`.
fn name(address: SocketAddr) -> String {
    format!("cryptgpu-{address}")
}

/// A [`Listener`] that tasks accept from.
pub(super) struct Entrance {
    tcp: tokio::net::TcpListener,
    local: Option<tokio::net::UnixListener>,
}

impl Listen for Entrance {
    type Socket = Socket;

    async fn accept(&self) -> io::Result<(Socket, Option<SocketAddr>)> {
        let near = async {
            match &self.local {
                Some(local) => local.accept().await,
                None => pending().await,
            }
        };
        tokio::select! {
            visitor = near => Ok((Socket::Local(LocalStream::new(visitor?.0)?), None)),
            visitor = self.tcp.accept() => visitor.map(|(stream, from)| (Socket::Tcp(stream), Some(from))),
        }
    }

    async fn readable(socket: &Socket) -> io::Result<()> {
        match socket {
            Socket::Tcp(socket) => socket.readable().await,
            Socket::Local(socket) => socket.readable().await,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Local(LocalStream),
}

impl Socket {
    /// Connects to `address`, as `host:port`: past TCP where a process of this account listens there.
    pub(super) async fn connect(address: &str) -> io::Result<Self> {
        let addresses: Vec<SocketAddr> = lookup_host(address).await?.collect();
        let mut near = addresses.iter().filter(|address| address.ip().is_loopback());
        match near.find_map(|&address| local::reach(&name(address)).ok()) {
            Some(stream) => LocalStream::new(stream).map(Socket::Local),
            None => TcpStream::connect(&addresses[..]).await.map(Socket::Tcp),
        }
    }

    /// Has the system send at once, and hold enough.
    pub(super) fn tune(&self) -> io::Result<()> {
        match self {
            Socket::Tcp(stream) => stream.set_nodelay(true),
            Socket::Local(stream) => Ok(set_socket_send_buffer_size(stream, LOCAL_BYTES)?),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(context, into),
            Socket::Local(socket) => Pin::new(socket).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Local(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_write_vectored(context, pieces),
            Socket::Local(socket) => Pin::new(socket).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is written is the system's.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Local(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const ANY: &str = "127.0.0.1:0";

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    /// Connects to `address`, behind which `listener` is; whether past TCP.
    async fn passes_tcp(address: SocketAddr, listener: &Listener) -> bool {
        let mut here = Socket::connect(&address.to_string()).await.unwrap();
        let (mut there, from) = listener.entrance().unwrap().accept().await.unwrap();
        let local = matches!(here, Socket::Local(_));
        assert_eq!((local, local), (matches!(there, Socket::Local(_)), from.is_none()));
        here.write_all(b"hear").await.unwrap();
        Entrance::readable(&there).await.unwrap();
        let mut heard = [0; 4];
        there.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hear");
        local
    }

    #[test]
    fn the_loopback_interface_is_passed_by_and_others_are_not() {
        run(async {
            let listener = Listener::bind(ANY.parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            assert!(passes_tcp(address, &listener).await);
            // Of all of this machine's addresses, hosts among them.
            let listener = Listener::bind("0.0.0.0:0".parse().unwrap()).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert!(!passes_tcp(([127, 0, 0, 1], port).into(), &listener).await);
        });
    }

    #[test]
    fn what_leads_to_a_party_by_another_port_is_not_passed_by() {
        run(async {
            let listener = Listener::bind(ANY.parse().unwrap()).unwrap();
            let target = listener.local_addr().unwrap();
            let proxy = tokio::net::TcpListener::bind(ANY).await.unwrap();
            let address = proxy.local_addr().unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = (proxy.accept().await.unwrap().0, TcpStream::connect(target).await.unwrap());
                tokio::io::copy_bidirectional(&mut from, &mut to).await
            });
            assert!(!passes_tcp(address, &listener).await);
        });
    }

    #[test]
    fn a_name_that_another_process_has_leads_to_no_party() {
        run(async {
            let free = TcpListener::bind(ANY).unwrap().local_addr().unwrap();
            // Whoever has the name: the party listens by TCP alone.
            let taken = local::listener(&name(free)).unwrap();
            let listener = Listener::bind(free).unwrap();
            assert!(listener.local.is_none());
            drop(taken);
            assert!(!passes_tcp(free, &listener).await);
        });
    }

    /// Of a thread with another account, which an administrator's alone may take.
    #[test]
    fn a_process_of_another_account_is_passed_by() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("not run: it needs the rights of an administrator");
        }
        run(async {
            let listener = Listener::bind(ANY.parse().unwrap()).unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener.local);
            let stranger = std::thread::spawn(move || {
                // SAFETY: the system call itself changes this thread's account alone, and takes numbers alone.
                let changed = unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) };
                assert_eq!(changed, 0);
                local::listener(&name(address)).unwrap()
            });
            let stranger = stranger.join().unwrap();
            assert_eq!(local::reach(&name(address)).unwrap_err().kind(), io::ErrorKind::Other);
            let listener = Listener { tcp: listener.tcp, local: None };
            assert!(!passes_tcp(address, &listener).await);
            drop(stranger);
        });
    }
}
