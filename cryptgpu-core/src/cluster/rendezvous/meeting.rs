//! Rank 0 finds the other two. It does so once in its life, and holds a connection to each from then on: by the end of these
//! connections they learn that it has ended, however that came. Sessions are connections of their own.

use super::error::RendezvousError;
use super::folder::{Folder, Offer};
use super::task::Task;
use crate::cluster::wire::message::version;
use crate::cluster::wire::owners::{hear, say};
use crate::cluster::wire::rendezvous::{Greeting, Rendezvous, Reply, Request};
use crate::net::{Fingerprint, Identity, PartyId, tls};
use parking_lot::Mutex;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How often rank 0 says that it is there.
const PULSE: Duration = Duration::from_secs(2);

/// How long it waits before it looks into the folder again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long one of a task's addresses may take to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How long a task may take for its part of a talk.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long a task that serves another process is asked again.
const TURN_WITHIN: Duration = Duration::from_secs(3);

/// What rank 0 knows of a step: kept until this process ends, so that a search which was given up or came too early goes on
/// with the certificate and the tasks that it has.
struct Known {
    path: PathBuf,
    identity: Identity,
    found: Mutex<[Option<Other>; 2]>,
}

/// Rank 0 with the other two.
#[derive(Debug)]
pub(in crate::cluster) struct Meeting {
    identity: Identity,
    /// Which of its node's tasks rank 0 is.
    pub(in crate::cluster) local_id: u32,
    pub(in crate::cluster) others: [Other; 2],
}

/// Another task, as rank 0 knows it.
#[derive(Clone, Debug)]
pub(in crate::cluster) struct Other {
    pub(in crate::cluster) party: PartyId,
    pub(in crate::cluster) node: String,
    /// Where it was reached, and from which address of rank 0's node.
    pub(in crate::cluster) address: SocketAddr,
    pub(in crate::cluster) from: IpAddr,
    pub(in crate::cluster) local_id: u32,
    fingerprint: Fingerprint,
    gone: Arc<AtomicBool>,
}

impl Other {
    /// Whether its task has ended.
    pub(in crate::cluster) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }
}

/// The thread that says that rank 0 is there.
pub(in crate::cluster) fn runtime() -> Result<&'static Runtime, RendezvousError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let start = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let built = builder.worker_threads(1).thread_name("rendezvous").enable_all().build();
        built.map_err(|error| error.to_string())
    };
    RUNTIME.get_or_init(start).as_ref().map_err(|error| RendezvousError::process("start a thread", error))
}

/// As [`meet`], from outside of any runtime.
pub(super) fn meet_now(place: &Rendezvous) -> Result<Meeting, RendezvousError> {
    runtime()?.block_on(meet(place))
}

/// Finds the other two, or says who they are where they were found before. Within [`runtime`].
pub(in crate::cluster) async fn meet(place: &Rendezvous) -> Result<Meeting, RendezvousError> {
    let task = Task::of_environment()?;
    if task.party != PartyId::P0 {
        return Err(RendezvousError::Rank {
            rank: task.party.index(),
            step: task.step,
            detail: "rank 0 alone is the caller. Let the others run `cryptgpu party --rendezvous FOLDER`, or call \
                     `rendezvous::attend` first",
        });
    }
    let folder = Folder::open(&place.folder, &task)?;
    let known = known(&folder)?;
    let fingerprint = known.identity.fingerprint();
    if !matches!(&*known.found.lock(), [Some(_), Some(_)]) {
        folder.leave(PartyId::P0, &Offer::new(&task.node, vec![], fingerprint))?;
    }
    let until = Instant::now() + place.within;
    let seek = |party| Seek { party, folder: &folder, known: &known, local_id: task.local_id, until };
    let (one, two) = tokio::join!(seek(PartyId::P1).find(), seek(PartyId::P2).find());
    let others = both(one, two, &folder, place.within).inspect_err(|_| folder.remove(PartyId::P0, fingerprint))?;
    Ok(Meeting { identity: known.identity.clone(), local_id: task.local_id, others })
}

/// What is known of a step.
fn known(folder: &Folder) -> Result<Arc<Known>, RendezvousError> {
    static KNOWN: Mutex<Vec<Arc<Known>>> = Mutex::new(vec![]);
    let mut all = KNOWN.lock();
    if let Some(known) = all.iter().find(|known| known.path == folder.path) {
        return Ok(known.clone());
    }
    let identity = Identity::generate().map_err(|error| RendezvousError::process("make a certificate", &error))?;
    let known = Arc::new(Known { path: folder.path.clone(), identity, found: Mutex::default() });
    all.push(known.clone());
    Ok(known)
}

/// Both, or the one error that says what is wrong.
fn both(
    one: Result<Other, Missed>,
    two: Result<Other, Missed>,
    folder: &Folder,
    within: Duration,
) -> Result<[Other; 2], RendezvousError> {
    let (missing, detail) = match (one, two) {
        (Ok(one), Ok(two)) => return Ok([one, two]),
        (Err(Missed::For(error)), _) | (_, Err(Missed::For(error))) => return Err(error),
        (Err(Missed::Now(one)), Err(Missed::Now(two))) => (vec![PartyId::P1, PartyId::P2], one.or(two)),
        (Err(Missed::Now(detail)), Ok(_)) => (vec![PartyId::P1], detail),
        (Ok(_), Err(Missed::Now(detail))) => (vec![PartyId::P2], detail),
    };
    Err(RendezvousError::Absent { missing, path: folder.path.clone(), within, detail })
}

/// Why a task was not met.
enum Missed {
    /// It may come yet; what is known.
    Now(Option<String>),
    /// It will not.
    For(RendezvousError),
}

impl From<io::Error> for Missed {
    fn from(error: io::Error) -> Self {
        Missed::Now(Some(error.to_string()))
    }
}

/// The search for one of them.
struct Seek<'a> {
    party: PartyId,
    folder: &'a Folder,
    known: &'a Known,
    local_id: u32,
    until: Instant,
}

impl Seek<'_> {
    async fn find(self) -> Result<Other, Missed> {
        let place = self.party.index() - 1;
        if let Some(other) = self.known.found.lock()[place].clone() {
            return Ok(other);
        }
        let (mut known, mut refused): (Option<String>, Option<Instant>) = (None, None);
        loop {
            match self.folder.find(self.party) {
                Ok(offer) => match self.visit(&offer).await {
                    Ok(other) => {
                        self.known.found.lock()[place] = Some(other.clone());
                        return Ok(other);
                    }
                    Err(Missed::For(error @ RendezvousError::Refused { .. })) => {
                        let since = *refused.get_or_insert_with(Instant::now);
                        if since.elapsed() >= TURN_WITHIN {
                            return Err(Missed::For(error));
                        }
                        known = Some(error.to_string());
                    }
                    Err(Missed::For(error)) => return Err(Missed::For(error)),
                    Err(Missed::Now(detail)) => {
                        let at = |detail| format!("its file, from {}: {detail}", offer.node);
                        known = detail.map(at).or(known);
                    }
                },
                // Not yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => known = Some(format!("its file cannot be read: {error}")),
            }
            if Instant::now() >= self.until {
                return Err(Missed::Now(known));
            }
            sleep(PAUSE).await;
        }
    }

    /// Goes to one who may be there, and stays connected.
    async fn visit(&self, offer: &Offer) -> Result<Other, Missed> {
        let fingerprint = offer.fingerprint()?;
        let mut known = Missed::Now(None);
        for &address in &offer.addresses {
            let dial = Dial { party: self.party, address, fingerprint, local_id: self.local_id };
            match dial.ask(&self.known.identity, &Request::Attend).await {
                Ok((stream, greeting, _)) => {
                    let from = stream.get_ref().0.local_addr()?.ip();
                    let other = Other {
                        party: self.party,
                        node: offer.node.clone(),
                        address,
                        from,
                        local_id: greeting.local_id,
                        fingerprint,
                        gone: Arc::default(),
                    };
                    tokio::spawn(attend(stream, other.gone.clone()));
                    return Ok(other);
                }
                Err(Missed::For(error)) => return Err(Missed::For(error)),
                Err(Missed::Now(detail)) => known = Missed::Now(detail.map(|detail| format!("{address}: {detail}"))),
            }
        }
        Err(known)
    }
}

/// Says that rank 0 is there, and hears when the other is not.
async fn attend(stream: TlsStream<TcpStream>, gone: Arc<AtomicBool>) {
    let (mut from, mut to) = tokio::io::split(stream);
    let pulse = async {
        while to.write_all(&[0]).await.is_ok() && to.flush().await.is_ok() {
            sleep(PULSE).await;
        }
    };
    let mut bytes = [0u8; 16];
    let hear = async { while from.read(&mut bytes).await.is_ok_and(|read| read > 0) {} };
    tokio::select! { () = pulse => {}, () = hear => {} }
    gone.store(true, Relaxed);
}

/// The way to a task.
struct Dial {
    party: PartyId,
    address: SocketAddr,
    fingerprint: Fingerprint,
    local_id: u32,
}

impl Dial {
    /// Connects, and asks for something that is granted.
    async fn ask(
        &self,
        identity: &Identity,
        request: &Request,
    ) -> Result<(TlsStream<TcpStream>, Greeting, Reply), Missed> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
        let stream = timeout(CONNECT_WITHIN, TcpStream::connect(self.address)).await.map_err(late)??;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(identity.client_config(self.fingerprint).map_err(io::Error::other)?);
        let rank = self.party.index();
        let talk = async {
            let mut stream = connector.connect(tls::server_name(), stream).await?;
            say(&mut stream, &Greeting { version: version().to_owned(), local_id: self.local_id }).await?;
            let greeting: Greeting = hear(&mut stream).await?;
            if greeting.version != version() {
                return Err(Missed::For(RendezvousError::Version { rank, theirs: greeting.version }));
            }
            say(&mut stream, request).await?;
            match hear(&mut stream).await? {
                Reply::Refused(detail) => Err(Missed::For(RendezvousError::Refused { rank, detail })),
                reply => Ok((stream, greeting, reply)),
            }
        };
        timeout(ANSWER_WITHIN, talk).await.map_err(late)?
    }
}

impl Meeting {
    /// Begins a session at a task: the connection over which its process gets its bootstrap, and that process's number.
    pub(in crate::cluster) async fn begin(
        &self,
        other: &Other,
        request: &Request,
    ) -> Result<(TlsStream<TcpStream>, u32), String> {
        let Other { party, address, fingerprint, .. } = *other;
        let dial = Dial { party, address, fingerprint, local_id: self.local_id };
        match dial.ask(&self.identity, request).await {
            Ok((stream, _, Reply::Started { pid })) => Ok((stream, pid)),
            Ok(_) => Err("it did not start a process".to_owned()),
            Err(Missed::For(error)) => Err(error.to_string()),
            Err(Missed::Now(detail)) => Err(detail.unwrap_or_default()),
        }
    }
}
