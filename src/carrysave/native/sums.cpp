#include "sums.h"

#include <algorithm>

#include "parallel.h"

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
