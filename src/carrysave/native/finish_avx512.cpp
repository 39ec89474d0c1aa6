// Compiled with AVX-512 F, BW, DQ, VL, VBMI and VNNI.
#include <immintrin.h>

#include <cstdint>

#include "finish_kernels.h"
#include "unroll.h"

namespace {

constexpr int kSide = 16;    // pixels and channels of a tile

// rows[i] = 16 channels of pixel i  ->  rows[o] = 16 pixels of channel o
CARRYSAVE_INLINE void transpose(__m512 (&rows)[kSide]) {
    __m512 a[kSide];
    unroll<8>([&](auto i) CARRYSAVE_LAMBDA {
        a[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    });
    unroll<4>([&](auto q) CARRYSAVE_LAMBDA {
        const __m512d b0 = _mm512_castps_pd(a[4 * q]), b1 = _mm512_castps_pd(a[4 * q + 1]);
        const __m512d b2 = _mm512_castps_pd(a[4 * q + 2]), b3 = _mm512_castps_pd(a[4 * q + 3]);
        rows[4 * q] = _mm512_castpd_ps(_mm512_unpacklo_pd(b0, b2));
        rows[4 * q + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(b0, b2));
        rows[4 * q + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b1, b3));
        rows[4 * q + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b1, b3));
    });
    // rows[4 * q + r]: lane l holds channel 4 * l + r of pixels 4 * q .. 4 * q + 3
    unroll<4>([&](auto r) CARRYSAVE_LAMBDA {
        const __m512 x = _mm512_shuffle_f32x4(rows[r], rows[4 + r], 0x88), y = _mm512_shuffle_f32x4(rows[r], rows[4 + r], 0xdd);
        const __m512 z = _mm512_shuffle_f32x4(rows[8 + r], rows[12 + r], 0x88);
        const __m512 w = _mm512_shuffle_f32x4(rows[8 + r], rows[12 + r], 0xdd);
        a[r] = _mm512_shuffle_f32x4(x, z, 0x88);
        a[8 + r] = _mm512_shuffle_f32x4(x, z, 0xdd);
        a[4 + r] = _mm512_shuffle_f32x4(y, w, 0x88);
        a[12 + r] = _mm512_shuffle_f32x4(y, w, 0xdd);
    });
    unroll<kSide>([&](auto i) CARRYSAVE_LAMBDA { rows[i] = a[i]; });
}

struct Place {
    const FinishProblem& p;
    int64_t n, pixel, channel;
    __mmask16 pixels, channels;

    CARRYSAVE_INLINE void load(int64_t part, __m512 (&rows)[kSide]) const {
        const float* from = p.parts[part] + (n * p.pixels + pixel) * p.channels + channel;
        if (pixels == 0xffff && channels == 0xffff) {
            unroll<kSide>([&](auto i) CARRYSAVE_LAMBDA { rows[i] = _mm512_loadu_ps(from + i * p.channels); });
        } else {
            unroll<kSide>([&](auto i) CARRYSAVE_LAMBDA {
                rows[i] = pixels >> i & 1 ? _mm512_maskz_loadu_ps(channels, from + i * p.channels) : _mm512_setzero_ps();
            });
        }
        transpose(rows);
    }

    __m512i box(int64_t o) const {
        if (!p.box) return _mm512_setzero_si512();
        return _mm512_maskz_loadu_epi32(pixels, p.box + (n * p.groups + o / (p.channels / p.groups)) * p.pixels + pixel);
    }

    void store(int64_t o, __m512 sum) const {
        const __m512 value = _mm512_mul_ps(sum, _mm512_set1_ps(p.scale ? p.scale[o] : 1.0f));
        float* to = p.out + (n * p.channels + o) * p.pixels + pixel;
        if (pixels == 0xffff)
            _mm512_storeu_ps(to, value);
        else
            _mm512_mask_storeu_ps(to, pixels, value);
    }
};

void tile_narrow(const Place& at) {
    __m512 rows[kSide];
    at.load(0, rows);
    __m512i sums[kSide];
    unroll<kSide>([&](auto i) CARRYSAVE_LAMBDA { sums[i] = _mm512_cvtps_epi32(rows[i]); });
    for (int64_t part = 1; part < at.p.count; ++part) {
        at.load(part, rows);
        unroll<kSide>([&](auto i) CARRYSAVE_LAMBDA { sums[i] = _mm512_add_epi32(sums[i], _mm512_cvtps_epi32(rows[i])); });
    }
    unroll<kSide>([&](auto i) CARRYSAVE_LAMBDA {
        if (!(at.channels >> i & 1)) return;
        const int64_t o = at.channel + i;
        const __m512i constant = _mm512_set1_epi32(static_cast<int32_t>(at.p.constant[o]));
        at.store(o, _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_add_epi32(sums[i], at.box(o)), constant)));
    });
}

void tile_wide(const Place& at) {
    __m512 rows[kSide];
    __m512i low[kSide], high[kSide];
    for (int i = 0; i < kSide; ++i) {
        const bool there = at.channels >> i & 1;
        const int64_t o = at.channel + i;
        const __m512i constant = _mm512_set1_epi64(there ? at.p.constant[o] : 0);
        const __m512i box = there ? at.box(o) : _mm512_setzero_si512();
        low[i] = _mm512_add_epi64(constant, _mm512_cvtepi32_epi64(_mm512_castsi512_si256(box)));
        high[i] = _mm512_add_epi64(constant, _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(box, 1)));
    }
    for (int64_t part = 0; part < at.p.count; ++part) {
        at.load(part, rows);
        for (int i = 0; i < kSide; ++i) {
            low[i] = _mm512_add_epi64(low[i], _mm512_cvtps_epi64(_mm512_castps512_ps256(rows[i])));
            high[i] = _mm512_add_epi64(high[i], _mm512_cvtps_epi64(_mm512_extractf32x8_ps(rows[i], 1)));
        }
    }
    for (int i = 0; i < kSide; ++i) {
        if (!(at.channels >> i & 1)) continue;
        const __m512 sum = _mm512_castps256_ps512(_mm512_cvtepi64_ps(low[i]));
        at.store(at.channel + i, _mm512_insertf32x8(sum, _mm512_cvtepi64_ps(high[i]), 1));
    }
}

__mmask16 first(int64_t count) { return count >= kSide ? 0xffff : static_cast<__mmask16>((1u << count) - 1); }

}  // namespace

void finish_pixels_avx512(const FinishProblem& p, int64_t n, int64_t begin, int64_t end) {
    const bool narrow = p.bound < int64_t{1} << 31 && p.count > 0;
    for (int64_t o = 0; o < p.channels; o += kSide)
        for (int64_t pixel = begin; pixel < end; pixel += kSide) {
            const Place at{p, n, pixel, o, first(end - pixel), first(p.channels - o)};
            if (narrow)
                tile_narrow(at);
            else
                tile_wide(at);
        }
}
