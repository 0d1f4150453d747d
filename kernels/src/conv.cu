// Sums of two convolutions, w₀ ⊛ x₀ + w₁ ⊛ x₁ in a ring, NCHW: products of the weights (rows: output channels of a
// group; depth: input channel, kernel row, kernel column) with the images' windows (columns: output pixels of all
// images), which are gathered on the way to shared memory and never stored. `ring_product.cuh` has the methods.
#include "ring_product.cuh"

struct Conv {
    const Word *w0, *x0, *w1, *x1;
    Word *output;
    u32 batch, channels, height, width;   // input; channels of all groups
    u32 out_channels, out_height, out_width;
    u32 groups, group_channels, group_outputs; // input and output channels of a group
    u32 stride_y, stride_x, top, left_padding, dilation_y, dilation_x;
    u32 kernel_x, kernel_words;           // of one output channel: group_channels · kernel_y · kernel_x
    u32 terms, splits;
    Divisor by_pixels, by_out_width, by_taps, by_kernel_x;

    __device__ u32 rows() const { return group_outputs; }
    __device__ u32 columns() const { return batch * by_pixels.divisor; }
    __device__ u32 depth(int term) const { return (u32)term < terms ? kernel_words : 0; }
    __device__ u32 split() const { return blockIdx.z % splits; }
    __device__ u32 group() const { return blockIdx.z / splits; }
    __device__ Matrix left(int term) const {
        u64 start = (u64)group() * group_outputs * kernel_words;
        return Matrix{(term == 0 ? w0 : w1) + start, kernel_words, 1};
    }
    __device__ const Word *right(int term) const {
        return (term == 0 ? x0 : x1) + (u64)group() * group_channels * height * width;
    }
    __device__ u64 results() const { return (u64)batch * out_channels * by_pixels.divisor; }
    __device__ Word *out(u32 row, u32 column) const {
        u32 image = by_pixels.divide(column), pixel = column - image * by_pixels.divisor;
        return output + ((u64)image * out_channels + group() * group_outputs + row) * by_pixels.divisor + pixel;
    }

    // A thread gathers for one output pixel: all its quads have the same lane.
    template <int LANES, int DEPTH> struct Right : Quads<LANES, DEPTH> {
        const Conv &p;
        bool inside;  // there is such a pixel
        u64 image;    // where its image begins
        u32 y, x;     // where its window begins, below zero (wrapping) in the padding

        __device__ Right(const Conv &p, u32 first) : p(p) {
            this->along_depth = false;
            u32 column = first + this->lane(0), index = p.by_pixels.divide(column);
            u32 pixel = column - index * p.by_pixels.divisor, row = p.by_out_width.divide(pixel);
            inside = column < p.columns();
            image = (u64)index * p.channels * p.height * p.width;
            y = row * p.stride_y - p.top;
            x = (pixel - row * p.out_width) * p.stride_x - p.left_padding;
        }
        __device__ __forceinline__ void load(const Word *from, u32 start, u32 depth,
                                             Word (&values)[Quads<LANES, DEPTH>::COUNT][4]) const {
#pragma unroll
            for (int i = 0; i < this->COUNT; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    u32 k = start + 4 * this->quad(i) + j, channel = p.by_taps.divide(k);
                    u32 tap = k - channel * p.by_taps.divisor, ky = p.by_kernel_x.divide(tap);
                    u32 row = y + ky * p.dilation_y, column = x + (tap - ky * p.kernel_x) * p.dilation_x;
                    bool there = this->has(i) && inside && k < depth && row < p.height && column < p.width;
                    values[i][j] = there ? from[image + ((u64)channel * p.height + row) * p.width + column] : 0;
                }
        }
    };
};

RESIDENT_KERNEL(THREADS, 2) conv_native(const Conv p) { native_product(p); }

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
KERNEL(THREADS) conv_int8(const Conv p) { int8_product(p); }
#endif

#define CONV_DOUBLE(limbs)                                                                                             \
    KERNEL(THREADS) conv_double_##limbs(const Conv p, u32 flush) { double_product<limbs>(p, flush); }
CONV_DOUBLE(2)
CONV_DOUBLE(3)
CONV_DOUBLE(4)
CONV_DOUBLE(8)

// One input channel a group: each output plane is its input plane filtered by one kernel. One thread an output; two
// words read (from the cache, but for one of them) a multiply-accumulate: bound by memory or the cache, no use for
// tiles.
KERNEL(THREADS) conv_depthwise(const Conv p) {
    u64 pixels = p.by_pixels.divisor, n = p.batch * (u64)p.out_channels * pixels;
    fill_last(p.output, n);
    FOR_ELEMENTS(i, n) {
        u64 plane = i / pixels;
        u32 pixel = i - plane * pixels, row = p.by_out_width.divide(pixel), column = pixel - row * p.out_width;
        u64 image = plane / p.out_channels;
        u32 channel = plane - image * p.out_channels;
        u64 source = (image * p.channels + channel / p.group_outputs) * p.height * p.width;
        Word sum = 0;
        for (u32 tap = 0; tap < p.kernel_words; tap++) {
            u32 ky = p.by_kernel_x.divide(tap);
            u32 y = row * p.stride_y + ky * p.dilation_y - p.top;
            u32 x = column * p.stride_x + (tap - ky * p.kernel_x) * p.dilation_x - p.left_padding;
            if (y >= p.height || x >= p.width) continue;
            u64 at = source + (u64)y * p.width + x, weight = (u64)channel * p.kernel_words + tap;
            sum += p.w0[weight] * p.x0[at];
            if (p.terms > 1) sum += p.w1[weight] * p.x1[at];
        }
        p.output[i] = sum;
    }
}

// The weights' gradient where a group has one input channel: w₀ and w₁ hold the gradients of the outputs, the result
// is a word for each output channel and tap. One block an entry of it; two words read (after the first tap from the
// cache) a multiply-accumulate: bound by memory or the cache.
KERNEL(THREADS) conv_depthwise_weights(const Conv p) {
    __shared__ Word partial[THREADS / 32];
    const u32 pixels = p.by_pixels.divisor, all = p.batch * pixels;
    fill_last(p.output, p.out_channels * p.kernel_words);
    for (u32 entry = blockIdx.x; entry < p.out_channels * p.kernel_words; entry += gridDim.x) {
        u32 channel = entry / p.kernel_words, tap = entry - channel * p.kernel_words, ky = p.by_kernel_x.divide(tap);
        u32 down = ky * p.dilation_y - p.top, across = (tap - ky * p.kernel_x) * p.dilation_x - p.left_padding;
        Word sum = 0;
        for (u32 i = threadIdx.x; i < all; i += THREADS) {
            u32 image = p.by_pixels.divide(i), pixel = i - image * pixels, row = p.by_out_width.divide(pixel);
            u32 y = row * p.stride_y + down, x = (pixel - row * p.out_width) * p.stride_x + across;
            if (y >= p.height || x >= p.width) continue;
            u64 from = ((u64)image * p.out_channels + channel) * pixels + pixel;
            u64 at = (((u64)image * p.channels + channel / p.group_outputs) * p.height + y) * p.width + x;
            sum += p.w0[from] * p.x0[at];
            if (p.terms > 1) sum += p.w1[from] * p.x1[at];
        }
        for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(0xffffffff, sum, distance);
        if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
        __syncthreads();
        if (threadIdx.x == 0) {
            for (int warp = 1; warp < THREADS / 32; warp++) sum += partial[warp];
            p.output[entry] = sum;
        }
        __syncthreads(); // the next entry's parts come into the same place
    }
}
