//! What a party's end of its links knows about a run, over every kind of link.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::all_kinds;
use cryptgpu_core::net::{Interceptor, Link, NetError, Network, Options, PartyId, Tag, Verdict, memory};
use std::time::Duration;

const TAG: Tag = Tag { position: 3, kind: 9 };

#[test]
fn the_first_error_of_a_run_is_kept_until_the_next_begins() {
    let options = Options { deadline: Duration::from_millis(50), ..Options::default() };
    for (name, [p0, p1, _p2]) in all_kinds(&options) {
        let end = p0.endpoint();
        assert!(end.first_error().is_none(), "{name}");
        end.set_step("first");
        p0.recv(p1.id(), TAG, 1).unwrap_err();
        end.set_step("second");
        p0.send(p0.id(), TAG, vec![1]).unwrap_err();
        let first = end.first_error();
        assert!(
            matches!(&first, Some(NetError::Deadline { step, peer, .. }) if step == "first" && *peer == PartyId::P1),
            "{name}: {first:?}"
        );

        end.forget_error();
        assert!(end.first_error().is_none(), "{name}");
        p0.send(p0.id(), TAG, vec![1]).unwrap_err();
        let first = end.first_error();
        assert!(matches!(&first, Some(NetError::PeerClosed { step, .. }) if step == "second"), "{name}: {first:?}");
    }
}

#[test]
fn a_deadline_without_end_is_no_limit() {
    let options = Options { deadline: Duration::MAX, ..Options::default() };
    for (name, [p0, p1, _p2]) in all_kinds(&options) {
        p0.send(p1.id(), TAG, vec![1]).unwrap();
        assert_eq!(p1.recv(p0.id(), TAG, 1).unwrap(), [1], "{name}");
        // Nothing is there yet: this one really waits.
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| p1.recv(p0.id(), TAG, 1).unwrap());
            std::thread::sleep(Duration::from_millis(50));
            p0.send(p1.id(), TAG, vec![2]).unwrap();
            assert_eq!(waits.join().unwrap(), [2], "{name}");
        });
    }
}

#[test]
fn links_so_slow_that_nothing_arrives_and_delays_without_end_are_deadlines() {
    let slow = Link::Custom { megabytes_per_second: 1e-300, latency_ms: 0.0 };
    let options = Options { deadline: Duration::from_millis(50), ..Options::default() };
    let never = Interceptor::new(|_| Verdict::Delay(Duration::MAX));
    let shaped = memory::trio(Options { link: slow, ..options.clone() });
    for [p0, p1, _p2] in [shaped, memory::trio_with(options, Some(never))] {
        for _ in 0..4 {
            p0.send(p1.id(), TAG, vec![1]).unwrap();
        }
        assert!(matches!(p1.recv(p0.id(), TAG, 1), Err(NetError::Deadline { .. })));
    }
}

#[test]
fn an_error_outside_any_step_does_not_speak_of_a_step() {
    let options = Options { deadline: Duration::from_millis(20), ..Options::default() };
    let [p0, p1, _p2] = memory::trio(options);
    let outside = p0.recv(p1.id(), TAG, 1).unwrap_err().to_string();
    assert!(!outside.contains("step"), "{outside}");
    p0.endpoint().set_step("conv1");
    let inside = p0.recv(p1.id(), TAG, 1).unwrap_err().to_string();
    assert!(inside.contains("at step conv1"), "{inside}");
}
