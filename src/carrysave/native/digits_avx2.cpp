// Compiled with -mavx2.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "digits_kernels.h"
#include "unroll.h"

namespace {

constexpr int kHalf = 8;         // lanes of a register

// Two registers of outputs and `kOutputs` channels, from channel `first` on. Products of bytes are added in 16 bits by
// vpmaddubsw, which saturates; so bytes are widened first, the even and the odd ones apart.
template <int kOutputs>
void tile(const DigitTile& t, int vector, int first) {
    __m256i sums[kOutputs][2];
    unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
        unroll<2>([&](auto half) CARRYSAVE_LAMBDA {
            const int32_t* from = t.sums + (first + o) * kTileLanes + vector * kLanes + kHalf * half;
            sums[o][half] = t.starts ? _mm256_setzero_si256() : _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        });
    });
    const __m256i low = _mm256_set1_epi16(255);
    const int8_t* weights = t.weights + 4 * first;
    for (int64_t tap = 0; tap < t.taps; ++tap, weights += 4 * t.outputs) {
        __m256i even[2], odd[2];
        unroll<2>([&](auto half) CARRYSAVE_LAMBDA {
            const __m256i digits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t.from[vector] + t.offsets[tap] + kHalf * half));
            even[half] = _mm256_and_si256(digits, low);
            odd[half] = _mm256_srli_epi16(digits, 8);
        });
        unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
            int32_t four;
            std::memcpy(&four, weights + 4 * o, 4);
            const __m256i both = _mm256_set1_epi32(four);
            const __m256i for_even = _mm256_srai_epi16(_mm256_slli_epi16(both, 8), 8), for_odd = _mm256_srai_epi16(both, 8);
            unroll<2>([&](auto half) CARRYSAVE_LAMBDA {
                sums[o][half] = _mm256_add_epi32(sums[o][half], _mm256_madd_epi16(even[half], for_even));
                sums[o][half] = _mm256_add_epi32(sums[o][half], _mm256_madd_epi16(odd[half], for_odd));
            });
        });
    }
    unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
        unroll<2>([&](auto half) CARRYSAVE_LAMBDA {
            int32_t* to = t.sums + (first + o) * kTileLanes + vector * kLanes + kHalf * half;
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums[o][half]);
        });
    });
}

}  // namespace

void tile_avx2(const DigitTile& t) {
    for (int vector = 0; vector < t.vectors; ++vector)
        for (int first = 0; first < t.outputs; first += 3) {
            if (t.outputs - first >= 3)
                tile<3>(t, vector, first);
            else if (t.outputs - first == 2)
                tile<2>(t, vector, first);
            else
                tile<1>(t, vector, first);
        }
    if (t.end) finish_tile(t, *t.end);
}
