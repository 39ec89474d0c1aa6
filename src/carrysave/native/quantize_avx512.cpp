// Compiled with AVX-512 F, BW, DQ, VL, VBMI and VNNI.
#include <immintrin.h>

#include "quantize.h"

namespace {

inline void store(uint8_t* out, __mmask16 mask, __m512i codes) { _mm512_mask_cvtepi32_storeu_epi8(out, mask, codes); }
inline void store(int32_t* out, __mmask16 mask, __m512i codes) { _mm512_mask_storeu_epi32(out, mask, codes); }

template <class Code>
void quantize_all(const float* values, int64_t count, const Quantization& q, Code* out) {
    const __m512 scale = _mm512_set1_ps(q.scale);
    const __m512 low = _mm512_set1_ps(static_cast<float>(q.low - q.zero)), high = _mm512_set1_ps(static_cast<float>(q.high - q.zero));
    const __m512i shift = _mm512_set1_epi32(q.zero - q.low);
    for (int64_t i = 0; i < count; i += 16) {
        const int64_t left = count - i;
        const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1u << left) - 1);
        const __m512 ratio = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, values + i), scale);
        const __m512i code = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(ratio, low), high));
        store(out + i, mask, _mm512_add_epi32(code, shift));
    }
}

}  // namespace

void quantize_avx512(const float* values, int64_t count, const Quantization& q, uint8_t* out) {
    quantize_all(values, count, q, out);
}
void quantize_avx512(const float* values, int64_t count, const Quantization& q, int32_t* out) {
    quantize_all(values, count, q, out);
}
