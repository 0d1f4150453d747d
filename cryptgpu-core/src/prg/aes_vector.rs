//! AES-128 in counter mode with the processor's instructions for it: VAES in vectors of 512 or 256 bits, or AES-NI. A loop
//! is one function that the compiler cannot take apart, whatever units it cuts the crate into; which streams there are is
//! `aes_ctr.rs`'s.
//!
//! **Floor.** A block takes ten rounds. Cores start one 512-bit instruction of four blocks, or two of 128 bits, a cycle: 6.4 or
//! 3.2 B a cycle. VAES of 256 bits is started once or twice a cycle. A counter costs an addition and a shuffle of its vector.

use cryptgpu_kernels::RoundKeys;

/// Blocks of 16 bytes.
pub(super) type Blocks = [[u8; 16]];

/// Writes the encryptions of `first`, `first + 1`, … to the blocks. The low 64 bits of the counter must not run over.
///
/// # Safety
/// The processor must have the instructions of the loop.
type Loop = unsafe fn(keys: &[u32; 44], first: u128, blocks: &mut Blocks);

/// A loop that this processor can run.
#[derive(Clone, Copy)]
pub(super) struct Counting(Loop);

impl Counting {
    /// The widest one; none where the processor has no instructions for AES.
    pub(super) fn widest() -> Option<Self> {
        Counting::all().first().copied()
    }

    /// From the widest.
    #[cfg(target_arch = "x86_64")]
    fn all() -> Vec<Self> {
        use std::arch::is_x86_feature_detected as has;
        let vaes512 = has!("vaes") && has!("avx512f") && has!("avx512bw");
        let vaes256 = has!("vaes") && has!("avx2");
        let aes = has!("aes") && has!("sse4.1");
        let all = [(vaes512, x86::vaes512 as Loop), (vaes256, x86::vaes256), (aes, x86::aes)];
        all.into_iter().filter(|(can, _)| *can).map(|(_, run)| Counting(run)).collect()
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn all() -> Vec<Self> {
        vec![]
    }

    /// The key stream from the counter `first` on. After 2¹²⁸ − 1 the counter goes on at zero.
    pub(super) fn keystream(self, keys: &RoundKeys, first: u128, blocks: &mut Blocks) {
        // The loops count in 64 bits.
        let until_carry = (u64::MAX - first as u64).saturating_add(1);
        let (before, behind) = blocks.split_at_mut(blocks.len().min(until_carry as usize));
        let next = first.wrapping_add(before.len() as u128);
        for (first, blocks) in [(first, before), (next, behind)] {
            if !blocks.is_empty() {
                // SAFETY: `all` has looked for the instructions.
                unsafe { (self.0)(keys.words(), first, blocks) }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Blocks;
    use std::arch::x86_64::*;

    /// Vectors on their way at a time: a round takes four cycles and one or two start in each.
    const AT_ONCE: usize = 8;

    macro_rules! counting {
        (
            $name:ident, $features:literal, $vector:ty, $wide:literal blocks, $pointer:ty, $broadcast:expr, $load:ident, $store:ident,
            $add:ident, $shuffle:ident, $xor:ident, $round:ident, $last:ident
        ) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name(keys: &[u32; 44], first: u128, blocks: &mut Blocks) {
                // As words of 64 bits in this processor's order: the high half as it is in the block, the low half to be
                // counted up and then turned round.
                let high = ((first >> 64) as u64).swap_bytes();
                let (mut counters, mut order) = ([[high, 0]; $wide], [[0u64; 2]; $wide]);
                for (at, (counter, order)) in counters.iter_mut().zip(&mut order).enumerate() {
                    counter[1] = (first as u64).wrapping_add(at as u64);
                    *order = [0x0706_0504_0302_0100, 0x0809_0a0b_0c0d_0e0f];
                }
                let step = [[0, $wide as u64]; $wide];
                // SAFETY: each array has as many bytes as the vector.
                let (mut counters, order, step): ($vector, $vector, $vector) = unsafe {
                    ($load(counters.as_ptr().cast()), $load(order.as_ptr().cast()), $load(step.as_ptr().cast()))
                };
                let mut round_keys = [counters; 11];
                for (wide, key) in round_keys.iter_mut().zip(keys.as_chunks::<4>().0) {
                    // SAFETY: four words are 16 bytes.
                    *wide = $broadcast(unsafe { _mm_loadu_si128(key.as_ptr().cast()) });
                }
                let (groups, rest) = blocks.as_chunks_mut::<{ AT_ONCE * $wide }>();
                for group in groups {
                    let mut state = [counters; AT_ONCE];
                    for state in &mut state {
                        *state = $xor($shuffle(counters, order), round_keys[0]);
                        counters = $add(counters, step);
                    }
                    for key in &round_keys[1..10] {
                        for state in &mut state {
                            *state = $round(*state, *key);
                        }
                    }
                    for (state, to) in state.into_iter().zip(group.as_chunks_mut::<$wide>().0) {
                        // SAFETY: so many blocks are the vector's bytes.
                        unsafe { $store(to.as_mut_ptr().cast::<$pointer>(), $last(state, round_keys[10])) }
                    }
                }
                for to in rest.chunks_mut($wide) {
                    let mut state = $xor($shuffle(counters, order), round_keys[0]);
                    counters = $add(counters, step);
                    for key in &round_keys[1..10] {
                        state = $round(state, *key);
                    }
                    let mut made = [[0u8; 16]; $wide];
                    // SAFETY: as above.
                    unsafe { $store(made.as_mut_ptr().cast::<$pointer>(), $last(state, round_keys[10])) }
                    to.copy_from_slice(&made[..to.len()]);
                }
            }
        };
    }

    counting!(
        vaes512, "avx512f,avx512bw,vaes", __m512i, 4 blocks, __m512i, _mm512_broadcast_i32x4, _mm512_loadu_si512,
        _mm512_storeu_si512, _mm512_add_epi64, _mm512_shuffle_epi8, _mm512_xor_si512, _mm512_aesenc_epi128,
        _mm512_aesenclast_epi128
    );
    counting!(
        vaes256, "avx2,vaes", __m256i, 2 blocks, __m256i, _mm256_broadcastsi128_si256, _mm256_loadu_si256,
        _mm256_storeu_si256, _mm256_add_epi64, _mm256_shuffle_epi8, _mm256_xor_si256, _mm256_aesenc_epi128,
        _mm256_aesenclast_epi128
    );
    counting!(
        aes, "sse4.1,aes", __m128i, 1 blocks, __m128i, std::convert::identity, _mm_loadu_si128, _mm_storeu_si128,
        _mm_add_epi64, _mm_shuffle_epi8, _mm_xor_si128, _mm_aesenc_si128, _mm_aesenclast_si128
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use aes::cipher::{KeyIvInit, StreamCipher};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_loop_makes_the_key_stream_of_ctr(
            key: [u8; 16], high: u64, below in 0u64..200, near_carry: bool, blocks in 0usize..150,
        ) {
            let low = if near_carry { u64::MAX - below } else { high.rotate_left(7) ^ below };
            let first = u128::from(high) << 64 | u128::from(low);
            let mut expected = vec![[0u8; 16]; blocks];
            let mut ctr = ctr::Ctr128BE::<aes::Aes128>::new(&key.into(), &first.to_be_bytes().into());
            ctr.apply_keystream(expected.as_flattened_mut());
            for counting in Counting::all() {
                let mut made = vec![[1u8; 16]; blocks];
                counting.keystream(&RoundKeys::expand(&key), first, &mut made);
                prop_assert_eq!(&made, &expected);
            }
        }
    }
}
