//! In-memory links: order, counts, deadlines, faults.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use cryptgpu_core::net::{
    GaveUp, Interceptor, Message, NetError, Network, Options, PartyId, Recorder, Tag, Verdict, memory,
};
use std::time::{Duration, Instant};

const TAG: Tag = Tag { position: 3, kind: 9 };

fn quick() -> Options {
    Options { deadline: Duration::from_millis(300), ..Options::default() }
}

#[test]
fn messages_arrive_in_order_and_are_counted_exactly() {
    let [p0, p1, p2] = memory::trio(quick());
    for i in 0..10u64 {
        p0.send(p1.id(), TAG, vec![i; 3]).unwrap();
        p0.send(p2.id(), TAG, vec![i]).unwrap();
    }
    for i in 0..10u64 {
        assert_eq!(p1.recv(p0.id(), TAG, 3).unwrap(), vec![i; 3]);
        assert_eq!(p2.recv(p0.id(), TAG, 1).unwrap(), vec![i]);
    }
    let stats = p0.endpoint().stats();
    assert_eq!(stats.to(p1.id()).messages, 10);
    assert_eq!(stats.to(p1.id()).payload_bytes, 240);
    assert_eq!(stats.to(p2.id()).payload_bytes, 80);
    assert_eq!(stats.to(p2.id()).frame_bytes, 80 + 10 * cryptgpu_core::net::HEADER_BYTES as u64);
    assert_eq!(stats.rounds, 0, "party 0 received nothing");
    assert_eq!(p1.endpoint().stats().rounds, 1, "ten messages sent without waiting are one round");
    assert_eq!(p1.endpoint().stats().payload_bytes(), 0);
}

#[test]
fn rounds_are_the_longest_chain() {
    let [p0, p1, p2] = memory::trio(quick());
    for step in 0..4 {
        p0.send(p1.id(), TAG, vec![step]).unwrap();
        p1.recv(p0.id(), TAG, 1).unwrap();
        p1.send(p2.id(), TAG, vec![step]).unwrap();
        p2.recv(p1.id(), TAG, 1).unwrap();
    }
    // Only the last hop depends on what went before: party 0 never waits.
    assert_eq!((p0.endpoint().stats().rounds, p1.endpoint().stats().rounds, p2.endpoint().stats().rounds), (0, 1, 2));
    p2.send(p0.id(), TAG, vec![]).unwrap();
    p0.recv(p2.id(), TAG, 0).unwrap();
    assert_eq!(p0.endpoint().stats().rounds, 3);
}

#[test]
fn silence_is_a_deadline_and_names_the_step() {
    let [p0, p1, _p2] = memory::trio(quick());
    p0.endpoint().set_step("conv1/truncation");
    let start = Instant::now();
    let error = p0.recv(p1.id(), TAG, 1).unwrap_err();
    assert!(start.elapsed() >= quick().deadline);
    assert!(matches!(error, NetError::Deadline { .. }), "{error}");
    assert!(error.to_string().contains("conv1/truncation"), "{error}");
    assert!(p0.endpoint().stats().wait_nanos >= quick().deadline.as_nanos() as u64);
}

#[test]
fn another_tag_or_length_is_diverged() {
    let [p0, p1, _p2] = memory::trio(quick());
    p0.send(p1.id(), Tag { position: 4, ..TAG }, vec![1]).unwrap();
    p0.send(p1.id(), TAG, vec![1, 2]).unwrap();
    for _ in 0..2 {
        assert!(matches!(p1.recv(p0.id(), TAG, 1), Err(NetError::Diverged { .. })));
    }
}

#[test]
fn an_abort_reaches_both_peers_at_once() {
    let [p0, p1, p2] = memory::trio(quick());
    let waiting = std::thread::spawn(move || p1.recv(PartyId::P0, TAG, 1).unwrap_err());
    p0.send(p2.id(), TAG, vec![5]).unwrap();
    p0.abort(GaveUp::Panicked);
    for error in [waiting.join().unwrap(), p2.recv(p0.id(), TAG, 1).unwrap_err()] {
        assert!(matches!(error, NetError::PeerClosed { .. }), "{error}");
        assert!(error.to_string().contains("party 0 gave up: its program panicked"), "{error}");
    }
    assert!(p0.send(p2.id(), TAG, vec![5]).is_err());
    assert!(p2.send(p0.id(), TAG, vec![5]).is_err());
}

#[test]
fn what_was_sent_before_the_end_still_arrives() {
    let [p0, p1, _p2] = memory::trio(quick());
    p0.send(p1.id(), TAG, vec![5]).unwrap();
    drop(p0);
    assert_eq!(p1.recv(PartyId::P0, TAG, 1).unwrap(), [5]);
    assert!(matches!(p1.recv(PartyId::P0, TAG, 1), Err(NetError::PeerClosed { .. })));
}

#[test]
fn too_large_is_refused_by_the_sender() {
    let [p0, p1, _p2] = memory::trio(Options { max_message_bytes: 16, ..quick() });
    p0.send(p1.id(), TAG, vec![0; 2]).unwrap();
    assert!(matches!(p0.send(p1.id(), TAG, vec![0; 3]), Err(NetError::TooLarge { bytes: 24, limit: 16, .. })));
}

#[test]
fn a_party_has_no_link_to_itself() {
    let [p0, ..] = memory::trio(quick());
    assert!(p0.send(p0.id(), TAG, vec![]).is_err());
    assert!(p0.recv(p0.id(), TAG, 0).is_err());
}

/// Sends two messages from party 0 to party 1 through `judge`, and receives both.
fn two_messages(judge: impl Fn(&mut Message) -> Verdict + Send + Sync + 'static) -> Result<Vec<u64>, NetError> {
    let [p0, p1, _p2] = memory::trio_with(quick(), Some(Interceptor::new(judge)));
    p0.send(p1.id(), TAG, vec![1, 2])?;
    p0.send(p1.id(), TAG, vec![3, 4])?;
    let mut all = p1.recv(p0.id(), TAG, 2)?;
    all.extend(p1.recv(p0.id(), TAG, 2)?);
    Ok(all)
}

#[test]
fn what_is_left_alone_or_only_late_arrives() {
    assert_eq!(two_messages(|_| Verdict::Pass).unwrap(), [1, 2, 3, 4]);
    assert_eq!(two_messages(|_| Verdict::Delay(Duration::from_millis(20))).unwrap(), [1, 2, 3, 4]);
}

#[test]
fn tampering_is_a_bad_frame() {
    let change = |change: fn(&mut Vec<u64>)| {
        two_messages(move |message| {
            change(&mut message.words);
            Verdict::Pass
        })
    };
    let first = |verdict: Verdict| {
        two_messages(move |message| match message.sequence {
            0 => verdict,
            _ => Verdict::Pass,
        })
    };
    let outcomes = [
        change(|words| words[1] ^= 1 << 40),
        change(|words| words.truncate(1)),
        change(|words| words.push(0)),
        first(Verdict::Duplicate),
        first(Verdict::Drop),
        first(Verdict::Overtaken),
    ];
    for outcome in outcomes {
        assert!(matches!(outcome, Err(NetError::BadFrame { .. })), "{outcome:?}");
    }
}

#[test]
fn lost_and_late_messages_are_a_deadline() {
    for verdict in [Verdict::Drop, Verdict::Delay(Duration::from_secs(5))] {
        let outcome = two_messages(move |_| verdict);
        assert!(matches!(outcome, Err(NetError::Deadline { .. })), "{outcome:?}");
    }
}

#[test]
fn a_changed_tag_is_diverged() {
    let outcome = two_messages(|message| {
        message.tag.kind += 1;
        Verdict::Pass
    });
    assert!(matches!(outcome, Err(NetError::Diverged { .. })), "{outcome:?}");
}

#[test]
fn a_recorder_sees_what_a_party_sees() {
    let recorder = Recorder::default();
    let [p0, p1, p2] = memory::trio_with(quick(), Some(recorder.interceptor()));
    p0.send(p1.id(), TAG, vec![1]).unwrap();
    p2.send(p1.id(), TAG, vec![2]).unwrap();
    p1.send(p2.id(), TAG, vec![3]).unwrap();
    assert_eq!(recorder.messages().len(), 3);
    let view: Vec<u64> = recorder.seen_by(p1.id()).into_iter().flat_map(|message| message.words).collect();
    assert_eq!(view, [1, 2]);
}

#[test]
fn what_is_shown_of_a_message_is_its_size() {
    let recorder = Recorder::default();
    let shown = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let sink = shown.clone();
    let shows = Interceptor::new(move |message: &mut Message| {
        sink.lock().unwrap().push_str(&format!("{message:?}"));
        Verdict::Pass
    });
    for interceptor in [recorder.interceptor(), shows] {
        let [p0, p1, _p2] = memory::trio_with(quick(), Some(interceptor));
        p0.send(p1.id(), TAG, vec![0x1234_5678_9abc; 3]).unwrap();
        shown.lock().unwrap().push_str(&format!("{p1:?}"));
    }
    let text = format!("{} {:?}", shown.lock().unwrap(), recorder.messages());
    assert!(text.matches("3 words").count() == 4 && !text.contains(&0x1234_5678_9abcu64.to_string()), "{text}");
}
