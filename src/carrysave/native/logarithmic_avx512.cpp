// Compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl.
#include <immintrin.h>

#include "logarithmic_kernels.h"
#include "unroll.h"

namespace {

CARRYSAVE_INLINE void add_int64(int64_t* sums, __m512i value) {
    _mm512_storeu_si512(sums, _mm512_add_epi64(_mm512_loadu_si512(sums), value));
}
CARRYSAVE_INLINE void add_int32(int64_t* sums, __m512i value) {
    add_int64(sums, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(value)));
    add_int64(sums + 8, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(value, 1)));
}

constexpr int kDown = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC, kToZero = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC;

template <class T>
struct Words;

template <>
struct Words<int32_t> {
    static constexpr int kVectors = kLogLanes / 16;     // of a row of words
    using Mask = __mmask16;
    CARRYSAVE_INLINE static __m512i broadcast(int32_t word) { return _mm512_set1_epi32(word); }
    CARRYSAVE_INLINE static __m512i sum(__m512i x, __m512i w) { return _mm512_add_epi32(x, w); }
    CARRYSAVE_INLINE static __m512i load(const int32_t* words, int v) { return _mm512_load_si512(words + 16 * v); }
    CARRYSAVE_INLINE static Mask mask(const uint8_t* present, int v) {
        return _load_mask16(reinterpret_cast<__mmask16*>(const_cast<uint8_t*>(present)) + v);
    }
};
template <>
struct Words<int64_t> {
    static constexpr int kVectors = kLogLanes / 8;
    using Mask = __mmask8;
    CARRYSAVE_INLINE static __m512i broadcast(int64_t word) { return _mm512_set1_epi64(word); }
    CARRYSAVE_INLINE static __m512i sum(__m512i x, __m512i w) { return _mm512_add_epi64(x, w); }
    CARRYSAVE_INLINE static __m512i load(const int64_t* words, int v) { return _mm512_load_si512(words + 8 * v); }
    CARRYSAVE_INLINE static Mask mask(const uint8_t* present, int v) { return present[v]; }
};

// Rounded down into a float that holds an integer and has no room for a fraction. The middle of the range leaves room
// for sums of either sign.
struct Floor32 : Words<int32_t> {
    __m512 acc;
    static CARRYSAVE_INLINE __m512 middle() { return _mm512_set1_ps(12582912.0f); }   // 1.5 * 2^23
    CARRYSAVE_INLINE void clear() { acc = middle(); }
    CARRYSAVE_INLINE void add(__m512i sum) { acc = _mm512_add_round_ps(acc, _mm512_castsi512_ps(sum), kDown); }
    CARRYSAVE_INLINE void add(__m512i sum, Mask mask) {
        acc = _mm512_mask_add_round_ps(acc, mask, acc, _mm512_castsi512_ps(sum), kDown);
    }
    CARRYSAVE_INLINE void flush(int64_t* sums) const { add_int32(sums, _mm512_cvtps_epi32(_mm512_sub_ps(acc, middle()))); }
};

struct Floor64 : Words<int64_t> {
    __m512d acc;
    static CARRYSAVE_INLINE __m512d middle() { return _mm512_set1_pd(6755399441055744.0); }   // 1.5 * 2^52
    CARRYSAVE_INLINE void clear() { acc = middle(); }
    CARRYSAVE_INLINE void add(__m512i sum) { acc = _mm512_add_round_pd(acc, _mm512_castsi512_pd(sum), kDown); }
    CARRYSAVE_INLINE void add(__m512i sum, Mask mask) {
        acc = _mm512_mask_add_round_pd(acc, mask, acc, _mm512_castsi512_pd(sum), kDown);
    }
    CARRYSAVE_INLINE void flush(int64_t* sums) const { add_int64(sums, _mm512_cvtpd_epi64(_mm512_sub_pd(acc, middle()))); }
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
    CARRYSAVE_INLINE void flush(int64_t* sums) const { add_int32(sums, acc); }
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
    CARRYSAVE_INLINE void flush(int64_t* sums) const { add_int64(sums, acc); }
};

struct Complement32 : Words<int32_t> {
    __m512i acc;
    CARRYSAVE_INLINE void clear() { acc = _mm512_setzero_si512(); }
    static CARRYSAVE_INLINE __m512i product(__m512i sum) {
        const __m512 magnitude = _mm512_abs_ps(_mm512_castsi512_ps(sum));
        return _mm512_xor_si512(_mm512_cvttps_epi32(magnitude), _mm512_srai_epi32(sum, 31));
    }
    CARRYSAVE_INLINE void add(__m512i sum) { acc = _mm512_add_epi32(acc, product(sum)); }
    CARRYSAVE_INLINE void add(__m512i sum, Mask mask) { acc = _mm512_mask_add_epi32(acc, mask, acc, product(sum)); }
    CARRYSAVE_INLINE void flush(int64_t* sums) const { add_int32(sums, acc); }
};

struct Complement64 : Words<int64_t> {
    __m512i acc;
    CARRYSAVE_INLINE void clear() { acc = _mm512_setzero_si512(); }
    static CARRYSAVE_INLINE __m512i product(__m512i sum) {
        const __m512d magnitude = _mm512_abs_pd(_mm512_castsi512_pd(sum));
        return _mm512_xor_si512(_mm512_cvttpd_epi64(magnitude), _mm512_srai_epi64(sum, 63));
    }
    CARRYSAVE_INLINE void add(__m512i sum) { acc = _mm512_add_epi64(acc, product(sum)); }
    CARRYSAVE_INLINE void add(__m512i sum, Mask mask) { acc = _mm512_mask_add_epi64(acc, mask, acc, product(sum)); }
    CARRYSAVE_INLINE void flush(int64_t* sums) const { add_int64(sums, acc); }
};

// kOutputs channels on kVectors vectors from vector `first` of the tile on: 24 accumulators at most.
template <class Accumulator, bool kMasked, int kOutputs, int kVectors, class T>
void run(const LogTask<T>& task, int first) {
    constexpr int kLanes = 64 / sizeof(T);
    Accumulator acc[kOutputs * kVectors];
    unroll<kOutputs * kVectors>([&](auto i) CARRYSAVE_LAMBDA { acc[i].clear(); });
    const T* words = task.words + first * kLanes;
    const T* weights = task.weights;
    const uint8_t* present = kMasked ? task.present + first * kLanes / 8 : nullptr;
    for (int64_t i = 0; i < task.taps; ++i, words += kLogLanes, weights += task.outputs) {
        __m512i x[kVectors];
        typename Accumulator::Mask mask[kVectors];
        unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
            x[v] = Accumulator::load(words, v);
            if constexpr (kMasked) mask[v] = Accumulator::mask(present, v);
        });
        unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
            const __m512i weight = Accumulator::broadcast(weights[o]);
            unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
                const __m512i sum = Accumulator::sum(x[v], weight);
                if constexpr (kMasked)
                    acc[o * kVectors + v].add(sum, mask[v]);
                else
                    acc[o * kVectors + v].add(sum);
            });
        });
        if constexpr (kMasked) present += kLogLanes / 8;
    }
    unroll<kOutputs * kVectors>([&](auto i) CARRYSAVE_LAMBDA {
        acc[i].flush(task.sums + i / kVectors * kLogLanes + (first + i % kVectors) * kLanes);
    });
}

template <class Accumulator, bool kMasked, int kOutputs, class T>
void run_tile(const LogTask<T>& task) {
    for (int first = 0; first < Accumulator::kVectors; first += 4) run<Accumulator, kMasked, kOutputs, 4>(task, first);
}

template <class Accumulator, bool kMasked, class T>
void run_outputs(const LogTask<T>& task) {
    switch (task.outputs) {
        case 1: return run_tile<Accumulator, kMasked, 1>(task);
        case 2: return run_tile<Accumulator, kMasked, 2>(task);
        case 3: return run_tile<Accumulator, kMasked, 3>(task);
        case 4: return run_tile<Accumulator, kMasked, 4>(task);
        case 5: return run_tile<Accumulator, kMasked, 5>(task);
        default: return run_tile<Accumulator, kMasked, 6>(task);
    }
}

template <class Accumulator, class T>
void run_masked(const LogTask<T>& task) {
    if (task.present)
        run_outputs<Accumulator, true>(task);
    else
        run_outputs<Accumulator, false>(task);
}

template <class Floor, class Down, class ToZero, class Complement, class T>
void run_sum(const LogTask<T>& task) {
    switch (task.sum) {
        case LogSum::floor: return run_masked<Floor>(task);
        case LogSum::down: return run_masked<Down>(task);
        case LogSum::toward_zero: return run_outputs<ToZero, false>(task);
        case LogSum::complement: return run_masked<Complement>(task);
    }
}

inline uint64_t present_mask(const int32_t* words) {
    uint64_t mask = 0;
    for (int v = 0; v < 4; ++v)
        mask |= static_cast<uint64_t>(_mm512_cmpneq_epi32_mask(_mm512_load_si512(words + 16 * v),
                                                               _mm512_set1_epi32(LogWords<int32_t>::kZero))) << (16 * v);
    return mask;
}
inline uint64_t present_mask(const int64_t* words) {
    uint64_t mask = 0;
    for (int v = 0; v < 8; ++v)
        mask |= static_cast<uint64_t>(_mm512_cmpneq_epi64_mask(_mm512_load_si512(words + 8 * v),
                                                               _mm512_set1_epi64(LogWords<int64_t>::kZero))) << (8 * v);
    return mask;
}
inline uint64_t sign_mask(const int32_t* words) {
    uint64_t mask = 0;
    for (int v = 0; v < 4; ++v)
        mask |= static_cast<uint64_t>(_mm512_movepi32_mask(_mm512_load_si512(words + 16 * v))) << (16 * v);
    return mask;
}
inline uint64_t sign_mask(const int64_t* words) {
    uint64_t mask = 0;
    for (int v = 0; v < 8; ++v)
        mask |= static_cast<uint64_t>(_mm512_movepi64_mask(_mm512_load_si512(words + 8 * v))) << (8 * v);
    return mask;
}

template <class T>
void mark(const LogMarks<T>& marks) {
    for (int64_t i = 0; i < marks.taps; ++i) {
        const uint64_t present = present_mask(marks.words + i * kLogLanes);
        const __mmask64 negative = sign_mask(marks.words + i * kLogLanes) & present;
        *reinterpret_cast<__mmask64*>(marks.present + i * 8) = present;
        _mm512_store_si512(marks.negative + i * kLogLanes, _mm512_maskz_set1_epi8(negative, 1));
    }
}

}  // namespace

void log_tile_avx512(const LogTask<int32_t>& task) {
    run_sum<Floor32, Convert32<kDown>, Convert32<kToZero>, Complement32>(task);
}
void log_tile_avx512(const LogTask<int64_t>& task) {
    run_sum<Floor64, Convert64<kDown>, Convert64<kToZero>, Complement64>(task);
}

void log_marks_avx512(const LogMarks<int32_t>& marks) { mark(marks); }
void log_marks_avx512(const LogMarks<int64_t>& marks) { mark(marks); }

void log_count_avx512(const LogCount& task) {
    const uint8_t* rows = task.negative - task.first * kLogLanes;
    const auto row = [&](int64_t i) { return _mm512_load_si512(rows + int64_t{task.taps[i]} * kLogLanes); };
    __m512i counts[4] = {};
    int64_t i = 0;
    for (; i + 4 <= task.count; i += 4)
        unroll<4>([&](auto j) CARRYSAVE_LAMBDA { counts[j] = _mm512_add_epi8(counts[j], row(i + j)); });
    for (; i < task.count; ++i) counts[0] = _mm512_add_epi8(counts[0], row(i));
    alignas(64) uint8_t bytes[kLogLanes];
    _mm512_store_si512(bytes, _mm512_add_epi8(_mm512_add_epi8(counts[0], counts[1]), _mm512_add_epi8(counts[2], counts[3])));
    const __m512i factor = _mm512_set1_epi64(task.factor);
    for (int lane = 0; lane < kLogLanes; lane += 8) {
        const __m512i count = _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes + lane)));
        add_int64(task.sums + lane, _mm512_mul_epi32(count, factor));
    }
}
