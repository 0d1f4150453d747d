//! The three tasks of a Slurm job as three parties: what the job's environment says of a task, the folder in which tasks
//! find each other, and what ranks 1 and 2 do until rank 0 ends. Rank 0 is the caller: its half of a session is in `launch/`.
//!
//! | file | what |
//! |---|---|
//! | `task.rs` | what the environment says: job, step, rank |
//! | `folder.rs` | the folder of a step: who is there, where, with which certificate |
//! | `addresses.rs` | the addresses of this node's network interfaces |
//! | `meeting.rs` | rank 0 finds the others, once in its life |
//! | `serve.rs` | ranks 1 and 2: a process for each session, until rank 0 ends |
//! | `error.rs` | [`RendezvousError`] |

mod addresses;
mod error;
mod folder;
pub(super) mod meeting;
mod serve;
mod task;

pub use super::wire::rendezvous::Rendezvous;
pub use error::RendezvousError;
pub use serve::serve;

/// What became of [`attend`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attended {
    /// This is rank 0, and the others are there: go on.
    Caller,
    /// This was rank 1 or 2, it has served its party, and rank 0 has ended.
    Served,
}

/// Lets the three tasks of a step find each other, each of which runs the same program: rank 0 goes on when the others are there,
/// and is the caller; ranks 1 and 2 serve their parties until rank 0 ends.
///
/// ```no_run
/// use cryptgpu_core::cluster::rendezvous::{Attended, Rendezvous, attend};
/// use cryptgpu_core::cluster::{Cluster, Jobs, party};
///
/// party::serve_if_asked(&Jobs::default());
/// let place = Rendezvous::new("/shared/lab"); // srun --ntasks=3 this-program
/// if attend(&place)? == Attended::Served {
///     return Ok(());
/// }
/// let cluster = Cluster::rendezvous(place).start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RendezvousError`]: this is no task of a step of three, the folder cannot be used, or the others do not come in time.
pub fn attend(place: &Rendezvous) -> Result<Attended, RendezvousError> {
    match task::Task::of_environment()?.party.index() {
        0 => meeting::meet_now(place).map(|_| Attended::Caller),
        _ => serve(place, false).map(|()| Attended::Served),
    }
}
