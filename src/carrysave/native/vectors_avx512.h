#pragma once

// For files compiled with AVX-512 F, BW, DQ, VL, VBMI and VNNI.
#include <immintrin.h>

#include <cstdint>

#include "addend.h"
#include "quantization.h"
#include "unroll.h"

namespace {

// Of 64 codes.
struct Lookup {
    __m512i t[4];

    explicit Lookup(const uint8_t* table) {
        for (int i = 0; i < 4; ++i) t[i] = _mm512_loadu_si512(table + 64 * i);
    }
    CARRYSAVE_INLINE __m512i operator()(__m512i index) const {
        const __m512i low = _mm512_permutex2var_epi8(t[0], index, t[1]);
        const __m512i high = _mm512_permutex2var_epi8(t[2], index, t[3]);
        return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
    }
};

// Quantization::index of sixteen values.
struct Quantizer16 {
    __m512 scale, low, high;
    __m512i shift;

    explicit Quantizer16(const Quantization& q)
        : scale(_mm512_set1_ps(q.scale)),
          low(_mm512_set1_ps(static_cast<float>(q.low - q.zero))),
          high(_mm512_set1_ps(static_cast<float>(q.high - q.zero))),
          shift(_mm512_set1_epi32(q.zero - q.low)) {}

    CARRYSAVE_INLINE __m512i operator()(__m512 values) const {
        const __m512 ratio = _mm512_min_ps(_mm512_max_ps(_mm512_div_ps(values, scale), low), high);
        return _mm512_add_epi32(_mm512_cvtps_epi32(ratio), shift);
    }
};

// In each 32-bit lane, the addend's sum over the codes whose byte in `ones` is 1; there are `present` of them.
CARRYSAVE_INLINE __m512i addend_sum(const Addend& addend, __m512i codes, __m512i ones, int present) {
    __m512i sum = _mm512_set1_epi32(static_cast<int32_t>(static_cast<uint32_t>(present) * static_cast<uint32_t>(addend.base)));
    const __m512i none = _mm512_setzero_si512();
    if (addend.planes == 0)
        return _mm512_add_epi32(sum, _mm512_mullo_epi32(_mm512_dpbusd_epi32(none, codes, ones), _mm512_set1_epi32(addend.slope)));
    for (int j = 0; j < addend.planes; ++j) {
        const __m512i bytes = _mm512_dpbusd_epi32(none, Lookup(addend.bytes[j])(codes), ones);
        sum = _mm512_add_epi32(sum, _mm512_sllv_epi32(bytes, _mm512_set1_epi32(8 * j)));
    }
    return sum;
}

}  // namespace
