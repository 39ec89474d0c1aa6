#pragma once

#include <utility>

#define CARRYSAVE_INLINE inline __attribute__((always_inline))
#define CARRYSAVE_LAMBDA __attribute__((always_inline))

// unroll<3>(f) is f(0), f(1), f(2) with constants that can index registers: left to an optimiser's loop unrolling,
// arrays of vectors end up in memory.
template <class Function, int... kIndices>
CARRYSAVE_INLINE void unroll_over(const Function& function, std::integer_sequence<int, kIndices...>) {
    (function(std::integral_constant<int, kIndices>{}), ...);
}
template <int kCount, class Function>
CARRYSAVE_INLINE void unroll(const Function& function) {
    unroll_over(function, std::make_integer_sequence<int, kCount>{});
}
