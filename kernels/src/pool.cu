// Windows over image planes: sums, single taps, and their adjoints. One thread an output; a word is read once from memory and again, by
// its neighbours' taps, from the cache. An element read an input, one written an output, and about four
// instructions a tap: bound by memory up to windows of some 50 taps of 64 bits on a V100, 25 of 32 bits.
#include "common.cuh"

// Window over planes of height × width; output planes of out_height × out_width. u32 for what a plane has.
struct Window {
    u32 height, width, out_height, out_width;
    u32 kernel_y, kernel_x, stride_y, stride_x, top, left, dilation_y, dilation_x;
};

// The input coordinate under a tap; not below `size` where that is padding (below zero wraps).
static __device__ __forceinline__ u32 source(u32 position, u32 stride, u32 tap, u32 dilation, u32 before) {
    return position * stride + tap * dilation - before;
}

KERNEL(THREADS) sum_pool(const Window w, const Word *__restrict__ x, Word *__restrict__ out, u64 n) {
    fill_last(out, n);
    u64 pixels = (u64)w.out_height * w.out_width;
    FOR_ELEMENTS(i, n) {
        u64 plane = i / pixels;
        u32 pixel = i - plane * pixels, oy = pixel / w.out_width, ox = pixel - oy * w.out_width;
        const Word *from = x + plane * w.height * w.width;
        Word sum = 0;
        for (u32 ky = 0; ky < w.kernel_y; ky++) {
            u32 y = source(oy, w.stride_y, ky, w.dilation_y, w.top);
            if (y >= w.height) continue;
            for (u32 kx = 0; kx < w.kernel_x; kx++) {
                u32 column = source(ox, w.stride_x, kx, w.dilation_x, w.left);
                if (column < w.width) sum += from[(u64)y * w.width + column];
            }
        }
        out[i] = sum;
    }
}

KERNEL(THREADS)
pool_tap(const Window w, u32 ky, u32 kx, u64 fill, const Word *__restrict__ x, Word *__restrict__ out, u64 n) {
    fill_last(out, n);
    u64 pixels = (u64)w.out_height * w.out_width;
    FOR_ELEMENTS(i, n) {
        u64 plane = i / pixels;
        u32 pixel = i - plane * pixels, oy = pixel / w.out_width, ox = pixel - oy * w.out_width;
        u32 y = source(oy, w.stride_y, ky, w.dilation_y, w.top), column = source(ox, w.stride_x, kx, w.dilation_x, w.left);
        bool inside = y < w.height && column < w.width;
        out[i] = inside ? x[plane * w.height * w.width + (u64)y * w.width + column] : (Word)fill;
    }
}

// The adjoint of sums (`tap_words` 0: each window's word goes to all its inputs) and of taps (`tap_words` the words of
// one tap: `g` has a word for each tap of each window). Each input gathers from the windows that see it: nothing is
// added by two threads. About ten instructions a tap (a division); An element is written an input, one read a window and tap.
KERNEL(THREADS) spread(const Window w, u64 tap_words, const Word *__restrict__ g, Word *__restrict__ out, u64 n) {
    fill_last(out, n);
    u64 pixels = (u64)w.height * w.width, windows = (u64)w.out_height * w.out_width;
    FOR_ELEMENTS(i, n) {
        u64 plane = i / pixels;
        u32 pixel = i - plane * pixels, y = pixel / w.width, x = pixel - y * w.width;
        const Word *from = g + plane * windows;
        Word sum = 0;
        for (u32 ky = 0; ky < w.kernel_y; ky++) {
            // Before the first window it wraps, beyond all windows.
            u32 down = y + w.top - ky * w.dilation_y, oy = down / w.stride_y;
            if (oy >= w.out_height || oy * w.stride_y != down) continue;
            for (u32 kx = 0; kx < w.kernel_x; kx++) {
                u32 across = x + w.left - kx * w.dilation_x, ox = across / w.stride_x;
                if (ox >= w.out_width || ox * w.stride_x != across) continue;
                sum += from[(ky * w.kernel_x + kx) * tap_words + (u64)oy * w.out_width + ox];
            }
        }
        out[i] = sum;
    }
}
