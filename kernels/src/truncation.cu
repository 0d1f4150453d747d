// Local steps of truncation without wrap (`cryptgpu-core/src/device/cpu/truncation.rs`): of a product whose additive
// shares the parties hold (product_*), and of a replicated tensor (shared_*). Values of d bits travel as d packed
// planes. Masks come in buffers. Two to eight elements are moved for one, and at most two transposes (`planes.cuh`): bound by
// memory. Comments say l for the ring's bits.
#include "planes.cuh"

#define CLOSE_JOBS 2

// 2^(l−2) − 1, which makes a value of less than 2^(l−2) in absolute value non-negative; the −1 takes the bias off.
#define OFFSET (((Word)1 << (WORD_BITS - 2)) - 1)

// 1 − 2^(l−d) − 2^(l−2−d): what is left when 2^(l−2) and the wrap are undone.
static __device__ __forceinline__ Word constant(u32 d) {
    return 1 - ((Word)1 << (WORD_BITS - d)) - ((Word)1 << (WORD_BITS - 2 - d));
}

// The complement of the top bit.
static __device__ __forceinline__ u64 clear_top(Word x) { return (Word)~x >> (WORD_BITS - 1); }

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
    const Word *z;
    const u64 *alpha, *beta;
    const Word *gamma;
    Word *message;
    u64 n;
};
// Role 0 of a product, first: message = e = ¬msb(z₀ + 2^(l−2) − 1), packed, ⊕ α.
struct Open {
    const Word *z;
    const u64 *alpha;
    u64 *message;
    u64 n;
};

static __device__ __forceinline__ void deal(const Deal &job, u32 d, Crew crew) {
    // n is even in the ring of 32 bits.
    u64 n = job.n, *planes = (u64 *)(job.message + n);
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
        u64 bits = column_word(unit, [&](u64 i) { return clear_top(opened.z[i] + OFFSET); });
        if (Unit::lane() < 8 && unit.has_word()) {
            u64 word = unit.word(0, 1);
            opened.message[word] = bits ^ opened.alpha[word];
        }
    }
}

// Role 1 of a product, from its share z₁ and what role 2 dealt, [z₂][γ₁ as planes], and e: v = z₁ + z₂, b = ¬msb(v),
// message = [p₁ = (v ≫ d) + 2^(l−d)·(ef + e(1−2f)β + (1−2e)(1−2f)γ₁) − y₂][f = b ⊕ β, packed]; a = p₁, b = y₂.
#if WORD_BITS == 32
// For a third block on an A100 the assembler would spill.
RESIDENT_KERNEL(THREADS, 2)
#else
KERNEL(THREADS)
#endif
product_role1(u32 d, const Word *z, const Word *dealt, const u64 *__restrict__ e, const u64 *__restrict__ beta,
              const Word *__restrict__ y2, Word *__restrict__ message, Word *__restrict__ a, Word *__restrict__ b, u64 n) {
    u64 *f = (u64 *)(message + n);
    const u64 *gamma = (const u64 *)(dealt + n);
    FOR_UNITS(opened, n) {
        u64 bits = column_word(opened, [&](u64 i) { return clear_top(z[i] + dealt[i]); });
        // v and where it lies are taken anew below, from the cache: sixteen of each do not fit the registers beside the rows.
        u64 index = opened_index;
        asm volatile("" : "+l"(index) : : "memory");
        Unit unit(index, n);
        u64 word = unit.word(0, 1), es = 0, fs = 0, betas = 0;
        if (unit.has_word()) es = e[word], betas = beta[word], fs = bits ^ betas;
        if (Unit::lane() < 8 && unit.has_word()) f[word] = fs;
        u64 rows[ROWS];
        load_planes(unit, rows, d, gamma);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (!unit.has(r)) continue;
            u32 t = Unit::row(r);
            u64 eb = es >> t & 1, fb = fs >> t & 1, pad = betas >> t & 1, flip = eb ^ fb;
            u64 own = (eb & fb) + (eb & pad & ~fb) - (eb & pad & fb) + (rows[r] ^ -flip) + flip;
            u64 i = unit.first + unit.element(r);
            Word half = ((Word)(z[i] + dealt[i]) >> d) + ((Word)own << (WORD_BITS - d)) - y2[i];
            message[i] = half;
            a[i] = half;
            b[i] = y2[i];
        }
    }
}

// Role 0 of a product, from what role 1 sent, [p₁][f]: message = p₀ = (u ≫ d) + constant + 2^(l−d)·(f(1−2e)α +
// (1−2e)(1−2f)γ₀) − y₀, u = z + 2^(l−2) − 1; a = y₀, b = p₀ + p₁.
KERNEL(THREADS)
product_role0(u32 d, const Word *__restrict__ z, const u64 *__restrict__ e, const u64 *__restrict__ alpha,
              const Word *__restrict__ gamma, const Word *__restrict__ y0, const Word *__restrict__ received,
              Word *__restrict__ message, Word *__restrict__ a, Word *__restrict__ b, u64 n) {
    const u64 *f = (const u64 *)(received + n);
    FOR_ELEMENTS(i, n) {
        Word eb = packed_bit(e, i, n), fb = packed_bit(f, i, n), pad = packed_bit(alpha, i, n), flip = eb ^ fb;
        Word own = (fb & pad & ~eb) - (fb & pad & eb) + (gamma[i] ^ -flip) + flip;
        Word half = ((Word)(z[i] + OFFSET) >> d) + constant(d) + (own << (WORD_BITS - d)) - y0[i];
        message[i] = half;
        a[i] = y0[i];
        b[i] = half + received[i];
    }
}

// Role 0 of a replicated tensor: message = [y₀ = (u ≫ d) + constant − 2^(l−d)(μ + ν) − y₁][a − a₁ modulo 2^d as planes]
// with u = x₀ + x₁ + 2^(l−2) − 1 and a = ¬msb(u); a = y₀, b = y₁.
KERNEL(THREADS)
shared_role0(u32 d, const Word *__restrict__ x0, const Word *__restrict__ x1, const Word *__restrict__ a1,
             const Word *__restrict__ mu, const Word *__restrict__ nu, const Word *__restrict__ y1,
             Word *__restrict__ message, Word *__restrict__ a, Word *__restrict__ b, u64 n) {
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            rows[r] = 0;
            if (!unit.has(r)) continue;
            u64 i = unit.first + unit.element(r);
            Word u = x0[i] + x1[i] + OFFSET;
            rows[r] = clear_top(u) - a1[i];
            Word y0 = (u >> d) + constant(d) - ((Word)(mu[i] + nu[i]) << (WORD_BITS - d)) - y1[i];
            message[i] = y0;
            a[i] = y0;
            b[i] = y1[i];
        }
        store_planes(unit, rows, d, (u64 *)(message + n));
    }
}

// Roles 1 and 2 of a replicated tensor: planes of b·share + mask modulo 2^d, b = ¬msb(v). Role 1's share is words of a
// stream, and kept = y₁; role 2's is the planes in what it received, [y₀][planes], and kept = y₀.
template <bool PLANES>
static __device__ void shared_term(u32 d, const Word *v, const Word *share, const Word *mask, const Word *keep, u64 *planes,
                                   Word *kept, u64 n) {
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
        if (PLANES) load_planes(unit, rows, d, (const u64 *)share);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (!unit.has(r)) {
                rows[r] = 0;
                continue;
            }
            u64 i = unit.first + unit.element(r), value = PLANES ? rows[r] : share[i];
            rows[r] = (value & -clear_top(v[i])) + mask[i];
            kept[i] = keep[i];
        }
        store_planes(unit, rows, d, planes);
    }
}

KERNEL(THREADS)
shared_term_words(u32 d, const Word *__restrict__ v, const Word *__restrict__ share, const Word *__restrict__ mask,
                  const Word *__restrict__ y1, u64 *__restrict__ planes, Word *__restrict__ kept, u64 n) {
    shared_term<false>(d, v, share, mask, y1, planes, kept, n);
}

KERNEL(THREADS)
shared_term_planes(u32 d, const Word *__restrict__ v, const Word *__restrict__ received, const Word *__restrict__ mask,
                   u64 *__restrict__ planes, Word *__restrict__ kept, u64 n) {
    shared_term<true>(d, v, received + n, mask, received, planes, kept, n);
}

// Roles 1 and 2 of a replicated tensor, last: y₂ = (v ≫ d) + 2^(l−d)(m₁ + m₂), m₁ and m₂ as planes.
struct Close {
    const Word *v;
    const u64 *first, *second;
    Word *y2;
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
    const Word *v = job.v;
    Word *y2 = job.y2;
    FOR_UNITS_OF_CREW(unit, job.n, crew) {
        // One after the other: both at once do not fit the registers. The second finds the sum so far in the cache.
#pragma unroll 1
        for (int term = 0; term < 2; term++) {
            u64 rows[ROWS];
            load_planes(unit, rows, d, term == 0 ? job.first : job.second);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                u64 i = unit.first + unit.element(r);
                if (unit.has(r)) y2[i] = (term == 0 ? v[i] >> d : y2[i]) + ((Word)rows[r] << (WORD_BITS - d));
            }
        }
    }
}
