#pragma once

#include <cstdint>
#include <vector>

#include "conv.h"
#include "quantization.h"

// The table engine: any multiplier of codes of up to 8 bits as a look-up per product in registers, and of up to 12 bits
// as one in memory.
//
//   acc[n,o,y,x] = constant[o] + box + sum over (c, ky, kx) of T[code[n, c, y*sy + ky*dy - top, x*sx + kx*dx - left], w]
//
// (codes here count from 0) with the code `pad` outside the image. Results are exact; `out` is rounded once to float32 (or int64 as it is).

struct Step;

// Weight codes with a table, prepared once per layer. Throws std::invalid_argument for entries that span 2^32 or more.
class TableWeights {
  public:
    // table: [activation_codes][weight_codes]; weights: [channels][taps], codes below weight_codes.
    // Sorting takes longer than it saves where the weights serve one call only.
    enum class Order { sorted, as_given };
    TableWeights(const int64_t* table, int64_t activation_codes, int64_t weight_codes, const uint16_t* weights,
                 int64_t channels, int64_t taps, Order order = Order::sorted);
    ~TableWeights();
    TableWeights(const TableWeights&) = delete;
    TableWeights& operator=(const TableWeights&) = delete;

    int64_t activation_codes, channels, taps;
    int entries, planes;              // of a row of bytes; planes 0 where every product is a constant of the weight
    int64_t reach;                    // what no channel's sum of bytes exceeds
    bool narrow;                      // it is below 2^32
    std::vector<int64_t> offset;      // [channels]: what was taken out of the rows
    AlignedBytes rows;                // bytes of the rows, or uint32 entries where entries > 256
    std::vector<Step> steps;          // [channels][taps], in any order within each segment of kSegment taps

    static constexpr int64_t kSegment = 768;
};

struct TableConv {
    ConvShape shape;
    const uint8_t* codes;             // [n, c, h, w]; or
    const uint16_t* wide_codes;       // the same where the table has more than 256 activation codes; or
    const float* values;              // the same, to be quantised
    Quantization quantization;
    uint16_t pad;
    const TableWeights* weights;      // channels of all groups; taps = (c / groups) * kh * kw
    const int64_t* constant;          // [o], or null
    const int32_t* box;               // [n, groups, out_height * out_width], or null
    const float* scale;               // [o], what `out` is multiplied with after its rounding, or null
    float* out;                       // [n, o, out_height, out_width], or null
    int64_t* integers;                // likewise; one of the two is given
    int threads;
};

void table_conv_reference(const TableConv& problem, const int64_t* table, int64_t weight_codes, const uint16_t* weights);
void table_conv(const TableConv& problem);
