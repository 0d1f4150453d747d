//! TLS at the receiving end of a connection. What comes is read from the socket in large pieces, is decrypted where it lies
//! and goes from there to the words that it is for: no buffer of a second layer is between. What a piece means is the
//! reader's business.
//!
//! The handshake, its messages, new keys and what is refused are rustls's (its connection without buffers); this file owns
//! the buffers.

use super::socket::Socket;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroize;

/// So much is read from the socket at a time. A record of TLS, which is decrypted as a whole, has 16 KiB at most.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// A connection that was accepted, decrypted as it is read. What it has decrypted, keys among it, is wiped before memory that held it is
/// given back.
pub(super) struct Opener {
    socket: Socket,
    tls: UnbufferedServerConnection,
    /// What has come and is still to be decrypted is `piece[start..end]`.
    piece: Box<[u8]>,
    start: usize,
    end: usize,
    /// What was decrypted beyond the place that there was for it, from `taken` on. A piece is the most, which has its room from the
    /// beginning: a vector that grows leaves copies behind.
    rest: Vec<u8>,
    taken: usize,
    /// Encrypted bytes that are to leave, from `left` on.
    out: Vec<u8>,
    left: usize,
    /// Whether the other end has said that no more will come.
    ended: bool,
}

/// What a turn of the connection came to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Turn {
    /// It got on: there may be more to do.
    On,
    /// The bytes to send are encrypted.
    Sent,
    /// Nothing can be done before more has come.
    Wants,
    /// The other end has said that no more will come.
    Ended,
}

impl Opener {
    /// Does the handshake of the end that listens.
    ///
    /// # Errors
    /// When the socket fails or ends, and [`io::ErrorKind::InvalidData`] for what TLS refuses.
    pub(super) async fn accept(socket: Socket, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let piece = vec![0; PIECE_BYTES].into_boxed_slice();
        let (rest, out) = (Vec::with_capacity(PIECE_BYTES), Vec::new());
        let mut opener = Opener { socket, tls, piece, start: 0, end: 0, rest, taken: 0, out, left: 0, ended: false };
        poll_fn(|context| opener.poll_handshake(context)).await?;
        Ok(opener)
    }

    /// The certificates that the other end has shown.
    pub(super) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let turn = self.checked_turn(context, &mut ReadBuf::new(&mut []), None)?;
            if turn == Turn::On {
                continue;
            }
            ready!(self.poll_out(context))?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if turn == Turn::Ended || ready!(self.poll_piece(context))? == 0 {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended in the handshake")));
            }
        }
    }

    /// A turn; what TLS refuses is an error of the stream, which the other end hears of.
    fn checked_turn(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
        say: Option<&[u8]>,
    ) -> io::Result<Turn> {
        self.turn(into, say).map_err(|error| {
            // If the alert cannot be made or leave now, the other end sees the connection end.
            while let Ok(Turn::On) = self.turn(&mut ReadBuf::new(&mut []), None) {}
            let _ = self.poll_out(context);
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }

    /// Does the next thing that is to do: decrypts a record to `into`, answers in a handshake, or encrypts `say`.
    fn turn(&mut self, into: &mut ReadBuf<'_>, say: Option<&[u8]>) -> Result<Turn, rustls::Error> {
        let UnbufferedStatus { mut discard, state } =
            self.tls.process_tls_records(&mut self.piece[self.start..self.end]);
        let turn = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    let (now, later) = record.payload.split_at(record.payload.len().min(into.remaining()));
                    into.put_slice(now);
                    self.rest.extend_from_slice(later);
                    discard += record.discard;
                }
                Ok(Turn::On)
            }
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.out).map(|()| Turn::On),
            // It leaves with what is in `out`.
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(Turn::On)
            }
            Ok(ConnectionState::WriteTraffic(traffic)) => match say {
                Some(bytes) => encrypt(traffic, bytes, &mut self.out).map(|()| Turn::Sent),
                None => Ok(Turn::Wants),
            },
            Ok(ConnectionState::BlockedHandshake) => Ok(Turn::Wants),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Turn::Ended),
            Ok(_) => Err(rustls::Error::General("a state of TLS that is not spoken here".into())),
            Err(error) => Err(error),
        };
        self.start += discard;
        turn
    }

    /// Reads from the socket what there is, as much as there is room for; 0 at its end.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        // Less than a record is left of the last piece.
        self.piece.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let mut free = ReadBuf::new(&mut self.piece[self.end..]);
        if free.remaining() == 0 {
            let large = io::Error::new(io::ErrorKind::InvalidData, "a record of TLS that is too large");
            return Poll::Ready(Err(large));
        }
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut free))?;
        let came = free.filled().len();
        self.end += came;
        Poll::Ready(Ok(came))
    }

    /// Writes what is encrypted.
    fn poll_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.left < self.out.len() {
            match ready!(Pin::new(&mut self.socket).poll_write(context, &self.out[self.left..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.left += bytes,
            }
        }
        self.out.clear();
        self.left = 0;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.piece.zeroize();
        self.rest.zeroize();
    }
}

impl AsyncRead for Opener {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let now = into.remaining().min(this.rest.len() - this.taken);
        into.put_slice(&this.rest[this.taken..this.taken + now]);
        this.taken += now;
        if this.taken == this.rest.len() {
            this.rest.clear();
            this.taken = 0;
        }
        while into.remaining() > 0 && !this.ended {
            match this.checked_turn(context, into, None)? {
                Turn::On | Turn::Sent => {}
                Turn::Ended => this.ended = true,
                Turn::Wants => {
                    if let Poll::Ready(Err(error)) = this.poll_out(context) {
                        return Poll::Ready(Err(error));
                    }
                    if into.filled().len() > before || ready!(this.poll_piece(context))? == 0 {
                        break;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Opener {
    /// What comes meanwhile waits in `rest`.
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_out(context))?;
        loop {
            match this.checked_turn(context, &mut ReadBuf::new(&mut []), Some(bytes))? {
                Turn::On => {}
                Turn::Sent => break,
                Turn::Ended if !this.ended => this.ended = true,
                Turn::Wants | Turn::Ended => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        match this.poll_out(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // The rest leaves with the next flush.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_out(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_out(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

/// Adds a message of the handshake to what leaves.
fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> Result<(), rustls::Error> {
    fill(out, |place| match data.encode(place) {
        Ok(written) => Ok(written),
        Err(EncodeError::InsufficientSize(size)) => Err(Some(size.required_size)),
        Err(EncodeError::AlreadyEncoded) => Err(None),
    })
}

/// Encrypts `bytes` behind what leaves.
fn encrypt<D>(mut traffic: WriteTraffic<'_, D>, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), rustls::Error> {
    fill(out, |place| match traffic.encrypt(bytes, place) {
        Ok(written) => Ok(written),
        Err(EncryptError::InsufficientSize(size)) => Err(Some(size.required_size)),
        Err(EncryptError::EncryptExhausted) => Err(None),
    })
}

/// Lets `write` add bytes to `out`, for which it says how many it needs if there are too few.
fn fill(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<(), rustls::Error> {
    let start = out.len();
    let written = match write(&mut []) {
        Err(Some(needed)) => {
            out.resize(start + needed, 0);
            write(&mut out[start..])
        }
        written => written,
    };
    out.truncate(start + written.as_ref().copied().unwrap_or(0));
    written.map(drop).map_err(|_| rustls::Error::EncryptError)
}

#[cfg(test)]
mod tests {
    use super::super::super::tls::{Identity, server_name};
    use super::super::reception::Listen;
    use super::super::socket::Listener;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// A reader that takes a little at a time and answers each time: what it has not asked for waits in the socket, and not
    /// in memory beyond a piece.
    #[test]
    fn a_slow_reader_gets_all_bytes_and_holds_no_more_than_a_piece() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let (address, entrance) = (listener.local_addr().unwrap(), listener.entrance().unwrap());
            let local = Socket::connect(&address.to_string()).await.unwrap();
            assert!(matches!(local, Socket::Local(_)));
            drip(local, entrance.accept().await.unwrap().0).await;
            let tcp = Socket::Tcp(TcpStream::connect(address).await.unwrap());
            drip(tcp, entrance.accept().await.unwrap().0).await;
        });
    }

    /// Bytes from one end of a connection to the other.
    async fn drip(from: Socket, to: Socket) {
        const BYTES: usize = 1_500_001;
        let byte = |at: usize| (at / 3 + at / 1000) as u8;
        let [here, there] = [(); 2].map(|()| Identity::generate().unwrap());
        let client = here.client_config(there.fingerprint()).unwrap();
        let server = there.server_config(&[here.fingerprint()]).unwrap();
        let sender = tokio::spawn(async move {
            let stream = tokio_rustls::TlsConnector::from(client).connect(server_name(), from).await.unwrap();
            let (mut answers, mut stream) = tokio::io::split(stream);
            let heard = tokio::spawn(async move {
                let mut heard = vec![];
                answers.read_to_end(&mut heard).await.unwrap_or(0);
                heard.len()
            });
            stream.write_all(&(0..BYTES).map(byte).collect::<Vec<u8>>()).await.unwrap();
            stream.shutdown().await.unwrap();
            heard.await.unwrap()
        });
        let mut opener = Opener::accept(to, server).await.unwrap();
        assert_eq!(opener.peer_certificates().map(<[_]>::len), Some(1));
        let (mut at, mut answered) = (0, 0);
        for size in [1, 7, 16_384, 16_383, 3000, 100_001, 40, 300_000].into_iter().cycle() {
            let mut bytes = vec![0; size];
            let came = opener.read(&mut bytes).await.unwrap();
            assert!(bytes[..came].iter().enumerate().all(|(k, &got)| got == byte(at + k)), "behind byte {at}");
            at += came;
            assert!(opener.rest.len() <= PIECE_BYTES && opener.piece.len() == PIECE_BYTES);
            if came == 0 {
                break;
            }
            opener.write_all(&[5; 40]).await.unwrap();
            opener.flush().await.unwrap();
            answered += 40;
        }
        assert_eq!(at, BYTES);
        drop(opener);
        assert_eq!(sender.await.unwrap(), answered);
    }
}
