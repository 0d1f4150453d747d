//! What tests of links share: three parties over memory or over TCP with TLS.

use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::{Identity, Network, Options, PartyId, TcpNetwork, memory};
use std::sync::Arc;

/// Three linked parties of one process.
pub type Trio = [Arc<dyn Network>; 3];

/// Over every kind of link, with its name.
pub fn all_kinds(options: &Options) -> [(&'static str, Trio); 2] {
    let memory = memory::trio(options.clone()).map(|net| Arc::new(net) as Arc<dyn Network>);
    let tcp = tcp_trio(options).map(|net| Arc::new(net) as Arc<dyn Network>);
    [("memory", memory), ("TCP with TLS", tcp)]
}

fn tcp_trio(options: &Options) -> [TcpNetwork; 3] {
    let identities = PartyId::ALL.map(|_| Identity::generate().unwrap());
    let peers = identities.each_ref().map(Identity::fingerprint);
    let listeners = PartyId::ALL.map(|id| tcp::listen(id, "127.0.0.1:0".parse().unwrap()).unwrap());
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let mut listeners = listeners.map(Some);
    let configs = PartyId::ALL.map(|id| Config {
        id,
        listener: listeners[id.index()].take().unwrap(),
        addresses,
        security: Security::Tls { identity: identities[id.index()].clone(), peers },
        session: [7; 16],
        connect_within: options.deadline.max(std::time::Duration::from_secs(5)),
        options: options.clone(),
    });
    let threads = configs.map(|config| std::thread::spawn(|| TcpNetwork::connect(config).unwrap()));
    threads.map(|thread| thread.join().unwrap())
}
