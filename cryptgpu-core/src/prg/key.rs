//! Keys of 128 bits: drawn from the operating system, wiped when dropped, never shown.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A 128-bit key. `Debug` does not show it, and its memory is wiped when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop, serde::Serialize, serde::Deserialize)]
pub struct Key([u8; 16]);

impl Key {
    /// A key from the operating system's entropy.
    ///
    /// # Errors
    /// When the operating system has none to give.
    pub fn from_os() -> Result<Self, getrandom::Error> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Key(bytes))
    }

    /// A key with the given bytes: for tests, and for keys that came over a link.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Key(bytes)
    }

    /// The bytes, to key a generator or to pass to the neighbour that shares this key.
    pub fn expose(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}
