// Compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vbmi.
#include <immintrin.h>

#include "table_kernels.h"
#include "unroll.h"

namespace {

// One byte plane of a table row in registers.
template <int kEntries>
struct Row;

template <>
struct Row<256> {
    __m512i a, b, c, d;
    CARRYSAVE_INLINE explicit Row(const uint8_t* t)
        : a(_mm512_load_si512(t)), b(_mm512_load_si512(t + 64)), c(_mm512_load_si512(t + 128)),
          d(_mm512_load_si512(t + 192)) {}
    CARRYSAVE_INLINE __m512i look_up(__m512i code, __mmask64 upper) const {
        return _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(a, code, b), _mm512_permutex2var_epi8(c, code, d));
    }
    static __mmask64 upper_half(__m512i code) { return _mm512_movepi8_mask(code); }
};

template <>
struct Row<128> {
    __m512i a, b;
    CARRYSAVE_INLINE explicit Row(const uint8_t* t) : a(_mm512_load_si512(t)), b(_mm512_load_si512(t + 64)) {}
    CARRYSAVE_INLINE __m512i look_up(__m512i code, __mmask64) const { return _mm512_permutex2var_epi8(a, code, b); }
    static __mmask64 upper_half(__m512i) { return 0; }
};

template <>
struct Row<64> {
    __m512i a;
    CARRYSAVE_INLINE explicit Row(const uint8_t* t) : a(_mm512_load_si512(t)) {}
    CARRYSAVE_INLINE __m512i look_up(__m512i code, __mmask64) const { return _mm512_permutexvar_epi8(code, a); }
    static __mmask64 upper_half(__m512i) { return 0; }
};

// Sums of bytes in 16-bit lanes: all = sum of even + 256 * odd bytes modulo 2^16, odd = sum of odd bytes.
struct Sums {
    __m512i all, odd;
    CARRYSAVE_INLINE void clear() { all = odd = _mm512_setzero_si512(); }
    // The odd bytes come by a shift or by a multiplication: the two use different ports, and a mix is fastest.
    CARRYSAVE_INLINE void add_by_shift(__m512i bytes) {
        all = _mm512_add_epi16(all, bytes);
        odd = _mm512_add_epi16(odd, _mm512_srli_epi16(bytes, 8));
    }
    CARRYSAVE_INLINE void add_by_product(__m512i bytes) {
        all = _mm512_add_epi16(all, bytes);
        odd = _mm512_add_epi16(odd, _mm512_maddubs_epi16(bytes, _mm512_set1_epi16(0x0100)));
    }
    __m512i even_sums() const { return _mm512_sub_epi16(all, _mm512_slli_epi16(odd, 8)); }
    // 32-bit sums of 16 consecutive lanes, part 0..3 of 64
    void part(int i, __m512i& value) const {
        const __m512i even = even_sums();
        alignas(64) static const uint16_t order[4][32] = {
            {0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39}, {8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47},
            {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55}, {24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63}};
        const __m512i mixed = _mm512_permutex2var_epi16(even, _mm512_load_si512(order[i]), odd);
        value = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(mixed));
    }
};

inline void add_to(uint32_t* sums, __m512i value, int shift) {
    const __m512i moved = _mm512_sll_epi32(value, _mm_cvtsi32_si128(shift));
    _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_loadu_si512(sums), moved));
}

inline void add_to(uint64_t* sums, __m512i value, int shift) {
    const __m128i by = _mm_cvtsi32_si128(shift);
    const __m512i low = _mm512_sll_epi64(_mm512_cvtepu32_epi64(_mm512_castsi512_si256(value)), by);
    const __m512i high = _mm512_sll_epi64(_mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(value, 1)), by);
    _mm512_storeu_si512(sums, _mm512_add_epi64(_mm512_loadu_si512(sums), low));
    _mm512_storeu_si512(sums + 8, _mm512_add_epi64(_mm512_loadu_si512(sums + 8), high));
}

template <class T>
CARRYSAVE_INLINE void flush(const Sums& sums, T* out, int shift) {
    for (int i = 0; i < 4; ++i) {
        __m512i value;
        sums.part(i, value);
        add_to(out + 16 * i, value, shift);
    }
}

// Two planes of 64 codes, in the order that needs the fewest registers: two rows and four vectors' sums leave four of
// the 32, and a compiler that schedules this itself spills sums in the innermost loop.
CARRYSAVE_INLINE void add_both(const Row<256>& low, const Row<256>& high, const uint8_t* codes, Sums& even, Sums& odd) {
    __m512i code, found, upper;
    __mmask64 mask;
    asm("vmovdqu64 %[codes], %[code]\n\t"
        "vpmovb2m %[code], %[mask]\n\t"
        "vmovdqa64 %[code], %[found]\n\t"
        "vmovdqa64 %[code], %[upper]\n\t"
        "vpermi2b %[b0], %[a0], %[found]\n\t"
        "vpermi2b %[d0], %[c0], %[upper]\n\t"
        "vpblendmb %[upper], %[found], %[found]%{%[mask]%}\n\t"
        "vpaddw %[found], %[all0], %[all0]\n\t"
        "vpmaddubsw %[second], %[found], %[found]\n\t"
        "vpaddw %[found], %[odd0], %[odd0]\n\t"
        "vmovdqa64 %[code], %[found]\n\t"
        "vpermi2b %[d1], %[c1], %[code]\n\t"
        "vpermi2b %[b1], %[a1], %[found]\n\t"
        "vpblendmb %[code], %[found], %[found]%{%[mask]%}\n\t"
        "vpaddw %[found], %[all1], %[all1]\n\t"
        "vpsrlw $8, %[found], %[found]\n\t"
        "vpaddw %[found], %[odd1], %[odd1]"
        : [code] "=&v"(code), [found] "=&v"(found), [upper] "=&v"(upper), [mask] "=&Yk"(mask), [all0] "+v"(even.all),
          [odd0] "+v"(even.odd), [all1] "+v"(odd.all), [odd1] "+v"(odd.odd)
        : [codes] "m"(*reinterpret_cast<const __m512i_u*>(codes)), [a0] "v"(low.a), [b0] "v"(low.b), [c0] "v"(low.c),
          [d0] "v"(low.d), [a1] "v"(high.a), [b1] "v"(high.b), [c1] "v"(high.c), [d1] "v"(high.d),
          [second] "v"(_mm512_set1_epi16(0x0100)));
}

// Up to kStepsPerFlush steps on planes [first, first + kPlanes) and kVectors * 64 lanes. kTogether, as TileTask has it:
// where a step's codes are is then known without a load that it would wait for, one part in twenty of its time.
template <int kEntries, int kPlanes, int kVectors, bool kTogether, class T>
void run(const TileTask& task, const Step* steps, int count, int first, T* out) {
    Sums sums[kPlanes * kVectors];
    unroll<kPlanes * kVectors>([&](auto i) CARRYSAVE_LAMBDA { sums[i].clear(); });
    const uint8_t* rows = task.rows + first * kEntries;
    for (int i = 0; i < count; ++i) {
        const int64_t offset = kTogether ? int64_t{steps[i].tap} * kLanes : task.codes.offsets[steps[i].tap];
        const Row<kEntries> low(rows + steps[i].row), high(rows + steps[i].row + (kPlanes - 1) * kEntries);
        unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
            const uint8_t* codes = kTogether ? task.codes.from[0] + offset + 64 * v : task.codes.from[v] + offset;
            if constexpr (kEntries == 256 && kPlanes == 2) {
                add_both(low, high, codes, sums[v], sums[kVectors + v]);
                return;
            }
            const __m512i code = _mm512_loadu_si512(codes);
            const __mmask64 upper = Row<kEntries>::upper_half(code);
            sums[v].add_by_product(low.look_up(code, upper));
            if constexpr (kPlanes == 2) sums[kVectors + v].add_by_shift(high.look_up(code, upper));
        });
    }
    unroll<kPlanes * kVectors>([&](auto i) CARRYSAVE_LAMBDA {
        flush(sums[i], out + 64 * (i % kVectors), 8 * (first + i / kVectors));
    });
}

template <int kEntries, int kVectors, bool kTogether, class T>
void run_planes(const TileTask& task, const Step* steps, int count, T* out) {
    int plane = 0;
    for (; plane + 2 <= task.planes; plane += 2) run<kEntries, 2, kVectors, kTogether>(task, steps, count, plane, out);
    if (plane < task.planes) run<kEntries, 1, kVectors, kTogether>(task, steps, count, plane, out);
}

template <int kEntries, class T>
void run_lanes(const TileTask& task, T* sums) {
    for (int64_t i = 0; i < task.taps; i += kStepsPerFlush) {
        const int count = static_cast<int>(task.taps - i < kStepsPerFlush ? task.taps - i : kStepsPerFlush);
        const Step* steps = task.steps + i;
        if (task.lanes > 192)
            if (task.together)
                run_planes<kEntries, 4, true>(task, steps, count, sums);
            else
                run_planes<kEntries, 4, false>(task, steps, count, sums);
        else if (task.lanes > 128)
            run_planes<kEntries, 3, false>(task, steps, count, sums);
        else if (task.lanes > 64)
            run_planes<kEntries, 2, false>(task, steps, count, sums);
        else
            run_planes<kEntries, 1, false>(task, steps, count, sums);
    }
}

template <class T>
void run_entries(const TileTask& task, T* sums) {
    switch (task.entries) {
        case 16:
        case 64: return run_lanes<64>(task, sums);
        case 128: return run_lanes<128>(task, sums);
        default: return run_lanes<256>(task, sums);
    }
}

inline __m512i load_sums(const uint32_t* sums, __mmask8 mask) {
    return _mm512_cvtepu32_epi64(_mm256_maskz_loadu_epi32(mask, sums));
}
inline __m512i load_sums(const uint64_t* sums, __mmask8 mask) { return _mm512_maskz_loadu_epi64(mask, sums); }
inline __m512i load_sums(const int32_t* sums, __mmask8 mask) {
    return _mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32(mask, sums));
}
inline __m512i load_sums(const int64_t* sums, __mmask8 mask) { return _mm512_maskz_loadu_epi64(mask, sums); }

template <class Sum>
void finish_short(const LaneTotals<Sum>& totals, float* out) {
    const __m512i constant = _mm512_set1_epi32(static_cast<int32_t>(totals.constant));
    const __m512 scale = _mm512_set1_ps(totals.scale);
    for (int64_t i = 0; i < totals.count; i += 16) {
        const int64_t left = totals.count - i;
        const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffff : (1u << left) - 1);
        const __m512i total = _mm512_add_epi32(_mm512_maskz_loadu_epi32(mask, totals.sums + i), constant);
        const __m512 result = _mm512_mul_ps(_mm512_cvtepi32_ps(total), scale);
        if (left >= 16)
            _mm512_storeu_ps(out + i, result);
        else
            _mm512_mask_storeu_ps(out + i, mask, result);
    }
}

template <class Sum>
void finish(const LaneTotals<Sum>& totals, float* out) {
    if (sizeof(Sum) == 4 && totals.short_totals) return finish_short(totals, out);
    for (int64_t i = 0; i < totals.count; i += 8) {
        const int64_t left = totals.count - i;
        const __mmask8 mask = static_cast<__mmask8>(left >= 8 ? 0xff : (1u << left) - 1);
        __m512i total = _mm512_add_epi64(load_sums(totals.sums + i, mask), _mm512_set1_epi64(totals.constant));
        if (totals.box)
            total = _mm512_add_epi64(total, _mm512_mullo_epi64(_mm512_set1_epi64(totals.factor),
                                                               _mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32(mask, totals.box + i))));
        const __m256 result = _mm256_mul_ps(_mm512_cvtepi64_ps(total), _mm256_set1_ps(totals.scale));
        if (left >= 8)
            _mm256_storeu_ps(out + i, result);
        else
            _mm256_mask_storeu_ps(out + i, mask, result);
    }
}

}  // namespace

void totals_avx512(const LaneTotals<int32_t>& totals, float* out) { finish(totals, out); }
void totals_avx512(const LaneTotals<int64_t>& totals, float* out) { finish(totals, out); }
void totals_avx512(const LaneTotals<uint32_t>& totals, float* out) { finish(totals, out); }
void totals_avx512(const LaneTotals<uint64_t>& totals, float* out) { finish(totals, out); }

void tile_avx512(const TileTask& task, uint32_t* sums) { run_entries(task, sums); }
void tile_avx512(const TileTask& task, uint64_t* sums) { run_entries(task, sums); }
