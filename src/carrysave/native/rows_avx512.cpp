// Compiled with AVX-512 F, BW, DQ, VL, VBMI and VNNI.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "digits_kernels.h"
#include "parallel.h"
#include "scratch.h"
#include "unroll.h"
#include "vectors_avx512.h"

// Matrix products: images of one pixel. Lanes are outputs here, and a row's digits are broadcast four at a time, so that
// neither the rows nor the result are transposed, and a few rows are as good as many.

namespace {

constexpr int kRows = 6;                      // of a register tile
constexpr int64_t kChunkBytes = 1 << 18;      // of rows' digits: they are read again for each panel of outputs

struct RowTile {
    const uint8_t* digits;       // of the first row
    int64_t pitch;               // from row to row
    const int64_t* offsets;      // [taps]
    const int8_t* weights;       // [taps][vectors][kLanes][4]
    int64_t taps;
};

// To sums [kCount][kTileLanes]. A function of its own, for GCC 12 keeps the sums in registers only then.
template <int kVectors, int kCount>
__attribute__((noinline)) void multiply(const RowTile& t, int32_t* to) {
    __m512i sums[kCount][kVectors];
    unroll<kCount>([&](auto r) CARRYSAVE_LAMBDA { unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA { sums[r][v] = _mm512_setzero_si512(); }); });
    const int8_t* weights = t.weights;
    const uint8_t* digits = t.digits;
    const int64_t pitch = t.pitch;
    for (int64_t i = 0; i < t.taps; ++i, weights += 64 * kVectors) {
        __m512i w[kVectors];
        unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA { w[v] = _mm512_loadu_si512(weights + 64 * v); });
        const uint8_t* row = digits + t.offsets[i];
        unroll<kCount>([&](auto r) CARRYSAVE_LAMBDA {
            int32_t four;
            std::memcpy(&four, row + r * pitch, 4);
            const __m512i broadcast = _mm512_set1_epi32(four);
            unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA { sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], broadcast, w[v]); });
        });
    }
    unroll<kCount>([&](auto r) CARRYSAVE_LAMBDA {
        unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA { _mm512_storeu_si512(to + r * kTileLanes + v * kLanes, sums[r][v]); });
    });
}

class Rows {
  public:
    Rows(const DigitWeights& weights, const DigitConv& task, const Addend& a, bool narrow_)
        : w(weights), conv(task), addend(a), narrow(narrow_), quantizer(task.quantization), rows(task.shape.n), depth(weights.depth),
          plane((depth + 63) / 64 * 64), pitch(plane * weights.planes) {
        for (const auto& tap : w.taps) offsets.push_back(tap.plane * plane + tap.quad * 4);
        chunk = std::max<int64_t>(kRows, kChunkBytes / std::max<int64_t>(1, pitch) / kRows * kRows);
        chunk = std::min(chunk, (rows + conv.threads * kRows - 1) / (conv.threads * kRows) * kRows);
    }

    void operator()() const {
        const int64_t chunks = (rows + chunk - 1) / chunk, panels = w.row_panels();
        const int64_t parts = chunks >= conv.threads ? 1 : std::min<int64_t>(conv.threads, panels);
        parallel_for(chunks * parts, 1, conv.threads, [&](int64_t begin, int64_t end) {
            const Scratch memory(chunk * (pitch + 8) + 128);
            for (int64_t i = begin; i < end; ++i) {
                const int64_t first = i / parts * chunk, count = std::min(chunk, rows - first);
                auto* digits = memory.at<uint8_t>(0);
                auto* box = memory.at<int32_t>((chunk * pitch + 63) / 64 * 64);
                for (int64_t row = 0; row < count; ++row) expand(first + row, digits + row * pitch, box + row);
                for (int64_t panel = panels * (i % parts) / parts; panel < panels * (i % parts + 1) / parts; ++panel)
                    multiply_panel(panel, first, count, digits, box);
            }
        });
    }

  private:
    const DigitWeights& w;
    const DigitConv& conv;
    const Addend& addend;
    const bool narrow;
    const Quantizer16 quantizer;
    const int64_t rows, depth, plane, pitch;
    int64_t chunk;
    std::vector<int64_t> offsets;

    __m512i codes(int64_t row, int64_t c) const {
        const int64_t left = std::min<int64_t>(64, depth - c), at = row * depth + c;
        const __mmask64 mask = left == 64 ? ~0ull : (1ull << left) - 1;
        if (!conv.values) return _mm512_maskz_loadu_epi8(mask, conv.codes + at);
        __m512i part[4];
        unroll<4>([&](auto s) CARRYSAVE_LAMBDA {
            part[s] = quantizer(_mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> (16 * s)), conv.values + at + 16 * s));
        });
        const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(part[0], part[1]), _mm512_packus_epi32(part[2], part[3]));
        return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), bytes);
    }

    void expand(int64_t row, uint8_t* digits, int32_t* box) const {
        __m512i total = _mm512_setzero_si512();
        for (int64_t c = 0; c < depth; c += 64) {
            const __m512i found = codes(row, c);
            for (int64_t k = 0; k < w.planes; ++k) _mm512_storeu_si512(digits + k * plane + c, Lookup(conv.tables + 256 * k)(found));
            if (!conv.addend) continue;
            const __mmask64 there = depth - c >= 64 ? ~0ull : (1ull << (depth - c)) - 1;
            // the base is added for all of them at the end
            total = _mm512_add_epi32(total, addend_sum(addend, found, _mm512_maskz_set1_epi8(there, 1), 0));
        }
        *box = conv.addend ? static_cast<int32_t>(static_cast<uint32_t>(_mm512_reduce_add_epi32(total)) +
                                                  static_cast<uint32_t>(depth) * static_cast<uint32_t>(addend.base))
                           : 0;
    }

    void multiply_panel(int64_t panel, int64_t first, int64_t count, const uint8_t* digits, const int32_t* box) const {
        const int64_t outputs = std::min<int64_t>(kTileLanes, w.outputs - panel * kTileLanes);
        const int vectors = static_cast<int>((outputs + kLanes - 1) / kLanes);
        using Function = void (Rows::*)(int64_t, int64_t, int64_t, const uint8_t*, const int32_t*) const;
        constexpr Function kFunctions[kTileVectors] = {&Rows::tiles<1>, &Rows::tiles<2>, &Rows::tiles<3>, &Rows::tiles<4>};
        (this->*kFunctions[vectors - 1])(panel, first, count, digits, box);
    }

    template <int kVectors>
    void tiles(int64_t panel, int64_t first, int64_t count, const uint8_t* digits, const int32_t* box) const {
        const int64_t all = (count + kRows - 1) / kRows;
        for (int64_t i = 0; i < all; ++i) {
            const int64_t row = count * i / all, until = count * (i + 1) / all;
            const uint8_t* from = digits + row * pitch;
            switch (until - row) {
                case 1: tile<kVectors, 1>(panel, first + row, from, box + row); break;
                case 2: tile<kVectors, 2>(panel, first + row, from, box + row); break;
                case 3: tile<kVectors, 3>(panel, first + row, from, box + row); break;
                case 4: tile<kVectors, 4>(panel, first + row, from, box + row); break;
                case 5: tile<kVectors, 5>(panel, first + row, from, box + row); break;
                default: tile<kVectors, 6>(panel, first + row, from, box + row);
            }
        }
    }

    template <int kVectors, int kCount>
    void tile(int64_t panel, int64_t row, const uint8_t* digits, const int32_t* box) const {
        if (!narrow) return wide<kVectors, kCount>(panel, row, digits, box);
        alignas(64) int32_t sums[kCount * kTileLanes];
        multiply<kVectors, kCount>({digits, pitch, offsets.data(), w.of_panel(panel, 0), static_cast<int64_t>(offsets.size())}, sums);
        unroll<kVectors>([&](auto v) CARRYSAVE_LAMBDA {
            const int64_t o = panel * kTileLanes + v * kLanes;
            const auto mask = static_cast<__mmask16>((1u << std::min<int64_t>(kLanes, w.outputs - o)) - 1);
            const __m256i low = _mm512_cvtepi64_epi32(_mm512_maskz_loadu_epi64(static_cast<__mmask8>(mask), conv.constant + o));
            const __m256i high = _mm512_cvtepi64_epi32(_mm512_maskz_loadu_epi64(static_cast<__mmask8>(mask >> 8), conv.constant + o + 8));
            const __m512i constant = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
            const __m512 scale = conv.scale ? _mm512_maskz_loadu_ps(mask, conv.scale + o) : _mm512_set1_ps(1.0f);
            unroll<kCount>([&](auto r) CARRYSAVE_LAMBDA {
                const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(_mm512_load_si512(sums + r * kTileLanes + v * kLanes), constant), _mm512_set1_epi32(box[r]));
                _mm512_mask_storeu_ps(conv.out + (row + r) * w.outputs + o, mask, _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale));
            });
        });
    }

    template <int kVectors, int kCount>
    void wide(int64_t panel, int64_t row, const uint8_t* digits, const int32_t* box) const {
        int64_t totals[kCount][kVectors * kLanes] = {};
        for (const TapBlock& block : w.blocks) {
            alignas(64) int32_t sums[kCount * kTileLanes];
            multiply<kVectors, kCount>({digits, pitch, offsets.data() + block.first, w.of_panel(panel, block.first), block.count}, sums);
            for (int r = 0; r < kCount; ++r)
                for (int i = 0; i < kVectors * kLanes; ++i) totals[r][i] += sums[r * kTileLanes + i] * (int64_t{1} << block.shift);
        }
        const int64_t first = panel * kTileLanes, outputs = std::min<int64_t>(kVectors * kLanes, w.outputs - first);
        for (int r = 0; r < kCount; ++r)
            for (int64_t i = 0; i < outputs; ++i) {
                const int64_t total = totals[r][i] + conv.constant[first + i] + box[r], to = (row + r) * w.outputs + first + i;
                if (conv.integers)
                    conv.integers[to] = total;
                else
                    conv.out[to] = static_cast<float>(total) * (conv.scale ? conv.scale[first + i] : 1.0f);
            }
    }
};

}  // namespace

bool rows_serve_avx512(const DigitWeights& weights, const ConvShape& shape) {
    return weights.groups == 1 && shape.h * shape.w == 1 && shape.kh * shape.kw == 1 && shape.top + shape.left == 0;
}

void rows_avx512(const DigitWeights& weights, const DigitConv& conv, const Addend& addend, bool narrow) {
    weights.pack_panels();
    Rows(weights, conv, addend, narrow)();
}
