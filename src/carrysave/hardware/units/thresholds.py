"""Thresholds: a sum becomes the next layer's activation by comparisons, which absorb scale, bias and rounding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carrysave.bits import any_bit, cat, sum_columns, zext
from carrysave.hardware.units.base import UNITS, Unit
from carrysave.hardware.units.generic_multiplier import sum_of


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Thresholds(Unit):
    """How many of 2^a - 1 thresholds a sum has reached: a quantized activation of `a` bits.

    Ports: `x`, the sum, and `t`, the thresholds side by side in any order, all in two's complement; `y`. A comparator
    each, as in FINN's matrix-vector-threshold unit.

    Attributes:
        a: bits of the activation.
        accumulator: bits of the sum and of a threshold.
    """

    a: int = 2
    accumulator: int = 8
    name = "thresholds"
    catalog = {"to 2 bits": "thresholds", "to 1 bit": "thresholds:a=1,accumulator=5"}

    def check(self) -> None:
        if not (1 <= self.a <= 8 and 2 <= self.accumulator <= 64):
            raise ValueError(
                f"thresholds: a={self.a}, accumulator={self.accumulator}; a is 1 to 8 bits, the sum has 2 to 64"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.accumulator, "t": ((1 << self.a) - 1) * self.accumulator}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        x, n = values["x"], self.accumulator
        thresholds = [values["t"][k * n : (k + 1) * n] for k in range((1 << self.a) - 1)]
        return {"y": sum_columns([[_reached(x, t) for t in thresholds]])[: self.a]}


def _reached(x: Any, threshold: Any) -> Any:
    """x >= threshold in two's complement: a carry chain with two bits to a step, one LUT each.

    A step passes the carry on where its bits are equal (a 0 and a 1 are added), makes one where those of x are more
    (two 1s). With the signs inverted the comparison is unsigned.
    """
    n = x.width
    one, other = cat(x[: n - 1], ~x[n - 1]), cat(threshold[: n - 1], ~threshold[n - 1])
    more, least = [], []
    for k in range(0, n, 2):
        u, v = one[k : min(k + 2, n)], other[k : min(k + 2, n)]
        above = u[-1] & ~v[-1]
        if u.width > 1:
            above = above | (~(u[1] ^ v[1]) & u[0] & ~v[0])
        more.append(above)
        least.append(above | ~any_bit(u ^ v))
    steps = len(more) + 1
    return sum_of(zext(cat(*more), steps), zext(cat(*least), steps), x.const(1, 1))[-1]


def absorbed(
    scale: ArrayLike, bias: ArrayLike, *, a: int, fraction: int, accumulator: int
) -> NDArray[np.int64]:
    """The thresholds that make a sum s the code of G(scale * s + bias), exactly.

    G is the thesis' quantizer (4.4): floor(2^fraction v + 1/2), clipped to 0 .. 2^a - 1. Code k is reached from
    s = ceil(((k - 1/2) / 2^fraction - bias) / scale) on.

    Args:
        scale, bias: one per channel (or one of a kind for all), the scale positive: a layer's scale with that of its
            batch normalisation. Where that is negative, negate the channel's weights.
        accumulator: bits of the sum; thresholds beyond what it holds become its least or greatest value, and a sum
            should not reach the latter.

    Returns:
        [channels, 2^a - 1], ascending.

    Raises:
        ValueError: for a scale that is not positive.
    """
    scales, biases = np.broadcast_arrays(np.atleast_1d(scale), np.atleast_1d(bias))
    if not (scales > 0).all():
        raise ValueError(f"absorbed: a scale of {scales.min()}; negate the weights of channels whose scale is negative")
    least, greatest = -(1 << (accumulator - 1)), (1 << (accumulator - 1)) - 1
    halves = [Fraction(2 * k - 1, 2 << fraction) for k in range(1, 1 << a)]
    reached = [
        [ceil((half - Fraction(float(b))) / Fraction(float(s))) for half in halves]
        for s, b in zip(scales, biases, strict=True)
    ]
    return np.array([[min(max(t, least), greatest) for t in row] for row in reached], dtype=np.int64)
