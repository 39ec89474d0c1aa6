#pragma once

#include <cstdint>

// What follows the exact int8 convolutions: their sum, the corrections, one rounding, the scale.

// box[n,g,oy,ox] = sum over (ky, kx) of sums[n, g, oy*sy + ky*dy, ox*sx + kx*dx]
struct BoxProblem {
    int64_t planes, height, width, out_height, out_width, kh, kw, sy, sx, dy, dx;
    const int32_t* sums;
    int32_t* box;
    int threads;
};
void box_sum(const BoxProblem& problem);

// out[n, o, p] = float( sum over parts[n, p, o] + box[n, g(o), p] + constant[o] ), rounded once, times scale[o]
struct FinishProblem {
    int64_t n, pixels, channels, groups;
    int64_t count;
    const float* const* parts;   // [n, pixels, channels] each: integers of at most 2^24
    const int32_t* box;          // [n, groups, pixels], or null
    const int64_t* constant;     // [channels]
    const float* scale;          // [channels], or null
    int64_t bound;               // no partial sum exceeds this magnitude; below 2^31 the work is done in 32 bits
    float* out;                  // [n, channels, pixels]; or
    int64_t* integers;           // the sums themselves
    int threads;
};
void finish_reference(const FinishProblem& problem);
void finish(const FinishProblem& problem);
