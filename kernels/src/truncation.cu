// Local steps of truncation without wrap (`cryptgpu-core/src/device/cpu/truncation.rs`): of a product whose additive
// shares the parties hold (product_*), and of a replicated tensor (shared_*). Values of d bits travel as d packed
// planes. Masks come in buffers. 16 to 64 bytes an element and at most two transposes (`planes.cuh`): bound by memory.
#include "planes.cuh"

#define CLOSE_JOBS 2

// 2^62 − 1, which makes a value of less than 2^62 in absolute value non-negative; the −1 takes the bias off.
#define OFFSET ((1ull << 62) - 1)

// 1 − 2^(64−d) − 2^(62−d): what is left when 2^62 and the wrap are undone.
static __device__ __forceinline__ u64 constant(u32 d) { return 1 - (1ull << (64 - d)) - (1ull << (62 - d)); }

// The bits that this thread's 16 rows and those of the three other threads of its column have, in one word, from 0 or 1 for
// each row.
template <typename Bit> static __device__ __forceinline__ u64 column_word(const Unit &unit, Bit bit_of) {
    u64 bits = 0;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (unit.has(r)) bits |= bit_of(unit.first + unit.element(r)) << Unit::row(r);
    // Four threads have bits of each column.
    bits |= __shfl_xor_sync(ALL_LANES, bits, 8);
    bits |= __shfl_xor_sync(ALL_LANES, bits, 16);
    return bits;
}

// Role 2 of a product: message = [z₂][γ₁ = αβ − γ₀ modulo 2^d as planes].
struct Deal {
    const u64 *z, *alpha, *beta, *gamma;
    u64 *message;
    u64 n;
};
// Role 0 of a product, first: message = e = ¬msb(z₀ + 2^62 − 1), packed, ⊕ α.
struct Open {
    const u64 *z, *alpha;
    u64 *message;
    u64 n;
};

static __device__ __forceinline__ void deal(const Deal &job, u32 d, Crew crew) {
    u64 n = job.n, *planes = job.message + n;
    FOR_UNITS_OF_CREW(unit, n, crew) {
        u64 rows[ROWS];
        u64 both = unit.has_word() ? job.alpha[unit.word(0, 1)] & job.beta[unit.word(0, 1)] : 0;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            rows[r] = 0;
            if (!unit.has(r)) continue;
            u64 i = unit.first + unit.element(r);
            job.message[i] = job.z[i];
            rows[r] = (both >> Unit::row(r) & 1) - job.gamma[i];
        }
        store_planes(unit, rows, d, planes);
    }
}

// What roles 2 and 0 of a product send first, in one launch: the first `blocks` blocks deal.
KERNEL(THREADS) product_first(u32 d, u32 blocks, const Deal dealt, const Open opened) {
    if (blockIdx.x < blocks) {
        deal(dealt, d, Crew{blockIdx.x, blocks});
        return;
    }
    Crew crew{blockIdx.x - blocks, gridDim.x - blocks};
    FOR_UNITS_OF_CREW(unit, opened.n, crew) {
        u64 bits = column_word(unit, [&](u64 i) { return ~(opened.z[i] + OFFSET) >> 63; });
        if (Unit::lane() < 8 && unit.has_word()) {
            u64 word = unit.word(0, 1);
            opened.message[word] = bits ^ opened.alpha[word];
        }
    }
}

// Role 1 of a product, from its share z₁ and what role 2 dealt, [z₂][γ₁ as planes], and e: v = z₁ + z₂, b = ¬msb(v),
// message = [p₁ = (v ≫ d) + 2^(64−d)·(ef + e(1−2f)β + (1−2e)(1−2f)γ₁) − y₂][f = b ⊕ β, packed]; a = p₁, b = y₂.
KERNEL(THREADS)
product_role1(u32 d, const u64 *z, const u64 *dealt, const u64 *__restrict__ e, const u64 *__restrict__ beta,
              const u64 *__restrict__ y2, u64 *__restrict__ message, u64 *__restrict__ a, u64 *__restrict__ b, u64 n) {
    FOR_UNITS(opened, n) {
        u64 bits = column_word(opened, [&](u64 i) { return ~(z[i] + dealt[i]) >> 63; });
        // v and where it lies are taken anew below, from the cache: sixteen of each do not fit the registers beside the rows.
        u64 index = opened_index;
        asm volatile("" : "+l"(index) : : "memory");
        Unit unit(index, n);
        u64 word = unit.word(0, 1), es = 0, fs = 0, betas = 0;
        if (unit.has_word()) es = e[word], betas = beta[word], fs = bits ^ betas;
        if (Unit::lane() < 8 && unit.has_word()) message[n + word] = fs;
        u64 rows[ROWS];
        load_planes(unit, rows, d, dealt + n);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (!unit.has(r)) continue;
            u32 t = Unit::row(r);
            u64 eb = es >> t & 1, fb = fs >> t & 1, pad = betas >> t & 1, flip = eb ^ fb;
            u64 own = (eb & fb) + (eb & pad & ~fb) - (eb & pad & fb) + (rows[r] ^ -flip) + flip;
            u64 i = unit.first + unit.element(r), half = ((z[i] + dealt[i]) >> d) + (own << (64 - d)) - y2[i];
            message[i] = half;
            a[i] = half;
            b[i] = y2[i];
        }
    }
}

// Role 0 of a product, from what role 1 sent, [p₁][f]: message = p₀ = (u ≫ d) + constant + 2^(64−d)·(f(1−2e)α +
// (1−2e)(1−2f)γ₀) − y₀, u = z + 2^62 − 1; a = y₀, b = p₀ + p₁.
KERNEL(THREADS)
product_role0(u32 d, const u64 *__restrict__ z, const u64 *__restrict__ e, const u64 *__restrict__ alpha,
              const u64 *__restrict__ gamma, const u64 *__restrict__ y0, const u64 *__restrict__ received,
              u64 *__restrict__ message, u64 *__restrict__ a, u64 *__restrict__ b, u64 n) {
    const u64 *f = received + n;
    FOR_ELEMENTS(i, n) {
        u64 eb = packed_bit(e, i, n), fb = packed_bit(f, i, n), pad = packed_bit(alpha, i, n), flip = eb ^ fb;
        u64 own = (fb & pad & ~eb) - (fb & pad & eb) + (gamma[i] ^ -flip) + flip;
        u64 half = ((z[i] + OFFSET) >> d) + constant(d) + (own << (64 - d)) - y0[i];
        message[i] = half;
        a[i] = y0[i];
        b[i] = half + received[i];
    }
}

// Role 0 of a replicated tensor: message = [y₀ = (u ≫ d) + constant − 2^(64−d)(μ + ν) − y₁][a − a₁ modulo 2^d as planes]
// with u = x₀ + x₁ + 2^62 − 1 and a = ¬msb(u); a = y₀, b = y₁.
KERNEL(THREADS)
shared_role0(u32 d, const u64 *__restrict__ x0, const u64 *__restrict__ x1, const u64 *__restrict__ a1,
             const u64 *__restrict__ mu, const u64 *__restrict__ nu, const u64 *__restrict__ y1,
             u64 *__restrict__ message, u64 *__restrict__ a, u64 *__restrict__ b, u64 n) {
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            rows[r] = 0;
            if (!unit.has(r)) continue;
            u64 i = unit.first + unit.element(r), u = x0[i] + x1[i] + OFFSET;
            rows[r] = (~u >> 63) - a1[i];
            u64 y0 = (u >> d) + constant(d) - ((mu[i] + nu[i]) << (64 - d)) - y1[i];
            message[i] = y0;
            a[i] = y0;
            b[i] = y1[i];
        }
        store_planes(unit, rows, d, message + n);
    }
}

// Roles 1 and 2 of a replicated tensor: planes of b·share + mask modulo 2^d, b = ¬msb(v). Role 1's share is words of a
// stream, and kept = y₁; role 2's is the planes in what it received, [y₀][planes], and kept = y₀.
template <bool PLANES>
static __device__ void shared_term(u32 d, const u64 *v, const u64 *share, const u64 *mask, const u64 *keep, u64 *planes,
                                   u64 *kept, u64 n) {
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
            kept[i] = keep[i];
        }
        store_planes(unit, rows, d, planes);
    }
}

KERNEL(THREADS)
shared_term_words(u32 d, const u64 *__restrict__ v, const u64 *__restrict__ share, const u64 *__restrict__ mask,
                  const u64 *__restrict__ y1, u64 *__restrict__ planes, u64 *__restrict__ kept, u64 n) {
    shared_term<false>(d, v, share, mask, y1, planes, kept, n);
}

KERNEL(THREADS)
shared_term_planes(u32 d, const u64 *__restrict__ v, const u64 *__restrict__ received, const u64 *__restrict__ mask,
                   u64 *__restrict__ planes, u64 *__restrict__ kept, u64 n) {
    shared_term<true>(d, v, received + n, mask, received, planes, kept, n);
}

// Roles 1 and 2 of a replicated tensor, last: y₂ = (v ≫ d) + 2^(64−d)(m₁ + m₂), m₁ and m₂ as planes.
struct Close {
    const u64 *v, *first, *second;
    u64 *y2;
    u64 n;
    u32 end, padding;
};
struct Closes {
    Close jobs[CLOSE_JOBS];
};

// Both roles in one launch.
RESIDENT_KERNEL(THREADS, 2) shared_close(u32 d, const Closes all) {
    Crew crew;
    const Close &job = all.jobs[job_of(all.jobs, crew)];
    const u64 *v = job.v;
    u64 *y2 = job.y2;
    FOR_UNITS_OF_CREW(unit, job.n, crew) {
        // One after the other: both at once do not fit the registers. The second finds the sum so far in the cache.
#pragma unroll 1
        for (int term = 0; term < 2; term++) {
            u64 rows[ROWS];
            load_planes(unit, rows, d, term == 0 ? job.first : job.second);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                u64 i = unit.first + unit.element(r);
                if (unit.has(r)) y2[i] = (term == 0 ? v[i] >> d : y2[i]) + (rows[r] << (64 - d));
            }
        }
    }
}
