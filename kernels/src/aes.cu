// AES-128 in counter mode, bit for bit `prg::Aes128Ctr`: the 128-bit big-endian counter is the nonce in its high half
// and the number of the block in its low half; a block is two little-endian words.
//
// Rounds are look-ups in one table of 256 words, T[x] = (2S(x), S(x), S(x), 3S(x)), whose three rotations are made by
// byte permutes. Each of the 32 banks of shared memory holds a copy of its own (32 KiB), so a warp's look-up takes one
// cycle whatever the bytes are: fast, and no bank conflict depends on the key.
//
// Floor: 160 look-ups for 16 bytes, 32 a cycle and multiprocessor: 3.2 bytes a cycle, 350 GB/s on a V100 (80 at
// 1.38 GHz), 480 on an A100, 700 on an H100. Writing the words takes a third of the memory's speed at most, and the
// 16 bytes of a mask that is written and read again cost 5 to 40 % beside it, so masks are made in buffers and used by
// other kernels from there: every generator serves every step. The zero-share alone, two thirds of all masks, is added
// where it is made.
#include "common.cuh"

#define AES_THREADS 512
// Keys and streams of one launch of several.
#define AES_KEYS 4
#define AES_FILLS 48

static __constant__ unsigned char SBOX[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76, 0xca, 0x82, 0xc9,
    0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0, 0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f,
    0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15, 0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07,
    0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75, 0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3,
    0x29, 0xe3, 0x2f, 0x84, 0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58,
    0xcf, 0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8, 0x51, 0xa3,
    0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2, 0xcd, 0x0c, 0x13, 0xec, 0x5f,
    0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73, 0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88,
    0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb, 0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac,
    0x62, 0x91, 0x95, 0xe4, 0x79, 0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a,
    0xae, 0x08, 0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a, 0x70,
    0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e, 0xe1, 0xf8, 0x98, 0x11,
    0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf, 0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42,
    0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16};

// The round keys of one key, columns as little-endian words.
struct RoundKeys {
    u32 columns[44];
};

// One table a bank: entry x of bank b is at 32x + b. Each warp writes whole entries, read from constant memory once.
static __device__ __forceinline__ void make_table(u32 *table) {
    for (u32 i = threadIdx.x; i < 256 * 32; i += blockDim.x) {
        u32 s = SBOX[i / 32], doubled = (s << 1 ^ (s >> 7) * 0x11b) & 0xff;
        table[i] = doubled | s << 8 | s << 16 | (doubled ^ s) << 24;
    }
    __syncthreads();
}

// Row r of a column, in the table of this thread's bank.
#define LOOKUP(column, r) table[((column) >> (8 * (r)) & 0xff) * 32 + bank]
#define ROTATE(x, selector) __byte_perm(x, 0, selector)
#define MIXED(a, b, c, d, key)                                                                                         \
    (LOOKUP(a, 0) ^ ROTATE(LOOKUP(b, 1), 0x2103) ^ ROTATE(LOOKUP(c, 2), 0x1032) ^ ROTATE(LOOKUP(d, 3), 0x0321) ^ (key))
// S(x) is the second byte of T[x]; the last round does not mix.
#define SUBSTITUTED(a, b, c, d, key)                                                                                   \
    (__byte_perm(__byte_perm(LOOKUP(a, 0), LOOKUP(b, 1), 0x0051), __byte_perm(LOOKUP(c, 2), LOOKUP(d, 3), 0x0051),     \
                 0x5410) ^                                                                                             \
     (key))

// Block `block` of the stream `nonce`: two words.
static __device__ __forceinline__ ulonglong2 encrypt(const u32 *table, const RoundKeys &keys, u64 nonce, u64 block) {
    const u32 bank = threadIdx.x % 32;
    const u32 *k = keys.columns;
    const int reversed = 0x0123;
    u32 a = __byte_perm((u32)(nonce >> 32), 0, reversed) ^ k[0], b = __byte_perm((u32)nonce, 0, reversed) ^ k[1];
    u32 c = __byte_perm((u32)(block >> 32), 0, reversed) ^ k[2], d = __byte_perm((u32)block, 0, reversed) ^ k[3];
#pragma unroll
    for (int round = 1; round < 10; round++) {
        k += 4;
        u32 a1 = MIXED(a, b, c, d, k[0]), b1 = MIXED(b, c, d, a, k[1]);
        u32 c1 = MIXED(c, d, a, b, k[2]), d1 = MIXED(d, a, b, c, k[3]);
        a = a1, b = b1, c = c1, d = d1;
    }
    k += 4;
    u32 a1 = SUBSTITUTED(a, b, c, d, k[0]), b1 = SUBSTITUTED(b, c, d, a, k[1]);
    u32 c1 = SUBSTITUTED(c, d, a, b, k[2]), d1 = SUBSTITUTED(d, a, b, c, k[3]);
    return make_ulonglong2(a1 | (u64)b1 << 32, c1 | (u64)d1 << 32);
}

struct Store {
    static __device__ u64 apply(u64, u64 word) { return word; }
    static const bool reads = false;
};
struct Add {
    static __device__ u64 apply(u64 z, u64 word) { return add_elements(z, word); }
    static const bool reads = true;
};
struct Xor {
    static __device__ u64 apply(u64 z, u64 word) { return z ^ word; }
    static const bool reads = true;
};

// Puts words `offset + i` of a stream at out[i], block by block: an odd offset begins in the middle of a block. With
// an even offset and 16-byte alignment a thread's two words move together.
template <typename Op, typename Block>
static __device__ void for_blocks(Crew crew, u64 offset, u64 *out, u64 n, Block block_of) {
    bool paired = (((u64)out / 8 | offset) & 1) == 0;
    u64 first = offset / 2, blocks = n == 0 ? 0 : (offset + n - 1) / 2 - first + 1;
    FOR_CREW(i, blocks, crew) {
        ulonglong2 words = block_of(first + i);
        u64 at = 2 * i - offset % 2; // of the first word; wraps below zero where an odd offset begins
        if (paired && at + 1 < n) {
            ulonglong2 *pair = (ulonglong2 *)(out + at), z = Op::reads ? *pair : make_ulonglong2(0, 0);
            *pair = make_ulonglong2(Op::apply(z.x, words.x), Op::apply(z.y, words.y));
        } else {
            if (at < n) out[at] = Op::apply(Op::reads ? out[at] : 0, words.x);
            if (at + 1 < n) out[at + 1] = Op::apply(Op::reads ? out[at + 1] : 0, words.y);
        }
    }
}

// What knows no elements.
#if WORD_BITS == 64
KERNEL(AES_THREADS) aes_fill(const RoundKeys keys, u64 nonce, u64 offset, u64 *__restrict__ out, u64 n) {
    __shared__ u32 table[256 * 32];
    make_table(table);
    for_blocks<Store>(WHOLE_GRID, offset, out, n, [&](u64 block) { return encrypt(table, keys, nonce, block); });
}

// Words `offset + i` of a stream at out[i].
struct Fill {
    u64 nonce, offset;
    u64 *out;
    u64 n;
    u32 key, end;
};
struct Fills {
    RoundKeys keys[AES_KEYS];
    u32 padding[2];
    Fill fills[AES_FILLS];
};

// Several streams in one launch.
KERNEL(AES_THREADS) aes_fills(const Fills all) {
    __shared__ u32 table[256 * 32];
    make_table(table);
    Crew crew;
    const Fill &fill = all.fills[job_of(all.fills, crew)];
    const RoundKeys &keys = all.keys[fill.key];
    for_blocks<Store>(crew, fill.offset, fill.out, fill.n,
                      [&](u64 block) { return encrypt(table, keys, fill.nonce, block); });
}

// z ^= F⁺ ⊕ F⁻, a zero-share on top of shared bits.
KERNEL(AES_THREADS)
aes_xor_zero(const RoundKeys plus, u64 plus_nonce, const RoundKeys minus, u64 minus_nonce, u64 offset,
             u64 *__restrict__ z, u64 n) {
    __shared__ u32 table[256 * 32];
    make_table(table);
    for_blocks<Xor>(WHOLE_GRID, offset, z, n, [&](u64 block) {
        ulonglong2 p = encrypt(table, plus, plus_nonce, block), m = encrypt(table, minus, minus_nonce, block);
        return make_ulonglong2(p.x ^ m.x, p.y ^ m.y);
    });
}
#endif

// z += F⁺ − F⁻, a zero-share on top of additive shares, words of elements.
KERNEL(AES_THREADS)
aes_add_zero(const RoundKeys plus, u64 plus_nonce, const RoundKeys minus, u64 minus_nonce, u64 offset,
             u64 *__restrict__ z, u64 n) {
    __shared__ u32 table[256 * 32];
    make_table(table);
    for_blocks<Add>(WHOLE_GRID, offset, z, n, [&](u64 block) {
        ulonglong2 p = encrypt(table, plus, plus_nonce, block), m = encrypt(table, minus, minus_nonce, block);
        return make_ulonglong2(subtract_elements(p.x, m.x), subtract_elements(p.y, m.y));
    });
}
