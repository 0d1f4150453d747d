//! Sending and receiving within a protocol: who has which role in which part of the elements,
//! which nonces belong to it, and the tag that every message carries.

use crate::device::{Buffer, View};
use crate::mpc::{MpcError, Party};
use crate::net::Tag;
use crate::prg::Nonce;
use crate::ring::Layout;
use std::ops::Range;

/// A neighbour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Next,
    Prev,
}

/// Which message of which protocol: the `kind` of its tag.
#[derive(Clone, Copy)]
#[repr(u16)]
pub(super) enum Kind {
    Open = 1,
    OpenTo,
    Input,
    Reshare,
    TruncateDeal,
    TruncateTop,
    TruncateRole1,
    TruncateRole0,
    TruncateShared,
    TruncateTerm1,
    TruncateTerm2,
    TruncatePaper,
    SignBits,
    SignCarries1,
    SignCarries2,
    SignTree,
    BitsOpen,
    BitsPad,
    BitsRole1,
    BitsRole2,
    BitsClose,
    ConvertBit,
    ConvertTerm1,
    ConvertTerm2,
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

    fn peer(&self, side: Side) -> crate::net::PartyId {
        match side {
            Side::Next => self.id().next(),
            Side::Prev => self.id().prev(),
        }
    }

    fn tag(&self, kind: Kind) -> Tag {
        Tag { position: self.prg.position(), kind: kind as u16 }
    }

    /// Posts a message; an empty one is not sent.
    pub(super) fn post(&self, side: Side, kind: Kind, message: Buffer) -> Result<(), MpcError> {
        let words = message.into_host().map_err(|e| self.device_error(e))?;
        self.send(side, kind, words)
    }

    /// Posts a copy of a device's words.
    pub(super) fn post_copy(&self, side: Side, kind: Kind, message: View) -> Result<(), MpcError> {
        let words = message.to_host().map_err(|e| self.device_error(e))?;
        self.send(side, kind, words)
    }

    fn send(&self, side: Side, kind: Kind, words: Vec<u64>) -> Result<(), MpcError> {
        if words.is_empty() {
            return Ok(());
        }
        Ok(self.net.send(self.peer(side), self.tag(kind), words)?)
    }

    /// The message of `len` words that is due from that side, on this party's device.
    pub(super) fn take(&self, side: Side, kind: Kind, len: usize) -> Result<Buffer, MpcError> {
        if len == 0 {
            return Ok(self.device().alloc(0));
        }
        Ok(self.device().upload(self.net.recv(self.peer(side), self.tag(kind), len)?))
    }
}
