// Some bits of every word to packed planes and back: how values of a few bits travel. An element and width/8 bytes
// each; one transpose (`planes.cuh`): bound by memory.
#include "planes.cuh"

// planes = bits low … low + width of every element.
KERNEL(THREADS) to_planes(u32 low, u32 width, const Word *__restrict__ x, u64 *__restrict__ planes, u64 n) {
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
#pragma unroll
        for (int r = 0; r < ROWS; r++) rows[r] = unit.has(r) ? x[unit.first + unit.element(r)] >> low : 0;
        store_planes(unit, rows, width, planes);
    }
}

// out = the values below 2^width whose bits the planes have.
KERNEL(THREADS) from_planes(u32 width, const u64 *__restrict__ planes, Word *__restrict__ out, u64 n) {
    FOR_UNITS(unit, n) {
        u64 rows[ROWS];
        load_planes(unit, rows, width, planes);
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (unit.has(r)) out[unit.first + unit.element(r)] = (Word)rows[r];
    }
}
