#include "activation.h"

#include <algorithm>
#include <cstring>

#include "activation_kernels.h"
#include "isa.h"
#include "parallel.h"

namespace {

uint8_t code_of(const ActivationProblem& p, int64_t i) {
    return p.values ? static_cast<uint8_t>(p.quantization.index(p.values[i])) : p.codes[i];
}

int64_t padded_height(const ActivationProblem& p) { return p.top + p.h + p.bottom; }
int64_t padded_width(const ActivationProblem& p) { return p.left + p.w + p.right; }

// The padded image's pixel (n, y, x), all channels, from one code per channel.
void write_pixel(const ActivationProblem& p, int64_t n, int64_t y, int64_t x, const uint8_t* codes) {
    const int64_t plane = padded_height(p) * padded_width(p), pixel = n * plane + y * padded_width(p) + x;
    for (int64_t k = 0; k < p.rank; ++k)
        for (int64_t c = 0; c < p.c; ++c) p.out[factor_offset(p, pixel, k, c)] = p.tables[k * 256 + codes[c]];
    if (!p.addend) return;
    const int64_t depth = p.c / p.groups;
    for (int64_t g = 0; g < p.groups; ++g) {
        int32_t sum = 0;
        for (int64_t c = g * depth; c < (g + 1) * depth; ++c) sum += p.addend[codes[c]];
        p.sums[(n * p.groups + g) * plane + y * padded_width(p) + x] = sum;
    }
}

}  // namespace

int64_t factor_offset(const ActivationProblem& p, int64_t pixel, int64_t k, int64_t c) {
    switch (p.layout) {
        case FactorLayout::planes: return (k * p.n * padded_height(p) * padded_width(p) + pixel) * p.c + c;
        case FactorLayout::blocks: return (pixel * p.rank + k) * p.c + c;
        default: return (pixel * p.c + c) * p.rank + k;
    }
}

void expand_activations_reference(const ActivationProblem& p) {
    std::vector<uint8_t> codes(p.c);
    for (int64_t n = 0; n < p.n; ++n)
        for (int64_t y = 0; y < padded_height(p); ++y)
            for (int64_t x = 0; x < padded_width(p); ++x) {
                const int64_t iy = y - p.top, ix = x - p.left;
                const bool inside = 0 <= iy && iy < p.h && 0 <= ix && ix < p.w;
                for (int64_t c = 0; c < p.c; ++c)
                    codes[c] = inside ? code_of(p, ((n * p.c + c) * p.h + iy) * p.w + ix) : p.halo_code;
                write_pixel(p, n, y, x, codes.data());
            }
}

namespace {

// Halo: one pixel is computed, the others are copies of it.
struct HaloPixel {
    std::vector<uint8_t> bytes;      // [rank][C] or [C][rank]
    std::vector<int32_t> sums;       // [groups]

    explicit HaloPixel(const ActivationProblem& p) : bytes(p.rank * p.c), sums(p.addend ? p.groups : 0) {
        for (int64_t k = 0; k < p.rank; ++k)
            for (int64_t c = 0; c < p.c; ++c)
                bytes[p.layout == FactorLayout::interleaved ? c * p.rank + k : k * p.c + c] =
                    p.tables[k * 256 + p.halo_code];
        for (auto& sum : sums) sum = static_cast<int32_t>(p.c / p.groups) * p.addend[p.halo_code];
    }

    void fill(const ActivationProblem& p, int64_t n, int64_t y, int64_t from, int64_t to) const {
        if (from >= to) return;
        const int64_t plane = padded_height(p) * padded_width(p), first = y * padded_width(p) + from;
        for (int64_t g = 0; g < static_cast<int64_t>(sums.size()); ++g)
            std::fill_n(p.sums + (n * p.groups + g) * plane + first, to - from, sums[g]);
        if (p.rank == 0) return;
        if (p.layout == FactorLayout::planes) {
            for (int64_t k = 0; k < p.rank; ++k)
                std::memset(p.out + factor_offset(p, n * plane + first, k, 0), bytes[k * p.c], (to - from) * p.c);
            return;
        }
        uint8_t* out = p.out + (n * plane + first) * bytes.size();
        for (int64_t x = from; x < to; ++x, out += bytes.size()) std::memcpy(out, bytes.data(), bytes.size());
    }
};

void fill_halo(const ActivationProblem& p, const HaloPixel& halo, int64_t n) {
    for (int64_t y = 0; y < padded_height(p); ++y) {
        const bool inside = p.top <= y && y < p.top + p.h;
        halo.fill(p, n, y, 0, inside ? p.left : padded_width(p));
        if (inside) halo.fill(p, n, y, p.left + p.w, padded_width(p));
    }
}

}  // namespace

void expand_pixels_portable(const ActivationProblem& p, int64_t n, int64_t begin, int64_t end) {
    // Blocks of pixels, so that the channel planes are read in runs and the codes stay in the first cache.
    constexpr int64_t kBlock = 64;
    std::vector<uint8_t> codes(kBlock * p.c);
    for (int64_t first = begin; first < end; first += kBlock) {
        const int64_t count = std::min(kBlock, end - first);
        for (int64_t c = 0; c < p.c; ++c)
            for (int64_t i = 0; i < count; ++i) codes[i * p.c + c] = code_of(p, (n * p.c + c) * p.h * p.w + first + i);
        for (int64_t i = 0; i < count; ++i)
            write_pixel(p, n, p.top + (first + i) / p.w, p.left + (first + i) % p.w, &codes[i * p.c]);
    }
}

void expand_activations(const ActivationProblem& p) {
    const HaloPixel halo(p);
    auto* pixels = expand_pixels_portable;
#ifdef CARRYSAVE_AVX512
    if (chosen_isa() == Isa::avx512) pixels = expand_pixels_avx512;
#endif
    const int64_t size = p.h * p.w, parts = std::max<int64_t>(1, std::min<int64_t>(p.threads, size / 64));
    const int64_t step = (size + parts - 1) / parts;
    parallel_for(p.n * parts, 1, p.threads, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
            const int64_t n = i / parts, part = i % parts;
            if (part == 0) fill_halo(p, halo, n);
            pixels(p, n, std::min(size, part * step), std::min(size, (part + 1) * step));
        }
    });
}
