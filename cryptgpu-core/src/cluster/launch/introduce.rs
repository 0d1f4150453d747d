//! What makes three processes a session: certificates, a session number, and what each party gets to know.

use super::session::controller;
use crate::cluster::wire::configuration::Configuration;
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::message::{Bootstrap, ControlLink, VERSION};
use crate::net::{Fingerprint, Identity, PartyId};
use std::net::{Ipv4Addr, SocketAddr};

/// The controller's certificate, those of the parties, and their bootstraps.
pub(super) struct Introduction {
    pub(super) identity: Identity,
    pub(super) peers: [Fingerprint; 3],
    pub(super) bootstraps: [Bootstrap; 3],
}

/// Makes certificates and a session number for three parties of this machine, which are to speak by `control`.
pub(super) fn introduce(configuration: &Configuration, control: ControlLink) -> Result<Introduction, ClusterError> {
    let generate = || {
        Identity::generate()
            .map_err(|error| controller("make a certificate", &error, "Has the system no randomness to give?"))
    };
    let identity = generate()?;
    let identities = [generate()?, generate()?, generate()?];
    let mut session = [0u8; 16];
    getrandom::fill(&mut session)
        .map_err(|error| controller("draw a session number", &error, "Has the system no randomness to give?"))?;
    let peers = identities.each_ref().map(Identity::fingerprint);
    let bootstraps = PartyId::ALL.map(|id| Bootstrap {
        version: VERSION.to_owned(),
        id,
        identity: identities[id.index()].clone(),
        peers,
        controller: identity.fingerprint(),
        control,
        session,
        randomness: configuration.randomness,
        threads: configuration.threads,
        deadline: configuration.deadline,
        resume_within: configuration.resume_within(),
        connect_within: configuration.start_within,
        link: configuration.link,
        settings: configuration.settings,
        device: configuration.devices.0[id.index()],
        // Hosts have a party each.
        turn: if matches!(control, ControlLink::Connect { .. }) { id.index() as u32 } else { 0 },
        links: configuration.links,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, configuration.ports[id.index()])),
    });
    Ok(Introduction { identity, peers, bootstraps })
}
