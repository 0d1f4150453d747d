//! What a party's end of its links knows about a run, over every kind of link.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::all_kinds;
use cryptgpu_core::net::{NetError, Options, PartyId, Tag};
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
