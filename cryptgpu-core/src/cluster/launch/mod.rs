//! The start of three linked parties: which program they run, processes or threads, what they print, and the session
//! that holds them together. `party/` has what runs in them, `controller/` what is asked of them.
//!
//! | file | what |
//! |---|---|
//! | `program.rs` | what parties are: threads, or processes of which program |
//! | `process.rs` | a party's process: spawned, its log drained, always reaped |
//! | `local.rs` | parties as processes of this machine |
//! | `ssh/` | parties as processes of three hosts |
//! | `introduce.rs` | certificates, and what each party gets to know |
//! | `streams.rs` | what a party's process prints, passed on |
//! | `logs.rs` | log files of the parties, which the caller writes |
//! | `board.rs` | how the parties are at the moment, for whoever wants to look |
//! | `threads.rs` | parties on threads of this process |
//! | `owners.rs` | parties of other owners: connecting to each, beginning a session |
//! | `rendezvous.rs` | parties that are tasks of a job: beginning a session at each |
//! | `mailbox.rs` | what parties send, decoded and counted |
//! | `session.rs` | one set of three parties, from start to end |

pub(super) mod board;
mod introduce;
mod local;
pub(super) mod logs;
pub(super) mod mailbox;
pub(super) mod owners;
mod process;
pub(super) mod program;
mod rendezvous;
pub(super) mod session;
mod ssh;
mod streams;
mod threads;
