#pragma once

#include <cstdint>

// One output channel on a tile of activations. `taps` steps; step i adds table row rows + step[i].row, looked up by the
// tile's lanes at codes + step[i].codes, to the lanes' sums.
//
// A row is `planes` tables of `entries` bytes (16, 64, 128 or 256; codes are below that), one after the other; plane j
// has weight 2^(8 * j). Rows, the tile and its parts of 64 lanes start at multiples of 64 bytes.
struct Step {
    uint32_t codes, row;    // byte offsets
};

constexpr int kLanes = 256;          // of a tile
constexpr int kStepsPerFlush = 256;  // 16-bit partial sums of bytes hold this many

// sums[lane] += ..., lanes [0, kLanes), modulo 2^32 respectively 2^64.
struct TileTask {
    const uint8_t* codes;
    const uint8_t* rows;
    const Step* steps;
    int64_t taps;
    int entries, planes;
    int lanes;               // how many of the tile are wanted; the rest may be computed or not
};
void tile_portable(const TileTask& task, uint32_t* sums);
void tile_portable(const TileTask& task, uint64_t* sums);
void tile_avx2(const TileTask& task, uint32_t* sums);
void tile_avx2(const TileTask& task, uint64_t* sums);
void tile_avx512(const TileTask& task, uint32_t* sums);
void tile_avx512(const TileTask& task, uint64_t* sums);
void tile_neon(const TileTask& task, uint32_t* sums);
void tile_neon(const TileTask& task, uint64_t* sums);
void tile_wide(const TileTask& task, uint32_t* sums);   // codes are uint16, rows are uint32 entries
void tile_wide(const TileTask& task, uint64_t* sums);

// out[i] = float(sums[i] + constant + box[i]), rounded once, times scale
template <class Sum>
struct LaneTotals {
    const Sum* sums;
    int64_t count;
    int64_t constant;
    const int32_t* box;    // or null
    float scale = 1.0f;
};
void totals_avx512(const LaneTotals<uint32_t>& totals, float* out);
void totals_avx512(const LaneTotals<uint64_t>& totals, float* out);
