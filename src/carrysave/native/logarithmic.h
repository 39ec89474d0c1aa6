#pragma once

#include <cstdint>
#include <vector>

#include "conv.h"

// The logarithmic engine. An operand is coded once as a word, the bit pattern of a float whose exponent and fraction
// are the operand's logarithm k + f; the sum of two words, read as a float, is 2^k * (1 + f) of the sums, exactly: the
// product before its last shift drops bits. That truncation is made by the rounding direction of what comes next:
//
//   floor     accumulator, an integer of [2^23, 2^24) in float32 (2^52.. in float64), plus the product, rounded down
//   convert   the product converted to an integer, rounded toward zero or down, then an integer addition
//
// What a negative product is:          -z                 ~z (one's complement)
//   products below 2^22 (2^51)         magnitude          down
//   larger ones                        toward_zero        complement
// Where no operand is negative all four agree and `down` is right.
//
// In the first row negative words have their lowest bit set, which makes the product of a positive and a negative operand
// a little more negative than an integer, so that rounding down gives ~z = -z - 1; `magnitude` then adds the number of
// negative products. Larger products would show that bit.
enum class LogRounding { down, magnitude, complement, toward_zero };

// Words of 32 or 64 bits (T = int32_t, int64_t). Activation words lack the float's bias, weight words contain it.
template <class T>
struct LogWords {
    static constexpr int kFraction = sizeof(T) == 4 ? 23 : 52;
    static constexpr T kBias = sizeof(T) == 4 ? T{127} << 23 : static_cast<T>(int64_t{1023} << 52);
    // So small that with any other word, or itself, the product is below 1 and above -1. No operand has this word.
    static constexpr T kZero = -(T{60} << kFraction);

    // log: k * 2^fraction_bits + f, at least 0; fraction_bits < kFraction.
    static T activation(int64_t log, int fraction_bits, bool negative, LogRounding rounding);
    static T weight(int64_t log, int fraction_bits, bool negative, LogRounding rounding) {
        return static_cast<T>(activation(log, fraction_bits, negative, rounding) + kBias);
    }
};

// How a layer's products are summed.
enum class LogSum {
    floor,          // rounded down by a float accumulator
    down,           // converted to integers, rounded down
    toward_zero,    // converted to integers, truncated; zeros need no care
    complement,     // magnitudes converted, then ~ where negative
};

// Weight words, prepared once per layer.
template <class T>
class LogWeights {
  public:
    // weights: [channels][taps]. No product's magnitude exceeds `largest`, which is below 2^31 (T = int32_t) or 2^63;
    // signed_words: activations may be negative. Throws std::invalid_argument for `down` and `magnitude` with
    // negative operands and products too large for them.
    LogWeights(const T* weights, int64_t channels, int64_t groups, int64_t taps, LogRounding rounding, double largest,
               bool signed_words);

    int64_t channels, taps;
    LogRounding rounding;
    std::vector<T> words;           // [channels][taps]
    LogSum sum;
    bool masked;                    // activations that are zero meet negative weights
    int64_t segment;                // taps between flushes, at most 128
    std::vector<T> packed;          // [channels in blocks within a group][taps][block]
    // Rounding down gave some products 1 too little. What is to be added to channel o, with negative(tap) 1 where the
    // activation is negative: offset[o] + all_taps * (sum of negative(tap)) + factor * (sum of it over counted[o]).
    std::vector<int64_t> offset;
    bool counts, all_taps;
    int factor;
    std::vector<std::vector<int32_t>> counted;   // [channels], rising
    std::vector<std::vector<int64_t>> starts;    // [channels]: where each segment's begin in it, and its end

  private:
    void find_short(bool signed_words, bool minus);
};

template <class T>
struct LogConv {
    ConvShape shape;
    const T* words;                 // [n, c, h, w]; or null, and words = table[codes] of one of the two kinds
    const uint8_t* codes;
    const uint16_t* wide_codes;
    const T* table;
    T pad;                          // word of the halo
    const LogWeights<T>* weights;
    const int64_t* constant;        // [channels], or null
    const int32_t* box;             // [n, groups, out_height * out_width], or null
    float* out;                     // [n, channels, out_height, out_width], or null
    int64_t* integers;              // likewise; sums are modulo 2^64
    int threads;
};

// The obvious loops: integer shifts, one product after the other.
template <class T>
void log_conv_reference(const LogConv<T>& problem);
template <class T>
void log_conv(const LogConv<T>& problem);
