// Compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl.
#include <immintrin.h>

#include "logarithmic_kernels.h"
#include "unroll.h"

namespace {

CARRYSAVE_INLINE void add_to(int64_t* sums, __m512i value) {
    _mm512_storeu_si512(sums, _mm512_add_epi64(_mm512_loadu_si512(sums), value));
}
CARRYSAVE_INLINE void add_int32(int32_t* sums, __m512i value) {
    _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), value));
}
CARRYSAVE_INLINE void add_int32(int64_t* sums, __m512i value) {
    add_to(sums, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(value)));
    add_to(sums + 8, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(value, 1)));
}

constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC, kToZero = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;

template <class T>
struct Words;

template <>
struct Words<int32_t> {
    using Mask = __mmask16;
    CARRYSAVE_INLINE static Mask present(__m512i x) { return _mm512_cmpneq_epi32_mask(x, broadcast(LogWords<int32_t>::kZero)); }
    CARRYSAVE_INLINE static __m512i broadcast(int32_t word) { return _mm512_set1_epi32(word); }
    CARRYSAVE_INLINE static __m512i sum(__m512i x, __m512i w) { return _mm512_add_epi32(x, w); }
};
template <>
struct Words<int64_t> {
    using Mask = __mmask8;
    CARRYSAVE_INLINE static Mask present(__m512i x) { return _mm512_cmpneq_epi64_mask(x, broadcast(LogWords<int64_t>::kZero)); }
    CARRYSAVE_INLINE static __m512i broadcast(int64_t word) { return _mm512_set1_epi64(word); }
    CARRYSAVE_INLINE static __m512i sum(__m512i x, __m512i w) { return _mm512_add_epi64(x, w); }
};

// Rounded down into a float that holds an integer and has no room for a fraction. It begins in the middle of its range,
// which leaves room for sums of either sign, and its bit pattern is that of the middle plus the integer.
struct Floor32 : Words<int32_t> {
    __m512 acc;
    CARRYSAVE_INLINE void clear() { acc = _mm512_set1_ps(12582912.0f); }   // 1.5 * 2^23
    CARRYSAVE_INLINE void add(__m512i sum) { acc = _mm512_add_round_ps(acc, _mm512_castsi512_ps(sum), kDown); }
    CARRYSAVE_INLINE void add(__m512i sum, Mask mask) {
        acc = _mm512_mask_add_round_ps(acc, mask, acc, _mm512_castsi512_ps(sum), kDown);
    }
    template <class Sum>
    CARRYSAVE_INLINE void flush(Sum* sums) const {
        add_int32(sums, _mm512_sub_epi32(_mm512_castps_si512(acc), _mm512_set1_epi32(0x4b400000)));
    }
};

struct Floor64 : Words<int64_t> {
    __m512d acc;
    CARRYSAVE_INLINE void clear() { acc = _mm512_set1_pd(6755399441055744.0); }   // 1.5 * 2^52
    CARRYSAVE_INLINE void add(__m512i sum) { acc = _mm512_add_round_pd(acc, _mm512_castsi512_pd(sum), kDown); }
    CARRYSAVE_INLINE void add(__m512i sum, Mask mask) {
        acc = _mm512_mask_add_round_pd(acc, mask, acc, _mm512_castsi512_pd(sum), kDown);
    }
    CARRYSAVE_INLINE void flush(int64_t* sums) const {
        add_to(sums, _mm512_sub_epi64(_mm512_castpd_si512(acc), _mm512_set1_epi64(0x4338000000000000)));
    }
};

template <int kRounding>
struct Convert32 : Words<int32_t> {
    __m512i acc;
    CARRYSAVE_INLINE void clear() { acc = _mm512_setzero_si512(); }
    CARRYSAVE_INLINE void add(__m512i sum) {
        acc = _mm512_add_epi32(acc, _mm512_cvt_roundps_epi32(_mm512_castsi512_ps(sum), kRounding));
    }
    CARRYSAVE_INLINE void add(__m512i sum, Mask mask) {
        acc = _mm512_mask_add_epi32(acc, mask, acc, _mm512_cvt_roundps_epi32(_mm512_castsi512_ps(sum), kRounding));
    }
    template <class Sum>
    CARRYSAVE_INLINE void flush(Sum* sums) const {
        add_int32(sums, acc);
    }
};

template <int kRounding>
struct Convert64 : Words<int64_t> {
    __m512i acc;
    CARRYSAVE_INLINE void clear() { acc = _mm512_setzero_si512(); }
    CARRYSAVE_INLINE void add(__m512i sum) {
        acc = _mm512_add_epi64(acc, _mm512_cvt_roundpd_epi64(_mm512_castsi512_pd(sum), kRounding));
    }
    CARRYSAVE_INLINE void add(__m512i sum, Mask mask) {
        acc = _mm512_mask_add_epi64(acc, mask, acc, _mm512_cvt_roundpd_epi64(_mm512_castsi512_pd(sum), kRounding));
    }
    CARRYSAVE_INLINE void flush(int64_t* sums) const { add_to(sums, acc); }
};

// A product that is rounded down is -1 where a zero meets a negative operand. kMasked leaves activations of zero out, one
// comparison for all channels of a block, which costs less than counting such pairs for each channel.
//
// kOutputs channels on four vectors from vector `first` of the tile on: 24 accumulators at most.
template <class Accumulator, bool kMasked, int kOutputs, class T, class Sum>
void run(const LogTask<T, Sum>& task, int first) {
    constexpr int kVectors = 4, kLanes = 64 / sizeof(T), kPerQuarter = 16 / kLanes;
    Accumulator acc[kOutputs * kVectors];
    unroll<kOutputs * kVectors>([&](auto i) CARRYSAVE_LAMBDA { acc[i].clear(); });
    const T* from[kVectors];
    unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
        from[v] = task.words.from[(first + v) / kPerQuarter] + (first + v) % kPerQuarter * kLanes;
    });
    const T* weights = task.weights;
    for (int64_t i = 0; i < task.taps; ++i, weights += task.outputs) {
        const int64_t offset = task.words.offsets[i];
        __m512i x[kVectors];
        typename Accumulator::Mask present[kVectors];
        unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
            x[v] = _mm512_loadu_si512(from[v] + offset);
            if constexpr (kMasked) present[v] = Accumulator::present(x[v]);
        });
        unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
            const __m512i weight = Accumulator::broadcast(weights[o]);
            unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
                const __m512i sum = Accumulator::sum(x[v], weight);
                if constexpr (kMasked)
                    acc[o * kVectors + v].add(sum, present[v]);
                else
                    acc[o * kVectors + v].add(sum);
            });
        });
    }
    unroll<kOutputs * kVectors>([&](auto i) CARRYSAVE_LAMBDA {
        acc[i].flush(task.sums + i / kVectors * kLogLanes + (first + i % kVectors) * kLanes);
    });
}

template <class Accumulator, bool kMasked, int kOutputs, class T, class Sum>
void run_tile(const LogTask<T, Sum>& task) {
    for (int first = 0; first < kLogLanes * static_cast<int>(sizeof(T)) / 64; first += 4)
        run<Accumulator, kMasked, kOutputs>(task, first);
}

template <class Accumulator, bool kMasked, class T, class Sum>
void run_outputs(const LogTask<T, Sum>& task) {
    switch (task.outputs) {
        case 1: return run_tile<Accumulator, kMasked, 1>(task);
        case 2: return run_tile<Accumulator, kMasked, 2>(task);
        case 3: return run_tile<Accumulator, kMasked, 3>(task);
        case 4: return run_tile<Accumulator, kMasked, 4>(task);
        case 5: return run_tile<Accumulator, kMasked, 5>(task);
        default: return run_tile<Accumulator, kMasked, 6>(task);
    }
}

template <class Floor, class Down, class ToZero, class T, class Sum>
void run_sum(const LogTask<T, Sum>& task) {
    if (task.sum == LogSum::floor) return task.masked ? run_outputs<Floor, true>(task) : run_outputs<Floor, false>(task);
    if (task.sum == LogSum::down) return task.masked ? run_outputs<Down, true>(task) : run_outputs<Down, false>(task);
    run_outputs<ToZero, false>(task);
}

// Of 64 lanes: bits of those whose word is zero, and of those below zero.
struct Signs {
    uint64_t zero = 0, negative = 0;
};
CARRYSAVE_INLINE Signs signs(const Operands<int32_t>& words, int64_t offset) {
    Signs signs;
    for (int v = 0; v < 4; ++v) {
        const __m512i word = _mm512_loadu_si512(words.from[v] + offset);
        signs.zero |= static_cast<uint64_t>(_mm512_cmpeq_epi32_mask(word, _mm512_set1_epi32(LogWords<int32_t>::kZero))) << (16 * v);
        signs.negative |= static_cast<uint64_t>(_mm512_movepi32_mask(word)) << (16 * v);
    }
    return signs;
}
CARRYSAVE_INLINE Signs signs(const Operands<int64_t>& words, int64_t offset) {
    Signs signs;
    for (int v = 0; v < 8; ++v) {
        const __m512i word = _mm512_loadu_si512(words.from[v / 2] + offset + v % 2 * 8);
        signs.zero |= static_cast<uint64_t>(_mm512_cmpeq_epi64_mask(word, _mm512_set1_epi64(LogWords<int64_t>::kZero))) << (8 * v);
        signs.negative |= static_cast<uint64_t>(_mm512_movepi64_mask(word)) << (8 * v);
    }
    return signs;
}

template <class T>
void mark(const LogMarks<T>& marks) {
    using Mark = typename LogWeights<T>::Mark;
    for (int64_t i = 0; i < marks.taps; ++i) {
        const Signs found = signs(marks.words, marks.words.offsets[i]);
        const __m512i negative = _mm512_maskz_set1_epi8(found.negative & ~found.zero, 1);
        _mm512_storeu_si512(marks.negative + i * kLogLanes, negative);
        __m512i other = negative;
        if (marks.mark == Mark::zero)
            other = _mm512_maskz_set1_epi8(found.zero, 1);
        else if (marks.mark == Mark::sign)
            other = _mm512_mask_set1_epi8(negative, ~(found.negative | found.zero), -1);
        _mm512_storeu_si512(marks.other + i * kLogLanes, other);
    }
}

template <class Sum>
void count(const LogCount<Sum>& task) {
    const int8_t* rows = task.marks - task.first * kLogLanes;
    const auto row = [&](int64_t i) { return _mm512_loadu_si512(rows + int64_t{task.taps[i]} * kLogLanes); };
    __m512i counts[4] = {};
    int64_t i = 0;
    for (; i + 4 <= task.count; i += 4)
        unroll<4>([&](auto j) CARRYSAVE_LAMBDA { counts[j] = _mm512_add_epi8(counts[j], row(i + j)); });
    for (; i < task.count; ++i) counts[0] = _mm512_add_epi8(counts[0], row(i));
    const __m512i bytes = _mm512_add_epi8(_mm512_add_epi8(counts[0], counts[1]), _mm512_add_epi8(counts[2], counts[3]));
    unroll<4>([&](auto q) CARRYSAVE_LAMBDA {
        __m512i sum = _mm512_cvtepi8_epi32(_mm512_extracti32x4_epi32(bytes, q));
        if (task.factor != 1) sum = _mm512_mullo_epi32(sum, _mm512_set1_epi32(task.factor));
        add_int32(task.sums + 16 * q, sum);
    });
}

}  // namespace

void log_tile_avx512(const LogTask<int32_t, int32_t>& task) { run_sum<Floor32, Convert32<kDown>, Convert32<kToZero>>(task); }
void log_tile_avx512(const LogTask<int32_t, int64_t>& task) { run_sum<Floor32, Convert32<kDown>, Convert32<kToZero>>(task); }
void log_tile_avx512(const LogTask<int64_t, int64_t>& task) { run_sum<Floor64, Convert64<kDown>, Convert64<kToZero>>(task); }

void log_marks_avx512(const LogMarks<int32_t>& marks) { mark(marks); }
void log_marks_avx512(const LogMarks<int64_t>& marks) { mark(marks); }
void log_count_avx512(const LogCount<int32_t>& task) { count(task); }
void log_count_avx512(const LogCount<int64_t>& task) { count(task); }
