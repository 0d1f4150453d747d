//! What a client does wrong hurts that client alone; what happens to a party, clients hear of, and the service goes on.

#![allow(clippy::unwrap_used, clippy::panic)]

use crate::support::{Served, digits, far, plaintext_scores, tolerance};
use cryptgpu_core::cluster::{Service, Serving, ServingError};
use cryptgpu_core::ring::Ring;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection to a party on which anything can be said.
struct Raw {
    ring: Ring,
    runtime: tokio::runtime::Runtime,
    stream: TlsStream<TcpStream>,
}

const HELLO: &str = concat!("cryptgpu ", env!("CARGO_PKG_VERSION"), " serving 3");

impl Raw {
    fn open(served: &Served, party: usize) -> Self {
        let (address, fingerprint) = &served.file.parties[party];
        let config: Arc<_> = served.identity.client_config(*fingerprint).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = "cryptgpu.invalid".try_into().unwrap();
            TlsConnector::from(config).connect(name, stream).await.unwrap()
        });
        Raw { ring: served.ring, runtime, stream }
    }

    /// Says a message behind a length, which may be another one than it has.
    fn say(&mut self, length: usize, bytes: &[u8]) {
        let all = [&(length as u32).to_le_bytes()[..], bytes].concat();
        // The party may have closed already.
        let _ = self.runtime.block_on(async { self.stream.write_all(&all).await });
        let _ = self.runtime.block_on(self.stream.flush());
    }

    fn hello(&mut self) {
        let bytes = [&[0, HELLO.len() as u8], HELLO.as_bytes()].concat();
        self.say(bytes.len(), &bytes);
        self.answer();
    }

    /// Asks for room for images.
    fn ask(&mut self, id: u8, images: u8) -> u8 {
        let bytes = [&[1], &[id; 16][..], &[images]].concat();
        self.say(bytes.len(), &bytes);
        self.answer()[0]
    }

    /// Sends shares of one image: two components of 784 words of the ring.
    fn shares(&mut self, id: u8) {
        self.components(id, [7, 7]);
    }

    /// The same, each component of one byte again and again.
    fn components(&mut self, id: u8, fill: [u8; 2]) {
        // 6272 bytes each, or half as many, as a length of seven bits a byte.
        let bytes = 784 * self.ring.bits() as usize / 8;
        let length = [bytes as u8 | 0x80, (bytes >> 7) as u8];
        let [a, b] = fill.map(|fill| [&length[..], &vec![fill; bytes]].concat());
        let bytes = [&[2], &[id; 16][..], &a, &b].concat();
        self.say(bytes.len(), &bytes);
    }

    fn answer(&mut self) -> Vec<u8> {
        let read = async {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length).await?;
            let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
            self.stream.read_exact(&mut bytes).await.map(|_| bytes)
        };
        self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), read).await }).unwrap().unwrap()
    }
}

const GO: u8 = 1;
const BUSY: u8 = 2;
const MISSING: u8 = 4;
const SCORES: u8 = 3;
const REFUSED: u8 = 5;
const INCONSISTENT: u8 = 7;

/// Garbage, half requests and clients that go away hurt nobody else.
fn garbage_and_half_requests(ring: Ring) {
    let patience = Duration::from_millis(500);
    let served = Served::start("faults", ring, Service { queue: 4, patience, ..Service::default() });
    let mut client = served.client();
    let expected = plaintext_scores(&digits(0..1));
    let mut works = |what: &str| {
        let begun = Instant::now();
        let scores = client.infer(&digits(0..1)).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(far(&scores, &expected) < tolerance(ring), "{ring}, {what}");
        begun.elapsed()
    };
    works("at first");
    // No message; one that is too long; one that ends before its length; shares without a question; too many images.
    let mut raw = Raw::open(&served, 0);
    raw.say(5, b"hello");
    assert_eq!(raw.answer()[0], REFUSED);
    let mut raw = Raw::open(&served, 0);
    raw.say(1 << 30, &[0; 64]);
    assert_eq!(raw.answer()[0], REFUSED);
    let mut raw = Raw::open(&served, 1);
    raw.hello();
    raw.say(100, &[1; 10]);
    drop(raw);
    let mut raw = Raw::open(&served, 1);
    raw.hello();
    raw.shares(1);
    assert_eq!(raw.answer()[0], REFUSED);
    let mut raw = Raw::open(&served, 2);
    raw.hello();
    assert_eq!(raw.ask(1, 17), REFUSED);
    works("after garbage");

    // A client that dies half-way, at one party after the shares and at the others before.
    let mut half = [0, 1, 2].map(|party| Raw::open(&served, party));
    for raw in &mut half {
        raw.hello();
        assert_eq!(raw.ask(9, 1), GO);
    }
    half[1].shares(9);
    let [zero, mut one, two] = half;
    drop((zero, two));
    let took = works("beside a half request");
    assert!(took < patience, "nobody waits for another's half request: {took:?}");
    // The party that has it tells who has not.
    let answer = one.answer();
    assert_eq!((answer[0], &answer[1..17], &answer[17..]), (MISSING, &[9; 16][..], &[2, 0, 2][..]));

    // A full queue turns away, and what is given back can be had again.
    let mut places: Vec<Raw> = (0..4)
        .map(|id| {
            let mut raw = Raw::open(&served, 0);
            raw.hello();
            assert_eq!(raw.ask(100 + id, 1), GO);
            raw
        })
        .collect();
    let mut raw = Raw::open(&served, 0);
    raw.hello();
    assert_eq!(raw.ask(200, 1), BUSY);
    let mut turned_away = served.client();
    let error = turned_away.infer(&digits(0..1)).unwrap_err();
    assert!(matches!(error, ServingError::Busy { .. }) && error.to_string().contains("try again"), "{error}");
    places.clear();
    let until = Instant::now() + Duration::from_secs(10);
    while let Err(error) = turned_away.infer(&digits(0..1)) {
        assert!(matches!(error, ServingError::Busy { .. }) && Instant::now() < until, "{error}");
    }
    works("after a full queue");
    served.end();
}

#[test]
fn garbage_half_requests_and_clients_that_go_away_hurt_nobody_else() {
    garbage_and_half_requests(Ring::Z64);
}

#[test]
fn garbage_half_requests_and_clients_that_go_away_hurt_nobody_else_in_32_bits() {
    garbage_and_half_requests(Ring::Z32);
}

/// Of two that hold a component one may be sent other words than the other, for any of the three: nothing is computed of these, in whatever
/// batch they are, and the requests beside them get their scores.
#[test]
fn shares_that_two_parties_hold_differently_are_found_before_anything_is_computed_of_them() {
    inconsistent_shares(Ring::Z64);
}

#[test]
fn shares_that_two_parties_hold_differently_are_found_in_32_bits() {
    inconsistent_shares(Ring::Z32);
}

fn inconsistent_shares(ring: Ring) {
    let linger = Duration::from_millis(200);
    let served = Served::start("inconsistent", ring, Service { linger, ..Service::default() });
    let mut lines = [0, 1, 2].map(|party| Raw::open(&served, party));
    lines.iter_mut().for_each(Raw::hello);
    let mut client = served.client();
    let expected = plaintext_scores(&digits(0..1));
    let mut told = 0;
    for (request, changed) in [None, Some((0, 0)), Some((1, 0)), Some((2, 1)), None].into_iter().enumerate() {
        let id = request as u8 + 1;
        for (party, raw) in lines.iter_mut().enumerate() {
            assert_eq!(raw.ask(id, 1), GO, "the connection can be used on");
            // Component c is of parties c and c − 1. All together are −1 in the ring, an image that leaves no range.
            let mut fill = [party, (party + 1) % 3].map(|component| if component == 1 { 0xff } else { 0 });
            if let Some((_, which)) = changed.filter(|(at, _)| *at == party) {
                fill[which] ^= 0x80;
            }
            raw.components(id, fill);
        }
        // In the same batch as this one, or in another.
        let scores = client.infer(&digits(0..1)).unwrap();
        assert!(far(&scores, &expected) < tolerance(ring), "{ring}, request {id}");
        let expected = if changed.is_some() { INCONSISTENT } else { SCORES };
        for raw in &mut lines {
            let answer = raw.answer();
            assert_eq!((answer[0], &answer[1..17]), (expected, &[id; 16][..]));
            told += usize::from(answer[0] == INCONSISTENT);
        }
    }
    assert_eq!(told, 9);
    served.end();
}

#[test]
fn a_party_that_dies_is_told_to_clients_and_the_service_goes_on_with_new_ones() {
    a_party_dies(Ring::Z64);
}

#[test]
fn a_party_that_dies_is_told_to_clients_in_32_bits() {
    a_party_dies(Ring::Z32);
}

fn a_party_dies(ring: Ring) {
    let mut served = Served::start("dies", ring, Service { linger: Duration::from_millis(1), ..Service::default() });
    let mut client = served.client();
    client.infer(&digits(0..1)).unwrap();
    let old = served.cluster.pids();
    // SAFETY: a signal to a process of this test.
    unsafe { libc::kill(old[1] as i32, libc::SIGKILL) };
    let error = loop {
        // A request may have been answered before the signal came.
        if let Err(error) = client.infer(&digits(0..1)) {
            break error;
        }
    };
    let named = matches!(
        error,
        ServingError::Closed { .. }
            | ServingError::Ended { .. }
            | ServingError::Missing { .. }
            | ServingError::Deadline { .. }
    );
    assert!(named && error.to_string().contains("party"), "{error}");
    let cause = served.hears(|told| match told {
        Serving::Restarted { cause } => Some(cause),
        _ => None,
    });
    assert!(cause.contains("party 1"), "{cause}");
    // Of the old addresses only the fingerprints hold: the ports are any free ones.
    let before = served.file.parties.clone().map(|(_, fingerprint)| fingerprint);
    served.file = served.opened();
    assert_eq!(served.file.parties.clone().map(|(_, fingerprint)| fingerprint), before, "parties keep their keys");
    let scores = served.client().infer(&digits(0..2)).unwrap();
    assert!(far(&scores, &plaintext_scores(&digits(0..2))) < tolerance(ring));
    assert!(served.cluster.pids().iter().all(|pid| !old.contains(pid)));
    served.end();
}
