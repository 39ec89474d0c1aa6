// Compiled with -mavx512f -mavx512vl.
#include <immintrin.h>

#include "conv.h"

namespace {

template <int kBytes>
inline void copy(uint8_t* to, const uint8_t* from) {
    if constexpr (kBytes == 16)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    else if constexpr (kBytes == 32)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    else
        _mm512_storeu_si512(to, _mm512_loadu_si512(from));
}

template <int kBytes>
void copy_runs(const GatherTask& task) {
    uint8_t* to = task.to;
    for (int64_t i = 0; i < task.taps; ++i, to += task.stride) {
        const uint8_t* from = task.from + task.shifts[i] * task.element;
        for (const Run& run : task.runs) {
            int64_t j = 0;
            do copy<kBytes>(to + run.to + j, from + run.from + j);
            while ((j += kBytes) < run.length);
        }
    }
}

}  // namespace

void gather_avx512(const GatherTask& task) {
    if (task.longest <= 16)
        copy_runs<16>(task);
    else if (task.longest <= 32)
        copy_runs<32>(task);
    else
        copy_runs<64>(task);
}
