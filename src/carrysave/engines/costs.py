"""What the engines take per layer, in units of torch's float32 convolution of the same shape.

Measured by `carrysave bench` on conv (16,64,32,32)x(64,64,3,3), one thread, on a Zen 4 core with AVX-512, where float32
makes 55 GMAC/s. The ratios order the engines; what a machine without those instructions takes is more for all of them.
"""

from __future__ import annotations

from carrysave import native

INT8_LAYER, INT8_PASS = 0.06, 0.26  # once, and for each factor
DEPTHWISE_LAYER, DEPTHWISE_PASS = 0.65, 0.35
WIDE_LAYER = 0.6  # codes, digits and rounding in torch included
FLOAT32_PASS = 1.7  # codes, corrections and rounding in torch included
TABLE_BYTE = {0: 0.3, 1: 1.2, 2: 2.1, 3: 3.2, 4: 4.2}  # by the bytes that a weight code's products span
TABLE_WIDE = 30.0  # activation codes of more than 8 bits: loads from memory
TABLE_IN_TORCH = 8.0
TABLE_MATMUL = 30.0  # the second operand's rows are laid out in each call
EXACT_MATMUL = 2.0
LOGARITHM = {16: 0.8, 32: 1.5, 64: 2.4}  # by the bits of a word
LOGARITHM_DEPTHWISE = {32: 3.0, 64: 3.0}  # the pairs of 16 bits are pairs of channels
SLOW_INSTRUCTIONS = 6.0  # look-ups and logarithms without AVX-512, relative to those above


def instructions() -> float:
    """How much slower than measured look-ups and logarithms are with the instruction set in use."""
    if not native.available:
        return SLOW_INSTRUCTIONS
    from carrysave._native import chosen_set

    return 1.0 if chosen_set() == "avx512" else SLOW_INSTRUCTIONS
