// Compiled with -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vbmi -mavx512vnni.
#include <immintrin.h>

#include <cstdint>

#include "activation_kernels.h"

namespace {

constexpr int kPixels = 64, kChannels = 64, kQuads = kChannels / 4;

struct Lookup {
    __m512i t[4];

    explicit Lookup(const uint8_t* table) {
        for (int i = 0; i < 4; ++i) t[i] = _mm512_loadu_si512(table + 64 * i);
    }
    __m512i operator()(__m512i index) const {
        const __m512i low = _mm512_permutex2var_epi8(t[0], index, t[1]);
        const __m512i high = _mm512_permutex2var_epi8(t[2], index, t[3]);
        return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
    }
};

// A function of the code as base + slope * (sum of bytes) or, where it is not affine, base + its bytes by look-up.
struct Addend {
    int32_t base = 0, slope = 0;
    int planes = 0;               // 0: affine
    alignas(64) uint8_t bytes[4][256];

    explicit Addend(const int32_t* f) {
        if (!f) return;
        bool affine = true;
        base = f[0], slope = static_cast<int32_t>(static_cast<uint32_t>(f[1]) - static_cast<uint32_t>(f[0]));
        int32_t least = f[0];
        uint32_t value = static_cast<uint32_t>(f[0]);
        for (int i = 0; i < 256; ++i, value += static_cast<uint32_t>(slope)) {
            affine = affine && static_cast<uint32_t>(f[i]) == value;
            least = f[i] < least ? f[i] : least;
        }
        if (affine) return;
        base = least;
        uint32_t any = 0;
        for (int i = 0; i < 256; ++i) {
            const uint32_t rest = static_cast<uint32_t>(f[i]) - static_cast<uint32_t>(least);
            any |= rest;
            for (int j = 0; j < 4; ++j) bytes[j][i] = static_cast<uint8_t>(rest >> (8 * j));
        }
        planes = any >> 24 ? 4 : any >> 16 ? 3 : any >> 8 ? 2 : 1;
    }
};

// Byte j of the m-th vector of interleaved factors is code (64 * m + j) / rank of factor (64 * m + j) % rank.
struct Weave {
    alignas(64) uint8_t order[8][64];
    __mmask64 from[8][8] = {};

    explicit Weave(int rank) {
        for (int i = 0; i < 64 * rank; ++i) {
            order[i / 64][i % 64] = static_cast<uint8_t>(i / rank);
            from[i / 64][i % rank] |= 1ull << i % 64;
        }
    }
};

struct Block {
    const ActivationProblem& p;
    const Addend& addend;
    const Weave& weave;
    int64_t n, first_pixel = 0;
    int pixels = 0;                               // up to kPixels
    int64_t first_channel = 0;
    int channels = 0;                             // up to kChannels
    alignas(64) uint32_t quads[kQuads][kPixels];  // [four channels][pixel]
    alignas(64) uint8_t rows[16][kChannels];      // [pixel][channel] of sixteen pixels
    alignas(64) uint8_t found[8][16][kChannels];  // the same after look-up by up to eight factors
    int64_t at[kPixels];                          // the pixels' places in the padded image

    Block(const ActivationProblem& problem, const Addend& a, const Weave& w, int64_t image)
        : p(problem), addend(a), weave(w), n(image) {}

    void place(int64_t pixel, int64_t end, int64_t channel) {
        first_pixel = pixel, first_channel = channel;
        pixels = static_cast<int>(end - pixel < kPixels ? end - pixel : kPixels);
        channels = static_cast<int>(p.c - channel < kChannels ? p.c - channel : kChannels);
        locate();
    }

    __mmask16 tail(int s) const {
        const int left = pixels - 16 * s;
        return left >= 16 ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1u << left) - 1);
    }

    // Interleaving bytes stays inside 128-bit lanes, so pixel 16 * l + 4 * s + i sits in slot 16 * s + 4 * l + i.
    static int slot_of(int pixel) { return (pixel & 0x0c) << 2 | (pixel & 0x30) >> 2 | (pixel & 3); }

    void locate() {
        const int64_t width = p.left + p.w + p.right;
        int64_t y = first_pixel / p.w, x = first_pixel % p.w;
        for (int i = 0; i < kPixels; ++i) {
            at[slot_of(i)] = i < pixels ? (p.top + y) * width + p.left + x : -1;
            if (++x == p.w) x = 0, ++y;
        }
    }

    __m512i quantise(const float* from, __mmask16 mask) const {
        const Quantization& q = p.quantization;
        const float low = static_cast<float>(q.low - q.zero), high = static_cast<float>(q.high - q.zero);
        __m512 ratio = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, from), _mm512_set1_ps(q.scale));
        ratio = _mm512_min_ps(_mm512_max_ps(ratio, _mm512_set1_ps(low)), _mm512_set1_ps(high));
        return _mm512_sub_epi32(_mm512_cvtps_epi32(ratio), _mm512_set1_epi32(q.low - q.zero));
    }

    // The codes of 64 pixels of one channel, in the order of pixels.
    __m512i codes_of(int channel) const {
        const int64_t from = ((n * p.c + first_channel + channel) * p.h * p.w) + first_pixel;
        if (!p.values)
            return _mm512_maskz_loadu_epi8(pixels == 64 ? ~0ull : (1ull << pixels) - 1, p.codes + from);
        __m512i part[4];
        for (int s = 0; s < 4; ++s) {
            part[s] = quantise(p.values + from + 16 * s, tail(s));
            _mm_prefetch(reinterpret_cast<const char*>(p.values + from + kPixels + 16 * s), _MM_HINT_T0);
        }
        const __m512i mixed = _mm512_packus_epi16(_mm512_packus_epi32(part[0], part[1]), _mm512_packus_epi32(part[2], part[3]));
        // Four codes of part[s] in lane l are at 16 * l + 4 * s; they belong at 16 * s + 4 * l.
        const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        return _mm512_permutexvar_epi32(order, mixed);
    }

    void read() {
        for (int quad = 0; quad * 4 < channels; ++quad) {
            __m512i c[4];
            for (int j = 0; j < 4; ++j)
                c[j] = quad * 4 + j < channels ? codes_of(quad * 4 + j) : _mm512_setzero_si512();
            const __m512i low01 = _mm512_unpacklo_epi8(c[0], c[1]), high01 = _mm512_unpackhi_epi8(c[0], c[1]);
            const __m512i low23 = _mm512_unpacklo_epi8(c[2], c[3]), high23 = _mm512_unpackhi_epi8(c[2], c[3]);
            _mm512_store_si512(&quads[quad][0], _mm512_unpacklo_epi16(low01, low23));
            _mm512_store_si512(&quads[quad][16], _mm512_unpackhi_epi16(low01, low23));
            _mm512_store_si512(&quads[quad][32], _mm512_unpacklo_epi16(high01, high23));
            _mm512_store_si512(&quads[quad][48], _mm512_unpackhi_epi16(high01, high23));
        }
    }

    // Sums over the channels of one group that lie in this block: quads [from, to).
    void add_sums(int64_t group, int from, int to) {
        const int64_t plane = (p.top + p.h + p.bottom) * (p.left + p.w + p.right);
        int32_t* sums = p.sums + (n * p.groups + group) * plane;
        const int present = (to * 4 < channels ? to * 4 : channels) - from * 4;
        const bool starts = (first_channel + from * 4) % (p.c / p.groups) == 0;
        for (int s = 0; s < 4; ++s) {
            __m512i sum = _mm512_set1_epi32(static_cast<int32_t>(static_cast<uint32_t>(present) *
                                                                 static_cast<uint32_t>(addend.base)));
            if (addend.planes == 0) {
                const __m512i total = total_bytes(from, to, s, [](__m512i code) { return code; });
                sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(total, _mm512_set1_epi32(addend.slope)));
            }
            for (int j = 0; j < addend.planes; ++j)
                sum = _mm512_add_epi32(
                    sum, _mm512_sllv_epi32(total_bytes(from, to, s, Lookup(addend.bytes[j])), _mm512_set1_epi32(8 * j)));
            alignas(64) int32_t values[16];
            _mm512_store_si512(values, sum);
            for (int i = 0; i < 16; ++i) {
                if (at[16 * s + i] < 0) continue;
                int32_t& place = sums[at[16 * s + i]];
                place = starts ? values[i] : place + values[i];
            }
        }
    }

    template <class Function>
    __m512i total_bytes(int from, int to, int s, const Function& function) const {
        __m512i total = _mm512_setzero_si512();
        for (int quad = from; quad < to; ++quad) {
            const int left = channels - quad * 4;     // the last quad may lack channels
            const __m512i ones = _mm512_set1_epi32(left >= 4 ? 0x01010101 : 0x010101 >> (8 * (3 - left)));
            total = _mm512_dpbusd_epi32(total, function(_mm512_load_si512(&quads[quad][16 * s])), ones);
        }
        return total;
    }

    void sum() {
        const int64_t depth = p.c / p.groups;
        for (int64_t c = first_channel; c < first_channel + channels;) {
            const int64_t group = c / depth, end = (group + 1) * depth;
            const int64_t stop = end < first_channel + channels ? end : first_channel + channels;
            add_sums(group, static_cast<int>(c - first_channel) / 4, static_cast<int>(stop - first_channel + 3) / 4);
            c = stop;
        }
    }

    // rows[i][4 * quad ..] = quads[quad][16 * s + i]
    void transpose(int s) {
        __m512i a[16], b[16];
        const int used = (channels + 3) / 4;
        for (int i = 0; i < 16; ++i) a[i] = i < used ? _mm512_load_si512(&quads[i][16 * s]) : _mm512_setzero_si512();
        for (int i = 0; i < 16; i += 2) {
            b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]);
            b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
        }
        for (int i = 0; i < 16; i += 4)
            for (int j = 0; j < 2; ++j) {
                a[i + 2 * j] = _mm512_unpacklo_epi64(b[i + j], b[i + j + 2]);
                a[i + 2 * j + 1] = _mm512_unpackhi_epi64(b[i + j], b[i + j + 2]);
            }
        // a[4 * q + r]: lane l holds slot 4 * l + r of quads 4 * q .. 4 * q + 3
        for (int r = 0; r < 4; ++r) {
            const __m512i x = _mm512_shuffle_i32x4(a[r], a[4 + r], 0x44), y = _mm512_shuffle_i32x4(a[r], a[4 + r], 0xee);
            const __m512i z = _mm512_shuffle_i32x4(a[8 + r], a[12 + r], 0x44);
            const __m512i w = _mm512_shuffle_i32x4(a[8 + r], a[12 + r], 0xee);
            _mm512_store_si512(rows[r], _mm512_shuffle_i32x4(x, z, 0x88));
            _mm512_store_si512(rows[4 + r], _mm512_shuffle_i32x4(x, z, 0xdd));
            _mm512_store_si512(rows[8 + r], _mm512_shuffle_i32x4(y, w, 0x88));
            _mm512_store_si512(rows[12 + r], _mm512_shuffle_i32x4(y, w, 0xdd));
        }
    }

    static void store(uint8_t* to, __m512i value, int bytes) {
        if (bytes >= 64) return _mm512_storeu_si512(to, value);   // masked stores are slow on Zen 4
        _mm512_mask_storeu_epi8(to, (1ull << bytes) - 1, value);
    }

    void write_plain(int s, int64_t k, int64_t image) const {
        const Lookup lookup(p.tables + 256 * k);
        uint8_t* out = p.out + factor_offset(p, image, k, first_channel);
        const int64_t step = p.layout == FactorLayout::planes ? p.c : p.c * p.rank;
        for (int i = 0; i < 16; ++i)
            if (at[16 * s + i] >= 0) store(out + at[16 * s + i] * step, lookup(_mm512_load_si512(rows[i])), channels);
    }

    void write_interleaved(int s, int64_t image) {
        const int rank = static_cast<int>(p.rank);
        for (int k = 0; k < rank; ++k) {
            const Lookup lookup(p.tables + 256 * k);
            for (int i = 0; i < 16; ++i) _mm512_store_si512(found[k][i], lookup(_mm512_load_si512(rows[i])));
        }
        uint8_t* out = p.out + factor_offset(p, image, 0, first_channel);
        for (int m = 0; m < rank && 64 * m < channels * rank; ++m) {
            const __m512i order = _mm512_load_si512(weave.order[m]);
            for (int i = 0; i < 16; ++i) {
                if (at[16 * s + i] < 0) continue;
                __m512i mixed = _mm512_setzero_si512();
                for (int k = 0; k < rank; ++k)
                    mixed = _mm512_mask_permutexvar_epi8(mixed, weave.from[m][k], order, _mm512_load_si512(found[k][i]));
                store(out + at[16 * s + i] * p.c * rank + 64 * m, mixed, channels * rank - 64 * m);
            }
        }
    }

    void write() {
        if (p.rank == 0) return;
        const int64_t image = n * (p.top + p.h + p.bottom) * (p.left + p.w + p.right);
        for (int s = 0; s < 4; ++s) {
            transpose(s);
            if (p.layout == FactorLayout::interleaved && p.rank > 1) {
                write_interleaved(s, image);
            } else {
                for (int64_t k = 0; k < p.rank; ++k) write_plain(s, k, image);
            }
        }
    }
};

}  // namespace

void expand_pixels_avx512(const ActivationProblem& p, int64_t n, int64_t begin, int64_t end) {
    // Rare shapes: more interleaved factors than `found` holds; groups whose bounds split a quad of channels.
    if ((p.layout == FactorLayout::interleaved && p.rank > 8) || (p.addend && p.groups > 1 && (p.c / p.groups) % 4)) {
        expand_pixels_portable(p, n, begin, end);
        return;
    }
    const Addend addend(p.addend);
    const Weave weave(p.layout == FactorLayout::interleaved ? static_cast<int>(p.rank) : 0);
    Block block(p, addend, weave, n);
    for (int64_t pixel = begin; pixel < end; pixel += kPixels)
        for (int64_t c = 0; c < p.c; c += kChannels) {
            block.place(pixel, end, c);
            block.read();
            if (p.addend) block.sum();
            block.write();
        }
}
