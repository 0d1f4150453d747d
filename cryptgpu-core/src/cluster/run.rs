//! What comes of a run.

use super::error::ClusterError;
use super::record::Record;
use super::shared::{Shared, SharedBits};
use super::wire::Usage;
use crate::net::PartyId;
use ndarray::ArrayD;

/// What came of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run<T> {
    /// By party.
    pub outputs: [T; 3],
    /// What it took, by party.
    pub usage: [Usage; 3],
    /// Wall-clock time as seen from here, with the arguments' and the outputs' way.
    pub seconds: f64,
    /// Bytes of arguments and outputs between the caller and the parties, all three together.
    pub control_bytes: u64,
    /// What each party recorded.
    pub(super) records: [Record; 3],
    /// A party whose output is not that of party 0.
    pub(super) differs: Option<PartyId>,
}

impl<T> Run<T> {
    /// The output, which must be the same at all parties.
    ///
    /// # Errors
    /// [`ClusterError::Disagree`] when it is not: then look at `outputs`.
    pub fn output(&self) -> Result<T, ClusterError>
    where
        T: Clone,
    {
        self.agreed().cloned()
    }

    fn agreed(&self) -> Result<&T, ClusterError> {
        self.differs.map_or(Ok(&self.outputs[0]), |party| Err(ClusterError::Disagree { party }))
    }

    /// The shares that it left, opened to the caller alone.
    ///
    /// # Errors
    /// As [`Shared::reveal`].
    pub fn reveal(&self) -> Result<T::Value, ClusterError>
    where
        T: Openable,
    {
        self.agreed()?.reveal()
    }

    /// Rounds: the growth of the longest chain of messages that ends at any party. (Not the longest growth at a party:
    /// one that had fewer rounds behind it than the others would be charged with catching up.)
    pub fn rounds(&self) -> u64 {
        self.trace().total().rounds
    }

    /// Payload bytes that the three parties sent to each other.
    pub fn bytes(&self) -> u64 {
        self.usage.iter().map(|usage| usage.stats.payload_bytes()).sum()
    }
}

impl Run<Shared> {
    /// The share that it left, opened to the caller alone, as ring words.
    ///
    /// # Errors
    /// As [`Shared::reveal`].
    pub fn reveal_words(&self) -> Result<ArrayD<u64>, ClusterError> {
        self.agreed()?.reveal_words()
    }
}

/// What a function leaves and the caller can open: handles, and tuples and lists of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` holds something that is no share and needs no opening",
    note = "take it with `run.output()?`"
)]
pub trait Openable {
    /// What the caller sees.
    type Value;

    /// Opens it to the caller alone.
    ///
    /// # Errors
    /// As [`Shared::reveal`].
    fn reveal(&self) -> Result<Self::Value, ClusterError>;
}

impl Openable for Shared {
    type Value = ArrayD<f64>;
    fn reveal(&self) -> Result<ArrayD<f64>, ClusterError> {
        Shared::reveal(self)
    }
}

impl Openable for SharedBits {
    type Value = ArrayD<bool>;
    fn reveal(&self) -> Result<ArrayD<bool>, ClusterError> {
        SharedBits::reveal(self)
    }
}

impl<T: Openable> Openable for Vec<T> {
    type Value = Vec<T::Value>;
    fn reveal(&self) -> Result<Self::Value, ClusterError> {
        self.iter().map(T::reveal).collect()
    }
}

macro_rules! tuple {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Openable),*> Openable for ($($name,)*) {
            type Value = ($($name::Value,)*);
            fn reveal(&self) -> Result<Self::Value, ClusterError> {
                Ok(($(self.$index.reveal()?,)*))
            }
        }
    };
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
