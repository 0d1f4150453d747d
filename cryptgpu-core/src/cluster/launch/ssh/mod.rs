//! Parties as processes of three hosts, started by the user's own `ssh`: one connection to each host, over which the host
//! is looked at, what it lacks is copied, and the party speaks to its controller until it ends. When the connection
//! ends, for whatever reason, nothing is left running there.
//!
//! | file | what |
//! |---|---|
//! | `host.rs` | one host, from nothing to the moment at which its party reads its standard input |
//! | `script.rs` | the shell script that does the host's part of it |
//! | `shipment.rs` | what a host must have: program and libraries, by digest |
//! | `failure.rs` | what went wrong at a host, in words |

mod failure;
mod host;
mod script;
mod shipment;

use super::introduce::{Introduction, introduce};
use super::process::{PartyProcess, describe};
use super::program::Program;
use super::session::{Elsewhere, Start, Started, controller, stay_alive};
use crate::cluster::party::execute::heartbeat;
use crate::cluster::wire::configuration::Configuration;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::frame;
use crate::cluster::wire::hosts::{Host, Hosts};
use crate::cluster::wire::message::{Bootstrap, ControlLink};
use crate::cluster::wire::object::Library;
use crate::net::{Fingerprint, Identity, PartyId};
use failure::Place;
use host::{Prepared, prepare};
use shipment::Shipment;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt, BufReader, Join};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::runtime::Runtime;
use tokio_rustls::server::TlsStream;

/// Parties that all listen must reach each other within so long: a firewall between them shows no later.
const LINK_UP_WITHIN: Duration = Duration::from_secs(8);

/// The stream of a control link.
type Stream = TlsStream<Join<BufReader<ChildStdout>, ChildStdin>>;

/// Starts a process of `program` at each host.
pub(super) fn start(
    configuration: &Configuration,
    hosts: &Hosts,
    program: &Program,
    runtime: &Runtime,
    start: &Start<'_>,
) -> Result<Started, ClusterError> {
    let copies = hosts.each.iter().any(|host| host.program.is_none());
    let shipment = Shipment::of(program, copies)?;
    let Introduction { identity, peers, bootstraps } = introduce(configuration, ControlLink::Standard)?;
    let place = |party: PartyId| Place { party, host: hosts.each[party.index()].destination.clone() };
    let [p0, p1, p2] = PartyId::ALL;
    let prepared = runtime.block_on(start.wait_for("prepare the hosts", async {
        let (within, logs) = (configuration.start_within, start.mailbox.logs());
        let each = |party| prepare(place(party), hosts, &shipment, within, logs);
        tokio::try_join!(each(p0), each(p1), each(p2))
    }))?;
    let prepared = [prepared.0, prepared.1, prepared.2];
    let reached = prepared.each_ref().map(|prepared| prepared.reached);
    check_reached(hosts, reached)?;
    let mut ready = prepared.into_iter().zip(bootstraps).map(|(prepared, mut bootstrap)| {
        let (party, accepted) = (bootstrap.id, [peers[bootstrap.id.index()]]);
        adapt(&mut bootstrap, &hosts.each[party.index()], prepared.reached);
        (prepared, bootstrap, accepted)
    });
    let (Some(a), Some(b), Some(c)) = (ready.next(), ready.next(), ready.next()) else {
        return Err(controller("start parties", &"there are not three", "Please report it."));
    };
    let until = Instant::now() + configuration.start_within;
    let linked = runtime.block_on(start.wait_for("speak to the parties", async {
        tokio::try_join!(speak(&identity, a, until), speak(&identity, b, until), speak(&identity, c, until))
    }))?;
    let (mut processes, mut outboxes) = (Vec::with_capacity(3), Vec::with_capacity(3));
    for (party, (process, stream)) in PartyId::ALL.into_iter().zip([linked.0, linked.1, linked.2]) {
        let mailbox = start.mailbox.clone();
        let outbox = frame::attach(runtime.handle(), stream, move |received| mailbox.deliver(party, received));
        runtime.spawn(stay_alive(outbox.clone(), heartbeat(configuration.deadline)));
        processes.push(process);
        outboxes.push(outbox);
    }
    let each = hosts.each.clone();
    let advertised = move |listening: [SocketAddr; 3]| {
        PartyId::ALL.map(|party| {
            let at = party.index();
            each[at].advertised(reached[at], listening[at].port())
        })
    };
    let libraries = program.libraries.iter().map(Library::digest).collect();
    let (elsewhere, advertised) = (Elsewhere::default(), Box::new(advertised));
    Ok(Started { processes, elsewhere, outboxes, advertised, libraries: Some(libraries) })
}

/// Hosts that are reached over the loopback interface are reached by nobody else.
fn check_reached(hosts: &Hosts, reached: [Option<IpAddr>; 3]) -> Result<(), ClusterError> {
    let is_here = |party: &usize| reached[*party].is_some_and(|address| address.is_loopback());
    let here: Vec<usize> = (0..3).filter(is_here).collect();
    let unreachable = here.iter().find(|party| here.len() < 3 && hosts.each[**party].address.is_none());
    match unreachable {
        None => Ok(()),
        Some(party) => Err(ClusterError::argument(
            &format!("link party {party} on host `{}` with the others", hosts.each[*party].destination),
            &"its host is reached over the loopback interface, where the others cannot reach it: give its `address` in the \
              cluster file",
        )),
    }
}

/// What the host's description changes in a bootstrap.
fn adapt(bootstrap: &mut Bootstrap, host: &Host, reached: Option<IpAddr>) {
    let port = host.port.unwrap_or(bootstrap.listen.port());
    // Where the others come another way, the host decides by which address.
    let reached = reached.filter(|_| host.address.is_none());
    let address = host.listen.or(reached).unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    bootstrap.listen = SocketAddr::new(address, port);
    bootstrap.threads = host.threads.or(bootstrap.threads);
    bootstrap.device = host.device.unwrap_or(bootstrap.device);
    // What a party has to say about it comes before the controller gives up.
    bootstrap.connect_within = (bootstrap.connect_within * 3 / 4).min(LINK_UP_WITHIN);
}

/// Gives a party its bootstrap, and waits until it has shown its certificate.
async fn speak(
    identity: &Identity,
    (prepared, bootstrap, accepted): (Prepared, Bootstrap, [Fingerprint; 1]),
    until: Instant,
) -> Result<(PartyProcess, Stream), ClusterError> {
    let Prepared { place, mut process, mut input, output, .. } = prepared;
    let server = identity
        .server_config(&accepted)
        .map_err(|error| controller("set up TLS", &error, "This is a mistake in the program: please report it."))?;
    let bytes = bootstrap.encoded().map_err(|error| controller("encode a bootstrap", &error, "Please report it."))?;
    let handshake = async {
        input.write_all(&bytes).await?;
        input.flush().await?;
        tokio_rustls::TlsAcceptor::from(server).accept(tokio::io::join(output, input)).await
    };
    match tokio::time::timeout_at(until.into(), handshake).await {
        Ok(Ok(stream)) => Ok((process, stream)),
        Ok(Err(error)) => {
            let status = process.ended_soon().await.map_or_else(|| error.to_string(), describe);
            Err(place.no_party(&status, &process.log()))
        }
        Err(_) => Err(place.error("start the party", "it did not speak in time", "Is the host overloaded?")),
    }
}
