// Philox4x64-10, bit for bit the core's protocol streams (`prg::philox::InsecurePhilox`): word w of the stream of a
// nonce is word w mod 4 of the block whose counter is (1 + ⌊w/4⌋, 0, nonce, 0). Fast and no protection at all: for
// measuring what AES costs.
//
// A block is twenty 64×64 products to 128 bits, about 200 integer instructions for 32 bytes: 1.1 TB/s on a V100, which
// is the speed of its memory, and more than that on newer cards.
#include "common.cuh"

struct Words4 {
    u64 w[4];
};

static __device__ __forceinline__ Words4 philox(u64 k0, u64 k1, u64 nonce, u64 block) {
    u64 x0 = block + 1, x1 = 0, x2 = nonce, x3 = 0;
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const u64 m0 = 0xd2e7470ee14c6c93ull, m1 = 0xca5a826395121157ull;
        u64 h0 = __umul64hi(x0, m0), l0 = x0 * m0, h1 = __umul64hi(x2, m1), l1 = x2 * m1;
        x0 = h1 ^ x1 ^ k0, x1 = l1, x2 = h0 ^ x3 ^ k1, x3 = l0;
        k0 += 0x9e3779b97f4a7c15ull, k1 += 0xbb67ae8584caa73bull;
    }
    return Words4{{x0, x1, x2, x3}};
}

template <typename Block, typename Put> static __device__ void for_blocks(u64 offset, u64 n, Block block_of, Put put) {
    u64 first = offset / 4, blocks = n == 0 ? 0 : (offset + n - 1) / 4 - first + 1;
    FOR_ELEMENTS(i, blocks) {
        Words4 words = block_of(first + i);
        u64 at = 4 * i - offset % 4; // of the first word; wraps below zero where an offset begins within a block
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (at + j < n) put(at + j, words.w[j]);
    }
}

// What knows no elements.
#if WORD_BITS == 64
KERNEL(THREADS) philox_fill(u64 k0, u64 k1, u64 nonce, u64 offset, u64 *__restrict__ out, u64 n) {
    for_blocks(
        offset, n, [&](u64 block) { return philox(k0, k1, nonce, block); }, [&](u64 i, u64 word) { out[i] = word; });
}

KERNEL(THREADS)
philox_xor_zero(u64 p0, u64 p1, u64 plus_nonce, u64 m0, u64 m1, u64 minus_nonce, u64 offset, u64 *__restrict__ z, u64 n) {
    for_blocks(
        offset, n,
        [&](u64 block) {
            Words4 p = philox(p0, p1, plus_nonce, block), m = philox(m0, m1, minus_nonce, block);
            return Words4{{p.w[0] ^ m.w[0], p.w[1] ^ m.w[1], p.w[2] ^ m.w[2], p.w[3] ^ m.w[3]}};
        },
        [&](u64 i, u64 word) { z[i] ^= word; });
}
#endif

// z += F⁺ − F⁻, words of elements.
KERNEL(THREADS)
philox_add_zero(u64 p0, u64 p1, u64 plus_nonce, u64 m0, u64 m1, u64 minus_nonce, u64 offset, u64 *__restrict__ z, u64 n) {
    for_blocks(
        offset, n,
        [&](u64 block) {
            Words4 p = philox(p0, p1, plus_nonce, block), m = philox(m0, m1, minus_nonce, block);
            return Words4{{subtract_elements(p.w[0], m.w[0]), subtract_elements(p.w[1], m.w[1]),
                           subtract_elements(p.w[2], m.w[2]), subtract_elements(p.w[3], m.w[3])}};
        },
        [&](u64 i, u64 word) { z[i] = add_elements(z[i], word); });
}
