#include "sums.h"

#include <algorithm>

#include "isa.h"
#include "parallel.h"

namespace {

void add_looked_up(const float* values, int64_t count, const Quantization& quantization, const int32_t* addend, int32_t* to) {
    for (int64_t i = 0; i < count; ++i) to[i] += addend[quantization.index(values[i])];
}

}  // namespace

void channel_sums(const ChannelSums& t) {
    auto* add = add_looked_up;
#ifdef CARRYSAVE_AVX512
    if (chosen_isa() == Isa::avx512) add = add_looked_up_avx512;
#endif
    const int64_t width = t.w + 2 * t.left, plane = (t.h + 2 * t.top) * width, depth = t.c / t.groups;
    parallel_for(t.n * t.groups, 1, t.threads, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            int32_t* sums = t.sums + i * plane;
            std::fill_n(sums, plane, static_cast<int32_t>(depth) * t.addend[t.halo]);
            for (int64_t y = 0; y < t.h; ++y) std::fill_n(sums + (t.top + y) * width + t.left, t.w, 0);
            for (int64_t c = 0; c < depth; ++c)
                for (int64_t y = 0; y < t.h; ++y)
                    add(t.values + ((i * depth + c) * t.h + y) * t.w, t.w, t.quantization, t.addend, sums + (t.top + y) * width + t.left);
        }
    });
}

void window_sums(const WindowSums& p) {
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
