//! Philox in the place of AES-CTR: for measuring what the cipher costs, never for secrets.

use super::PhiloxStream;
use crate::prg::Key;
use std::fmt;
use std::sync::Once;
use zeroize::Zeroize;

/// Philox4x64-10 as a generator of protocol streams. **Insecure**: outputs reveal the key to someone
/// who tries, and with it every mask. The stream of nonce n is the stream of
/// `Philox::from_key(key).jumped(n)`, the key's bytes being little-endian.
pub struct InsecurePhilox {
    key: [u64; 2],
}

impl InsecurePhilox {
    /// The generator of `key`. The first one of a process prints a warning on standard error.
    pub fn new(key: &Key) -> Self {
        static WARNED: Once = Once::new();
        WARNED.call_once(|| {
            eprintln!(
                "warning: insecure randomness (Philox) was chosen: shares and masks hide nothing. Use it to measure, \
                 on data that is public."
            );
        });
        let key = u128::from_le_bytes(*key.expose());
        InsecurePhilox { key: [key as u64, (key >> 64) as u64] }
    }

    /// The key, for the kernels of a card.
    pub(in crate::prg) fn words(&self) -> &[u64; 2] {
        &self.key
    }

    /// Words `offset .. offset + out.len()` of the stream `nonce`.
    pub fn fill(&self, nonce: u64, offset: u64, out: &mut [u64]) {
        PhiloxStream::new(self.key, [0, 0, nonce, 0]).fill(offset, out);
    }
}

impl Drop for InsecurePhilox {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for InsecurePhilox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InsecurePhilox(..)")
    }
}
