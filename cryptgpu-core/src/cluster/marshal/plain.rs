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
///
/// It travels in postcard's format, which writes fields by their order alone. A type that leaves fields out
/// (`#[serde(skip_serializing_if)]`, `skip_serializing`), or that finds its fields by their names (`flatten`, `untagged`,
/// `tag`), would arrive as something else; that is tested before anything is sent, and is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plain<T>(
    /// The value.
    pub T,
);

impl<T: DeserializeOwned> Plain<T> {
    fn read(from: &mut Reader<'_>) -> Result<T, String> {
        let len = from.length(1)?;
        decode(from.take(len)?).map_err(|error| format!("{}: {error}", std::any::type_name::<T>()))
    }
}

/// Reads postcard's encoding, of which nothing may be left over.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match postcard::take_from_bytes(bytes).map_err(|error| error.to_string())? {
        (value, []) => Ok(value),
        (_, rest) => Err(format!("{} bytes are left over", rest.len())),
    }
}

/// The length, and postcard's encoding of `value`, tested to arrive as the same value of type `T`.
fn encode<T: Serialize + DeserializeOwned>(value: &T) -> Result<Vec<u8>, String> {
    let name = std::any::type_name::<T>();
    let unfaithful = || {
        format!(
            "{name} would not arrive as it was sent: values travel with their fields in order and without names, so a type \
             cannot leave fields out (`skip_serializing_if`, `skip_serializing`) or find them by name (`flatten`, \
             `untagged`, `tag`); take these attributes off the type, or pass the value as text (JSON in a `String`)"
        )
    };
    let mut bytes = postcard::to_extend(value, vec![0; 8]).map_err(|error| match error {
        // How flattened fields and maps of unknown length show.
        postcard::Error::SerializeSeqLengthUnknown | postcard::Error::WontImplement => unfaithful(),
        error => format!("{name}: {error}"),
    })?;
    let arrived: T = decode(&bytes[8..]).map_err(|_| unfaithful())?;
    let described = |value: &T| ciborium::Value::serialized(value);
    let faithful = match (described(value), described(&arrived)) {
        // Nearly all are equal as they are; a canonical description, which sets, maps and NaN need, takes longer.
        (Ok(sent), Ok(arrived)) => sent == arrived || canonical(sent) == canonical(arrived),
        (Err(error), _) | (_, Err(error)) => return Err(format!("{name}: {error}")),
    };
    if !faithful {
        return Err(unfaithful());
    }
    let len = (bytes.len() - 8) as u64;
    bytes[..8].copy_from_slice(&len.to_le_bytes());
    Ok(bytes)
}

/// A description of a value that is equal for equal values: sets and maps have no order, and NaN equals itself.
fn canonical(value: ciborium::Value) -> Vec<u8> {
    use ciborium::Value;
    let sorted = |mut parts: Vec<Vec<u8>>, kind: u8| {
        parts.sort_unstable();
        let parts = parts.into_iter().flat_map(|part| [(part.len() as u64).to_le_bytes().to_vec(), part].concat());
        std::iter::once(kind).chain(parts).collect()
    };
    match value {
        // Lists and sets look alike, so lists are compared as sets; a shifted field changes more than an order.
        Value::Array(values) => sorted(values.into_iter().map(canonical).collect(), b'a'),
        Value::Map(pairs) => {
            let pair = |(key, value)| sorted(vec![canonical(Value::Array(vec![key])), canonical(value)], b'p');
            sorted(pairs.into_iter().map(pair).collect(), b'm')
        }
        Value::Tag(tag, value) => [&tag.to_le_bytes()[..], &canonical(*value)].concat(),
        Value::Float(value) => [&b"f"[..], &value.to_bits().to_le_bytes()].concat(),
        other => format!("{other:?}").into_bytes(),
    }
}

impl<T: DeserializeOwned> Argument for Plain<T> {
    fn receive(from: &mut ArgumentReader<'_>) -> Result<Self, JobError> {
        Plain::read(&mut from.reader)
            .map(Plain)
            .map_err(|detail| JobError::Arguments(format!("cannot read an argument: {detail}")))
    }
}

impl<T: Serialize + DeserializeOwned, U: std::borrow::Borrow<T>> PassedAs<Plain<T>> for Plain<U> {
    fn pass(self, parcel: &mut Parcel) -> Result<(), ClusterError> {
        let bytes =
            encode::<T>(self.0.borrow()).map_err(|detail| ClusterError::argument("pass an argument", &detail))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::{BTreeMap, HashMap, HashSet};
    use std::fmt::Debug;

    /// What arrives, or why it is not sent.
    fn sent<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, String> {
        encode(value).map(|bytes| Plain::read(&mut Reader(&bytes)).unwrap())
    }

    fn arrives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
        assert_eq!(sent(&value).unwrap(), value);
    }

    fn is_refused<T: Serialize + DeserializeOwned + Debug>(value: T) {
        let error = sent(&value).unwrap_err();
        assert!(error.contains("would not arrive as it was sent"), "{value:?}: {error}");
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Options {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        level: u8,
        list: Vec<u8>,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Hidden {
        #[serde(default, skip_serializing)]
        first: u8,
        second: u8,
        list: Vec<u8>,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Inner {
        depth: u8,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Flat {
        #[serde(flatten)]
        inner: Inner,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(untagged)]
    enum Untagged {
        Number(u64),
        Text(String),
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    #[serde(tag = "kind")]
    enum Tagged {
        Some { depth: u8 },
    }

    #[test]
    fn types_that_would_arrive_as_something_else_are_refused_before_they_are_sent() {
        is_refused(Options { limit: None, level: 0, list: vec![0] });
        is_refused(Options { limit: None, level: 7, list: vec![] });
        arrives(Options { limit: Some(3), level: 7, list: vec![1, 2] });
        is_refused(vec![(1u8, Options { limit: None, level: 0, list: vec![0] })]);
        is_refused(Hidden { first: 0, second: 5, list: vec![1] });
        is_refused(Hidden { first: 1, second: 0, list: vec![] });
        is_refused(Flat { inner: Inner { depth: 1 } });
        is_refused(Untagged::Number(3));
        is_refused(Untagged::Text("x".to_owned()));
        is_refused(Tagged::Some { depth: 2 });
    }

    #[test]
    fn everything_else_arrives_as_it_was_sent() {
        arrives((i128::MIN, u128::MAX, Some(None::<u8>), None::<Option<u8>>, '\u{1F980}', ()));
        arrives(HashMap::from([((1u8, "a".to_owned()), vec![1.5f64, -0.0]), ((2, String::new()), vec![])]));
        arrives((0..100).map(|i| format!("{i}")).collect::<HashSet<_>>());
        arrives(BTreeMap::from([(-3i8, f64::INFINITY), (4, f64::MIN_POSITIVE)]));
        assert!(sent(&f64::NAN).unwrap().is_nan() && sent(&[f32::NAN]).unwrap()[0].is_nan());
        assert_eq!(sent(&Some(None::<u8>)).unwrap(), Some(None));
    }

    #[test]
    fn an_error_shows_no_value() {
        let error = sent(&Options { limit: None, level: 222, list: vec![222] }).unwrap_err();
        assert!(error.contains("Options") && !error.contains("222"), "{error}");
    }
}
