// What all kernels share: the names of the word types, loops over elements, and where the bits of elements stand in
// packed words (`cryptgpu-core/src/ring/layout.rs` is the definition; this must agree with it).
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;

// An image is for one ring: of 64 bits or, with `WORD_BITS` 32, of 32. Memory is words of 64 bits in both; in the ring of 32 bits
// each holds two elements, the lower half first, and one element may only fill the last word
// (`docs/adr/0049-two-elements-in-a-word.md`). What interprets elements is written once, over `Word`.
#if WORD_BITS == 32
typedef u32 Word;
typedef int SignedWord;
#elif WORD_BITS == 64
typedef u64 Word;
typedef long long SignedWord;
#else
#error "WORD_BITS must be 32 or 64"
#endif

// Sums and differences of the elements in words of memory.
static __device__ __forceinline__ u64 add_elements(u64 x, u64 y) {
#if WORD_BITS == 32
    return (u32)x + (u32)y | (u64)((u32)(x >> 32) + (u32)(y >> 32)) << 32;
#else
    return x + y;
#endif
}
static __device__ __forceinline__ u64 subtract_elements(u64 x, u64 y) {
#if WORD_BITS == 32
    return (u32)x - (u32)y | (u64)((u32)(x >> 32) - (u32)(y >> 32)) << 32;
#else
    return x - y;
#endif
}

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
// So many blocks of a kernel shall fit a multiprocessor: for where the assembler would rather spill for more.
#define RESIDENT_KERNEL(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)

// Element-wise kernels use blocks of this many threads.
#define THREADS 256

// Every element once, whatever the grid: the grid is capped at what fills the card, so each thread keeps several
// elements in flight and the launch stays small.
#define FOR_ELEMENTS(i, n)                                                                                             \
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (u64)gridDim.x * blockDim.x)

// What only fills the last word behind n elements becomes zero, by one thread of the grid: for results of a shape.
static __device__ __forceinline__ void fill_last(Word *out, u64 n) {
#if WORD_BITS == 32
    if (n % 2 != 0 && blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0 && threadIdx.x == 0) out[n] = 0;
#endif
}

// Several jobs of one kind in one launch: each has blocks of threads of its own, a crew, in the order of the jobs. A job
// names as its `end` how many blocks it and those before it have.
struct Crew {
    u32 place, size; // of this block in its crew, and of the crew in blocks
};
#define WHOLE_GRID (Crew{blockIdx.x, gridDim.x})
#define FOR_CREW(i, n, crew)                                                                                           \
    for (u64 i = (u64)(crew).place * blockDim.x + threadIdx.x; i < (n); i += (u64)(crew).size * blockDim.x)

// Which job this block works on, and its crew.
template <typename Job> static __device__ __forceinline__ u32 job_of(const Job *jobs, Crew &crew) {
    u32 job = 0, begin = 0;
    while (blockIdx.x >= jobs[job].end) begin = jobs[job++].end;
    crew = Crew{blockIdx.x - begin, jobs[job].end - begin};
    return job;
}
