"""What every format is: how one number is stored, and the one rule by which values become codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from carrysave.registry import Registry

FORMATS = Registry("format")
TINIEST_SCALE = 2.0**-120  # keeps value / scale and code * scale away from float32's denormals


@dataclass(frozen=True, kw_only=True)
class Format(ABC):
    """Integer codes from `low` to `high`; a code stands for the value scale * (code - zero).

    Encoding is one rule for all formats and all of carrysave: value / scale in float32, rounded half to even, plus
    zero, saturated to [low, high]. (NumPy, torch and the native kernels round alike this way, ties included.)

    Attributes:
        bits: the bits that one code takes in memory.
    """

    bits: int = 8

    name: ClassVar[str]
    min_bits: ClassVar[int] = 2
    max_bits: ClassVar[int] = 16
    sign_and_magnitude: ClassVar[bool] = False  # a multiplier gets |code|, and the product the sign

    def __post_init__(self) -> None:
        if not self.min_bits <= self.bits <= self.max_bits:
            raise ValueError(f"{self.name}: bits={self.bits}; it is defined for {self.min_bits} to {self.max_bits}")

    @property
    @abstractmethod
    def low(self) -> int:
        """The smallest code."""

    @property
    @abstractmethod
    def high(self) -> int:
        """The largest code."""

    @abstractmethod
    def fit(self, minimum: np.ndarray, maximum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scale and zero for finite ranges, minimum <= maximum, elementwise; `grid` checks and rounds."""

    @property
    def spec(self) -> str:
        """The canonical spec string, such as "affine:bits=4"."""
        return FORMATS.spec(self)

    def __str__(self) -> str:
        return self.spec

    def grid(self, minimum: np.ndarray | float, maximum: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """The scale (float32) and the zero (int64) with which the codes cover [minimum, maximum], elementwise.

        Raises:
            ValueError: if a bound is not finite or the bounds are the wrong way round.
        """
        lowest, highest = np.broadcast_arrays(np.asarray(minimum, np.float64), np.asarray(maximum, np.float64))
        if not (np.isfinite(lowest).all() and np.isfinite(highest).all() and (lowest <= highest).all()):
            raise ValueError(f"{self.name}: a range needs finite bounds, the lower first; got {minimum} to {maximum}")
        scale, zero = self.fit(lowest, highest)
        return np.maximum(scale, TINIEST_SCALE).astype(np.float32), zero.astype(np.int64)

    def encode(self, values: np.ndarray, scale: np.ndarray | float, zero: np.ndarray | int) -> np.ndarray:
        """Codes (int64) of `values`; scale and zero broadcast against them.

        Raises:
            ValueError: if a value is NaN. (Infinities saturate.)
        """
        ratio = np.asarray(values, np.float32) / np.asarray(scale, np.float32)
        if np.isnan(ratio).any():
            raise ValueError(f"{self.name}: NaN has no code")
        return np.clip(np.rint(ratio).astype(np.float64) + zero, self.low, self.high).astype(np.int64)

    def decode(self, codes: np.ndarray, scale: np.ndarray | float, zero: np.ndarray | int) -> np.ndarray:
        """Values (float64) of `codes`; scale and zero broadcast against them."""
        return (np.asarray(codes, np.int64) - zero) * np.asarray(scale, np.float64)
