#include "cpu.h"

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)

// __builtin_cpu_supports asks CPUID and XGETBV, so a set the operating system does not save is not reported.
std::vector<std::string> cpu_features() {
    __builtin_cpu_init();
    std::vector<std::string> found;
    if (__builtin_cpu_supports("avx2")) found.push_back("avx2");
    if (__builtin_cpu_supports("avx512f")) found.push_back("avx512f");
    if (__builtin_cpu_supports("avx512bw")) found.push_back("avx512bw");
    if (__builtin_cpu_supports("avx512vbmi")) found.push_back("avx512_vbmi");
    if (__builtin_cpu_supports("avx512vnni")) found.push_back("avx512_vnni");
    return found;
}

#elif defined(__aarch64__) || defined(_M_ARM64)

// Advanced SIMD is part of the AArch64 base.
std::vector<std::string> cpu_features() { return {"neon"}; }

#else

// Unknown compiler or processor: claim nothing, so only portable kernels are chosen.
std::vector<std::string> cpu_features() { return {}; }

#endif
