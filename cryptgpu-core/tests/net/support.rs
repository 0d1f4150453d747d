//! What tests of links share: three parties over memory or over TCP with TLS.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::{Identity, Network, Options, PartyId, TcpNetwork, memory};
use std::sync::Arc;
use std::time::Duration;

/// Three linked parties of one process.
pub type Trio = [Arc<dyn Network>; 3];

/// Over every kind of link, with its name.
pub fn all_kinds(options: &Options) -> [(&'static str, Trio); 2] {
    let memory = memory::trio(options.clone()).map(|net| Arc::new(net) as Arc<dyn Network>);
    let tcp = tcp_trio(options).map(|net| Arc::new(net) as Arc<dyn Network>);
    [("memory", memory), ("TCP with TLS", tcp)]
}

fn tcp_trio(options: &Options) -> [TcpNetwork; 3] {
    let threads = configs(options, false).map(|config| std::thread::spawn(|| TcpNetwork::connect(config).unwrap()));
    threads.map(|thread| thread.join().unwrap())
}

/// Settings for three parties on this machine, to be changed before they link up.
pub fn configs(options: &Options, plaintext: bool) -> [Config; 3] {
    let identities = PartyId::ALL.map(|_| Identity::generate().unwrap());
    let peers = identities.each_ref().map(Identity::fingerprint);
    let listeners = PartyId::ALL.map(|id| tcp::listen(id, "127.0.0.1:0".parse().unwrap()).unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
    let mut listeners = listeners.map(Some);
    PartyId::ALL.map(|id| Config {
        id,
        listener: listeners[id.index()].take().unwrap(),
        addresses: addresses.clone(),
        security: match plaintext {
            true => Security::InsecurePlaintext,
            false => Security::Tls { identity: identities[id.index()].clone(), peers },
        },
        session: [7; 16],
        connect_within: options.deadline.max(Duration::from_secs(5)),
        options: options.clone(),
    })
}
