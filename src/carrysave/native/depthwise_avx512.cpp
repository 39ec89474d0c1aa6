// Compiled with AVX-512 F, BW, DQ, VL, VBMI and VNNI.
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "digits_kernels.h"
#include "parallel.h"
#include "scratch.h"
#include "unroll.h"
#include "vectors_avx512.h"

// Groups of one channel: a channel's digits are bytes of rows, and a byte permutation makes the windows of four taps
// that sixteen neighbouring outputs multiply with four weights.

namespace {

constexpr int kAtOnce = 4;      // vectors of outputs that share a weight

// Where sixteen neighbouring outputs of a row begin, in a plane of digits and in the result.
struct Place {
    int64_t from, to;
    int count;
};

// Four taps of a row: their weights go with the bytes at an offset from a place.
struct Term {
    int64_t offset;
    int32_t weights;
};

class Depthwise {
  public:
    Depthwise(const DigitWeights& weights, const DigitConv& task, const Addend& a, bool narrow_)
        : w(weights), conv(task), p(task.shape), addend(a), narrow(narrow_), quantizer(task.quantization) {
        height = std::max((p.out_height - 1) * p.sy + (p.kh - 1) * p.dy + 1, p.top + p.h);
        const int64_t width = (p.out_width - 1) * p.sx + (p.kw - 1) * p.dx + 1;
        pitch = std::max(width, p.left + (p.w + 63) / 64 * 64);
        box_planes = !conv.addend ? 0 : std::max(1, addend.planes);
        size = height * pitch + 64 * (p.sx + p.dx * (p.kw + 3)) + 64;
        for (int64_t y = 0; y < p.out_height; ++y)
            for (int64_t x = 0; x < p.out_width; x += kLanes)
                places.push_back({y * p.sy * pitch + x * p.sx, y * p.out_width + x, static_cast<int>(std::min<int64_t>(kLanes, p.out_width - x))});
        while (places.size() % kAtOnce) places.push_back(places.back());
        for (int lane = 0; lane < kLanes; ++lane)
            for (int tap = 0; tap < 4; ++tap) window[4 * lane + tap] = static_cast<uint8_t>(lane * p.sx + tap * p.dx);
        list_terms();
    }

    void operator()() const {
        parallel_for(p.n * p.c, conv.threads > 1 ? 8 : p.n * p.c, conv.threads, [&](int64_t begin, int64_t end) {
            const Scratch memory(size * (w.planes + box_planes) + p.h * p.w + 128);
            auto* planes = memory.at<uint8_t>(0);
            fill_halo(planes);
            for (int64_t i = begin; i < end; ++i) {
                expand(i, planes);
                for (int64_t j = 0; j < w.per_group; ++j) outputs(i / p.c, i % p.c * w.per_group + j, planes);
            }
        });
    }

  private:
    const DigitWeights& w;
    const DigitConv& conv;
    const ConvShape& p;
    const Addend& addend;
    const bool narrow;
    const Quantizer16 quantizer;
    int64_t height, pitch, size, box_planes;
    std::vector<Place> places;
    std::vector<Term> terms, box_terms;          // [outputs][terms of one]; of a plane
    int64_t count;                               // terms of one output
    alignas(64) uint8_t window[64];

    void list_terms() {
        const int64_t quads = (p.kw + 3) / 4;
        count = static_cast<int64_t>(w.passes.size()) * p.kh * quads;
        for (int64_t o = 0; o < w.outputs; ++o)
            for (size_t pass = 0; pass < w.passes.size(); ++pass)
                add_row_terms(w.passes[pass].plane * size, terms, [&](int64_t ky, int64_t kx) { return w.at(static_cast<int64_t>(pass), o, 0, ky, kx); });
        add_row_terms(0, box_terms, [](int64_t, int64_t) { return int8_t{1}; });
    }

    template <class Weight>
    void add_row_terms(int64_t plane, std::vector<Term>& to, const Weight& weight) {
        for (int64_t ky = 0; ky < p.kh; ++ky)
            for (int64_t kx = 0; kx < p.kw; kx += 4) {
                int8_t four[4] = {};
                for (int64_t i = 0; i < std::min<int64_t>(4, p.kw - kx); ++i) four[i] = weight(ky, kx + i);
                Term term{plane + ky * p.dy * pitch + kx * p.dx, 0};
                std::memcpy(&term.weights, four, 4);
                to.push_back(term);
            }
    }

    // What of the box sum's function plane j holds.
    uint8_t halo_of(int64_t plane) const {
        if (plane < w.planes) return conv.tables[256 * plane + conv.halo_code];
        return addend.planes ? addend.bytes[plane - w.planes][conv.halo_code] : conv.halo_code;
    }

    void fill_halo(uint8_t* planes) const {
        for (int64_t i = 0; i < w.planes + box_planes; ++i) std::memset(planes + i * size, halo_of(i), static_cast<size_t>(size));
    }

    void expand(int64_t channel, uint8_t* planes) const {
        const int64_t pixels = p.h * p.w;
        uint8_t* codes = planes + size * (w.planes + box_planes);
        if (conv.values)
            quantize(conv.values + channel * pixels, pixels, codes);
        else
            std::memcpy(codes, conv.codes + channel * pixels, static_cast<size_t>(pixels));
        for (int64_t i = 0; i < w.planes; ++i) write(codes, Lookup(conv.tables + 256 * i), halo_of(i), planes + i * size);
        for (int64_t j = 0; j < box_planes; ++j) {
            uint8_t* to = planes + (w.planes + j) * size;
            if (addend.planes)
                write(codes, Lookup(addend.bytes[j]), halo_of(w.planes + j), to);
            else
                write(codes, [](__m512i code) { return code; }, conv.halo_code, to);
        }
    }

    void quantize(const float* values, int64_t pixels, uint8_t* codes) const {
        int64_t i = 0;
        const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        for (; i + 64 <= pixels; i += 64) {
            __m512i part[4];
            unroll<4>([&](auto s) CARRYSAVE_LAMBDA { part[s] = quantizer(_mm512_loadu_ps(values + i + 16 * s)); });
            const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(part[0], part[1]), _mm512_packus_epi32(part[2], part[3]));
            _mm512_storeu_si512(codes + i, _mm512_permutexvar_epi32(order, bytes));
        }
        for (; i < pixels; i += 16) {
            const auto mask = static_cast<__mmask16>((1u << std::min<int64_t>(16, pixels - i)) - 1);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + i), _mm512_cvtepi32_epi8(quantizer(_mm512_maskz_loadu_ps(mask, values + i))));
        }
    }

    // Rows of the image into the padded plane; what whole vectors write past a row is the halo again.
    template <class Map>
    CARRYSAVE_INLINE void write(const uint8_t* codes, const Map& map, uint8_t halo, uint8_t* plane) const {
        const __m512i beyond = _mm512_set1_epi8(static_cast<char>(halo));
        for (int64_t y = 0; y < p.h; ++y, codes += p.w) {
            uint8_t* to = plane + (p.top + y) * pitch + p.left;
            for (int64_t x = 0; x < p.w; x += 64) {
                const __mmask64 inside = p.w - x >= 64 ? ~0ull : (1ull << (p.w - x)) - 1;
                const __m512i found = map(_mm512_loadu_si512(codes + x));
                _mm512_storeu_si512(to + x, _mm512_mask_blend_epi8(inside, beyond, found));
            }
        }
    }

    struct Sums {
        __m512i at[kAtOnce];
    };

    CARRYSAVE_INLINE void sum(const Term* first, int64_t number, const Place* place, const uint8_t* planes, Sums& sums) const {
        const __m512i index = _mm512_load_si512(window);
        const uint8_t* from[kAtOnce];
        unroll<kAtOnce>([&](auto i) CARRYSAVE_LAMBDA { sums.at[i] = _mm512_setzero_si512(), from[i] = planes + place[i].from; });
        for (const Term* term = first; term < first + number; ++term) {
            const __m512i four = _mm512_set1_epi32(term->weights);
            unroll<kAtOnce>([&](auto i) CARRYSAVE_LAMBDA {
                const __m512i taps = _mm512_permutexvar_epi8(index, _mm512_loadu_si512(from[i] + term->offset));
                sums.at[i] = _mm512_dpbusd_epi32(sums.at[i], taps, four);
            });
        }
    }

    CARRYSAVE_INLINE void add_box(Sums& sums, const Place* place, const uint8_t* planes) const {
        const auto number = static_cast<int64_t>(box_terms.size());
        const __m512i base = _mm512_set1_epi32(static_cast<int32_t>(static_cast<uint32_t>(p.kh * p.kw) * static_cast<uint32_t>(addend.base)));
        unroll<kAtOnce>([&](auto i) CARRYSAVE_LAMBDA { sums.at[i] = _mm512_add_epi32(sums.at[i], base); });
        for (int64_t j = 0; j < box_planes; ++j) {
            Sums bytes;
            sum(box_terms.data(), number, place, planes + (w.planes + j) * size, bytes);
            const __m512i factor = _mm512_set1_epi32(addend.planes ? 1 << (8 * j) : addend.slope);
            unroll<kAtOnce>([&](auto i) CARRYSAVE_LAMBDA { sums.at[i] = _mm512_add_epi32(sums.at[i], _mm512_mullo_epi32(bytes.at[i], factor)); });
        }
    }

    void outputs(int64_t n, int64_t o, const uint8_t* planes) const {
        const int64_t pixels = p.pixels(), first = (n * w.outputs + o) * pixels;
        const __m512i constant = _mm512_set1_epi32(static_cast<int32_t>(conv.constant[o]));
        const __m512 scale = _mm512_set1_ps(conv.scale ? conv.scale[o] : 1.0f);
        for (size_t i = 0; i < places.size(); i += kAtOnce) {
            const Place* place = &places[i];
            Sums sums;
            sum(terms.data() + o * count, count, place, planes, sums);
            if (!narrow) {
                store_wide(sums, place, planes, o, first);
                continue;
            }
            if (conv.addend) add_box(sums, place, planes);
            unroll<kAtOnce>([&](auto j) CARRYSAVE_LAMBDA {
                const __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_add_epi32(sums.at[j], constant)), scale);
                float* to = conv.out + first + place[j].to;
                if (place[j].to + kLanes <= pixels)       // what is written too much is overwritten by the next
                    _mm512_storeu_ps(to, value);
                else
                    _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << place[j].count) - 1), value);
            });
        }
    }

    void store_wide(const Sums& sums, const Place* place, const uint8_t* planes, int64_t o, int64_t first) const {
        Sums box{};
        if (conv.addend) add_box(box, place, planes);
        for (int j = 0; j < kAtOnce; ++j) {
            alignas(64) int32_t sum[kLanes], of_box[kLanes];
            _mm512_store_si512(sum, sums.at[j]), _mm512_store_si512(of_box, box.at[j]);
            for (int lane = 0; lane < place[j].count; ++lane) {
                const int64_t total = int64_t{sum[lane]} + of_box[lane] + conv.constant[o], to = first + place[j].to + lane;
                if (conv.integers)
                    conv.integers[to] = total;
                else
                    conv.out[to] = static_cast<float>(total) * (conv.scale ? conv.scale[o] : 1.0f);
            }
        }
    }
};

}  // namespace

bool depthwise_serves_avx512(const DigitWeights& weights, const ConvShape& shape) {
    const bool one_range = weights.blocks.size() <= 1 && (weights.blocks.empty() || weights.blocks[0].shift == 0);
    return weights.depth == 1 && weights.groups > 1 && one_range && (kLanes - 1) * shape.sx + 3 * shape.dx < 64;
}

void depthwise_avx512(const DigitWeights& weights, const DigitConv& conv, const Addend& addend, bool narrow) {
    Depthwise(weights, conv, addend, narrow)();
}
