"""Fine histograms of real values that merge exactly: the bins are [k, k+1) * 2^exponent, so a coarser grid nests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from carrysave.ranges import Sample

BINS = 8192  # at most; at least half of it unless the values are few floats apart


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of values in the bins [first + i, first + i + 1) * 2^exponent.

    The exponent is the smallest with which the range spans at most BINS bins, so batches counted apart and merged in
    any order give exactly the histogram of all values together.

    Attributes:
        counts: float64 [bins]; whole numbers where the weights are.
        low, high: the exact smallest and largest value.
    """

    exponent: int
    first: int
    counts: np.ndarray
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray | None = None) -> Histogram:
        """Of finite values, any shape and at least one; `weights` (>= 0) broadcasts against them."""
        values = np.asarray(values, np.float64)
        low, high = float(values.min()), float(values.max())
        exponent = _exponent(low, high)
        first = math.floor(math.ldexp(low, -exponent))
        index = (np.floor(np.ldexp(values, -exponent)) - first).astype(np.int64).reshape(-1)
        flat = None if weights is None else np.broadcast_to(weights, values.shape).reshape(-1)
        return cls(exponent, first, np.bincount(index, flat).astype(np.float64), low, high)

    def merge(self, other: Histogram) -> Histogram:
        """The histogram of both sets of values."""
        low, high = min(self.low, other.low), max(self.high, other.high)
        exponent = max(self.exponent, other.exponent, _exponent(low, high))
        first = math.floor(math.ldexp(low, -exponent))
        counts = np.zeros(math.floor(math.ldexp(high, -exponent)) - first + 1)
        for part in (self, other):
            bins = (part.first + np.arange(part.counts.size)) >> min(exponent - part.exponent, 63)
            np.add.at(counts, bins - first, part.counts)
        return Histogram(exponent, first, counts, low, high)

    @property
    def width(self) -> float:
        """The width of a bin."""
        return math.ldexp(1.0, self.exponent)

    @property
    def centres(self) -> np.ndarray:
        """The middle of each bin, kept inside [low, high]."""
        return np.clip((self.first + np.arange(self.counts.size) + 0.5) * self.width, self.low, self.high)

    def points(self, spacing: float) -> tuple[np.ndarray, np.ndarray]:
        """Values and counts, each bin spread evenly over points no further apart than `spacing`."""
        parts = min(max(1, math.ceil(self.width / spacing)), 1 << 10)
        offsets = (np.arange(parts) + 0.5) / parts
        values = ((self.first + np.arange(self.counts.size))[:, None] + offsets) * self.width
        return np.clip(values, self.low, self.high).reshape(-1), np.repeat(self.counts / parts, parts)

    def sample(self) -> Sample:
        """As one row of values and counts, for the range methods."""
        return Sample(self.centres[None], self.counts[None], np.array([self.low]), np.array([self.high]))


def merged(parts: list[Histogram]) -> Histogram:
    """All of `parts` together; at least one."""
    return reduce(Histogram.merge, parts)


def _exponent(low: float, high: float) -> int:
    largest = max(abs(low), abs(high))
    if largest == 0:
        return -1100  # finer than anything that zeros may be merged with
    exponent = math.frexp(largest)[1] - 50  # a bin's index stays far below 2^53
    if high > low:
        exponent = max(exponent, math.frexp((high - low) / BINS)[1] - 2)
    while math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) >= BINS:
        exponent += 1
    return exponent
