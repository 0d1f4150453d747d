//! Parties that are the tasks of a job: the party of this process, which is rank 0, is a process beside it; at the other two a
//! session is begun, each of which starts a process of its own and passes bytes on.

use super::introduce::{Introduction, introduce};
use super::process::{PartyProcess, describe};
use super::program::Program;
use super::session::{Elsewhere, Start, Started, controller, stay_alive};
use crate::cluster::party::execute::heartbeat;
use crate::cluster::rendezvous::meeting::{self, Meeting, Other};
use crate::cluster::wire::configuration::Configuration;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::frame;
use crate::cluster::wire::message::{Bootstrap, ControlLink};
use crate::cluster::wire::object::Library;
use crate::cluster::wire::rendezvous::{Rendezvous, Request};
use crate::net::{Fingerprint, Identity, PartyId};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Join};
use tokio::net::TcpStream;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::runtime::Runtime;
use tokio_rustls::{TlsAcceptor, client, server};

/// Parties that all listen must reach each other within so long: a firewall between them shows no later.
const LINK_UP_WITHIN: Duration = Duration::from_secs(8);

/// The control link of this process's own party, and of one at another task.
type Beside = server::TlsStream<Join<ChildStdout, ChildStdin>>;
type Away = server::TlsStream<client::TlsStream<TcpStream>>;

/// Begins a session at the three tasks of a step, of which this is rank 0.
pub(super) fn start(
    configuration: &Configuration,
    place: &Rendezvous,
    program: &Program,
    runtime: &Runtime,
    start: &Start<'_>,
) -> Result<Started, ClusterError> {
    let met = async { meeting::meet(place).await.map_err(ClusterError::from) };
    let meeting = meeting::runtime()?.block_on(start.wait_for("meet the other tasks", met))?;
    let Introduction { identity, peers, mut bootstraps } = introduce(configuration, ControlLink::Standard)?;
    let hosts = hosts(&meeting);
    adapt(&mut bootstraps, &meeting, &hosts);
    let request = Request::Session { arguments: program.library_arguments().collect() };
    let until = Instant::now() + configuration.start_within;
    let accept = |party: PartyId| Accept { identity: &identity, accepted: peers[party.index()], until };
    let [one, two] = &meeting.others;
    let begin = async {
        let ours =
            here(PartyProcess::spawn(PartyId::P0, program, start.mailbox.logs())?, &bootstraps[0], accept(PartyId::P0));
        let one = at_task(&meeting, one, &request, &bootstraps[1], accept(PartyId::P1));
        let two = at_task(&meeting, two, &request, &bootstraps[2], accept(PartyId::P2));
        tokio::try_join!(ours, one, two)
    };
    let ((process, ours), (one, pid_1), (two, pid_2)) = runtime.block_on(start.wait_for("begin sessions", begin))?;
    let outboxes = vec![
        attach(PartyId::P0, ours, configuration, runtime, start),
        attach(PartyId::P1, one, configuration, runtime, start),
        attach(PartyId::P2, two, configuration, runtime, start),
    ];
    let advertised = move |listening: [SocketAddr; 3]| {
        PartyId::ALL.map(|party| SocketAddr::new(hosts[party.index()], listening[party.index()].port()).to_string())
    };
    Ok(Started {
        processes: vec![process],
        elsewhere: Elsewhere { pids: vec![pid_1, pid_2], ended: "its task's output on its node says why" },
        outboxes,
        advertised: Box::new(advertised),
        libraries: Some(program.libraries.iter().map(Library::digest).collect()),
    })
}

fn attach<S>(
    party: PartyId,
    stream: S,
    configuration: &Configuration,
    runtime: &Runtime,
    start: &Start<'_>,
) -> frame::Outbox
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mailbox = start.mailbox.clone();
    let outbox = frame::attach(runtime.handle(), stream, move |received| mailbox.deliver(party, received));
    runtime.spawn(stay_alive(outbox.clone(), heartbeat(configuration.deadline)));
    outbox
}

/// The addresses at which the parties' nodes are reached: where rank 0 has reached the others, and from where.
fn hosts(meeting: &Meeting) -> [IpAddr; 3] {
    let [one, two] = &meeting.others;
    [one.from, one.address.ip(), two.address.ip()]
}

/// What the nodes change in bootstraps.
fn adapt(bootstraps: &mut [Bootstrap; 3], meeting: &Meeting, hosts: &[IpAddr; 3]) {
    let [one, two] = &meeting.others;
    let turns = [meeting.local_id, one.local_id, two.local_id];
    for (at, bootstrap) in bootstraps.iter_mut().enumerate() {
        // Where rank 0 has reached the others from two addresses, its party listens on all.
        let host = if at == 0 && one.from != two.from { Ipv6Addr::UNSPECIFIED.into() } else { hosts[at] };
        bootstrap.listen = SocketAddr::new(host, bootstrap.listen.port());
        bootstrap.turn = turns[at];
        // What a party has to say about it comes before the controller gives up.
        bootstrap.connect_within = (bootstrap.connect_within * 3 / 4).min(LINK_UP_WITHIN);
    }
}

/// How a party is let in: by its certificate, in time.
struct Accept<'a> {
    identity: &'a Identity,
    accepted: Fingerprint,
    until: Instant,
}

impl Accept<'_> {
    /// Sends a party its bootstrap and waits until it has shown its certificate.
    async fn speak<S>(&self, mut stream: S, bootstrap: &Bootstrap) -> io::Result<server::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.identity.server_config(&[self.accepted]).map_err(io::Error::other)?);
        let bytes = bootstrap.encoded()?;
        let handshake = async {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            acceptor.accept(stream).await
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it did not speak in time");
        tokio::time::timeout_at(self.until.into(), handshake).await.map_err(late)?
    }
}

/// The party beside this process.
async fn here(
    (mut process, input, output): (PartyProcess, std::process::ChildStdin, std::process::ChildStdout),
    bootstrap: &Bootstrap,
    accept: Accept<'_>,
) -> Result<(PartyProcess, Beside), ClusterError> {
    process.speaks_by_output();
    let streams =
        ChildStdin::from_std(input).and_then(|input| Ok(tokio::io::join(ChildStdout::from_std(output)?, input)));
    let streams =
        streams.map_err(|error| controller("speak to a party", &error, "Is the limit on open files reached?"))?;
    match accept.speak(streams, bootstrap).await {
        Ok(stream) => Ok((process, stream)),
        Err(error) => {
            let status = process.ended_soon().await.map_or_else(|| error.to_string(), describe);
            Err(process.startup_error(format!("its process ended ({status})")))
        }
    }
}

/// The party at another task.
async fn at_task(
    meeting: &Meeting,
    other: &Other,
    request: &Request,
    bootstrap: &Bootstrap,
    accept: Accept<'_>,
) -> Result<(Away, u32), ClusterError> {
    let fail = |action: &str, detail: String, hint: &str| ClusterError::Host {
        party: other.party,
        host: other.node.clone(),
        action: action.to_owned(),
        detail,
        hint: hint.to_owned(),
    };
    if other.is_gone() {
        return Err(fail(
            "begin a session",
            "its task has ended".into(),
            "What it printed says why. Start the step again",
        ));
    }
    let begun = meeting.begin(other, request).await;
    let (stream, pid) = begun.map_err(|detail| fail("begin a session", detail, "Has its task ended?"))?;
    let hint = "What its task has printed says why";
    let spoken = accept.speak(stream, bootstrap).await;
    spoken.map(|stream| (stream, pid)).map_err(|error| fail("start its process", error.to_string(), hint))
}
