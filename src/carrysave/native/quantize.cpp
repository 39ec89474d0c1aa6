#include "quantize.h"

void quantize(Isa isa, const float* values, int64_t count, const Quantization& q, uint8_t* out) {
#ifdef CARRYSAVE_AVX512
    if (isa == Isa::avx512) return quantize_avx512(values, count, q, out);
#endif
    (void)isa;
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>(q.index(values[i]));
}
