#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "addend.h"
#include "digits.h"

// What the instruction sets' kernels for digits.h are given.

// Neighbouring pixels of the input, to be written to neighbours: lane i to plane[to + i], for the lanes in `mask`.
struct LaneRun {
    uint32_t mask;
    int64_t to;
};

// Sixteen pixels of the input, counted along its rows, and where they go in a plane of digits.
struct Segment {
    int64_t first;               // pixel
    int count;                   // up to kLanes
    bool sorted;                 // lanes are in the order of their places already
    std::array<int32_t, kLanes> order;
    int runs, last_run;
};

// A band of output rows: what of the input it needs, laid out so that what one tap needs for neighbouring outputs are
// neighbours, whatever the stride. A plane holds one 32-bit element of four channels per pixel; of its columns those with
// the same remainder by the stride lie together, and rows and columns that no tap needs are left out.
struct Band {
    int64_t first_row, rows;     // of the output
    int64_t row_slots, column_slots;                 // remainders that occur
    int64_t width, pitch, size;  // of one remainder's columns; of an output row's rows; of an image's plane
    std::vector<Segment> segments;
    std::vector<LaneRun> runs;
    std::vector<std::pair<int64_t, int64_t>> halo;   // first element and count
    std::vector<int64_t> window;                     // [kh * kw]: from an output's place to its taps'
};

// Digits of some images: planes [group][quad][plane], `stride` elements apart, each [image][band.size]; then sums [group].
struct DigitLayout {
    int64_t groups, quads, planes, stride;
    int64_t place(int64_t group, int64_t quad, int64_t plane) const { return ((group * quads + quad) * planes + plane) * stride; }
    int64_t sums(int64_t group) const { return (groups * quads * planes + group) * stride; }
    int64_t elements(bool with_sums) const { return groups * (quads * planes + (with_sums ? 1 : 0)) * stride + 2 * kTileLanes; }
};

// Looks up a group's digits of an image, segments [begin, end), and the sums of the addend over the channels.
struct ExpandTask {
    const DigitConv& conv;
    const Band& band;
    const DigitLayout& layout;
    const Addend* addend;        // or null
    int64_t image, slot, group;  // in the batch; in the layout
    int64_t begin, end;
    uint32_t* digits;
    int32_t* sums;               // [end - begin][kLanes]: space
};

// Where the lanes of a vector of outputs go: lane i to out[to + i], `to` being that of channel 0.
struct OutputRun {
    uint32_t mask;
    int64_t to;
};

struct TileEnd {
    const int32_t* box;          // [kTileLanes], or null
    const int32_t* constant;     // of the tile's first output
    const float* scale;          // the same, never null
    const OutputRun* runs[kTileVectors];
    int count[kTileVectors];
    int64_t channel;             // elements from an output's image to the next one's
    float* out;                  // of the tile's first output
};

// sums[o][lane] += sum over taps of digits * weights
struct DigitTile {
    const uint32_t* from[kTileVectors];
    const int64_t* offsets;      // [taps]
    const int8_t* weights;       // [taps][outputs][4]
    int64_t taps;
    int vectors, outputs;
    bool starts;                 // from zero, not from `sums`
    int32_t* sums;               // [outputs][kTileLanes]
    const TileEnd* end;          // finishes and stores in place of writing `sums`; or null
};

struct DigitKernels {
    void (*expand)(const ExpandTask&);
    void (*tile)(const DigitTile&);
};
void expand_portable(const ExpandTask& task);
void tile_portable(const DigitTile& tile);
void tile_avx2(const DigitTile& tile);
void expand_avx512(const ExpandTask& task);
void tile_avx512(const DigitTile& tile);
// Groups of one channel, where the window fits: `narrow` as in digits.cpp.
bool depthwise_serves_avx512(const DigitWeights& weights, const ConvShape& shape);
void depthwise_avx512(const DigitWeights& weights, const DigitConv& conv, const Addend& addend, bool narrow);
// Matrix products.
bool rows_serve_avx512(const DigitWeights& weights, const ConvShape& shape);
void rows_avx512(const DigitWeights& weights, const DigitConv& conv, const Addend& addend, bool narrow);
void finish_tile(const DigitTile& tile, const TileEnd& end);    // from the sums
