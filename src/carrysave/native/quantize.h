#pragma once

#include <cstdint>

#include "conv.h"
#include "quantization.h"

// out[i] = q.index(values[i]); at most 256 codes.
void quantize(const float* values, int64_t count, const Quantization& q, uint8_t* out, int threads);
void quantize_avx512(const float* values, int64_t count, const Quantization& q, uint8_t* out);

// The same into memory of its own.
inline AlignedBytes quantized(const float* values, int64_t count, const Quantization& q, int threads) {
    AlignedBytes codes = raw_bytes(count);
    quantize(values, count, q, codes.get(), threads);
    return codes;
}
