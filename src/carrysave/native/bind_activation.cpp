#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "activation.h"
#include "bind.h"
#include "finish.h"

namespace {

// Shared by codes and values: the padded image's shape, the look-ups and the sums.
ActivationProblem checked_problem(std::array<int64_t, 4> size, Pair padding, const In<uint8_t, 2>& tables, FactorLayout layout,
                                  const Out<uint8_t, 1>& out, const std::optional<In<int32_t, 1>>& addend,
                                  const std::optional<Out<int32_t, 4>>& sums, int threads) {
    ActivationProblem p{};
    p.n = size[0], p.c = size[1], p.h = size[2], p.w = size[3];
    for (int64_t side : padding) require(0 <= side && side <= 1 << 15, "padding: 0 to 32768 expected");
    p.top = p.bottom = padding[0], p.left = p.right = padding[1];
    p.rank = static_cast<int64_t>(tables.shape(0));
    require(p.rank <= 64 && tables.shape(1) == 256, "tables: up to 64 of 256 entries expected");
    p.tables = tables.data(), p.layout = layout, p.out = out.data();
    const int64_t height = p.h + 2 * padding[0], width = p.w + 2 * padding[1], expected = p.n * height * width * p.c * p.rank;
    require(static_cast<int64_t>(out.shape(0)) == expected,
            "out: " + std::to_string(out.shape(0)) + " bytes, expected " + std::to_string(expected));
    require(addend.has_value() == sums.has_value(), "addend and sums come together");
    p.groups = 1, p.threads = checked_threads(threads);
    if (!addend) return p;
    p.groups = static_cast<int64_t>(sums->shape(1));
    require(addend->shape(0) == 256, "addend: 256 entries expected");
    require(p.groups > 0 && p.c % p.groups == 0, "sums: the groups must divide the channels");
    const int64_t wanted[4] = {p.n, p.groups, height, width};
    for (int i = 0; i < 4; ++i)
        require(static_cast<int64_t>(sums->shape(i)) == wanted[i], "sums: [N, groups, H + 2 py, W + 2 px] expected");
    p.addend = addend->data(), p.sums = sums->data();
    return p;
}

FactorLayout layout_named(const std::string& name) {
    if (name == "planes") return FactorLayout::planes;
    if (name == "blocks") return FactorLayout::blocks;
    require(name == "interleaved", "layout: planes, blocks or interleaved expected");
    return FactorLayout::interleaved;
}

void expand_values(const In<float, 4>& values, float scale, int32_t zero, int32_t low, int32_t high, Pair padding,
                   const In<uint8_t, 2>& tables, const std::string& layout, const Out<uint8_t, 1>& out,
                   const std::optional<In<int32_t, 1>>& addend, const std::optional<Out<int32_t, 4>>& sums, int threads) {
    const std::array<int64_t, 4> size{int64_t(values.shape(0)), int64_t(values.shape(1)), int64_t(values.shape(2)), int64_t(values.shape(3))};
    ActivationProblem p = checked_problem(size, padding, tables, layout_named(layout), out, addend, sums, threads);
    p.values = values.data(), p.quantization = checked_quantization(scale, zero, low, high, 256);
    p.halo_code = static_cast<uint8_t>(zero - low);
    if (values.size() == 0) return;
    nb::gil_scoped_release release;
    expand_activations(p);
}

void expand_codes(const In<uint8_t, 4>& codes, int64_t pad, Pair padding, const In<uint8_t, 2>& tables, const std::string& layout,
                  const Out<uint8_t, 1>& out, const std::optional<In<int32_t, 1>>& addend,
                  const std::optional<Out<int32_t, 4>>& sums, int threads) {
    const std::array<int64_t, 4> size{int64_t(codes.shape(0)), int64_t(codes.shape(1)), int64_t(codes.shape(2)), int64_t(codes.shape(3))};
    ActivationProblem p = checked_problem(size, padding, tables, layout_named(layout), out, addend, sums, threads);
    require(0 <= pad && pad < 256, "pad: 0 to 255 expected");
    p.codes = codes.data(), p.halo_code = static_cast<uint8_t>(pad);
    if (codes.size() == 0) return;
    nb::gil_scoped_release release;
    expand_activations(p);
}

void bound_box(const In<int32_t, 4>& sums, const Out<int32_t, 4>& box, Pair kernel, Pair stride, Pair dilation, int threads) {
    const Window window{kernel, stride, {0, 0}, dilation, 1};
    const int64_t groups = static_cast<int64_t>(sums.shape(1));
    ConvShape shape = checked_shape(sums, box, window, groups, groups * kernel[0] * kernel[1]);
    const BoxProblem p{shape.n * groups, shape.h, shape.w, shape.out_height, shape.out_width, shape.kh, shape.kw, shape.sy, shape.sx,
                       shape.dy, shape.dx, sums.data(), box.data(), checked_threads(threads)};
    nb::gil_scoped_release release;
    box_sum(p);
}

template <class T>
void bound_finish(const std::vector<In<float, 4>>& parts, const std::optional<In<int32_t, 4>>& box, const In<int64_t, 1>& constant,
                  const std::optional<In<float, 1>>& scale, double bound, const Out<T, 4>& out, int threads) {
    FinishProblem p{};
    p.n = out.shape(0), p.channels = out.shape(1), p.pixels = out.shape(2) * out.shape(3), p.groups = 1;
    std::vector<const float*> pointers;
    for (const auto& part : parts) {
        require(part.shape(0) == out.shape(0) && part.shape(1) == out.shape(2) && part.shape(2) == out.shape(3) && part.shape(3) == out.shape(1),
                "parts: [N, H, W, O] expected for out [N, O, H, W]");
        pointers.push_back(part.data());
    }
    if (box) {
        p.groups = static_cast<int64_t>(box->shape(1));
        require(box->shape(0) == out.shape(0) && box->shape(2) == out.shape(2) && box->shape(3) == out.shape(3), "box: [N, groups, H, W] expected");
        require(p.groups > 0 && p.channels % p.groups == 0, "box: the groups must divide the channels");
        p.box = box->data();
    }
    require(static_cast<int64_t>(constant.shape(0)) == p.channels, "constant: one entry per channel expected");
    require(bound >= 0 && bound < 4e18, "bound: 0 to 4e18 expected");
    p.count = static_cast<int64_t>(parts.size()), p.parts = pointers.data(), p.constant = constant.data();
    p.scale = per_channel(scale, p.channels, "scale"), p.bound = static_cast<int64_t>(bound), p.threads = checked_threads(threads);
    if constexpr (sizeof(T) == 8)
        p.integers = out.data();
    else
        p.out = out.data();
    nb::gil_scoped_release release;
    finish(p);
}

}  // namespace

void bind_activation(nb::module_& m) {
    using nb::arg;
    const char* expand = "Look up every factor of the activation, channels last and with its halo; see native/activation.h.";
    m.def("expand_values", &expand_values, arg("values").noconvert(), arg("scale"), arg("zero"), arg("low"), arg("high"), arg("padding"),
          arg("tables").noconvert(), arg("layout"), arg("out").noconvert(), arg("addend").noconvert().none(),
          arg("sums").noconvert().none(), arg("threads"), expand);
    m.def("expand_codes", &expand_codes, arg("codes").noconvert(), arg("pad"), arg("padding"), arg("tables").noconvert(), arg("layout"),
          arg("out").noconvert(), arg("addend").noconvert().none(), arg("sums").noconvert().none(), arg("threads"), expand);
    m.def("box_sum", &bound_box, arg("sums").noconvert(), arg("box").noconvert(), arg("kernel"), arg("stride"), arg("dilation"),
          arg("threads"), "The sum over each output's window.");
    const char* finish = "out[n, o, p] = the sum of parts[n, p, o] + box + constant[o]; floats are rounded once, then times scale[o].";
    m.def("finish", &bound_finish<float>, arg("parts"), arg("box").noconvert().none(), arg("constant").noconvert(),
          arg("scale").noconvert().none(), arg("bound"), arg("out").noconvert(), arg("threads"), finish);
    m.def("finish", &bound_finish<int64_t>, arg("parts"), arg("box").noconvert().none(), arg("constant").noconvert(),
          arg("scale").noconvert().none(), arg("bound"), arg("out").noconvert(), arg("threads"), finish);
}
