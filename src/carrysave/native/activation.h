#pragma once

#include <cstdint>

#include "quantization.h"

// The activation side of the factored engine, in one pass over the input: quantise, look up every factor, write
// channels last with the halo filled in, and sum a further function of the codes over the channels.
//
//   i[n,c,y,x]   = clamp(round(value / scale) + zero, low, high) - low      (round half to even; or the bytes given)
//   out          = tables[k][i], and tables[k][halo_code] in the halo
//   sums[n,g,y,x] = sum over the group's channels of addend[i], halo included
//
// Pixels are those of the padded image [height, width], H' = top + H + bottom, W' = left + W + right.
enum class FactorLayout {
    planes,       // [rank][N][H'][W'][C]
    blocks,       // [N][H'][W'][rank][C]
    interleaved,  // [N][H'][W'][C][rank]
};

struct ActivationProblem {
    int64_t n, c, h, w;
    int64_t top, bottom, left, right;
    const float* values;      // [n, c, h, w], or null
    Quantization quantization;
    const uint8_t* codes;     // [n, c, h, w], read if `values` is null
    uint8_t halo_code;
    int64_t rank;             // at least 0
    const uint8_t* tables;    // [rank][256]
    FactorLayout layout;
    uint8_t* out;
    const int32_t* addend;    // [256], or null: no sums
    int64_t groups;           // divides c
    int32_t* sums;            // [n, groups, H', W']
    int threads;
};

void expand_activations_reference(const ActivationProblem& problem);   // obvious loops
void expand_activations(const ActivationProblem& problem);             // by chosen_isa()
