#include "team.h"

#include <system_error>
#include <thread>
#include <vector>

#ifdef __linux__
#include <dlfcn.h>
#include <link.h>

#include <cstring>
#include <string>
#endif

namespace {

// libgomp's entry point for a parallel region, which compiled code calls: part of its stable binary interface.
using Parallel = void (*)(void (*)(void*), void*, unsigned, unsigned);

#ifdef __linux__
// The path of the libgomp in this process, torch's where there are several.
std::string loaded_gomp() {
    std::string found;
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* result) {
            auto& path = *static_cast<std::string*>(result);
            const char* name = info->dlpi_name;
            if (!name || !std::strstr(name, "libgomp")) return 0;
            if (path.empty() || std::strstr(name, "torch")) path = name;
            return 0;
        },
        &found);
    return found;
}

Parallel find_parallel() {
    const std::string path = loaded_gomp();
    if (path.empty()) return nullptr;
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);   // never closed: it lives as long as torch
    return library ? reinterpret_cast<Parallel>(dlsym(library, "GOMP_parallel")) : nullptr;
}
#else
Parallel find_parallel() { return nullptr; }
#endif

}  // namespace

void run_together(int workers, void (*run)(void*), void* data) {
    static const Parallel parallel = find_parallel();
    if (parallel) {
        parallel(run, data, static_cast<unsigned>(workers), 0);
        return;
    }
    std::vector<std::thread> pool;
    pool.reserve(workers - 1);
    try {
        for (int i = 1; i < workers; ++i) pool.emplace_back(run, data);
    } catch (const std::system_error&) {
        // Fewer threads than asked for is slower, not wrong: those that started and this one take all the work.
    }
    run(data);
    for (auto& thread : pool) thread.join();
}
