#include "logarithmic.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "logarithmic_kernels.h"
#include "quantize.h"
#include "table_kernels.h"

namespace {

template <class Sum, class Out>
void write_totals(const LaneTotals<Sum>& totals, Out* out) {
    for (int64_t i = 0; i < totals.count; ++i) {
        const uint64_t box = static_cast<uint64_t>(totals.factor) * static_cast<uint64_t>(int64_t{totals.box ? totals.box[i] : 0});
        const uint64_t total = static_cast<uint64_t>(int64_t{totals.sums[i]}) + static_cast<uint64_t>(totals.constant) + box;
        out[i] = static_cast<Out>(static_cast<int64_t>(total)) * static_cast<Out>(totals.scale);
    }
}

template <class T, class Sum>
void add_products(Isa isa, const LogTask<T, Sum>& task) {
    if constexpr (sizeof(T) == 2) {
#ifdef CARRYSAVE_BF16
        if (isa == Isa::avx512 && log_pairs_are_fast()) return log_tile_bf16(task);
#endif
    } else {
#ifdef CARRYSAVE_AVX512
        if (isa == Isa::avx512) return log_tile_avx512(task);
#endif
#ifdef CARRYSAVE_AVX2
        if (isa == Isa::avx2) return log_tile_avx2(task);
#endif
    }
    (void)isa;
    log_tile_portable(task);
}

template <class T>
void mark(Isa isa, const LogMarks<T>& marks) {
#ifdef CARRYSAVE_AVX512
    if (isa == Isa::avx512) return log_marks_avx512(marks);
#endif
    (void)isa;
    log_marks_portable(marks);
}

template <class Sum>
void count(Isa isa, const LogCount<Sum>& task) {
    if (!task.count) return;
#ifdef CARRYSAVE_AVX512
    if (isa == Isa::avx512) return log_count_avx512(task);
#endif
    (void)isa;
    log_count_portable(task);
}

template <class T, class Sum>
class Worker {
  public:
    Worker(const LogConv<T>& problem_, Isa isa_)
        : problem(problem_), weights(*problem.weights), isa(isa_),
          masked(isa == Isa::avx512 && weights.counts && weights.mark == LogWeights<T>::Mark::zero),
          counting(masked ? weights.counts_beyond_zeros : weights.counts), group_channels(weights.channels / weights.groups),
          rows(isa, values_of(problem), problem.quantization, problem.shape.h, problem.shape.w),
          odd_rows(isa, kWords > 1 ? values_of(problem) : nullptr, problem.quantization, problem.shape.h, problem.shape.w),
          wide_rows(isa, few_codes(problem.quantization) ? nullptr : problem.values, problem.quantization, problem.shape.h,
                    problem.shape.w),
          sums(group_channels * kLogLanes * static_cast<int64_t>(sizeof(Sum))),
          negative(counting ? weights.segment * kLogLanes : 0), other(counting ? weights.segment * kLogLanes : 0),
          every_tap(weights.segment) {
        std::iota(every_tap.begin(), every_tap.end(), 0);
    }

    void run(const Part& part) {
        const ConvShape& p = part.shape;
        last_row = std::min(p.h, (p.out_height - 1) * p.sy + (p.kh - 1) * p.dy + 1 - p.top);
        const auto read = [&](int64_t n, int64_t c, int64_t y, int64_t x, int64_t many, Unit* to) {
            read_units(part, n, c, y, x, many, to);
        };
        const int64_t depth = (p.depth() + kWords - 1) / kWords;
        const Padded<Unit> padded(part, depth, read, unit_of(problem.pad, problem.pad));
        const Lanes lanes = lanes_of(p, padded.pitch, kLogLanes / 4, kLogLanes, kGatherCost, group_channels);
        Tiles<Unit, kLogLanes> tiles(part, padded, isa, lanes, std::min(weights.units, weights.segment));
        for (int64_t i = 0; i < tiles.count(); ++i) {
            add_up(part.group, tiles, tiles.select(i));
            for (int64_t o = 0; o < group_channels; ++o) write(part.group, o, tiles);
        }
    }

  private:
    using Unit = typename LogUnit<T>::Type;
    static constexpr int64_t kWords = LogUnit<T>::kWords;
    static constexpr double kGatherCost = 3;

    const LogConv<T>& problem;
    const LogWeights<T>& weights;
    Isa isa;
    bool masked, counting;              // masked: activations of zero are left out, not counted and made up for
    int64_t group_channels;
    QuantizedRows<uint8_t> rows, odd_rows;   // odd_rows: of the second channel of a unit
    QuantizedRows<int32_t> wide_rows;
    int64_t last_row = 0;               // of the input that the part needs
    Scratch sums;                       // [group_channels][kLogLanes]
    Scratch negative, other;            // as LogMarks has them
    std::vector<int32_t> every_tap;     // 0, 1, .. of a segment

    static Unit unit_of(T first, T second) {
        using U = std::make_unsigned_t<Unit>;
        if constexpr (kWords == 1) return first;
        return static_cast<Unit>(static_cast<uint16_t>(first) | static_cast<U>(static_cast<uint16_t>(second)) << 16);
    }

    void read_units(const Part& part, int64_t n, int64_t c, int64_t y, int64_t x, int64_t many, Unit* to) {
        const ConvShape& p = part.shape;
        const int64_t plane = (part.image + n) * p.c + part.group * p.depth() + c * kWords;
        if constexpr (kWords == 1) {
            read_words(0, plane, y, x, many, to);
        } else {
            constexpr int64_t kMost = 256;
            T even[kMost], odd[kMost];
            std::fill_n(odd, std::min(kMost, many), LogWords<T>::kZero);
            for (int64_t i = 0; i < many; i += kMost) {
                const int64_t some = std::min(kMost, many - i);
                read_words(0, plane, y, x + i, some, even);
                if (c * kWords + 1 < p.depth()) read_words(1, plane + 1, y, x + i, some, odd);
                for (int64_t j = 0; j < some; ++j) to[i + j] = unit_of(even[j], odd[j]);
            }
        }
    }

    void read_words(int channel, int64_t plane, int64_t y, int64_t x, int64_t many, T* to) {
        const int64_t at = (plane * problem.shape.h + y) * problem.shape.w + x;
        const T* table = problem.table;
        if (problem.words)
            std::memcpy(to, problem.words + at, static_cast<size_t>(many) * sizeof(T));
        else if (problem.codes)
            log_look_up(table, problem.codes + at, many, to);
        else if (problem.wide_codes)
            log_look_up(table, problem.wide_codes + at, many, to);
        else if (few_codes(problem.quantization))
            log_look_up(table, (channel ? odd_rows : rows).row(plane, y, last_row) + x, many, to);
        else
            log_look_up(table, wide_rows.row(plane, y, last_row) + x, many, to);
    }

    static bool few_codes(const Quantization& q) { return q.high - q.low < 256; }
    static const float* values_of(const LogConv<T>& problem) {
        return few_codes(problem.quantization) ? problem.values : nullptr;
    }

    void add_up(int64_t group, const Tiles<Unit, kLogLanes>& tiles, int lanes) const {
        Sum* sum = sums.at<Sum>(0);
        std::fill_n(sum, group_channels * kLogLanes, Sum{0});
        for (int64_t k = 0; k < weights.units; k += weights.segment) {
            const int64_t taps = std::min(weights.segment, weights.units - k);
            const Operands<Unit> words = tiles.operands(k, taps);
            for (int64_t o = 0; o < group_channels; o += kLogOutputs) {
                const int outputs = static_cast<int>(std::min<int64_t>(kLogOutputs, group_channels - o));
                const Unit* packed = weights.packed.data() + (group * group_channels + o) * weights.units + k * outputs;
                add_products(isa, LogTask<T, Sum>{words, packed, taps, outputs, lanes, weights.sum, masked, sum + o * kLogLanes});
            }
            if constexpr (kWords == 1)
                if (counting) add_counts(words, group * group_channels, k, taps);
        }
    }

    void add_counts(const Operands<T>& words, int64_t first_channel, int64_t tap, int64_t taps) const {
        int8_t* const below = negative.at<int8_t>(0);
        mark(isa, LogMarks<T>{words, taps, weights.mark, below, other.at<int8_t>(0)});
        alignas(64) Sum all[kLogLanes] = {};
        if (weights.every) count(isa, LogCount<Sum>{below, every_tap.data(), taps, 0, weights.every, all});
        for (int64_t o = 0; o < group_channels; ++o) {
            Sum* sum = sums.at<Sum>(0) + o * kLogLanes;
            if (weights.every)
                for (int lane = 0; lane < kLogLanes; ++lane) sum[lane] += all[lane];
            const auto add = [&](const typename LogWeights<T>::Taps& list, const int8_t* marks, int factor) {
                const int64_t* start = list.starts.data() + tap / weights.segment;
                count(isa, LogCount<Sum>{marks, list.taps.data() + start[0], start[1] - start[0], tap, factor, sum});
            };
            if (!masked) add(weights.below[first_channel + o], other.at<int8_t>(0), weights.factor);
            add(weights.zeros[first_channel + o], below, 1);
        }
    }

    void write(int64_t group, int64_t channel, const Tiles<Unit, kLogLanes>& tiles) const {
        const ConvShape& p = problem.shape;
        const int64_t o = group * group_channels + channel;
        const int64_t constant = weights.offset[o] + (problem.constant ? problem.constant[o] : 0);
        constexpr int64_t kHalf = int64_t{1} << 30;
        const bool short_totals = weights.narrow && !problem.box && -kHalf < constant && constant < kHalf;
        tiles.for_each_run([&](int64_t lane, int64_t many, int64_t n, int64_t pixel) {
            const LaneTotals<Sum> totals{sums.at<Sum>(0) + channel * kLogLanes + lane, many, constant,
                                         problem.box ? problem.box + (n * p.groups + group) * p.pixels() + pixel : nullptr,
                                         problem.factor ? problem.factor[o] : 1,
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

template <class Sum, class T>
void conv(const LogConv<T>& problem) {
    const Parts parts(problem.shape, sizeof(T), problem.threads);
    const Isa isa = chosen_isa();
    parallel_for(parts.count(), problem.threads > 1 ? 1 : parts.count(), problem.threads, [&](int64_t begin, int64_t end) {
        Worker<T, Sum> worker(problem, isa);
        for (int64_t i = begin; i < end; ++i) worker.run(parts[i]);
    });
}

}  // namespace

bool log_pairs_are_fast() {
#ifdef CARRYSAVE_BF16
    static const bool present = __builtin_cpu_supports("avx512bf16");
    return present;
#else
    return false;
#endif
}

template <class T>
void log_conv(const LogConv<T>& problem) {
    if constexpr (sizeof(T) < 8)
        if (problem.weights->narrow) return conv<int32_t>(problem);
    conv<int64_t>(problem);
}
template void log_conv(const LogConv<int16_t>&);
template void log_conv(const LogConv<int32_t>&);
template void log_conv(const LogConv<int64_t>&);
