//! Plain values as bytes: fixed width, little-endian, so that large arrays take one pass over memory.

use crate::cluster::wire::message::HeldId;
use ndarray::{Array, ArrayBase, Data, Dimension, IxDyn};

/// The rest of an encoding.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (head, rest) =
            self.0.split_at_checked(len).ok_or_else(|| format!("{len} bytes are wanted, {} are left", self.0.len()))?;
        self.0 = rest;
        Ok(head)
    }

    /// A length that the bytes behind it can hold if each element takes at least `least`.
    pub(super) fn length(&mut self, least: usize) -> Result<usize, String> {
        let len = u64::read(self)?;
        usize::try_from(len)
            .ok()
            .filter(|len| len.checked_mul(least).is_some_and(|bytes| bytes <= self.0.len()))
            .ok_or_else(|| format!("{len} elements do not fit in {} bytes", self.0.len()))
    }
}

/// A plain value with its encoding.
pub(super) trait Bytes: Sized {
    fn write(&self, to: &mut Vec<u8>);
    fn read(from: &mut Reader<'_>) -> Result<Self, String>;
}

/// A plain value that takes the same number of bytes always.
pub trait Element: Copy {
    /// How many.
    const WIDTH: usize;
    #[doc(hidden)]
    fn put(self, to: &mut Vec<u8>);
    #[doc(hidden)]
    fn get(bytes: &[u8]) -> Result<Self, String>;
}

macro_rules! number {
    ($($type:ty)*) => {$(
        impl Element for $type {
            const WIDTH: usize = size_of::<$type>();
            fn put(self, to: &mut Vec<u8>) {
                to.extend_from_slice(&self.to_le_bytes());
            }
            fn get(bytes: &[u8]) -> Result<Self, String> {
                bytes.try_into().map(<$type>::from_le_bytes).map_err(|_| "a cut number".to_owned())
            }
        }
    )*};
}

number!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64);

impl Element for bool {
    const WIDTH: usize = 1;
    fn put(self, to: &mut Vec<u8>) {
        to.push(u8::from(self));
    }
    fn get(bytes: &[u8]) -> Result<Self, String> {
        match bytes {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err("neither true nor false".to_owned()),
        }
    }
}

impl Element for usize {
    const WIDTH: usize = 8;
    fn put(self, to: &mut Vec<u8>) {
        (self as u64).put(to);
    }
    fn get(bytes: &[u8]) -> Result<Self, String> {
        Ok(u64::get(bytes)? as usize)
    }
}

impl Element for isize {
    const WIDTH: usize = 8;
    fn put(self, to: &mut Vec<u8>) {
        (self as i64).put(to);
    }
    fn get(bytes: &[u8]) -> Result<Self, String> {
        Ok(i64::get(bytes)? as isize)
    }
}

impl Element for char {
    const WIDTH: usize = 4;
    fn put(self, to: &mut Vec<u8>) {
        u32::from(self).put(to);
    }
    fn get(bytes: &[u8]) -> Result<Self, String> {
        char::from_u32(u32::get(bytes)?).ok_or_else(|| "no character".to_owned())
    }
}

impl Element for crate::net::PartyId {
    const WIDTH: usize = 1;
    fn put(self, to: &mut Vec<u8>) {
        u8::from(self).put(to);
    }
    fn get(bytes: &[u8]) -> Result<Self, String> {
        u8::get(bytes)?.try_into()
    }
}

impl<T: Element> Bytes for T {
    fn write(&self, to: &mut Vec<u8>) {
        self.put(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, String> {
        T::get(from.take(T::WIDTH)?)
    }
}

impl Bytes for String {
    fn write(&self, to: &mut Vec<u8>) {
        (self.len() as u64).write(to);
        to.extend_from_slice(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, String> {
        let len = from.length(1)?;
        String::from_utf8(from.take(len)?.to_vec()).map_err(|error| error.to_string())
    }
}

impl Bytes for HeldId {
    fn write(&self, to: &mut Vec<u8>) {
        self.run.write(to);
        self.place.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, String> {
        Ok(HeldId { run: u64::read(from)?, place: u32::read(from)? })
    }
}

/// An array: the number of axes, their lengths, the elements in row-major order.
pub(super) fn write_array<T, S, D>(array: &ArrayBase<S, D>, to: &mut Vec<u8>)
where
    T: Element,
    S: Data<Elem = T>,
    D: Dimension,
{
    (array.ndim() as u64).write(to);
    for &axis in array.shape() {
        (axis as u64).write(to);
    }
    to.reserve(array.len() * T::WIDTH);
    array.iter().for_each(|element| element.put(to));
}

impl<T: Element, D: Dimension> Bytes for Array<T, D> {
    fn write(&self, to: &mut Vec<u8>) {
        write_array(self, to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, String> {
        let axes = from.length(8)?;
        let shape = (0..axes).map(|_| u64::read(from).map(|axis| axis as usize)).collect::<Result<Vec<_>, _>>()?;
        let len = shape.iter().try_fold(T::WIDTH, |len, &axis| len.checked_mul(axis));
        let bytes = from.take(len.ok_or_else(|| format!("an array of shape {shape:?}"))?)?;
        let elements = bytes.chunks_exact(T::WIDTH).map(T::get).collect::<Result<Vec<_>, _>>()?;
        let array = Array::from_shape_vec(IxDyn(&shape), elements).map_err(|error| error.to_string())?;
        array.into_dimensionality().map_err(|error| error.to_string())
    }
}
