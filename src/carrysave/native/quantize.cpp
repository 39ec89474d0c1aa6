#include "quantize.h"

#include "parallel.h"

namespace {

template <class Code>
void quantize_all(Isa isa, const float* values, int64_t count, const Quantization& q, Code* out) {
#ifdef CARRYSAVE_AVX512
    if (isa == Isa::avx512) return quantize_avx512(values, count, q, out);
#endif
    (void)isa;
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<Code>(q.index(values[i]));
}

}  // namespace

void quantize(Isa isa, const float* values, int64_t count, const Quantization& q, uint8_t* out) {
    quantize_all(isa, values, count, q, out);
}
void quantize(Isa isa, const float* values, int64_t count, const Quantization& q, int32_t* out) {
    quantize_all(isa, values, count, q, out);
}

void offset_sums(const OffsetSums& p) {
    const Isa isa = chosen_isa();
    const int64_t planes = p.n * p.groups, depth = p.c / p.groups, width = p.w + 2 * p.left, height = p.h + 2 * p.top;
    const int32_t shift = p.quantization.low - p.quantization.zero;
    parallel_for(planes, p.threads > 1 ? 1 : std::max<int64_t>(planes, 1), p.threads, [&](int64_t begin, int64_t end) {
        QuantizedRows<int32_t> rows(isa, p.values, p.quantization, p.h, p.w);
        for (int64_t plane = begin; plane < end; ++plane) {
            int32_t* sums = p.sums + plane * height * width;
            std::fill_n(sums, height * width, 0);
            for (int64_t c = 0; c < depth; ++c)
                for (int64_t y = 0; y < p.h; ++y) {
                    const int32_t* codes = rows.row(plane * depth + c, y, p.h);
                    int32_t* to = sums + (p.top + y) * width + p.left;
                    for (int64_t x = 0; x < p.w; ++x) to[x] += codes[x] + shift;
                }
        }
    });
}
