// Compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16.
#include <immintrin.h>

#include "logarithmic_kernels.h"
#include "unroll.h"

namespace {

CARRYSAVE_INLINE void add_to(int32_t* sums, __m512i value) {
    _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), value));
}
CARRYSAVE_INLINE void add_to(int64_t* sums, __m512i value) {
    const __m512i parts[2] = {_mm512_cvtepi32_epi64(_mm512_castsi512_si256(value)),
                              _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(value, 1))};
    for (int i = 0; i < 2; ++i)
        _mm512_storeu_si512(sums + 8 * i, _mm512_add_epi64(_mm512_loadu_si512(sums + 8 * i), parts[i]));
}

// One instruction adds the bfloat16 of both channels, times 1, to a float32. All that are not tiny are integers, and so
// are their sums, below 2^24: nothing is rounded, whatever the order, but the tiny products of zeros to nothing.
template <int kOutputs, class Sum>
void run(const LogTask<int16_t, Sum>& task) {
    constexpr int kVectors = 4;
    __m512 acc[kOutputs * kVectors];
    unroll<kOutputs * kVectors>([&](auto i) CARRYSAVE_LAMBDA { acc[i] = _mm512_setzero_ps(); });
    const auto one = reinterpret_cast<__m512bh>(_mm512_set1_epi16(LogWords<int16_t>::kBias));
    const int32_t* weights = task.weights;
    for (int64_t i = 0; i < task.taps; ++i, weights += kOutputs) {
        const int64_t offset = task.words.offsets[i];
        __m512i x[kVectors];
        unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA { x[v] = _mm512_loadu_si512(task.words.from[v] + offset); });
        unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
            const __m512i weight = _mm512_set1_epi32(weights[o]);
            unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
                const auto products = reinterpret_cast<__m512bh>(_mm512_add_epi16(x[v], weight));
                acc[o * kVectors + v] = _mm512_dpbf16_ps(acc[o * kVectors + v], products, one);
            });
        });
    }
    unroll<kOutputs * kVectors>([&](auto i) CARRYSAVE_LAMBDA {
        add_to(task.sums + i / kVectors * kLogLanes + i % kVectors * 16, _mm512_cvtps_epi32(acc[i]));
    });
}

template <class Sum>
void run_outputs(const LogTask<int16_t, Sum>& task) {
    switch (task.outputs) {
        case 1: return run<1>(task);
        case 2: return run<2>(task);
        case 3: return run<3>(task);
        case 4: return run<4>(task);
        case 5: return run<5>(task);
        default: return run<6>(task);
    }
}

}  // namespace

void log_tile_bf16(const LogTask<int16_t, int32_t>& task) { run_outputs(task); }
void log_tile_bf16(const LogTask<int16_t, int64_t>& task) { run_outputs(task); }
