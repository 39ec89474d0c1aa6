// Compiled with AVX-512 F, BW, DQ, VL, VBMI and VNNI.
#include "sums.h"
#include "vectors_avx512.h"

void add_looked_up_avx512(const float* values, int64_t count, const Quantization& quantization, const int32_t* addend, int32_t* to) {
    const Quantizer16 index(quantization);
    for (int64_t i = 0; i < count; i += 16) {
        const auto mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1u << (count - i)) - 1);
        const __m512i found = _mm512_i32gather_epi32(index(_mm512_maskz_loadu_ps(mask, values + i)), addend, 4);
        _mm512_mask_storeu_epi32(to + i, mask, _mm512_add_epi32(_mm512_maskz_loadu_epi32(mask, to + i), found));
    }
}
