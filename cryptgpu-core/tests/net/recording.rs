//! What a party received can be looked at afterwards, over every kind of link, if it was asked for before.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use crate::support::all_kinds;
use cryptgpu_core::net::{Network, Options, PartyId, ReceivedMessage, Recording, Tag};

const TAG: Tag = Tag { position: 3, kind: 9 };

#[test]
fn the_receiver_keeps_what_it_got_and_nothing_else() {
    for (name, [p0, p1, p2]) in all_kinds(&Options::default()) {
        p0.send(p1.id(), TAG, vec![99]).unwrap();
        p1.recv(p0.id(), TAG, 1).unwrap();
        assert_eq!(p1.endpoint().take_recording(), None, "{name}: off unless asked for");

        p1.endpoint().insecure_record(1 << 20);
        p1.endpoint().set_step("relu/sign");
        p0.send(p1.id(), TAG, vec![1, 2]).unwrap();
        p2.send(p1.id(), Tag { kind: 10, ..TAG }, vec![3]).unwrap();
        p2.send(p1.id(), TAG, vec![]).unwrap();
        p1.send(p2.id(), TAG, vec![4]).unwrap();
        // In the order of receiving, not of sending.
        p1.recv(p2.id(), Tag { kind: 10, ..TAG }, 1).unwrap();
        p1.endpoint().set_step("open");
        p1.recv(p0.id(), TAG, 2).unwrap();
        let message = |from: &dyn Network, step: &str, tag, words: &[u64]| ReceivedMessage {
            from: from.id(),
            step: step.into(),
            tag,
            words: words.to_vec(),
        };
        let messages = vec![
            message(p2.as_ref(), "relu/sign", Tag { kind: 10, ..TAG }, &[3]),
            message(p0.as_ref(), "open", TAG, &[1, 2]),
        ];
        let recording = p1.endpoint().take_recording().unwrap();
        assert_eq!(recording, Recording { party: p1.id(), messages, omitted: 0 }, "{name}");
        let shown = format!("{recording:?}");
        assert!(shown.contains("2 words") && !shown.contains("[1, 2]"), "a recording shows no payload: {shown}");
        assert_eq!(p1.endpoint().take_recording(), None, "{name}: it has ended");
        assert!(p0.endpoint().take_recording().is_none() && p2.endpoint().take_recording().is_none(), "{name}");
    }
}

#[test]
fn memory_is_bounded_and_the_recording_says_that_it_was_cut() {
    for (name, [p0, p1, _p2]) in all_kinds(&Options::default()) {
        p1.endpoint().insecure_record(150);
        for len in [100, 18, 1, 0] {
            p0.send(p1.id(), TAG, vec![7; len]).unwrap();
            p1.recv(p0.id(), TAG, len).unwrap();
        }
        let recording = p1.endpoint().take_recording().unwrap();
        // 116 words, 34, which fills it, and then nothing fits, however small.
        let lengths: Vec<_> = recording.messages.iter().map(|message| message.words.len()).collect();
        assert_eq!((lengths.as_slice(), recording.omitted), ([100, 18].as_slice(), 2), "{name}");
        assert!(recording.is_cut());

        // A later message that would fit is not kept after one that did not: what is kept is a beginning.
        p1.endpoint().insecure_record(60);
        for len in [10, 40, 1] {
            p0.send(p1.id(), TAG, vec![7; len]).unwrap();
            p1.recv(p0.id(), TAG, len).unwrap();
        }
        let recording = p1.endpoint().take_recording().unwrap();
        assert_eq!((recording.messages.len(), recording.omitted), (1, 2), "{name}");
        assert_eq!(recording.party, PartyId::P1);
    }
}
