//! A folder in which the three tasks of a job find each other, as a caller names it, and what rank 0 and the others say to
//! each other before a session.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the three tasks of a Slurm job find each other: a folder that all nodes share. For
/// [`Cluster::rendezvous`](crate::cluster::Cluster::rendezvous), which takes a path as well.
///
/// ```
/// use cryptgpu_core::cluster::Rendezvous;
/// use std::time::Duration;
///
/// let place = Rendezvous::new("/shared/lab").within(Duration::from_secs(300)).interface("ib0");
/// assert_ne!(place, Rendezvous::from("/shared/lab"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendezvous {
    pub(in crate::cluster) folder: PathBuf,
    pub(in crate::cluster) within: Duration,
    pub(in crate::cluster) interface: Option<String>,
}

impl Rendezvous {
    /// Names the folder. In it the tasks make one of their own for each step of a job.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Rendezvous { folder: folder.into(), within: Duration::from_secs(60), interface: None }
    }

    /// How long the tasks may take to find each other: 60 s by default.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// The network interface of each node, such as `ib0`, over which the others reach its task. By default the first that
    /// works.
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.interface = Some(name.into());
        self
    }
}

impl From<&str> for Rendezvous {
    fn from(folder: &str) -> Self {
        Rendezvous::new(folder)
    }
}

impl From<&Path> for Rendezvous {
    fn from(folder: &Path) -> Self {
        Rendezvous::new(folder)
    }
}

impl From<PathBuf> for Rendezvous {
    fn from(folder: PathBuf) -> Self {
        Rendezvous::new(folder)
    }
}

/// What both ends of a connection between tasks say first.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) struct Greeting {
    pub(in crate::cluster) version: String,
    /// Which of its node's tasks it is, for cards in turn.
    pub(in crate::cluster) local_id: u32,
}

/// What rank 0 wants of another task.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Request {
    /// To be told by the end of this connection that the other is gone. Bytes without a meaning follow, every so often.
    Attend,
    /// A party's process for a session. Behind the answer come its bootstrap and its control link.
    Session {
        /// What its program is given in addition: the libraries of a notebook's cells.
        arguments: Vec<OsString>,
    },
}

/// What that task answers.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cluster) enum Reply {
    /// It is there.
    Attended,
    /// The process has started, with that number on its node.
    Started { pid: u32 },
    /// It will not, or cannot.
    Refused(String),
}
