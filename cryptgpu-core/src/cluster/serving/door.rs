//! Where clients connect to a party: who they are is shown by TLS, and what each says is listened to on a task of its own, with
//! a deadline for everything. A client that sends what does not belong here, stops half-way or goes away loses its own
//! connection and place, and nothing else.

use super::message::{self, Answer, MOST_BYTES, Offer, RequestId, Say, VERSION};
use super::queue::{Outcome, Queue};
use crate::cluster::marshal::words::Words;
use crate::net::tcp::Reception;
use crate::net::{Fingerprint, Identity, tls};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a message that has to come or go may take.
const MESSAGE_WITHIN: Duration = Duration::from_secs(30);
/// How long a connection may be silent between two requests.
const IDLE: Duration = Duration::from_secs(300);
/// Connections of one client.
const CONNECTIONS: usize = 16;
/// How long answers that are under way may take when the service ends.
const END_WITHIN: Duration = Duration::from_millis(300);

/// A party's door, open as long as this is there.
pub(in crate::cluster) struct Door {
    runtime: Runtime,
    queue: Arc<Queue>,
    address: SocketAddr,
}

impl Door {
    /// Listens there for these clients.
    pub(in crate::cluster) fn open(
        listen: SocketAddr,
        identity: &Identity,
        clients: &[Fingerprint],
        offer: Offer,
        queue: Arc<Queue>,
    ) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("clients")
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start the thread for clients: {error}"))?;
        let cannot = |error: io::Error| format!("cannot listen for clients on {listen}: {error}");
        let listener = runtime.block_on(TcpListener::bind(listen)).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let server = identity.server_config(clients).map_err(|error| error.to_string())?;
        let (connections, offer) = (Arc::<Connections>::default(), Arc::new(offer));
        let door = Door { runtime, queue: queue.clone(), address };
        door.runtime.spawn(async move {
            let acceptor = TlsAcceptor::from(server);
            let mut reception = Reception::new(&listener);
            loop {
                let acceptor = acceptor.clone();
                let (_, visited) = reception.next(move |stream| identify(acceptor.clone(), stream)).await;
                // Whoever fails the handshake is no client.
                let Ok((client, stream)) = visited else { continue };
                if let Some(counted) = Counted::new(&connections, client) {
                    tokio::spawn(listen_to(stream, offer.clone(), queue.clone(), counted));
                }
            }
        });
        Ok(door)
    }

    /// Where it is.
    pub(in crate::cluster) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells all clients that wait that the service ends, and closes.
    pub(in crate::cluster) fn close(self) {
        self.queue.end();
        // Answers have to leave before this process may end.
        self.runtime.block_on(async { tokio::time::sleep(END_WITHIN).await });
        self.runtime.shutdown_background();
    }
}

/// How many connections each client has.
type Connections = Mutex<HashMap<Fingerprint, usize>>;

/// One connection among those of its client.
struct Counted {
    connections: Arc<Connections>,
    client: Fingerprint,
}

impl Counted {
    fn new(connections: &Arc<Connections>, client: Fingerprint) -> Option<Self> {
        let mut counts = connections.lock();
        let count = counts.entry(client).or_default();
        if *count >= CONNECTIONS {
            return None;
        }
        *count += 1;
        Some(Counted { connections: connections.clone(), client })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.connections.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
        }
    }
}

async fn identify(acceptor: TlsAcceptor, stream: TcpStream) -> io::Result<(Fingerprint, TlsStream<TcpStream>)> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let shown = tls::shown_by(stream.get_ref().1.peer_certificates());
    Ok((shown.ok_or_else(|| io::Error::other("no certificate"))?, stream))
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// Listens to a client until it goes or says what does not belong here.
async fn listen_to(mut stream: TlsStream<TcpStream>, offer: Arc<Offer>, queue: Arc<Queue>, _counted: Counted) {
    let Err(error) = converse(&mut stream, &offer, &queue).await else { return };
    if error.kind() == io::ErrorKind::InvalidData {
        let refused = Answer::Refused { detail: error.to_string() };
        // It may be gone.
        let _ = timeout(MESSAGE_WITHIN, message::write(&mut stream, &refused)).await;
    }
}

async fn converse(stream: &mut TlsStream<TcpStream>, offer: &Offer, queue: &Arc<Queue>) -> io::Result<()> {
    let unexpected = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what.to_owned()));
    let hello = timeout(MESSAGE_WITHIN, message::read(stream, MOST_BYTES)).await;
    match hello.map_err(|_| late("no hello"))?? {
        Say::Hello { version } if version == VERSION => tell(stream, &Answer::Welcome(offer.clone())).await?,
        Say::Hello { version } => {
            return unexpected(&format!(
                "the client speaks `{version}`, this party `{VERSION}`: use programs of one version"
            ));
        }
        _ => return unexpected("a hello comes first"),
    }
    loop {
        let said = timeout(IDLE, message::read(stream, MOST_BYTES)).await;
        match said.map_err(|_| late("silence"))?? {
            Say::Ask { id, images } if (1..=offer.most_images).contains(&images) => {
                answer(stream, offer, queue, id, images).await?;
            }
            Say::Ask { images, .. } => {
                return unexpected(&format!("a request for {images} images, where 1 to {} belong", offer.most_images));
            }
            // Of a request that there was no room for here.
            Say::Withdraw { .. } => {}
            Say::Hello { .. } | Say::Shares { .. } => return unexpected("a request begins with a question for room"),
        }
    }
}

async fn tell(stream: &mut TlsStream<TcpStream>, answer: &Answer) -> io::Result<()> {
    timeout(MESSAGE_WITHIN, message::write(stream, answer)).await.map_err(|_| late("the client takes no answer"))?
}

/// One request, from the question for room to the answer.
async fn answer(
    stream: &mut TlsStream<TcpStream>,
    offer: &Offer,
    queue: &Arc<Queue>,
    id: RequestId,
    images: u32,
) -> io::Result<()> {
    let Some(place) = queue.reserve(id, images) else { return tell(stream, &Answer::Busy { id }).await };
    tell(stream, &Answer::Go { id }).await?;
    let words = offer.input_words(images as usize);
    let shares = timeout(MESSAGE_WITHIN, message::read(stream, Offer::bytes(2 * words))).await;
    let components = match shares.map_err(|_| late("no shares"))?? {
        Say::Shares { id: of, components } if of == id && components.iter().all(|part| part.0.len() == words) => {
            components
        }
        Say::Withdraw { id: of } if of == id => return Ok(()),
        _ => {
            let detail = format!("shares of {images} images, of {words} words each, belong here");
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
    };
    let heard = place.deliver(components.map(|part| part.0));
    // Whoever drops a request without an answer has ended.
    let answer = match heard.await.unwrap_or(Outcome::Ended) {
        Outcome::Scores(components) => Answer::Scores { id, components: components.map(Words) },
        Outcome::Missing(parties) => Answer::Missing { id, parties },
        Outcome::Inconsistent => Answer::Inconsistent { id },
        Outcome::LeftRange => Answer::LeftRange { id },
        Outcome::Ended => Answer::Ended,
    };
    tell(stream, &answer).await
}
