//! What a run leaves and the caller can open: handles, and tuples and lists of them.

use super::handle::{Shared, SharedBits};
use crate::cluster::wire::error::ClusterError;
use ndarray::ArrayD;

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
