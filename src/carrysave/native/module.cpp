#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "cpu.h"

NB_MODULE(_native, m) {
    m.doc() = "carrysave's C++ kernels; they take buffers and know nothing of torch.";
    m.def("cpu_features", &cpu_features, "Instruction sets usable at run time, by their /proc/cpuinfo names.");
}
