"""Floating-point products and sums over Words: round to nearest even, subnormals, infinities and NaN as in IEEE 754.

A NaN that comes out is always the positive quiet one with an empty payload. There are no exception flags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from carrysave.bits import (
    Word,
    add,
    all_bits,
    any_bit,
    cat,
    fit,
    leading_one,
    less,
    partial_products,
    rep,
    shl,
    sum_columns,
    zext,
)


@dataclass(frozen=True)
class FloatFormat:
    """A binary interchange format: sign, `exponent` bits, `fraction` bits."""

    exponent: int
    fraction: int

    @property
    def width(self) -> int:
        return 1 + self.exponent + self.fraction

    @property
    def bias(self) -> int:
        return (1 << self.exponent - 1) - 1


FLOAT32, BFLOAT16, FLOAT16 = FloatFormat(8, 23), FloatFormat(8, 7), FloatFormat(5, 10)


@dataclass(frozen=True)
class Unpacked:
    """A number taken apart. `exponent` is the biased one of the significand's top bit, 1 for subnormals."""

    sign: Any
    exponent: Any
    significand: Any
    nan: Any
    infinite: Any
    magnitude: Any  # exponent and fraction as they are stored: ordered as the numbers are


def unpack(word: Word, format: FloatFormat) -> Unpacked:
    """The parts of a stored number."""
    fraction, exponent = word[: format.fraction], word[format.fraction : format.width - 1]
    normal, top, some = any_bit(exponent), all_bits(exponent), any_bit(fraction)
    effective = cat(exponent[0] | ~normal, exponent[1:])
    return Unpacked(word[-1], effective, cat(fraction, normal), top & some, top & ~some, word[: format.width - 1])


def significand_product(a: Word, b: Word) -> Any:
    """The exact product of two significands, as wide as both."""
    return fit(sum_columns(partial_products(a, b)), a.width + b.width)


def multiply(
    a: Word,
    b: Word,
    format: FloatFormat,
    to: FloatFormat,
    significands: Callable[[Word, Word], Any] = significand_product,
) -> Any:
    """a * b, rounded once to the format `to`, which has the same exponent bits; `significands` multiplies these."""
    x, y = unpack(a, format), unpack(b, format)
    sign, width = x.sign ^ y.sign, 2 * (format.fraction + 1)
    product = significands(x.significand, y.significand)
    room = max(0, to.fraction + 3 - width)
    padded = cat(product.const(0, room), product) if room else product
    wide = format.exponent + 3  # two's complement, for exponents from far below 1 to far above the largest
    zeros = _leading_zeros(padded, wide)
    total = fit(add(zext(x.exponent, wide), zext(y.exponent, wide)), wide)
    exponent = total - zeros - product.const((format.bias - 1) % (1 << wide), wide)
    normalised = shl(padded, zeros[: (padded.width - 1).bit_length()], padded.width)
    small = exponent[-1] | ~any_bit(exponent)  # below 1: shifted right until the exponent is 1
    missing = rep(small, wide) & (product.const(1, wide) - exponent)
    shifted, lost = shift_right_sticky(normalised, missing)
    base = rep(~small, wide) & (exponent - product.const(1, wide))
    magnitude = _rounded(shifted, lost, base, to)
    zero = ~any_bit(product)
    infinite = x.infinite | y.infinite
    invalid = x.nan | y.nan | ((x.infinite | y.infinite) & zero)
    finite = rep(~zero, to.width - 1) & magnitude
    return _special(cat(finite, sign), sign, infinite, invalid, to)


def plus(a: Word, b: Word, format: FloatFormat) -> Any:
    """a + b, rounded once. x - x is +0, -0 + -0 is -0."""
    p, q = unpack(a, format), unpack(b, format)
    swap = less(p.magnitude, q.magnitude)
    large_sign, small_sign = swap.mux(q.sign, p.sign), swap.mux(p.sign, q.sign)
    exponent, other = swap.mux(q.exponent, p.exponent), swap.mux(p.exponent, q.exponent)
    large, small = swap.mux(q.significand, p.significand), swap.mux(p.significand, q.significand)
    away = large_sign ^ small_sign
    guard = large.const(0, 3)
    aligned, lost = shift_right_sticky(cat(guard, small), exponent - other)
    addend = zext(cat(aligned[0] | lost, aligned[1:]), aligned.width + 1)
    total = fit(add(zext(cat(guard, large), addend.width), addend ^ rep(away, addend.width), carry=away), addend.width)
    wide = format.exponent + 2
    zeros = _leading_zeros(total, wide)
    low = less(zext(exponent, wide), zeros)  # the leading 1 lies below the smallest exponent: shift no further
    shift = low.mux(zext(exponent, wide), zeros)
    normalised = shl(total, shift[: max(1, (total.width - 1).bit_length())], total.width)
    base = zext(exponent, wide) - shift
    magnitude = _rounded(normalised, total.const(0, 1), base, format)
    some = any_bit(total)
    sign = some.mux(large_sign, p.sign & q.sign)
    infinite = p.infinite | q.infinite
    invalid = p.nan | q.nan | (p.infinite & q.infinite & away)
    result = cat(rep(some, format.width - 1) & magnitude, sign)
    return _special(result, large_sign, infinite, invalid, format)


def shift_right_sticky(word: Word, amount: Word) -> tuple[Any, Any]:
    """(word >> amount of the same width, whether a 1 was shifted out), by a barrel shifter."""
    lost, result = word.const(0, 1), word
    for j in range(amount.width):
        step = 1 << j
        if step < word.width:
            out, moved = any_bit(result[:step]), zext(result >> step, word.width)
        else:
            out, moved = any_bit(result), word.const(0, word.width)
        lost = lost | (amount[j] & out)
        result = amount[j].mux(moved, result)
    return result, lost


def _leading_zeros(word: Word, width: int) -> Any:
    """Zeros above the leading 1, in `width` bits; all bits but one for 0."""
    return word.const(word.width - 1, width) - fit(leading_one(word), width)


def _rounded(word: Word, lost: Word, base: Word, to: FloatFormat) -> Any:
    """The stored magnitude of a significand whose hidden bit is the top one: (base << fraction) + it, rounded.

    A hidden bit of 1 raises the exponent field from `base`, the exponent less 1; so do carries out of the rounding.
    Too large a number is infinity.
    """
    keep = to.fraction + 1
    mantissa, rest = word[word.width - keep :], word[: word.width - keep]
    half = rest[-1]
    below = lost | any_bit(rest[: rest.width - 1]) if rest.width > 1 else lost
    up = half & (below | mantissa[0])
    stored = cat(mantissa.const(0, to.fraction), base)
    total = fit(add(stored, zext(mantissa, stored.width), carry=up), stored.width)
    field = total[to.fraction :]
    over = any_bit(field[to.exponent :]) | all_bits(field[: to.exponent])
    infinity = total.const((1 << to.exponent) - 1 << to.fraction, to.width - 1)
    return over.mux(infinity, total[: to.width - 1])


def _special(finite: Word, sign: Word, infinite: Word, nan: Word, to: FloatFormat) -> Any:
    infinity = cat(finite.const((1 << to.exponent) - 1 << to.fraction, to.width - 1), sign)
    quiet = finite.const((1 << to.exponent + 1) - 1 << to.fraction - 1, to.width)
    return nan.mux(quiet, infinite.mux(infinity, finite))
