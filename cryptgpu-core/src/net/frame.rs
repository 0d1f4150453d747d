//! The wire format: a header of [`HEADER_BYTES`] bytes, little-endian, and a payload of words.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic and version, `CGP2` |
//! | 4 | 2 | what the frame is: 0 message, 1 abort (the payload is a word that says why), 2 end, 3 heart-beat, 4 acknowledgement, 5 message on a card (the payload that follows is one word, its place there) |
//! | 6 | 2 | kind of the message's tag |
//! | 8 | 4 | rounds: the sender's Lamport depth when it sent |
//! | 12 | 4 | payload length in words, of the message where it lies elsewhere |
//! | 16 | 8 | sequence number, from 0 per direction of a link; of a heart-beat, which has none, the next frame's; of an acknowledgement, the number of frames that have come |
//! | 24 | 8 | position of the message's tag |
//! | 32 | 4 | CRC-32 of the payload; 0 where the link (TLS) already authenticates it |
//! | 36 | 4 | CRC-32 of the 36 bytes before |
//!
//! Everything that can be checked is checked before memory is taken for the payload.

use super::Tag;
use super::inbox::Fault;

/// Size of a frame's header.
pub const HEADER_BYTES: usize = 40;

const MAGIC: [u8; 4] = *b"CGP2";

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// A message between protocols.
    Message,
    /// A message that the sender has put into memory of its card; what follows is its place there.
    Mailed,
    /// The sender gives up; the payload says why.
    Abort,
    /// The sender has ended in good order.
    End,
    /// The sender is there and has nothing to send. It is not numbered and never sent again.
    Beat,
    /// From the receiver of a connection to its sender: which frames have come.
    Acknowledgement,
}

impl FrameKind {
    /// Whether frames of this kind are numbered, and kept until they are acknowledged.
    pub(super) fn is_numbered(self) -> bool {
        matches!(self, FrameKind::Message | FrameKind::Mailed | FrameKind::Abort | FrameKind::End)
    }

    /// Whether no frame follows one of this kind.
    pub(super) fn is_last(self) -> bool {
        matches!(self, FrameKind::Abort | FrameKind::End)
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: FrameKind,
    pub(super) tag: Tag,
    pub(super) rounds: u32,
    pub(super) words: u32,
    pub(super) sequence: u64,
    pub(super) payload_crc: u32,
}

impl Header {
    /// A header without a tag and a payload.
    pub(super) fn bare(kind: FrameKind, sequence: u64) -> Self {
        Header { kind, tag: Tag { position: 0, kind: 0 }, rounds: 0, words: 0, sequence, payload_crc: 0 }
    }

    /// Words that follow the header.
    pub(super) fn following(&self) -> usize {
        if self.kind == FrameKind::Mailed { 1 } else { self.words as usize }
    }

    /// The bytes that travel.
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0u8; HEADER_BYTES];
        let kind: u16 = match self.kind {
            FrameKind::Message => 0,
            FrameKind::Abort => 1,
            FrameKind::End => 2,
            FrameKind::Beat => 3,
            FrameKind::Acknowledgement => 4,
            FrameKind::Mailed => 5,
        };
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&kind.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.tag.kind.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.rounds.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.words.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.tag.position.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..36]);
        bytes[36..40].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header and checks its form: magic, checksum, kind.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, Fault> {
        if bytes[0..4] != MAGIC {
            return Err(Fault::BadFrame(format!(
                "it begins with {:02x?} and not with {MAGIC:02x?}: do both ends run the same version?",
                &bytes[0..4]
            )));
        }
        if u32_at(bytes, 36) != crc32fast::hash(&bytes[..36]) {
            return Err(Fault::BadFrame("the header's checksum is wrong".into()));
        }
        let kind = match u16::from_le_bytes([bytes[4], bytes[5]]) {
            0 => FrameKind::Message,
            1 => FrameKind::Abort,
            2 => FrameKind::End,
            3 => FrameKind::Beat,
            4 => FrameKind::Acknowledgement,
            5 => FrameKind::Mailed,
            other => return Err(Fault::BadFrame(format!("unknown kind of frame {other}"))),
        };
        Ok(Header {
            kind,
            tag: Tag { position: u64_at(bytes, 24), kind: u16::from_le_bytes([bytes[6], bytes[7]]) },
            rounds: u32_at(bytes, 8),
            words: u32_at(bytes, 12),
            sequence: u64_at(bytes, 16),
            payload_crc: u32_at(bytes, 32),
        })
    }

    /// Checks what must hold before memory is taken for the payload.
    pub(super) fn admit(&self, expected_sequence: u64, max_bytes: u64) -> Result<(), Fault> {
        if self.sequence != expected_sequence {
            return Err(Fault::BadFrame(format!(
                "frame {} came where frame {expected_sequence} was due: one was lost, repeated or reordered",
                self.sequence
            )));
        }
        let bytes = u64::from(self.words) * 8;
        if bytes > max_bytes {
            return Err(Fault::TooLarge { bytes, limit: max_bytes });
        }
        Ok(())
    }

    /// Checks a payload against the header: length and checksum.
    pub(super) fn verify(&self, words: &[u64]) -> Result<(), Fault> {
        if words.len() != self.words as usize {
            return Err(Fault::BadFrame(format!("{} words came, the header announced {}", words.len(), self.words)));
        }
        if checksum(words) != self.payload_crc {
            return Err(Fault::BadFrame("the payload's checksum is wrong: it was changed on the way".into()));
        }
        Ok(())
    }
}

/// CRC-32 of a payload.
pub(super) fn checksum(words: &[u64]) -> u32 {
    crc32fast::hash(bytemuck::cast_slice(words))
}

fn u32_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u32 {
    let mut le = [0u8; 4];
    le.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(le)
}

fn u64_at(bytes: &[u8; HEADER_BYTES], at: usize) -> u64 {
    let mut le = [0u8; 8];
    le.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(le)
}
