// Compiled with AVX-512 F, BW, DQ, VL, VBMI and VNNI.
#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "digits_kernels.h"
#include "unroll.h"
#include "vectors_avx512.h"

namespace {

template <int kVectors, int kOutputs>
struct Sums {
    __m512i at[kOutputs][kVectors];
};

template <int kVectors, int kOutputs>
CARRYSAVE_INLINE void finish(const DigitTile& t, const Sums<kVectors, kOutputs>& sums) {
    const TileEnd& end = *t.end;
    unroll<kVectors>([&](auto p) CARRYSAVE_LAMBDA {
        const __m512i box = end.box ? _mm512_loadu_si512(end.box + kLanes * p) : _mm512_setzero_si512();
        const OutputRun* runs = end.runs[p];
        const int count = end.count[p];
        unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
            const __m512i constant = _mm512_add_epi32(box, _mm512_set1_epi32(end.constant[o]));
            const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sums.at[o][p], constant)),
                                               _mm512_set1_ps(end.scale[o]));
            float* out = end.out + o * end.channel;
            if (count == 1 && runs->mask == 0xffff)
                _mm512_storeu_ps(out + runs->to, value);
            else
                for (int i = 0; i < count; ++i)
                    _mm512_mask_storeu_ps(out + runs[i].to, static_cast<__mmask16>(runs[i].mask), value);
        });
    });
}

template <int kVectors, int kOutputs>
void tile(const DigitTile& t) {
    Sums<kVectors, kOutputs> sums;
    unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
        unroll<kVectors>([&](auto p) CARRYSAVE_LAMBDA {
            sums.at[o][p] = t.starts ? _mm512_setzero_si512() : _mm512_loadu_si512(t.sums + o * kTileLanes + kLanes * p);
        });
    });
    const uint32_t* from[kVectors];
    unroll<kVectors>([&](auto p) CARRYSAVE_LAMBDA { from[p] = t.from[p]; });
    const int8_t* weights = t.weights;
    for (int64_t i = 0; i < t.taps; ++i, weights += 4 * kOutputs) {
        const int64_t offset = t.offsets[i];
        __m512i digits[kVectors];
        unroll<kVectors>([&](auto p) CARRYSAVE_LAMBDA { digits[p] = _mm512_loadu_si512(from[p] + offset); });
        unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
            int32_t four;
            std::memcpy(&four, weights + 4 * o, 4);
            const __m512i weight = _mm512_set1_epi32(four);
            unroll<kVectors>([&](auto p) CARRYSAVE_LAMBDA { sums.at[o][p] = _mm512_dpbusd_epi32(sums.at[o][p], digits[p], weight); });
        });
    }
    if (t.end) return finish(t, sums);
    unroll<kOutputs>([&](auto o) CARRYSAVE_LAMBDA {
        unroll<kVectors>([&](auto p) CARRYSAVE_LAMBDA { _mm512_storeu_si512(t.sums + o * kTileLanes + kLanes * p, sums.at[o][p]); });
    });
}

using TileFunction = void (*)(const DigitTile&);
constexpr TileFunction kTiles[kTileVectors][kTileOutputs] = {
    {tile<1, 1>, tile<1, 2>, tile<1, 3>, tile<1, 4>, tile<1, 5>, tile<1, 6>},
    {tile<2, 1>, tile<2, 2>, tile<2, 3>, tile<2, 4>, tile<2, 5>, tile<2, 6>},
    {tile<3, 1>, tile<3, 2>, tile<3, 3>, tile<3, 4>, tile<3, 5>, tile<3, 6>},
    {tile<4, 1>, tile<4, 2>, tile<4, 3>, tile<4, 4>, tile<4, 5>, tile<4, 6>},
};

// The codes of a quad of channels for 64 pixels: lane i of vector s holds four channels' codes of segment s's pixel i.
struct Quad {
    __m512i pixels[4];
};

struct Expansion {
    const ExpandTask& t;
    const Quantizer16 quantizer;
    const int64_t depth, plane;

    explicit Expansion(const ExpandTask& task)
        : t(task), quantizer(task.conv.quantization), depth(task.conv.shape.depth()), plane(task.conv.shape.h * task.conv.shape.w) {}

    // Packing to bytes leaves the four codes of part[s] in 128-bit lane l at 16 * l + 4 * s; interleaving channels within
    // lanes then puts them in their order.
    CARRYSAVE_INLINE __m512i channel(int64_t c, int64_t segment, int count) const {
        const int64_t at = (t.image * t.conv.shape.c + t.group * depth + c) * plane;
        const int64_t first = at + t.band.segments[segment].first;
        if (!t.conv.values) {
            const int64_t left = t.band.segments[segment + count - 1].first + t.band.segments[segment + count - 1].count -
                                 t.band.segments[segment].first;
            const __m512i codes = _mm512_maskz_loadu_epi8(left >= 64 ? ~0ull : (1ull << left) - 1, t.conv.codes + first);
            return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), codes);
        }
        __m512i part[4];
        unroll<4>([&](auto s) CARRYSAVE_LAMBDA {
            const int lanes = s < count ? t.band.segments[segment + s].count : 0;
            const auto mask = static_cast<__mmask16>((1u << lanes) - 1);
            part[s] = quantizer(_mm512_maskz_loadu_ps(mask, t.conv.values + first + kLanes * s));
        });
        return _mm512_packus_epi16(_mm512_packus_epi32(part[0], part[1]), _mm512_packus_epi32(part[2], part[3]));
    }

    CARRYSAVE_INLINE Quad read(int64_t quad, int64_t segment, int count) const {
        __m512i c[4];
        unroll<4>([&](auto j) CARRYSAVE_LAMBDA {
            c[j] = quad * 4 + j < depth ? channel(quad * 4 + j, segment, count) : _mm512_setzero_si512();
        });
        const __m512i low01 = _mm512_unpacklo_epi8(c[0], c[1]), high01 = _mm512_unpackhi_epi8(c[0], c[1]);
        const __m512i low23 = _mm512_unpacklo_epi8(c[2], c[3]), high23 = _mm512_unpackhi_epi8(c[2], c[3]);
        return {{_mm512_unpacklo_epi16(low01, low23), _mm512_unpackhi_epi16(low01, low23),
                 _mm512_unpacklo_epi16(high01, high23), _mm512_unpackhi_epi16(high01, high23)}};
    }

    CARRYSAVE_INLINE void store(uint32_t* to, const Segment& segment, __m512i value) const {
        if (!segment.sorted) value = _mm512_permutexvar_epi32(_mm512_loadu_si512(segment.order.data()), value);
        const LaneRun* runs = t.band.runs.data();
        if (segment.last_run - segment.runs == 1 && runs[segment.runs].mask == 0xffff) {
            _mm512_storeu_si512(to + runs[segment.runs].to, value);
            return;
        }
        for (int i = segment.runs; i < segment.last_run; ++i)
            _mm512_mask_storeu_epi32(to + runs[i].to, static_cast<__mmask16>(runs[i].mask), value);
    }

    CARRYSAVE_INLINE void sum(int64_t quad, int64_t segment, int count, const Quad& codes) const {
        const int present = static_cast<int>(std::min<int64_t>(4, depth - quad * 4));
        const __m512i ones = _mm512_set1_epi32(0x01010101 >> (8 * (4 - present)));
        for (int s = 0; s < count; ++s) {
            int32_t* sums = t.sums + (segment + s - t.begin) * kLanes;
            __m512i total = quad ? _mm512_loadu_si512(sums) : _mm512_setzero_si512();
            total = _mm512_add_epi32(total, addend_sum(*t.addend, codes.pixels[s], ones, present));
            _mm512_storeu_si512(sums, total);
        }
    }

    void quad(int64_t quad) const {
        const int64_t slot = t.slot * t.band.size, planes = t.layout.planes;
        for (int64_t segment = t.begin; segment < t.end; segment += 4) {
            const int count = static_cast<int>(std::min<int64_t>(4, t.end - segment));
            if (t.band.segments[segment].runs == t.band.segments[segment + count - 1].last_run) continue;
            const Quad codes = read(quad, segment, count);
            if (t.addend) sum(quad, segment, count, codes);
            for (int64_t k = 0; k < planes; ++k) {
                const Lookup lookup(t.conv.tables + 256 * k);
                uint32_t* to = t.digits + t.layout.place(t.group, quad, k) + slot;
                for (int s = 0; s < count; ++s) store(to, t.band.segments[segment + s], lookup(codes.pixels[s]));
            }
        }
    }

    void run() const {
        for (int64_t i = 0; i < t.layout.quads; ++i) quad(i);
        if (!t.addend) return;
        uint32_t* to = t.digits + t.layout.sums(t.group) + t.slot * t.band.size;
        for (int64_t segment = t.begin; segment < t.end; ++segment)
            store(to, t.band.segments[segment], _mm512_loadu_si512(t.sums + (segment - t.begin) * kLanes));
    }
};

}  // namespace

void tile_avx512(const DigitTile& t) { kTiles[t.vectors - 1][t.outputs - 1](t); }

void expand_avx512(const ExpandTask& task) { Expansion(task).run(); }
