//! Sending and receiving within a protocol: who has which role in which part of the elements,
//! which nonces belong to it, and the tag that every message carries.

use crate::device::{Buffer, View};
use crate::mpc::{MpcError, Party};
use crate::net::{NetError, PartyId, Tag};
use crate::prg::Nonce;
use crate::ring::Layout;
use std::ops::Range;

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Party i + 1, who also holds component i + 1.
    Next,
    /// Party i − 1, who also holds component i.
    Prev,
}

macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// Which message of which protocol: the `kind` of its tag.
        #[derive(Clone, Copy)]
        #[repr(u16)]
        pub enum Kind {
            /// No message has kind 0.
            #[allow(dead_code)]
            None,
            $($kind,)*
        }

        /// By kind, from 0.
        const NAMES: &[&str] = &["none", $($name,)*];
    };
}

kinds! {
    Open "open",
    OpenTo "open to one",
    Input "input",
    Reshare "reshare",
    ReshareXor "reshare, exclusive or",
    TruncateDeal "truncation: z₂, γ₁",
    TruncateTop "truncation: e",
    TruncateRole1 "truncation: p₁, f",
    TruncateRole0 "truncation: p₀",
    TruncateShared "truncation: y₀, a₂",
    TruncateTerm1 "truncation: b·a₁ + μ",
    TruncateTerm2 "truncation: b·a₂ + ν",
    TruncatePaper "truncation of the paper: y₀",
    SignBits "sign: bits of A",
    SignCarries1 "sign: G, P of role 1",
    SignCarries2 "sign: G, P of role 2",
    SignTree "sign: level of the tree",
    BitsOpen "bit product: u₂",
    BitsPad "bit product: p₀ − f",
    BitsRole1 "bit product: d",
    BitsRole2 "bit product: e, p₂ − ν",
    BitsClose "bit product: p₁ − μ",
    ConvertBit "bit to ring: u₂",
    ConvertTerm1 "bit to ring: term of role 1",
    ConvertTerm2 "bit to ring: term of role 2",
}

/// A kind as it travels: a protocol's own, a type of array (`raw.rs`), or several in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u16);

/// Elements of `width` bits: this and the width.
const BITS: u16 = 0x4000;
/// Integers of `width` bits one after the other: this and the width.
const INTEGERS: u16 = 0x4100;
/// Several arrays in one message: this and a digest of their kinds and lengths.
const SEVERAL: u16 = 0x8000;

impl From<Kind> for Code {
    fn from(kind: Kind) -> Code {
        Code(kind as u16)
    }
}

impl Code {
    /// A tensor's elements, `width` bits of each.
    pub fn bits(width: u32) -> Code {
        Code(BITS | width as u16)
    }

    /// Integers of `width` bits.
    pub fn integers(width: u32) -> Code {
        Code(INTEGERS | width as u16)
    }

    /// One message with these arrays of these many words.
    pub fn of(arrays: &[(Code, usize)]) -> Code {
        if let [(one, _)] = arrays {
            return *one;
        }
        let mut crc = crc32fast::Hasher::new();
        for (code, words) in arrays {
            crc.update(&code.0.to_le_bytes());
            crc.update(&words.to_le_bytes());
        }
        Code(SEVERAL | (crc.finalize() & 0x7fff) as u16)
    }
}

/// What the message is, for people.
impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            code if code & SEVERAL != 0 => f.write_str("several arrays of one round"),
            code if code & 0xff00 == BITS => write!(f, "elements of {} bits", code & 0xff),
            code if code & 0xff00 == INTEGERS => write!(f, "integers of {} bits", code & 0xff),
            code => f.write_str(NAMES.get(usize::from(code)).unwrap_or(&"unknown")),
        }
    }
}

/// The part of the elements in which a party has some role, with that part's nonces.
pub(super) struct Part<const K: usize> {
    /// Its elements.
    pub elements: Range<usize>,
    /// Its words in a plane of packed bits.
    pub words: Range<usize>,
    /// Nonces, the same for all three roles of the part.
    pub nonces: [Nonce; K],
}

impl Party {
    /// This party's part in role 0, 1 and 2, with `K` nonces each. All parties draw the nonces of
    /// all parts in the same order.
    pub(super) fn parts<const K: usize>(&mut self, elements: usize) -> [Part<K>; 3] {
        let layout = Layout::new(elements);
        let mut parts = [0, 1, 2].map(|part| {
            let elements = layout.third(part);
            let words = Layout::word_range(&elements);
            Part { elements, words, nonces: std::array::from_fn(|_| self.prg.nonce()) }
        });
        // The party of role r in part c is c + r, so role r is had in part id − r.
        match self.id().index() {
            0 => parts.swap(1, 2),
            1 => parts.swap(0, 1),
            _ => parts.swap(0, 2),
        }
        parts
    }

    /// The party on that side.
    pub fn peer(&self, side: Side) -> PartyId {
        match side {
            Side::Next => self.id().next(),
            Side::Prev => self.id().prev(),
        }
    }

    fn tag(&self, kind: Code) -> Tag {
        Tag { position: self.prg.position(), kind: kind.0 }
    }

    /// Posts a message; an empty one is not sent.
    pub(super) fn post(&self, side: Side, kind: Kind, message: Buffer) -> Result<(), MpcError> {
        let words = message.into_host().map_err(|e| self.device_error(e))?;
        self.post_host(side, kind, words)
    }

    /// Posts a copy of a device's words.
    pub(super) fn post_copy(&self, side: Side, kind: Kind, message: View) -> Result<(), MpcError> {
        let words = message.to_host().map_err(|e| self.device_error(e))?;
        self.post_host(side, kind, words)
    }

    /// Posts words that are in main memory.
    pub(super) fn post_host(&self, side: Side, kind: impl Into<Code>, words: Vec<u64>) -> Result<(), MpcError> {
        if words.is_empty() {
            return Ok(());
        }
        Ok(self.net.send(self.peer(side), self.tag(kind.into()), words)?)
    }

    /// The message of `len` words that is due from that side, on this party's device.
    pub(super) fn take(&self, side: Side, kind: impl Into<Code>, len: usize) -> Result<Buffer, MpcError> {
        Ok(self.device().upload(self.take_host(side, &[(kind.into(), len)])?))
    }

    /// The message that is due from that side and holds these arrays, one after the other.
    pub(super) fn take_host(&self, side: Side, arrays: &[(Code, usize)]) -> Result<Vec<u64>, MpcError> {
        let len = arrays.iter().map(|(_, len)| len).sum();
        if len == 0 {
            return Ok(vec![]);
        }
        let (peer, tag) = (self.peer(side), self.tag(Code::of(arrays)));
        let words = self.net.recv(peer, tag, len).map_err(|error| self.explain(error))?;
        self.microscope.message(arrays);
        Ok(words)
    }

    /// A message of another type than the one waited for, in words; any other error as it is.
    fn explain(&self, error: NetError) -> MpcError {
        match error {
            NetError::Diverged { party, peer, step, expected, got, expected_words, got_words }
                if expected.kind != got.kind && expected.kind >= BITS && expected.position == got.position =>
            {
                let (expected, got) = (Code(expected.kind), Code(got.kind));
                MpcError::Message {
                    party,
                    peer,
                    step,
                    expected: format!("{expected} ({expected_words} words)"),
                    got: format!("{got} ({got_words} words)"),
                }
            }
            other => MpcError::Net(other),
        }
    }
}
