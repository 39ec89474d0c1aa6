#include "table.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "isa.h"
#include "parallel.h"
#include "quantize.h"
#include "table_kernels.h"

namespace {

int entries_for(int64_t codes) {
    for (int entries : {16, 64, 128, 256, 512, 1024, 2048, 4096})
        if (codes <= entries) return entries;
    throw std::invalid_argument("table engine: " + std::to_string(codes) + " activation codes, at most 4096 fit");
}

}  // namespace

TableWeights::TableWeights(const int64_t* table, int64_t activation_codes_, int64_t weight_codes, const uint16_t* weights,
                           int64_t channels_, int64_t taps_, Order order)
    : activation_codes(activation_codes_), channels(channels_), taps(taps_), entries(entries_for(activation_codes_)), planes(0), offset(channels_, 0) {
    std::vector<bool> occurs(weight_codes, false);
    for (int64_t i = 0; i < channels * taps; ++i) {
        if (weights[i] >= weight_codes)
            throw std::invalid_argument("table engine: weight code " + std::to_string(weights[i]) + ", but the table has " +
                                        std::to_string(weight_codes) + " columns");
        occurs[weights[i]] = true;
    }
    std::vector<int64_t> least(weight_codes, 0), index(weight_codes, 0), span(weight_codes, 0);
    int64_t count = 0;
    uint64_t widest = 0;
    for (int64_t w = 0; w < weight_codes; ++w) {
        if (!occurs[w]) continue;
        int64_t low = table[w], high = table[w];
        for (int64_t x = 1; x < activation_codes; ++x) {
            low = std::min(low, table[x * weight_codes + w]);
            high = std::max(high, table[x * weight_codes + w]);
        }
        least[w] = low, index[w] = count++, span[w] = high - low;
        widest = std::max(widest, static_cast<uint64_t>(high) - static_cast<uint64_t>(low));
    }
    if (widest >> 32) throw std::invalid_argument("table engine: the products of one weight code span 2^32 or more");
    planes = widest >> 24 ? 4 : widest >> 16 ? 3 : widest >> 8 ? 2 : widest ? 1 : 0;
    const bool bytes = entries <= 256;
    const int64_t row_bytes = bytes ? int64_t{planes} * std::max(entries, 64) : 4 * int64_t{entries};
    rows = aligned_bytes(count * row_bytes);
    for (int64_t w = 0; w < weight_codes; ++w)
        for (int64_t x = 0; occurs[w] && x < activation_codes; ++x) {
            const auto value = static_cast<uint32_t>(table[x * weight_codes + w] - least[w]);
            uint8_t* row = rows.get() + index[w] * row_bytes;
            if (!bytes) std::memcpy(row + 4 * x, &value, 4);
            for (int j = 0; bytes && j < planes; ++j) row[j * std::max(entries, 64) + x] = static_cast<uint8_t>(value >> (8 * j));
        }
    steps.resize(channels * taps);
    reach = 0;
    for (int64_t o = 0; o < channels; ++o) {
        double sum = 0;
        for (int64_t k = 0; k < taps; ++k) {
            const int64_t w = weights[o * taps + k];
            offset[o] += least[w];
            sum += static_cast<double>(span[w]);
            steps[o * taps + k] = {static_cast<uint32_t>(k % kSegment), static_cast<uint32_t>(index[w] * row_bytes)};
        }
        reach = std::max(reach, static_cast<int64_t>(std::min(sum, 4e18)));
        for (int64_t k = 0; k < taps && order == Order::sorted; k += kSegment)   // equal rows follow each other: fewer distinct cache lines
            std::stable_sort(steps.begin() + o * taps + k, steps.begin() + o * taps + std::min(taps, k + kSegment),
                             [](const Step& a, const Step& b) { return a.row < b.row; });
    }
    narrow = reach < int64_t{1} << 32;
}

TableWeights::~TableWeights() = default;

void table_conv_reference(const TableConv& problem, const int64_t* table, int64_t weight_codes, const uint16_t* weights) {
    const ConvShape& p = problem.shape;
    const int64_t channels = problem.weights->channels;
    for (int64_t n = 0; n < p.n; ++n)
        for (int64_t o = 0; o < channels; ++o)
            for (int64_t y = 0; y < p.out_height; ++y)
                for (int64_t x = 0; x < p.out_width; ++x) {
                    const int64_t g = o / (channels / p.groups), pixel = y * p.out_width + x;
                    int64_t acc = problem.constant ? problem.constant[o] : 0;
                    if (problem.box) acc += problem.box[(n * p.groups + g) * p.pixels() + pixel];
                    for (int64_t k = 0; k < p.taps(); ++k) {
                        const int64_t c = k / (p.kh * p.kw), ky = k / p.kw % p.kh, kx = k % p.kw;
                        const int64_t iy = y * p.sy + ky * p.dy - p.top, ix = x * p.sx + kx * p.dx - p.left;
                        const bool inside = 0 <= iy && iy < p.h && 0 <= ix && ix < p.w;
                        const int64_t at = ((n * p.c + g * p.depth() + c) * p.h + iy) * p.w + ix;
                        const int64_t code = !inside           ? problem.pad
                                             : problem.values ? problem.quantization.index(problem.values[at])
                                             : problem.codes  ? problem.codes[at]
                                                              : problem.wide_codes[at];
                        acc += table[code * weight_codes + weights[o * p.taps() + k]];
                    }
                    const int64_t at = (n * channels + o) * p.pixels() + pixel;
                    if (problem.out) problem.out[at] = static_cast<float>(acc) * (problem.scale ? problem.scale[o] : 1.0f);
                    if (problem.integers) problem.integers[at] = acc;
                }
}

namespace {

template <class Sum>
void accumulate(Isa isa, const TileTask& task, Sum* sums) {
    switch (isa) {
#ifdef CARRYSAVE_AVX512
        case Isa::avx512: return tile_avx512(task, sums);
#endif
#ifdef CARRYSAVE_AVX2
        case Isa::avx2: return tile_avx2(task, sums);
#endif
#ifdef CARRYSAVE_NEON
        case Isa::neon: return tile_neon(task, sums);
#endif
        default: return tile_portable(task, sums);
    }
}

template <class Sum, class Out>
void write_totals(const LaneTotals<Sum>& totals, Out* out) {
    for (int64_t i = 0; i < totals.count; ++i)
        out[i] = static_cast<Out>(static_cast<int64_t>(totals.sums[i]) + totals.constant + (totals.box ? totals.factor * totals.box[i] : 0)) *
                 static_cast<Out>(totals.scale);
}

template <class Code, class Sum>
class Worker {
  public:
    Worker(const TableConv& problem_, Isa isa_)
        : problem(problem_), weights(*problem.weights), isa(isa_), group_channels(weights.channels / problem.shape.groups),
          rows(isa, sizeof(Code) == 1 ? problem.values : nullptr, problem.quantization, problem.shape.h, problem.shape.w),
          sums(group_channels * kLanes * static_cast<int64_t>(sizeof(Sum))) {}

    void run(const Part& part) {
        const ConvShape& p = part.shape;
        const auto pad = static_cast<Code>(problem.pad);
        const int64_t last = std::min(p.h, (p.out_height - 1) * p.sy + (p.kh - 1) * p.dy + 1 - p.top);
        const auto read = [&](int64_t n, int64_t c, int64_t y, int64_t x, int64_t count, Code* to) {
            const int64_t plane = (part.image + n) * p.c + part.group * p.depth() + c;
            if (sizeof(Code) == 1 && problem.values)
                std::memcpy(to, rows.row(plane, y, last) + x, static_cast<size_t>(count));
            else
                read_codes((plane * p.h + y) * p.w + x, count, to);
        };
        const Padded<Code> padded(part, p.depth(), read, pad);
        const Lanes lanes = lanes_of(p, padded.pitch, kLanes / 4, kLanes / 4, kGatherCost, group_channels);
        Tiles<Code, kLanes> tiles(part, padded, isa, lanes, std::min(weights.taps, TableWeights::kSegment));
        for (int64_t i = 0; i < tiles.count(); ++i) {
            add_up(part.group, tiles, tiles.select(i));
            for (int64_t o = 0; o < group_channels; ++o) write(part.group, o, tiles);
        }
    }

  private:
    static constexpr double kGatherCost = 0.5;
    static constexpr int64_t kHalf = int64_t{1} << 30;

    const TableConv& problem;
    const TableWeights& weights;
    Isa isa;
    int64_t group_channels;
    QuantizedRows<uint8_t> rows;
    Scratch sums;                // [group_channels][kLanes]

    void read_codes(int64_t at, int64_t count, Code* to) const {
        if constexpr (sizeof(Code) == 1) {
            std::memcpy(to, problem.codes + at, static_cast<size_t>(count));
        } else {
            for (int64_t i = 0; i < count; ++i)
                to[i] = problem.wide_codes ? problem.wide_codes[at + i]
                                           : static_cast<Code>(problem.quantization.index(problem.values[at + i]));
        }
    }

    void add_up(int64_t group, const Tiles<Code, kLanes>& tiles, int lanes) const {
        Sum* sum = sums.at<Sum>(0);
        std::memset(sum, 0, group_channels * kLanes * sizeof(Sum));
        for (int64_t k = 0; k < weights.taps && weights.planes; k += TableWeights::kSegment) {
            const int64_t taps = std::min(TableWeights::kSegment, weights.taps - k);
            const Operands<Code> codes = tiles.operands(k, taps);
            for (int64_t o = 0; o < group_channels; ++o) {
                const Step* steps = weights.steps.data() + (group * group_channels + o) * weights.taps + k;
                const TableTask<Code> task{codes, weights.rows.get(), steps, taps, weights.entries, weights.planes, lanes, tiles.gathered()};
                if constexpr (sizeof(Code) == 2)
                    tile_wide(task, sum + o * kLanes);
                else
                    accumulate(isa, task, sum + o * kLanes);
            }
        }
    }

    void write(int64_t group, int64_t channel, const Tiles<Code, kLanes>& tiles) const {
        const ConvShape& p = problem.shape;
        const int64_t o = group * group_channels + channel;
        const int64_t constant = weights.offset[o] + (problem.constant ? problem.constant[o] : 0);
        const bool short_totals = weights.narrow && !problem.box && std::abs(constant) < kHalf && weights.reach < kHalf;
        tiles.for_each_run([&](int64_t lane, int64_t count, int64_t n, int64_t pixel) {
            const LaneTotals<Sum> totals{sums.at<Sum>(0) + channel * kLanes + lane, count, constant,
                                         problem.box ? problem.box + (n * p.groups + group) * p.pixels() + pixel : nullptr, 1,
                                         problem.scale && problem.out ? problem.scale[o] : 1.0f, short_totals};
            const int64_t at = (n * weights.channels + o) * p.pixels() + pixel;
            if (problem.integers) write_totals(totals, problem.integers + at);
            if (!problem.out) return;
#ifdef CARRYSAVE_AVX512
            if (isa == Isa::avx512) return totals_avx512(totals, problem.out + at);
#endif
            write_totals(totals, problem.out + at);
        });
    }
};

template <class Sum, class Code>
void conv(const TableConv& problem) {
    const Parts parts(problem.shape, sizeof(Code), problem.threads);
    const Isa isa = chosen_isa();
    parallel_for(parts.count(), problem.threads > 1 ? 1 : parts.count(), problem.threads, [&](int64_t begin, int64_t end) {
        Worker<Code, Sum> worker(problem, isa);
        for (int64_t i = begin; i < end; ++i) worker.run(parts[i]);
    });
}

template <class Sum>
void conv_of(const TableConv& problem) {
    if (problem.weights->entries > 256)
        conv<Sum, uint16_t>(problem);
    else
        conv<Sum, uint8_t>(problem);
}

}  // namespace

void table_conv(const TableConv& problem) {
    if (problem.weights->narrow)
        conv_of<uint32_t>(problem);
    else
        conv_of<uint64_t>(problem);
}

namespace {

template <int kPlanes, class Sum>
void tile_planes(const TileTask& task, Sum* sums) {
    const int stride = task.entries < 64 ? 64 : task.entries;
    for (int64_t i = 0; i < task.taps; ++i) {
        const int64_t offset = task.codes.offsets[task.steps[i].tap];
        const uint8_t* row = task.rows + task.steps[i].row;
        for (int lane = 0; lane < task.lanes; ++lane) {
            const uint8_t* at = row + task.codes.from[lane / 64][offset + lane % 64];
            uint32_t product = at[0];
            if constexpr (kPlanes > 1) product |= static_cast<uint32_t>(at[stride]) << 8;
            if constexpr (kPlanes > 2) product |= static_cast<uint32_t>(at[2 * stride]) << 16;
            if constexpr (kPlanes > 3) product |= static_cast<uint32_t>(at[3 * stride]) << 24;
            sums[lane] += product;
        }
    }
}

template <class Sum>
void tile_bytes(const TileTask& task, Sum* sums) {
    switch (task.planes) {
        case 1: return tile_planes<1>(task, sums);
        case 2: return tile_planes<2>(task, sums);
        case 3: return tile_planes<3>(task, sums);
        default: return tile_planes<4>(task, sums);
    }
}

// Codes of 9 to 12 bits: gathers are no faster than loads one by one on the processors measured.
template <class Sum>
void tile_entries(const TableTask<uint16_t>& task, Sum* sums) {
    for (int64_t i = 0; i < task.taps; ++i) {
        const int64_t offset = task.codes.offsets[task.steps[i].tap];
        const auto* row = reinterpret_cast<const uint32_t*>(task.rows + task.steps[i].row);
        for (int lane = 0; lane < task.lanes; ++lane) sums[lane] += row[task.codes.from[lane / 64][offset + lane % 64]];
    }
}

}  // namespace

void tile_portable(const TileTask& task, uint32_t* sums) { tile_bytes(task, sums); }
void tile_portable(const TileTask& task, uint64_t* sums) { tile_bytes(task, sums); }
void tile_wide(const TableTask<uint16_t>& task, uint32_t* sums) { tile_entries(task, sums); }
void tile_wide(const TableTask<uint16_t>& task, uint64_t* sums) { tile_entries(task, sums); }
