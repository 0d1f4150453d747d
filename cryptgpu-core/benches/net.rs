//! One round of three parties (each sends to both others, then receives from both) over memory,
//! TCP and TCP with TLS 1.3, all in one process. The ratio of two rows of one run is what counts.
//!
//! `cargo bench -p cryptgpu-core --bench net`

#![allow(clippy::unwrap_used, clippy::expect_used)]

use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::{GaveUp, Identity, Link, Network, Options, PartyId, Tag, TcpNetwork, memory};
use divan::Bencher;
use divan::counter::BytesCount;
use std::thread::JoinHandle;
use std::time::Duration;

fn main() {
    divan::main();
}

const TAG: Tag = Tag { position: 0, kind: 0 };

#[derive(Clone, Copy, Debug)]
enum Kind {
    Memory,
    MemoryLan,
    TcpPlaintext,
    TcpTls,
}

const KINDS: [Kind; 4] = [Kind::Memory, Kind::MemoryLan, Kind::TcpPlaintext, Kind::TcpTls];

fn parties(kind: Kind) -> Vec<Box<dyn Network>> {
    let options = Options { deadline: Duration::from_secs(60), ..Options::default() };
    let tcp = |plaintext| tcp_trio(&options, plaintext).map(|net| Box::new(net) as Box<dyn Network>).into();
    let memory = |link| memory::trio(Options { link, ..options.clone() }).map(|net| Box::new(net) as _).into();
    match kind {
        Kind::Memory => memory(Link::None),
        Kind::MemoryLan => memory(Link::Lan),
        Kind::TcpPlaintext => tcp(true),
        Kind::TcpTls => tcp(false),
    }
}

fn tcp_trio(options: &Options, plaintext: bool) -> [TcpNetwork; 3] {
    let identities = PartyId::ALL.map(|_| Identity::generate().expect("randomness"));
    let peers = identities.each_ref().map(Identity::fingerprint);
    let listeners = PartyId::ALL.map(|id| tcp::listen(id, ([127, 0, 0, 1], 0).into()).expect("a free port"));
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().expect("an address").to_string());
    let mut listeners = listeners.map(Some);
    let configs = PartyId::ALL.map(|id| Config {
        id,
        listener: listeners[id.index()].take().expect("one each"),
        addresses: addresses.clone(),
        security: match plaintext {
            true => Security::InsecurePlaintext,
            false => Security::Tls { identity: identities[id.index()].clone(), peers },
        },
        session: [0; 16],
        connect_within: Duration::from_secs(10),
        options: options.clone(),
    });
    let threads = configs.map(|config| std::thread::spawn(|| TcpNetwork::connect(config).expect("links")));
    threads.map(|thread| thread.join().expect("no panic"))
}

/// One round at one party; false when the links have ended.
fn round(net: &dyn Network, words: usize) -> bool {
    let peers = [net.id().next(), net.id().prev()];
    peers.iter().all(|&peer| net.send(peer, TAG, vec![1; words]).is_ok())
        && peers.iter().all(|&peer| net.recv(peer, TAG, words).is_ok())
}

fn bench_rounds(bencher: Bencher, kind: Kind, words: usize) {
    let mut parties = parties(kind);
    let first = parties.remove(0);
    let others: Vec<JoinHandle<()>> =
        parties.into_iter().map(|net| std::thread::spawn(move || while round(net.as_ref(), words) {})).collect();
    bencher.counter(BytesCount::new(6 * 8 * words)).bench_local(|| assert!(round(first.as_ref(), words)));
    first.abort(GaveUp::Ended);
    others.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

#[divan::bench(args = KINDS, max_time = 0.5)]
fn round_of_1_kib(bencher: Bencher, kind: Kind) {
    bench_rounds(bencher, kind, 1 << 7);
}

#[divan::bench(args = KINDS, max_time = 1.0, sample_count = 10)]
fn round_of_8_mib(bencher: Bencher, kind: Kind) {
    bench_rounds(bencher, kind, 1 << 20);
}

/// A message that is there when it is asked for: what sending and receiving cost by themselves, accounts included.
#[divan::bench(sample_count = 200, sample_size = 1000)]
fn message_in_memory(bencher: Bencher) {
    let [p0, p1, _p2] = memory::trio(Options::default());
    bencher.bench_local(|| {
        p0.send(p1.id(), TAG, Vec::new()).expect("a link");
        p1.recv(p0.id(), TAG, 0).expect("a message")
    });
}

/// A step within another, entered and left.
#[divan::bench(sample_count = 200, sample_size = 1000)]
fn step(bencher: Bencher) {
    let [p0, ..] = memory::trio(Options::default());
    bencher.bench_local(|| {
        p0.endpoint().set_step("conv1/truncation");
        p0.endpoint().set_step("conv1");
    });
}
