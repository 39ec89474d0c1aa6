#include "logarithmic.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "logarithmic_kernels.h"

template <class T>
T LogWords<T>::activation(int64_t log, int fraction_bits, bool negative, LogRounding rounding) {
    uint64_t word = static_cast<uint64_t>(log) << (kFraction - fraction_bits);
    const bool nudged = rounding == LogRounding::down || rounding == LogRounding::magnitude;
    if (negative) word |= uint64_t{1} << (8 * sizeof(T) - 1) | (nudged ? 1 : 0);
    return static_cast<T>(word);
}
template struct LogWords<int16_t>;
template struct LogWords<int32_t>;
template struct LogWords<int64_t>;

template <class T>
LogWeights<T>::LogWeights(const T* weights, int64_t channels_, int64_t groups_, int64_t taps_, int64_t positions_,
                          LogRounding rounding_, double largest, bool signed_words)
    : channels(channels_), groups(groups_), taps(taps_), positions(positions_), rounding(rounding_),
      words(weights, weights + channels * taps), offset(channels, 0), counts(false), counts_beyond_zeros(false), every(0), factor(0), mark(Mark::zero),
      below(channels), zeros(channels) {
    const int64_t depth = taps / positions;
    units = (depth + LogUnit<T>::kWords - 1) / LogUnit<T>::kWords * positions;
    bool signed_weights = false;
    for (const T word : words) signed_weights |= word < 0;        // the word of zero is not, for a weight
    choose_sum(largest, signed_words || signed_weights);
    pack();
    if (signed_words || signed_weights) find_counts(signed_words);
}

template <class T>
void LogWeights<T>::choose_sum(double largest, bool negative) {
    constexpr double kRoom = sizeof(T) == 2 ? 16777216.0 : sizeof(T) == 4 ? 4194304.0 : 2251799813685248.0;
    const double most = largest + 1;                                          // ~z is -z - 1
    const bool nudged = rounding == LogRounding::down || rounding == LogRounding::magnitude;
    if (sizeof(T) == 2 && negative && rounding != LogRounding::toward_zero)
        throw std::invalid_argument("logarithmic engine: words of 16 bits are for `toward_zero`");
    if (nudged && negative && largest >= kRoom)
        throw std::invalid_argument("logarithmic engine: products of " + std::to_string(largest) +
                                    " are too large for `down` and `magnitude` with negative operands; use `complement` "
                                    "and `toward_zero`");
    // A flush more often than every 16 taps would cost more than a conversion of each product.
    const LogSum down = most * 16 <= kRoom ? LogSum::floor : LogSum::down;
    sum = sizeof(T) == 2 ? LogSum::pairs : nudged || !negative ? down : LogSum::toward_zero;
    // Sums of int64 are modulo 2^64 in any case.
    const double limit = sum == LogSum::floor || sum == LogSum::pairs ? kRoom : sizeof(T) == 4 ? 2147483647.0 : 1e300;
    segment = std::max<int64_t>(1, static_cast<int64_t>(std::min(limit / most / LogUnit<T>::kWords, 126.0)));
    narrow = (largest + 4) * static_cast<double>(taps) < 1073741824.0;
}

// Channels in blocks that one call of a kernel takes.
template <class T>
void LogWeights<T>::pack() {
    using U = std::make_unsigned_t<T>;
    const int64_t group_channels = channels / groups, depth = taps / positions;
    constexpr int64_t kWords = LogUnit<T>::kWords;
    packed.resize(channels * units);
    for (int64_t o = 0; o < channels; ++o) {
        const int64_t inside = o % group_channels, block = inside / kLogOutputs * kLogOutputs;
        const int64_t outputs = std::min<int64_t>(kLogOutputs, group_channels - block);
        Unit* to = packed.data() + (o - inside + block) * units + inside - block;
        for (int64_t k = 0; k < units; ++k) {
            uint64_t unit = 0;
            for (int64_t j = 0; j < kWords; ++j) {
                const int64_t c = k / positions * kWords + j;
                const T word = c < depth ? words[o * taps + c * positions + k % positions] : LogWords<T>::kWeightZero;
                unit |= static_cast<uint64_t>(static_cast<U>(word)) << (8 * sizeof(T) * j);
            }
            to[k * outputs] = static_cast<Unit>(unit);
        }
    }
}

// A product below zero is -z or ~z, and what the sums have of it is: rounded down, ~z, and -1 also for a zero and a
// negative operand, as their words' product is tiny; toward zero, -z, and nothing for zeros.
template <class T>
void LogWeights<T>::find_counts(bool signed_words) {
    const bool rounded_down = sum == LogSum::floor || sum == LogSum::down;
    if (!rounded_down && rounding != LogRounding::complement) return;
    const bool minus = rounding == LogRounding::magnitude;
    mark = minus ? Mark::negative : rounded_down ? Mark::zero : Mark::sign;
    every = !signed_words || (rounded_down && !minus) ? 0 : minus ? 1 : -1;
    factor = minus ? -2 : 1;      // with `minus`, a + b of all products becomes a - b
    counts_beyond_zeros = every != 0;
    for (int64_t o = 0; o < channels; ++o) {
        for (int64_t k = 0; k < taps; ++k) {
            const T word = words[o * taps + k];
            if (k % segment == 0)
                for (Taps* list : {&below[o], &zeros[o]}) list->starts.push_back(static_cast<int64_t>(list->taps.size()));
            if (minus) offset[o] += word < 0;
            if (word < 0 && (signed_words || !minus)) below[o].taps.push_back(static_cast<int32_t>(k));
            if (word == LogWords<T>::kWeightZero && signed_words && !minus) zeros[o].taps.push_back(static_cast<int32_t>(k));
        }
        for (Taps* list : {&below[o], &zeros[o]}) list->starts.push_back(static_cast<int64_t>(list->taps.size()));
        counts_beyond_zeros = counts_beyond_zeros || !zeros[o].taps.empty() || (mark != Mark::zero && !below[o].taps.empty());
        counts = counts || counts_beyond_zeros || !below[o].taps.empty();
    }
}
template class LogWeights<int16_t>;
template class LogWeights<int32_t>;
template class LogWeights<int64_t>;
