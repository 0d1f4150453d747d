//! What fuzzers and the test of their corpora call here: the frames of links, from bytes. Nothing else does.

use super::Tag;
use super::frame::{FrameKind, HEADER_BYTES, Header, checksum};

/// Reads a frame as a link would that has no checksum of its own; what was read is written again alike.
pub(crate) fn frame(bytes: &[u8]) {
    let Some((head, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return };
    let Ok(header) = Header::decode(head) else { return };
    assert_eq!(&header.encode(), head, "a header changed on its way");
    // Before memory is taken.
    if header.admit(header.sequence, payload.len() as u64).is_ok() {
        let (words, _) = payload.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        // A wrong length or checksum is an error like any other here.
        let _ = header.verify(&words);
    }
}

/// Frames from which fuzzers begin.
pub(crate) fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |kind, words: &[u64]| {
        let tag = Tag { position: 5, kind: 7 };
        let header =
            Header { kind, tag, rounds: 3, words: words.len() as u32, sequence: 9, payload_crc: checksum(words) };
        let mut bytes = header.encode().to_vec();
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    };
    vec![
        ("message", frame(FrameKind::Message, &[1, u64::MAX, 3])),
        ("empty", frame(FrameKind::Message, &[])),
        ("abort", frame(FrameKind::Abort, &[2])),
        ("end", frame(FrameKind::End, &[])),
    ]
}
