//! NumPy's `.npy` files of numbers, as `numpy.save` writes them: read as f64, whatever the elements are, and written as f64.
//! The header is checked against the bytes that are there before anything is allocated.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{ArrayD, IxDyn, ShapeBuilder};

use crate::{DatasetError, Result};

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads an array of `float32`, `float64`, `uint8` or other integers, in C's or Fortran's order.
///
/// # Errors
/// [`DatasetError::Missing`], [`DatasetError::Io`]; [`DatasetError::Npy`] for what is no such file.
pub fn read(path: impl AsRef<Path>) -> Result<ArrayD<f64>> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => DatasetError::Missing { path: path.into() },
        _ => DatasetError::Io { path: path.into(), action: "read", source },
    })?;
    parse(&bytes, path)
}

/// As [`read`], of the bytes of a file; errors call it `path`.
///
/// # Errors
/// [`DatasetError::Npy`].
pub fn parse(bytes: &[u8], path: &Path) -> Result<ArrayD<f64>> {
    let wrong = |what: String| DatasetError::Npy { path: path.into(), what };
    let (header, data) = split(bytes).ok_or_else(|| wrong("it does not begin as NumPy's arrays do".into()))?;
    let header = Header::parse(header).ok_or_else(|| wrong("its header is damaged".into()))?;
    let Some((size, convert)) = element(header.descr) else {
        let descr: String = header.descr.chars().filter(char::is_ascii_graphic).take(20).collect();
        return Err(wrong(format!("its elements are `{descr}`: save float32, float64 or integers, little-endian")));
    };
    let elements = header.shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    if elements.and_then(|elements| elements.checked_mul(size)) != Some(data.len()) {
        return Err(wrong(format!("it has {} bytes of elements, not those of shape {:?}", data.len(), header.shape)));
    }
    let values: Vec<f64> = data.chunks_exact(size).map(convert).collect();
    let shape = IxDyn(&header.shape).set_f(header.fortran_order);
    let array = ArrayD::from_shape_vec(shape, values).map_err(|_| wrong("its shape is none".into()))?;
    Ok(array.as_standard_layout().into_owned())
}

/// Writes an array of `float64`, in C's order. A file that is there is replaced at once by the whole new one, or stays as it is.
///
/// # Errors
/// [`DatasetError::Io`].
pub fn write(path: impl AsRef<Path>, array: &ArrayD<f64>) -> Result<()> {
    let path = path.as_ref();
    let failed = |source| DatasetError::Io { path: path.into(), action: "write", source };
    let bytes = bytes(array);
    if is_no_file(path) {
        return std::fs::write(path, bytes).map_err(failed);
    }
    // Where a link leads, so that it stays one.
    let to = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (mut file, partial) = beside(&to).map_err(failed)?;
    let written = file.write_all(&bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&partial, &to));
    if written.is_err() {
        // The error that is reported is the first one.
        let _ = std::fs::remove_file(&partial);
    }
    written.map_err(failed)
}

/// Tests that [`write()`] can write there, and leaves everything as it is: to be called before anything that takes long.
///
/// # Errors
/// [`DatasetError::Io`].
pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let failed = |source| DatasetError::Io { path: path.into(), action: "write", source };
    if path.exists() {
        File::options().write(true).open(path).map_err(failed)?;
    }
    if is_no_file(path) {
        return Ok(());
    }
    let (_, partial) = beside(path).map_err(failed)?;
    std::fs::remove_file(partial).map_err(failed)
}

/// Whether a device, a pipe or a folder is there, which no file can replace.
fn is_no_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|there| !there.is_file())
}

/// A new file beside another, under a name that nobody has.
fn beside(path: &Path) -> std::io::Result<(File, PathBuf)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_string_lossy();
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_file_name(format!(".{name}.{}-{count}.partial", std::process::id()));
        match File::create_new(&partial) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            created => return Ok((created?, partial)),
        }
    }
}

/// The bytes of a file.
pub(crate) fn bytes(array: &ArrayD<f64>) -> Vec<u8> {
    let sizes: String = array.shape().iter().map(|size| format!("{size}, ")).collect();
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}), }}", sizes.trim_end());
    // NumPy puts elements at a multiple of 64, and ends the header with a newline; version 2 has a length of 4 bytes.
    let padding = 63 - (MAGIC.len() + 6 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut bytes = [MAGIC, &[2, 0], &(header.len() as u32).to_le_bytes(), header.as_bytes()].concat();
    array.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
    bytes
}

/// Header and elements.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (&[major, _], rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<2>()?;
    let (length, rest) = match major {
        1 => rest.split_first_chunk::<2>().map(|(&length, rest)| (u16::from_le_bytes(length).into(), rest))?,
        2 | 3 => rest.split_first_chunk::<4>().map(|(&length, rest)| (u32::from_le_bytes(length), rest))?,
        _ => return None,
    };
    let (header, data) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((str::from_utf8(header).ok()?, data))
}

/// Bytes of an element, and how they become a number.
#[allow(clippy::type_complexity)]
fn element(descr: &str) -> Option<(usize, fn(&[u8]) -> f64)> {
    /// The number in bytes of the length that `chunks_exact` gives.
    macro_rules! little {
        ($number:ty) => {
            Some((size_of::<$number>(), |bytes| {
                bytes.try_into().map_or(0.0, |bytes| <$number>::from_le_bytes(bytes) as f64)
            }))
        };
    }
    match descr {
        "<f4" => little!(f32),
        "<f8" => little!(f64),
        "|u1" | "|b1" => little!(u8),
        "|i1" => little!(i8),
        "<u2" => little!(u16),
        "<i2" => little!(i16),
        "<i4" => little!(i32),
        "<i8" => little!(i64),
        _ => None,
    }
}

/// What a header says: a Python dictionary with these three keys.
struct Header<'a> {
    descr: &'a str,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl<'a> Header<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let value = |key: &str| {
            let rest = text.split_once(&format!("'{key}'"))?.1.trim_start();
            rest.strip_prefix(':').map(str::trim_start)
        };
        let descr = value("descr")?.strip_prefix('\'')?.split_once('\'')?.0;
        let order = value("fortran_order")?;
        let fortran_order = order.starts_with("True");
        if !fortran_order && !order.starts_with("False") {
            return None;
        }
        let sizes = value("shape")?.strip_prefix('(')?.split_once(')')?.0;
        let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
        let shape = sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>()?;
        (shape.len() <= 32).then_some(Header { descr, fortran_order, shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Dimension;

    /// A file as `numpy.save` writes it: `header` padded, and the elements.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{header:<117}\n");
        [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn read_back(header: &str, data: &[u8]) -> Result<ArrayD<f64>> {
        parse(&file(header, data), Path::new("x.npy"))
    }

    #[test]
    fn arrays_of_every_type_and_order_are_read() {
        let floats: Vec<u8> = [1.5f32, -2.0, 3.0, 4.0].iter().flat_map(|value| value.to_le_bytes()).collect();
        let read = read_back("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", &floats).unwrap();
        assert_eq!(read, ndarray::arr2(&[[1.5, -2.0], [3.0, 4.0]]).into_dyn());
        let read = read_back("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", &floats).unwrap();
        assert_eq!(read, ndarray::arr2(&[[1.5, 3.0], [-2.0, 4.0]]).into_dyn());
        let read = read_back("{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", &[0, 7, 255]).unwrap();
        assert_eq!(read, ndarray::arr1(&[0.0, 7.0, 255.0]).into_dyn());
        let read =
            read_back("{'descr': '<i8', 'fortran_order': False, 'shape': (), }", &(-3i64).to_le_bytes()).unwrap();
        assert_eq!(read, ndarray::arr0(-3.0).into_dyn());
    }

    #[test]
    fn a_file_is_written_whole_or_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let names = || {
            let all = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
            let mut all: Vec<_> = all.map(|name| name.into_string().unwrap()).collect();
            all.sort();
            all
        };
        check_writable(at("y.npy")).unwrap();
        assert!(names().is_empty(), "looking leaves nothing: {:?}", names());
        let first = ndarray::arr1(&[1.0, 2.0]).into_dyn();
        write(at("y.npy"), &first).unwrap();
        check_writable(at("y.npy")).unwrap();
        assert_eq!(read(at("y.npy")).unwrap(), first, "looking changes nothing");
        // A link stays one, and what it leads to is replaced.
        std::os::unix::fs::symlink(at("y.npy"), at("link.npy")).unwrap();
        let second = ndarray::arr1(&[3.0]).into_dyn();
        write(at("link.npy"), &second).unwrap();
        assert!(at("link.npy").is_symlink() && read(at("y.npy")).unwrap() == second);
        assert_eq!(names(), ["link.npy", "y.npy"]);
        // A device is written to, and not replaced.
        check_writable("/dev/null").unwrap();
        write("/dev/null", &second).unwrap();
        assert!(!Path::new("/dev/null").is_file());
        for wrong in [at("no/such/y.npy"), folder.path().to_owned()] {
            let errors = [check_writable(&wrong).unwrap_err(), write(&wrong, &second).unwrap_err()];
            assert!(errors.iter().all(|error| matches!(error, DatasetError::Io { .. })), "{errors:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_alike_and_begins_where_numpy_wants_it() {
        for shape in [vec![], vec![3], vec![2, 1, 4], vec![0, 5]] {
            let array = ArrayD::from_shape_fn(IxDyn(&shape), |at| at.slice().iter().sum::<usize>() as f64 - 0.1);
            let written = bytes(&array);
            assert_eq!((written.len() - 8 * array.len()) % 64, 0);
            assert_eq!(parse(&written, Path::new("x.npy")).unwrap(), array);
        }
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        for (header, data, what) in [
            ("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4][..], "little-endian"),
            ("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", &[0; 8], "float32"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[0; 4], "4 bytes"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", &[0; 4], "4 bytes"),
            ("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,), }", &[0; 4], "damaged"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", &[0; 4], "damaged"),
            ("{}", &[], "damaged"),
        ] {
            let error = read_back(header, data).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("x.npy"), "{header}: {error}");
        }
        let error = parse(b"\x93NUMPY\x01\x00\xff\xff", Path::new("x.npy")).unwrap_err().to_string();
        assert!(error.contains("begin"), "{error}");
        assert!(matches!(read("no/such.npy").unwrap_err(), DatasetError::Missing { .. }));
    }
}
