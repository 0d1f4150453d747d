// Local steps of a secret bit times a secret tensor, and of a bit's conversion to arithmetic shares
// (`cryptgpu-core/src/device/cpu/bit_product.rs`). One thread an element; packed bits are one word in 64, shared by a
// warp from the cache. Masks come in buffers. Four to eight elements are moved for one, a dozen instructions: bound by memory.
#include "planes.cuh"

#define TERM_JOBS 2

// (1 − 2·bit)·x.
static __device__ __forceinline__ Word negated_if(Word bit, Word x) { return (x ^ -bit) + bit; }

// Role 0: message = p₀ − f with p₀ = u₂α + u₁β; y₀ = f + ν; y₁ = p₀ − f + μ.
KERNEL(THREADS)
bit_product_role0(const u64 *__restrict__ u1, const u64 *__restrict__ u2, const Word *__restrict__ alpha,
                  const Word *__restrict__ beta, const Word *__restrict__ f, const Word *__restrict__ mu,
                  const Word *__restrict__ nu, Word *__restrict__ message, Word *__restrict__ y0, Word *__restrict__ y1,
                  u64 n) {
    FOR_ELEMENTS(i, n) {
        Word pad = (alpha[i] & -(Word)packed_bit(u2, i, n)) + (beta[i] & -(Word)packed_bit(u1, i, n)) - f[i];
        message[i] = pad;
        y0[i] = f[i] + nu[i];
        y1[i] = pad + mu[i];
    }
}

// What role 1 or 2 sends. With x = x₁ + x₂ (no x₂ is zero) and a = (1 − 2v)x: first (1 − 2u)a − mask, and last, when it has
// what the other opened, e, vx + u(a + e) − mask.
struct Term {
    const u64 *u, *v;
    const Word *x1, *x2, *e, *mask;
    Word *message;
    u64 n;
    u32 end, padding;
};
struct Terms {
    Term jobs[TERM_JOBS];
};

// Both roles in one launch.
KERNEL(THREADS) bit_product_terms(const Terms all) {
    Crew crew;
    const Term &job = all.jobs[job_of(all.jobs, crew)];
    const Word *x2 = job.x2, *e = job.e;
    u64 n = job.n;
    FOR_CREW(i, n, crew) {
        Word u = packed_bit(job.u, i, n), v = packed_bit(job.v, i, n), x = job.x1[i] + (x2 ? x2[i] : 0);
        Word own = e ? (x & -v) + ((negated_if(v, x) + e[i]) & -u) : negated_if(u ^ v, x);
        job.message[i] = own - job.mask[i];
    }
}

// Conversion, role 0: message = u − u₁.
KERNEL(THREADS)
convert_role0(const u64 *__restrict__ u, const Word *__restrict__ u1, Word *__restrict__ message, u64 n) {
    FOR_ELEMENTS(i, n) message[i] = (Word)packed_bit(u, i, n) - u1[i];
}

// Conversion, roles 1 and 2: message = (1 − 2v)·share + v·keep − mask.
KERNEL(THREADS)
convert_term(const u64 *__restrict__ v, const Word *__restrict__ share, u64 keep, const Word *__restrict__ mask,
             Word *__restrict__ message, u64 n) {
    FOR_ELEMENTS(i, n) {
        Word bit = packed_bit(v, i, n);
        message[i] = negated_if(bit, share[i]) + (bit & (Word)keep) - mask[i];
    }
}
