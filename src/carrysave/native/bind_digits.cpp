#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "bind.h"
#include "digits.h"

namespace {

std::unique_ptr<DigitWeights> digit_weights(const In<int8_t, 5>& v, const std::vector<std::array<int, 2>>& passes, int64_t groups,
                                            const In<uint8_t, 1>& largest) {
    require(passes.size() == v.shape(0), "passes: one plane and shift for each of v expected");
    require(largest.shape(0) <= 64, "largest: up to 64 planes expected");
    std::vector<DigitPass> checked;
    for (const auto& [plane, shift] : passes) {
        require(0 <= plane && plane < static_cast<int>(largest.shape(0)), "passes: a plane is not there");
        require(0 <= shift && shift < 56, "passes: shifts of 0 to 55 expected");
        checked.push_back({plane, shift});
    }
    const auto outputs = static_cast<int64_t>(v.shape(1));
    require(groups > 0 && outputs % groups == 0, "groups: they must divide the outputs");
    require(v.shape(2) > 0 && v.shape(3) > 0 && v.shape(4) > 0, "v: an output without taps");
    return std::make_unique<DigitWeights>(v.data(), std::move(checked), outputs, groups, int64_t(v.shape(2)), int64_t(v.shape(3)),
                                          int64_t(v.shape(4)), std::vector<uint8_t>(largest.data(), largest.data() + largest.shape(0)));
}

// What codes and values share.
template <class Input, class T>
DigitConv checked_conv(const DigitWeights& weights, const Input& in, const Out<T, 4>& out, Pair stride, Pair padding, Pair dilation,
                       const In<uint8_t, 2>& tables, const std::optional<In<int32_t, 1>>& addend, const In<int64_t, 1>& constant,
                       double bound, int threads) {
    DigitConv conv{};
    const Window window{{weights.kh, weights.kw}, stride, padding, dilation, weights.groups};
    conv.shape = checked_shape(in, out, window, weights.outputs, weights.depth * weights.kh * weights.kw);
    require(static_cast<int64_t>(tables.shape(0)) == weights.planes && tables.shape(1) == 256, "tables: 256 entries for each plane expected");
    require(!addend || addend->shape(0) == 256, "addend: 256 entries expected");
    require(static_cast<int64_t>(constant.shape(0)) == weights.outputs, "constant: one entry per output expected");
    require(bound >= 0 && bound < 4e18, "bound: 0 to 4e18 expected");
    conv.tables = tables.data(), conv.addend = addend ? addend->data() : nullptr, conv.constant = constant.data();
    conv.bound = static_cast<int64_t>(bound), conv.threads = checked_threads(threads);
    return conv;
}

void digit_layer(const DigitWeights& weights, const In<float, 4>& values, float scale, int32_t zero, int32_t low, int32_t high,
                 const Out<float, 4>& out, Pair stride, Pair padding, Pair dilation, const In<uint8_t, 2>& tables,
                 const std::optional<In<int32_t, 1>>& addend, const In<int64_t, 1>& constant, double bound, const In<float, 1>& scales,
                 int threads) {
    DigitConv conv = checked_conv(weights, values, out, stride, padding, dilation, tables, addend, constant, bound, threads);
    conv.values = values.data(), conv.quantization = checked_quantization(scale, zero, low, high, 256);
    conv.halo_code = static_cast<uint8_t>(zero - low), conv.scale = per_channel(std::optional(scales), weights.outputs, "scales");
    conv.out = out.data();
    nb::gil_scoped_release release;
    digit_conv(weights, conv);
}

void digit_sums(const DigitWeights& weights, const In<uint8_t, 4>& codes, int64_t halo, const Out<int64_t, 4>& out, Pair stride, Pair padding,
                Pair dilation, const In<uint8_t, 2>& tables, const std::optional<In<int32_t, 1>>& addend, const In<int64_t, 1>& constant,
                double bound, int threads) {
    DigitConv conv = checked_conv(weights, codes, out, stride, padding, dilation, tables, addend, constant, bound, threads);
    require(0 <= halo && halo < 256, "halo: 0 to 255 expected");
    conv.codes = codes.data(), conv.halo_code = static_cast<uint8_t>(halo), conv.integers = out.data();
    nb::gil_scoped_release release;
    digit_conv(weights, conv);
}

}  // namespace

void bind_digits(nb::module_& m) {
    using nb::arg;
    nb::class_<DigitWeights>(m, "DigitWeights", "Weights' digits in the order of the kernels; see native/digits.h.")
        .def(nb::new_(&digit_weights), arg("v").noconvert(), arg("passes"), arg("groups"), arg("largest").noconvert())
        .def_prop_ro("blocks", [](const DigitWeights& w) { return w.blocks.size(); }, "Ranges of taps whose sums fit 32 bits.");
    m.def("digit_layer", &digit_layer, arg("weights"), arg("values").noconvert(), arg("scale"), arg("zero"), arg("low"), arg("high"),
          arg("out").noconvert(), arg("stride"), arg("padding"), arg("dilation"), arg("tables").noconvert(), arg("addend").noconvert().none(),
          arg("constant").noconvert(), arg("bound"), arg("scales").noconvert(), arg("threads"),
          "A layer from float activation to float result.");
    m.def("digit_sums", &digit_sums, arg("weights"), arg("codes").noconvert(), arg("halo"), arg("out").noconvert(), arg("stride"),
          arg("padding"), arg("dilation"), arg("tables").noconvert(), arg("addend").noconvert().none(), arg("constant").noconvert(),
          arg("bound"), arg("threads"), "Its accumulators, from codes less the lowest.");
}
