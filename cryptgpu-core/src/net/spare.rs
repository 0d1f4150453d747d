//! Buffers for messages to be received, kept from messages that were sent: what a party sends
//! and receives is of like size, and fresh memory costs more (page faults, zeroing) than the
//! copy that fills it.

use super::payload::Payload;
use parking_lot::Mutex;

/// Buffers of at least this size are kept, in words.
const MIN_WORDS: usize = 4 << 10;
/// So much is kept at most, in words (64 MiB).
const MAX_KEPT_WORDS: usize = 8 << 20;

/// The spare buffers of one party.
#[derive(Debug, Default)]
pub(super) struct SpareBuffers(Mutex<Vec<Vec<u64>>>);

impl SpareBuffers {
    /// Keeps `buffer` if there is room, and if it is not so short that it may have been a key.
    pub(super) fn put(&self, buffer: Payload) {
        let mut spare = self.0.lock();
        let kept: usize = spare.iter().map(Vec::len).sum();
        if buffer.len() >= MIN_WORDS && kept + buffer.len() <= MAX_KEPT_WORDS {
            spare.push(buffer.take());
        }
    }

    /// A buffer of `len` words whose content is of no meaning: the caller overwrites all of it.
    pub(super) fn take(&self, len: usize) -> Vec<u64> {
        if len >= MIN_WORDS {
            let mut spare = self.0.lock();
            // Not one that is much larger: the message's receiver may keep it for long.
            let fits = |buffer: &Vec<u64>| buffer.len() >= len && buffer.len() / 2 <= len;
            if let Some(at) = spare.iter().position(fits) {
                let mut buffer = spare.swap_remove(at);
                buffer.truncate(len);
                return buffer;
            }
        }
        vec![0; len]
    }
}
