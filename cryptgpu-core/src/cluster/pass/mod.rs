//! How values travel between a caller and the functions it runs at the parties: arguments in, outcomes back, shares
//! staying where they are. What a function takes is an [`Argument`], what a caller may give for it is [`PassedAs`] it,
//! what a function returns is an [`Outcome`]. No message between parties is sent here, and no share is made.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the three traits, and what they read from and write to |
//! | `bytes.rs` | plain values as bytes: fixed width, little-endian, arrays in one piece |
//! | `plain.rs` | numbers, text, arrays, [`Plain`] |
//! | `collections.rs` | tuples, lists, options of anything that travels |
//! | `private.rs` | [`PerParty`], [`OnlyAt`]: what only some parties get to know |
//! | `shares.rs` | shares and opened tensors, as numbers that name them |

mod bytes;
mod collections;
mod plain;
mod private;
mod shares;

pub use plain::Plain;
pub use private::{OnlyAt, PerParty};

use super::controller::Inner;
use super::error::ClusterError;
use super::job::JobError;
use super::shared::Token;
use super::store::{Held, Store, TensorId};
use bytes::{Bytes, Reader};
use std::sync::Arc;

/// What a function that runs at the parties may take: `Rep` and `RepBits` for shares, numbers, text, `ndarray` arrays,
/// `Option<Tensor>` for a tensor that one party knows, [`Plain`] for any type with serde, and tuples of up to six, lists,
/// arrays and options of these.
#[diagnostic::on_unimplemented(
    message = "a function that runs at the parties cannot take `{Self}`",
    label = "cannot be passed to the parties",
    note = "take `Rep` where the caller passes `&Shared`, a number, a `String` or an `ndarray` array for plain values, \
            and `Plain<{Self}>` for a type of your own that has `#[derive(Serialize, Deserialize)]`"
)]
pub trait Argument: Sized {
    #[doc(hidden)]
    fn receive(from: &mut Arrived<'_>) -> Result<Self, JobError>;
}

/// What a caller may give where a function takes an `A`: the same value or a reference to it for plain types,
/// `&Shared` for `Rep`, [`OnlyAt`] for `Option<A>`, [`PerParty`] for any.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where the function takes `{A}`",
    label = "the function takes `{A}`",
    note = "for a `Rep` pass a `&Shared`: `let x = cluster.share(&array)?`, then `cluster.run(f, &x)`",
    note = "several arguments are one tuple: `cluster.run(f, (&x, 3u64))` for `fn f(p: &mut Party, (x, n): (Rep, u64))`",
    note = "a type of your own is wrapped on both sides: `Plain(value)` where the function takes `Plain<T>`"
)]
pub trait PassedAs<A> {
    #[doc(hidden)]
    fn pass(self, parcel: &mut Parcel<'_>) -> Result<(), ClusterError>;
}

/// What a function that runs at the parties may return: what it may take, but that the caller gets a `Shared` for a
/// `Rep`, a `SharedBits` for a `RepBits`, and a `Revealed` for an `Option<Tensor>` that one party has.
#[diagnostic::on_unimplemented(
    message = "a function that runs at the parties cannot return `{Self}`",
    label = "cannot come back from the parties",
    note = "return `Rep` to leave a share there, a number, a `String` or an `ndarray` array (`tensor.to_array()?`) for a \
            value the caller shall see, and `Plain(value)` for a type of your own that has `#[derive(Serialize, Deserialize)]`"
)]
pub trait Outcome {
    /// What the caller gets.
    type Handle;
    #[doc(hidden)]
    fn leave(self, to: &mut Leaving) -> Result<(), JobError>;
    #[doc(hidden)]
    fn fetch(from: &mut Fetched<'_>) -> Result<Self::Handle, String>;
}

/// Arguments on their way: the encoding of each party's.
#[derive(Debug)]
pub struct Parcel<'a> {
    cluster: &'a Arc<Inner>,
    generation: u64,
    parties: [Vec<u8>; 3],
    /// Who gets what is put in now.
    to: [bool; 3],
}

impl<'a> Parcel<'a> {
    /// Goes on behind what is in `frames`.
    pub(super) fn new(cluster: &'a Arc<Inner>, generation: u64, frames: [Vec<u8>; 3]) -> Self {
        Parcel { cluster, generation, parties: frames, to: [true; 3] }
    }

    pub(super) fn into_frames(self) -> [Vec<u8>; 3] {
        self.parties
    }

    fn put(&mut self, value: &impl Bytes) {
        for (bytes, _) in self.parties.iter_mut().zip(self.to).filter(|(_, to)| *to) {
            value.write(bytes);
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        for (buffer, _) in self.parties.iter_mut().zip(self.to).filter(|(_, to)| *to) {
            buffer.extend_from_slice(bytes);
        }
    }

    /// Puts something in for those parties only, as far as it is meant for them at all.
    fn only<T>(&mut self, to: [bool; 3], body: impl FnOnce(&mut Self) -> T) -> T {
        let all = self.to;
        self.to = [all[0] && to[0], all[1] && to[1], all[2] && to[2]];
        let result = body(self);
        self.to = all;
        result
    }
}

/// Arguments where they have arrived.
#[derive(Debug)]
pub struct Arrived<'a> {
    reader: Reader<'a>,
    store: &'a Store,
}

impl<'a> Arrived<'a> {
    pub(super) fn new(bytes: &'a [u8], store: &'a Store) -> Self {
        Arrived { reader: Reader(bytes), store }
    }

    fn take<T: Bytes>(&mut self) -> Result<T, JobError> {
        T::read(&mut self.reader).map_err(|detail| JobError::Other(format!("cannot read an argument: {detail}")))
    }

    /// Nothing may be left over.
    pub(super) fn finish(self) -> Result<(), JobError> {
        match self.reader.0.len() {
            0 => Ok(()),
            left => Err(JobError::Other(format!("{left} bytes of arguments are left over"))),
        }
    }
}

/// What a function leaves: tensors that stay, and the encoding of everything else.
#[derive(Debug, Default)]
pub struct Leaving {
    pub(super) held: Vec<Held>,
    pub(super) body: Vec<u8>,
}

impl Leaving {
    fn keep(&mut self, held: Held) {
        (self.held.len() as u32).write(&mut self.body);
        self.held.push(held);
    }
}

/// What one party has left, as the caller reads it.
#[derive(Debug)]
pub struct Fetched<'a> {
    reader: Reader<'a>,
    tokens: &'a [Arc<Token>],
}

impl<'a> Fetched<'a> {
    pub(super) fn new(bytes: &'a [u8], tokens: &'a [Arc<Token>]) -> Self {
        Fetched { reader: Reader(bytes), tokens }
    }

    fn take<T: Bytes>(&mut self) -> Result<T, String> {
        T::read(&mut self.reader)
    }

    fn token(&mut self) -> Result<Arc<Token>, String> {
        let place = self.take::<u32>()? as usize;
        self.tokens.get(place).cloned().ok_or_else(|| format!("tensor {place} of {}", self.tokens.len()))
    }
}

impl Bytes for TensorId {
    fn write(&self, to: &mut Vec<u8>) {
        self.run.write(to);
        self.place.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, String> {
        Ok(TensorId { run: u64::read(from)?, place: u32::read(from)? })
    }
}
