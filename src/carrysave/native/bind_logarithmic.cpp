#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <cmath>

#include "bind.h"
#include "logarithmic.h"
#include "quantize.h"

namespace {

LogRounding rounding_named(const std::string& name) {
    if (name == "down") return LogRounding::down;
    if (name == "magnitude") return LogRounding::magnitude;
    if (name == "complement") return LogRounding::complement;
    require(name == "toward_zero", "rounding: down, magnitude, complement or toward_zero expected");
    return LogRounding::toward_zero;
}

template <class T>
struct Bound {
    using Weights = LogWeights<T>;

    static void words(const In<int64_t, 1>& logs, const In<bool, 1>& present, const In<bool, 1>& negative, int fraction_bits,
                      const std::string& rounding, bool weight, const Out<T, 1>& out) {
        require(present.shape(0) == logs.shape(0) && negative.shape(0) == logs.shape(0) && out.shape(0) == logs.shape(0),
                "logs, present, negative, out: one length expected");
        require(0 <= fraction_bits && fraction_bits < LogWords<T>::kFraction + (sizeof(T) == 2), "fraction_bits: too many for these words");
        const LogRounding how = rounding_named(rounding);
        // 2 * 62 and the carry of the fractions stay below the largest exponent
        constexpr int64_t kMost = sizeof(T) == 8 ? 63 : 31;
        for (size_t i = 0; i < logs.shape(0); ++i) {
            const int64_t log = logs.data()[i];
            require(0 <= log && log >> fraction_bits < kMost, "logs: out of range");
            const bool minus = negative.data()[i];
            if (!present.data()[i])
                out.data()[i] = weight ? LogWords<T>::kWeightZero : LogWords<T>::kZero;
            else
                out.data()[i] = weight ? LogWords<T>::weight(log, fraction_bits, minus, how)
                                       : LogWords<T>::activation(log, fraction_bits, minus, how);
        }
    }

    static Weights* make(Weights* at, const In<T, 2>& words, int64_t groups, int64_t positions, const std::string& rounding,
                         double largest, bool signed_words) {
        require(groups > 0 && words.shape(0) % groups == 0 && words.shape(0) > 0, "groups: they must divide the channels");
        require(positions > 0 && words.shape(1) % positions == 0, "positions: they must divide the taps");
        require(largest >= 0 && largest < (sizeof(T) == 2 ? 16777216.0 : sizeof(T) == 4 ? 2147483648.0 : 9.2e18), "largest: beyond what the words' products hold");
        const LogRounding how = rounding_named(rounding);
        nb::gil_scoped_release release;
        return new (at) Weights(words.data(), words.shape(0), groups, words.shape(1), positions, how, largest, signed_words);
    }

    template <class Source, class Result>
    static LogConv<T> problem(const Weights& weights, const Source& source, T pad, const Out<Result, 4>& out, const Window& window,
                              const std::optional<In<int64_t, 1>>& constant, const std::optional<In<int32_t, 4>>& box, const std::optional<In<int64_t, 1>>& factor,
                              int threads) {
        LogConv<T> p{};
        p.shape = checked_shape(source, out, window, weights.channels, weights.taps);
        require(p.shape.groups == weights.groups, "groups: not those of the weights");
        require(p.shape.kh * p.shape.kw == weights.positions, "kernel: not that of the weights");
        p.pad = pad, p.weights = &weights, p.threads = checked_threads(threads);
        p.constant = per_channel(constant, weights.channels, "constant");
        if (box) {
            const int64_t wanted[4] = {p.shape.n, p.shape.groups, p.shape.out_height, p.shape.out_width};
            for (int i = 0; i < 4; ++i) require(static_cast<int64_t>(box->shape(i)) == wanted[i], "box: [N, groups, H', W'] expected");
            p.box = box->data(), p.factor = per_channel(factor, weights.channels, "factor");
        }
        if constexpr (sizeof(Result) == 8)
            p.integers = out.data();
        else
            p.out = out.data();
        return p;
    }

    static void run(const LogConv<T>& p) {
        if (p.shape.n == 0) return;
        nb::gil_scoped_release release;
        log_conv(p);
    }

    template <class Code>
    static void codes(const Weights& weights, const In<Code, 4>& given, const In<T, 1>& table, T pad, const Out<int64_t, 4>& out,
                      Pair kernel, Pair stride, Pair padding, Pair dilation, int64_t groups,
                      const std::optional<In<int64_t, 1>>& constant, const std::optional<In<int32_t, 4>>& box, const std::optional<In<int64_t, 1>>& factor,
                              int threads) {
        LogConv<T> p = problem(weights, given, pad, out, {kernel, stride, padding, dilation, groups}, constant, box, factor, threads);
        Code largest = 0;
        for (size_t i = 0; i < given.size(); ++i) largest = std::max(largest, given.data()[i]);
        require(given.size() == 0 || largest < table.shape(0), "codes: beyond the table's end");
        if constexpr (sizeof(Code) == 1)
            p.codes = given.data();
        else
            p.wide_codes = given.data();
        p.table = table.data();
        run(p);
    }

    static void plain(const Weights& weights, const In<T, 4>& words, T pad, const Out<int64_t, 4>& out, Pair kernel, Pair stride,
                      Pair padding, Pair dilation, int64_t groups, const std::optional<In<int64_t, 1>>& constant, int threads) {
        LogConv<T> p = problem(weights, words, pad, out, {kernel, stride, padding, dilation, groups}, constant, {}, {}, threads);
        p.words = words.data();
        run(p);
    }

    static void layer(const Weights& weights, const In<float, 4>& values, const In<T, 1>& table, T pad, const Out<float, 4>& out,
                      Pair kernel, Pair stride, Pair padding, Pair dilation, int64_t groups, float value_scale, int32_t zero, int32_t low,
                      int32_t high, const std::optional<In<int64_t, 1>>& constant, const std::optional<In<int32_t, 4>>& box,
                      const std::optional<In<int64_t, 1>>& factor, const std::optional<In<float, 1>>& scale, int threads) {
        LogConv<T> p = problem(weights, values, pad, out, {kernel, stride, padding, dilation, groups}, constant, box, factor, threads);
        p.values = values.data(), p.table = table.data();
        p.quantization = checked_quantization(value_scale, zero, low, high, static_cast<int64_t>(table.shape(0)));
        p.scale = per_channel(scale, weights.channels, "scale");
        run(p);
    }

    static void bind(nb::module_& m, const char* bits) {
        using nb::arg;
        const std::string n = bits;
        nb::class_<Weights>(m, ("LogWeights" + n).c_str(), "Weight words prepared for log_conv and log_layer.")
            .def("__init__", &make, arg("words").noconvert(), arg("groups"), arg("positions"), arg("rounding"), arg("largest"), arg("signed_words"));
        m.def(("log_words" + n).c_str(), &words, arg("logs").noconvert(), arg("present").noconvert(), arg("negative").noconvert(),
              arg("fraction_bits"), arg("rounding"), arg("weight"), arg("out").noconvert(), "Operands as words; see native/logarithmic.h.");
        m.def("log_conv", &codes<uint8_t>, arg("weights"), arg("codes").noconvert(), arg("table").noconvert(), arg("pad"),
              arg("out").noconvert(), arg("kernel"), arg("stride"), arg("padding"), arg("dilation"), arg("groups"),
              arg("constant").noconvert().none(), arg("box").noconvert().none(), arg("factor").noconvert().none(), arg("threads"));
        m.def("log_conv", &codes<uint16_t>, arg("weights"), arg("codes").noconvert(), arg("table").noconvert(), arg("pad"),
              arg("out").noconvert(), arg("kernel"), arg("stride"), arg("padding"), arg("dilation"), arg("groups"),
              arg("constant").noconvert().none(), arg("box").noconvert().none(), arg("factor").noconvert().none(), arg("threads"));
        m.def("log_conv_words", &plain, arg("weights"), arg("words").noconvert(), arg("pad"), arg("out").noconvert(), arg("kernel"),
              arg("stride"), arg("padding"), arg("dilation"), arg("groups"), arg("constant").noconvert().none(), arg("threads"));
        m.def("log_layer", &layer, arg("weights"), arg("values").noconvert(), arg("table").noconvert(), arg("pad"), arg("out").noconvert(),
              arg("kernel"), arg("stride"), arg("padding"), arg("dilation"), arg("groups"), arg("value_scale"), arg("zero"), arg("low"),
              arg("high"), arg("constant").noconvert().none(), arg("box").noconvert().none(), arg("factor").noconvert().none(), arg("scale").noconvert().none(), arg("threads"));
    }
};

void bound_offset_sums(const In<float, 4>& values, Pair padding, int64_t groups, float scale, int32_t zero, int32_t low, int32_t high,
                       const Out<int32_t, 4>& sums, int threads) {
    OffsetSums p{};
    p.n = values.shape(0), p.c = values.shape(1), p.h = values.shape(2), p.w = values.shape(3), p.groups = groups;
    for (int64_t side : padding) require(0 <= side && side <= 1 << 15, "padding: 0 to 32768 expected");
    require(groups > 0 && p.c % groups == 0, "groups: they must divide the channels");
    p.top = padding[0], p.left = padding[1];
    const int64_t wanted[4] = {p.n, groups, p.h + 2 * p.top, p.w + 2 * p.left};
    for (int i = 0; i < 4; ++i)
        require(static_cast<int64_t>(sums.shape(i)) == wanted[i], "sums: [N, groups, H + 2 py, W + 2 px] expected");
    p.quantization = checked_quantization(scale, zero, low, high, int64_t{1} << 23);
    p.values = values.data(), p.sums = sums.data(), p.threads = checked_threads(threads);
    nb::gil_scoped_release release;
    offset_sums(p);
}

}  // namespace

void bind_logarithmic(nb::module_& m) {
    m.def("log_pairs_are_fast", [] { return chosen_isa() == Isa::avx512 && log_pairs_are_fast(); },
          "Whether words of 16 bits have an instruction of their own with the set in use.");
    using nb::arg;
    m.def("offset_sums", &bound_offset_sums, arg("values").noconvert(), arg("padding"), arg("groups"), arg("scale"), arg("zero"), arg("low"),
          arg("high"), arg("sums").noconvert(), arg("threads"), "The sum of code - zero over a group's channels, with a halo of 0.");
    Bound<int16_t>::bind(m, "16");
    Bound<int32_t>::bind(m, "32");
    Bound<int64_t>::bind(m, "64");
}
