// Rows of words to planes of bits and back, a warp for 512 elements.
//
// The packing (`cryptgpu-core/src/ring/layout.rs`): in a block of 512 elements bit t of word l belongs to element
// 8t + l, and plane p of k has its eight words side by side, block after block. What is left behind the last whole
// block is packed in groups of 64, one word a plane, bit t being element t. A warp takes one block, or all that is
// left (up to eight groups, the last one partial).
//
// Thread `lane` holds 16 of the 512 words: `rows[r]` is row t = 4r + lane/8 of column l = lane%8. So a load of rows or
// of planes is 32 consecutive words in a block, and of the six steps of a 64×64 transpose four are between registers
// and two between threads: 128 32-bit shuffles and about 400 other instructions for 512 elements, which read and
// write 4 KiB at least. A V100 issues 440 G warp instructions a second and moves 0.9 TB/s: 0.6 ns against 4.5 ns.
#pragma once
#include "common.cuh"

#define ROWS 16
#define WARP 32
#define ALL_LANES 0xffffffffu

struct Unit {
    u64 first;  // its first element; its first word in a plane of its own is first / 64
    u32 count;  // elements: 512, or what is left
    bool block; // a whole block, or groups

    __device__ Unit(u64 index, u64 n) : first(index * 512) {
        u64 left = n - first;
        block = left >= 512;
        count = block ? 512 : (u32)left;
    }
    static __device__ u32 lane() { return threadIdx.x % WARP; }
    static __device__ u32 column() { return lane() % 8; }
    static __device__ u32 row(int r) { return 4 * r + lane() / 8; }

    // Where this thread's row r is among the unit's elements.
    __device__ u32 element(int r) const { return block ? 8 * row(r) + column() : 64 * column() + row(r); }
    __device__ bool has(int r) const { return element(r) < count; }
    // Whether this thread's column has a word in every plane.
    __device__ bool has_word() const { return 64 * column() < count; }
    // Where this thread's word of plane p is, in a buffer of `planes` planes.
    __device__ u64 word(u32 p, u32 planes) const {
        u64 start = first / 64;
        return block ? start * planes + 8 * p + column() : (start + column()) * planes + p;
    }
};

// Every unit once, by whole warps: all threads of a warp stay together, as shuffles need.
#define FOR_UNITS(unit, n) FOR_UNITS_OF_CREW(unit, n, WHOLE_GRID)
#define FOR_UNITS_OF_CREW(unit, n, crew)                                                                               \
    for (u64 unit##_index = ((u64)(crew).place * blockDim.x + threadIdx.x) / WARP; unit##_index < ((n) + 511) / 512;   \
         unit##_index += (u64)(crew).size * blockDim.x / WARP)                                                         \
        if (Unit unit(unit##_index, n); true)

template <int DISTANCE> static __device__ __forceinline__ void swap_in_thread(u64 (&rows)[ROWS], u64 mask) {
    const int step = DISTANCE / 4;
#pragma unroll
    for (int k = 0; k < ROWS; k++) {
        if (k & step) continue;
        u64 a = rows[k], b = rows[k + step];
        u64 swap = (a >> DISTANCE ^ b) & mask;
        rows[k] = a ^ swap << DISTANCE;
        rows[k + step] = b ^ swap;
    }
}

template <int DISTANCE> static __device__ __forceinline__ void swap_in_warp(u64 (&rows)[ROWS], u64 mask) {
    const int step = 8 * DISTANCE;
    bool upper = Unit::lane() & step;
#pragma unroll
    for (int k = 0; k < ROWS; k++) {
        u64 own = rows[k], other = __shfl_xor_sync(ALL_LANES, own, step);
        rows[k] = upper ? (own & ~mask) | (other >> DISTANCE & mask) : (own & mask) | (other & mask) << DISTANCE;
    }
}

// Bit i of row t moves to bit t of row i, in every column. Its own inverse.
static __device__ __forceinline__ void transpose(u64 (&rows)[ROWS]) {
    swap_in_thread<32>(rows, 0x00000000ffffffffull);
    swap_in_thread<16>(rows, 0x0000ffff0000ffffull);
    swap_in_thread<8>(rows, 0x00ff00ff00ff00ffull);
    swap_in_thread<4>(rows, 0x0f0f0f0f0f0f0f0full);
    swap_in_warp<2>(rows, 0x3333333333333333ull);
    swap_in_warp<1>(rows, 0x5555555555555555ull);
}

// The low `planes` bits of rows, as planes.
static __device__ __forceinline__ void store_planes(const Unit &unit, u64 (&rows)[ROWS], u32 planes, u64 *to) {
    transpose(rows);
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (Unit::row(r) < planes && unit.has_word()) to[unit.word(Unit::row(r), planes)] = rows[r];
}

// The values whose low bits are planes, the other bits zero.
static __device__ __forceinline__ void load_planes(const Unit &unit, u64 (&rows)[ROWS], u32 planes, const u64 *from) {
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        u32 plane = Unit::row(r);
        rows[r] = plane < planes && unit.has_word() ? from[unit.word(plane, planes)] : 0;
    }
    transpose(rows);
}

// The bit of element i of n in packed words, as 0 or 1.
static __device__ __forceinline__ u64 packed_bit(const u64 *words, u64 i, u64 n) {
    u64 blocks = n / 512 * 512;
    return i < blocks ? words[i / 512 * 8 + i % 8] >> (i % 512 / 8) & 1 : words[i / 64] >> (i % 64) & 1;
}

// Where word `column` of plane p is, in a buffer of `planes` planes of n elements; columns count from 0 to ⌈n/64⌉.
static __device__ __forceinline__ u64 plane_word(u64 column, u32 p, u32 planes, u64 n) {
    bool block = column < n / 512 * 8;
    return block ? column / 8 * 8 * planes + 8 * p + column % 8 : column * planes + p;
}
