// Ring products Σₜ Aₜ·Bₜ modulo 2⁶⁴ or 2³² of matrices that are strided in memory or gathered from images, by three methods:
// integer multiplications, 8-bit limbs on tensor cores, and limbs in doubles. `gemm.cu` and `conv.cu` say what
// A and B are; everything else is here.
//
// A block of threads makes a tile of the output. It walks along the depth in steps, the second term's after the
// first's; a step's pieces of A and B go through shared memory. Products with few tiles are cut along the depth too
// (`splits`): each part then adds to an output that holds zero. The order does not matter, because addition in
// a ring is exact.
#pragma once
#include "common.cuh"

// n / divisor for n < 2³¹: `Divisor::new` in `product.rs` has the proof.
struct Divisor {
    u32 divisor, multiplier, shift, unused;
    __device__ u32 divide(u32 n) const { return (u32)((u64)n * multiplier >> shift); }
};

// Element (lane, k) of an operand: data[lane·lane_stride + k·depth_stride]. A lane is a row of A or a column of B.
struct Matrix {
    const Word *data;
    u64 lane_stride, depth_stride;
};

// Which of the quads (four neighbours in depth of one lane) of a tile of LANES × DEPTH a thread loads: neighbouring
// threads take neighbours in memory, along the depth or across lanes.
template <int LANES, int DEPTH> struct Quads {
    static const int ALL = LANES * DEPTH / 4, COUNT = (ALL + THREADS - 1) / THREADS; // of the tile, of one thread
    bool along_depth;

    __device__ bool has(int i) const { return ALL % THREADS == 0 || threadIdx.x + i * THREADS < ALL; }
    __device__ u32 lane(int i) const {
        return along_depth ? (threadIdx.x + i * THREADS) / (DEPTH / 4) : (threadIdx.x + i * THREADS) % LANES;
    }
    __device__ u32 quad(int i) const {
        return along_depth ? (threadIdx.x + i * THREADS) % (DEPTH / 4) : (threadIdx.x + i * THREADS) / LANES;
    }
};

// Loads quads of a strided operand, zero beyond its lanes and depth.
template <int LANES, int DEPTH> struct MatrixLoader : Quads<LANES, DEPTH> {
    u32 first, lanes;

    __device__ MatrixLoader(u32 first, u32 lanes) : first(first), lanes(lanes) {}
    __device__ __forceinline__ void load(const Matrix &matrix, u32 start, u32 depth, Word (&values)[Quads<LANES, DEPTH>::COUNT][4]) {
        this->along_depth = matrix.depth_stride == 1;
#pragma unroll
        for (int i = 0; i < this->COUNT; i++) {
            u32 lane = first + this->lane(i), k = start + 4 * this->quad(i);
            const Word *from = matrix.data + lane * matrix.lane_stride + k * matrix.depth_stride;
#pragma unroll
            for (int j = 0; j < 4; j++)
                values[i][j] = this->has(i) && lane < lanes && k + j < depth ? from[j * matrix.depth_stride] : 0;
        }
    }
};

// The steps of one split: which term, and where its depth begins.
struct Steps {
    u32 first_term, total, end, step;

    __device__ Steps(u32 depth0, u32 depth1, u32 size, u32 split, u32 splits) {
        first_term = (depth0 + size - 1) / size;
        total = first_term + (depth1 + size - 1) / size;
        step = (u64)total * split / splits;
        end = (u64)total * (split + 1) / splits;
    }
    __device__ int term() const { return step >= first_term; }
    __device__ u32 position() const { return step >= first_term ? step - first_term : step; }
};

// Puts a result where it belongs: alone, or on top of other splits' parts.
static __device__ __forceinline__ void put(Word *out, Word value, bool alone) {
    if (alone)
        *out = value;
    else
        atomicAdd(out, value);
}

// ---- integer multiplications --------------------------------------------------------------------------------------
//
// A tile of 64 × 64, 16 deep; a thread makes 4 × 4. A multiply-accumulate modulo 2⁶⁴ is four 32-bit multiply-adds at
// best (one wide, two narrow, a carry), 64 a cycle and multiprocessor: 1.9 T a second on a V100. The tile's step reads
// 16 KiB for 65,536 of them, at 1.9 T/s 0.5 TB/s: memory is no limit. Modulo 2³² it is one multiply-add, 7.8 T a second on a V100,
// for half of the bytes: 1 TB/s, from the second-level cache. Each thread then loads eight words of shared memory for 16 of
// them, in two vectors of 16 bytes, half of what shared memory gives.

#define NATIVE_TILE 64
#define NATIVE_DEPTH 16
// More than the lanes, so that quads along the depth do not meet in one bank, and whole vectors of 16 bytes.
#define NATIVE_ROW (NATIVE_TILE + 128 / WORD_BITS)

template <class Problem> static __device__ __forceinline__ void native_product(const Problem &p) {
    __shared__ __align__(16) Word left[NATIVE_DEPTH][NATIVE_ROW], right[NATIVE_DEPTH][NATIVE_ROW];
    const u32 row = blockIdx.y * NATIVE_TILE, column = blockIdx.x * NATIVE_TILE;
    const u32 ty = threadIdx.x / 16 * 4, tx = threadIdx.x % 16 * 4;
    MatrixLoader<NATIVE_TILE, NATIVE_DEPTH> a(row, p.rows());
    typename Problem::template Right<NATIVE_TILE, NATIVE_DEPTH> b(p, column);
    Word sums[4][4] = {}, av[a.COUNT][4], bv[b.COUNT][4];
    fill_last(p.output, p.results());
    for (Steps s(p.depth(0), p.depth(1), NATIVE_DEPTH, p.split(), p.splits); s.step < s.end; s.step++) {
        u32 start = s.position() * NATIVE_DEPTH, depth = p.depth(s.term());
        a.load(p.left(s.term()), start, depth, av);
        b.load(p.right(s.term()), start, depth, bv);
        __syncthreads(); // everyone has used the previous step's tiles
#pragma unroll
        for (int i = 0; i < a.COUNT; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) left[4 * a.quad(i) + j][a.lane(i)] = av[i][j];
#pragma unroll
        for (int i = 0; i < b.COUNT; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) right[4 * b.quad(i) + j][b.lane(i)] = bv[i][j];
        __syncthreads(); // the tiles are whole
#pragma unroll
        for (int k = 0; k < NATIVE_DEPTH; k++) {
            Word x[4], y[4];
#pragma unroll
            for (int i = 0; i < 4; i++) x[i] = left[k][ty + i], y[i] = right[k][tx + i];
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) sums[i][j] += x[i] * y[j];
        }
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (row + ty + i < p.rows() && column + tx + j < p.columns())
                put(p.out(row + ty + i, column + tx + j), sums[i][j], p.splits == 1);
}

// ---- 8-bit limbs on tensor cores ----------------------------------------------------------------------------------
//
// A word of 64 bits is eight unsigned limbs of 8 bits, and x·y = Σ_d 2^(8d) Σ_{i+j=d} xᵢyⱼ modulo 2⁶⁴ with d below 8: 36 products
// of limbs, summed by diagonal in eight 32-bit accumulators. A word of 32 bits is four: 10 products, four accumulators. `mma.m16n8k32` multiplies 16 × 32 by 32 × 8 limbs.
//
// Exact: a product of limbs is at most 255². The accumulator of diagonal d sums d + 1 of them for each k, modulo 2³².
// For d ≥ 4 only the sum modulo 2^(64−8d) ≤ 2³² matters, so wrapping is right. For d ≤ 3 the sum must stay below 2³²:
// 4 · 255² · K < 2³² for K ≤ 16,512. A split has at most 512 steps of 32 (`INT8_STEPS`, enforced in `product.rs` and
// here), K ≤ 16,384. Modulo 2³² only sums modulo 2^(32−8d) matter: accumulators may wrap, and there is no bound on K.
//
// Tiles of 64 × 64, 32 deep; eight warps make 32 × 16 each. Words are split once, on their way to shared memory: four
// neighbours in depth become one 32-bit word in each of the limbs' planes by 16 byte permutes (8 for 32 bits). So memory is read as by a
// product of words: 32 KiB a step for 131,072 multiply-accumulates; at the 8.7 T/s of an A100's tensor cores (36 of
// 312 T 8-bit multiply-accumulates) 2.2 TB/s, from the second-level cache. Each warp's step is 144 `mma` (288 cycles
// of its multiprocessor's share) and 128 loads of shared memory (128 cycles). The next step's words are on their way
// meanwhile. For words of 32 bits it is 16 KiB a step, 40 `mma` (80 cycles) and 64 loads: at the 31 T/s of an A100's tensor cores
// 3.9 TB/s, which its second-level cache gives for shapes of few tiles only, so that the loads bound it.

#define INT8_TILE 64
#define INT8_DEPTH 32
#define INT8_STEPS 512
// 32-bit words of one limb plane of a tile, of an operand, and of both.
#define INT8_PLANE (INT8_TILE * INT8_DEPTH / 4)
#define INT8_LIMBS (WORD_BITS / 8)
#define INT8_OPERAND (INT8_LIMBS * INT8_PLANE)
#define INT8_BUFFER (2 * INT8_OPERAND)

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800

// Where limbs 4c to 4c + 3 in depth of a lane are in a plane. Lanes are 8 words long, in banks 8·lane mod 32; the
// exclusive or spreads the same c of 32 lanes over all banks (storing across lanes), and keeps those of four threads ×
// eight lanes apart (fragments).
static __device__ __forceinline__ u32 limb_word(u32 lane, u32 c) {
    return lane * 8 + (c ^ ((lane & 4) | (lane >> 3 & 3)));
}

// Byte i of each of four words, for all i, into the planes.
static __device__ __forceinline__ void store_limbs(const Word (&v)[4], u32 *to) {
#pragma unroll
    for (int half = 0; half < WORD_BITS / 32; half++) {
        u32 w[4];
#pragma unroll
        for (int j = 0; j < 4; j++) w[j] = (u32)((u64)v[j] >> (32 * half));
        u32 low01 = __byte_perm(w[0], w[1], 0x5140), low23 = __byte_perm(w[2], w[3], 0x5140);
        u32 high01 = __byte_perm(w[0], w[1], 0x7362), high23 = __byte_perm(w[2], w[3], 0x7362);
        to[(4 * half + 0) * INT8_PLANE] = __byte_perm(low01, low23, 0x5410);
        to[(4 * half + 1) * INT8_PLANE] = __byte_perm(low01, low23, 0x7632);
        to[(4 * half + 2) * INT8_PLANE] = __byte_perm(high01, high23, 0x5410);
        to[(4 * half + 3) * INT8_PLANE] = __byte_perm(high01, high23, 0x7632);
    }
}

// c += a·b, unsigned bytes, wrapping.
static __device__ __forceinline__ void multiply_limbs(u32 (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <class Problem> static __device__ __forceinline__ void int8_product(const Problem &p) {
    extern __shared__ __align__(16) u32 limbs[]; // two buffers of both operands
    const u32 row = blockIdx.y * INT8_TILE, column = blockIdx.x * INT8_TILE;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const u32 group = lane / 4, member = lane % 4;            // as `mma` counts threads
    const u32 warp_row = warp / 4 * 32, warp_column = warp % 4 * 16;
    MatrixLoader<INT8_TILE, INT8_DEPTH> a(row, p.rows());
    typename Problem::template Right<INT8_TILE, INT8_DEPTH> b(p, column);
    Word av[a.COUNT][4], bv[b.COUNT][4];
    u32 sums[2][2][INT8_LIMBS][4] = {};
    fill_last(p.output, p.results());

    Steps s(p.depth(0), p.depth(1), INT8_DEPTH, p.split(), p.splits);
    if (WORD_BITS == 64 && s.end - s.step > INT8_STEPS) __trap();
    auto load = [&]() {
        u32 start = s.position() * INT8_DEPTH, depth = p.depth(s.term());
        a.load(p.left(s.term()), start, depth, av);
        b.load(p.right(s.term()), start, depth, bv);
    };
    auto store = [&](u32 *buffer) {
#pragma unroll
        for (int i = 0; i < a.COUNT; i++) store_limbs(av[i], buffer + limb_word(a.lane(i), a.quad(i)));
#pragma unroll
        for (int i = 0; i < b.COUNT; i++) store_limbs(bv[i], buffer + INT8_OPERAND + limb_word(b.lane(i), b.quad(i)));
    };
    if (s.step < s.end) {
        load();
        store(limbs);
    }
    for (u32 turn = 0; s.step < s.end; turn ^= 1) {
        __syncthreads(); // this step's buffer is whole, and everyone is done with the other one
        s.step++;
        if (s.step < s.end) load();
        const u32 *buffer = limbs + turn * INT8_BUFFER;
#pragma unroll
        for (int mi = 0; mi < 2; mi++) {
            u32 x[INT8_LIMBS][4];
            u32 upper = warp_row + 16 * mi + group;
#pragma unroll
            for (int limb = 0; limb < INT8_LIMBS; limb++)
#pragma unroll
                for (int part = 0; part < 4; part++) // rows 0–7, 8–15 of depth 0–15; then of depth 16–31
                    x[limb][part] = buffer[limb * INT8_PLANE + limb_word(upper + part % 2 * 8, member + part / 2 * 4)];
#pragma unroll
            for (int ni = 0; ni < 2; ni++) {
                u32 y[INT8_LIMBS][2];
#pragma unroll
                for (int limb = 0; limb < INT8_LIMBS; limb++)
#pragma unroll
                    for (int part = 0; part < 2; part++)
                        y[limb][part] = buffer[INT8_OPERAND + limb * INT8_PLANE +
                                               limb_word(warp_column + 8 * ni + group, member + part * 4)];
#pragma unroll
                for (int i = 0; i < INT8_LIMBS; i++)
#pragma unroll
                    for (int j = 0; i + j < INT8_LIMBS; j++) multiply_limbs(sums[mi][ni][i + j], x[i], y[j]);
            }
        }
        if (s.step < s.end) store(limbs + (turn ^ 1) * INT8_BUFFER);
    }
#pragma unroll
    for (int mi = 0; mi < 2; mi++)
#pragma unroll
        for (int ni = 0; ni < 2; ni++)
#pragma unroll
            for (int part = 0; part < 4; part++) {
                u32 r = row + warp_row + 16 * mi + group + part / 2 * 8;
                u32 c = column + warp_column + 8 * ni + 2 * member + part % 2;
                Word value = 0;
#pragma unroll
                for (int d = 0; d < INT8_LIMBS; d++) value += (Word)sums[mi][ni][d][part] << (8 * d);
                if (r < p.rows() && c < p.columns()) put(p.out(r, c), value, p.splits == 1);
            }
}

#endif

// ---- limbs in doubles ---------------------------------------------------------------------------------------------
//
// The embedding of CryptGPU (Tan et al., IEEE S&P 2021, §III): a word of l bits is LIMBS limbs of w = ⌈l / LIMBS⌉ bits, each a
// double, and products of limbs are summed by diagonal, d below LIMBS. With four limbs of 16 bits of 64 that is ten
// multiply-adds: 0.39 T products of words a second on a V100, a fifth of the integer units. It is here for comparison.
//
// Exact: a product of limbs is below 2^(2w), diagonal d sums d + 1 ≤ LIMBS of them for each k, and doubles hold all
// integers to 2⁵³: exact while LIMBS · K · 2^(2w) ≤ 2⁵³. After `flush` steps the sums are added to words and begun
// anew; `product.rs` makes `flush` small enough, unless it is asked for the error (where the conversion saturates).

#define DOUBLE_ROWS 64
#define DOUBLE_COLUMNS 32
#define DOUBLE_DEPTH 8

template <int LIMBS> static __device__ __forceinline__ void store_doubles(Word value, double *to, u32 stride) {
    const int width = (WORD_BITS - 1 + LIMBS) / LIMBS;
#pragma unroll
    for (int i = 0; i < LIMBS; i++) to[i * stride] = (double)(value >> (i * width) & (((Word)1 << width) - 1));
}

template <int LIMBS, class Problem> static __device__ __forceinline__ void double_product(const Problem &p, u32 flush) {
    const int width = (WORD_BITS - 1 + LIMBS) / LIMBS;
    // Depth, limb, lane.
    __shared__ __align__(16) double left[DOUBLE_DEPTH * LIMBS * DOUBLE_ROWS];
    __shared__ __align__(16) double right[DOUBLE_DEPTH * LIMBS * DOUBLE_COLUMNS];
    const u32 row = blockIdx.y * DOUBLE_ROWS, column = blockIdx.x * DOUBLE_COLUMNS;
    const u32 ty = threadIdx.x / 16 * 4, tx = threadIdx.x % 16 * 2;
    MatrixLoader<DOUBLE_ROWS, DOUBLE_DEPTH> a(row, p.rows());
    typename Problem::template Right<DOUBLE_COLUMNS, DOUBLE_DEPTH> b(p, column);
    Word total[4][2] = {}, av[a.COUNT][4], bv[b.COUNT][4];
    double sums[4][2][LIMBS] = {};
    fill_last(p.output, p.results());
    u32 since = 0;
    auto add_up = [&]() {
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int d = 0; d < LIMBS; d++) {
                    total[i][j] += (Word)__double2ll_rz(sums[i][j][d]) << (d * width);
                    sums[i][j][d] = 0;
                }
        since = 0;
    };
    for (Steps s(p.depth(0), p.depth(1), DOUBLE_DEPTH, p.split(), p.splits); s.step < s.end; s.step++) {
        u32 start = s.position() * DOUBLE_DEPTH, depth = p.depth(s.term());
        a.load(p.left(s.term()), start, depth, av);
        b.load(p.right(s.term()), start, depth, bv);
        __syncthreads(); // everyone has used the previous step's tiles
#pragma unroll
        for (int i = 0; i < a.COUNT; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (a.has(i))
                    store_doubles<LIMBS>(av[i][j], left + (4 * a.quad(i) + j) * LIMBS * DOUBLE_ROWS + a.lane(i), DOUBLE_ROWS);
#pragma unroll
        for (int i = 0; i < b.COUNT; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (b.has(i))
                    store_doubles<LIMBS>(bv[i][j], right + (4 * b.quad(i) + j) * LIMBS * DOUBLE_COLUMNS + b.lane(i),
                                         DOUBLE_COLUMNS);
        __syncthreads(); // the tiles are whole
#pragma unroll 1
        for (int k = 0; k < DOUBLE_DEPTH; k++) {
            double y[2][LIMBS];
#pragma unroll
            for (int limb = 0; limb < LIMBS; limb++)
#pragma unroll
                for (int j = 0; j < 2; j++) y[j][limb] = right[(k * LIMBS + limb) * DOUBLE_COLUMNS + tx + j];
#pragma unroll
            for (int limb = 0; limb < LIMBS; limb++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    double x = left[(k * LIMBS + limb) * DOUBLE_ROWS + ty + i];
#pragma unroll
                    for (int j = 0; j < 2; j++)
#pragma unroll
                        for (int other = 0; limb + other < LIMBS; other++)
                            sums[i][j][limb + other] = fma(x, y[j][other], sums[i][j][limb + other]);
                }
        }
        if (++since == flush) add_up();
    }
    add_up();
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 2; j++)
            if (row + ty + i < p.rows() && column + tx + j < p.columns())
                put(p.out(row + ty + i, column + tx + j), total[i][j], p.splits == 1);
}
