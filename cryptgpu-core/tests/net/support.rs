//! What tests of links share: three parties over every kind of link.

#![allow(clippy::unwrap_used)]

use cryptgpu_core::device::Device;
use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::{Identity, Network, Options, PartyId, SharedNetwork, TcpNetwork, memory, shared};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Three linked parties of one process.
pub type Trio = [Arc<dyn Network>; 3];

/// Links over byte streams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    Tls,
    /// The same where local sockets are not in use, as between hosts.
    TlsOverTcp,
    Plaintext,
    Shared,
}

/// Over every kind of link, with its name.
pub fn all_kinds(options: &Options) -> [(&'static str, Trio); 4] {
    let memory = memory::trio(options.clone()).map(|net| Arc::new(net) as Arc<dyn Network>);
    let [tls, tcp, shared] = [Way::Tls, Way::TlsOverTcp, Way::Shared].map(|way| link_up(way, &[options; 3]));
    [("memory", memory), ("TLS", tls), ("TLS over TCP", tcp), ("shared memory", shared)]
}

/// Three parties, linked up, each with its own options.
pub fn link_up(way: Way, options: &[&Options; 3]) -> Trio {
    let net = |net: Result<Arc<dyn Network>, _>| net.map_err(|error: cryptgpu_core::net::NetError| error.to_string());
    let join = |thread: std::thread::JoinHandle<_>| net(thread.join().unwrap()).unwrap();
    if way == Way::Shared {
        return shared_configs(options)
            .map(|config| std::thread::spawn(|| SharedNetwork::connect(config).map(|net| Arc::new(net) as _)))
            .map(join);
    }
    let mut configs = configs(options[0], way == Way::Plaintext);
    if way == Way::TlsOverTcp {
        over_tcp(&mut configs);
    }
    configs.iter_mut().zip(options).for_each(|(config, options)| config.options = (*options).clone());
    configs.map(|config| std::thread::spawn(|| TcpNetwork::connect(config).map(|net| Arc::new(net) as _))).map(join)
}

/// Settings for three parties that share memory, of a session that no other has.
pub fn shared_configs(options: &[&Options; 3]) -> [shared::Config; 3] {
    static SESSION: AtomicU64 = AtomicU64::new(0);
    let mut session = [0; 16];
    session[..8].copy_from_slice(&SESSION.fetch_add(1, Relaxed).to_le_bytes());
    session[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    PartyId::ALL.map(|id| shared::Config {
        id,
        session,
        device: Device::Cpu,
        connect_within: Duration::from_secs(10),
        options: options[id.index()].clone(),
    })
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

/// Has the parties listen on all of this machine's addresses, where local sockets are not in use.
pub fn over_tcp(configs: &mut [Config; 3]) {
    let listeners = PartyId::ALL.map(|id| tcp::listen(id, "0.0.0.0:0".parse().unwrap()).unwrap());
    let ports = listeners.each_ref().map(|listener| listener.local_addr().unwrap().port());
    for (config, listener) in configs.iter_mut().zip(listeners) {
        config.addresses = ports.map(|port| format!("127.0.0.1:{port}"));
        config.listener = listener;
    }
}
