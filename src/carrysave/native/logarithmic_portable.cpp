#include <cstring>
#include <type_traits>

#include "logarithmic_kernels.h"

// Products by shifts of integers, one after the other: the obvious loops, which say what the others compute, and the
// kernels for machines without vector instructions of their own.

namespace {

template <class T>
T wrapped_sum(T a, T b) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(static_cast<U>(a) + static_cast<U>(b)));
}

template <class T>
int64_t product(T x, T w, LogRounding rounding) {
    constexpr int kFraction = LogWords<T>::kFraction;
    if (x == LogWords<T>::kZero || w == LogWords<T>::kWeightZero) return 0;
    const auto sum = static_cast<uint64_t>(static_cast<std::make_unsigned_t<T>>(wrapped_sum(x, w)));
    const bool negative = sum >> (8 * sizeof(T) - 1);
    const uint64_t one = uint64_t{1} << kFraction;
    const int64_t exponent = static_cast<int64_t>(sum >> kFraction & (sizeof(T) == 8 ? 0x7ff : 0xff)) -
                             (sizeof(T) == 8 ? 1023 : 127);
    const uint64_t mantissa = one | (sum & (one - 1));
    const uint64_t magnitude = exponent >= kFraction ? mantissa << (exponent - kFraction) : mantissa >> (kFraction - exponent);
    if (!negative) return static_cast<int64_t>(magnitude);
    const bool minus = rounding == LogRounding::toward_zero || rounding == LogRounding::magnitude;
    return static_cast<int64_t>(minus ? 0 - magnitude : ~magnitude);
}

template <class T>
T word_at(const LogConv<T>& problem, int64_t i) {
    if (problem.words) return problem.words[i];
    if (problem.values) return problem.table[problem.quantization.index(problem.values[i])];
    return problem.table[problem.codes ? problem.codes[i] : problem.wide_codes[i]];
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
                    if (problem.box)
                        acc += static_cast<uint64_t>(problem.factor ? problem.factor[o] : 1) *
                               static_cast<uint64_t>(int64_t{problem.box[(n * p.groups + g) * p.pixels() + pixel]});
                    for (int64_t k = 0; k < p.taps(); ++k) {
                        const int64_t c = k / (p.kh * p.kw), ky = k / p.kw % p.kh, kx = k % p.kw;
                        const int64_t iy = y * p.sy + ky * p.dy - p.top, ix = x * p.sx + kx * p.dx - p.left;
                        const bool inside = 0 <= iy && iy < p.h && 0 <= ix && ix < p.w;
                        const int64_t at = ((n * p.c + g * p.depth() + c) * p.h + iy) * p.w + ix;
                        acc += static_cast<uint64_t>(product(inside ? word_at(problem, at) : problem.pad,
                                                             problem.weights->words[o * p.taps() + k], problem.weights->rounding));
                    }
                    const int64_t at = (n * problem.weights->channels + o) * p.pixels() + pixel;
                    if (problem.out) problem.out[at] = static_cast<float>(static_cast<int64_t>(acc)) * (problem.scale ? problem.scale[o] : 1.0f);
                    if (problem.integers) problem.integers[at] = static_cast<int64_t>(acc);
                }
}

template void log_conv_reference(const LogConv<int16_t>&);
template void log_conv_reference(const LogConv<int32_t>&);
template void log_conv_reference(const LogConv<int64_t>&);

namespace {

// What the fast kernels make of a product before the counts.
template <class T>
int64_t uncounted(T x, T w, LogSum sum) {
    if (sum == LogSum::toward_zero || sum == LogSum::pairs) return product(x, w, LogRounding::toward_zero);
    if (x == LogWords<T>::kZero) return w < 0 ? -1 : 0;
    if (w == LogWords<T>::kWeightZero) return x < 0 ? -1 : 0;
    return product(x, w, LogRounding::complement);
}

template <class T, class Sum>
void tile_by_shifts(const LogTask<T, Sum>& task) {
    using U = std::make_unsigned_t<typename LogUnit<T>::Type>;
    using S = std::make_unsigned_t<Sum>;
    for (int o = 0; o < task.outputs; ++o)
        for (int lane = 0; lane < task.lanes; ++lane) {
            uint64_t acc = 0;
            for (int64_t i = 0; i < task.taps; ++i) {
                const auto x = static_cast<U>(task.words.from[lane / 16][task.words.offsets[i] + lane % 16]);
                const auto w = static_cast<U>(task.weights[i * task.outputs + o]);
                for (int64_t j = 0; j < LogUnit<T>::kWords; ++j)
                    acc += static_cast<uint64_t>(uncounted(static_cast<T>(x >> (16 * j)), static_cast<T>(w >> (16 * j)), task.sum));
            }
            Sum& sum = task.sums[o * kLogLanes + lane];
            sum = static_cast<Sum>(static_cast<S>(sum) + static_cast<S>(acc));
        }
}

template <class T>
void mark_one_by_one(const LogMarks<T>& marks) {
    using Mark = typename LogWeights<T>::Mark;
    for (int64_t i = 0; i < marks.taps; ++i)
        for (int lane = 0; lane < kLogLanes; ++lane) {
            const T word = marks.words.from[lane / 16][marks.words.offsets[i] + lane % 16];
            const bool zero = word == LogWords<T>::kZero, negative = word < 0 && !zero;
            marks.negative[i * kLogLanes + lane] = negative;
            marks.other[i * kLogLanes + lane] =
                static_cast<int8_t>(marks.mark == Mark::zero ? zero : marks.mark == Mark::negative || zero ? negative : 2 * negative - 1);
        }
}

template <class Sum>
void count_one_by_one(const LogCount<Sum>& task) {
    for (int64_t i = 0; i < task.count; ++i) {
        const int8_t* row = task.marks + (task.taps[i] - task.first) * kLogLanes;
        for (int lane = 0; lane < kLogLanes; ++lane) task.sums[lane] += task.factor * row[lane];
    }
}

}  // namespace

void log_tile_portable(const LogTask<int16_t, int32_t>& task) { tile_by_shifts(task); }
void log_tile_portable(const LogTask<int16_t, int64_t>& task) { tile_by_shifts(task); }
void log_tile_portable(const LogTask<int32_t, int32_t>& task) { tile_by_shifts(task); }
void log_tile_portable(const LogTask<int32_t, int64_t>& task) { tile_by_shifts(task); }
void log_tile_portable(const LogTask<int64_t, int64_t>& task) { tile_by_shifts(task); }
void log_marks_portable(const LogMarks<int32_t>& marks) { mark_one_by_one(marks); }
void log_marks_portable(const LogMarks<int64_t>& marks) { mark_one_by_one(marks); }
void log_count_portable(const LogCount<int32_t>& task) { count_one_by_one(task); }
void log_count_portable(const LogCount<int64_t>& task) { count_one_by_one(task); }

template <class T, class Code>
void log_look_up(const T* table, const Code* codes, int64_t count, T* words) {
    int64_t i = 0;
    for (; i + 4 <= count; i += 4) {
        const T found[4] = {table[codes[i]], table[codes[i + 1]], table[codes[i + 2]], table[codes[i + 3]]};
        std::memcpy(words + i, found, sizeof found);   // no code changes on the way
    }
    for (; i < count; ++i) words[i] = table[codes[i]];
}
#define CARRYSAVE_LOOK_UP(T)                                                    \
    template void log_look_up(const T*, const uint8_t*, int64_t, T*);           \
    template void log_look_up(const T*, const uint16_t*, int64_t, T*);          \
    template void log_look_up(const T*, const int32_t*, int64_t, T*);
CARRYSAVE_LOOK_UP(int16_t)
CARRYSAVE_LOOK_UP(int32_t)
CARRYSAVE_LOOK_UP(int64_t)
#undef CARRYSAVE_LOOK_UP
