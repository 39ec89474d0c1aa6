#pragma once

#include <cstdint>

#include "conv.h"
#include "logarithmic.h"

// Up to kLogOutputs channels on a tile of kLogLanes outputs.
constexpr int kLogLanes = 64, kLogOutputs = 6;

template <class T, class Sum>
struct LogTask {
    Operands<typename LogUnit<T>::Type> words;
    const typename LogUnit<T>::Type* weights;    // [taps][outputs]
    int64_t taps;                                // few enough for the accumulators
    int outputs, lanes;                          // lanes: those wanted, the rest may be computed or not
    LogSum sum;
    bool masked;                                 // operands of zero add nothing; with avx512 only
    Sum* sums;                                   // [outputs][kLogLanes], modulo 2^32 or 2^64
};

// Of a tile's operands: negative [taps][kLogLanes], 1 where the operand is; other, likewise, as `mark` says.
template <class T>
struct LogMarks {
    Operands<T> words;
    int64_t taps;
    typename LogWeights<T>::Mark mark;
    int8_t* negative;
    int8_t* other;
};

// sums[lane] += factor * the sum of marks[tap - first][lane] over `count` (up to 126) taps.
template <class Sum>
struct LogCount {
    const int8_t* marks;
    const int32_t* taps;
    int64_t count, first;
    int factor;
    Sum* sums;
};

#define CARRYSAVE_LOG_KERNELS(set)                          \
    void log_tile_##set(const LogTask<int32_t, int32_t>&);  \
    void log_tile_##set(const LogTask<int32_t, int64_t>&);  \
    void log_tile_##set(const LogTask<int64_t, int64_t>&);
CARRYSAVE_LOG_KERNELS(portable)
CARRYSAVE_LOG_KERNELS(avx2)
CARRYSAVE_LOG_KERNELS(avx512)
#undef CARRYSAVE_LOG_KERNELS
void log_tile_portable(const LogTask<int16_t, int32_t>&);
void log_tile_portable(const LogTask<int16_t, int64_t>&);
void log_tile_bf16(const LogTask<int16_t, int32_t>&);
void log_tile_bf16(const LogTask<int16_t, int64_t>&);

void log_marks_portable(const LogMarks<int32_t>& marks);
void log_marks_portable(const LogMarks<int64_t>& marks);
void log_marks_avx512(const LogMarks<int32_t>& marks);
void log_marks_avx512(const LogMarks<int64_t>& marks);

void log_count_portable(const LogCount<int32_t>& task);
void log_count_portable(const LogCount<int64_t>& task);
void log_count_avx512(const LogCount<int32_t>& task);
void log_count_avx512(const LogCount<int64_t>& task);

// words[i] = table[codes[i]]; codes are uint8_t, uint16_t or int32_t. In a file of its own: in the midst of other loops
// compilers keep its addresses in memory.
template <class T, class Code>
void log_look_up(const T* table, const Code* codes, int64_t count, T* words);
