//! Files of a party that nobody else can read, and that appear whole or not at all.

use super::error::SealedError;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the names of files end with that are not whole yet.
pub(super) const PARTIAL: &str = ".partial";

/// The folder that a variable names, or else `cryptgpu` in the folder that another one names or that is there in the home.
pub(super) fn usual_folder(variable: &str, base: &str, in_home: &str) -> Option<PathBuf> {
    let known = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || known(base).or_else(|| Some(known("HOME")?.join(in_home)));
    known(variable).or_else(|| Some(usual()?.join("cryptgpu")))
}

/// The folder, made for this account alone if it is not there.
pub(super) fn create_folder(folder: &Path) -> Result<(), SealedError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| SealedError::io("make the folder", folder, &error))
}

/// An empty file beside `path`, for this account alone, under a name that nobody has and that begins with a dot and the
/// name of `path`.
pub(super) fn create_private(path: &Path) -> Result<(PathBuf, File), SealedError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_file_name(format!(".{name}.{}-{count}{PARTIAL}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(SealedError::io("write", &partial, &error)),
            Ok(file) => return Ok((partial, file)),
        }
    }
}

/// Puts bytes into a file at `path`, in a folder that is made if it is not there. Where two do that at once, the first one's
/// stay.
pub(super) fn create_once(path: &Path, bytes: &[u8]) -> Result<(), SealedError> {
    if let Some(folder) = path.parent() {
        create_folder(folder)?;
    }
    let (partial, mut file) = create_private(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match std::fs::hard_link(&partial, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // What it was written to is of no use any more; the first error is the one that is reported.
    let _ = std::fs::remove_file(&partial);
    linked.map_err(|error| SealedError::io("write", path, &error))
}

/// Gives what `write` puts into a file beside `path` the name `path`: at every moment there is what was there before, or
/// all of the new, even if the machine stops.
pub(super) fn replace(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<(), SealedError> {
    let (partial, mut file) = create_private(path)?;
    let written = write(&mut file).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        // The error that is reported is the first one; a file that cannot be removed either is not worth another.
        let _ = std::fs::remove_file(&partial);
    }
    // A name is safe once its folder is.
    let kept = written.and_then(|()| File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all());
    kept.map_err(|error| SealedError::io("write", path, &error))
}
