//! Object files: what this process has loaded of them, how they are told apart, and how a party opens one that another
//! process has loaded. What is opened is compared first, and it is the compared bytes that are opened; what a function
//! is, and what the control protocol says about it, is not known here.
//!
//! | file | what |
//! |---|---|
//! | `elf.rs` | what a file says about itself: its digest, its name, what it needs |
//! | `loaded.rs` | the objects of this process, and which files they are |
//! | `sealed.rs` | a copy of a file that nobody can change, compared and opened |
//! | `library.rs` | [`Library`]: a file with its digest, as one process names it to another; what a caller has sent |
//! | `error.rs` | [`CodeError`]: why code cannot be found, or is not run |

mod elf;
mod error;
mod library;
pub(super) mod loaded;
mod sealed;
#[cfg(test)]
mod tests;

pub(in crate::cluster) use elf::{LibcVersion, libc_needed};
pub use error::CodeError;
pub(super) use library::address_of;
pub(in crate::cluster) use library::{Library, Supply};

/// Names that begin like this are those of the C library and the compiler's own, which every program has loaded before
/// it can open anything: they are not compared.
const OF_THE_SYSTEM: [&str; 7] =
    ["ld-linux", "libc.so", "libm.so", "libgcc_s.so", "libdl.so", "libpthread.so", "librt.so"];

fn is_of_the_system(name: &str) -> bool {
    OF_THE_SYSTEM.iter().any(|beginning| name.starts_with(beginning))
}
