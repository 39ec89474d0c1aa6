#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "conv.h"
#include "quantization.h"

// Exact convolutions of 8-bit digits, from activation to result:
//
//   acc[n,o,p] = sum over passes and taps of 2^shift[pass] * u[plane[pass]][x] * v[pass][o,tap]
//                + sum over taps of addend[x] + constant[o]
//   out        = float(acc), rounded once, times scale[o]
//
// with x the code at the tap, less the lowest, and in the halo `halo_code`; u of 0 to 255 (uint8), v of -128 to 127 (int8).
// A pass is one exact int8 convolution; a factorisation of rank r takes r of them, a product of wider operands one for
// each pair of their digits.
struct DigitPass {
    int plane, shift;
};

// The outputs of a register tile, and the lanes of one vector.
constexpr int kTileOutputs = 6, kTileVectors = 4, kLanes = 16, kTileLanes = kTileVectors * kLanes;

// A range of taps whose sum fits 32 bits, whatever the activation.
struct TapBlock {
    int64_t first, count;
    int shift;
};

class DigitWeights {
  public:
    // v: [passes][outputs][depth][kh][kw]; largest: [planes], the largest u of each plane.
    DigitWeights(const int8_t* v, std::vector<DigitPass> passes, int64_t outputs, int64_t groups, int64_t depth, int64_t kh,
                 int64_t kw, std::vector<uint8_t> largest);

    const int64_t outputs, groups, depth, kh, kw;
    const int64_t planes, quads;                 // of activations; of four channels in a group
    const int64_t per_group, tiles;              // outputs; tiles of them
    std::vector<TapBlock> blocks;

    // A tap of four channels: offsets in an activation follow from these.
    struct Tap {
        int64_t quad;
        int plane, pass, ky, kx;
    };
    std::vector<Tap> taps;
    // Of the byte [pass][o][c][ky][kx], for the kernels that pack them otherwise.
    int8_t at(int64_t pass, int64_t o, int64_t c, int64_t ky, int64_t kx) const {
        return plain[(((pass * outputs + o) * depth + c) * kh + ky) * kw + kx];
    }

    int64_t first_output(int64_t tile) const { return per_group / tiles * tile + std::min(tile, per_group % tiles); }
    // [taps][outputs of the tile][4], after pack_tiles(); by any thread, once.
    void pack_tiles() const;
    const int8_t* of_tile(int64_t group, int64_t tile) const {
        return tiled.data() + (group * per_group + first_output(tile)) * static_cast<int64_t>(taps.size()) * 4;
    }
    // For matrix products: panels of up to kTileLanes outputs, [taps][lanes in whole vectors][4], after pack_panels().
    void pack_panels() const;
    int64_t row_panels() const { return (outputs + kTileLanes - 1) / kTileLanes; }
    const int8_t* of_panel(int64_t panel, int64_t tap) const {
        return panels.data() + panel * static_cast<int64_t>(taps.size()) * kTileLanes * 4 + tap * panel_lanes(panel) * 4;
    }
    const std::vector<DigitPass> passes;

  private:
    std::vector<int8_t> plain;
    mutable std::vector<int8_t> tiled, panels;   // few layers need both
    mutable std::once_flag tiled_once, panels_once;

    bool matters(const Tap& tap) const;          // to any output
    int64_t panel_lanes(int64_t panel) const {
        return (std::min<int64_t>(kTileLanes, outputs - panel * kTileLanes) + kLanes - 1) / kLanes * kLanes;
    }
    void split(const std::vector<uint8_t>& largest);
};

struct DigitConv {
    ConvShape shape;
    const float* values;         // [n, c, h, w], or null
    Quantization quantization;
    const uint8_t* codes;        // [n, c, h, w], read if `values` is null
    uint8_t halo_code;
    const uint8_t* tables;       // [planes][256]
    const int32_t* addend;       // [256], or null
    const int64_t* constant;     // [outputs]
    const float* scale;          // [outputs], or null
    int64_t bound;               // no partial sum exceeds this magnitude; below 2^31 the end is done in 32 bits
    float* out;                  // [n, outputs, h', w']; or
    int64_t* integers;           // the sums themselves
    int threads;
};

void digit_conv_reference(const DigitWeights& weights, const DigitConv& conv);   // obvious loops
void digit_conv(const DigitWeights& weights, const DigitConv& conv);             // by chosen_isa()
