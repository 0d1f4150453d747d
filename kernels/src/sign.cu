// The sign bit's local steps (`cryptgpu-core/src/device/cpu/sign.rs` has the order of planes): bits of A = x₀ + x₁ + c for a
// public c and B = x₂ to generate and propagate planes of groups of four bits, and the levels of the prefix tree over them.
//
// All are bound by memory. With the full window of 64 bits share_bits moves 16 + 3·233/8 bytes an element, share_carries
// 8 + 233/8 + 2·31/8, and the tree's levels together 2·(31 + 15 + 7 + 3)/8 + 2·(15 + 7 + 3 + 1)/8.
#include "planes.cuh"

#define TREE_STEPS 8

// Window of 4·GROUPS bits from `low` on: bit j − 1 in slot j, the top bit in slot 0.
template <int GROUPS> static __device__ __forceinline__ u64 slots(u64 word, u32 low) {
    const int width = 4 * GROUPS;
    const u64 mask = ~0ull >> (64 - width);
    u64 value = word >> low & mask;
    return (value << 1 | value >> (width - 1)) & mask;
}

// The bit-reversed position of a group: each level of the tree then combines the upper half of the positions with the
// lower half.
template <int GROUPS> static __device__ __forceinline__ u32 position(u32 group) {
    const int bits = GROUPS == 2 ? 1 : GROUPS == 4 ? 2 : GROUPS == 8 ? 3 : 4;
    return __brev(group) >> (32 - bits);
}

// The plane of Eₖ, k = 1 to 7, at a position, that of a₀ with k = 0; and of a₀Eₖ, k = 1 to 7, at a position from 1 on.
template <int GROUPS> static __device__ __forceinline__ u32 upper_plane(u32 k, u32 at) { return k * GROUPS + at; }
template <int GROUPS> static __device__ __forceinline__ u32 whole_plane(u32 k, u32 at) {
    return 8 * GROUPS + (k - 1) * (GROUPS - 1) + at - 1;
}

// The four slots of a group lie eight threads apart: all of them at each of the four threads. `part` is which one this is.
static __device__ __forceinline__ void gather(u64 own, u32 part, u64 (&bits)[4]) {
    bits[0] = own;
    bits[1] = __shfl_xor_sync(ALL_LANES, own, 8);
    bits[2] = __shfl_xor_sync(ALL_LANES, own, 16);
    bits[3] = __shfl_xor_sync(ALL_LANES, own, 24);
    // Bit j lies at j ^ part: swapped where part's bits say so.
#pragma unroll
    for (int j = 0; j < 4; j += 2) {
        u64 x = bits[j], y = bits[j + 1];
        bits[j] = part & 1 ? y : x;
        bits[j + 1] = part & 1 ? x : y;
    }
#pragma unroll
    for (int j = 0; j < 2; j++) {
        u64 x = bits[j], y = bits[j + 2];
        bits[j] = part & 2 ? y : x;
        bits[j + 2] = part & 2 ? x : y;
    }
}

// message = [a₀: Q][E₁: Q] … [E₇: Q][a₀E₁: Q − 1] … [a₀E₇: Q − 1] ⊕ mask, of A = x₀ + x₁ + summand. `top` gets the
// message's plane 0, `top_mask` the mask's.
template <int GROUPS>
static __device__ void share_bits(u32 low, u64 summand, const Word *x0, const Word *x1, const u64 *mask, u64 *message,
                                  u64 *top, u64 *top_mask, u64 n) {
    const u32 planes = 15 * GROUPS - 7;
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            u64 e = unit.first + unit.element(r);
            rows[r] = unit.has(r) ? slots<GROUPS>((Word)(x0[e] + x1[e] + summand), low) : 0;
        }
        transpose(rows);
        // This thread writes E and a₀E of k = part and k = part + 4.
        u32 part = Unit::row(0);
#pragma unroll
        for (int r = 0; r < GROUPS; r++) {
            u64 a[4];
            gather(rows[r], part, a);
            if (!unit.has_word()) continue;
            u32 at = position<GROUPS>(r);
            u64 low_part = (part & 1 ? a[1] : ~0ull) & (part & 2 ? a[2] : ~0ull);
            u64 high_part = low_part & a[3];
            // Without a factor of a₁ and a₂ the first product is a₀ alone.
            u64 w = unit.word(upper_plane<GROUPS>(part, at), planes), m = mask[w];
            u64 first = part == 0 ? a[0] : low_part;
            message[w] = first ^ m;
            if (r == 0 && part == 0) {
                top[unit.word(0, 1)] = first ^ m;
                top_mask[unit.word(0, 1)] = m;
            }
            w = unit.word(upper_plane<GROUPS>(part + 4, at), planes);
            message[w] = high_part ^ mask[w];
            if (at == 0) continue;
            if (part != 0) {
                w = unit.word(whole_plane<GROUPS>(part, at), planes);
                message[w] = (low_part & a[0]) ^ mask[w];
            }
            w = unit.word(whole_plane<GROUPS>(part + 4, at), planes);
            message[w] = (high_part & a[0]) ^ mask[w];
        }
    }
}

// carry = mask ⊕ this role's XOR share of [g: Q][p: Q − 1], from its share of role 0's bits and B; top = B's top bits,
// top_a = the share of A's, plane 0 of the shared bits.
template <int GROUPS>
static __device__ void share_carries(u32 low, u64 keep, const Word *b, const u64 *shared, const u64 *mask, u64 *carry,
                                     u64 *top, u64 *top_a, u64 n) {
    const u32 shared_planes = 15 * GROUPS - 7, planes = 2 * GROUPS - 1;
    FOR_UNITS(unit, n) {
        if (Unit::row(0) == 0 && unit.has_word()) top_a[unit.word(0, 1)] = shared[unit.word(0, shared_planes)];
        u64 rows[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            rows[r] = unit.has(r) ? slots<GROUPS>(b[unit.first + unit.element(r)], low) : 0;
        transpose(rows);
        // This thread adds up the terms with k = part and k = part + 4.
        u32 part = Unit::row(0);
#pragma unroll
        for (int r = 0; r < GROUPS; r++) {
            u64 bits[4];
            gather(rows[r], part, bits);
            u32 at = position<GROUPS>(r);
            u64 g = 0, p = 0;
            if (unit.has_word()) {
                if (part == 0 && r == 0) top[unit.word(0, 1)] = bits[0];
                u64 upper_low = part == 0 ? keep : shared[unit.word(upper_plane<GROUPS>(part, at), shared_planes)];
                u64 upper_high = shared[unit.word(upper_plane<GROUPS>(part + 4, at), shared_planes)];
                // Generate of bits 1 to 3: E₄b₃, and E₁ to E₃ with b₃ beside E₅ to E₇ without it.
                u64 b21 = bits[2] & bits[1];
                u64 d = part == 0 ? 0 : part == 1 ? b21 : part == 2 ? bits[2] : bits[1];
                g = part == 0 ? upper_high & bits[3] : d & (upper_high ^ (bits[3] & upper_low));
                if (at > 0) {
                    u64 c = (part & 1 ? ~0ull : bits[1]) & (part & 2 ? ~0ull : bits[2]);
                    u64 whole_low = shared[unit.word(
                        part == 0 ? upper_plane<GROUPS>(0, at) : whole_plane<GROUPS>(part, at), shared_planes)];
                    u64 whole_high = shared[unit.word(whole_plane<GROUPS>(part + 4, at), shared_planes)];
                    u64 with = c & (whole_high ^ (bits[3] & whole_low)), alone = c & (upper_high ^ (bits[3] & upper_low));
                    g ^= bits[0] & with;
                    p = with ^ (bits[0] & alone);
                }
            }
            g ^= __shfl_xor_sync(ALL_LANES, g, 8);
            g ^= __shfl_xor_sync(ALL_LANES, g, 16);
            p ^= __shfl_xor_sync(ALL_LANES, p, 8);
            p ^= __shfl_xor_sync(ALL_LANES, p, 16);
            if (!unit.has_word()) continue;
            u64 g_word = unit.word(at, planes), p_word = unit.word(GROUPS + at - 1, planes);
            if (part == 0) carry[g_word] = mask[g_word] ^ g;
            if (part == 1 && at > 0) carry[p_word] = mask[p_word] ^ p;
        }
    }
}

#define SIGN_KERNELS(width)                                                                                            \
    KERNEL(THREADS)                                                                                                    \
    share_bits_##width(u32 low, u64 summand, const Word *__restrict__ x0, const Word *__restrict__ x1,                 \
                       const u64 *__restrict__ mask, u64 *__restrict__ message, u64 *__restrict__ top,                 \
                       u64 *__restrict__ top_mask, u64 n) {                                                            \
        share_bits<width / 4>(low, summand, x0, x1, mask, message, top, top_mask, n);                                  \
    }                                                                                                                  \
    RESIDENT_KERNEL(THREADS, width < 64 ? 2 : 1)                                                                       \
    share_carries_##width(u32 low, u64 keep, const Word *__restrict__ b, const u64 *__restrict__ shared,               \
                          const u64 *__restrict__ mask, u64 *__restrict__ carry, u64 *__restrict__ top,                \
                          u64 *__restrict__ top_a, u64 n) {                                                            \
        share_carries<width / 4>(low, keep, b, shared, mask, carry, top, top_a, n);                                    \
    }

SIGN_KERNELS(8)
SIGN_KERNELS(16)
SIGN_KERNELS(32)
// What knows no element of 32 bits.
#if WORD_BITS == 64
SIGN_KERNELS(64)

// This party's share of x ∧ y from both replicated components of each.
static __device__ __forceinline__ u64 and_share(u64 xa, u64 xb, u64 ya, u64 yb) { return (xa & (ya ^ yb)) ^ (xb & ya); }

// A level of the tree in one role. Components a and b of G and P are XORs of two buffers or, with a null second, one buffer;
// `out` gets this party's share behind the mask m₀ or, where there is an m₁, m₀ ⊕ m₁.
struct TreeStep {
    const u64 *a0, *a1, *b0, *b1, *m0, *m1;
    u64 *out;
    u64 n;
    u32 half, end;
};
struct TreeSteps {
    TreeStep steps[TREE_STEPS];
};

static __device__ __forceinline__ u64 summed(const u64 *first, const u64 *second, u64 at) {
    return second ? first[at] ^ second[at] : first[at];
}

// One level of the tree: 2h pairs (generate, propagate) to h, the share of g ⊕ p g′ and p p′. In planes
// [g: 2h][p: 2h − 1, positions 1..] to [g: h][p: h − 1]. A thread takes one word of one result; several levels that do not
// wait for one another, and both roles of one, share a launch.
KERNEL(THREADS) tree_steps(const TreeSteps all) {
    Crew crew;
    const TreeStep &step = all.steps[job_of(all.steps, crew)];
    const u64 *a0 = step.a0, *a1 = step.a1, *b0 = step.b0, *b1 = step.b1, *m0 = step.m0, *m1 = step.m1;
    u64 *out = step.out, n = step.n, columns = (n + 63) / 64, whole = n / 512 * 8;
    u32 half = step.half, planes_in = 4 * half - 1, planes_out = 2 * half - 1;
    FOR_CREW(i, columns * half, crew) {
        // Eight columns of a block lie side by side in memory; behind the blocks the planes of a column do.
        bool block = i < whole * half;
        u64 column = block ? i / (8 * half) * 8 + i % 8 : i / half;
        u32 k = block ? i / 8 % half : i % half;
        u64 g_low = plane_word(column, k, planes_in, n), g_high = plane_word(column, half + k, planes_in, n);
        u64 p_high = plane_word(column, 3 * half + k - 1, planes_in, n);
        u64 xa = summed(a0, a1, p_high), xb = summed(b0, b1, p_high);
        u64 at = plane_word(column, k, planes_out, n);
        out[at] = summed(m0, m1, at) ^ summed(a0, a1, g_high) ^
                  and_share(xa, xb, summed(a0, a1, g_low), summed(b0, b1, g_low));
        if (k > 0) {
            u64 p_low = plane_word(column, 2 * half + k - 1, planes_in, n);
            at = plane_word(column, half + k - 1, planes_out, n);
            out[at] = summed(m0, m1, at) ^ and_share(xa, xb, summed(a0, a1, p_low), summed(b0, b1, p_low));
        }
    }
}

#endif
