// Sums of two products of matrices, A₀·B₀ + A₁·B₁ in a ring, with any strides: `ring_product.cuh` has the methods.
#include "ring_product.cuh"

struct Gemm {
    Matrix a0, b0, a1, b1;
    Word *output;
    u64 row_stride, column_stride; // of the output
    u32 depth0, depth1, m, n, splits, unused;

    __device__ u32 rows() const { return m; }
    __device__ u32 columns() const { return n; }
    __device__ u32 depth(int term) const { return term == 0 ? depth0 : depth1; }
    __device__ u32 split() const { return blockIdx.z; }
    __device__ Matrix left(int term) const { return term == 0 ? a0 : a1; }
    __device__ Matrix right(int term) const { return term == 0 ? b0 : b1; }
    // Words of the output, which lie together.
    __device__ u64 results() const { return (u64)m * n; }
    __device__ Word *out(u32 row, u32 column) const { return output + row * row_stride + column * column_stride; }

    template <int LANES, int DEPTH> struct Right : MatrixLoader<LANES, DEPTH> {
        __device__ Right(const Gemm &p, u32 first) : MatrixLoader<LANES, DEPTH>(first, p.n) {}
    };
};

KERNEL(THREADS) gemm_native(const Gemm p) { native_product(p); }

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
KERNEL(THREADS) gemm_int8(const Gemm p) { int8_product(p); }
#endif

#define GEMM_DOUBLE(limbs)                                                                                             \
    KERNEL(THREADS) gemm_double_##limbs(const Gemm p, u32 flush) { double_product<limbs>(p, flush); }
GEMM_DOUBLE(2)
GEMM_DOUBLE(3)
GEMM_DOUBLE(4)
GEMM_DOUBLE(8)

// Products with few rows are bound by reading B once: 8 bytes for up to THIN_ROWS multiply-accumulates, 0.9 T/s on a
// V100 at 0.9 TB/s, half of what its integer units do; of 32 bits 4 bytes, 1.8 T/s, a quarter. More rows are done in several passes, from the cache.
#define THIN_ROWS 8

// B's lanes run along its depth: a warp takes one column, its threads neighbours in depth.
KERNEL(THREADS) gemm_thin_depth(const Gemm p) {
    const u32 column = blockIdx.x * (THREADS / 32) + threadIdx.x / 32, first = blockIdx.y * THIN_ROWS;
    fill_last(p.output, p.results());
    if (column >= p.n) return; // the whole warp
    Word sums[THIN_ROWS] = {};
    for (Steps s(p.depth0, p.depth1, 32, p.split(), p.splits); s.step < s.end; s.step++) {
        u32 k = s.position() * 32 + threadIdx.x % 32;
        if (k >= p.depth(s.term())) continue;
        Matrix a = p.left(s.term()), b = p.right(s.term());
        Word y = b.data[column * b.lane_stride + k * b.depth_stride];
#pragma unroll
        for (int i = 0; i < THIN_ROWS; i++)
            if (first + i < p.m) sums[i] += a.data[(first + i) * a.lane_stride + k * a.depth_stride] * y;
    }
#pragma unroll
    for (int i = 0; i < THIN_ROWS; i++) {
        for (int distance = 16; distance > 0; distance /= 2)
            sums[i] += __shfl_down_sync(0xffffffff, sums[i], distance);
        if (threadIdx.x % 32 == 0 && first + i < p.m) put(p.out(first + i, column), sums[i], p.splits == 1);
    }
}

// B's lanes lie side by side: a thread takes one column, and all threads the same of A.
RESIDENT_KERNEL(THREADS, 3) gemm_thin_lanes(const Gemm p) {
    const u32 column = blockIdx.x * THREADS + threadIdx.x, first = blockIdx.y * THIN_ROWS;
    fill_last(p.output, p.results());
    if (column >= p.n) return;
    Word sums[THIN_ROWS] = {};
    for (Steps s(p.depth0, p.depth1, 32, p.split(), p.splits); s.step < s.end; s.step++) {
        Matrix a = p.left(s.term()), b = p.right(s.term());
        u32 start = s.position() * 32, end = min(start + 32, p.depth(s.term()));
        for (u32 k = start; k < end; k++) {
            Word y = b.data[column * b.lane_stride + k * b.depth_stride];
#pragma unroll
            for (int i = 0; i < THIN_ROWS; i++)
                if (first + i < p.m) sums[i] += a.data[(first + i) * a.lane_stride + k * a.depth_stride] * y;
        }
    }
#pragma unroll
    for (int i = 0; i < THIN_ROWS; i++)
        if (first + i < p.m) put(p.out(first + i, column), sums[i], p.splits == 1);
}
