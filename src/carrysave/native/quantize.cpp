#include "quantize.h"

#include "isa.h"
#include "parallel.h"

void quantize(const float* values, int64_t count, const Quantization& q, uint8_t* out, int threads) {
    const Isa isa = chosen_isa();
    parallel_for(count, threads > 1 ? 1 << 16 : std::max<int64_t>(count, 1), threads, [&](int64_t begin, int64_t end) {
#ifdef CARRYSAVE_AVX512
        if (isa == Isa::avx512) return quantize_avx512(values + begin, end - begin, q, out + begin);
#endif
        (void)isa;
        for (int64_t i = begin; i < end; ++i) out[i] = static_cast<uint8_t>(q.index(values[i]));
    });
}
