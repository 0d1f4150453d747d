//! What arguments and outcomes are written to and read from, on their way between a caller and the parties.

use super::bytes::{Bytes, Reader};
use super::handle::Token;
use super::store::{Held, Store};
use crate::cluster::wire::job_error::JobError;
use std::sync::Arc;

/// Arguments on their way: the encoding of each party's.
#[derive(Debug)]
pub struct Parcel {
    /// The number of the cluster that they go to, and its generation: handles must be of both.
    pub(super) cluster: u64,
    pub(super) generation: u64,
    parties: [Vec<u8>; 3],
    /// Who gets what is put in now.
    pub(super) to: [bool; 3],
}

impl Parcel {
    /// Goes on behind what is in `frames`.
    pub(in crate::cluster) fn new(cluster: u64, generation: u64, frames: [Vec<u8>; 3]) -> Self {
        Parcel { cluster, generation, parties: frames, to: [true; 3] }
    }

    pub(in crate::cluster) fn into_frames(self) -> [Vec<u8>; 3] {
        self.parties
    }

    pub(super) fn put(&mut self, value: &impl Bytes) {
        for (bytes, _) in self.parties.iter_mut().zip(self.to).filter(|(_, to)| *to) {
            value.write(bytes);
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        for (buffer, _) in self.parties.iter_mut().zip(self.to).filter(|(_, to)| *to) {
            buffer.extend_from_slice(bytes);
        }
    }

    /// Puts something in for those parties only, as far as it is meant for them at all.
    pub(super) fn only<T>(&mut self, to: [bool; 3], body: impl FnOnce(&mut Self) -> T) -> T {
        let all = self.to;
        self.to = [all[0] && to[0], all[1] && to[1], all[2] && to[2]];
        let result = body(self);
        self.to = all;
        result
    }
}

/// Arguments where they have arrived.
#[derive(Debug)]
pub struct ArgumentReader<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) store: &'a Store,
}

impl<'a> ArgumentReader<'a> {
    pub(in crate::cluster) fn new(bytes: &'a [u8], store: &'a Store) -> Self {
        ArgumentReader { reader: Reader(bytes), store }
    }

    pub(super) fn take<T: Bytes>(&mut self) -> Result<T, JobError> {
        T::read(&mut self.reader).map_err(|detail| JobError::Arguments(format!("cannot read an argument: {detail}")))
    }

    /// Nothing may be left over.
    pub(in crate::cluster) fn finish(self) -> Result<(), JobError> {
        match self.reader.0.len() {
            0 => Ok(()),
            left => Err(JobError::Arguments(format!("{left} bytes of arguments are left over"))),
        }
    }
}

/// What a function leaves: tensors that stay, and the encoding of everything else.
#[derive(Debug, Default)]
pub struct OutcomeWriter {
    pub(in crate::cluster) held: Vec<Held>,
    pub(in crate::cluster) body: Vec<u8>,
}

impl OutcomeWriter {
    pub(super) fn keep(&mut self, held: Held) {
        (self.held.len() as u32).write(&mut self.body);
        self.held.push(held);
    }
}

/// What one party has left, as the caller reads it.
#[derive(Debug)]
pub struct OutcomeReader<'a> {
    pub(super) reader: Reader<'a>,
    tokens: &'a [Arc<Token>],
}

impl<'a> OutcomeReader<'a> {
    pub(in crate::cluster) fn new(bytes: &'a [u8], tokens: &'a [Arc<Token>]) -> Self {
        OutcomeReader { reader: Reader(bytes), tokens }
    }

    pub(super) fn take<T: Bytes>(&mut self) -> Result<T, String> {
        T::read(&mut self.reader)
    }

    pub(super) fn token(&mut self) -> Result<Arc<Token>, String> {
        let place = self.take::<u32>()? as usize;
        self.tokens.get(place).cloned().ok_or_else(|| format!("tensor {place} of {}", self.tokens.len()))
    }
}
