#pragma once

#include <cstdint>

#include "isa.h"
#include "quantization.h"

// out[i] = q.index(values[i]); at most 256 codes.
void quantize(Isa isa, const float* values, int64_t count, const Quantization& q, uint8_t* out);
void quantize_avx512(const float* values, int64_t count, const Quantization& q, uint8_t* out);
