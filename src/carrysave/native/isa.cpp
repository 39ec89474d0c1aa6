#include "isa.h"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

namespace {
constexpr Isa kAll[] = {Isa::portable, Isa::avx2, Isa::avx512, Isa::neon};
constexpr const char* kNames[] = {"portable", "avx2", "avx512", "neon"};
}  // namespace

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
bool isa_present(Isa isa) {
    __builtin_cpu_init();
    if (isa == Isa::portable) return true;
#ifdef CARRYSAVE_AVX2
    if (isa == Isa::avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#ifdef CARRYSAVE_AVX512
    if (isa == Isa::avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
#endif
    return false;
}
Isa best_isa() { return isa_present(Isa::avx512) ? Isa::avx512 : isa_present(Isa::avx2) ? Isa::avx2 : Isa::portable; }
#elif defined(CARRYSAVE_NEON)
bool isa_present(Isa isa) { return isa == Isa::portable || isa == Isa::neon; }
Isa best_isa() { return Isa::neon; }
#else
bool isa_present(Isa isa) { return isa == Isa::portable; }
Isa best_isa() { return Isa::portable; }
#endif

Isa chosen_isa() {
    const char* name = std::getenv("CARRYSAVE_ISA");
    if (!name || !*name) return best_isa();
    std::string known;
    for (Isa isa : kAll) {
        if (!isa_present(isa)) continue;
        if (std::strcmp(name, isa_name(isa)) == 0) return isa;
        known += known.empty() ? "" : ", ";
        known += isa_name(isa);
    }
    throw std::invalid_argument("CARRYSAVE_ISA=" + std::string(name) + ": this machine and build have " + known);
}

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }
