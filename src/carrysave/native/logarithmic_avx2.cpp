// Compiled with -mavx2. Only LogSum::floor, for which a float addition is all there is; the rest is left to the shifts of
// the portable kernel, as AVX2 cannot convert to 64-bit integers.
#include <immintrin.h>

#include "logarithmic_kernels.h"
#include "unroll.h"

namespace {

// AVX2 has no rounding direction of its own in an instruction; the thread's is set, and put back.
class RoundDown {
  public:
    RoundDown() : before(_mm_getcsr()) { _mm_setcsr((before & ~0x6000u) | 0x2000u); }
    ~RoundDown() { _mm_setcsr(before); }
    RoundDown(const RoundDown&) = delete;
    RoundDown& operator=(const RoundDown&) = delete;

  private:
    unsigned before;
};

// As integers throughout, so that the compiler cannot move the additions out of the region: it does not know that they
// depend on the rounding direction.
CARRYSAVE_INLINE void add_down(__m256& acc, __m256i sum) { asm volatile("vaddps %1, %0, %0" : "+x"(acc) : "x"(sum)); }
CARRYSAVE_INLINE void add_down(__m256d& acc, __m256i sum) { asm volatile("vaddpd %1, %0, %0" : "+x"(acc) : "x"(sum)); }

struct Floor32 {
    static constexpr int kLanes = 8;
    __m256 acc;
    static CARRYSAVE_INLINE __m256i broadcast(int32_t word) { return _mm256_set1_epi32(word); }
    static CARRYSAVE_INLINE __m256i sum(__m256i x, __m256i w) { return _mm256_add_epi32(x, w); }
    CARRYSAVE_INLINE void clear() { acc = _mm256_set1_ps(12582912.0f); }     // 1.5 * 2^23
    // The accumulator's bit pattern is that of 1.5 * 2^23 plus the integer.
    CARRYSAVE_INLINE __m256i value() const { return _mm256_sub_epi32(_mm256_castps_si256(acc), _mm256_set1_epi32(0x4b400000)); }
    CARRYSAVE_INLINE void flush(int32_t* sums) const {
        auto* at = reinterpret_cast<__m256i*>(sums);
        _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), value()));
    }
    CARRYSAVE_INLINE void flush(int64_t* sums) const {
        const __m256i parts[2] = {_mm256_cvtepi32_epi64(_mm256_castsi256_si128(value())),
                                  _mm256_cvtepi32_epi64(_mm256_extracti128_si256(value(), 1))};
        auto* at = reinterpret_cast<__m256i*>(sums);
        for (int i = 0; i < 2; ++i) _mm256_storeu_si256(at + i, _mm256_add_epi64(_mm256_loadu_si256(at + i), parts[i]));
    }
};

struct Floor64 {
    static constexpr int kLanes = 4;
    __m256d acc;
    static CARRYSAVE_INLINE __m256i broadcast(int64_t word) { return _mm256_set1_epi64x(word); }
    static CARRYSAVE_INLINE __m256i sum(__m256i x, __m256i w) { return _mm256_add_epi64(x, w); }
    CARRYSAVE_INLINE void clear() { acc = _mm256_set1_pd(6755399441055744.0); }   // 1.5 * 2^52
    CARRYSAVE_INLINE void flush(int64_t* sums) const {
        const __m256i value = _mm256_sub_epi64(_mm256_castpd_si256(acc), _mm256_set1_epi64x(0x4338000000000000));
        auto* at = reinterpret_cast<__m256i*>(sums);
        _mm256_storeu_si256(at, _mm256_add_epi64(_mm256_loadu_si256(at), value));
    }
};

// kOutputs channels on two vectors from vector `first` of the tile on.
template <class Accumulator, int kOutputs, class T, class Sum>
void run(const LogTask<T, Sum>& task, const T* weights, Sum* sums, int first) {
    constexpr int kVectors = 2, kLanes = Accumulator::kLanes, kPerQuarter = 16 / kLanes;
    Accumulator acc[kOutputs * kVectors];
    unroll<kOutputs * kVectors>([&](auto i) CARRYSAVE_LAMBDA { acc[i].clear(); });
    const T* from = task.words.from[first / kPerQuarter] + first % kPerQuarter * kLanes;
    for (int64_t i = 0; i < task.taps; ++i, weights += task.outputs) {
        const T* words = from + task.words.offsets[i];
        __m256i x[kVectors];
        unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
            x[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + v * kLanes));
        });
        unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
            const __m256i weight = Accumulator::broadcast(weights[o]);
            unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA { add_down(acc[o * kVectors + v].acc, Accumulator::sum(x[v], weight)); });
        });
    }
    unroll<kOutputs * kVectors>([&](auto i) CARRYSAVE_LAMBDA {
        acc[i].flush(sums + i / kVectors * kLogLanes + (first + i % kVectors) * kLanes);
    });
}

template <class Accumulator, class T, class Sum>
void run_floor(const LogTask<T, Sum>& task) {
    if (task.sum != LogSum::floor) return log_tile_portable(task);
    const RoundDown rounding;
    for (int first = 0; first < kLogLanes / Accumulator::kLanes; first += 2) {
        int o = 0;
        for (; o + 4 <= task.outputs; o += 4)
            run<Accumulator, 4>(task, task.weights + o, task.sums + o * kLogLanes, first);
        for (; o + 2 <= task.outputs; o += 2)
            run<Accumulator, 2>(task, task.weights + o, task.sums + o * kLogLanes, first);
        if (o < task.outputs) run<Accumulator, 1>(task, task.weights + o, task.sums + o * kLogLanes, first);
    }
}

}  // namespace

void log_tile_avx2(const LogTask<int32_t, int32_t>& task) { run_floor<Floor32>(task); }
void log_tile_avx2(const LogTask<int32_t, int64_t>& task) { run_floor<Floor32>(task); }
void log_tile_avx2(const LogTask<int64_t, int64_t>& task) { run_floor<Floor64>(task); }
