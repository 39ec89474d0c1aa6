#pragma once

#include <cstdint>

#include "quantization.h"

// Sums that correct a convolution: of a function of the codes over a group's channels, and of those over windows.

//   sums[n,g,y,x] = sum over the group's channels of addend[i], i the code less the lowest
// of the padded image [h + 2 * top, w + 2 * left], whose halo has the code `halo`.
struct ChannelSums {
    int64_t n, c, h, w, top, left, groups;
    const float* values;         // [n, c, h, w]
    Quantization quantization;
    uint8_t halo;
    const int32_t* addend;       // [256]
    int32_t* sums;
    int threads;
};
void channel_sums(const ChannelSums& task);

// box[n,g,oy,ox] = sum over (ky, kx) of sums[n, g, oy*sy + ky*dy, ox*sx + kx*dx]
struct WindowSums {
    int64_t planes, height, width, out_height, out_width, kh, kw, sy, sx, dy, dx;
    const int32_t* sums;
    int32_t* box;
    int threads;
};
void window_sums(const WindowSums& task);

// to[i] += addend[quantization.index(values[i])]
void add_looked_up_avx512(const float* values, int64_t count, const Quantization& quantization, const int32_t* addend, int32_t* to);
