// What clang must be told to compile the kernels without NVIDIA's headers: CUDA's keywords and built-in functions, as
// far as the kernels use them, by clang's own builtins or the PTX instructions that they stand for.
#pragma once
#define __host__ __attribute__((host))
#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __forceinline__ __inline__ __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))

struct dim3 {
    unsigned x, y, z;
};
#include <__clang_cuda_builtin_vars.h>

struct __attribute__((aligned(16))) ulonglong2 {
    unsigned long long x, y;
};
static __device__ __forceinline__ ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y) {
    return ulonglong2{x, y};
}

static __device__ __forceinline__ void __trap() { asm volatile("trap;"); }
static __device__ __forceinline__ unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    return __nvvm_prmt(x, y, selector);
}
static __device__ __forceinline__ unsigned __brev(unsigned x) { return __builtin_bitreverse32(x); }
static __device__ __forceinline__ unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return __nvvm_mulhi_ull(x, y);
}
static __device__ __forceinline__ long long __double2ll_rz(double x) { return __nvvm_d2ll_rz(x); }
static __device__ __forceinline__ double fma(double x, double y, double z) { return __builtin_fma(x, y, z); }
static __device__ __forceinline__ unsigned min(unsigned x, unsigned y) { return x < y ? x : y; }
static __device__ __forceinline__ unsigned long long atomicAdd(unsigned long long *to, unsigned long long value) {
    return __nvvm_atom_add_gen_ll((long long *)to, (long long)value);
}

static __device__ __forceinline__ unsigned atomicAdd(unsigned *to, unsigned value) {
    return (unsigned)__nvvm_atom_add_gen_i((int *)to, (int)value);
}

// Both halves of a word from another thread.
template <typename Shuffle>
static __device__ __forceinline__ unsigned long long shuffle_halves(unsigned long long value, Shuffle shuffle) {
    unsigned low = shuffle((unsigned)value), high = shuffle((unsigned)(value >> 32));
    return (unsigned long long)high << 32 | low;
}
static __device__ __forceinline__ unsigned long long __shfl_xor_sync(unsigned mask, unsigned long long value, int lanes) {
    return shuffle_halves(value, [=](unsigned half) { return __nvvm_shfl_sync_bfly_i32(mask, half, lanes, 31); });
}
static __device__ __forceinline__ unsigned long long __shfl_down_sync(unsigned mask, unsigned long long value, int lanes) {
    return shuffle_halves(value, [=](unsigned half) { return __nvvm_shfl_sync_down_i32(mask, half, lanes, 31); });
}
static __device__ __forceinline__ unsigned __shfl_down_sync(unsigned mask, unsigned value, int lanes) {
    return __nvvm_shfl_sync_down_i32(mask, value, lanes, 31);
}
