//! Linking up: every party connects to both others by a socket of this machine, and passes the memory of that connection
//! through it. A socket's name is a digest of the session number, which the parties alone know, and whoever connects must be of this
//! account.

use super::super::local::{self, LocalStream};
use super::super::stream::{Answer, Connection, Hello, Purpose, Stream};
use super::super::{NetError, PartyId, after};
use super::Config;
use super::mailbox::{Letterbox, Outbox, mailbox};
use super::memory::Memory;
use super::ring::{WORDS, receiving_ends, sending_ends};
use super::stream::SharedStream;
use crate::device::mailbox::Mailbox;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use sha2::{Digest, Sha256};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// The pause of a party before it tries again to connect.
const PAUSE: Duration = Duration::from_millis(5);

/// How long whoever connects may take to pass its memory and greet.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// The connection to a peer, and the mailbox for it.
type Way = (Box<dyn Stream>, Option<Outbox>);

/// The connection from a peer, and its mailbox.
type Arrival = (Box<dyn Stream>, Option<Arc<Letterbox>>);

/// Both connections with a peer, and the mailboxes on cards that belong to them.
pub(super) struct Linked {
    pub(super) peer: PartyId,
    pub(super) connection: Connection,
    pub(super) outbox: Option<Outbox>,
    pub(super) letterbox: Option<Arc<Letterbox>>,
}

impl Linked {
    fn new(peer: PartyId, (incoming, letterbox): Arrival, (outgoing, outbox): Way) -> Self {
        let letters = letterbox.clone().map(|letterbox| letterbox as _);
        Linked { peer, connection: Connection { incoming, outgoing, letters }, outbox, letterbox }
    }
}

/// Links up with both peers.
pub(super) async fn all(config: &Arc<Config>) -> Result<[Linked; 2], NetError> {
    let id = config.id;
    // Before anybody is waited for: to make them takes its time.
    let [for_next, for_prev] = [id.next(), id.prev()].map(|peer| mailbox(config.device, &config.session, [id, peer]));
    let listener = listener(config).map_err(|error| {
        let hint = "Is another party of the same number in this session?";
        setup(id, "listen for the other parties of this machine", &error.to_string(), hint)
    })?;
    let until = after(Instant::now(), config.connect_within);
    let (next, prev) = (id.next(), id.prev());
    let (to_next, to_prev, [from_next, from_prev]) = tokio::try_join!(
        dial(config, next, for_next, until),
        dial(config, prev, for_prev, until),
        accept(config, &listener, until)
    )?;
    Ok([Linked::new(next, from_next, to_next), Linked::new(prev, from_prev, to_prev)])
}

/// The name by which a party of this session listens.
fn name(session: &[u8; 16], party: PartyId) -> String {
    let digest = Sha256::new().chain_update(b"cryptgpu shared links").chain_update(session).finalize();
    let name: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("cryptgpu-{name}-{party}")
}

fn listener(config: &Config) -> io::Result<UnixListener> {
    UnixListener::from_std(local::listener(&name(&config.session, config.id))?)
}

/// Connects to `peer`, which may not listen yet.
async fn dial(config: &Config, peer: PartyId, mailbox: Option<Mailbox>, until: Instant) -> Result<Way, NetError> {
    let action = format!("connect to party {peer} on this machine");
    let fail = |detail: &str, hint: &str| setup(config.id, &action, detail, hint);
    loop {
        let error = match local::reach(&name(&config.session, peer)) {
            Ok(socket) => {
                let greeted = tokio::time::timeout_at(until.into(), introduce(config, peer, mailbox, socket)).await;
                let hint =
                    "Do all parties belong to the same session, on the same machine, with links of the same type?";
                return match greeted {
                    Ok(stream) => stream.map_err(|error| fail(&error.to_string(), hint)),
                    Err(_) => Err(fail("no answer to the greeting in time", "Is that party running?")),
                };
            }
            Err(error) => error,
        };
        // It does not listen yet, or others are before us at its door.
        let comes = matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::WouldBlock);
        if !comes || Instant::now() + PAUSE >= until {
            let hint =
                "Is that party running on this machine, in this network namespace? Shared links lead to no other host.";
            return Err(fail(&error.to_string(), hint));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Passes memory for this connection, and greets through it.
async fn introduce(config: &Config, peer: PartyId, mailbox: Option<Mailbox>, socket: UnixStream) -> io::Result<Way> {
    let (memory, file) = Memory::create(WORDS)?;
    let memory = Arc::new(memory);
    socket.writable().await?;
    pass(&socket, &file)?;
    let mut stream: Box<dyn Stream> = Box::new(SharedStream::new(LocalStream::new(socket)?, sending_ends(&memory)));
    let hello = Hello { from: config.id, to: peer, purpose: Purpose::Begin, session: config.session };
    hello.greet(&mut stream).await?;
    let outbox = Outbox::offer(mailbox, &memory, &mut stream).await?;
    Ok((stream, outbox))
}

/// Sends a descriptor, with a byte that carries it.
fn pass(socket: &UnixStream, file: &OwnedFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    let sent = sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    if sent == 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// The descriptor that comes first on a connection.
async fn passed(socket: &UnixStream) -> io::Result<OwnedFd> {
    let receive = || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let came = recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut control, flags)?;
        let files = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let mut files: Vec<OwnedFd> = files.flatten().collect();
        match (came.bytes, files.pop()) {
            (1, Some(file)) => Ok(file),
            _ => Err(io::Error::other("it passes no memory")),
        }
    };
    socket.async_io(Interest::READABLE, receive).await
}

/// Accepts both peers. Whoever else comes is turned away, and told of if a peer is missing at last.
async fn accept(config: &Arc<Config>, listener: &UnixListener, until: Instant) -> Result<[Arrival; 2], NetError> {
    let (mut next, mut prev) = (None, None);
    let mut refused = String::new();
    let mut visitors = JoinSet::new();
    loop {
        (next, prev) = match (next, prev) {
            (Some(next), Some(prev)) => return Ok([next, prev]),
            other => other,
        };
        tokio::select! {
            visitor = listener.accept() => match visitor {
                Ok((socket, _)) => {
                    let config = config.clone();
                    visitors.spawn(async move {
                        let greeting = tokio::time::timeout(HANDSHAKE_WITHIN, hear(&config, socket)).await;
                        greeting.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it did not greet in time")))
                    });
                }
                // There may be no descriptor left: it is tried again.
                Err(_) => tokio::time::sleep(PAUSE).await,
            },
            Some(Ok(outcome)) = visitors.join_next() => match outcome {
                Ok((from, arrival)) if from == config.id.next() && next.is_none() => next = Some(arrival),
                Ok((from, arrival)) if from == config.id.prev() && prev.is_none() => prev = Some(arrival),
                Ok((from, _)) => refused = format!("; party {from} connected a second time"),
                Err(error) => refused = format!("; refused a connection: {error}"),
            },
            () = tokio::time::sleep_until(until.into()) => {
                let absent = [(config.id.next(), next.is_none()), (config.id.prev(), prev.is_none())];
                let absent: Vec<String> =
                    absent.iter().filter(|(_, absent)| *absent).map(|(peer, _)| format!("party {peer}")).collect();
                let detail = format!("{} did not connect within {:?}{refused}", absent.join(" and "), config.connect_within);
                let hint = "Are all three parties running on this machine?";
                return Err(setup(config.id, "accept the other parties", &detail, hint));
            }
        }
    }
}

/// Maps the memory that whoever has connected passes, and hears its greeting through it.
async fn hear(config: &Config, socket: UnixStream) -> io::Result<(PartyId, Arrival)> {
    local::of_this_account(&socket)?;
    let memory = Arc::new(Memory::open(&passed(&socket).await?, WORDS)?);
    let mut stream: Box<dyn Stream> = Box::new(SharedStream::new(LocalStream::new(socket)?, receiving_ends(&memory)));
    let expected = [config.id.next(), config.id.prev()].map(|from| Hello {
        from,
        to: config.id,
        purpose: Purpose::Begin,
        session: config.session,
    });
    let hello = Hello::hear(&mut stream, &expected).await?;
    hello.answer(&mut stream, Answer::Expects(0)).await?;
    let letterbox =
        Letterbox::hear(config.device, &config.session, [hello.from, config.id], &memory, &mut stream).await?;
    Ok((hello.from, (stream, letterbox)))
}

fn setup(party: PartyId, action: &str, detail: &str, hint: &str) -> NetError {
    NetError::Setup { party, action: action.into(), detail: detail.into(), hint: hint.into() }
}
