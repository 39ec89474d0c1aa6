"""What the GPU engines take per layer, in units of torch's float32 convolution of the same shape.

ESTIMATES, not measurements: from operation counts of the compiled kernels for an H200-class part (docs/gpu.md), where
float32 without TF32 is taken to make 20 TMAC/s. They only order the engines.
"""

from __future__ import annotations

LAYER = 0.3  # the pass over the activation
DIGIT_PASS = 0.15  # one int8 product per multiply-accumulate: 130 TMAC/s
LOOK_UP = {1: 6.0, 2: 8.0, 4: 14.0, 8: 25.0}  # by the bytes of an entry: 2.5 TMAC/s for two
UNPREPARED_LOOK_UP = 20.0  # entries that do not lie side by side
LOGARITHM = {32: 10.0, 64: 30.0}  # by the bits of a word: 2 TMAC/s, 0.7
INTEGER_PRODUCT = 25.0  # 64-bit
