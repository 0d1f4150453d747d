//! What the receiving end makes of byte streams that no honest sender would send.

use super::super::frame::{FrameKind, HEADER_BYTES, Header, checksum};
use super::super::inbox::{Empty, Fault, Inbox};
use super::super::{GaveUp, Options, PartyId, Tag};
use super::reader::Reader;
use proptest::prelude::*;
use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

const OPTIONS: Options = Options {
    deadline: Duration::from_secs(1),
    link: crate::net::Link::None,
    max_message_bytes: 1 << 20,
    resume_within: Duration::ZERO,
};

fn header(kind: FrameKind, sequence: u64, words: &[u64]) -> Header {
    let tag = Tag { position: 0x0102_0304_0506_0708, kind: 0x1122 };
    Header { kind, tag, rounds: 3, words: words.len() as u32, sequence, payload_crc: checksum(words) }
}

fn frame(sequence: u64, words: &[u64]) -> Vec<u8> {
    let mut bytes = header(FrameKind::Message, sequence, words).encode().to_vec();
    bytes.extend_from_slice(bytemuck::cast_slice(words));
    bytes
}

/// Reads `bytes` to their end: the payloads of whole messages, and how the link ended.
fn read(bytes: Vec<u8>) -> (Vec<Vec<u64>>, Fault) {
    let inbox = Arc::new(Inbox::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let stream = Box::new(Cursor::new(bytes));
    let reader = Reader::new(PartyId::P1, inbox.clone(), OPTIONS, true, None, Arc::default());
    runtime.block_on(reader.run(stream, tokio::sync::mpsc::unbounded_channel().1));
    let mut messages = Vec::new();
    loop {
        match inbox.pop(Instant::now()) {
            Ok(message) => messages.push(message.words.into_host().unwrap()),
            Err(Empty::Down(fault)) => return (messages, fault),
            Err(Empty::Deadline) => panic!("the link neither delivers nor is down"),
        }
    }
}

fn is_bad(bytes: Vec<u8>) {
    let (messages, fault) = read(bytes);
    assert!(messages.is_empty());
    assert!(matches!(fault, Fault::BadFrame(_)), "{fault:?}");
}

#[test]
fn a_stream_cut_anywhere_is_closed_after_its_whole_messages() {
    let stream = [frame(0, &[1, 2, 3]), frame(1, &[]), frame(2, &[4])].concat();
    let ends = [HEADER_BYTES + 24, 2 * HEADER_BYTES + 24, 3 * HEADER_BYTES + 32];
    for cut in 0..=stream.len() {
        let (messages, fault) = read(stream[..cut].to_vec());
        assert_eq!(messages.len(), ends.iter().filter(|&&end| end <= cut).count(), "cut at {cut}");
        assert!(matches!(fault, Fault::Closed(_)), "cut at {cut}: {fault:?}");
    }
}

#[test]
fn every_changed_bit_is_found() {
    let stream = frame(0, &[1, 2, 3]);
    for bit in 0..8 * stream.len() {
        let mut changed = stream.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        is_bad(changed);
    }
}

#[test]
fn fields_that_lie_are_found_although_the_checksum_is_right() {
    let words = [1u64, 2, 3];
    let with = |change: fn(&mut Header)| {
        let mut header = header(FrameKind::Message, 0, &words);
        change(&mut header);
        [&header.encode()[..], bytemuck::cast_slice(&words)].concat()
    };
    is_bad(with(|header| header.sequence = 1));
    is_bad(with(|header| header.payload_crc ^= 1));
    is_bad(with(|header| header.words = 2));
    assert!(matches!(read(with(|header| header.words = 4)).1, Fault::Closed(_)));
    let (_, oversized) = read(with(|header| header.words = u32::MAX));
    assert_eq!(oversized, Fault::TooLarge { bytes: 8 * u64::from(u32::MAX), limit: 1 << 20 });
    let mut unknown = with(|_| ());
    unknown[4] = 9;
    let crc = crc32fast::hash(&unknown[..36]);
    unknown[36..40].copy_from_slice(&crc.to_le_bytes());
    is_bad(unknown);
}

#[test]
fn repeated_lost_and_reordered_frames_are_found() {
    for order in [[0, 0, 1], [0, 2, 1], [1, 0, 2], [0, 2, 3]] {
        let (messages, fault) = read(order.iter().flat_map(|&sequence| frame(sequence, &[7])).collect());
        assert!(messages.len() < 2);
        assert!(matches!(fault, Fault::BadFrame(_)), "{order:?}: {fault:?}");
    }
}

#[test]
fn an_abort_carries_its_reason_past_messages_that_wait() {
    let reason = [GaveUp::Device.to_word()];
    let mut stream = frame(0, &[1]);
    stream.extend_from_slice(&header(FrameKind::Abort, 1, &reason).encode());
    stream.extend_from_slice(bytemuck::cast_slice(&reason));
    let (messages, fault) = read(stream);
    assert!(messages.is_empty());
    assert_eq!(fault, Fault::gave_up(PartyId::P1, GaveUp::Device));
}

#[test]
fn an_end_in_good_order_says_so() {
    let stream = [frame(0, &[1]), header(FrameKind::End, 1, &[]).encode().to_vec()].concat();
    assert_eq!(read(stream), (vec![vec![1]], Fault::Closed("party 1 has ended".into())));
}

proptest! {
    #[test]
    fn headers_survive_the_wire(
        position: u64, kind: u16, rounds: u32, words: u32, sequence: u64, payload_crc: u32, frame_kind in 0..5usize,
    ) {
        use FrameKind::{Abort, Acknowledgement, Beat, End, Message};
        let frame_kind = [Message, Abort, End, Beat, Acknowledgement][frame_kind];
        let tag = Tag { position, kind };
        let header = Header { kind: frame_kind, tag, rounds, words, sequence, payload_crc };
        prop_assert_eq!(Header::decode(&header.encode()).unwrap(), header);
    }

    #[test]
    fn noise_is_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 1..200), magic: bool) {
        let bytes = if magic { [b"CGP2".to_vec(), bytes].concat() } else { bytes };
        let (messages, _) = read(bytes);
        prop_assert!(messages.is_empty());
    }
}
