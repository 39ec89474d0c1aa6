#include "finish.h"

#include <algorithm>

#include "finish_kernels.h"
#include "isa.h"
#include "parallel.h"

void box_sum(const BoxProblem& p) {
    parallel_for(p.planes, 1, p.threads, [&](int64_t begin, int64_t end) {
        for (int64_t plane = begin; plane < end; ++plane)
            for (int64_t y = 0; y < p.out_height; ++y) {
                int32_t* out = p.box + (plane * p.out_height + y) * p.out_width;
                std::fill_n(out, p.out_width, 0);
                for (int64_t ky = 0; ky < p.kh; ++ky)
                    for (int64_t kx = 0; kx < p.kw; ++kx) {
                        const int32_t* in = p.sums + (plane * p.height + y * p.sy + ky * p.dy) * p.width + kx * p.dx;
                        if (p.sx == 1)
                            for (int64_t x = 0; x < p.out_width; ++x) out[x] += in[x];
                        else
                            for (int64_t x = 0; x < p.out_width; ++x) out[x] += in[x * p.sx];
                    }
            }
    });
}

namespace {

int64_t total(const FinishProblem& p, int64_t n, int64_t pixel, int64_t o) {
    int64_t sum = p.constant[o];
    for (int64_t i = 0; i < p.count; ++i) sum += static_cast<int64_t>(p.parts[i][(n * p.pixels + pixel) * p.channels + o]);
    if (p.box) sum += p.box[(n * p.groups + o / (p.channels / p.groups)) * p.pixels + pixel];
    return sum;
}

}  // namespace

void finish_pixels_portable(const FinishProblem& p, int64_t n, int64_t begin, int64_t end) {
    // Few channels at a time: their output lines stay in the cache while the pixels of the parts are walked.
    constexpr int64_t kChannels = 16;
    for (int64_t first = 0; first < p.channels; first += kChannels)
        for (int64_t pixel = begin; pixel < end; ++pixel)
            for (int64_t o = first; o < std::min(p.channels, first + kChannels); ++o) {
                const int64_t sum = total(p, n, pixel, o), at = (n * p.channels + o) * p.pixels + pixel;
                if (p.integers)
                    p.integers[at] = sum;
                else
                    p.out[at] = static_cast<float>(sum) * (p.scale ? p.scale[o] : 1.0f);
            }
}

void finish_reference(const FinishProblem& p) {
    for (int64_t n = 0; n < p.n; ++n) finish_pixels_portable(p, n, 0, p.pixels);
}

void finish(const FinishProblem& p) {
    auto* pixels = finish_pixels_portable;
#ifdef CARRYSAVE_AVX512
    if (chosen_isa() == Isa::avx512 && !p.integers) pixels = finish_pixels_avx512;
#endif
    constexpr int64_t kRun = 256;
    const int64_t runs = (p.pixels + kRun - 1) / kRun;
    parallel_for(p.n * runs, 4, p.threads, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t first = i % runs * kRun;
            pixels(p, i / runs, first, std::min(p.pixels, first + kRun));
        }
    });
}
