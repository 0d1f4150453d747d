// Element-wise ring operations. All are bound by memory: an operation reads one or two elements and writes one for one or two
// integer instructions, where a V100 moves 0.9 TB/s and computes 4 T 32-bit multiply-adds a second. A warp reads 256
// consecutive bytes at a time, of elements of 32 bits 128.
#include "common.cuh"

#define COMBINED_JOBS 8
#define COMBINED_PARTS 5

#define BINARY(name, expression)                                                                                       \
    KERNEL(THREADS) name(const Word *__restrict__ x, const Word *__restrict__ y, Word *__restrict__ out, u64 n) {      \
        FOR_ELEMENTS(i, n) {                                                                                           \
            Word a = x[i], b = y[i];                                                                                   \
            out[i] = expression;                                                                                       \
        }                                                                                                              \
    }

BINARY(add_words, a + b)
BINARY(sub_words, a - b)
BINARY(mul_words, a *b)
BINARY(xor_words, a ^ b)
BINARY(and_words, a &b)

#define UNARY(name, expression)                                                                                        \
    KERNEL(THREADS) name(const Word *__restrict__ x, u64 c, Word *__restrict__ out, u64 n) {                           \
        FOR_ELEMENTS(i, n) {                                                                                           \
            Word a = x[i];                                                                                             \
            out[i] = expression;                                                                                       \
        }                                                                                                              \
    }

UNARY(add_constant, a + (Word)c)
UNARY(mul_constant, a *(Word)c)
UNARY(xor_constant, a ^ (Word)c)
UNARY(and_constant, a &(Word)c)
UNARY(shift_left, a << c)
UNARY(shift_right, a >> c)
// Two's complement: rounds towards minus infinity.
UNARY(shift_right_signed, (Word)((SignedWord)a >> c))

#if WORD_BITS == 64
// Of words of memory.
KERNEL(THREADS) fill_constant(u64 value, u64 *__restrict__ out, u64 n) {
    FOR_ELEMENTS(i, n) out[i] = value;
}
#endif

// out = x₀ + x₁ + … + c, or with ⊕; a null is no part.
struct Combined {
    const Word *parts[COMBINED_PARTS];
    u64 constant;
    Word *out;
    u64 n;
    u32 sum, end;
};
struct AllCombined {
    Combined jobs[COMBINED_JOBS];
};

// Several in one launch: copies, sums of what has arrived, packed bits.
KERNEL(THREADS) combine(const AllCombined all) {
    Crew crew;
    const Combined &job = all.jobs[job_of(all.jobs, crew)];
    FOR_CREW(i, job.n, crew) {
        Word word = (Word)job.constant;
#pragma unroll
        for (int part = 0; part < COMBINED_PARTS; part++) {
            if (!job.parts[part]) break;
            Word other = job.parts[part][i];
            word = job.sum ? word + other : word ^ other;
        }
        job.out[i] = word;
    }
}


// x₀(y₀ + y₁) + x₁y₀: five elements moved for two products.
KERNEL(THREADS)
product_share(const Word *__restrict__ x0, const Word *__restrict__ x1, const Word *__restrict__ y0,
              const Word *__restrict__ y1, Word *__restrict__ out, u64 n) {
    FOR_ELEMENTS(i, n) {
        Word y = y0[i];
        out[i] = x0[i] * (y + y1[i]) + x1[i] * y;
    }
}

// z[i] += bias[i / inner mod channels]. Three divisions an element hide behind the 16 bytes of one of 64 bits.
KERNEL(THREADS) add_bias(const Word *__restrict__ bias, u64 channels, u64 inner, Word *__restrict__ z, u64 n) {
    fill_last(z, n);
    FOR_ELEMENTS(i, n) z[i] += bias[i / inner % channels];
}

// Blocks of elements in another order: block (i, j, k) of `out` is the one of `x` that begins at i·s0 + j·s1 + k·s2, its
// elements from the last to the first when `reversed`. One 64-bit and two 32-bit divisions an element hide behind the 16
// bytes of one of 64 bits where blocks are some 16 elements and longer: shorter ones (weights) are read in pieces of their length.
KERNEL(THREADS)
reorder(const Word *__restrict__ x, u32 size1, u32 size2, u64 s0, u64 s1, u64 s2, u64 block, u32 reversed,
        Word *__restrict__ out, u64 n) {
    fill_last(out, n);
    FOR_ELEMENTS(i, n) {
        u64 unit = i / block, word = i - unit * block;
        u32 row = (u32)unit / size2, k = (u32)unit - row * size2, outer = row / size1, j = row - outer * size1;
        out[i] = x[outer * s0 + j * s1 + k * s2 + (reversed ? block - 1 - word : word)];
    }
}

// out[0] += Σ x. Warps add by shuffles, blocks in shared memory, the card by one atomic addition a block: the order
// does not matter, because addition in a ring is exact. `out` must hold zero, or what is to be added to.
KERNEL(THREADS) sum_words(const Word *__restrict__ x, Word *__restrict__ out, u64 n) {
    __shared__ Word partial[THREADS / 32];
    Word sum = 0;
    FOR_ELEMENTS(i, n) sum += x[i];
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffff, sum, distance);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int warp = 1; warp < THREADS / 32; warp++) sum += partial[warp];
        atomicAdd(out, sum);
    }
}
