//! What can go wrong here: the operating system may have no entropy to give.

/// An error of the pseudo-random generators.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrgError {
    /// The operating system gave no entropy, so no key could be drawn.
    #[error(
        "cannot draw a key: the operating system gave no entropy ({0}). Inside a container or a sandbox, allow the \
         getrandom system call or make /dev/urandom readable, then start again"
    )]
    Entropy(#[source] getrandom::Error),
}
