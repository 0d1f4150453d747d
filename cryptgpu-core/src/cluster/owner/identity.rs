//! Long-term keys: made by `cryptgpu keygen`, kept in two files, known to others by a fingerprint that people exchange.

use super::error::OwnerError;
use crate::net::{Fingerprint, Identity};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A key that was made: where it is, and what others know it by.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    /// The private key, for its owner alone.
    pub key: PathBuf,
    /// The certificate, which anyone may have.
    pub certificate: PathBuf,
    /// What its owner tells the others, by a way on which nobody can change it.
    pub fingerprint: Fingerprint,
}

/// Makes a key pair and its certificate: `NAME.key`, which only this account can read, and `NAME.crt` in `folder`, which is
/// made if it is not there.
///
/// ```
/// use cryptgpu_core::cluster::owner;
///
/// let folder = tempfile::tempdir()?;
/// let made = owner::generate_key(folder.path(), "ann")?;
/// assert_eq!(owner::fingerprint_of(&made.certificate)?, made.fingerprint);
/// assert!(owner::generate_key(folder.path(), "ann").is_err(), "a key is not overwritten");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`OwnerError::Exists`] where there is one already, [`OwnerError::Io`] with what the operating system says, and
/// [`OwnerError::Identity`] for a name that is no name of a file, or when there is no randomness.
pub fn generate_key(folder: &Path, name: &str) -> Result<KeyFiles, OwnerError> {
    let (key_path, certificate_path) = (folder.join(format!("{name}.key")), folder.join(format!("{name}.crt")));
    let refuse = |detail: String| OwnerError::Identity { path: key_path.clone(), detail };
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    if name.is_empty() || !name.chars().all(fits) || name.starts_with('.') {
        return Err(refuse(format!("`{name}` is no name: letters, digits and - _ . @ make one")));
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| OwnerError::io("make the folder", folder, &error))?;
    let (identity, certificate, key) =
        Identity::generate_pem(name).map_err(|error| refuse(format!("no key could be made ({error})")))?;
    write_new(&key_path, 0o600, key.as_bytes())?;
    write_new(&certificate_path, 0o644, certificate.as_bytes())?;
    Ok(KeyFiles { key: key_path, certificate: certificate_path, fingerprint: identity.fingerprint() })
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), OwnerError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => OwnerError::Exists { path: path.to_owned() },
        _ => OwnerError::io("write", path, &error),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| OwnerError::io("write", path, &error))
}

/// The fingerprint of a certificate in a file, as its owner's `cryptgpu keygen` has printed it.
///
/// # Errors
/// [`OwnerError::Io`]; [`OwnerError::Identity`] if it is no certificate.
pub fn fingerprint_of(certificate: &Path) -> Result<Fingerprint, OwnerError> {
    let bytes = std::fs::read(certificate).map_err(|error| OwnerError::io("read", certificate, &error))?;
    let refuse = |detail| OwnerError::Identity { path: certificate.to_owned(), detail };
    Fingerprint::of_pem(&bytes).map_err(refuse)
}

/// The identity in two files. The key must be its owner's alone.
///
/// # Errors
/// [`OwnerError::Io`]; [`OwnerError::Exposed`] if others can read the key; [`OwnerError::Identity`] if it is not that of the
/// certificate.
pub fn read_identity(certificate: &Path, key: &Path) -> Result<Identity, OwnerError> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| OwnerError::io("read", path, &error));
    let about = std::fs::metadata(key).map_err(|error| OwnerError::io("read", key, &error))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(OwnerError::Exposed { path: key.to_owned(), mode });
    }
    let text = Zeroizing::new(read(key)?);
    let refuse = |detail| OwnerError::Identity { path: key.to_owned(), detail };
    Identity::from_pem(&read(certificate)?, &text).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_only_if_nobody_else_can_read_it_and_it_is_the_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let [ann, bob] = ["ann", "bob"].map(|name| generate_key(folder.path(), name).unwrap());
        let identity = read_identity(&ann.certificate, &ann.key).unwrap();
        assert_eq!(identity.fingerprint(), ann.fingerprint);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&ann.key), 0o600);
        let error = read_identity(&bob.certificate, &ann.key).unwrap_err();
        assert!(matches!(error, OwnerError::Identity { .. }), "{error}");
        std::fs::set_permissions(&ann.key, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read_identity(&ann.certificate, &ann.key).unwrap_err();
        assert!(matches!(error, OwnerError::Exposed { mode: 0o640, .. }), "{error}");
        assert!(matches!(generate_key(folder.path(), "bob"), Err(OwnerError::Exists { .. })));
        for name in ["", "../eve", ".hidden", "a b"] {
            assert!(generate_key(folder.path(), name).is_err(), "{name}");
        }
    }
}
