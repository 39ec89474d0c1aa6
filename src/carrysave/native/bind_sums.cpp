#include <nanobind/stl/array.h>
#include <nanobind/stl/string.h>

#include "bind.h"
#include "sums.h"

namespace {

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
    m.def("window_sums", &bound_window_sums, arg("sums").noconvert(), arg("box").noconvert(), arg("kernel"), arg("stride"), arg("dilation"),
          arg("threads"), "The sum over each output's window.");
}
