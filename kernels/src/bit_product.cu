// Local steps of a secret bit times a secret tensor, and of a bit's conversion to arithmetic shares
// (`cryptgpu-core/src/device/cpu/bit_product.rs`). One thread an element; packed bits are one word in 64, shared by a
// warp from the cache. Masks come in buffers, mostly in those that the result replaces. 32 to 64 bytes an element, a
// dozen instructions: bound by memory.
#include "planes.cuh"

// (1 − 2·bit)·x.
static __device__ __forceinline__ u64 negated_if(u64 bit, u64 x) { return (x ^ -bit) + bit; }

// Role 0: `message` holds f and becomes p₀ − f with p₀ = u₂α + u₁β; y₀ holds ν and becomes f + ν; y₁ holds μ and
// becomes p₀ − f + μ.
KERNEL(THREADS)
bit_product_role0(const u64 *__restrict__ u1, const u64 *__restrict__ u2, const u64 *__restrict__ alpha,
                  const u64 *__restrict__ beta, u64 *__restrict__ message, u64 *__restrict__ y0, u64 *__restrict__ y1,
                  u64 n) {
    FOR_ELEMENTS(i, n) {
        u64 f = message[i];
        u64 pad = (alpha[i] & -packed_bit(u2, i, n)) + (beta[i] & -packed_bit(u1, i, n));
        message[i] = pad - f;
        y0[i] += f;
        y1[i] += pad - f;
    }
}

// Roles 1 and 2, first: `message` holds a pad α and becomes d = (1 − 2u₁)a − α with a = (1 − 2v)(x₁ + x₂); at role 2 with
// u₂ and [x₀, 0], as in the closing.
KERNEL(THREADS)
bit_product_open(const u64 *__restrict__ u1, const u64 *__restrict__ v, const u64 *__restrict__ x1,
                       const u64 *__restrict__ x2, u64 *__restrict__ message, u64 n) {
    FOR_ELEMENTS(i, n)
        message[i] = negated_if(packed_bit(u1, i, n) ^ packed_bit(v, i, n), x1[i] + x2[i]) - message[i];
}

// Roles 1 and 2, last: `message` holds μ and becomes p₁ − μ with p₁ = v(x₁ + x₂) + u₁(a + e).
KERNEL(THREADS)
bit_product_close(const u64 *__restrict__ u1, const u64 *__restrict__ v, const u64 *__restrict__ x1,
                        const u64 *__restrict__ x2, const u64 *__restrict__ e, u64 *__restrict__ message, u64 n) {
    FOR_ELEMENTS(i, n) {
        u64 u = packed_bit(u1, i, n), vi = packed_bit(v, i, n), x = x1[i] + x2[i];
        message[i] = (x & -vi) + ((negated_if(vi, x) + e[i]) & -u) - message[i];
    }
}

// Conversion, role 0: `message` holds u₁ and becomes u − u₁.
KERNEL(THREADS) convert_role0(const u64 *__restrict__ u, u64 *__restrict__ message, u64 n) {
    FOR_ELEMENTS(i, n) message[i] = packed_bit(u, i, n) - message[i];
}

// Conversion, roles 1 and 2: `message` holds a mask and becomes (1 − 2v)·share + v·keep − mask.
KERNEL(THREADS)
convert_term(const u64 *__restrict__ v, const u64 *__restrict__ share, u64 keep, u64 *__restrict__ message, u64 n) {
    FOR_ELEMENTS(i, n) {
        u64 bit = packed_bit(v, i, n);
        message[i] = negated_if(bit, share[i]) + (bit & keep) - message[i];
    }
}
