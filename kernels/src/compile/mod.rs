//! Sources to images that a card can load, for elements of one width each. A family's sources, the compiler's version, the
//! width, the target and the options make a key; the image of that key is taken from the cache on disk, from what the
//! build embedded, or made by NVRTC and stored.

mod cache;
mod embedded;
mod nvrtc;
mod source;

pub use cache::Cache;
pub use source::{Family, HEADERS};

use crate::launch::Width;
use crate::{KernelError, compiler, library};
use sha2::{Digest, Sha256};

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Compute capability, major · 10 + minor: 70, 80, 90.
    pub arch: u32,
    /// Machine code or PTX.
    pub format: Format,
}

/// The form of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Machine code of exactly one architecture.
    Cubin,
    /// PTX, which the driver translates (or an emulator interprets).
    Ptx,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.format {
            Format::Cubin => write!(f, "sm_{}", self.arch),
            Format::Ptx => write!(f, "compute_{}", self.arch),
        }
    }
}

/// A compiled family, ready for `cuModuleLoadData`: an ELF image, or PTX with its final zero byte.
#[derive(Clone)]
pub struct Image(pub Vec<u8>);

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({} bytes)", self.0.len())
    }
}

/// Options that every image is compiled with, besides its target.
pub const OPTIONS: &[&str] = &["--std=c++17", "--generate-line-info"];

/// The image of `family` for elements of a width and for `target`: embedded, from `cache`, or compiled now and stored there.
///
/// # Errors
/// [`KernelError::Library`] without NVRTC, [`KernelError::Compile`] when it refuses the source. A cache that
/// cannot be read or written costs a compilation, no error.
pub fn image(family: Family, width: Width, target: Target, cache: Option<&Cache>) -> Result<Image, KernelError> {
    if let Some(image) = embedded::image(family, width, target) {
        return Ok(image);
    }
    let version = library::compiler()?;
    let Some(cache) = cache else { return compile(family, width, target, &[]) };
    let key = key(family, width, target, version);
    if let Some(image) = cache.read(&key) {
        return Ok(image);
    }
    let image = compile(family, width, target, &[])?;
    cache.write(&key, &image);
    Ok(image)
}

/// The image of `family` for elements of a width and for `target`, compiled now, with preprocessor definitions of the caller's:
/// how tests build a kernel with a mistake in it.
///
/// # Errors
/// As [`image`].
pub fn compile(family: Family, width: Width, target: Target, defines: &[&str]) -> Result<Image, KernelError> {
    nvrtc::compile(family.file(), family.source(), width, target, defines)
}

/// As [`compile`], from the text `source` in the place of the family's own.
///
/// # Errors
/// As [`image`].
pub fn compile_text(family: Family, source: &str, width: Width, target: Target) -> Result<Image, KernelError> {
    nvrtc::compile(family.file(), source, width, target, &[])
}

/// What a card of compute capability `arch` is given by default: machine code, or PTX when another driver takes
/// libcuda's place or the card is newer than the compiler. Where all images are embedded NVRTC is not asked for.
///
/// # Errors
/// [`KernelError::Library`] without NVRTC, [`KernelError::Unsupported`] for a card older than 7.0.
pub fn target(arch: u32) -> Result<Target, KernelError> {
    let ptx_reader = std::env::var_os(library::LIBCUDA_VARIABLE).is_some();
    let known = || Ok(nvrtc::architectures(compiler::nvrtc()?));
    match choose(arch, ptx_reader, embedded::has_all, known)? {
        Some(target) => Ok(target),
        None => Err(too_new(arch, compiler::nvrtc()?).into()),
    }
}

/// That this compiler is too new for a card of compute capability `arch`.
fn too_new(arch: u32, compiler: &compiler::Nvrtc) -> library::LibraryError {
    let known = nvrtc::architectures(compiler).into_iter().filter(|&known| known >= OLDEST);
    let oldest = known.min().map_or_else(|| "none".to_owned(), shown);
    compiler.unusable(format!("it makes no code for compute capability {}, only for {oldest} and newer", shown(arch)))
}

/// Whether a card of compute capability `arch` can be used here: its kernels are embedded, or NVRTC makes them.
pub fn can_make(arch: u32) -> bool {
    target(arch).is_ok()
}

/// What [`target`] answers; nothing where the compiler knows newer cards only.
fn choose(
    arch: u32,
    ptx_reader: bool,
    embedded: impl Fn(Target) -> bool,
    compiler_knows: impl FnOnce() -> Result<Vec<u32>, KernelError>,
) -> Result<Option<Target>, KernelError> {
    let exact = Target { arch, format: Format::Cubin };
    if !ptx_reader && embedded(exact) {
        return Ok(Some(exact));
    }
    if arch < OLDEST {
        let (needed, found) = (shown(OLDEST), shown(arch));
        return Err(KernelError::Unsupported { operation: "CryptGPU on a GPU", needed, found });
    }
    let newest = compiler_knows()?.into_iter().filter(|known| (OLDEST..=arch).contains(known)).max();
    Ok(newest.map(|newest| {
        let ptx = newest < arch || ptx_reader;
        Target { arch: newest, format: if ptx { Format::Ptx } else { Format::Cubin } }
    }))
}

/// A compute capability in words.
fn shown(arch: u32) -> String {
    format!("{}.{}", arch / 10, arch % 10)
}

/// The oldest compute capability that the kernels are made for: the V100's.
const OLDEST: u32 = 70;

/// Changes whenever the image could.
fn key(family: Family, width: Width, target: Target, version: library::Version) -> String {
    let (source, version) = (source_key(family, width, target), format!("{}.{}", version.0, version.1));
    digest([source.as_str(), version.as_str()])
}

/// Changes whenever what an image is made from does, but for the compiler: the name of an embedded image.
pub fn source_key(family: Family, width: Width, target: Target) -> String {
    let (width, target) = (width.to_string(), target.to_string());
    let parts = [env!("CARGO_PKG_VERSION"), &width, &target, family.file(), family.source()];
    let headers = HEADERS.iter().flat_map(|(name, text)| [*name, *text]);
    digest(parts.into_iter().chain(OPTIONS.iter().copied()).chain(headers))
}

/// A digest of parts, each with its length.
fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_kernels_ask_for_no_compiler() {
        let without = || Err(KernelError::Library(library::LibraryError::NoCompiler));
        let exact = Target { arch: 90, format: Format::Cubin };
        assert_eq!(choose(90, false, |target| target == exact, without).unwrap(), Some(exact));
        assert!(matches!(choose(80, false, |target| target == exact, without), Err(KernelError::Library(_))));
        // An emulator reads PTX, which is made on the spot.
        assert!(matches!(choose(90, true, |_| true, without), Err(KernelError::Library(_))));
        assert_eq!(choose(90, false, |_| false, || Ok(vec![70, 80, 90])).unwrap(), Some(exact));
        let newer = choose(100, false, |_| false, || Ok(vec![70, 80, 90])).unwrap();
        assert_eq!(newer, Some(Target { arch: 90, format: Format::Ptx }));
        // CUDA 13's compiler has dropped the V100.
        assert_eq!(choose(70, false, |_| false, || Ok(vec![75, 80, 90])).unwrap(), None);
        assert!(matches!(choose(61, false, |_| false, without), Err(KernelError::Unsupported { .. })));
    }

    #[test]
    fn a_key_changes_with_everything_that_the_image_depends_on() {
        let target = Target { arch: 80, format: Format::Cubin };
        let base = key(Family::Elementwise, Width::Bits64, target, (12, 9));
        let ptx = Target { format: Format::Ptx, ..target };
        let newer = Target { arch: 90, ..target };
        for other in [
            key(Family::Elementwise, Width::Bits64, ptx, (12, 9)),
            key(Family::Elementwise, Width::Bits64, newer, (12, 9)),
            key(Family::Elementwise, Width::Bits64, target, (12, 8)),
            key(Family::Elementwise, Width::Bits32, target, (12, 9)),
        ] {
            assert_ne!(base, other);
        }
        assert_eq!(base, key(Family::Elementwise, Width::Bits64, target, (12, 9)));
    }
}
