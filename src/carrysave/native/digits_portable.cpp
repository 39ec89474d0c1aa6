#include <algorithm>

#include "digits_kernels.h"

void tile_portable(const DigitTile& t) {
    for (int o = 0; o < t.outputs; ++o)
        for (int vector = 0; vector < t.vectors; ++vector) {
            int32_t* to = t.sums + o * kTileLanes + vector * kLanes;
            int32_t sums[kLanes];
            for (int i = 0; i < kLanes; ++i) sums[i] = t.starts ? 0 : to[i];
            for (int64_t tap = 0; tap < t.taps; ++tap) {
                const int8_t* w = t.weights + (tap * t.outputs + o) * 4;
                const uint32_t* digits = t.from[vector] + t.offsets[tap];
                for (int i = 0; i < kLanes; ++i) {
                    const uint32_t four = digits[i];
                    sums[i] += static_cast<int32_t>(four & 255) * w[0] + static_cast<int32_t>(four >> 8 & 255) * w[1] +
                               static_cast<int32_t>(four >> 16 & 255) * w[2] + static_cast<int32_t>(four >> 24) * w[3];
                }
            }
            std::copy_n(sums, kLanes, to);
        }
    if (t.end) finish_tile(t, *t.end);
}

void expand_portable(const ExpandTask& t) {
    const DigitConv& conv = t.conv;
    const int64_t depth = conv.shape.depth(), plane = conv.shape.h * conv.shape.w;
    std::fill_n(t.sums, t.addend ? (t.end - t.begin) * kLanes : 0, 0);
    const auto store = [&](uint32_t* to, const Segment& segment, const uint32_t* lanes) {
        for (int i = segment.runs; i < segment.last_run; ++i)
            for (int lane = 0; lane < kLanes; ++lane)
                if (t.band.runs[i].mask >> lane & 1) to[t.band.runs[i].to + lane] = lanes[segment.sorted ? lane : segment.order[lane]];
    };
    const auto code_at = [&](int64_t at) {
        return conv.values ? static_cast<uint8_t>(conv.quantization.index(conv.values[at])) : conv.codes[at];
    };
    for (int64_t quad = 0; quad < t.layout.quads; ++quad)
        for (int64_t s = t.begin; s < t.end; ++s) {
            const Segment& segment = t.band.segments[s];
            if (segment.runs == segment.last_run) continue;
            uint8_t codes[kLanes][4] = {};
            for (int64_t c = quad * 4; c < std::min(depth, quad * 4 + 4); ++c) {
                const int64_t first = (t.image * conv.shape.c + t.group * depth + c) * plane + segment.first;
                for (int i = 0; i < segment.count; ++i) {
                    codes[i][c % 4] = code_at(first + i);
                    if (t.addend) t.sums[(s - t.begin) * kLanes + i] += conv.addend[codes[i][c % 4]];
                }
            }
            for (int64_t k = 0; k < t.layout.planes; ++k) {
                const uint8_t* table = conv.tables + 256 * k;
                uint32_t lanes[kLanes];
                for (int i = 0; i < kLanes; ++i)
                    lanes[i] = table[codes[i][0]] | table[codes[i][1]] << 8 | table[codes[i][2]] << 16 |
                               static_cast<uint32_t>(table[codes[i][3]]) << 24;
                store(t.digits + t.layout.place(t.group, quad, k) + t.slot * t.band.size, segment, lanes);
            }
        }
    for (int64_t s = t.begin; t.addend && s < t.end; ++s)
        store(t.digits + t.layout.sums(t.group) + t.slot * t.band.size, t.band.segments[s],
              reinterpret_cast<const uint32_t*>(t.sums + (s - t.begin) * kLanes));
}
