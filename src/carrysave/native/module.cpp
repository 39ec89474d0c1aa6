#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bind.h"
#include "cpu.h"
#include "isa.h"

namespace {

std::vector<std::string> instruction_sets() {
    std::vector<std::string> names;
    for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon})
        if (isa_present(isa)) names.push_back(isa_name(isa));
    return names;
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "carrysave's C++ kernels; they take buffers and know nothing of torch.";
    m.def("cpu_features", &cpu_features, "Instruction sets usable at run time, by their /proc/cpuinfo names.");
    m.def("instruction_sets", &instruction_sets, "What CARRYSAVE_ISA may name here, the best last.");
    m.def("chosen_set", [] { return std::string(isa_name(chosen_isa())); }, "The set that kernels use now.");
    bind_table(m);
    bind_sums(m);
    bind_digits(m);
    bind_logarithmic(m);
}
