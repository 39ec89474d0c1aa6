"""Signed fixed point: two's complement codes of value * 2^fraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from carrysave.formats.base import FORMATS, Format


@FORMATS.register
@dataclass(frozen=True, kw_only=True)
class Fixed(Format):
    """Codes -2^(bits-1) to 2^(bits-1) - 1 in units of 2^-fraction; larger values saturate.

    Attributes:
        fraction: fraction bits; may be negative or larger than `bits`. Without it they follow from the range: the
            most with which neither end of the range saturates.
    """

    fraction: int | None = None

    name = "fixed"
    max_bits: ClassVar[int] = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fraction is not None and not -64 <= self.fraction <= 120:
            raise ValueError(f"{self.name}: fraction={self.fraction} fraction bits; it takes -64 to 120")

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1

    def fit(self, minimum: np.ndarray, maximum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        zero = np.zeros(minimum.shape)
        if self.fraction is not None:
            return np.full(minimum.shape, 2.0**-self.fraction), zero
        # a unit must be at least maximum / high and minimum / low; frexp gives the next power of two above
        unit = np.maximum(np.maximum(maximum, 0.0) / self.high, np.maximum(-minimum, 0.0) / -self.low)
        mantissa, exponent = np.frexp(unit)
        scale = np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent))
        return np.where(unit > 0, scale, 1.0), zero
