//! Constant tensors of a file: elements from the message itself or from a file beside it, lengths checked before anything
//! is allocated.

use super::constant::{Constant, Dim};
use super::error::OnnxError;
use super::proto::Tensor;
use ndarray::{ArrayD, IxDyn};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

/// Where a file's external data may lie: beside it, or nowhere for bytes without a file.
#[derive(Debug)]
pub(super) struct Beside {
    folder: Option<PathBuf>,
    /// Files that were read from, with their sizes.
    used: BTreeMap<PathBuf, u64>,
    /// Bytes read of them in all.
    read: u64,
}

impl Beside {
    pub(super) fn nothing() -> Self {
        Beside { folder: None, used: BTreeMap::new(), read: 0 }
    }

    pub(super) fn file(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Beside { folder: Some(folder.to_owned()), used: BTreeMap::new(), read: 0 }
    }

    /// SHA-256 of the file `bytes` and of all files beside it that were read from, in the order of their names, in
    /// hexadecimal digits: for a file without external data the digest of the file.
    pub(super) fn digest(&self, bytes: &[u8]) -> Result<String, OnnxError> {
        let mut digest = Sha256::new_with_prefix(bytes);
        for path in self.used.keys() {
            let failed = |source| OnnxError::Read { path: path.display().to_string(), source };
            let mut file = File::open(path).map_err(failed)?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                match file.read(&mut buffer).map_err(failed)? {
                    0 => break,
                    read => digest.update(&buffer[..read]),
                }
            }
        }
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// `length` bytes of a tensor, from the file beside ours that `entries` name.
    fn read(&mut self, tensor: &Tensor, length: usize) -> Result<Vec<u8>, OnnxError> {
        let wrong = |what: String| OnnxError::Tensor { tensor: tensor.name.clone(), what };
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let number = |key: &str| match entry(key) {
            None => Ok(None),
            Some(text) => text.parse::<u64>().map(Some).map_err(|_| wrong(format!("its external {key} is no number"))),
        };
        let location = entry("location").ok_or_else(|| wrong("its external data has no location".into()))?;
        let (offset, stated) = (number("offset")?.unwrap_or(0), number("length")?);
        if stated.is_some_and(|stated| stated != length as u64) {
            return Err(wrong(format!("its external data is not of the {length} bytes that its shape needs")));
        }
        let path = self.resolve(location).ok_or_else(|| {
            wrong("its external data is not in a file beside the ONNX file, and no other file is read".into())
        })?;
        let failed = |source| OnnxError::Read { path: path.display().to_string(), source };
        let mut file = File::open(&path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        if offset.checked_add(length as u64).is_none_or(|end| end > size) {
            return Err(wrong(format!("its external data ends beyond the end of {}", path.display())));
        }
        // Tensors lie side by side; ones that all name the same bytes would fill any memory.
        self.used.insert(path.clone(), size);
        self.read = self.read.saturating_add(length as u64);
        if self.read > self.used.values().fold(0, |all, size| all.saturating_add(2 * size)) {
            return Err(wrong(format!("it and others before it name the same bytes of {}", path.display())));
        }
        let mut bytes = vec![0; length];
        file.seek(SeekFrom::Start(offset)).and_then(|_| file.read_exact(&mut bytes)).map_err(failed)?;
        Ok(bytes)
    }

    /// The file of that name beside ours; None for a path that leads elsewhere, by `..`, from the root, or by a link.
    fn resolve(&self, location: &str) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        let relative = Path::new(location);
        let within = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !within || location.is_empty() {
            return None;
        }
        let path = folder.join(relative);
        match (path.canonicalize(), folder.canonicalize()) {
            (Ok(real), Ok(folder)) if !real.starts_with(&folder) || !real.is_file() => None,
            // What is not there is said when it is opened.
            _ => Some(path),
        }
    }
}

/// The numbers that ONNX has for types of elements.
const FLOAT: i32 = 1;
/// Words, which no layer takes.
pub(super) const STRING: i32 = 8;
const FLOAT16: i32 = 10;
const DOUBLE: i32 = 11;
const BFLOAT16: i32 = 16;

/// The type of elements of that number, and its bytes in raw data; None for what is neither float nor integer.
fn element(data_type: i32) -> Option<(&'static str, usize)> {
    Some(match data_type {
        FLOAT => ("float", 4),
        FLOAT16 => ("float16", 2),
        DOUBLE => ("double", 8),
        BFLOAT16 => ("bfloat16", 2),
        2 => ("uint8", 1),
        3 => ("int8", 1),
        4 => ("uint16", 2),
        5 => ("int16", 2),
        6 => ("int32", 4),
        7 => ("int64", 8),
        9 => ("bool", 1),
        _ => return None,
    })
}

/// Whether elements of that type are floats of some size.
pub(super) fn is_float(data_type: i32) -> bool {
    matches!(data_type, FLOAT | FLOAT16 | DOUBLE | BFLOAT16)
}

/// A constant of the file. Floats become f32, as weights have them; integers and booleans become i64.
pub(super) fn constant(tensor: &Tensor, beside: &mut Beside) -> Result<Constant, OnnxError> {
    let wrong = |what: String| OnnxError::Tensor { tensor: tensor.name.clone(), what };
    let (name, size) = element(tensor.data_type).ok_or_else(|| {
        wrong(format!(
            "elements of type number {} are not read: use float, float16, double or integers",
            tensor.data_type
        ))
    })?;
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
    let shape = shape.ok_or_else(|| wrong("its shape has a negative size".into()))?;
    let elements = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let bytes = elements.and_then(|elements| elements.checked_mul(size.max(8)));
    let (Some(elements), Some(_)) = (elements, bytes.filter(|&bytes| bytes <= isize::MAX as usize)) else {
        return Err(wrong(format!("its shape {shape:?} has more elements than memory can hold")));
    };
    let raw: Option<Cow<'_, [u8]>> = match (&tensor.raw_data, tensor.data_location) {
        (_, 1) => Some(Cow::Owned(beside.read(tensor, elements * size)?)),
        (Some(raw), _) => Some(Cow::Borrowed(raw)),
        _ => None,
    };
    let count =
        || wrong(format!("it does not hold the {elements} elements of type {name} that its shape {shape:?} needs"));
    let shaped = IxDyn(&shape);
    if is_float(tensor.data_type) {
        let values = raw.map_or_else(|| listed_floats(tensor), |raw| raw_floats(tensor.data_type, &raw, size));
        let values = values.filter(|values| values.len() == elements).ok_or_else(count)?;
        return Ok(Constant::floats(ArrayD::from_shape_vec(shaped, values).map_err(|_| count())?));
    }
    let values = raw.map_or_else(|| Some(listed_integers(tensor)), |raw| raw_integers(tensor.data_type, &raw, size));
    let values = values.filter(|values| values.len() == elements).ok_or_else(count)?;
    let values = values.into_iter().map(Dim::Is).collect();
    Ok(Constant::Ints(ArrayD::from_shape_vec(shaped, values).map_err(|_| count())?))
}

/// The names of classes in a list of words or of integers; None for anything else.
pub(super) fn labels(tensor: &Tensor) -> Option<Vec<String>> {
    if tensor.data_type == STRING {
        return Some(tensor.string_data.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect());
    }
    match constant(tensor, &mut Beside::nothing()) {
        Ok(Constant::Ints(values)) => Some(values.iter().map(|class| format!("{class:?}")).collect()),
        _ => None,
    }
}

/// Elements from raw bytes, little-endian; None where bytes are left over.
fn raw_floats(data_type: i32, raw: &[u8], size: usize) -> Option<Vec<f32>> {
    fn map<const N: usize>(raw: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        raw.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
    }
    if !raw.len().is_multiple_of(size) {
        return None;
    }
    Some(match data_type {
        FLOAT => map(raw, f32::from_le_bytes),
        DOUBLE => map(raw, |chunk| f64::from_le_bytes(chunk) as f32),
        FLOAT16 => map(raw, |chunk| half::f16::from_le_bytes(chunk).to_f32()),
        _ => map(raw, |chunk| half::bf16::from_le_bytes(chunk).to_f32()),
    })
}

/// Elements from the lists that a message has in the place of raw bytes.
fn listed_floats(tensor: &Tensor) -> Option<Vec<f32>> {
    // Floats of 16 bits stand in the list of integers, by their bits.
    let bits = || tensor.int32_data.iter().map(|&bits| u16::try_from(bits).ok());
    match tensor.data_type {
        FLOAT => Some(tensor.float_data.clone()),
        DOUBLE => Some(tensor.double_data.iter().map(|&value| value as f32).collect()),
        FLOAT16 => bits().map(|bits| bits.map(|bits| half::f16::from_bits(bits).to_f32())).collect(),
        _ => bits().map(|bits| bits.map(|bits| half::bf16::from_bits(bits).to_f32())).collect(),
    }
}

fn raw_integers(data_type: i32, raw: &[u8], size: usize) -> Option<Vec<i64>> {
    fn map<const N: usize>(raw: &[u8], convert: impl Fn([u8; N]) -> i64) -> Vec<i64> {
        raw.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
    }
    if !raw.len().is_multiple_of(size) {
        return None;
    }
    Some(match data_type {
        3 => map(raw, |chunk| i8::from_le_bytes(chunk).into()),
        4 => map(raw, |chunk| u16::from_le_bytes(chunk).into()),
        5 => map(raw, |chunk| i16::from_le_bytes(chunk).into()),
        6 => map(raw, |chunk| i32::from_le_bytes(chunk).into()),
        7 => map(raw, i64::from_le_bytes),
        _ => map(raw, |[byte]: [u8; 1]| byte.into()),
    })
}

fn listed_integers(tensor: &Tensor) -> Vec<i64> {
    match tensor.data_type {
        7 => tensor.int64_data.clone(),
        _ => tensor.int32_data.iter().map(|&value| value.into()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::Entry;
    use super::*;

    fn raw(data_type: i32, dims: &[i64], bytes: &[u8]) -> Tensor {
        Tensor {
            data_type,
            dims: dims.to_vec(),
            raw_data: Some(bytes.to_vec().into()),
            name: "w".into(),
            ..Default::default()
        }
    }

    fn floats(tensor: &Tensor) -> Vec<f32> {
        match constant(tensor, &mut Beside::nothing()).unwrap() {
            Constant::Floats(values) => values.iter().copied().collect(),
            Constant::Ints(_) => panic!("floats were asked for"),
        }
    }

    #[test]
    fn elements_of_every_type_and_place_are_read() {
        assert_eq!(floats(&raw(FLOAT, &[2], &[0, 0, 128, 63, 0, 0, 0, 192])), [1.0, -2.0]);
        assert_eq!(floats(&raw(DOUBLE, &[1], &1.5f64.to_le_bytes())), [1.5]);
        assert_eq!(floats(&raw(FLOAT16, &[1], &half::f16::from_f32(0.25).to_le_bytes())), [0.25]);
        assert_eq!(floats(&raw(BFLOAT16, &[1], &half::bf16::from_f32(-3.0).to_le_bytes())), [-3.0]);
        let listed = Tensor { data_type: FLOAT, dims: vec![2], float_data: vec![1.0, 2.0], ..Default::default() };
        assert_eq!(floats(&listed), [1.0, 2.0]);
        let bits = vec![i32::from(half::f16::from_f32(2.0).to_bits())];
        assert_eq!(
            floats(&Tensor { data_type: FLOAT16, dims: vec![1], int32_data: bits, ..Default::default() }),
            [2.0]
        );
        let Constant::Ints(values) = constant(&raw(3, &[2], &[255, 1]), &mut Beside::nothing()).unwrap() else {
            panic!("integers were asked for")
        };
        assert_eq!(values.iter().copied().collect::<Vec<_>>(), [Dim::Is(-1), Dim::Is(1)]);
    }

    #[test]
    fn what_does_not_fit_its_shape_is_refused() {
        for tensor in [
            raw(FLOAT, &[3], &[0; 8]),
            raw(FLOAT, &[2], &[0; 9]),
            raw(FLOAT, &[-1], &[]),
            raw(FLOAT, &[1 << 40, 1 << 40], &[]),
            raw(FLOAT, &[1 << 62], &[]),
            raw(8, &[1], &[0]),
            raw(7, &[1], &[0; 7]),
            Tensor { data_type: FLOAT16, dims: vec![1], int32_data: vec![-1], ..Default::default() },
        ] {
            let error = constant(&tensor, &mut Beside::nothing()).unwrap_err();
            assert!(matches!(error, OnnxError::Tensor { .. }), "{error}");
        }
    }

    #[test]
    fn external_data_is_read_beside_the_file_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("data"), [0, 0, 0, 0, 0, 0, 128, 63]).unwrap();
        std::fs::write(folder.path().join("outside"), [0; 8]).unwrap();
        std::os::unix::fs::symlink(folder.path().join("outside"), inner.join("link")).unwrap();
        let external = |location: &str, offset: &str, dims: i64| {
            let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into() };
            let external_data = vec![entry("location", location), entry("offset", offset), entry("length", "4")];
            Tensor { data_type: FLOAT, dims: vec![dims], external_data, data_location: 1, ..Default::default() }
        };
        let mut beside = Beside::file(&inner.join("net.onnx"));
        let read = constant(&external("data", "4", 1), &mut beside).unwrap();
        assert!(matches!(&read, Constant::Floats(values) if values[[0]] == 1.0));
        assert_ne!(beside.digest(b"net").unwrap(), Beside::nothing().digest(b"net").unwrap());
        let outside = folder.path().join("outside").display().to_string();
        for (location, offset, dims, what) in [
            ("../outside", "0", 1, "beside"),
            (outside.as_str(), "0", 1, "beside"),
            ("link", "0", 1, "beside"),
            ("", "0", 1, "beside"),
            (".", "0", 1, "beside"),
            ("data", "8", 1, "beyond the end"),
            ("data", "18446744073709551615", 1, "beyond the end"),
            ("data", "-1", 1, "no number"),
            ("data", "0", 2, "8 bytes"),
            ("missing", "0", 1, "cannot read"),
        ] {
            let error = constant(&external(location, offset, dims), &mut beside).unwrap_err().to_string();
            assert!(error.contains(what), "{location} {offset}: {error}");
        }
        let error = constant(&external("data", "0", 1), &mut Beside::nothing()).unwrap_err().to_string();
        assert!(error.contains("beside"), "{error}");
    }
}
