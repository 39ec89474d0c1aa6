#pragma once

#include <algorithm>
#include <cstdint>

#include "isa.h"
#include "quantization.h"
#include "scratch.h"

// out[i] = q.index(values[i]); at most 256 codes where those are bytes.
void quantize(Isa isa, const float* values, int64_t count, const Quantization& q, uint8_t* out);
void quantize(Isa isa, const float* values, int64_t count, const Quantization& q, int32_t* out);
void quantize_avx512(const float* values, int64_t count, const Quantization& q, uint8_t* out);
void quantize_avx512(const float* values, int64_t count, const Quantization& q, int32_t* out);

// Rows of a tensor's planes as codes. Some rows of a plane are quantised together: they can be short, and a call for each
// would cost more than its work.
template <class Code>
class QuantizedRows {
  public:
    QuantizedRows(Isa isa_, const float* values_, const Quantization& q_, int64_t height_, int64_t width_)
        : isa(isa_), values(values_), q(q_), height(height_), width(width_),
          together(values ? std::max<int64_t>(1, std::min<int64_t>(height, 2048 / std::max<int64_t>(width, 1))) : 0),
          codes(together * width * static_cast<int64_t>(sizeof(Code))) {}

    // Row y of a plane; `last`: how many rows of it are wanted.
    const Code* row(int64_t plane, int64_t y, int64_t last) {
        if (plane != plane_held || y < first || y >= end) {
            plane_held = plane, first = y, end = std::min(y + together, std::max(last, y + 1));
            quantize(isa, values + (plane * height + y) * width, (end - first) * width, q, codes.at<Code>(0));
        }
        return codes.at<Code>(0) + (y - first) * width;
    }

  private:
    Isa isa;
    const float* values;
    Quantization q;
    int64_t height, width, together, plane_held = -1, first = 0, end = 0;
    Scratch codes;
};

// sums[n, group, top + y, left + x] = the sum over the group's channels of code - zero; 0 in the halo. The magnitudes of
// what is summed stay below 2^31.
struct OffsetSums {
    int64_t n, c, h, w, groups, top, left;
    const float* values;          // [n, c, h, w]
    Quantization quantization;
    int32_t* sums;                // [n, groups, h + 2 top, w + 2 left]
    int threads;
};
void offset_sums(const OffsetSums& problem);
