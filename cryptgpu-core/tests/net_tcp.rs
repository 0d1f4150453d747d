//! Links over TCP: order, counts, deadlines, faults, certificates.

use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::{Identity, Link, NetError, Network, Options, PartyId, Tag, TcpNetwork};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const TAG: Tag = Tag { position: 3, kind: 9 };

fn quick() -> Options {
    Options { deadline: Duration::from_secs(2), ..Options::default() }
}

/// Settings for three parties on this machine, to be changed before they link up.
fn configs(options: &Options, plaintext: bool) -> [Config; 3] {
    let identities = PartyId::ALL.map(|_| Identity::generate().unwrap());
    let peers = identities.each_ref().map(Identity::fingerprint);
    let listeners = PartyId::ALL.map(|id| tcp::listen(id, "127.0.0.1:0".parse().unwrap()).unwrap());
    let addresses: [SocketAddr; 3] = listeners.each_ref().map(|listener| listener.local_addr().unwrap());
    let mut listeners = listeners.map(Some);
    PartyId::ALL.map(|id| Config {
        id,
        listener: listeners[id.index()].take().unwrap(),
        addresses,
        security: match plaintext {
            true => Security::InsecurePlaintext,
            false => Security::Tls { identity: identities[id.index()].clone(), peers },
        },
        session: [7; 16],
        connect_within: Duration::from_secs(5),
        options: options.clone(),
    })
}

fn link_up(configs: [Config; 3]) -> [Result<TcpNetwork, NetError>; 3] {
    configs.map(|config| std::thread::spawn(|| TcpNetwork::connect(config))).map(|thread| thread.join().unwrap())
}

fn trio(options: &Options) -> [TcpNetwork; 3] {
    link_up(configs(options, false)).map(Result::unwrap)
}

#[test]
fn messages_of_all_sizes_arrive_in_order_with_and_without_tls() {
    for plaintext in [false, true] {
        let [p0, p1, p2] = link_up(configs(&quick(), plaintext)).map(Result::unwrap);
        let sizes = [0usize, 1, 5, 2043, 2044, 4096, 4097, 100_000, 3, 1_000_000, 1];
        for &len in &sizes {
            p0.send(p1.id(), TAG, (0..len as u64).collect()).unwrap();
            p0.send(p2.id(), TAG, vec![len as u64; len]).unwrap();
        }
        for &len in &sizes {
            assert_eq!(p1.recv(p0.id(), TAG, len).unwrap(), (0..len as u64).collect::<Vec<_>>());
            assert_eq!(p2.recv(p0.id(), TAG, len).unwrap(), vec![len as u64; len]);
        }
        let words: usize = sizes.iter().sum();
        assert_eq!(p0.stats().to(p1.id()).payload_bytes, 8 * words as u64);
        assert_eq!(p0.stats().to(p1.id()).messages, sizes.len() as u64);
        assert_eq!((p0.stats().rounds, p1.stats().rounds), (0, 1));
    }
}
