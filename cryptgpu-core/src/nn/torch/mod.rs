//! Weights from files of PyTorch (`torch.save(model.state_dict(), "net.pt")`): the zip archives of today, and the files of
//! pickles of before 1.6. A pickle is a program; nothing of it is executed ([`pickle`], ADR 0051).
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | the two kinds of file, the state dict in them, its tensors |
//! | `pickle.rs` | the interpreter of pickles |

mod pickle;

use super::{NnError, Weights};
use ndarray::{ArrayD, ArrayView, IxDyn, ShapeBuilder};
use pickle::{Element, Id, Machine, Object, Storage, Tensor};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Cursor;
use std::path::Path;
use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive};

type Result<T> = std::result::Result<T, String>;

/// The number that files of before PyTorch 1.6 begin with, and the version behind it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const LEGACY: i64 = 1001;
/// Where the weights are in a checkpoint of a training.
const WITHIN: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// How often the elements of a file may be copied: tensors may share a storage, as tied weights do.
const COPIES: usize = 4;

/// Whether a file is taken for one of PyTorch by its name.
pub(super) fn is_named_so(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["pt", "pth"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// The state dict in the bytes of a file; errors call it `origin`.
pub(super) fn weights(bytes: &[u8], origin: &str) -> std::result::Result<Weights, NnError> {
    let read = if bytes.starts_with(b"PK") { of_zip(bytes) } else { of_pickles(bytes) };
    read.map_err(|what| NnError::Torch { path: origin.into(), bytes: bytes.len(), what })
}

/// An archive with a pickle `NAME/data.pkl`, and a storage in each `NAME/data/KEY`.
fn of_zip(bytes: &[u8]) -> Result<Weights> {
    // It begins with the first byte: looked for, the beginning of some archives is found elsewhere.
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let archive = ZipArchive::with_config(config, Cursor::new(bytes));
    let mut archive = archive.map_err(|error| format!("as an archive: {error}"))?;
    let pickle = archive.file_names().flatten().find(|name| name.ends_with("/data.pkl")).map(Cow::into_owned);
    let pickle =
        pickle.ok_or("it is an archive without a state dict: TorchScript files and others hold no weights alone")?;
    let root = pickle.trim_end_matches("data.pkl").to_owned();
    let mut left = bytes.len();
    let mut entry = |name: &str| stored(&mut archive, bytes, name, &mut left);
    if entry(&format!("{root}byteorder")).is_ok_and(|order| order != b"little") {
        return Err(BIG_ENDIAN.into());
    }
    let mut machine = Machine::default();
    let (top, _) = machine.read(entry(&pickle)?)?;
    let mut storages = HashMap::new();
    for storage in machine.storages() {
        if !storages.contains_key(storage.key) {
            storages.insert(storage.key, entry(&format!("{root}data/{}", storage.key))?);
        }
    }
    state_dict(&machine, top, &storages, bytes.len())
}

const BIG_ENDIAN: &str = "it was written on a big-endian machine; save it again on another";

/// The bytes of an uncompressed member of an archive, its checksum compared.
fn stored<'a>(
    archive: &mut ZipArchive<Cursor<&'a [u8]>>,
    bytes: &'a [u8],
    name: &str,
    left: &mut usize,
) -> Result<&'a [u8]> {
    let shown: String = name.escape_default().take(120).collect();
    let file = archive.by_name(name).map_err(|error| format!("its member {shown}: {error}"))?;
    if file.compression() != CompressionMethod::Stored || file.encrypted() {
        return Err(format!("its member {shown} is compressed or encrypted, which PyTorch's are not"));
    }
    let start = file.data_start().and_then(|start| usize::try_from(start).ok());
    let (size, checksum) = (usize::try_from(file.size()).ok(), file.crc32());
    let range = start.zip(size).and_then(|(start, size)| Some(start..start.checked_add(size)?));
    let found = range.and_then(|range| bytes.get(range)).ok_or_else(|| format!("its member {shown} is cut short"))?;
    // Members that lie on one another would let a small file ask for much work.
    *left = left.checked_sub(found.len()).ok_or("its members overlap")?;
    if crc32fast::hash(found) != checksum {
        return Err(format!("its member {shown} is damaged: its checksum is another"));
    }
    Ok(found)
}

/// Pickles one behind another: a number, a version, the machine, the state dict, keys; then the storages in the keys' order.
fn of_pickles(bytes: &[u8]) -> Result<Weights> {
    let mut machine = Machine::default();
    let (magic, rest) = machine.read(bytes)?;
    if !matches!(machine.object(magic), Object::Long(number) if **number == MAGIC) {
        return Err("it begins as no file of torch.save does".into());
    }
    let (version, rest) = machine.read(rest)?;
    if !matches!(machine.object(version), Object::Int(LEGACY)) {
        return Err("it is of a version of the format that is not known".into());
    }
    let (system, rest) = machine.read(rest)?;
    if machine.entry(system, "little_endian").is_some_and(|id| matches!(machine.object(id), Object::False)) {
        return Err(BIG_ENDIAN.into());
    }
    let (top, rest) = machine.read(rest)?;
    let (keys, mut rest) = machine.read(rest)?;
    let Object::List(keys) = machine.object(keys) else { return Err("it lists no storages".into()) };
    let elements: HashMap<&str, Element> = machine.storages().map(|storage| (storage.key, storage.element)).collect();
    let mut storages = HashMap::new();
    for &key in keys {
        let key = machine.text(key).ok_or("a storage's key is no text")?;
        let element = elements.get(key).ok_or("it holds a storage that nothing refers to")?;
        let (count, behind) = rest.split_first_chunk().ok_or("it is cut short")?;
        let size =
            usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(element.bytes()));
        let (storage, behind) = size.and_then(|size| behind.split_at_checked(size)).ok_or("it is cut short")?;
        storages.insert(key, storage);
        rest = behind;
    }
    state_dict(&machine, top, &storages, bytes.len())
}

/// The tensors of a dict by name: the top one, or one within it, as checkpoints of trainings have it.
fn state_dict(machine: &Machine<'_>, top: Id, storages: &HashMap<&str, &[u8]>, bytes: usize) -> Result<Weights> {
    let inner = WITHIN.iter().filter_map(|name| machine.entry(top, name));
    let inner = inner.into_iter().find(|&id| matches!(machine.object(id), Object::Dict(_)));
    let Object::Dict(entries) = machine.object(inner.unwrap_or(top)) else {
        return Err("it holds no dict of tensors: save the weights alone (torch.save(model.state_dict(), …))".into());
    };
    let mut left = bytes.saturating_mul(COPIES);
    let mut weights = Weights::new();
    for &(key, value) in entries {
        let name = machine.text(key).ok_or("the name of a tensor in it is no text")?;
        if name.ends_with(".num_batches_tracked") {
            continue;
        }
        let Object::Tensor(tensor) = machine.object(value) else {
            weights.insert_other(name, "no tensor");
            continue;
        };
        let Object::Storage(storage) = machine.object(tensor.storage) else { continue };
        if let Element::Other(dtype, _) = storage.element {
            weights.insert_other(name, dtype);
            continue;
        }
        let shown = || name.escape_default().take(120).collect::<String>();
        let found = storages.get(storage.key).ok_or_else(|| format!("tensor {}: its storage is missing", shown()))?;
        let array = array(tensor, storage, found, &mut left).map_err(|what| format!("tensor {}: {what}", shown()))?;
        weights.insert(name, array);
    }
    Ok(weights)
}

/// The elements of a tensor, in its own order.
fn array(tensor: &Tensor, storage: &Storage<'_>, bytes: &[u8], left: &mut usize) -> Result<ArrayD<f32>> {
    let Tensor { offset, size, stride, .. } = tensor;
    let width = storage.element.bytes();
    if storage.elements.checked_mul(width) != Some(bytes.len()) {
        return Err(format!("its storage has {} bytes, not {} elements of {width}", bytes.len(), storage.elements));
    }
    // What lies between its first element and its last.
    let last = size
        .iter()
        .zip(stride)
        .try_fold(0usize, |last, (&size, &stride)| last.checked_add(size.saturating_sub(1).checked_mul(stride)?));
    let count = size.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let (Some(last), Some(count)) = (last, count) else { return Err("it is larger than any memory".into()) };
    let span = if count == 0 { 0 } else { last.saturating_add(1) };
    let end = offset.checked_add(span).filter(|&end| end <= storage.elements);
    let end = end.ok_or("it reaches beyond its storage")?;
    *left = left.checked_sub(span.max(count)).ok_or("its tensors are many times as many numbers as it holds")?;
    if count == 0 {
        // Its strides would lead outside.
        return ArrayD::from_shape_vec(IxDyn(size), Vec::new()).map_err(|error| format!("its shape {size:?}: {error}"));
    }
    let bytes = bytes.get(offset * width..end * width).ok_or("it reaches beyond its storage")?;
    let values = floats(storage.element, bytes);
    let view = ArrayView::from_shape(IxDyn(size).strides(IxDyn(stride)), &values);
    let view = view.map_err(|error| format!("its shape {size:?} with strides {stride:?}: {error}"))?;
    Ok(view.as_standard_layout().into_owned())
}

fn floats(element: Element, bytes: &[u8]) -> Vec<f32> {
    fn map<const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&chunk| convert(chunk)).collect()
    }
    match element {
        Element::F32 => map(bytes, f32::from_le_bytes),
        Element::F64 => map(bytes, |chunk| f64::from_le_bytes(chunk) as f32),
        Element::F16 => map(bytes, |chunk| half::f16::from_le_bytes(chunk).to_f32()),
        Element::Bf16 => map(bytes, |chunk| half::bf16::from_le_bytes(chunk).to_f32()),
        Element::Other(..) => Vec::new(),
    }
}
