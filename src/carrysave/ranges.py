"""How the range of values that a format covers is found from values and their counts. NumPy only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from carrysave.formats.base import Format
from carrysave.registry import Registry

RANGES = Registry("range method")


@dataclass(frozen=True, eq=False)
class Sample:
    """What is known of the values of C tensors (or channels): C rows of n points.

    Attributes:
        values: [C, n], rising along a row.
        counts: [C, n] or [1, n], how often each value occurs.
        low, high: [C], the exact smallest and largest value.
    """

    values: np.ndarray
    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Sample:
        """From the values themselves, [C, n] in any order."""
        values = np.sort(np.asarray(rows, np.float64), axis=1)
        return cls(values, np.ones((1, values.shape[1])), values[:, 0], values[:, -1])


@dataclass(frozen=True, kw_only=True)
class RangeMethod(ABC):
    name: ClassVar[str]

    @abstractmethod
    def find(self, sample: Sample, fmt: Format) -> tuple[np.ndarray, np.ndarray]:
        """The range [C], [C] that `fmt` shall cover."""

    @property
    def spec(self) -> str:
        return RANGES.spec(self)

    def __str__(self) -> str:
        return self.spec


@RANGES.register
@dataclass(frozen=True, kw_only=True)
class MinMax(RangeMethod):
    """From the smallest to the largest value."""

    name = "minmax"

    def find(self, sample: Sample, fmt: Format) -> tuple[np.ndarray, np.ndarray]:
        return sample.low, sample.high


@RANGES.register
@dataclass(frozen=True, kw_only=True)
class Percentile(RangeMethod):
    """The middle `p` percent of the values; half of the rest is cut at either end."""

    p: float = 99.99
    name = "percentile"
    positional: ClassVar[str] = "p"

    def __post_init__(self) -> None:
        if not 50 <= self.p <= 100:
            raise ValueError(f"{self.name}: p={self.p} percent; it takes 50 to 100")

    def find(self, sample: Sample, fmt: Format) -> tuple[np.ndarray, np.ndarray]:
        share = np.cumsum(np.broadcast_to(sample.counts, sample.values.shape), axis=1)
        tail = share[:, -1:] * (100 - self.p) / 200
        first = (share > tail).argmax(axis=1)
        last = (share >= share[:, -1:] - tail).argmax(axis=1)
        rows = np.arange(len(first))
        low, high = sample.values[rows, first], sample.values[rows, last]
        # a histogram's values are bin centres, which at the ends may lie just outside the true range
        return np.clip(low, sample.low, sample.high), np.clip(high, sample.low, sample.high)


@RANGES.register
@dataclass(frozen=True, kw_only=True)
class MeanSquare(RangeMethod):
    """The range, among the min-max range shrunk by 64 factors down to 1/32, with the least mean squared error."""

    name = "mse"
    factors: ClassVar[np.ndarray] = np.geomspace(1.0, 1 / 32, 64)

    def find(self, sample: Sample, fmt: Format) -> tuple[np.ndarray, np.ndarray]:
        best = np.full(sample.low.shape, np.inf)
        chosen = np.ones(sample.low.shape)
        for factor in self.factors:
            scale, zero = fmt.grid(sample.low * factor, sample.high * factor)
            codes = fmt.encode(sample.values, scale[:, None], zero[:, None])
            error = ((fmt.decode(codes, scale[:, None], zero[:, None]) - sample.values) ** 2 * sample.counts).sum(
                axis=1
            )
            chosen = np.where(error < best, factor, chosen)
            best = np.minimum(error, best)
        return sample.low * chosen, sample.high * chosen
