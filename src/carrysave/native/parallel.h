#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

#include "team.h"

// Calls work(begin, end) on disjoint ranges that cover [0, count), `grain` items at a time, on up to `threads` threads.
// The first exception is thrown again here, after every thread has ended.
template <class Work>
void parallel_for(int64_t count, int64_t grain, int threads, const Work& work) {
    const int64_t chunks = (count + grain - 1) / grain;
    const int64_t workers = std::min<int64_t>(threads, chunks);
    if (workers <= 1) {
        if (count > 0) work(int64_t{0}, count);
        return;
    }
    struct Shared {
        const Work& work;
        const int64_t count, grain, chunks;
        std::atomic<int64_t> next{0};
        std::mutex first;
        std::exception_ptr error;
    } shared{work, count, grain, chunks, {}, {}, {}};
    run_together(
        static_cast<int>(workers),
        [](void* data) {
            auto& all = *static_cast<Shared*>(data);
            try {
                for (int64_t chunk; (chunk = all.next.fetch_add(1)) < all.chunks;)
                    all.work(chunk * all.grain, std::min(all.count, (chunk + 1) * all.grain));
            } catch (...) {
                const std::lock_guard<std::mutex> only(all.first);
                if (!all.error) all.error = std::current_exception();
                all.next = all.chunks;
            }
        },
        &shared);
    if (shared.error) std::rethrow_exception(shared.error);
}
