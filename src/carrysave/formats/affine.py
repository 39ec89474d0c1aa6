"""Unsigned affine codes: value = scale * (code - zero), zero exactly representable.

The scheme of Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference" (CVPR 2018), equation 1 and Section 3, which the HEAM paper uses for activations and for weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carrysave.formats.base import FORMATS, Format


@FORMATS.register
@dataclass(frozen=True, kw_only=True)
class Affine(Format):
    """Codes 0 to 2^bits - 1 over a range that is first widened to contain 0."""

    name = "affine"

    @property
    def low(self) -> int:
        return 0

    @property
    def high(self) -> int:
        return (1 << self.bits) - 1

    def fit(self, minimum: np.ndarray, maximum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lowest, highest = np.minimum(minimum, 0.0), np.maximum(maximum, 0.0)
        span = highest - lowest
        scale = np.where(span > 0, np.maximum(span / self.high, 2.0**-120), 1.0)
        return scale, np.clip(np.rint(-lowest / scale), self.low, self.high)
