//! Parties as processes of this machine: they connect to a port of the loopback interface, and show their certificates.

use super::introduce::{Introduction, introduce};
use super::process::{PartyProcess, describe};
use super::program::Program;
use super::session::{Elsewhere, Start, Started, controller};
use crate::cluster::wire::configuration::Configuration;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::frame;
use crate::cluster::wire::message::ControlLink;
use crate::net::tcp::Reception;
use crate::net::{Fingerprint, Identity, PartyId, tls};
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::server::TlsStream;

/// Starts three processes of `program`.
pub(super) fn start(
    configuration: &Configuration,
    program: &Program,
    runtime: &Runtime,
    start: &Start<'_>,
) -> Result<Started, ClusterError> {
    let listener = runtime
        .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .map_err(|error| controller("listen on 127.0.0.1", &error, "Is the loopback interface up?"))?;
    let address = listener
        .local_addr()
        .map_err(|error| controller("learn the address of the control port", &error, "Try again."))?;
    let control = ControlLink::Connect { address, controller_pid: std::process::id() };
    let Introduction { identity, peers, bootstraps } = introduce(configuration, control)?;
    let mut processes = Vec::with_capacity(3);
    for bootstrap in &bootstraps {
        processes.push(PartyProcess::start(program, bootstrap, start.mailbox.logs())?);
    }
    let streams = runtime.block_on(accept(&listener, &identity, peers, &mut processes, start))?;
    let outboxes = PartyId::ALL.into_iter().zip(streams).map(|(party, stream)| {
        let mailbox = start.mailbox.clone();
        frame::attach(runtime.handle(), stream, move |received| mailbox.deliver(party, received))
    });
    let outboxes = outboxes.collect();
    let advertised = Box::new(|listening: [std::net::SocketAddr; 3]| listening.map(|address| address.to_string()));
    Ok(Started { processes, elsewhere: Elsewhere::default(), outboxes, advertised, libraries: None })
}

/// Waits until all parties have connected and shown their certificates.
async fn accept(
    listener: &TcpListener,
    identity: &Identity,
    peers: [Fingerprint; 3],
    processes: &mut [PartyProcess],
    start: &Start<'_>,
) -> Result<[TlsStream<TcpStream>; 3], ClusterError> {
    let server = identity
        .server_config(&peers)
        .map_err(|error| controller("set up TLS", &error, "This is a mistake in the program: please report it."))?;
    let acceptor = tokio_rustls::TlsAcceptor::from(server);
    let identify = move |stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            stream.set_nodelay(true)?;
            let stream = acceptor.accept(stream).await?;
            let party = tls::party_of(stream.get_ref().1.peer_certificates(), &peers);
            party.map(|party| (party, stream)).ok_or_else(|| io::Error::other("unknown certificate"))
        }
    };
    let mut streams = [None, None, None];
    let mut reception = Reception::new(listener);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        streams = match streams {
            [Some(a), Some(b), Some(c)] => return Ok([a, b, c]),
            other => other,
        };
        tokio::select! {
            // Whoever fails the handshake is not one of ours.
            (_, outcome) = reception.next(identify.clone()) => if let Ok((party, stream)) = outcome {
                streams[party.index()] = Some(stream);
            },
            _ = tick.tick() => {
                start.check("connect to the controller")?;
                for (process, stream) in processes.iter_mut().zip(&streams) {
                    if stream.is_none() && let Some(status) = process.exited() {
                        process.ended_soon().await;
                        return Err(process.startup_error(format!("its process ended ({})", describe(status))));
                    }
                    if stream.is_none() && Instant::now() >= start.until {
                        return Err(process.startup_error("it did not connect to its controller in time".into()));
                    }
                }
            }
        }
    }
}
