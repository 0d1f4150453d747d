//! One round of three parties (each sends to both others, then receives from both) over memory, shared memory,
//! local sockets and TCP, each plain and with TLS 1.3, all in one process. The ratio of two rows of one run is what counts.
//!
//! `cargo bench -p cryptgpu-core --bench net`; `… --bench net -- --processor-time` for the processor time of a round by kind
//! of link, in turn, beside a plain copy.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use cryptgpu_core::device::Device;
use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::{
    GaveUp, Identity, Link, Network, Options, PartyId, SharedNetwork, Tag, TcpNetwork, memory, shared,
};
use divan::Bencher;
use divan::counter::BytesCount;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn main() {
    match std::env::args().any(|argument| argument == "--processor-time") {
        true => processor_time(),
        false => divan::main(),
    }
}

const TAG: Tag = Tag { position: 0, kind: 0 };

#[derive(Clone, Copy, Debug)]
enum Kind {
    Memory,
    MemoryLan,
    Shared,
    Plaintext,
    PlaintextOverTcp,
    Tls,
    TlsOverTcp,
}

const KINDS: [Kind; 7] =
    [Kind::Memory, Kind::MemoryLan, Kind::Shared, Kind::Plaintext, Kind::PlaintextOverTcp, Kind::Tls, Kind::TlsOverTcp];

fn parties(kind: Kind) -> Vec<Box<dyn Network>> {
    let options = Options { deadline: Duration::from_secs(60), ..Options::default() };
    let tcp = |host, plaintext| tcp_trio(host, &options, plaintext).map(|net| Box::new(net) as Box<dyn Network>).into();
    let memory = |link| memory::trio(Options { link, ..options.clone() }).map(|net| Box::new(net) as _).into();
    match kind {
        Kind::Memory => memory(Link::None),
        Kind::MemoryLan => memory(Link::Lan),
        Kind::Shared => shared_trio(&options).map(|net| Box::new(net) as _).into(),
        Kind::Plaintext => tcp(Ipv4Addr::LOCALHOST, true),
        Kind::PlaintextOverTcp => tcp(Ipv4Addr::UNSPECIFIED, true),
        Kind::Tls => tcp(Ipv4Addr::LOCALHOST, false),
        Kind::TlsOverTcp => tcp(Ipv4Addr::UNSPECIFIED, false),
    }
}

/// Parties that listen on `host`: on all addresses of this machine, local sockets are not in use.
fn tcp_trio(host: Ipv4Addr, options: &Options, plaintext: bool) -> [TcpNetwork; 3] {
    let identities = PartyId::ALL.map(|_| Identity::generate().expect("randomness"));
    let peers = identities.each_ref().map(Identity::fingerprint);
    let listeners = PartyId::ALL.map(|id| tcp::listen(id, (host, 0).into()).expect("a free port"));
    let ports = listeners.each_ref().map(|listener| listener.local_addr().expect("an address").port());
    let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
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

fn shared_trio(options: &Options) -> [SharedNetwork; 3] {
    static SESSION: AtomicU64 = AtomicU64::new(0);
    let mut session = [0; 16];
    session[..8].copy_from_slice(&SESSION.fetch_add(1, Relaxed).to_le_bytes());
    session[8..12].copy_from_slice(&std::process::id().to_le_bytes());
    let config = |id| shared::Config {
        id,
        session,
        device: Device::Cpu,
        connect_within: Duration::from_secs(10),
        options: options.clone(),
    };
    let threads = PartyId::ALL.map(|id| {
        let config = config(id);
        std::thread::spawn(|| SharedNetwork::connect(config).expect("links"))
    });
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

/// What a message of 8 MiB costs where it is copied once.
#[divan::bench(max_time = 1.0)]
fn copy_of_8_mib(bencher: Bencher) {
    let (from, mut to) = (vec![1u64; 1 << 20], vec![0u64; 1 << 20]);
    bencher.counter(BytesCount::new(8usize << 20)).bench_local(|| std::hint::black_box(&mut to).copy_from_slice(&from));
}

/// Seconds of this process's threads on processors.
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// Processor time and time for each byte that is sent in a round of all three parties, by kind of link, medians of turns.
fn processor_time() {
    const TURNS: usize = 7;
    for words in [1 << 20, 1 << 17, 20_000] {
        let rounds = (40 << 20) / words;
        let kinds = KINDS.into_iter().filter(|kind| !matches!(kind, Kind::MemoryLan)).collect::<Vec<_>>();
        let mut figures = vec![Vec::new(); kinds.len()];
        let mut copies = Vec::new();
        for _ in 0..TURNS {
            for (kind, figures) in kinds.iter().zip(&mut figures) {
                figures.push(turn(*kind, words, rounds));
            }
            let (from, mut to) = (vec![1u64; words], vec![0u64; words]);
            let start = processor_seconds();
            (0..rounds).for_each(|_| std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from)));
            copies.push((processor_seconds() - start) * 1e9 / (8 * words * rounds) as f64);
        }
        println!("messages of {} KiB: nanoseconds a byte on processors, and passed", words / 128);
        println!("  copy             {:.3}", median(&mut copies));
        for (kind, figures) in kinds.iter().zip(&figures) {
            let [mut busy, mut passed] = [0, 1].map(|at| figures.iter().map(|turn| turn[at]).collect::<Vec<f64>>());
            println!("  {:<16} {:.3}  {:.3}", format!("{kind:?}"), median(&mut busy), median(&mut passed));
        }
    }
}

/// Nanoseconds a byte on processors, and passed, of some rounds.
fn turn(kind: Kind, words: usize, rounds: usize) -> [f64; 2] {
    let parties = parties(kind);
    // The first rounds find memory.
    run(&parties, words, 3);
    let (busy, passed) = (processor_seconds(), Instant::now());
    run(&parties, words, rounds);
    let bytes = (6 * 8 * words * rounds) as f64;
    [(processor_seconds() - busy) * 1e9 / bytes, passed.elapsed().as_secs_f64() * 1e9 / bytes]
}

fn run(parties: &[Box<dyn Network>], words: usize, rounds: usize) {
    std::thread::scope(|scope| {
        for net in parties {
            scope.spawn(move || (0..rounds).for_each(|_| assert!(round(net.as_ref(), words))));
        }
    });
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
