// The sign bit's local steps (`cryptgpu-core/src/device/cpu/sign.rs` has the order of planes): bits of A = x₀ + x₁ and
// B = x₂ to generate and propagate planes of bit pairs, and the levels of the prefix tree over them.
//
// All are bound by memory. With the full window share_bits moves 16 + 3·95/8 bytes an element, share_carries
// 8 + 95/8 + 2·63/8, and the tree's levels together 2·(63 + 31 + 15 + 7 + 3)/8 + (31 + 15 + 7 + 3 + 1)/8.
#include "planes.cuh"

// Window of 2·PAIRS bits from `low` on: bit j − 1 in slot j, the top bit in slot 0.
template <int PAIRS> static __device__ __forceinline__ u64 slots(u64 word, u32 low) {
    const int width = 2 * PAIRS;
    const u64 mask = ~0ull >> (64 - width);
    u64 value = word >> low & mask;
    return (value << 1 | value >> (width - 1)) & mask;
}

// The bit-reversed position of a pair: each level of the tree then combines the upper half of the positions with the
// lower half.
template <int PAIRS> static __device__ __forceinline__ u32 position(u32 pair) {
    const int bits = PAIRS == 8 ? 3 : PAIRS == 16 ? 4 : 5;
    return __brev(pair) >> (32 - bits);
}

// message = [a₀: P][a₁: P][a₁a₀: P − 1] ⊕ mask, of A = x₀ + x₁. `top` gets the message's plane 0, `top_mask` the mask's.
template <int PAIRS>
static __device__ void share_bits(u32 low, const u64 *x0, const u64 *x1, const u64 *mask, u64 *message, u64 *top,
                                  u64 *top_mask, u64 n) {
    const u32 planes = 3 * PAIRS - 1;
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            u64 e = unit.first + unit.element(r);
            rows[r] = unit.has(r) ? slots<PAIRS>(x0[e] + x1[e], low) : 0;
        }
        transpose(rows);
#pragma unroll
        for (int r = 0; r < PAIRS / 2; r++) {
            // Slots 2j and 2j + 1 of a pair are eight threads apart.
            u64 own = rows[r], other = __shfl_xor_sync(ALL_LANES, own, 8);
            if (!unit.has_word()) continue;
            u32 slot = Unit::row(r), at = position<PAIRS>(slot / 2);
            bool upper = slot & 1;
            u64 w = unit.word(upper ? PAIRS + at : at, planes), m = mask[w];
            message[w] = own ^ m;
            if (slot == 0) {
                top[unit.word(0, 1)] = own ^ m;
                top_mask[unit.word(0, 1)] = m;
            }
            if (!upper && at > 0) {
                w = unit.word(2 * PAIRS + at - 1, planes);
                message[w] = (own & other) ^ mask[w];
            }
        }
    }
}

// carry ^= this role's XOR share of [g: P][p: P − 1], from its share of role 0's bits and B; top = B's top bits.
template <int PAIRS>
static __device__ void share_carries(u32 low, u64 keep, const u64 *b, const u64 *shared, u64 *carry, u64 *top, u64 n) {
    const u32 shared_planes = 3 * PAIRS - 1, planes = 2 * PAIRS - 1;
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            rows[r] = unit.has(r) ? slots<PAIRS>(b[unit.first + unit.element(r)], low) : 0;
        transpose(rows);
#pragma unroll
        for (int r = 0; r < PAIRS / 2; r++) {
            u64 own = rows[r], other = __shfl_xor_sync(ALL_LANES, own, 8);
            if (!unit.has_word()) continue;
            u32 slot = Unit::row(r), at = position<PAIRS>(slot / 2);
            bool upper = slot & 1;
            if (slot == 0) top[unit.word(0, 1)] = own;
            u64 b0 = upper ? other : own, b1 = upper ? own : other;
            u64 a1 = shared[unit.word(PAIRS + at, shared_planes)];
            if (at == 0) {
                // Slot 0 is no part of the carry, so G = a₁b₁ alone, and P is never needed.
                if (!upper) carry[unit.word(0, planes)] ^= a1 & b1;
                continue;
            }
            u64 a0 = shared[unit.word(at, shared_planes)], a10 = shared[unit.word(2 * PAIRS + at - 1, shared_planes)];
            u64 b10 = b1 & b0;
            // The thread with the lower slot takes G, the other P.
            u64 share = upper ? a10 ^ (a1 & b0) ^ (a0 & b1) ^ (b10 & keep) : (a1 & b1) ^ (a10 & b0) ^ (a0 & b10);
            carry[unit.word(upper ? PAIRS + at - 1 : at, planes)] ^= share;
        }
    }
}

#define SIGN_KERNELS(width)                                                                                            \
    KERNEL(THREADS)                                                                                                    \
    share_bits_##width(u32 low, const u64 *__restrict__ x0, const u64 *__restrict__ x1, const u64 *__restrict__ mask,  \
                       u64 *__restrict__ message, u64 *__restrict__ top, u64 *__restrict__ top_mask, u64 n) {          \
        share_bits<width / 2>(low, x0, x1, mask, message, top, top_mask, n);                                           \
    }                                                                                                                  \
    KERNEL(THREADS)                                                                                                    \
    share_carries_##width(u32 low, u64 keep, const u64 *__restrict__ b, const u64 *__restrict__ shared,                \
                          u64 *__restrict__ carry, u64 *__restrict__ top, u64 n) {                                     \
        share_carries<width / 2>(low, keep, b, shared, carry, top, n);                                                 \
    }

SIGN_KERNELS(16)
SIGN_KERNELS(32)
SIGN_KERNELS(64)

// This party's share of x ∧ y from both replicated components of each.
static __device__ __forceinline__ u64 and_share(u64 xa, u64 xb, u64 ya, u64 yb) { return (xa & (ya ^ yb)) ^ (xb & ya); }

// One level of the tree: 2h pairs (generate, propagate) to h. `out`, which holds a mask, gets this party's share of g ⊕ p g′
// and p p′. In planes [g: 2h][p: 2h − 1, positions 1..] to [g: h][p: h − 1]. A thread takes one word of one result.
KERNEL(THREADS)
tree_level(u32 half, const u64 *__restrict__ a, const u64 *__restrict__ b, u64 *__restrict__ out, u64 n) {
    u64 columns = (n + 63) / 64, whole = n / 512 * 8;
    u32 planes_in = 4 * half - 1, planes_out = 2 * half - 1;
    FOR_ELEMENTS(i, columns * half) {
        // Eight columns of a block lie side by side in memory; behind the blocks the planes of a column do.
        bool block = i < whole * half;
        u64 column = block ? i / (8 * half) * 8 + i % 8 : i / half;
        u32 k = block ? i / 8 % half : i % half;
        u64 g_low = plane_word(column, k, planes_in, n), g_high = plane_word(column, half + k, planes_in, n);
        u64 p_high = plane_word(column, 3 * half + k - 1, planes_in, n);
        u64 xa = a[p_high], xb = b[p_high];
        out[plane_word(column, k, planes_out, n)] ^= a[g_high] ^ and_share(xa, xb, a[g_low], b[g_low]);
        if (k > 0) {
            u64 p_low = plane_word(column, 2 * half + k - 1, planes_in, n);
            out[plane_word(column, half + k - 1, planes_out, n)] ^= and_share(xa, xb, a[p_low], b[p_low]);
        }
    }
}

// Plane 0 of `planes`.
KERNEL(THREADS) first_plane(u32 planes, const u64 *__restrict__ bits, u64 *__restrict__ out, u64 n) {
    FOR_ELEMENTS(column, (n + 63) / 64) out[column] = bits[plane_word(column, 0, planes, n)];
}
