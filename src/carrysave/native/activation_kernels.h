#pragma once

#include "activation.h"

// Inside one image n: pixels [begin, end) of the unpadded image, counted along its rows.
int64_t factor_offset(const ActivationProblem& problem, int64_t pixel, int64_t k, int64_t c);
void expand_pixels_portable(const ActivationProblem& problem, int64_t n, int64_t begin, int64_t end);
void expand_pixels_avx512(const ActivationProblem& problem, int64_t n, int64_t begin, int64_t end);
