// Local steps of the way between the rings (`cryptgpu-core/src/device/cpu/extension.rs`): of the extension of a replicated tensor of
// 32 bits to 64, and the reduction back. One thread an element, of which words of memory hold two where it has 32 bits. Masks come
// in buffers. 12 to 56 bytes an element, a dozen instructions: bound by memory.
#include "common.cuh"

#if WORD_BITS == 64

// 2^30, which makes a value of less than that in absolute value non-negative.
#define OFFSET (1u << 30)
// What is left when the offset and the wrap are undone.
#define CONSTANT (0 - (u64)OFFSET - (1ull << 32))

// Role 0: message = [y₀ = u + constant − 2^32(μ + ν) − y₁][a₂ = ¬msb(u) − a₁ modulo 2^32] with u = x₀ + x₁ + 2^30; a = y₀, b = y₁.
KERNEL(THREADS)
extension_role0(const u32 *__restrict__ x0, const u32 *__restrict__ x1, const u32 *__restrict__ a1,
                const u32 *__restrict__ mu, const u32 *__restrict__ nu, const u64 *__restrict__ y1,
                u64 *__restrict__ message, u64 *__restrict__ a, u64 *__restrict__ b, u64 n) {
    u32 *share = (u32 *)(message + n);
    FOR_ELEMENTS(i, n) {
        u32 u = x0[i] + x1[i] + OFFSET;
        share[i] = (~u >> 31) - a1[i];
        u64 y0 = u + CONSTANT - ((u64)(mu[i] + nu[i]) << 32) - y1[i];
        message[i] = y0;
        a[i] = y0;
        b[i] = y1[i];
    }
}

// Roles 1 and 2: message = b·share + mask modulo 2^32, b = ¬msb(v). Role 1 has its share and y₁ from streams, role 2 y₀ and its share
// in what it received; that word is kept.
KERNEL(THREADS)
extension_term(const u32 *__restrict__ v, const u32 *__restrict__ share, const u32 *__restrict__ mask,
               const u64 *__restrict__ keep, u32 *__restrict__ message, u64 *__restrict__ kept, u64 n) {
    FOR_ELEMENTS(i, n) {
        message[i] = (share[i] & -(~v[i] >> 31)) + mask[i];
        kept[i] = keep[i];
    }
}

// Roles 1 and 2, last: y₂ = v + 2^32(m₁ + m₂).
KERNEL(THREADS)
extension_close(const u32 *__restrict__ v, const u32 *__restrict__ first, const u32 *__restrict__ second,
                u64 *__restrict__ y2, u64 n) {
    FOR_ELEMENTS(i, n) y2[i] = v[i] + ((u64)(first[i] + second[i]) << 32);
}

// out = x modulo 2^32, two elements a word; zero where none fills the last one.
KERNEL(THREADS) reduce(const u64 *__restrict__ x, u32 *__restrict__ out, u64 n) {
    FOR_ELEMENTS(i, n + n % 2) out[i] = i < n ? (u32)x[i] : 0;
}

#endif
