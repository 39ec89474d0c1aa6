#include "logarithmic.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "isa.h"
#include "logarithmic_kernels.h"
#include "table_kernels.h"

template <class T>
T LogWords<T>::activation(int64_t log, int fraction_bits, bool negative, LogRounding rounding) {
    using U = std::make_unsigned_t<T>;
    U word = static_cast<U>(log) << (kFraction - fraction_bits);
    const bool nudged = rounding == LogRounding::down || rounding == LogRounding::magnitude;
    if (negative) word |= U{1} << (8 * sizeof(T) - 1) | (nudged ? 1 : 0);
    return static_cast<T>(word);
}
template struct LogWords<int32_t>;
template struct LogWords<int64_t>;

namespace {

template <class T>
T wrapped_sum(T a, T b) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
}

// One product from its operands' words, by shifts of integers.
template <class T>
int64_t product(T x, T w, LogRounding rounding) {
    constexpr int kFraction = LogWords<T>::kFraction;
    if (x == LogWords<T>::kZero || w == wrapped_sum(LogWords<T>::kZero, LogWords<T>::kBias)) return 0;
    const auto sum = static_cast<uint64_t>(static_cast<std::make_unsigned_t<T>>(wrapped_sum(x, w)));
    const bool negative = sum >> (8 * sizeof(T) - 1);
    const uint64_t one = uint64_t{1} << kFraction;
    const int64_t exponent = static_cast<int64_t>(sum >> kFraction & (sizeof(T) == 4 ? 0xff : 0x7ff)) -
                             (sizeof(T) == 4 ? 127 : 1023);
    const uint64_t mantissa = one | (sum & (one - 1));
    const uint64_t magnitude = exponent >= kFraction ? mantissa << (exponent - kFraction) : mantissa >> (kFraction - exponent);
    if (!negative) return static_cast<int64_t>(magnitude);
    const bool minus = rounding == LogRounding::toward_zero || rounding == LogRounding::magnitude;
    return static_cast<int64_t>(minus ? 0 - magnitude : ~magnitude);
}

template <class T>
constexpr T kWeightZero = static_cast<T>(static_cast<std::make_unsigned_t<T>>(LogWords<T>::kZero) +
                                         static_cast<std::make_unsigned_t<T>>(LogWords<T>::kBias));

}  // namespace

namespace {

template <class T>
T word_at(const LogConv<T>& problem, int64_t i) {
    if (problem.words) return problem.words[i];
    return problem.table[problem.codes ? problem.codes[i] : problem.wide_codes[i]];
}

template <class T>
Padded<T> pad_words(const LogConv<T>& p) {
    const T* table = p.table;
    const auto look_up = [table](auto code) { return table[code]; };
    if (p.words) return Padded<T>(p.shape, p.words, p.pad, p.threads);
    if (p.codes) return Padded<T>(p.shape, p.codes, look_up, p.pad, p.threads);
    return Padded<T>(p.shape, p.wide_codes, look_up, p.pad, p.threads);
}

}  // namespace

template <class T>
void log_conv_reference(const LogConv<T>& problem) {
    const ConvShape& p = problem.shape;
    for (int64_t n = 0; n < p.n; ++n)
        for (int64_t o = 0; o < problem.weights->channels; ++o)
            for (int64_t y = 0; y < p.out_height; ++y)
                for (int64_t x = 0; x < p.out_width; ++x) {
                    const int64_t g = o / (problem.weights->channels / p.groups), pixel = y * p.out_width + x;
                    uint64_t acc = problem.constant ? static_cast<uint64_t>(problem.constant[o]) : 0;
                    if (problem.box) acc += static_cast<uint64_t>(int64_t{problem.box[(n * p.groups + g) * p.pixels() + pixel]});
                    for (int64_t k = 0; k < p.taps(); ++k) {
                        const int64_t c = k / (p.kh * p.kw), ky = k / p.kw % p.kh, kx = k % p.kw;
                        const int64_t iy = y * p.sy + ky * p.dy - p.top, ix = x * p.sx + kx * p.dx - p.left;
                        const bool inside = 0 <= iy && iy < p.h && 0 <= ix && ix < p.w;
                        const int64_t at = ((n * p.c + g * p.depth() + c) * p.h + iy) * p.w + ix;
                        acc += static_cast<uint64_t>(product(inside ? word_at(problem, at) : problem.pad,
                                                             problem.weights->words[o * p.taps() + k], problem.weights->rounding));
                    }
                    const int64_t at = (n * problem.weights->channels + o) * p.pixels() + pixel;
                    if (problem.out) problem.out[at] = static_cast<float>(static_cast<int64_t>(acc));
                    if (problem.integers) problem.integers[at] = static_cast<int64_t>(acc);
                }
}

template <class T>
LogWeights<T>::LogWeights(const T* weights, int64_t channels_, int64_t groups, int64_t taps_, LogRounding rounding_,
                          double largest, bool signed_words)
    : channels(channels_), taps(taps_), rounding(rounding_), words(weights, weights + channels * taps),
      packed(channels * taps), offset(channels, 0),
      counts(false), all_taps(false), factor(1), counted(channels), starts(channels) {
    const int64_t group_channels = channels / groups;
    bool signed_weights = false;
    for (int64_t o = 0; o < channels; ++o) {
        const int64_t inside = o % group_channels, block = inside / kLogOutputs * kLogOutputs;
        const int64_t outputs = std::min<int64_t>(kLogOutputs, group_channels - block);
        T* to = packed.data() + (o - inside + block) * taps + inside - block;
        for (int64_t k = 0; k < taps; ++k) {
            const T word = words[o * taps + k];
            to[k * outputs] = word;
            signed_weights |= word < 0;        // the word of zero is not, for a weight
        }
    }
    const double room = sizeof(T) == 4 ? 4194304.0 : 2251799813685248.0;      // 2^22, 2^51: half of the range
    const double most = largest + 1;                                          // ~z is -z - 1
    const bool negative = signed_words || signed_weights;
    const bool nudged = rounding == LogRounding::down || rounding == LogRounding::magnitude;
    if (nudged && negative && largest >= room)
        throw std::invalid_argument("logarithmic engine: products of " + std::to_string(largest) +
                                    " are too large for `down` and `magnitude` with negative operands; use `complement` "
                                    "and `toward_zero`");
    // A flush more often than every 16 taps would cost more than a conversion of each product.
    const LogSum down = most * 16 <= room ? LogSum::floor : LogSum::down;
    if (nudged || !negative)
        sum = down;
    else
        sum = rounding == LogRounding::toward_zero ? LogSum::toward_zero : LogSum::complement;
    // Sums of int64 are modulo 2^64 in any case.
    const double limit = sum == LogSum::floor ? room : sizeof(T) == 4 ? 2147483647.0 : 1e300;
    segment = std::max<int64_t>(1, static_cast<int64_t>(std::min(limit / most, 128.0)));
    const bool minus = negative && rounding == LogRounding::magnitude;
    // Products that are zero are computed as tiny ones, of either sign; those below zero were rounded down to -1.
    masked = signed_weights && !minus && sum != LogSum::toward_zero;
    if (sum != LogSum::toward_zero) find_short(signed_words, minus);
}
// Which products are negative and not counted as -z yet: with `minus` all those of operands of opposite signs, a zero
// being positive; without, those of a weight that is zero.
template <class T>
void LogWeights<T>::find_short(bool signed_words, bool minus) {
    all_taps = minus && signed_words;
    factor = minus ? -2 : 1;       // a - b for weights below zero, where a + b was taken for all
    for (int64_t o = 0; o < channels; ++o)
        for (int64_t k = 0; k < taps; ++k) {
            const T word = words[o * taps + k];
            if (k % segment == 0) starts[o].push_back(static_cast<int64_t>(counted[o].size()));
            if (minus) offset[o] += word < 0;
            if (signed_words && (minus ? word < 0 : word == kWeightZero<T>)) counted[o].push_back(static_cast<int32_t>(k));
        }
    for (int64_t o = 0; o < channels; ++o) {
        starts[o].push_back(static_cast<int64_t>(counted[o].size()));
        counts = counts || !counted[o].empty();
    }
    counts = counts || all_taps;
}
template class LogWeights<int32_t>;
template class LogWeights<int64_t>;

namespace {

template <class Out>
void write_totals(const LaneTotals<uint64_t>& totals, Out* out) {
    for (int64_t i = 0; i < totals.count; ++i)
        out[i] = static_cast<Out>(static_cast<int64_t>(totals.sums[i] + static_cast<uint64_t>(totals.constant) +
                                                       static_cast<uint64_t>(int64_t{totals.box ? totals.box[i] : 0})));
}

template <class T>
class Worker {
  public:
    Worker(const LogConv<T>& problem_, const Padded<T>& padded_, Isa isa_)
        : problem(problem_), p(problem.shape), weights(*problem.weights), padded(padded_), isa(isa_),
          group_channels(weights.channels / p.groups),
          words(aligned_bytes(weights.segment * kLogLanes * static_cast<int64_t>(sizeof(T)))),
          present(aligned_bytes(weights.segment * 8)), negative(aligned_bytes(weights.segment * kLogLanes)),
          sums(aligned_bytes(group_channels * kLogLanes * 8)), every_tap(weights.segment) {
        std::iota(every_tap.begin(), every_tap.end(), 0);
    }

    void run(int64_t group, int64_t first, int64_t lanes) {
        const Tile<T> operands(p, padded, group, first, lanes);
        auto* sum = reinterpret_cast<int64_t*>(sums.get());
        std::fill_n(sum, group_channels * kLogLanes, int64_t{0});
        for (int64_t k = 0; k < weights.taps; k += weights.segment) {
            const int64_t taps = std::min(weights.segment, weights.taps - k);
            operands.gather(isa, k, taps, kLogLanes, reinterpret_cast<T*>(words.get()));
            if (weights.masked || weights.counts) mark(taps);
            for (int64_t o = 0; o < group_channels; o += kLogOutputs) add_block(group * group_channels, o, k, taps, sum + o * kLogLanes);
            if (weights.counts) add_counts(group * group_channels, k, taps, sum);
        }
        for (int64_t o = 0; o < group_channels; ++o) write(group, group * group_channels + o, first, lanes, sum + o * kLogLanes);
    }

  private:
    const LogConv<T>& problem;
    const ConvShape& p;
    const LogWeights<T>& weights;
    const Padded<T>& padded;
    Isa isa;
    int64_t group_channels;
    AlignedBytes words;                 // [segment][kLogLanes]
    AlignedBytes present, negative;     // as LogMarks has them
    AlignedBytes sums;                  // [group_channels][kLogLanes] int64
    std::vector<int32_t> every_tap;     // 0, 1, .. of a segment

    void add_block(int64_t first_channel, int64_t o, int64_t tap, int64_t taps, int64_t* sum) const {
        const int outputs = static_cast<int>(std::min<int64_t>(kLogOutputs, group_channels - o));
        const T* packed = weights.packed.data() + (first_channel + o) * weights.taps + tap * outputs;
        const LogTask<T> task{reinterpret_cast<const T*>(words.get()), weights.masked ? present.get() : nullptr, packed, taps,
                              outputs, weights.sum, sum};
#ifdef CARRYSAVE_AVX512
        if (isa == Isa::avx512) return log_tile_avx512(task);
#endif
#ifdef CARRYSAVE_AVX2
        if (isa == Isa::avx2) return log_tile_avx2(task);
#endif
        log_tile_portable(task);
    }

    void mark(int64_t taps) const {
        const LogMarks<T> marks{reinterpret_cast<const T*>(words.get()), taps, present.get(), negative.get()};
#ifdef CARRYSAVE_AVX512
        if (isa == Isa::avx512) return log_marks_avx512(marks);
#endif
        log_marks_portable(marks);
    }

    void add_counts(int64_t first_channel, int64_t tap, int64_t taps, int64_t* sum) const {
        alignas(64) int64_t all[kLogLanes] = {};
        if (weights.all_taps) count({negative.get(), every_tap.data(), taps, 0, 1, all});
        for (int64_t o = 0; o < group_channels; ++o, sum += kLogLanes) {
            if (weights.all_taps)
                for (int lane = 0; lane < kLogLanes; ++lane) sum[lane] += all[lane];
            const int64_t* start = weights.starts[first_channel + o].data() + tap / weights.segment;
            if (start[1] == start[0]) continue;
            const int32_t* counted = weights.counted[first_channel + o].data() + start[0];
            count({negative.get(), counted, start[1] - start[0], tap, weights.factor, sum});
        }
    }

    void count(const LogCount& task) const {
#ifdef CARRYSAVE_AVX512
        if (isa == Isa::avx512) return log_count_avx512(task);
#endif
        log_count_portable(task);
    }

    void write(int64_t group, int64_t o, int64_t first, int64_t lanes, const int64_t* sum) const {
        const int64_t constant = weights.offset[o] + (problem.constant ? problem.constant[o] : 0);
        for_each_stretch(p, first, lanes, [&](int64_t lane, int64_t count, int64_t n, int64_t pixel) {
            const LaneTotals<uint64_t> totals{reinterpret_cast<const uint64_t*>(sum) + lane, count, constant,
                                              problem.box ? problem.box + (n * p.groups + group) * p.pixels() + pixel : nullptr};
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

}  // namespace

template <class T>
void log_conv(const LogConv<T>& problem) {
    const ConvShape& p = problem.shape;
    const Padded<T> padded = pad_words(problem);
    const Isa isa = chosen_isa();
    const int64_t total = p.n * p.pixels(), tiles = (total + kLogLanes - 1) / kLogLanes;
    const int64_t grain = problem.threads > 1 ? 4 : tiles * p.groups;
    parallel_for(tiles * p.groups, grain, problem.threads, [&](int64_t begin, int64_t end) {
        Worker<T> worker(problem, padded, isa);
        for (int64_t i = begin; i < end; ++i) {
            const int64_t first = i % tiles * kLogLanes;
            worker.run(i / tiles, first, std::min<int64_t>(kLogLanes, total - first));
        }
    });
}

namespace {

// What the fast kernels make of a product before the counts: tiny where an operand is zero, never -z below zero.
template <class T>
int64_t product_as_floats(T x, T w, LogSum sum) {
    if (sum == LogSum::toward_zero) return product(x, w, LogRounding::toward_zero);
    if (x == LogWords<T>::kZero) return w < 0 ? -1 : 0;
    if (w == kWeightZero<T>) return x < 0 ? -1 : 0;
    return product(x, w, LogRounding::complement);
}

template <class T>
void tile_by_shifts(const LogTask<T>& task) {
    for (int o = 0; o < task.outputs; ++o)
        for (int lane = 0; lane < kLogLanes; ++lane) {
            uint64_t acc = 0;
            for (int64_t i = 0; i < task.taps; ++i) {
                if (task.present && !(task.present[i * kLogLanes / 8 + lane / 8] >> lane % 8 & 1)) continue;
                acc += static_cast<uint64_t>(product_as_floats(task.words[i * kLogLanes + lane],
                                                               task.weights[i * task.outputs + o], task.sum));
            }
            task.sums[o * kLogLanes + lane] = static_cast<int64_t>(static_cast<uint64_t>(task.sums[o * kLogLanes + lane]) + acc);
        }
}

}  // namespace

void log_tile_portable(const LogTask<int32_t>& task) { tile_by_shifts(task); }
void log_tile_portable(const LogTask<int64_t>& task) { tile_by_shifts(task); }

namespace {

template <class T>
void mark_one_by_one(const LogMarks<T>& marks) {
    for (int64_t i = 0; i < marks.taps * kLogLanes; ++i) {
        const bool present = marks.words[i] != LogWords<T>::kZero;
        if (i % 8 == 0) marks.present[i / 8] = 0;
        marks.present[i / 8] = static_cast<uint8_t>(marks.present[i / 8] | present << i % 8);
        marks.negative[i] = present && marks.words[i] < 0;
    }
}

}  // namespace

void log_marks_portable(const LogMarks<int32_t>& marks) { mark_one_by_one(marks); }
void log_marks_portable(const LogMarks<int64_t>& marks) { mark_one_by_one(marks); }

void log_count_portable(const LogCount& task) {
    uint8_t counts[kLogLanes] = {};
    for (int64_t i = 0; i < task.count; ++i) {
        const uint8_t* row = task.negative + (task.taps[i] - task.first) * kLogLanes;
        for (int lane = 0; lane < kLogLanes; ++lane) counts[lane] = static_cast<uint8_t>(counts[lane] + row[lane]);
    }
    for (int lane = 0; lane < kLogLanes; ++lane) task.sums[lane] += task.factor * counts[lane];
}

template void log_conv_reference(const LogConv<int32_t>&);
template void log_conv_reference(const LogConv<int64_t>&);
template void log_conv(const LogConv<int32_t>&);
template void log_conv(const LogConv<int64_t>&);
