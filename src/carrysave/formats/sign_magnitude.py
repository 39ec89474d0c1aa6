"""Sign and magnitude: what lets an unsigned multiplier take signed weights, the sign going round it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from carrysave.formats.base import FORMATS, Format


@FORMATS.register
@dataclass(frozen=True, kw_only=True)
class SignMagnitude(Format):
    """One sign bit and bits - 1 bits of magnitude: codes from -(2^(bits-1) - 1) to its opposite, zero 0."""

    name = "sign_magnitude"
    sign_and_magnitude: ClassVar[bool] = True
    max_bits: ClassVar[int] = 17

    @property
    def low(self) -> int:
        return -self.high

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1

    def fit(self, minimum: np.ndarray, maximum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        largest = np.maximum(np.abs(minimum), np.abs(maximum))
        return np.where(largest > 0, largest / self.high, 1.0), np.zeros(minimum.shape)
