#pragma once

#include <cstdint>
#include <vector>

#include "conv.h"
#include "quantization.h"

// The logarithmic engine. An operand is coded once as a word, the bit pattern of a float whose exponent and fraction
// are the operand's logarithm k + f; the sum of two words, read as a float, is 2^k * (1 + f) of the sums, exactly: the
// product before its last shift drops bits. That truncation is made by the rounding direction of what comes next:
//
//   floor     accumulator, an integer of [2^23, 2^24) in float32 (2^52.. in float64), plus the product, rounded down
//   convert   the product converted to an integer, rounded toward zero or down, then an integer addition
//
// What a negative product is:          -z                 ~z (one's complement)
//   products below 2^22 (2^51)         magnitude          down
//   larger ones                        toward_zero        complement (as toward_zero, less the number of negative ones)
// Where no operand is negative all four agree and `down` is right.
//
// In the first row negative words have their lowest bit set, which makes the product of a positive and a negative operand
// a little more negative than an integer, so that rounding down gives ~z = -z - 1; `magnitude` then adds the number of
// negative products. Larger products would show that bit.
enum class LogRounding { down, magnitude, complement, toward_zero };

// Words of 16, 32 or 64 bits (T = int16_t, int32_t, int64_t). Activation words lack the float's bias, weight words contain
// it. Those of 16 bits are bfloat16, summed in pairs by one instruction that rounds to nearest: right, and twice as fast,
// where every product is an integer.
template <class T>
struct LogWords {
    static constexpr int kFraction = sizeof(T) == 2 ? 7 : sizeof(T) == 4 ? 23 : 52;
    static constexpr T kBias = static_cast<T>(int64_t{sizeof(T) == 8 ? 1023 : 127} << kFraction);
    // So small that with any other word, or itself, the product is below 1 and above -1. No operand has this word.
    static constexpr T kZero = static_cast<T>(-(int64_t{60} << kFraction));
    static constexpr T kWeightZero = static_cast<T>(kZero + kBias);

    // log: k * 2^fraction_bits + f, at least 0; fraction_bits < kFraction, or 7 in 16 bits.
    static T activation(int64_t log, int fraction_bits, bool negative, LogRounding rounding);
    static T weight(int64_t log, int fraction_bits, bool negative, LogRounding rounding) {
        return static_cast<T>(activation(log, fraction_bits, negative, rounding) + kBias);
    }
};

// What a lane holds of a tap: a word, or those of two channels.
template <class T>
struct LogUnit {
    using Type = T;
    static constexpr int64_t kWords = 1;
};
template <>
struct LogUnit<int16_t> {
    using Type = int32_t;
    static constexpr int64_t kWords = 2;
};

// How a layer's products are summed.
enum class LogSum {
    floor,          // rounded down by a float accumulator
    down,           // converted to integers, rounded down
    toward_zero,    // converted to integers, truncated
    pairs,          // 16 bits: integers as they are
};

// Weight words, prepared once per layer.
template <class T>
class LogWeights {
  public:
    using Unit = typename LogUnit<T>::Type;

    // weights: [channels][taps], `positions` (kh * kw) taps per input channel. No product's magnitude exceeds `largest`,
    // which is below 2^24, 2^31 or 2^63; signed_words: activations may be negative. Throws std::invalid_argument for
    // `down` and `magnitude` with negative operands and products too large for them, and for 16 bits where operands are
    // negative and the rounding is not toward_zero.
    LogWeights(const T* weights, int64_t channels, int64_t groups, int64_t taps, int64_t positions, LogRounding rounding,
               double largest, bool signed_words);

    int64_t channels, groups, taps, positions;
    LogRounding rounding;
    std::vector<T> words;           // [channels][taps]
    LogSum sum;
    bool narrow;                    // sums stay below 2^30
    int64_t units;                  // taps as the kernels count them
    int64_t segment;                // units between flushes, at most 126
    std::vector<Unit> packed;       // [channels in blocks within a group][units][block]

    // What the sums lack of the products, by the signs of the operands: to channel o is to be added offset[o], `every`
    // times the number of negative activations, and over the taps listed for o of weights below zero `factor` times the
    // activation's mark, of those that are zero whether it is negative.
    enum class Mark { zero, negative, sign };   // 1 where the activation is 0; below 0; 1 below and -1 above 0
    struct Taps {
        std::vector<int32_t> taps;      // rising
        std::vector<int64_t> starts;    // where each segment's begin, and the end
    };
    std::vector<int64_t> offset;
    bool counts, counts_beyond_zeros;   // anything; anything but activations of zero
    int every, factor;
    Mark mark;
    std::vector<Taps> below, zeros;     // [channels]

  private:
    void pack();
    void choose_sum(double largest, bool negative);
    void find_counts(bool signed_words);
};

template <class T>
struct LogConv {
    ConvShape shape;
    const T* words;                 // [n, c, h, w]; or
    const uint8_t* codes;           // words = table[codes], of one of two kinds; or
    const uint16_t* wide_codes;
    const float* values;            // words = table[code of the value]
    Quantization quantization;
    const T* table;
    T pad;                          // word of the halo
    const LogWeights<T>* weights;
    const int64_t* constant;        // [channels], or null
    const int32_t* box;             // [n, groups, out_height * out_width], or null
    const int64_t* factor;          // [channels]: of the box; null for 1
    const float* scale;             // [channels], what `out` is multiplied with after its rounding, or null
    float* out;                     // [n, channels, out_height, out_width], or null
    int64_t* integers;              // likewise; sums are modulo 2^64
    int threads;
};

// The obvious loops: integer shifts, one product after the other.
template <class T>
void log_conv_reference(const LogConv<T>& problem);
template <class T>
void log_conv(const LogConv<T>& problem);

// Whether words of 16 bits have an instruction of their own here, with the instruction set avx512.
bool log_pairs_are_fast();
