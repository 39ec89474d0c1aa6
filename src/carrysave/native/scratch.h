#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "aligned.h"

// Memory that kernels borrow for one call and give back: fresh pages cost more than the work done in them. At most
// kKept buffers of up to kLargest bytes stay allocated; they are not initialised.
class Scratch {
  public:
    explicit Scratch(int64_t size) : bytes(size) {
        {
            const std::lock_guard<std::mutex> lock(guard());
            auto& free = kept();
            for (size_t i = 0; i < free.size(); ++i)
                if (free[i].first >= size) {
                    std::swap(free[i], free.back());
                    bytes = free.back().first, memory = std::move(free.back().second);
                    free.pop_back();
                    return;
                }
        }
        memory = raw_bytes(size);
    }
    ~Scratch() {
        if (bytes > kLargest) return;
        const std::lock_guard<std::mutex> lock(guard());
        auto& free = kept();
        if (free.size() < kKept) {
            free.emplace_back(bytes, std::move(memory));
            return;
        }
        const auto least = std::min_element(free.begin(), free.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
        if (least->first < bytes) *least = {bytes, std::move(memory)};
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    template <class T>
    T* at(int64_t offset) const {
        return reinterpret_cast<T*>(memory.get() + offset);
    }

  private:
    using Kept = std::vector<std::pair<int64_t, AlignedBytes>>;
    static constexpr int64_t kLargest = 1 << 24;
    static constexpr size_t kKept = 16;

    static std::mutex& guard() {
        static std::mutex mutex;
        return mutex;
    }
    static Kept& kept() {
        static Kept buffers = [] {
            Kept empty;
            empty.reserve(kKept);   // giving memory back must not throw
            return empty;
        }();
        return buffers;
    }

    int64_t bytes;
    AlignedBytes memory;
};
