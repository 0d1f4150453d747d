//! The folder of a step: each task leaves a file that says where it is and by which certificate it is known. It holds no
//! secret; but whoever can write in it can be a party, so it is its owner's alone. A file counts once a connection has shown
//! the certificate that it names, so what an earlier run has left does no harm.

use super::error::RendezvousError;
use super::task::Task;
use crate::net::{Fingerprint, PartyId};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The folder of a step.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

/// What a task says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Offer {
    /// For people who look.
    pub(super) node: String,
    /// Where it listens; nowhere if it is rank 0.
    pub(super) addresses: Vec<SocketAddr>,
    fingerprint: String,
}

impl Offer {
    pub(super) fn new(node: &str, addresses: Vec<SocketAddr>, fingerprint: Fingerprint) -> Self {
        Offer { node: node.to_owned(), addresses, fingerprint: fingerprint.to_string() }
    }

    pub(super) fn fingerprint(&self) -> io::Result<Fingerprint> {
        self.fingerprint.parse().map_err(|_| io::Error::other(format!("`{}` is no fingerprint", self.fingerprint)))
    }
}

impl Folder {
    /// The folder of a task's step, which the first of them makes.
    pub(super) fn open(parent: &Path, task: &Task) -> Result<Self, RendezvousError> {
        let path = parent.join(format!("cryptgpu-{}", task.step));
        let made = DirBuilder::new().mode(0o700).create(&path);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(RendezvousError::folder("make the folder", &path, &error));
            }
            _ => {}
        }
        let about = fs::symlink_metadata(&path).map_err(|error| RendezvousError::folder("look at", &path, &error))?;
        // SAFETY: geteuid only answers.
        let own = unsafe { libc::geteuid() };
        let (mode, owner) = (about.mode() & 0o777, about.uid());
        if !about.is_dir() || owner != own || mode & 0o077 != 0 {
            let what = if about.is_dir() { "a folder" } else { "no folder" };
            let detail = format!("{what} of user {owner}, mode {mode:o}");
            return Err(RendezvousError::Exposed { path, detail });
        }
        Ok(Folder { path })
    }

    fn file(&self, party: PartyId) -> PathBuf {
        self.path.join(format!("rank{}.json", party.index()))
    }

    /// Leaves a task's file, in place of what is there.
    pub(super) fn leave(&self, party: PartyId, offer: &Offer) -> Result<(), RendezvousError> {
        let (to, part) = (self.file(party), self.path.join(format!(".rank{}.{}", party.index(), std::process::id())));
        let write = || {
            let text = serde_json::to_vec(offer).map_err(io::Error::other)?;
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&part, &to)
        };
        write().map_err(|error| {
            // What could not be finished is of no use; the error above counts.
            let _ = fs::remove_file(&part);
            RendezvousError::folder("write", &to, &error)
        })
    }

    /// What a task has left, or why nothing is known.
    pub(super) fn find(&self, party: PartyId) -> io::Result<Offer> {
        // On a network's file system a look at the folder brings news of what is in it.
        let _ = fs::read_dir(&self.path).map(Iterator::count);
        serde_json::from_slice(&fs::read(self.file(party))?).map_err(io::Error::other)
    }

    /// Whether a task has left a file, now or before.
    pub(super) fn has(&self, party: PartyId) -> bool {
        self.find(party).is_ok()
    }

    /// Removes a task's file if it is that one, and the folder if it was the last. What cannot be removed holds no secret.
    pub(super) fn remove(&self, party: PartyId, fingerprint: Fingerprint) {
        if self.find(party).and_then(|offer| offer.fingerprint()).is_ok_and(|found| found == fingerprint) {
            let _ = fs::remove_file(self.file(party));
        }
        let _ = fs::remove_dir(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Identity;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_is_its_owners_alone_and_goes_with_the_last_file() {
        let parent = tempfile::tempdir().unwrap();
        let task = Task { party: PartyId::P1, step: "7.0".into(), local_id: 0, node: "n1".into() };
        let folder = Folder::open(parent.path(), &task).unwrap();
        assert_eq!(fs::metadata(&folder.path).unwrap().mode() & 0o777, 0o700);
        let (mine, other) = (Identity::generate().unwrap().fingerprint(), Identity::generate().unwrap().fingerprint());
        let offer = Offer::new("n1", vec!["192.0.2.1:7".parse().unwrap()], mine);
        folder.leave(PartyId::P1, &Offer::new("n1", vec![], other)).unwrap();
        folder.leave(PartyId::P1, &offer).unwrap();
        assert_eq!(folder.find(PartyId::P1).unwrap(), offer);
        assert_eq!(fs::metadata(folder.file(PartyId::P1)).unwrap().mode() & 0o777, 0o600);
        assert!(!folder.has(PartyId::P2));
        folder.remove(PartyId::P1, other);
        assert!(folder.has(PartyId::P1), "it is not the other's file any more");
        folder.remove(PartyId::P1, mine);
        assert!(!folder.path.exists());

        fs::create_dir(&folder.path).unwrap();
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o770)).unwrap();
        let error = Folder::open(parent.path(), &task).unwrap_err();
        assert!(matches!(&error, RendezvousError::Exposed { .. }) && error.to_string().contains("mode 770"), "{error}");
        let error = Folder::open(&parent.path().join("missing"), &task).unwrap_err().to_string();
        assert!(error.contains("missing/cryptgpu-7.0") && error.contains("all nodes share"), "{error}");
    }
}
