//! Who waits for whom, looked up while parties run: deadlocks are found, and only deadlocks.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::{Trio, all_kinds};
use cryptgpu_core::net::{Activity, Deadlock, GaveUp, Network, Options, PartyId, Tag, deadlock};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TAG: Tag = Tag { position: 3, kind: 9 };

fn options() -> Options {
    Options { deadline: Duration::from_secs(20), ..Options::default() }
}

/// Runs `body` at all parties until a deadlock is found, which must be before the deadline; then ends the links.
fn find(parties: &Trio, body: impl Fn(&dyn Network) + Sync) -> Deadlock {
    let returned = [(); 3].map(|()| AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (party, returned) in parties.iter().zip(&returned) {
            let body = &body;
            scope.spawn(move || {
                body(party.as_ref());
                returned.store(true, Ordering::SeqCst);
            });
        }
        let until = Instant::now() + Duration::from_secs(10);
        let found = loop {
            let states = PartyId::ALL.map(|id| {
                let done = returned[id.index()].load(Ordering::SeqCst);
                let state = parties[id.index()].endpoint().wait_state();
                if done { state.finished() } else { state }
            });
            match deadlock(&states) {
                Some(found) => break Some(found),
                None if Instant::now() > until => break None,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        parties[0].abort(GaveUp::Ended);
        parties[1].abort(GaveUp::Ended);
        found.expect("a deadlock")
    })
}

#[test]
fn three_that_receive_before_they_send() {
    for (name, parties) in all_kinds(&options()) {
        let found = find(&parties, |net| {
            net.endpoint().set_step("greeting");
            // One good round first, so that counts are not all zero.
            net.send(net.id().next(), TAG, vec![1]).unwrap();
            net.recv(net.id().prev(), TAG, 1).unwrap();
            net.endpoint().set_step("opening");
            if net.recv(net.id().next(), Tag { kind: 11, ..TAG }, 7).is_ok() {
                net.send(net.id().prev(), Tag { kind: 11, ..TAG }, vec![0; 7]).unwrap();
            }
        });
        let waits: Vec<_> = found.stuck.iter().map(|stuck| (stuck.party, stuck.wait.from)).collect();
        assert_eq!(waits, PartyId::ALL.map(|party| (party, party.next())), "{name}");
        assert!(found.stuck.iter().all(|stuck| stuck.step == "opening" && stuck.wait.words == 7), "{found}");
        assert!(found.stuck.iter().all(|stuck| stuck.wait.expected.kind == 11), "{found}");
        assert!(found.unread.is_empty() && found.finished.is_empty(), "{found}");
        assert!(found.to_string().contains("party 2 waits for party 0 at step opening"), "{found}");
    }
}

#[test]
fn one_that_waits_for_a_party_which_has_returned() {
    for (name, parties) in all_kinds(&options()) {
        let found = find(&parties, |net| {
            if net.id().index() == 2 {
                let _never = net.recv(net.id().next(), TAG, 1);
            }
        });
        assert_eq!(found.stuck.len(), 1, "{name}: {found}");
        assert_eq!(found.finished, [PartyId::P0], "{name}: {found}");
    }
}

#[test]
fn messages_to_the_wrong_neighbour_are_named() {
    for (name, parties) in all_kinds(&options()) {
        let found = find(&parties, |net| {
            net.send(net.id().next(), TAG, vec![1]).unwrap();
            let _never = net.recv(net.id().next(), TAG, 1);
        });
        assert_eq!((found.stuck.len(), found.unread.len()), (3, 3), "{name}: {found}");
        assert!(found.hint().contains("next or previous"), "{found}");
    }
}

#[test]
fn a_run_that_goes_on_is_never_called_a_deadlock() {
    const ROUNDS: u64 = 3_000;
    for (name, parties) in all_kinds(&options()) {
        let running = AtomicU64::new(3);
        let (mut looks, mut waiting) = (0u64, 0u64);
        std::thread::scope(|scope| {
            for party in &parties {
                let running = &running;
                scope.spawn(move || {
                    let net = party.as_ref();
                    for round in 0..ROUNDS {
                        // A chain, in which all but one party wait at any time, and then a round of all.
                        let first = PartyId::ALL[(round % 3) as usize];
                        if net.id() != first {
                            net.recv(net.id().prev(), TAG, 1).unwrap();
                        }
                        if net.id() != first.prev() {
                            net.send(net.id().next(), TAG, vec![round]).unwrap();
                        }
                        for peer in [net.id().next(), net.id().prev()] {
                            net.send(peer, TAG, vec![round]).unwrap();
                        }
                        for peer in [net.id().next(), net.id().prev()] {
                            net.recv(peer, TAG, 1).unwrap();
                        }
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                });
            }
            while running.load(Ordering::SeqCst) > 0 {
                let states = parties.each_ref().map(|party| party.endpoint().wait_state());
                looks += 1;
                waiting += u64::from(states.iter().any(|state| matches!(state.activity, Activity::Waiting(_))));
                if let Some(found) = deadlock(&states) {
                    parties.iter().for_each(|party| party.abort(GaveUp::Ended));
                    panic!("{name}: {found}");
                }
            }
        });
        assert!(looks > 100 && waiting > 10, "{name}: looked {looks} times, somebody waited {waiting} times");
        for party in &parties {
            let state = party.endpoint().wait_state();
            assert_eq!(state.activity, Activity::Running);
            let stats = party.endpoint().stats();
            assert_eq!(state.sent, stats.to.map(|link| link.messages));
            let sent_to_me: u64 =
                parties.iter().map(|peer| peer.endpoint().wait_state().sent[state.party.index()]).sum();
            assert_eq!(state.consumed.iter().sum::<u64>(), sent_to_me, "everything was received");
        }
    }
}
