#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

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
    std::atomic<int64_t> next{0};
    std::vector<std::exception_ptr> errors(workers);
    auto run = [&](int64_t worker) {
        try {
            for (int64_t chunk; (chunk = next.fetch_add(1)) < chunks;)
                work(chunk * grain, std::min(count, (chunk + 1) * grain));
        } catch (...) {
            errors[worker] = std::current_exception();
            next = chunks;
        }
    };
    std::vector<std::thread> pool;
    pool.reserve(workers - 1);
    try {
        for (int64_t i = 1; i < workers; ++i) pool.emplace_back(run, i);
    } catch (const std::exception&) {
        // Fewer threads than asked for is slower, not wrong: those that started and this one take all chunks.
    }
    run(0);
    for (auto& thread : pool) thread.join();
    for (auto& error : errors)
        if (error) std::rethrow_exception(error);
}
