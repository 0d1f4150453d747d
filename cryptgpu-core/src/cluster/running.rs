//! Clusters that run now, for other programs of the same user: each has a socket in a folder that is the user's alone, and
//! says there how it is to whoever connects (`cryptgpu top`). A cluster without such a socket, where the folder cannot be
//! made, runs all the same.

use super::wire::view::ClusterView;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;

/// How long either end waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a cluster says of itself is shorter than this.
const MAX_BYTES: u64 = 1 << 20;

/// A cluster that runs now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Running {
    /// The process that has started it and the number that it has there: `4711.0`.
    pub name: String,
    /// How it was when it was last looked at.
    pub view: ClusterView,
    socket: PathBuf,
}

impl Running {
    /// Looks at it again.
    ///
    /// # Errors
    /// What the operating system says, most likely that nobody is there any more: then the cluster has ended.
    pub fn look(&mut self) -> io::Result<&ClusterView> {
        self.view = look(&self.socket)?;
        Ok(&self.view)
    }
}

/// The clusters of this user's programs on this machine, by name. Sockets of programs that were killed are removed.
///
/// ```
/// use cryptgpu_core::cluster::{Cluster, running};
///
/// let cluster = Cluster::in_memory().start()?;
/// let own: Vec<_> = running::all().into_iter().filter(|running| running.view.pid == std::process::id()).collect();
/// assert!(own.iter().all(|running| running.view.job.is_none()), "nothing runs in it");
/// # Ok::<(), cryptgpu_core::cluster::ClusterError>(())
/// ```
pub fn all() -> Vec<Running> {
    let mut found: Vec<_> =
        folders().iter().filter(|folder| is_own(folder)).flat_map(|folder| sockets(folder)).collect();
    found.sort();
    found
        .into_iter()
        .filter_map(|((pid, number), socket)| match look(&socket) {
            Ok(view) => Some(Running { name: format!("{pid}.{number}"), view, socket }),
            Err(error) => {
                remove_stale(pid, &socket, &error);
                None
            }
        })
        .collect()
}

fn look(socket: &Path) -> io::Result<ClusterView> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = vec![];
    stream.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Where sockets may be: the folder of the user's session, and one that is there without a session too.
fn folders() -> Vec<PathBuf> {
    // SAFETY: geteuid takes nothing and touches no memory.
    let user = unsafe { libc::geteuid() };
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let session = session.map(|folder| folder.join("cryptgpu"));
    session.into_iter().chain([PathBuf::from(format!("/tmp/cryptgpu-{user}"))]).collect()
}

/// Whether a folder is there, and nobody else's.
fn is_own(folder: &Path) -> bool {
    // SAFETY: geteuid takes nothing and touches no memory.
    let user = unsafe { libc::geteuid() };
    let about = folder.symlink_metadata();
    about.is_ok_and(|about| about.is_dir() && about.uid() == user && about.mode() & 0o077 == 0)
}

/// What is called like a socket of ours, with the process and the number.
fn sockets(folder: &Path) -> Vec<((u32, u64), PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let parsed = entries.filter_map(|entry| Some((parse(&entry.file_name())?, entry.path())));
    parsed.collect()
}

fn parse(name: &OsStr) -> Option<(u32, u64)> {
    let (pid, number) = name.to_str()?.split_once('.')?;
    Some((pid.parse().ok()?, number.parse().ok()?))
}

/// Whether a process is there, and not only waiting to be reaped.
fn exists(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Removes a socket on which nobody listens, if its process is gone too: one that is there may be about to listen.
fn remove_stale(pid: u32, socket: &Path, error: &io::Error) {
    if error.kind() == io::ErrorKind::ConnectionRefused && !exists(pid) {
        // Somebody else may have been quicker.
        let _ = std::fs::remove_file(socket);
    }
}

/// The socket of a cluster: its drop ends it.
pub(super) struct Published {
    socket: PathBuf,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Published {
    /// The socket of the cluster of this number, on which a thread says what `look` sees; none where there can be none.
    pub(super) fn new(number: u64, look: impl Fn() -> ClusterView + Send + 'static) -> Option<Self> {
        let made = |folder: &PathBuf| {
            // It may be there.
            let _ = DirBuilder::new().mode(0o700).create(folder);
            is_own(folder)
        };
        let folder = folders().into_iter().find(made)?;
        let pid = std::process::id();
        for ((other, _), socket) in sockets(&folder) {
            if other != pid && !exists(other) {
                UnixStream::connect(&socket).err().iter().for_each(|error| remove_stale(other, &socket, error));
            }
        }
        let socket = folder.join(format!("{pid}.{number}"));
        // Left by another process that had this number.
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).ok()?;
        listener.set_nonblocking(true).ok()?;
        let (end, ended) = oneshot::channel();
        let body = move || serve(listener, ended, &look);
        let thread = std::thread::Builder::new().name("top".into()).spawn(body);
        let thread = thread.inspect_err(|_| drop(std::fs::remove_file(&socket))).ok()?;
        Some(Published { socket, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        self.end.take();
        // It ends at once; its failure is nobody's.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Says how the cluster is to whoever connects, until it ends.
fn serve(listener: UnixListener, ended: oneshot::Receiver<()>, look: &dyn Fn() -> ClusterView) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let answers = async {
        let Ok(listener) = tokio::net::UnixListener::from_std(listener) else { return };
        loop {
            match listener.accept().await {
                Ok((mut stream, _)) => {
                    let text = serde_json::to_vec(&look()).unwrap_or_default();
                    // Whoever does not read it misses it.
                    let _ = tokio::time::timeout(PATIENCE, stream.write_all(&text)).await;
                }
                // Most likely there is no descriptor left.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    };
    runtime.block_on(async {
        tokio::select! {
            () = answers => {}
            _ = ended => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::launch::board::Board;
    use crate::cluster::wire::configuration::Places;

    #[test]
    fn a_cluster_is_seen_as_long_as_it_is_there() {
        let view = Board::new(&Places::Memory).look();
        // No cluster of a test has this number.
        let (number, shown) = (u64::MAX, view.clone());
        let published = Published::new(number, move || shown.clone()).unwrap();
        let found = || all().into_iter().find(|running| running.name == format!("{}.{number}", std::process::id()));
        let mut running = found().unwrap();
        assert_eq!(running.view, view);
        assert_eq!(running.look().unwrap(), &view);
        // Somebody who says nothing holds up nobody.
        let _silent = UnixStream::connect(&running.socket).unwrap();
        assert!(running.look().is_ok());
        drop(published);
        assert!(found().is_none() && running.look().is_err() && !running.socket.exists());
    }

    #[test]
    fn only_numbers_are_names_and_only_a_folder_of_ones_own_is_used() {
        assert_eq!(parse(OsStr::new("4711.2")), Some((4711, 2)));
        for name in ["4711", "4711.", ".2", "4711.2.sock", "a.1", "-1.0"] {
            assert_eq!(parse(OsStr::new(name)), None, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        let (own, link) = (folder.path().join("own"), folder.path().join("link"));
        DirBuilder::new().mode(0o700).create(&own).unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert!(is_own(&own) && !is_own(&link) && !is_own(&folder.path().join("none")));
        std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o750)).unwrap();
        assert!(!is_own(&own));
    }
}
