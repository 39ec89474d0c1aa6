#include "conv.h"

namespace {

template <int kBytes>
void copy_runs(const GatherTask& task) {
    uint8_t* to = task.to;
    for (int64_t i = 0; i < task.taps; ++i, to += task.stride) {
        const uint8_t* from = task.from + task.shifts[i] * task.element;
        for (const Run& run : task.runs) {
            int64_t j = 0;
            do std::memcpy(to + run.to + j, from + run.from + j, kBytes);
            while ((j += kBytes) < run.length);
        }
    }
}

}  // namespace

void gather(Isa isa, const GatherTask& task) {
#ifdef CARRYSAVE_AVX512
    if (isa == Isa::avx512) return gather_avx512(task);
#endif
    (void)isa;
    if (task.longest <= 16)
        copy_runs<16>(task);
    else
        copy_runs<32>(task);
}
