//! What can go wrong here: no entropy, and arguments or states that make no generator.

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

    /// A text names no kind of randomness.
    #[error("{0:?} is no kind of randomness: write aes128-ctr, or insecure-philox to measure on public data")]
    UnknownRandomness(String),

    /// A text is no integer, or is negative where that has no meaning.
    #[error("{text:?} is not {expected}: write decimal digits, or hexadecimal ones after 0x")]
    NotAnInteger {
        /// The text as given.
        text: String,
        /// What was expected: an integer, or a non-negative one.
        expected: &'static str,
    },

    /// A Philox was asked for with a seed and with a key.
    #[error("philox: a seed and a key cannot both be given, as the seed makes the key: drop one of them")]
    SeedAndKey,

    /// A seed sequence was asked for with too small a pool.
    #[error("seed sequence: a pool of {0} words is too small: use at least 4, the default")]
    PoolSize(usize),

    /// A generator without a seed sequence was asked for children.
    #[error(
        "philox: a generator made from a key or a state, or by jumped(), has no seed sequence to spawn from: make it \
         from a seed, or use jumped() or other keys for parallel streams"
    )]
    NoSeedSequence,

    /// A saved state of a Philox is not one that a Philox can be in.
    #[error("philox state: {field} {why}: export the state anew, with Philox::state or NumPy's Philox.state")]
    State {
        /// The field that is wrong.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },

    /// An argument of a distribution has no meaning.
    #[error("{operation}: {why}")]
    Argument {
        /// The distribution or operation.
        operation: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
}
