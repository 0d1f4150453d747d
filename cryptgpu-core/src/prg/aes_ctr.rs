//! AES-128 in counter mode (NIST SP 800-38A §6.5), with random access.
//!
//! The 128-bit big-endian counter of a stream is its nonce in the high half and the block number
//! in the low half; a block is two little-endian words.
//!
//! On processors with instructions for AES the key stream is made by a loop of our own (`aes_vector.rs`): the `aes` crate picks
//! the same instructions, but whether its rounds are inlined into a loop that is generic over them depended on how the
//! compiler cut this crate, and the speed with it, by a factor of 2.5. Elsewhere the `ctr` crate makes it, with constant-time
//! bit-slicing where the processor has nothing better.
//!
//! `cargo bench -p cryptgpu-core --bench prg` prints the speed on the machine at hand beside OpenSSL's.

use super::Key;
use super::aes_vector::{Blocks, Counting};
use aes::cipher::array::Array;
use aes::cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128Enc, Block};
use cryptgpu_kernels::RoundKeys;
use std::fmt;
use std::sync::OnceLock;
use zeroize::ZeroizeOnDrop;

/// Words in a block.
const BLOCK_WORDS: u64 = 2;

/// `ctr`'s counter mode over a borrowed key schedule: nothing is cloned for a fill.
type Ctr<'a> = ctr::CtrCore<&'a Aes128Enc, ctr::flavors::Ctr128BE>;

/// AES-128 in counter mode with random access. Key and key schedule are wiped when it is dropped.
pub struct Aes128Ctr {
    cipher: Aes128Enc,
    key: Key,
    /// The key schedule as our own loop and a card's kernels take it, made at first use.
    round_keys: OnceLock<RoundKeys>,
    /// Our own loop, where this processor has one.
    counting: Option<Counting>,
}

impl Aes128Ctr {
    /// The generator of `key`.
    pub fn new(key: &Key) -> Self {
        let cipher = Aes128Enc::new(key.expose().into());
        Aes128Ctr { cipher, key: key.clone(), round_keys: OnceLock::new(), counting: Counting::widest() }
    }

    /// The key schedule.
    pub(super) fn round_keys(&self) -> &RoundKeys {
        self.round_keys.get_or_init(|| RoundKeys::expand(self.key.expose()))
    }

    /// Words `offset .. offset + out.len()` of the stream `nonce`, of which there are 2⁶⁵. Any
    /// offset and length; an odd offset costs one block more.
    pub fn fill(&self, nonce: u64, offset: u64, out: &mut [u64]) {
        let counter = (u128::from(nonce) << 64) | u128::from(offset / BLOCK_WORDS);
        let (first, rest) = out.split_at_mut(out.len().min((offset % BLOCK_WORDS) as usize));
        if let [word] = first {
            *word = self.block(counter)[1];
        }
        self.keystream(counter + first.len() as u128, rest);
    }

    /// The key stream from the 128-bit counter block `counter` on, two words a block; after
    /// 2¹²⁸ − 1 the counter goes on at zero. This is plain AES-128-CTR as other programs have it:
    /// XOR with a plaintext's little-endian words encrypts it.
    ///
    /// ```
    /// use cryptgpu_core::prg::{Aes128Ctr, Key};
    /// // FIPS 197 appendix C.1: a counter block is encrypted as it stands.
    /// let aes = Aes128Ctr::new(&Key::from_bytes(std::array::from_fn(|i| i as u8)));
    /// let mut block = [0; 2];
    /// aes.keystream(0x00112233445566778899aabbccddeeff, &mut block);
    /// assert_eq!(block.map(u64::swap_bytes), [0x69c4e0d86a7b0430, 0xd8cdb78070b4c55a]);
    /// ```
    pub fn keystream(&self, counter: u128, out: &mut [u64]) {
        let (blocks, tail): (&mut Blocks, _) = bytemuck::cast_slice_mut(out).as_chunks_mut();
        let count = blocks.len() as u128;
        match self.counting {
            Some(counting) => counting.keystream(self.round_keys(), counter, blocks),
            None => {
                let blocks = Array::cast_slice_from_core_mut(blocks);
                Ctr::inner_iv_init(&self.cipher, &counter.to_be_bytes().into()).write_keystream_blocks(blocks);
            }
        }
        if !tail.is_empty() {
            let last = self.block(counter.wrapping_add(count));
            tail.copy_from_slice(&last[0].to_le_bytes());
        }
    }

    /// The two words of one block.
    fn block(&self, counter: u128) -> [u64; 2] {
        let mut block = Block::from(counter.to_be_bytes());
        self.cipher.encrypt_block(&mut block);
        bytemuck::cast(block.0)
    }
}

impl ZeroizeOnDrop for Aes128Ctr {}

impl fmt::Debug for Aes128Ctr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes128Ctr(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;

    /// Words of the schedule of FIPS 197, appendix A.1: the key's first, the first and last that come of it.
    const WORDS: [[u8; 4]; 3] = [[0x2b, 0x7e, 0x15, 0x16], [0xa0, 0xfa, 0xfe, 0x17], [0xb6, 0x63, 0x0c, 0xa6]];

    /// How often each of them stands in memory.
    fn found(memory: &[u8]) -> [usize; 3] {
        WORDS.map(|word| memory.windows(4).filter(|window| *window == word).count())
    }

    #[test]
    fn dropping_wipes_the_key_schedule() {
        const SIZE: usize = size_of::<Aes128Ctr>();
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
        let cipher = Aes128Ctr::new(&Key::from_bytes(key));
        cipher.round_keys();
        let mut slot = Box::new(MaybeUninit::new(cipher));
        // SAFETY: the bytes are ours; those of padding are read like the others and mean nothing.
        let memory = || unsafe { std::ptr::read_volatile(slot.as_ptr().cast::<[u8; SIZE]>()) };
        let before = found(&memory());
        assert!(before.iter().all(|&count| count >= 1), "{before:?}: the schedules are not where this test looks");
        // SAFETY: the slot was initialised and is dropped once.
        unsafe { slot.assume_init_drop() };
        // SAFETY: as above.
        let after = unsafe { std::ptr::read_volatile(slot.as_ptr().cast::<[u8; SIZE]>()) };
        assert_eq!(found(&after), [0; 3], "words of the key schedule are left");
    }
}
