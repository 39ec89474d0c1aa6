#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <array>
#include <limits>
#include <optional>
#include <cstdint>
#include <string>

#include "conv.h"
#include "quantization.h"

// What the bindings share. They check everything that a kernel takes for granted, so that a wrong argument is a
// ValueError or TypeError; kernels run without the GIL.

namespace nb = nanobind;

template <class T, int kDimensions>
using In = nb::ndarray<const T, nb::ndim<kDimensions>, nb::c_contig, nb::device::cpu>;
template <class T, int kDimensions>
using Out = nb::ndarray<T, nb::ndim<kDimensions>, nb::c_contig, nb::device::cpu>;
using Pair = std::array<int64_t, 2>;

inline void require(bool condition, const std::string& message) {
    if (!condition) throw nb::value_error(message.c_str());
}
// Makes no string where all is well: it is also asked for each of many operands.
inline void require(bool condition, const char* message) {
    if (!condition) throw nb::value_error(message);
}

// An optional vector of one entry per channel.
template <class T>
const T* per_channel(const std::optional<In<T, 1>>& values, int64_t channels, const char* name) {
    if (!values) return nullptr;
    require(static_cast<int64_t>(values->shape(0)) == channels,
            std::string(name) + ": " + std::to_string(values->shape(0)) + " entries for " + std::to_string(channels) + " channels");
    return values->data();
}

struct Window {
    Pair kernel, stride, padding, dilation;
    int64_t groups;
};

// The shape of a convolution of `in` [n, c, h, w] into `out` [n, channels, h', w'], all checked.
template <class Input, class Output>
ConvShape checked_shape(const Input& in, const Output& out, const Window& window, int64_t channels, int64_t taps) {
    constexpr int64_t kMost = 1 << 15;
    for (int i = 0; i < 2; ++i) {
        require(0 < window.kernel[i] && window.kernel[i] <= kMost, "kernel: 1 to 32768 expected");
        require(0 < window.stride[i] && window.stride[i] <= kMost, "stride: 1 to 32768 expected");
        require(0 < window.dilation[i] && window.dilation[i] <= kMost, "dilation: 1 to 32768 expected");
        require(0 <= window.padding[i] && window.padding[i] <= kMost, "padding: 0 to 32768 expected");
    }
    ConvShape p{};
    p.n = in.shape(0), p.c = in.shape(1), p.h = in.shape(2), p.w = in.shape(3);
    p.groups = window.groups;
    require(p.groups > 0 && p.c % p.groups == 0 && channels % p.groups == 0,
            "groups: " + std::to_string(p.groups) + " must divide " + std::to_string(p.c) + " and " + std::to_string(channels));
    p.kh = window.kernel[0], p.kw = window.kernel[1], p.sy = window.stride[0], p.sx = window.stride[1];
    p.dy = window.dilation[0], p.dx = window.dilation[1], p.top = window.padding[0], p.left = window.padding[1];
    require(p.taps() == taps, "weights: " + std::to_string(taps) + " taps, the input and kernel have " + std::to_string(p.taps()));
    const int64_t height = p.h + 2 * p.top - p.dy * (p.kh - 1) - 1, width = p.w + 2 * p.left - p.dx * (p.kw - 1) - 1;
    require(height >= 0 && width >= 0, "the kernel is larger than the padded input");
    p.out_height = height / p.sy + 1, p.out_width = width / p.sx + 1;
    const int64_t expected[4] = {p.n, channels, p.out_height, p.out_width};
    for (int i = 0; i < 4; ++i)
        require(static_cast<int64_t>(out.shape(i)) == expected[i],
                "out: dimension " + std::to_string(i) + " is " + std::to_string(out.shape(i)) + ", expected " + std::to_string(expected[i]));
    return p;
}

inline int checked_threads(int threads) {
    require(0 < threads && threads <= 4096, "threads: 1 to 4096 expected");
    return threads;
}

inline Quantization checked_quantization(float scale, int32_t zero, int32_t low, int32_t high, int64_t codes) {
    require(scale > 0, "scale: it must be above 0");
    require(low <= zero && zero <= high, "low, zero, high: they must rise");
    require(-(1 << 22) < low && high < 1 << 22, "low, high: their magnitudes must be below 2^22");
    require(high - low < codes, "low, high: more codes than the table has rows");
    return {scale, zero, low, high};
}

void bind_table(nb::module_& m);
void bind_sums(nb::module_& m);
void bind_digits(nb::module_& m);
void bind_logarithmic(nb::module_& m);
