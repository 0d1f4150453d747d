//! Images on disk, by key. Each file carries a digest of its content: one that was cut short or
//! altered is made again, not loaded. A file appears under its name when it is whole, so processes
//! that compile the same family at the same time do not disturb each other.

use super::Image;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Environment variable: the folder for everything that is made and can be made again.
const CACHE_VARIABLE: &str = "CRYPTGPU_CACHE";

/// Starts every file of the cache.
const MAGIC: &[u8] = b"cryptgpu kernel image 1\n";
const DIGEST: usize = 32;

/// A folder of compiled images.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in `folder`, which is made when something is stored.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Cache { folder: folder.into() }
    }

    /// `$CRYPTGPU_CACHE/kernels`, or `$XDG_CACHE_HOME/cryptgpu/kernels`, or `~/.cache/cryptgpu/kernels`;
    /// none where none of these variables is set.
    pub fn from_environment() -> Option<Self> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = variable(CACHE_VARIABLE)
            .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("cryptgpu")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/cryptgpu")))?;
        Some(Cache::new(folder.join("kernels")))
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.image"))
    }

    /// The image of `key`, if it is there and whole.
    pub(super) fn read(&self, key: &str) -> Option<Image> {
        let file = std::fs::read(self.path(key)).ok()?;
        let (digest, image) = file.strip_prefix(MAGIC)?.split_at_checked(DIGEST)?;
        (digest == Sha256::digest(image).as_slice()).then(|| Image(image.to_vec()))
    }

    /// Stores an image. A cache that cannot be written is no error: the image is at hand.
    pub(super) fn write(&self, key: &str, image: &Image) {
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&Sha256::digest(&image.0));
        file.extend_from_slice(&image.0);
        let target = self.path(key);
        let temporary = self.temporary(key);
        let stored = std::fs::create_dir_all(&self.folder)
            .and_then(|()| std::fs::write(&temporary, &file))
            .and_then(|()| std::fs::rename(&temporary, &target));
        if stored.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
    }

    /// A name that no other thread or process uses.
    fn temporary(&self, key: &str) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        self.folder.join(format!("{}.{}-{count}.new", &key[..key.len().min(16)], std::process::id()))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("deep/er"));
        let image = Image((0..1000u32).map(|i| i as u8).collect());
        assert!(cache.read("key").is_none());
        cache.write("key", &image);
        assert_eq!(cache.read("key").unwrap().0, image.0);
        assert!(cache.read("other").is_none());

        let path = cache.path("key");
        let whole = std::fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..10], &[], &[&whole[..], &[0]].concat()] {
            std::fs::write(&path, damaged).unwrap();
            assert!(cache.read("key").is_none(), "{} bytes of {}", damaged.len(), whole.len());
        }
        for at in [0, MAGIC.len(), whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(cache.read("key").is_none(), "byte {at}");
        }
        cache.write("key", &image);
        assert_eq!(cache.read("key").unwrap().0, image.0);
        assert_eq!(std::fs::read_dir(cache.folder()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = Cache::new(file.path().join("below a file"));
        cache.write("key", &Image(vec![1]));
        assert!(cache.read("key").is_none());
    }
}
