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

Parts::Parts(const ConvShape& shape, int64_t element, int threads)
    : p(shape), images(p.n), rows(p.out_height), columns(p.out_width) {
    constexpr int64_t kBytes = 384 << 10, kLeastLanes = 256;
    const int64_t wanted = threads > 1 ? 4 * int64_t{threads} : 1;
    const auto large = [&] {
        const int64_t height = (rows - 1) * p.sy + (p.kh - 1) * p.dy + 1, width = (columns - 1) * p.sx + (p.kw - 1) * p.dx + 1;
        const bool few = count() < wanted && images * rows * columns > kLeastLanes;
        return few || images * p.depth() * height * width * element > kBytes;
    };
    while (images > 1 && images * p.pixels() > kLeastLanes && large()) images = (images + 1) / 2;
    if (images > 1) return;
    while (rows > 1 && rows * columns > kLeastLanes && large()) rows = (rows + 1) / 2;
    while (rows == 1 && columns > kLeastLanes && large()) columns = (columns / 2 + 63) / 64 * 64;
}

Part Parts::operator[](int64_t i) const {
    const int64_t across = blocks(p.out_width, columns), down = blocks(p.out_height, rows), deep = blocks(p.n, images);
    const int64_t x = i % across * columns, y = i / across % down * rows, n = i / across / down % deep * images;
    Part part{p, i / across / down / deep, n, y * p.out_width + x};
    part.shape.n = std::min(images, p.n - n);
    part.shape.out_height = std::min(rows, p.out_height - y), part.shape.out_width = std::min(columns, p.out_width - x);
    part.shape.top -= y * p.sy, part.shape.left -= x * p.sx;
    return part;
}

Lanes lanes_of(const ConvShape& p, int64_t pitch, int64_t quarter, int64_t step, double gather_cost, int64_t group_channels) {
    if (p.out_width % quarter == 0) return Lanes::aligned;
    const int64_t span = (p.out_height - 1) * pitch + p.out_width, padded = (span + step - 1) / step * step;
    const double wasted = static_cast<double>(padded) / static_cast<double>(p.pixels()) - 1;
    return wasted <= gather_cost / static_cast<double>(group_channels) ? Lanes::padded : Lanes::gathered;
}
