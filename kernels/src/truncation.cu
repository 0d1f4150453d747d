// Local steps of truncation without wrap (`cryptgpu-core/src/device/cpu/truncation.rs`): of a product whose additive
// shares the parties hold (product_*), and of a replicated tensor (shared_*). Values of d bits travel as d packed
// planes. Masks come in buffers, mostly in those that the result replaces. 16 to 48 bytes an element and at most two
// transposes (`planes.cuh`): bound by memory.
#include "planes.cuh"

// 2^62, which makes a value of less than 2^62 in absolute value non-negative.
#define OFFSET (1ull << 62)

// 1 − 2^(64−d) − 2^(62−d): what is left when the offset and the wrap are undone.
static __device__ __forceinline__ u64 constant(u32 d) { return 1 - (1ull << (64 - d)) - (1ull << (62 - d)); }

// ¬msb(u + offset), packed, ⊕ pad.
KERNEL(THREADS)
open_top(u64 offset, const u64 *__restrict__ u, const u64 *__restrict__ pad, u64 *__restrict__ message, u64 n) {
    FOR_UNITS(unit, n) {
        u64 bits = 0;
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (unit.has(r)) bits |= (~(u[unit.first + unit.element(r)] + offset) >> 63) << Unit::row(r);
        // Four threads have bits of each column.
        bits |= __shfl_xor_sync(ALL_LANES, bits, 8);
        bits |= __shfl_xor_sync(ALL_LANES, bits, 16);
        if (Unit::lane() < 8 && unit.has_word()) {
            u64 word = unit.word(0, 1);
            message[word] = bits ^ pad[word];
        }
    }
}

// Role 2 of a product: γ₁ = αβ − γ₀ modulo 2^d as planes.
KERNEL(THREADS)
product_deal(u32 d, const u64 *__restrict__ alpha, const u64 *__restrict__ beta, const u64 *__restrict__ gamma,
             u64 *__restrict__ planes, u64 n) {
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
        u64 both = unit.has_word() ? alpha[unit.word(0, 1)] & beta[unit.word(0, 1)] : 0;
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            rows[r] = unit.has(r) ? (both >> Unit::row(r) & 1) - gamma[unit.first + unit.element(r)] : 0;
        store_planes(unit, rows, d, planes);
    }
}

// Role 1 of a product: message = (v ≫ d) + 2^(64−d)·(ef + e(1−2f)β + (1−2e)(1−2f)γ₁) − y₂, γ₁ as planes.
KERNEL(THREADS)
product_role1(u32 d, const u64 *__restrict__ v, const u64 *__restrict__ e, const u64 *__restrict__ f,
              const u64 *__restrict__ beta, const u64 *__restrict__ gamma, const u64 *__restrict__ y2,
              u64 *__restrict__ message, u64 n) {
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
        load_planes(unit, rows, d, gamma);
        u64 word = unit.word(0, 1), es = 0, fs = 0, betas = 0;
        if (unit.has_word()) es = e[word], fs = f[word], betas = beta[word];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (!unit.has(r)) continue;
            u32 t = Unit::row(r);
            u64 eb = es >> t & 1, fb = fs >> t & 1, b = betas >> t & 1, flip = eb ^ fb;
            u64 own = (eb & fb) + (eb & b & ~fb) - (eb & b & fb) + (rows[r] ^ -flip) + flip;
            u64 i = unit.first + unit.element(r);
            message[i] = (v[i] >> d) + (own << (64 - d)) - y2[i];
        }
    }
}

// Role 0 of a product: `message` holds γ₀ and becomes (u ≫ d) + constant + 2^(64−d)·(f(1−2e)α + (1−2e)(1−2f)γ₀) − y₀,
// u = z + 2^62.
KERNEL(THREADS)
product_role0(u32 d, const u64 *__restrict__ z, const u64 *__restrict__ e, const u64 *__restrict__ f,
              const u64 *__restrict__ alpha, const u64 *__restrict__ y0, u64 *__restrict__ message, u64 n) {
    FOR_ELEMENTS(i, n) {
        u64 eb = packed_bit(e, i, n), fb = packed_bit(f, i, n), a = packed_bit(alpha, i, n), flip = eb ^ fb;
        u64 own = (fb & a & ~eb) - (fb & a & eb) + (message[i] ^ -flip) + flip;
        message[i] = ((z[i] + OFFSET) >> d) + constant(d) + (own << (64 - d)) - y0[i];
    }
}

// Role 0 of a replicated tensor: y₀ holds μ and becomes (u ≫ d) + constant − 2^(64−d)(μ + ν) − y₁ with
// u = x₀ + x₁ + 2^62; planes = a − a₁ modulo 2^d with a = ¬msb(u).
KERNEL(THREADS)
shared_role0(u32 d, const u64 *__restrict__ x0, const u64 *__restrict__ x1, const u64 *__restrict__ a1,
             const u64 *__restrict__ nu, const u64 *__restrict__ y1, u64 *__restrict__ y0, u64 *__restrict__ planes,
             u64 n) {
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            rows[r] = 0;
            if (!unit.has(r)) continue;
            u64 i = unit.first + unit.element(r), u = x0[i] + x1[i] + OFFSET;
            rows[r] = (~u >> 63) - a1[i];
            y0[i] = (u >> d) + constant(d) - ((y0[i] + nu[i]) << (64 - d)) - y1[i];
        }
        store_planes(unit, rows, d, planes);
    }
}

// Roles 1 and 2 of a replicated tensor: planes of b·share + mask modulo 2^d, b = ¬msb(v). Role 1's share is words of a
// stream, role 2's received planes.
template <bool PLANES>
static __device__ void shared_term(u32 d, const u64 *v, const u64 *share, const u64 *mask, u64 *planes, u64 n) {
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
        if (PLANES) load_planes(unit, rows, d, share);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (!unit.has(r)) {
                rows[r] = 0;
                continue;
            }
            u64 i = unit.first + unit.element(r), value = PLANES ? rows[r] : share[i];
            rows[r] = (value & -(~v[i] >> 63)) + mask[i];
        }
        store_planes(unit, rows, d, planes);
    }
}

KERNEL(THREADS)
shared_term_words(u32 d, const u64 *__restrict__ v, const u64 *__restrict__ share, const u64 *__restrict__ mask,
                  u64 *__restrict__ planes, u64 n) {
    shared_term<false>(d, v, share, mask, planes, n);
}

KERNEL(THREADS)
shared_term_planes(u32 d, const u64 *__restrict__ v, const u64 *__restrict__ share, const u64 *__restrict__ mask,
                   u64 *__restrict__ planes, u64 n) {
    shared_term<true>(d, v, share, mask, planes, n);
}

// Roles 1 and 2 of a replicated tensor, last: y₂ = (v ≫ d) + 2^(64−d)(m₁ + m₂), m₁ and m₂ as planes.
KERNEL(THREADS)
shared_close(u32 d, const u64 *__restrict__ v, const u64 *__restrict__ first, const u64 *__restrict__ second,
             u64 *__restrict__ y2, u64 n) {
    FOR_UNITS(unit, n) {
        // One after the other: both at once do not fit the registers. The second finds the sum so far in the cache.
#pragma unroll 1
        for (int term = 0; term < 2; term++) {
            u64 rows[ROWS];
            load_planes(unit, rows, d, term == 0 ? first : second);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                u64 i = unit.first + unit.element(r);
                if (unit.has(r)) y2[i] = (term == 0 ? v[i] >> d : y2[i]) + (rows[r] << (64 - d));
            }
        }
    }
}
