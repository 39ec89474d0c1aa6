#pragma once

#include <cstdint>

#include "logarithmic.h"

// Up to kOutputs channels on a tile of kLanes outputs.
constexpr int kLogLanes = 64, kLogOutputs = 6;

template <class T>
struct LogTask {
    const T* words;             // [taps][kLogLanes]
    const uint8_t* present;     // [taps][kLogLanes / 8]: bits of the operands that are not zero; null: they need no care
    const T* weights;           // [taps][outputs]
    int64_t taps;               // few enough for the accumulators
    int outputs;
    LogSum sum;
    int64_t* sums;              // [outputs][kLogLanes]
};

void log_tile_portable(const LogTask<int32_t>& task);
void log_tile_portable(const LogTask<int64_t>& task);
void log_tile_avx2(const LogTask<int32_t>& task);
void log_tile_avx2(const LogTask<int64_t>& task);
void log_tile_avx512(const LogTask<int32_t>& task);
void log_tile_avx512(const LogTask<int64_t>& task);

// Of a tile's operands: present as in LogTask; negative [taps][kLogLanes], 1 where the operand is.
template <class T>
struct LogMarks {
    const T* words;
    int64_t taps;
    uint8_t* present;
    uint8_t* negative;
};
void log_marks_portable(const LogMarks<int32_t>& marks);
void log_marks_portable(const LogMarks<int64_t>& marks);
void log_marks_avx512(const LogMarks<int32_t>& marks);
void log_marks_avx512(const LogMarks<int64_t>& marks);

// sums[lane] += factor * the sum of negative[tap - first][lane] over `count` (up to 255) taps.
struct LogCount {
    const uint8_t* negative;
    const int32_t* taps;
    int64_t count, first;
    int factor;
    int64_t* sums;
};
void log_count_portable(const LogCount& task);
void log_count_avx512(const LogCount& task);
