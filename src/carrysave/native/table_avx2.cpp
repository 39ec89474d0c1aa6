// Compiled with -mavx2.
#include <immintrin.h>

#include "table_kernels.h"
#include "unroll.h"

namespace {

struct Sums {
    __m256i all, odd;     // as in table_avx512.cpp
    CARRYSAVE_INLINE void clear() { all = odd = _mm256_setzero_si256(); }
    CARRYSAVE_INLINE void add(__m256i bytes) {
        all = _mm256_add_epi16(all, bytes);
        odd = _mm256_add_epi16(odd, _mm256_srli_epi16(bytes, 8));
    }
};

CARRYSAVE_INLINE __m256i table_at(const uint8_t* row, int i) {
    return _mm256_broadcastsi128_si256(_mm_load_si128(reinterpret_cast<const __m128i*>(row + 16 * i)));
}

// A row is up to sixteen tables of 16 bytes. A byte shuffle looks up the lower half of its index, or gives zero where bit
// 7 of the index is set. So for each value of the code's two top bits there is an index that has bit 7 where the code's
// differ: four tables are looked up and combined by `or`. Bits 4 and 5 then choose among four such results.
template <int kTables>
struct Index {
    static constexpr int kQuarters = kTables > 4 ? kTables / 4 : 1, kColumns = kTables < 4 ? kTables : 4;
    __m256i quarter[kQuarters], bit4, bit5;

    CARRYSAVE_INLINE explicit Index(__m256i code) : bit4(_mm256_slli_epi16(code, 3)), bit5(_mm256_slli_epi16(code, 2)) {
        unroll<kQuarters>([&](auto q) CARRYSAVE_LAMBDA {
            // Below 64 where the top bits are q; adding 64 leaves those below 128, and the rest at 128 or more.
            quarter[q] = _mm256_adds_epu8(_mm256_xor_si256(code, _mm256_set1_epi8(static_cast<char>(64 * q))), _mm256_set1_epi8(64));
        });
    }
    CARRYSAVE_INLINE __m256i column(const uint8_t* row, int c) const {
        __m256i found = _mm256_shuffle_epi8(table_at(row, c), quarter[0]);
        unroll<kQuarters - 1>([&](auto q) CARRYSAVE_LAMBDA {
            found = _mm256_or_si256(found, _mm256_shuffle_epi8(table_at(row, 4 * (q + 1) + c), quarter[q + 1]));
        });
        return found;
    }
    CARRYSAVE_INLINE __m256i look_up(const uint8_t* row) const {
        if constexpr (kColumns == 1) {
            return column(row, 0);
        } else {
            const __m256i low = _mm256_blendv_epi8(column(row, 0), column(row, 1), bit4);
            const __m256i high = _mm256_blendv_epi8(column(row, 2), column(row, 3), bit4);
            return _mm256_blendv_epi8(low, high, bit5);
        }
    }
};

CARRYSAVE_INLINE void add_to(uint32_t* sums, __m256i value, int shift) {
    auto* at = reinterpret_cast<__m256i*>(sums);
    const __m256i moved = _mm256_sll_epi32(value, _mm_cvtsi32_si128(shift));
    _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), moved));
}
CARRYSAVE_INLINE void add_to(uint64_t* sums, __m256i value, int shift) {
    auto* at = reinterpret_cast<__m256i*>(sums);
    const __m128i by = _mm_cvtsi32_si128(shift);
    const __m256i low = _mm256_sll_epi64(_mm256_cvtepu32_epi64(_mm256_castsi256_si128(value)), by);
    const __m256i high = _mm256_sll_epi64(_mm256_cvtepu32_epi64(_mm256_extracti128_si256(value, 1)), by);
    _mm256_storeu_si256(at, _mm256_add_epi64(_mm256_loadu_si256(at), low));
    _mm256_storeu_si256(at + 1, _mm256_add_epi64(_mm256_loadu_si256(at + 1), high));
}

template <class T>
void flush(const Sums& sums, T* out, int shift) {
    const __m256i even = _mm256_sub_epi16(sums.all, _mm256_slli_epi16(sums.odd, 8));
    const __m256i low = _mm256_unpacklo_epi16(even, sums.odd), high = _mm256_unpackhi_epi16(even, sums.odd);
    const __m256i first = _mm256_permute2x128_si256(low, high, 0x20), second = _mm256_permute2x128_si256(low, high, 0x31);
    const __m256i halves[2] = {first, second};
    for (int i = 0; i < 2; ++i) {
        add_to(out + 16 * i, _mm256_cvtepu16_epi32(_mm256_castsi256_si128(halves[i])), shift);
        add_to(out + 16 * i + 8, _mm256_cvtepu16_epi32(_mm256_extracti128_si256(halves[i], 1)), shift);
    }
}

// Up to kStepsPerFlush steps on planes [first, first + kPlanes) of 32 * kVectors lanes.
template <int kTables, int kPlanes, int kVectors, class T>
void run(const TileTask& task, const Step* steps, int count, int first, int lane, T* out) {
    constexpr int kPlane = kTables < 4 ? 64 : 16 * kTables;
    Sums sums[kPlanes * kVectors];
    unroll<kPlanes * kVectors>([&](auto i) CARRYSAVE_LAMBDA { sums[i].clear(); });
    const uint8_t* rows = task.rows + first * kPlane;
    for (int i = 0; i < count; ++i)
        unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
            const uint8_t* codes = task.codes.from[lane / 64 + v / 2] + task.codes.offsets[steps[i].tap] + 32 * (v % 2);
            const Index<kTables> index(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes)));
            const uint8_t* row = rows + steps[i].row;
            asm("" : "+r"(row));   // or the compiler would keep the row's tables for the next vector, by spilling them
            unroll<kPlanes>([&](auto j) CARRYSAVE_LAMBDA { sums[j * kVectors + v].add(index.look_up(row + j * kPlane)); });
        });
    unroll<kPlanes * kVectors>([&](auto i) CARRYSAVE_LAMBDA {
        flush(sums[i], out + i % kVectors * 32, 8 * (first + i / kVectors));
    });
}

template <int kTables, class T>
void run_tile(const TileTask& task, T* sums) {
    constexpr int kVectors = 4, kWidth = 32 * kVectors;
    for (int64_t i = 0; i < task.taps; i += kStepsPerFlush) {
        const int count = static_cast<int>(task.taps - i < kStepsPerFlush ? task.taps - i : kStepsPerFlush);
        const Step* steps = task.steps + i;
        for (int lane = 0; lane < task.lanes; lane += kWidth) {
            int plane = 0;
            for (; plane + 2 <= task.planes; plane += 2)
                run<kTables, 2, kVectors>(task, steps, count, plane, lane, sums + lane);
            if (plane < task.planes) run<kTables, 1, kVectors>(task, steps, count, plane, lane, sums + lane);
        }
    }
}

template <class T>
void run_entries(const TileTask& task, T* sums) {
    switch (task.entries) {
        case 16: return run_tile<1>(task, sums);
        case 64: return run_tile<4>(task, sums);
        case 128: return run_tile<8>(task, sums);
        default: return run_tile<16>(task, sums);
    }
}

}  // namespace

void tile_avx2(const TileTask& task, uint32_t* sums) { run_entries(task, sums); }
void tile_avx2(const TileTask& task, uint64_t* sums) { run_entries(task, sums); }
