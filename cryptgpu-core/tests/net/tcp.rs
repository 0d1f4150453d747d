//! Links over TCP: order, counts, deadlines, faults, certificates.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::configs;
use cryptgpu_core::net::tcp::{self, Config, Security};
use cryptgpu_core::net::{GaveUp, Identity, Link, NetError, Network, Options, PartyId, Tag, TcpNetwork};
use std::time::{Duration, Instant};

const TAG: Tag = Tag { position: 3, kind: 9 };

fn quick() -> Options {
    Options { deadline: Duration::from_secs(2), ..Options::default() }
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
        // Around a record of TLS, a message that a task writes, and what is encrypted and decrypted at a time; and odd ones.
        let sizes = [0usize, 1, 5, 2043, 2044, 4096, 4097, 32_762, 32_763, 32_768, 32_769, 100_003, 3, 1_000_000, 1];
        for &len in &sizes {
            p0.send(p1.id(), TAG, (0..len as u64).collect()).unwrap();
            p0.send(p2.id(), TAG, vec![len as u64; len]).unwrap();
        }
        for &len in &sizes {
            assert_eq!(p1.recv(p0.id(), TAG, len).unwrap(), (0..len as u64).collect::<Vec<_>>());
            assert_eq!(p2.recv(p0.id(), TAG, len).unwrap(), vec![len as u64; len]);
        }
        let words: usize = sizes.iter().sum();
        assert_eq!(p0.endpoint().stats().to(p1.id()).payload_bytes, 8 * words as u64);
        assert_eq!(p0.endpoint().stats().to(p1.id()).messages, sizes.len() as u64);
        assert_eq!((p0.endpoint().stats().rounds, p1.endpoint().stats().rounds), (0, 1));
    }
}

#[test]
fn both_sends_before_either_receive_never_dead_lock() {
    let parties = trio(&quick());
    let threads = parties.map(|net| {
        std::thread::spawn(move || {
            let (id, words) = (net.id(), 2_000_000);
            for round in 0..3 {
                net.send(id.next(), TAG, vec![round; words]).unwrap();
                net.send(id.prev(), TAG, vec![round; words]).unwrap();
                assert_eq!(net.recv(id.next(), TAG, words).unwrap()[words - 1], round);
                assert_eq!(net.recv(id.prev(), TAG, words).unwrap()[0], round);
            }
            assert_eq!(net.endpoint().stats().rounds, 3);
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn silence_is_a_deadline() {
    let [p0, p1, _p2] = trio(&Options { deadline: Duration::from_millis(200), ..quick() });
    p0.endpoint().set_step("relu1/sign");
    let start = Instant::now();
    let error = p0.recv(p1.id(), TAG, 1).unwrap_err();
    assert!(matches!(error, NetError::Deadline { .. }), "{error}");
    assert!(error.to_string().contains("relu1/sign"), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn an_abort_reaches_both_peers_past_what_is_queued() {
    let [p0, p1, p2] = trio(&quick());
    let waiting = std::thread::spawn(move || p1.recv(PartyId::P0, TAG, 1).unwrap_err());
    p0.send(p2.id(), TAG, vec![1; 3_000_000]).unwrap();
    p0.abort(GaveUp::Device);
    let received = p2.recv(p0.id(), TAG, 3_000_000);
    for error in [waiting.join().unwrap(), received.and_then(|_| p2.recv(p0.id(), TAG, 1)).unwrap_err()] {
        assert!(error.to_string().contains("its device failed"), "{error}");
        assert!(matches!(error, NetError::PeerClosed { .. }), "{error}");
    }
    assert!(p0.send(p2.id(), TAG, vec![1]).is_err());
    assert!(p0.recv(p2.id(), TAG, 1).unwrap_err().to_string().contains("its device failed"));
    assert!(p2.send(p0.id(), TAG, vec![1]).is_err());
}

#[test]
fn what_was_sent_before_the_end_still_arrives() {
    let [p0, p1, _p2] = trio(&quick());
    p0.send(p1.id(), TAG, vec![5; 1_000_000]).unwrap();
    drop(p0);
    assert_eq!(p1.recv(PartyId::P0, TAG, 1_000_000).unwrap().len(), 1_000_000);
    let error = p1.recv(PartyId::P0, TAG, 1).unwrap_err();
    assert!(error.to_string().contains("has ended"), "{error}");
}

/// Short messages are written by the thread that sends them, those behind a full connection and long ones by a task.
#[test]
fn what_two_threads_send_arrives_in_the_order_of_each() {
    const EACH: u64 = 150;
    for len in [3, 4096, 5000] {
        let [p0, p1, _p2] = trio(&quick());
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let p0 = &p0;
                scope.spawn(move || {
                    for number in 0..EACH {
                        let mut words = vec![number; len];
                        words[0] = thread;
                        p0.send(PartyId::P1, TAG, words).unwrap();
                    }
                });
            }
            let mut due = [0; 2];
            for _ in 0..2 * EACH {
                let words = p1.recv(PartyId::P0, TAG, len).unwrap();
                let due = &mut due[words[0] as usize];
                assert_eq!(words[1..], vec![*due; len - 1], "{len} words");
                *due += 1;
            }
        });
    }
}

#[test]
fn the_receiver_limits_what_it_takes() {
    let mut configs = configs(&quick(), false);
    configs[1].options.max_message_bytes = 800;
    let [p0, p1, _p2] = link_up(configs).map(Result::unwrap);
    p0.send(p1.id(), TAG, vec![1; 100]).unwrap();
    p0.send(p1.id(), TAG, vec![1; 101]).unwrap();
    p1.recv(p0.id(), TAG, 100).unwrap();
    let error = p1.recv(p0.id(), TAG, 101).unwrap_err();
    assert!(matches!(error, NetError::TooLarge { bytes: 808, limit: 800, .. }), "{error}");
    assert!(matches!(p1.send(p0.id(), TAG, vec![0; 101]), Err(NetError::TooLarge { .. })));
}

/// Links up with something changed; all three must fail to, with an error of set-up.
fn refused(change: impl FnOnce(&mut [Config; 3])) -> String {
    let mut configs = configs(&quick(), false);
    configs.iter_mut().for_each(|config| config.connect_within = Duration::from_millis(700));
    change(&mut configs);
    let errors = link_up(configs).map(|outcome| outcome.err());
    for error in errors.iter().flatten() {
        assert!(matches!(error, NetError::Setup { .. }), "{error}");
    }
    assert!(errors.iter().flatten().count() >= 2, "{errors:?}");
    errors.into_iter().flatten().map(|error| error.to_string()).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_wrong_certificate_is_refused() {
    let refusal = refused(|configs| {
        let Security::Tls { identity, .. } = &mut configs[2].security else { panic!("TLS is the default") };
        *identity = Identity::generate().unwrap();
    });
    assert!(refusal.contains("same certificates"), "{refusal}");
}

#[test]
fn another_partys_certificate_is_refused() {
    let refusal = refused(|configs| {
        let Security::Tls { identity: first, .. } = configs[1].security.clone() else { panic!("TLS is the default") };
        let Security::Tls { identity, .. } = &mut configs[2].security else { panic!("TLS is the default") };
        *identity = first;
    });
    assert!(refusal.contains("certificate"), "{refusal}");
}

#[test]
fn another_session_is_refused() {
    let refusal = refused(|configs| configs[0].session = [8; 16]);
    assert!(refusal.contains("session"), "{refusal}");
}

#[test]
fn plaintext_does_not_talk_to_tls() {
    refused(|configs| configs[0].security = Security::InsecurePlaintext);
}

#[test]
fn a_party_that_is_missing_is_named() {
    let [mut p0, mut p1, p2] = configs(&quick(), false);
    drop(p2);
    p0.connect_within = Duration::from_millis(300);
    p1.connect_within = Duration::from_millis(300);
    let threads = [p0, p1].map(|config| std::thread::spawn(|| TcpNetwork::connect(config)));
    for thread in threads {
        let error = thread.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("party 2"), "{error}");
    }
}

#[test]
fn strangers_do_not_keep_the_parties_apart() {
    use std::io::Write;
    let configs = configs(&quick(), false);
    let mut strangers = configs[0].addresses.clone().map(|address| std::net::TcpStream::connect(address).unwrap());
    strangers[1].write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    for outcome in link_up(configs) {
        outcome.unwrap();
    }
}

#[test]
fn a_port_in_use_is_an_error_with_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = tcp::listen(PartyId::P1, taken.local_addr().unwrap()).unwrap_err();
    assert!(matches!(error, NetError::Setup { .. }));
    assert!(error.to_string().contains("in use"), "{error}");
}

#[test]
fn a_shaped_link_is_never_faster_than_its_model() {
    let link = Link::Custom { megabytes_per_second: 100.0, latency_ms: 20.0 };
    let [p0, p1, _p2] = trio(&Options { link, ..quick() });
    let start = Instant::now();
    for _ in 0..4 {
        p0.send(p1.id(), TAG, vec![1; 125_000]).unwrap();
    }
    for received in 1..=4 {
        p1.recv(p0.id(), TAG, 125_000).unwrap();
        let model = Duration::from_millis(20 + 10 * received);
        assert!(start.elapsed() >= model, "{received}: {:?} of {model:?}", start.elapsed());
    }
    p1.send(p0.id(), TAG, vec![1]).unwrap();
    p0.recv(p1.id(), TAG, 1).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(80));
    assert_eq!((p1.endpoint().stats().rounds, p0.endpoint().stats().rounds), (1, 2));
}
