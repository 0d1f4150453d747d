//! Sending and receiving within a protocol: who has which role in which part of the elements,
//! which nonces belong to it, and the tag that every message carries.

use crate::device::{Buffer, View, ViewMut};
use crate::mpc::{MpcError, Party};
use crate::net::{NetError, Outgoing, PartyId, Received, Tag};
use crate::prg::{Nonce, Purpose};
use crate::ring::{Layout, Ring};
use std::ops::Range;

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Party i + 1, who also holds component i + 1.
    Next,
    /// Party i − 1, who also holds component i.
    Prev,
}

/// What a message is: the `kind` of its tag. A protocol's own has a line in the table below; messages by hand have the
/// type of their array (`unmasked.rs`); several arrays in one message have a digest of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageKind(pub u16);

macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// The position of each kind in the table; no message has kind 0.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        #[repr(u16)]
        enum Row {
            #[allow(dead_code)]
            NONE,
            $($kind,)*
        }

        impl MessageKind {
            $(#[doc = $name] pub const $kind: MessageKind = MessageKind(Row::$kind as u16);)*
        }

        /// By kind, from 0.
        const NAMES: &[&str] = &["none", $($name,)*];
    };
}

kinds! {
    OPEN "open",
    OPEN_TO "open to one",
    INPUT "input",
    RESHARE "reshare",
    RESHARE_XOR "reshare, exclusive or",
    TRUNCATE_DEAL "truncation: z₂, γ₁",
    TRUNCATE_TOP "truncation: e",
    TRUNCATE_ROLE1 "truncation: p₁, f",
    TRUNCATE_ROLE0 "truncation: p₀",
    TRUNCATE_SHARED "truncation: y₀, a₂",
    TRUNCATE_TERM1 "truncation: b·a₁ + μ",
    TRUNCATE_TERM2 "truncation: b·a₂ + ν",
    TRUNCATE_PAPER "truncation of the paper: y₀",
    SIGN_BITS "sign: bits of A",
    SIGN_CARRIES1 "sign: G, P of role 1",
    SIGN_CARRIES2 "sign: G, P of role 2",
    SIGN_DEALT "sign: role 0's shares of the tree",
    SIGN_TREE "sign: level of the tree",
    BITS_OPEN "bit product: u₂",
    BITS_PAD "bit product: p₀ − f",
    BITS_ROLE1 "bit product: d",
    BITS_ROLE2 "bit product: e",
    BITS_CLOSE1 "bit product: p₁ − μ",
    BITS_CLOSE2 "bit product: p₂ − ν",
    CONVERT_BIT "bit to ring: u₂",
    CONVERT_TERM1 "bit to ring: term of role 1",
    CONVERT_TERM2 "bit to ring: term of role 2",
    KEY "key of two parties",
    COMMON_KEY "key of all three parties",
    SELF_TEST "self-test of the links",
    ADMITTED "what a run was admitted as",
    SERVING_NEWS "serving: requests that have come",
    SERVING_AGENDA "serving: the next batch",
    SERVING_AGREED "serving: the batch is the same",
    EXTEND_DEAL "extension: y₀, a₂",
    EXTEND_TERM1 "extension: b·a₁ + μ",
    EXTEND_TERM2 "extension: b·a₂ + ν",
    SERVING_DIGESTS "serving: digests of shares",
    SERVING_LEFT_OUT "serving: requests left out",
}

/// Elements of `width` bits: this and the width.
const BITS: u16 = 0x4000;
/// Integers of `width` bits one after the other: this and the width.
const INTEGERS: u16 = 0x4100;
/// Several arrays in one message: this and a digest of their kinds and lengths.
const SEVERAL: u16 = 0x8000;

impl MessageKind {
    /// A tensor's elements, `width` bits of each.
    pub fn bits(width: u32) -> MessageKind {
        MessageKind(BITS | width as u16)
    }

    /// Integers of `width` bits.
    pub fn integers(width: u32) -> MessageKind {
        MessageKind(INTEGERS | width as u16)
    }

    /// The operation whose first message is of this kind, in a ring, on these public numbers: lengths, widths.
    pub fn on(self, ring: Ring, numbers: &[usize]) -> Purpose {
        // One number more where words have another size than usual.
        let short = (ring == Ring::Z32).then_some(u64::from(ring.bits()));
        let numbers: Vec<u64> = numbers.iter().map(|&number| number as u64).chain(short).collect();
        Purpose::new(self.0, &numbers)
    }

    /// The kind of a message with these arrays, each with how many words it has.
    pub fn of(arrays: &[(MessageKind, usize)]) -> MessageKind {
        if let [(one, _)] = arrays {
            return *one;
        }
        let mut crc = crc32fast::Hasher::new();
        for (kind, words) in arrays {
            crc.update(&kind.0.to_le_bytes());
            crc.update(&words.to_le_bytes());
        }
        MessageKind(SEVERAL | (crc.finalize() & 0x7fff) as u16)
    }
}

/// What the message is, for people.
impl std::fmt::Display for MessageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            kind if kind & SEVERAL != 0 => f.write_str("several arrays of one round"),
            kind if kind & 0xff00 == BITS => write!(f, "elements of {} bits", kind & 0xff),
            kind if kind & 0xff00 == INTEGERS => write!(f, "integers of {} bits", kind & 0xff),
            kind => f.write_str(NAMES.get(usize::from(kind)).unwrap_or(&"unknown")),
        }
    }
}

/// The words of memory of elements that begin and end with a word.
fn memory(ring: Ring, elements: Range<usize>) -> Range<usize> {
    elements.start / ring.packed()..elements.end / ring.packed()
}

/// The part of the elements in which a party has some role, with that part's nonces.
pub(super) struct Part<const K: usize> {
    /// How many elements, what fills the last word among them.
    pub count: usize,
    /// Its words of memory: one for each element in the ring of 64 bits, one for two in that of 32.
    pub elements: Range<usize>,
    /// Its words in a plane of packed bits.
    pub words: Range<usize>,
    /// Nonces, the same for all three roles of the part.
    pub nonces: [Nonce; K],
}

impl Party {
    /// This party's part in role 0, 1 and 2, with `K` nonces each, for the protocol whose first message is of that kind
    /// and that depends on that number besides. All parties draw the nonces of all parts in the same order.
    pub(super) fn parts<const K: usize>(
        &mut self,
        kind: MessageKind,
        ring: Ring,
        elements: usize,
        number: u32,
    ) -> [Part<K>; 3] {
        let purpose = kind.on(ring, &[elements, number as usize]);
        let layout = Layout::new(ring.filled(elements));
        let parts = [0, 1, 2].map(|part| {
            let elements = layout.third(part);
            let (words, count) = (Layout::word_range(&elements), elements.len());
            let elements = memory(ring, elements);
            Part { count, elements, words, nonces: std::array::from_fn(|_| self.prg.nonce_for(purpose)) }
        });
        self.by_role(parts)
    }

    /// What belongs to the three parts of the elements, in the order of this party's roles in them.
    fn by_role<T>(&self, mut parts: [T; 3]) -> [T; 3] {
        // The party of role r in part c is c + r, so role r is had in part id − r.
        match self.id().index() {
            0 => parts.swap(1, 2),
            1 => parts.swap(0, 1),
            _ => parts.swap(0, 2),
        }
        parts
    }

    /// The places of role 0's, 1's and 2's parts in a component, elements of a ring.
    pub(super) fn places<'a>(&self, ring: Ring, component: &'a mut Buffer) -> [ViewMut<'a>; 3] {
        let layout = Layout::new(ring.packed() * component.len());
        self.in_roles([0, 1].map(|part| memory(ring, layout.third(part)).len()), component)
    }

    /// The same of packed bits of so many elements.
    pub(super) fn packed_places<'a>(&self, ring: Ring, elements: usize, component: &'a mut Buffer) -> [ViewMut<'a>; 3] {
        let layout = Layout::new(ring.filled(elements));
        self.in_roles([0, 1].map(|part| Layout::word_range(&layout.third(part)).len()), component)
    }

    /// The places of this party's roles in a component whose first two parts have so many words.
    fn in_roles<'a>(&self, [first, second]: [usize; 2], component: &'a mut Buffer) -> [ViewMut<'a>; 3] {
        let (zeroth, rest) = component.view_mut().split_at(first);
        let (first, second) = rest.split_at(second);
        self.by_role([zeroth, first, second])
    }

    /// The party on that side.
    pub fn peer(&self, side: Side) -> PartyId {
        match side {
            Side::Next => self.id().next(),
            Side::Prev => self.id().prev(),
        }
    }

    /// What a message of that kind is called at this place in the program.
    pub(super) fn tag(&self, kind: MessageKind) -> Tag {
        Tag { position: self.prg.address(), kind: kind.0 }
    }

    /// Posts a message; an empty one is not sent.
    pub(super) fn post(&self, side: Side, kind: MessageKind, message: Buffer) -> Result<(), MpcError> {
        self.post_from(side, kind, Outgoing::Whole(message))
    }

    /// Posts a copy of a device's words.
    pub(super) fn post_copy(&self, side: Side, kind: MessageKind, message: View) -> Result<(), MpcError> {
        self.post_from(side, kind, Outgoing::Copy(message))
    }

    fn post_from(&self, side: Side, kind: MessageKind, message: Outgoing<'_>) -> Result<(), MpcError> {
        if message.is_empty() {
            return Ok(());
        }
        Ok(self.net.send_from(self.peer(side), self.tag(kind), message)?)
    }

    /// Posts words that are in main memory.
    pub(super) fn post_host(&self, side: Side, kind: MessageKind, words: Vec<u64>) -> Result<(), MpcError> {
        if words.is_empty() {
            return Ok(());
        }
        Ok(self.net.send(self.peer(side), self.tag(kind), words)?)
    }

    /// The message of `len` words that is due from that side, on this party's device.
    pub(super) fn take(&self, side: Side, kind: MessageKind, len: usize) -> Result<Buffer, MpcError> {
        self.take_tagged(side, self.tag(kind), kind, len)
    }

    /// The message that is due from that side and holds these arrays, one after the other.
    pub(super) fn take_host(&self, side: Side, arrays: &[(MessageKind, usize)]) -> Result<Vec<u64>, MpcError> {
        let len = arrays.iter().map(|(_, len)| len).sum();
        if len == 0 {
            return Ok(vec![]);
        }
        Ok(self.await_message(side, self.tag(MessageKind::of(arrays)), arrays, len)?.into_host()?)
    }

    /// As [`Party::take`], of a message that was sent elsewhere in the program, as its tag says.
    pub(super) fn take_tagged(&self, side: Side, tag: Tag, kind: MessageKind, len: usize) -> Result<Buffer, MpcError> {
        if len == 0 {
            return Ok(self.device().alloc(0));
        }
        Ok(self.await_message(side, tag, &[(kind, len)], len)?.into_buffer(self.device())?)
    }

    fn await_message(
        &self,
        side: Side,
        tag: Tag,
        arrays: &[(MessageKind, usize)],
        len: usize,
    ) -> Result<Received, MpcError> {
        let message = self.net.recv_where_it_is(self.peer(side), tag, len).map_err(|error| self.explain(error))?;
        self.recorder.message(arrays);
        Ok(message)
    }

    /// A message of another type than the one waited for, in words; any other error as it is.
    fn explain(&self, error: NetError) -> MpcError {
        match error {
            NetError::Diverged { party, peer, step, expected, got, expected_words, got_words }
                if expected.kind != got.kind && expected.kind >= BITS && expected.position == got.position =>
            {
                let (expected, got) = (MessageKind(expected.kind), MessageKind(got.kind));
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
