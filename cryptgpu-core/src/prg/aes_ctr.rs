//! AES-128 in counter mode (NIST SP 800-38A §6.5), with random access.
//!
//! The 128-bit big-endian counter of a stream is its nonce in the high half and the block number
//! in the low half; a block is two little-endian words.
//!
//! The rounds are those of the `aes` crate, which picks VAES, AES-NI or constant-time bit-slicing
//! at run time. Counters come from the `ctr` crate, except in the hot loop: there a whole batch of
//! the backend (64 blocks with VAES) usually shares all but the last byte of its counters, so the
//! counters are one vector addition each, written where the key stream then replaces them. `ctr`
//! makes every counter by a 128-bit addition and a byte swap and reaches three quarters of this speed.
//!
//! **Floor.** A block is ten round instructions. AES-NI starts two a cycle on current cores: 3.2 B
//! per cycle, near which OpenSSL 3.0 stands (2.7), as its CTR uses AES-NI. 512-bit VAES does four
//! blocks an instruction and starts one a cycle: 6.4 B per cycle. On a Sapphire Rapids core at
//! 3.6 GHz, fills of 64 KiB run at 10.0 GB/s, 2.8 B per cycle: 0.43 of that floor and 1.01 of
//! OpenSSL's speed. What is lost goes into the crate's loads and stores, which are not inlined into
//! its vector code. `cargo bench -p cryptgpu-core --bench prg` prints the ratio for the machine at
//! hand.

use super::Key;
use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::typenum::Unsigned;
use aes::cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, InnerIvInit, KeyInit,
    StreamCipherCore,
};
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
    /// The key schedule as a card's kernels take it, made at first use.
    round_keys: OnceLock<RoundKeys>,
}

impl Aes128Ctr {
    /// The generator of `key`.
    pub fn new(key: &Key) -> Self {
        Aes128Ctr { cipher: Aes128Enc::new(key.expose().into()), key: key.clone(), round_keys: OnceLock::new() }
    }

    /// The key schedule, for the kernels of a card.
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
        let (blocks, tail) = Block::slice_as_chunks_mut(bytemuck::cast_slice_mut(out));
        let count = blocks.len() as u128;
        if !blocks.is_empty() {
            self.cipher.encrypt_with_backend(Fill { cipher: &self.cipher, counter, blocks });
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

/// Fills whole blocks with key stream, run by the `aes` crate with the backend of this machine.
struct Fill<'a> {
    cipher: &'a Aes128Enc,
    counter: u128,
    blocks: &'a mut [Block],
}

impl BlockSizeUser for Fill<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for Fill<'_> {
    // Inlined into the crate's function with the vector instructions turned on.
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, backend: &B) {
        let Fill { cipher, mut counter, blocks } = self;
        let batch = B::ParBlocksSize::USIZE;
        let (batches, tail) = Array::<Block, B::ParBlocksSize>::slice_as_chunks_mut(blocks);
        for blocks in batches {
            if write_counters(counter, blocks) {
                backend.encrypt_par_blocks(blocks.into());
            } else {
                Ctr::inner_iv_init(cipher, &counter.to_be_bytes().into()).write_keystream_blocks(blocks);
            }
            counter = counter.wrapping_add(batch as u128);
        }
        if tail.is_empty() {
            return;
        }
        if write_counters(counter, tail) {
            backend.encrypt_tail_blocks(tail.into());
        } else {
            Ctr::inner_iv_init(cipher, &counter.to_be_bytes().into()).write_keystream_blocks(tail);
        }
    }
}

/// Writes the counters `first, first + 1, …` when they differ in their last byte only; otherwise
/// leaves the blocks alone and says `false`.
#[inline(always)]
fn write_counters(first: u128, blocks: &mut [Block]) -> bool {
    let last_byte = usize::from(first as u8);
    if last_byte + blocks.len() > 256 {
        return false;
    }
    // The last byte of the big-endian block is the top byte of its second little-endian word.
    let high = ((first >> 64) as u64).to_be_bytes();
    let low = (first as u64).swap_bytes();
    for (i, block) in blocks.iter_mut().enumerate() {
        block[..8].copy_from_slice(&high);
        block[8..].copy_from_slice(&(low.wrapping_add((i as u64) << 56)).to_le_bytes());
    }
    true
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
