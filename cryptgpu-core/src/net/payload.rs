//! The words of a message on its way. They are shares or keys, so no text shows them, and short ones, as keys are, are wiped
//! wherever they end: sent, refused, dropped.

use crate::device::Words;
use std::fmt;
use std::ops::{Deref, DerefMut};
use zeroize::Zeroize;

/// Payloads of at most so many words are wiped: keys are shorter, and to wipe long ones would cost as much as a copy.
const WIPED_WORDS: usize = 64;

/// The words of a message. `Debug` shows their number only.
#[derive(Clone, Default)]
pub(super) struct Payload(Words);

impl Payload {
    pub(super) fn new(words: Vec<u64>) -> Self {
        Payload(Words::new(words))
    }

    /// `len` words whose content is of no meaning: the caller overwrites all of it.
    pub(super) fn scratch(len: usize) -> Self {
        Payload(Words::scratch(len))
    }

    /// The words, which are their receiver's to wipe from now on.
    pub(super) fn take(mut self) -> Vec<u64> {
        std::mem::take(&mut self.0).into_vec()
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        if self.0.len() <= WIPED_WORDS {
            self.0.zeroize();
        }
    }
}

impl Deref for Payload {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl DerefMut for Payload {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} words", self.0.len())
    }
}
