//! Linking up: every party connects to both others and is connected to by both. Later the same greetings serve to make
//! a connection anew that broke.

use super::super::stream::{Answer, Connection, Hello, Purpose, Stream};
use super::super::tls::{self, Fingerprint};
use super::super::{NetError, PartyId, after};
use super::opener::{Opener, PIECE_BYTES};
use super::reception::{PAUSE, Reception, is_unheard};
use super::socket::{Entrance, Listener, Socket};
use super::{Config, Security};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::BufReader;
use tokio_rustls::TlsConnector;

/// Listens on `address`, where port 0 means any free one. On an address of the loopback interface processes of this account come by
/// a local socket as well.
///
/// ```
/// use cryptgpu_core::net::{PartyId, tcp};
/// let listener = tcp::listen(PartyId::P0, "127.0.0.1:0".parse()?)?;
/// let taken = tcp::listen(PartyId::P0, listener.local_addr()?);
/// assert!(taken.unwrap_err().to_string().contains("another port"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`NetError::Setup`] when the port is taken or the address is not one of this machine.
pub fn listen(party: PartyId, address: SocketAddr) -> Result<Listener, NetError> {
    let setup = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "The port is in use: choose another port, or 0 for any free one.",
            io::ErrorKind::AddrNotAvailable => "Is this an address of this machine? 0.0.0.0 stands for all of them.",
            io::ErrorKind::PermissionDenied => "Ports below 1024 need privileges: choose a higher one.",
            _ => "Check the address.",
        };
        NetError::Setup { party, action: format!("listen on {address}"), detail: error.to_string(), hint: hint.into() }
    };
    Listener::bind(address).map_err(setup)
}

/// Links up with both peers. `entrance` is the one of `config`.
pub(super) async fn all(config: &Arc<Config>, entrance: &Entrance) -> Result<Vec<(PartyId, Connection)>, NetError> {
    let id = config.id;
    let until = after(Instant::now(), config.connect_within);
    let (next, prev) = (id.next(), id.prev());
    let (to_next, to_prev, incoming) =
        tokio::try_join!(dial(config, next, until), dial(config, prev, until), accept(config, entrance, until))?;
    let [mut from_0, mut from_1, mut from_2] = incoming;
    let mut take = |peer: PartyId| [&mut from_0, &mut from_1, &mut from_2][peer.index()].take();
    let mut connections = Vec::with_capacity(2);
    for (peer, outgoing) in [(next, to_next), (prev, to_prev)] {
        let incoming = take(peer).ok_or_else(|| setup(id, "accept", "no connection", "Try again."))?;
        connections.push((peer, Connection { incoming, outgoing, letters: None }));
    }
    Ok(connections)
}

/// The listener of `config`, for tasks.
pub(super) fn entrance(config: &Config) -> Result<Entrance, NetError> {
    let hint = "Is the limit on open files (ulimit -n) reached?";
    config.listener.entrance().map_err(|error| setup(config.id, "listen", &error.to_string(), hint))
}

/// Connects to `peer`, which may not listen yet, or not listen to us at once.
async fn dial(config: &Config, peer: PartyId, until: Instant) -> Result<Box<dyn Stream>, NetError> {
    let address = config.addresses[peer.index()].as_str();
    let action = format!("connect to party {peer} at {address}");
    let fail = |detail: &str, hint: &str| setup(config.id, &action, detail, hint);
    loop {
        let socket = reach(address, until).await.map_err(|error| {
            fail(&error.to_string(), "Is that party running, and does a firewall let this port through?")
        })?;
        let secured = tokio::time::timeout_at(until.into(), secure_outgoing(config, peer, socket, Purpose::Begin));
        match secured.await {
            Ok(Ok((stream, _))) => return Ok(stream),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() + PAUSE < until => {
                tokio::time::sleep(PAUSE).await;
            }
            Ok(Err(error)) => {
                return Err(fail(
                    &error.to_string(),
                    "Do all parties belong to the same session, with the same certificates and the same security?",
                ));
            }
            Err(_) => return Err(fail("no answer to the handshake in time", "Is that party running?")),
        }
    }
}

async fn reach(address: &str, until: Instant) -> io::Result<Socket> {
    let mut pause = Duration::from_millis(2);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, Socket::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if left < pause => return Err(error),
            Ok(Err(_)) => tokio::time::sleep(pause).await,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        }
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Makes sure who is at the other end, and hears what it expects.
pub(super) async fn secure_outgoing(
    config: &Config,
    peer: PartyId,
    socket: Socket,
    purpose: Purpose,
) -> io::Result<(Box<dyn Stream>, Answer)> {
    socket.tune()?;
    let mut stream: Box<dyn Stream> = match &config.security {
        Security::InsecurePlaintext => Box::new(socket),
        Security::Tls { identity, peers } => {
            let client = identity.client_config(peers[peer.index()]).map_err(io::Error::other)?;
            let connected = TlsConnector::from(client).connect(tls::server_name(), socket).await;
            let mut stream = connected.map_err(|error| match is_unheard(&error) {
                true => io::Error::new(io::ErrorKind::ConnectionRefused, "the other end closed the connection unheard"),
                false => error,
            })?;
            // So much is encrypted and given to the socket at a time, while what was given before is on its way.
            stream.get_mut().1.set_buffer_limit(Some(PIECE_BYTES));
            Box::new(stream)
        }
    };
    let hello = Hello { from: config.id, to: peer, purpose, session: config.session };
    let answer = hello.greet(&mut stream).await?;
    Ok((stream, answer))
}

/// Accepts both peers. Whoever else comes is turned away, and named if a peer is missing at last.
async fn accept(
    config: &Arc<Config>,
    entrance: &Entrance,
    until: Instant,
) -> Result<[Option<Box<dyn Stream>>; 3], NetError> {
    let mut streams = [None, None, None];
    let mut refused = String::new();
    let mut reception = Reception::new(entrance);
    let mut missing = 2;
    while missing > 0 {
        let config_of_visit = config.clone();
        let identify = move |socket| {
            let config = config_of_visit.clone();
            async move {
                let (hello, mut stream) = secure_incoming(&config, socket, Purpose::Begin).await?;
                hello.answer(&mut stream, Answer::Expects(0)).await?;
                Ok((hello.from, stream))
            }
        };
        tokio::select! {
            (from, outcome) = reception.next(identify) => {
                let from = from.map_or_else(|| "whoever connected".to_owned(), |from| from.to_string());
                match outcome {
                    Ok((peer, stream)) if streams[peer.index()].is_none() => {
                        streams[peer.index()] = Some(stream);
                        missing -= 1;
                    }
                    Ok((peer, _)) => refused = format!("; {from} connected as party {peer} a second time"),
                    Err(error) => refused = format!("; refused {from}: {error}"),
                }
            },
            () = tokio::time::sleep_until(until.into()) => {
                let absent = [config.id.next(), config.id.prev()].into_iter().filter(|peer| streams[peer.index()].is_none());
                let absent: Vec<String> = absent.map(|peer| format!("party {peer}")).collect();
                let detail = format!("{} did not connect within {:?}{refused}", absent.join(" and "), config.connect_within);
                let hint = "Are all three parties running, and does a firewall let their ports through?";
                return Err(setup(config.id, "accept the other parties", &detail, hint));
            }
        }
    }
    Ok(streams)
}

/// Makes sure who has connected, and hears its greeting, which is still to be answered.
pub(super) async fn secure_incoming(
    config: &Config,
    socket: Socket,
    purpose: Purpose,
) -> io::Result<(Hello, Box<dyn Stream>)> {
    socket.tune()?;
    let (mut stream, shown): (Box<dyn Stream>, Option<PartyId>) = match &config.security {
        // Headers are short: a buffer saves system calls.
        Security::InsecurePlaintext => (Box::new(BufReader::with_capacity(READ_BUFFER_BYTES, socket)), None),
        Security::Tls { identity, peers } => {
            let accepted: Vec<Fingerprint> =
                [config.id.next(), config.id.prev()].map(|peer| peers[peer.index()]).into();
            let server = identity.server_config(&accepted).map_err(io::Error::other)?;
            let stream = Opener::accept(socket, server).await?;
            let shown = tls::party_of(stream.peer_certificates(), peers);
            (Box::new(stream), shown)
        }
    };
    let expected = [config.id.next(), config.id.prev()].map(|from| Hello {
        from,
        to: config.id,
        purpose,
        session: config.session,
    });
    let hello = Hello::hear(&mut stream, &expected).await?;
    if shown.is_some_and(|shown| shown != hello.from) {
        let says = format!("it says party {} but shows another party's certificate", hello.from);
        return Err(io::Error::other(says));
    }
    Ok((hello, stream))
}

const READ_BUFFER_BYTES: usize = 64 << 10;

fn setup(party: PartyId, action: &str, detail: &str, hint: &str) -> NetError {
    NetError::Setup { party, action: action.into(), detail: detail.into(), hint: hint.into() }
}
