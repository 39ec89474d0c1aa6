#pragma once

#include <cstdint>

// A function of the code as base + slope * code or, where it is not affine, base + its bytes by look-up.
struct Addend {
    int32_t base = 0, slope = 0;
    int planes = 0;               // 0: affine
    alignas(64) uint8_t bytes[4][256];

    explicit Addend(const int32_t* f) {
        if (!f) return;
        bool affine = true;
        base = f[0], slope = static_cast<int32_t>(static_cast<uint32_t>(f[1]) - static_cast<uint32_t>(f[0]));
        int32_t least = f[0];
        uint32_t value = static_cast<uint32_t>(f[0]);
        for (int i = 0; i < 256; ++i, value += static_cast<uint32_t>(slope)) {
            affine = affine && static_cast<uint32_t>(f[i]) == value;
            least = f[i] < least ? f[i] : least;
        }
        if (affine) return;
        base = least;
        uint32_t any = 0;
        for (int i = 0; i < 256; ++i) {
            const uint32_t rest = static_cast<uint32_t>(f[i]) - static_cast<uint32_t>(least);
            any |= rest;
            for (int j = 0; j < 4; ++j) bytes[j][i] = static_cast<uint8_t>(rest >> (8 * j));
        }
        planes = any >> 24 ? 4 : any >> 16 ? 3 : any >> 8 ? 2 : 1;
    }
};
