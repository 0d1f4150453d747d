//! AES-128 in counter mode. The 128-bit big-endian counter is the nonce in its high half and
//! the block number in its low half; a block is two words.

use super::Key;
use aes::Aes128;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherSeek};
use std::fmt;

/// AES-128 in counter mode with random access.
pub struct Aes128Ctr {
    cipher: Aes128,
}

impl Aes128Ctr {
    /// The generator of `key`.
    pub fn new(key: &Key) -> Self {
        Aes128Ctr { cipher: Aes128::new(key.expose().into()) }
    }

    /// Words `offset ..` of the stream `nonce`.
    pub fn fill(&self, nonce: u64, offset: u64, out: &mut [u64]) {
        out.fill(0);
        let mut iv = [0u8; 16];
        iv[..8].copy_from_slice(&nonce.to_be_bytes());
        let core = ctr::CtrCore::<Aes128, ctr::flavors::Ctr64BE>::inner_iv_init(self.cipher.clone(), &iv.into());
        let mut stream = aes::cipher::StreamCipherCoreWrapper::from_core(core);
        stream.seek(u128::from(offset) * 8);
        stream.apply_keystream(bytemuck::cast_slice_mut(out));
    }
}

impl fmt::Debug for Aes128Ctr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes128Ctr(..)")
    }
}
