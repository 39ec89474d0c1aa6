#pragma once

#include <cstdint>

// Sums over windows, which correct a convolution.
// box[n,g,oy,ox] = sum over (ky, kx) of sums[n, g, oy*sy + ky*dy, ox*sx + kx*dx]
struct WindowSums {
    int64_t planes, height, width, out_height, out_width, kh, kw, sy, sx, dy, dx;
    const int32_t* sums;
    int32_t* box;
    int threads;
};
void window_sums(const WindowSums& task);
