#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include <algorithm>

#include "bind.h"
#include "table.h"

namespace {

TableWeights* make_weights(TableWeights* at, const In<int64_t, 2>& table, const In<uint16_t, 2>& weights, bool once) {
    require(table.shape(0) > 0 && table.shape(1) > 0, "table: it is empty");
    const auto order = once ? TableWeights::Order::as_given : TableWeights::Order::sorted;
    nb::gil_scoped_release release;
    return new (at) TableWeights(table.data(), table.shape(0), table.shape(1), weights.data(), weights.shape(0), weights.shape(1), order);
}

template <class Code>
void check_codes(const Code* codes, int64_t count, int64_t limit) {
    if (limit > std::numeric_limits<Code>::max()) return;
    Code largest = 0;
    for (int64_t i = 0; i < count; ++i) largest = std::max(largest, codes[i]);
    require(largest < limit, "codes: " + std::to_string(largest) + ", but the table has " + std::to_string(limit) + " rows");
}

template <class Code>
void call_codes(const TableWeights& weights, const In<Code, 4>& codes, const Out<int64_t, 4>& out, Pair kernel, Pair stride,
                Pair padding, Pair dilation, int64_t groups, int64_t pad, const std::optional<In<int64_t, 1>>& constant, int threads) {
    TableConv problem{};
    problem.shape = checked_shape(codes, out, {kernel, stride, padding, dilation, groups}, weights.channels, weights.taps);
    constexpr bool kBytes = sizeof(Code) == 1;
    require(kBytes == (weights.entries <= 256), "codes: uint8 for a table of up to 256 rows, else uint16");
    require(0 <= pad && pad < weights.activation_codes, "pad: it is no row of the table");
    check_codes(codes.data(), static_cast<int64_t>(codes.size()), weights.activation_codes);
    if constexpr (kBytes)
        problem.codes = codes.data();
    else
        problem.wide_codes = codes.data();
    problem.pad = static_cast<uint16_t>(pad), problem.weights = &weights;
    problem.constant = per_channel(constant, weights.channels, "constant");
    problem.integers = out.data(), problem.threads = checked_threads(threads);
    if (out.size() == 0) return;
    nb::gil_scoped_release release;
    table_conv(problem);
}

void call_values(const TableWeights& weights, const In<float, 4>& values, const Out<float, 4>& out, Pair kernel, Pair stride,
                 Pair padding, Pair dilation, int64_t groups, float value_scale, int32_t zero, int32_t low, int32_t high,
                 const std::optional<In<int64_t, 1>>& constant, const std::optional<In<float, 1>>& scale, int threads) {
    TableConv problem{};
    problem.shape = checked_shape(values, out, {kernel, stride, padding, dilation, groups}, weights.channels, weights.taps);
    problem.values = values.data(), problem.quantization = checked_quantization(value_scale, zero, low, high, weights.activation_codes);
    problem.pad = static_cast<uint16_t>(zero - low), problem.weights = &weights;
    problem.constant = per_channel(constant, weights.channels, "constant");
    problem.scale = per_channel(scale, weights.channels, "scale");
    problem.out = out.data(), problem.threads = checked_threads(threads);
    if (out.size() == 0) return;
    nb::gil_scoped_release release;
    table_conv(problem);
}

}  // namespace

void bind_table(nb::module_& m) {
    using nb::arg;
    nb::class_<TableWeights>(m, "TableWeights", "Weight codes with a table of products, prepared for table_conv.")
        .def("__init__", &make_weights, arg("table").noconvert(), arg("weights").noconvert(), arg("once") = false,
             "table: int64 [activation codes, weight codes]; weights: uint16 [channels, taps]; once: for one call only.")
        .def_ro("planes", &TableWeights::planes, "Bytes that the products of one weight code span.");
    const char* codes_doc = "out[n, o, y, x] = constant[o] + the sum of the table's entries over the window; exact.";
    m.def("table_conv", &call_codes<uint8_t>, arg("weights"), arg("codes").noconvert(), arg("out").noconvert(), arg("kernel"),
          arg("stride"), arg("padding"), arg("dilation"), arg("groups"), arg("pad"), arg("constant").noconvert().none(), arg("threads"), codes_doc);
    m.def("table_conv", &call_codes<uint16_t>, arg("weights"), arg("codes").noconvert(), arg("out").noconvert(), arg("kernel"),
          arg("stride"), arg("padding"), arg("dilation"), arg("groups"), arg("pad"), arg("constant").noconvert().none(), arg("threads"), codes_doc);
    m.def("table_layer", &call_values, arg("weights"), arg("values").noconvert(), arg("out").noconvert(), arg("kernel"),
          arg("stride"), arg("padding"), arg("dilation"), arg("groups"), arg("value_scale"), arg("zero"), arg("low"), arg("high"),
          arg("constant").noconvert().none(), arg("scale").noconvert().none(), arg("threads"),
          "The same from values: quantised first, the sum rounded once to float32 and multiplied by scale[o].");
}
