#pragma once

#include <cmath>
#include <cstdint>

// The one rule of carrysave: value / scale in float32, rounded half to even, plus zero, saturated to [low, high].
struct Quantization {
    float scale;
    int32_t zero, low, high;   // |zero|, |low|, |high| < 2^22

    // The code minus `low`. Clamped before it is rounded: the bounds are integers, so the order does not matter, and no
    // cast overflows; adding and taking 1.5 * 2^23 rounds half to even.
    int32_t index(float value) const {
        float ratio = value / scale;
        const float least = static_cast<float>(low - zero), most = static_cast<float>(high - zero);
        ratio = ratio > least ? ratio : least;   // NaN becomes the lowest
        ratio = ratio < most ? ratio : most;
        constexpr float kRounder = 12582912.0f;
        return static_cast<int32_t>((ratio + kRounder) - kRounder) + zero - low;
    }
};
