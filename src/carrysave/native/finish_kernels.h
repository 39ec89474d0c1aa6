#pragma once

#include "finish.h"

// Pixels [begin, end) of one image n.
void finish_pixels_portable(const FinishProblem& problem, int64_t n, int64_t begin, int64_t end);
void finish_pixels_avx512(const FinishProblem& problem, int64_t n, int64_t begin, int64_t end);   // to floats
