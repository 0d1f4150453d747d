//! Parties of different owners: long-term keys, what an owner allows, the gate that decides by it, the log of what was
//! done, and the daemon that waits for callers. What runs behind the gate is in `party/`; the caller's side is in `launch/`.
//!
//! | file | what |
//! |---|---|
//! | `identity.rs` | keys and certificates in files, fingerprints |
//! | `policy.rs` | [`Policy`]: what an owner allows, by lines of a file |
//! | `rule.rs` | what one `[[reveal]]` of it covers |
//! | `gate.rs` | the gate of a session: asks the policy, writes the log |
//! | `audit.rs` | the audit log: lines that follow from one another |
//! | `daemon.rs` | the party that waits for callers, and the process of a session |
//! | `files.rs` | `party.toml` of an owner, `owners.toml` of a caller |
//! | `lines.rs` | files of settings, and the lines that errors name |
//! | `fuzz.rs` | what fuzzers call: policies and files from bytes |
//! | `error.rs` | [`OwnerError`] |

mod audit;
mod daemon;
mod error;
mod files;
pub(crate) mod fuzz;
mod gate;
mod identity;
mod lines;
mod policy;
mod rule;

pub use super::wire::owners::Owners;
pub use audit::{AuditEvent, AuditHead, AuditLine, Revelation, read_audit};
pub use daemon::{
    SESSION_ENTRY, digest_of, serve_if_asked, serve_owner, serve_session, serve_session_from, serve_session_to_the_end,
};
pub use error::OwnerError;
pub use identity::{KeyFiles, fingerprint_of, generate_key, read_identity};
pub use policy::Policy;
