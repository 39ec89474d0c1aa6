"""Multiply-accumulate units whose weights have so few bits that no multiplier is left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrysave.bits import Word, add, all_bits, fit, rep, sext, shl, sum_columns, zext
from carrysave.hardware.units.base import UNITS, Unit


def _check_bits(name: str, n: int, accumulator: int, least: int) -> None:
    if not 2 <= n <= 32 or not least <= accumulator <= 64:
        raise ValueError(f"{name}: n={n}, accumulator={accumulator}; n is 2 to 32, the sum has {least} to 64 bits")


def _plus_or_minus(total: Word, value: Word, minus: Word) -> Any:
    """total + value, or total - value where `minus` is 1, modulo."""
    return fit(add(total, value ^ rep(minus, value.width), carry=minus), total.width)


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class BinaryMac(Unit):
    """A sum plus or minus an activation: weights of +1 and -1.

    Ports: `x` in two's complement, `w` (1 is +1, 0 is -1, as in XNOR networks), `c`; `y = c + w*x`.

    Attributes:
        n: bits of the activation.
        accumulator: bits of the sum.
    """

    n: int = 16
    accumulator: int = 32
    name = "binary_mac"

    def check(self) -> None:
        _check_bits(self.name, self.n, self.accumulator, self.n)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n, "w": 1, "c": self.accumulator}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"y": _plus_or_minus(values["c"], sext(values["x"], self.accumulator), ~values["w"])}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class TernaryMac(Unit):
    """A sum plus, minus or without an activation: weights of +1, -1 and 0.

    Ports: `x` in two's complement, `w` (bit 0: not zero, bit 1: negative), `c`; `y = c + w*x`.

    Attributes:
        n: bits of the activation.
        accumulator: bits of the sum.
    """

    n: int = 16
    accumulator: int = 32
    name = "ternary_mac"

    def check(self) -> None:
        _check_bits(self.name, self.n, self.accumulator, self.n)

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n, "w": 2, "c": self.accumulator}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        some, minus = values["w"][0], values["w"][1]
        value = rep(some, self.accumulator) & sext(values["x"], self.accumulator)
        return {"y": _plus_or_minus(values["c"], value, minus & some)}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class ShiftMac(Unit):
    """A sum plus or minus a shifted activation: weights that are powers of two, or 0 (precision study: 6 bits).

    Ports: `x` in two's complement; `w`: `exponent` bits k (all ones: the weight is 0), then the sign; `c`;
    `y = c + x * 2^k` or `c - x * 2^k`, modulo the sum's width. The smallest weight is the unit: the radix point of `c`
    is that much lower.

    Attributes:
        n: bits of the activation.
        exponent: bits of the weight's exponent.
        accumulator: bits of the sum.
    """

    n: int = 16
    exponent: int = 5
    accumulator: int = 46
    name = "shift_mac"

    def check(self) -> None:
        _check_bits(self.name, self.n, self.accumulator, self.n)
        if not 1 <= self.exponent <= 6:
            raise ValueError(f"shift_mac: exponent={self.exponent} bits; 1 to 6")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n, "w": self.exponent + 1, "c": self.accumulator}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        weight = values["w"]
        power, minus = weight[: self.exponent], weight[self.exponent]
        some = ~all_bits(power)
        shifted = shl(sext(values["x"], self.accumulator), power, self.accumulator)
        return {"y": _plus_or_minus(values["c"], rep(some, self.accumulator) & shifted, minus & some)}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class XnorPopcount(Unit):
    """A sum plus the number of bits in which two words agree: n products of +1 and -1 at once.

    Ports: `a`, `w`, `c`; `y = c + popcount(a xnor w)`. The sum of the products is twice the count less n.

    Attributes:
        n: bits of a word.
        accumulator: bits of the sum.
    """

    n: int = 32
    accumulator: int = 16
    name = "xnor_popcount"

    def check(self) -> None:
        if not 2 <= self.n <= 256 or not self.n.bit_length() <= self.accumulator <= 64:
            raise ValueError(
                f"xnor_popcount: n={self.n}, accumulator={self.accumulator}; n is 2 to 256, the sum holds n, to 64 bits"
            )

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"a": self.n, "w": self.n, "c": self.accumulator}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        count = sum_columns([list(~(values["a"] ^ values["w"]))])
        return {"y": fit(add(values["c"], zext(count, self.accumulator)), self.accumulator)}
