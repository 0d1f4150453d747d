//! Plain values: what arrives is what was passed, and what comes back is what was returned.

use super::bytes::{Bytes, Element, Reader, write_array};
use super::parcel::{ArgumentReader, OutcomeReader, OutcomeWriter, Parcel};
use super::traits::{Argument, Outcome, PassedAs};
use crate::cluster::wire::error::ClusterError;
use crate::cluster::wire::job_error::JobError;
use crate::net::PartyId;
use ndarray::{Array, ArrayBase, Data, Dimension};
use serde::Serialize;
use serde::de::DeserializeOwned;

macro_rules! plain {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> Argument for $type {
            fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
                from.take()
            }
        }
        impl<$($generics)*> Outcome for $type {
            type Handle = Self;
            fn leave(self, to: &mut OutcomeWriter) -> Result<(), JobError> {
                self.write(&mut to.body);
                Ok(())
            }
            fn fetch(from: &mut OutcomeReader<'_>) -> Result<Self, String> {
                from.take()
            }
        }
    };
}

macro_rules! scalars {
    ($($type:ty)*) => {$(
        plain!([] $type);
        impl PassedAs<$type> for $type {
            fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
                parcel.put(&self);
                Ok(())
            }
        }
        impl PassedAs<$type> for &$type {
            fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
                parcel.put(self);
                Ok(())
            }
        }
    )*};
}

scalars!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 bool char PartyId String);

impl PassedAs<String> for &str {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        parcel.put(&self.to_owned());
        Ok(())
    }
}

plain!([T: Element, D: Dimension] Array<T, D>);

impl<T: Element, S: Data<Elem = T>, D: Dimension> PassedAs<Array<T, D>> for &ArrayBase<S, D> {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        let mut bytes = Vec::new();
        write_array(self, &mut bytes);
        parcel.extend(&bytes);
        Ok(())
    }
}

impl<T: Element, S: Data<Elem = T>, D: Dimension> PassedAs<Array<T, D>> for ArrayBase<S, D> {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        (&self).pass(parcel)
    }
}

/// A value of any type with serde, as argument and as outcome: `cluster.run(f, Plain(options))` for a function that takes
/// `Plain(options): Plain<Options>`. The caller gets what is inside of a returned one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plain<T>(
    /// The value.
    pub T,
);

impl<T: DeserializeOwned> Plain<T> {
    fn read(from: &mut Reader<'_>) -> Result<T, String> {
        let len = from.length(1)?;
        postcard::from_bytes(from.take(len)?).map_err(|error| format!("{}: {error}", std::any::type_name::<T>()))
    }
}

/// The length, and postcard's encoding.
fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, String> {
    let text = |error| format!("{}: {error}", std::any::type_name::<T>());
    let mut bytes = postcard::to_extend(value, vec![0; 8]).map_err(text)?;
    let len = (bytes.len() - 8) as u64;
    bytes[..8].copy_from_slice(&len.to_le_bytes());
    Ok(bytes)
}

impl<T: DeserializeOwned> Argument for Plain<T> {
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
        Plain::read(&mut from.reader)
            .map(Plain)
            .map_err(|detail| JobError::Other(format!("cannot read an argument: {detail}")))
    }
}

impl<T: DeserializeOwned, U: Serialize> PassedAs<Plain<T>> for Plain<U>
where
    U: std::borrow::Borrow<T>,
{
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        let bytes = encode(&self.0).map_err(|detail| ClusterError::argument("pass an argument", &detail))?;
        parcel.extend(&bytes);
        Ok(())
    }
}

impl<T: Serialize + DeserializeOwned> Outcome for Plain<T> {
    type Handle = T;

    fn leave(self, to: &mut OutcomeWriter) -> Result<(), JobError> {
        let bytes = encode(&self.0).map_err(|detail| JobError::Other(format!("cannot return a value: {detail}")))?;
        to.body.extend_from_slice(&bytes);
        Ok(())
    }

    fn fetch(from: &mut OutcomeReader<'_>) -> Result<T, String> {
        Plain::read(&mut from.reader)
    }
}
