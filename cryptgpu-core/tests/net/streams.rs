//! What links over byte streams carry, by one body for TLS by local sockets and by TCP, no TLS, and shared memory: order, counts,
//! deadlines, ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{Trio, Way, link_up};
use cryptgpu_core::net::{GaveUp, Link, NetError, Options, PartyId, Tag};
use std::time::{Duration, Instant};

const TAG: Tag = Tag { position: 3, kind: 9 };
const WAYS: [Way; 4] = [Way::Tls, Way::TlsOverTcp, Way::Plaintext, Way::Shared];

fn quick() -> Options {
    Options { deadline: Duration::from_secs(5), ..Options::default() }
}

fn trios(options: &Options) -> impl Iterator<Item = (Way, Trio)> {
    WAYS.into_iter().map(move |way| (way, link_up(way, &[options; 3])))
}

#[test]
fn messages_of_all_sizes_arrive_in_order() {
    for (way, [p0, p1, p2]) in trios(&quick()) {
        // Around a record of TLS, a message that a task writes, what is encrypted and decrypted at a time, a piece of shared
        // memory and all of it; and odd ones.
        let sizes = [
            0usize, 1, 5, 2043, 2044, 4096, 4097, 16_379, 16_380, 32_762, 32_763, 32_768, 32_769, 100_003, 3, 131_067,
            131_068, 1_000_000, 1,
        ];
        for &len in &sizes {
            p0.send(p1.id(), TAG, (0..len as u64).collect()).unwrap();
            p0.send(p2.id(), TAG, vec![len as u64; len]).unwrap();
        }
        for &len in &sizes {
            assert_eq!(p1.recv(p0.id(), TAG, len).unwrap(), (0..len as u64).collect::<Vec<_>>(), "{way:?}");
            assert_eq!(p2.recv(p0.id(), TAG, len).unwrap(), vec![len as u64; len], "{way:?}");
        }
        let words: usize = sizes.iter().sum();
        assert_eq!(p0.endpoint().stats().to(p1.id()).payload_bytes, 8 * words as u64);
        assert_eq!(p0.endpoint().stats().to(p1.id()).messages, sizes.len() as u64);
        assert_eq!((p0.endpoint().stats().rounds, p1.endpoint().stats().rounds), (0, 1));
    }
}

#[test]
fn both_sends_before_either_receive_never_dead_lock() {
    for (way, parties) in trios(&quick()) {
        let threads = parties.map(|net| {
            std::thread::spawn(move || {
                let (id, words) = (net.id(), 2_000_000);
                for round in 0..3 {
                    net.send(id.next(), TAG, vec![round; words]).unwrap();
                    net.send(id.prev(), TAG, vec![round; words]).unwrap();
                    assert_eq!(net.recv(id.next(), TAG, words).unwrap()[words - 1], round, "{way:?}");
                    assert_eq!(net.recv(id.prev(), TAG, words).unwrap()[0], round, "{way:?}");
                }
                assert_eq!(net.endpoint().stats().rounds, 3);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

/// A sender waits where much is on its way; what is on its way gets on, although nobody receives.
#[test]
fn far_more_than_may_wait_is_sent_before_any_of_it_is_received() {
    const EACH: u64 = 10;
    let words = 1 << 19;
    let shaped = Link::Custom { megabytes_per_second: 1e5, latency_ms: 0.0 };
    let (usual, imitated) = (Options::default(), Options { link: shaped, ..Options::default() });
    let trios = trios(&usual).chain([(Way::Plaintext, link_up(Way::Plaintext, &[&imitated; 3]))]);
    for (way, parties) in trios {
        std::thread::scope(|scope| {
            for net in &parties {
                scope.spawn(move || {
                    let (id, peers) = (net.id(), [net.id().next(), net.id().prev()]);
                    let send = |numbers: std::ops::Range<u64>, peer| {
                        numbers.for_each(|number| net.send(peer, TAG, vec![number; words]).unwrap());
                    };
                    let all = || peers.into_iter().for_each(|peer| send(0..EACH, peer));
                    match id.index() {
                        // In a task of another runtime, which must not run those of the links.
                        0 => tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async { all() }),
                        // By two threads to the same peer, who may both have to wait.
                        1 => std::thread::scope(|scope| {
                            for (peer, start) in peers.into_iter().flat_map(|peer| [(peer, 0), (peer, EACH / 2)]) {
                                scope.spawn(move || send(start..start + EACH / 2, peer));
                            }
                        }),
                        _ => all(),
                    }
                    for peer in peers {
                        let first = |_| net.recv(peer, TAG, words).unwrap()[words - 1];
                        let mut came: Vec<u64> = (0..EACH).map(first).collect();
                        if peer.index() == 1 {
                            came.sort_unstable();
                        }
                        assert_eq!(came, (0..EACH).collect::<Vec<_>>(), "{way:?}: {peer} to {id}");
                    }
                });
            }
        });
    }
}

/// Receivers run the tasks of the links in turn, so none may keep them from another.
#[test]
fn two_threads_of_a_party_wait_at_once_and_a_task_of_another_runtime_too() {
    for (way, [p0, p1, p2]) in trios(&quick()) {
        std::thread::scope(|scope| {
            let [first, second] = [p1.id(), p2.id()].map(|peer| {
                let p0 = &p0;
                scope.spawn(move || (0..100).map(|_| p0.recv(peer, TAG, 1).unwrap()[0]).sum::<u64>())
            });
            // The one that has everything goes first, whichever of both ran the tasks.
            (0..100).for_each(|word| p1.send(p0.id(), TAG, vec![word]).unwrap());
            assert_eq!(first.join().unwrap(), 4950, "{way:?}");
            (0..100).for_each(|word| p2.send(p0.id(), TAG, vec![word]).unwrap());
            assert_eq!(second.join().unwrap(), 4950, "{way:?}");
        });
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        std::thread::scope(|scope| {
            let task = scope.spawn(|| other.block_on(async { p0.recv(p1.id(), TAG, 100_000).unwrap().len() }));
            std::thread::sleep(Duration::from_millis(20));
            p1.send(p0.id(), TAG, vec![1; 100_000]).unwrap();
            assert_eq!(task.join().unwrap(), 100_000, "{way:?}");
        });
    }
}

#[test]
fn silence_is_a_deadline() {
    for (way, [p0, p1, _p2]) in trios(&Options { deadline: Duration::from_millis(200), ..quick() }) {
        p0.endpoint().set_step("relu1/sign");
        let start = Instant::now();
        let error = p0.recv(p1.id(), TAG, 1).unwrap_err();
        assert!(matches!(error, NetError::Deadline { .. }), "{way:?}: {error}");
        assert!(error.to_string().contains("relu1/sign"), "{way:?}: {error}");
        assert!(start.elapsed() >= Duration::from_millis(200));
    }
}

#[test]
fn an_abort_reaches_both_peers_past_what_is_queued() {
    for (way, [p0, p1, p2]) in trios(&quick()) {
        let waiting = std::thread::spawn(move || p1.recv(PartyId::P0, TAG, 1).unwrap_err());
        p0.send(p2.id(), TAG, vec![1; 3_000_000]).unwrap();
        p0.abort(GaveUp::Device);
        let received = p2.recv(p0.id(), TAG, 3_000_000);
        for error in [waiting.join().unwrap(), received.and_then(|_| p2.recv(p0.id(), TAG, 1)).unwrap_err()] {
            assert!(error.to_string().contains("its device failed"), "{way:?}: {error}");
            assert!(matches!(error, NetError::PeerClosed { .. }), "{way:?}: {error}");
        }
        assert!(p0.send(p2.id(), TAG, vec![1]).is_err());
        assert!(p0.recv(p2.id(), TAG, 1).unwrap_err().to_string().contains("its device failed"), "{way:?}");
        assert!(p2.send(p0.id(), TAG, vec![1]).is_err());
    }
}

#[test]
fn what_was_sent_before_the_end_still_arrives() {
    for (way, [p0, p1, _p2]) in trios(&quick()) {
        p0.send(p1.id(), TAG, vec![5; 1_000_000]).unwrap();
        drop(p0);
        assert_eq!(p1.recv(PartyId::P0, TAG, 1_000_000).unwrap().len(), 1_000_000, "{way:?}");
        let error = p1.recv(PartyId::P0, TAG, 1).unwrap_err();
        assert!(error.to_string().contains("has ended"), "{way:?}: {error}");
    }
}

/// Short messages are written by the thread that sends them, those behind a full connection and long ones by a task.
#[test]
fn what_two_threads_send_arrives_in_the_order_of_each() {
    const EACH: u64 = 150;
    for (way, len) in WAYS.iter().flat_map(|&way| [3, 4096, 5000].map(|len| (way, len))) {
        let [p0, p1, _p2] = link_up(way, &[&quick(); 3]);
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
                assert_eq!(words[1..], vec![*due; len - 1], "{way:?}, {len} words");
                *due += 1;
            }
        });
    }
}

#[test]
fn the_receiver_limits_what_it_takes() {
    let (usual, small) = (quick(), Options { max_message_bytes: 800, ..quick() });
    for way in WAYS {
        let [p0, p1, _p2] = link_up(way, &[&usual, &small, &usual]);
        p0.send(p1.id(), TAG, vec![1; 100]).unwrap();
        p0.send(p1.id(), TAG, vec![1; 101]).unwrap();
        p1.recv(p0.id(), TAG, 100).unwrap();
        let error = p1.recv(p0.id(), TAG, 101).unwrap_err();
        assert!(matches!(error, NetError::TooLarge { bytes: 808, limit: 800, .. }), "{way:?}: {error}");
        assert!(matches!(p1.send(p0.id(), TAG, vec![0; 101]), Err(NetError::TooLarge { .. })));
    }
}

#[test]
fn a_shaped_link_is_never_faster_than_its_model() {
    let link = Link::Custom { megabytes_per_second: 100.0, latency_ms: 20.0 };
    for (way, [p0, p1, _p2]) in trios(&Options { link, ..quick() }) {
        let start = Instant::now();
        for _ in 0..4 {
            p0.send(p1.id(), TAG, vec![1; 125_000]).unwrap();
        }
        for received in 1..=4 {
            p1.recv(p0.id(), TAG, 125_000).unwrap();
            let model = Duration::from_millis(20 + 10 * received);
            assert!(start.elapsed() >= model, "{way:?}, {received}: {:?} of {model:?}", start.elapsed());
        }
        p1.send(p0.id(), TAG, vec![1]).unwrap();
        p0.recv(p1.id(), TAG, 1).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(80));
        assert_eq!((p1.endpoint().stats().rounds, p0.endpoint().stats().rounds), (1, 2));
    }
}
