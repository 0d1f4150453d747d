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
