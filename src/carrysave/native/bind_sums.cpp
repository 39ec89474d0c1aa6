#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>

#include "bind.h"
#include "sums.h"

namespace {

void bound_channel_sums(const In<float, 4>& values, float scale, int32_t zero, int32_t low, int32_t high, Pair padding,
                        const In<int32_t, 1>& addend, const Out<int32_t, 4>& sums, int threads) {
    for (int64_t side : padding) require(0 <= side && side <= 1 << 15, "padding: 0 to 32768 expected");
    ChannelSums t{int64_t(values.shape(0)), int64_t(values.shape(1)), int64_t(values.shape(2)), int64_t(values.shape(3)), padding[0],
                  padding[1], int64_t(sums.shape(1)), values.data(), checked_quantization(scale, zero, low, high, 256),
                  static_cast<uint8_t>(zero - low), addend.data(), sums.data(), checked_threads(threads)};
    require(addend.shape(0) == 256, "addend: 256 entries expected");
    require(t.groups > 0 && t.c % t.groups == 0, "sums: the groups must divide the channels");
    const int64_t wanted[4] = {t.n, t.groups, t.h + 2 * t.top, t.w + 2 * t.left};
    for (int i = 0; i < 4; ++i)
        require(static_cast<int64_t>(sums.shape(i)) == wanted[i], "sums: [N, groups, H + 2 py, W + 2 px] expected");
    nb::gil_scoped_release release;
    channel_sums(t);
}

void bound_window_sums(const In<int32_t, 4>& sums, const Out<int32_t, 4>& box, Pair kernel, Pair stride, Pair dilation, int threads) {
    const Window window{kernel, stride, {0, 0}, dilation, 1};
    const int64_t groups = static_cast<int64_t>(sums.shape(1));
    const ConvShape shape = checked_shape(sums, box, window, groups, groups * kernel[0] * kernel[1]);
    const WindowSums t{shape.n * groups, shape.h, shape.w, shape.out_height, shape.out_width, shape.kh, shape.kw, shape.sy, shape.sx,
                       shape.dy, shape.dx, sums.data(), box.data(), checked_threads(threads)};
    nb::gil_scoped_release release;
    window_sums(t);
}

}  // namespace

void bind_sums(nb::module_& m) {
    using nb::arg;
    m.def("channel_sums", &bound_channel_sums, arg("values").noconvert(), arg("scale"), arg("zero"), arg("low"), arg("high"), arg("padding"),
          arg("addend").noconvert(), arg("sums").noconvert(), arg("threads"),
          "The sum of the addend over each group's channels, halo included; see native/sums.h.");
    m.def("window_sums", &bound_window_sums, arg("sums").noconvert(), arg("box").noconvert(), arg("kernel"), arg("stride"), arg("dilation"),
          arg("threads"), "The sum over each output's window.");
}
