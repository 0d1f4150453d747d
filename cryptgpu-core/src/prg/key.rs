//! Keys of 128 bits: drawn from the operating system, wiped when dropped, never shown.

use super::PrgError;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A 128-bit key. `Debug` does not show it, and its memory is wiped when it is dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop, serde::Serialize, serde::Deserialize)]
pub struct Key([u8; 16]);

impl Key {
    /// A key from the operating system's entropy.
    ///
    /// ```
    /// use cryptgpu_core::prg::Key;
    /// let (mine, yours) = (Key::from_os()?, Key::from_os()?);
    /// assert_ne!(mine.expose(), yours.expose());
    /// # Ok::<(), cryptgpu_core::prg::PrgError>(())
    /// ```
    ///
    /// # Errors
    /// [`PrgError::Entropy`] when the operating system has none to give.
    pub fn from_os() -> Result<Self, PrgError> {
        Self::from_source(getrandom::fill)
    }

    /// A key from `source`, which fills all of the bytes it is given or fails.
    fn from_source(source: impl FnOnce(&mut [u8]) -> Result<(), getrandom::Error>) -> Result<Self, PrgError> {
        let mut key = Key([0u8; 16]);
        source(&mut key.0).map_err(PrgError::Entropy)?;
        Ok(key)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;

    #[test]
    fn a_failing_source_is_an_error_that_says_what_to_do() {
        let error = Key::from_source(|_| Err(getrandom::Error::UNSUPPORTED)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no entropy") && text.contains("/dev/urandom"), "{text}");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn dropping_wipes_the_bytes() {
        let mut slot = MaybeUninit::new(Key::from_bytes([0xa5; 16]));
        // SAFETY: the slot was initialised, is dropped once, and its bytes stay ours to read.
        let left = unsafe {
            slot.assume_init_drop();
            std::ptr::read_volatile(slot.as_ptr().cast::<[u8; 16]>())
        };
        assert_eq!(left, [0; 16]);
    }
}
