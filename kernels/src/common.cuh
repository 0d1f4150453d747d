// What all kernels share: the names of the word types, loops over elements, and where the bits of elements stand in
// packed words (`cryptgpu-core/src/ring/layout.rs` is the definition; this must agree with it).
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
// So many blocks of a kernel shall fit a multiprocessor: for where the assembler would rather spill for more.
#define RESIDENT_KERNEL(threads, blocks) extern "C" __global__ void __launch_bounds__(threads, blocks)

// Element-wise kernels use blocks of this many threads.
#define THREADS 256

// Every element once, whatever the grid: the grid is capped at what fills the card, so each thread keeps several
// elements in flight and the launch stays small.
#define FOR_ELEMENTS(i, n)                                                                                             \
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (u64)gridDim.x * blockDim.x)

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
