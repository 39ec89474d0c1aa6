"""The number formats of a tile accelerator: what its words and weights are, and what a product of theirs is.

Precision study, section IV: floating point, fixed point, weights that are powers of two, weights of one bit. Words are
inputs, outputs and feature maps alike, signed; the radix points of words and weights are two numbers of their own.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from carrysave.bits import Word, add, all_bits, fit, rep, sext, shl
from carrysave.hardware.units.floating import BFLOAT16, FLOAT32, FloatFormat, multiply
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.registry import SpecError

NAMES = (
    "float32, bfloat16, fixed16 (2 to 32 bits), power_of_two6x16 (bits of the weight, bits of the word), binary16, "
    "or the spec of a signed multiplier with ; where it has commas"
)


@dataclass(frozen=True, kw_only=True)
class Precision(ABC):
    """What the weights and the words of a tile are.

    Attributes:
        word_bits, weight_bits: as they are stored in the buffers.
        product_bits: of a product; in two's complement, except for floating point.
        weight_fraction: bits of a product below the words' radix point: those of the weight. Where nothing else is said
            the largest weight is 1, or just below.
    """

    word_bits: int
    weight_bits: int
    product_bits: int
    weight_fraction: int

    @abstractmethod
    def product(self, x: Word, w: Word) -> Any:
        """The product of a word and a weight, `product_bits` wide."""


@dataclass(frozen=True, kw_only=True)
class Floating(Precision):
    """Words and weights in one floating-point format; products and sums in float32, each rounded to nearest even."""

    format: FloatFormat

    def product(self, x: Word, w: Word) -> Any:
        return multiply(x, w, self.format, FLOAT32)


@dataclass(frozen=True, kw_only=True)
class Fixed(Precision):
    """Words and weights in two's complement, multiplied by any multiplier that takes such."""

    multiplier: Multiplier

    def product(self, x: Word, w: Word) -> Any:
        return self.multiplier(x, w)


@dataclass(frozen=True, kw_only=True)
class PowerOfTwo(Precision):
    """Weights that are powers of two, or 0: bits of an exponent k (all ones: the weight is 0), then the sign.

    The product is x * 2^k or -x * 2^k: the smallest weight is the unit, as in `shift_mac`.
    """

    def product(self, x: Word, w: Word) -> Any:
        power, minus = w[: w.width - 1], w[-1]
        value = rep(~all_bits(power), x.width + 1) & _signed(x, minus)
        return shl(sext(value, self.product_bits), power, self.product_bits)


@dataclass(frozen=True, kw_only=True)
class Binary(Precision):
    """Weights of +1 and -1 (1 is +1, 0 is -1)."""

    def product(self, x: Word, w: Word) -> Any:
        return _signed(x, ~w)


def _signed(x: Word, minus: Word) -> Any:
    """x, or -x where `minus` is 1, one bit wider than x."""
    wide = sext(x, x.width + 1)
    return fit(add(wide ^ rep(minus, wide.width), x.const(0, 1), carry=minus), wide.width)


@lru_cache(maxsize=64)
def parse_precision(text: str) -> Precision:
    """The precision of one of `NAMES`. Raises SpecError for anything else, and for widths that cannot be."""
    for name, format in (("float32", FLOAT32), ("bfloat16", BFLOAT16)):
        if text == name:
            n = format.width
            return Floating(word_bits=n, weight_bits=n, product_bits=FLOAT32.width, weight_fraction=0, format=format)
    if match := re.fullmatch(r"fixed(\d+)", text):
        n = _within(text, int(match[1]), 2, 32)
        return _fixed(MULTIPLIERS.parse(f"exact:n={n},signed=true,form=baugh_wooley"))
    if match := re.fullmatch(r"power_of_two(\d+)x(\d+)", text):
        weight, n = _within(text, int(match[1]), 3, 7), _within(text, int(match[2]), 2, 32)
        largest = (1 << weight - 1) - 2  # the exponent of all ones means 0
        return PowerOfTwo(word_bits=n, weight_bits=weight, product_bits=n + 1 + largest, weight_fraction=largest)
    if match := re.fullmatch(r"binary(\d+)", text):
        n = _within(text, int(match[1]), 2, 32)
        return Binary(word_bits=n, weight_bits=1, product_bits=n + 1, weight_fraction=0)
    if text.partition(":")[0] not in MULTIPLIERS.names():
        raise SpecError(f"precision {text!r}: expected {NAMES}")
    return _fixed(MULTIPLIERS.parse(text.replace(";", ",")))


def _fixed(multiplier: Multiplier) -> Fixed:
    if not multiplier.signed:
        raise SpecError(f"precision {multiplier.spec}: words and weights have signs; give the multiplier signed=true")
    a, b, product = multiplier.a_bits, multiplier.b_bits, multiplier.product_bits
    return Fixed(word_bits=a, weight_bits=b, product_bits=product, weight_fraction=b - 1, multiplier=multiplier)


def _within(text: str, value: int, low: int, high: int) -> int:
    if not low <= value <= high:
        raise SpecError(f"precision {text!r}: {value} bits; expected {low} to {high}")
    return value
