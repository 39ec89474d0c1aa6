#pragma once

#include <cstdint>

#include "conv.h"

// One output channel on a tile of activations. `taps` steps; step i adds table row rows + step[i].row, looked up by the
// tile's lanes, whose codes for a tap begin, for each 64 lanes, at from[lane / 64] + offsets[tap].
//
// A row is `planes` tables of `entries` bytes (16, 64, 128 or 256; codes are below that), one after the other; plane j
// has weight 2^(8 * j). Rows start at multiples of 64 bytes.
struct Step {
    uint32_t tap, row;      // of the segment; in bytes
};

constexpr int kLanes = 256;          // of a tile
constexpr int kStepsPerFlush = 256;  // 16-bit partial sums of bytes hold this many

// sums[lane] += ..., lanes [0, kLanes), modulo 2^32 respectively 2^64.
template <class Code>
struct TableTask {
    Operands<Code> codes;
    const uint8_t* rows;
    const Step* steps;
    int64_t taps;
    int entries, planes;
    int lanes;               // how many of the tile are wanted; the rest may be computed or not
    bool together;           // the codes of tap i begin at from[0] + i * kLanes
};
using TileTask = TableTask<uint8_t>;
void tile_portable(const TileTask& task, uint32_t* sums);
void tile_portable(const TileTask& task, uint64_t* sums);
void tile_avx2(const TileTask& task, uint32_t* sums);
void tile_avx2(const TileTask& task, uint64_t* sums);
void tile_avx512(const TileTask& task, uint32_t* sums);
void tile_avx512(const TileTask& task, uint64_t* sums);
void tile_neon(const TileTask& task, uint32_t* sums);
void tile_neon(const TileTask& task, uint64_t* sums);
void tile_wide(const TableTask<uint16_t>& task, uint32_t* sums);   // rows are uint32 entries
void tile_wide(const TableTask<uint16_t>& task, uint64_t* sums);

// out[i] = float(sums[i] + constant + factor * box[i]), rounded once, times scale
template <class Sum>
struct LaneTotals {
    const Sum* sums;
    int64_t count;
    int64_t constant;
    const int32_t* box;    // or null
    int64_t factor;        // of the box
    float scale = 1.0f;
    bool short_totals = false;   // there is no box, and sums and totals of 32 bits are right as int32
};
void totals_avx512(const LaneTotals<int32_t>& totals, float* out);
void totals_avx512(const LaneTotals<int64_t>& totals, float* out);
void totals_avx512(const LaneTotals<uint32_t>& totals, float* out);
void totals_avx512(const LaneTotals<uint64_t>& totals, float* out);
