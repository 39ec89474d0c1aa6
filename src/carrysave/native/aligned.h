#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

struct AlignedFree {
    void operator()(void* p) const { std::free(p); }
};
using AlignedBytes = std::unique_ptr<uint8_t[], AlignedFree>;

// Starts at a multiple of 64, with 64 bytes to spare, not initialised; throws std::bad_alloc.
inline AlignedBytes raw_bytes(int64_t size) {
    void* memory = std::aligned_alloc(64, static_cast<size_t>((size + 63) / 64 * 64 + 64));
    if (!memory) throw std::bad_alloc();
    return AlignedBytes(static_cast<uint8_t*>(memory));
}

// The same, all zero.
inline AlignedBytes aligned_bytes(int64_t size) {
    AlignedBytes bytes = raw_bytes(size);
    std::memset(bytes.get(), 0, static_cast<size_t>((size + 63) / 64 * 64 + 64));
    return bytes;
}
