"""The third stage of the precision study's neural functional unit: a sum rounded to a word, and a function of it.

The study does not say which functions its accelerator has. Its networks, in Caffe's versions, need a rectifier and,
for the last layer, none; so that is what stands here by default. DianNao, which it follows, interpolates any function
from 16 segments: sigmoid and tanh are here in that form, with constants for the segments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import Word, add, all_bits, any_bit, cat, fit, partial_products, rep, sext, shr, sum_columns
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.hardware.units.floating import FLOAT32
from carrysave.hardware.units.memory import selected
from carrysave.hardware.units.precisions import Floating, Precision, parse_precision

SEGMENTS = 16  # DianNao
_FUNCTIONS: Mapping[str, tuple[Callable[[float], float], int]] = {  # the function, and the range it is bent in: +- this
    "sigmoid": (lambda u: 1 / (1 + math.exp(-u)), 8),
    "tanh": (math.tanh, 4),
}


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Nonlinearity(Unit):
    """A sum as a word of the next layer, in a register.

    Fixed point: `fraction` bits are dropped, and as many more as `radix` says; the rest is rounded to nearest, halves
    up, and clipped to the words' range. Floating point: rounded to nearest even if the words are narrower than sums.
    Then the function, except where `linear` is 1.

    Ports: `sum`, `linear`, `radix` if it has bits; `y`, one cycle later.

    Attributes:
        precision: as of a weight block.
        sum_bits: of the sum; 32 of floating point.
        function: relu; sigmoid or tanh, fixed point only: straight lines between 17 points, at -8 to 8 or -4 to 4.
        fraction: bits of a sum below the words' radix point; not given, those of the weights if the largest is 1.
        radix_bits: of the port by which a layer drops more bits; 0 for one radix point for all, as in the study.
        data_fraction: bits of a word below its radix point, which sigmoid and tanh have to know; half if not given.
    """

    precision: str = "fixed16"
    sum_bits: int = 42
    function: Literal["relu", "sigmoid", "tanh"] = "relu"
    fraction: int | None = None
    radix_bits: int = 0
    data_fraction: int | None = None
    name = "nonlinearity"
    catalog = {
        "fixed 8": "nonlinearity:precision=fixed8,sum_bits=22",
        "fixed 8, a radix point for each layer": "nonlinearity:precision=fixed8,sum_bits=22,fraction=2,radix_bits=3",
        "tanh": "nonlinearity:precision=fixed8,sum_bits=18,function=tanh",
    }

    def check(self) -> None:
        of, n = self.of, self.of.word_bits
        if isinstance(of, Floating):
            if self.sum_bits != FLOAT32.width or self.function != "relu" or self.radix_bits or self.dropped:
                raise ValueError("nonlinearity: sums of floating point have 32 bits, no radix point, and relu alone")
            return
        if not 2 <= self.sum_bits <= 128 or not 0 <= self.dropped < self.sum_bits or not 0 <= self.radix_bits <= 6:
            raise ValueError(
                f"nonlinearity: sum_bits={self.sum_bits}, fraction={self.dropped}, radix_bits={self.radix_bits}; "
                "expected sums of 2 to 128 bits, a fraction within them, and a radix port of 0 to 6 bits"
            )
        if self.function != "relu" and not 2 <= self.point < n:
            raise ValueError(f"nonlinearity: {self.function} with data_fraction={self.point}; expected 2 to {n - 1}")

    @property
    def of(self) -> Precision:
        """What the words are."""
        return parse_precision(self.precision)

    @property
    def dropped(self) -> int:
        """Bits of a sum below the words' radix point."""
        return self.of.weight_fraction if self.fraction is None else self.fraction

    @property
    def point(self) -> int:
        """Bits of a word below its radix point."""
        return self.of.word_bits // 2 if self.data_fraction is None else self.data_fraction

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"sum": self.sum_bits, "linear": 1, **({"radix": self.radix_bits} if self.radix_bits else {})}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"kept": Register(self.of.word_bits)}

    @property
    def settling(self) -> int:
        return 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        n, linear = self.of.word_bits, values["linear"]
        if isinstance(self.of, Floating):
            word = values["sum"] if n == FLOAT32.width else _narrow(values["sum"], n)
        else:
            word = saturated(self._rounded(values), n)
        if self.function == "relu":
            return {"y": values["kept"], "kept": rep(linear | ~word[-1], n) & word}
        return {"y": values["kept"], "kept": linear.mux(word, self._interpolated(word))}

    def _rounded(self, values: Mapping[str, Any]) -> Any:
        """The sum without its fraction, to nearest: one bit more is kept, one added to it, and it dropped."""
        total = values["sum"]
        halves = cat(total.const(0, 1), total)[self.dropped :]
        if self.radix_bits:
            sign = rep(halves[-1], halves.width)
            halves = shr(halves ^ sign, values["radix"]) ^ sign
        wide = sext(halves, halves.width + 1)
        return fit(add(wide, wide.const(1, 1)), wide.width)[1:]

    def _interpolated(self, word: Word) -> Any:
        """A value on the straight line of the segment that the word lies in."""
        starts, rises, low = segments(self.function, self.point, word.width)
        bits = low + SEGMENTS.bit_length() - 1
        place = saturated(word, bits)
        index, within = place[low:], place[:low]
        rise_bits = max(1, max(rises).bit_length())
        start = selected([word.const(y % (1 << word.width), word.width) for y in starts], index)
        rise = selected([word.const(y, rise_bits) for y in rises], index)
        columns = partial_products(rise, within)
        columns[low - 1].append(word.const(1, 1))  # a half
        product = sum_columns(columns, width=rise_bits + low)
        return fit(add(start, product[low:]), word.width)


def segments(function: str, point: int, bits: int) -> tuple[list[int], list[int], int]:
    """(value at the start of each segment, rise within it, log2 of its codes), in the order of two's complement codes.

    Args:
        point: bits below the radix point.
        bits: of a word, which the values are clipped to.
    """
    of, reach = _FUNCTIONS[function]
    step = 2 * reach / SEGMENTS
    codes = [k if k < SEGMENTS // 2 else k - SEGMENTS for k in range(SEGMENTS)]
    values = {k: min(round(of(k * step) * (1 << point)), (1 << bits - 1) - 1) for k in (*codes, SEGMENTS // 2)}
    return [values[k] for k in codes], [values[k + 1] - values[k] for k in codes], point + int(math.log2(step))


def saturated(word: Word, bits: int) -> Any:
    """A two's complement word clipped to `bits`."""
    if word.width <= bits:
        return sext(word, bits)
    top = word[bits - 1 :]
    fits = all_bits(top) | ~any_bit(top)
    limit = cat(rep(~word[-1], bits - 1), word[-1])
    return fits.mux(word[:bits], limit)


def _narrow(word: Word, bits: int) -> Any:
    """A float32 in the `bits` that a format of the same exponents has, to nearest even; NaNs are quiet and empty."""
    low = FLOAT32.width - bits
    kept, rest = word[low:], word[:low]
    up = rest[-1] & (any_bit(rest[: low - 1]) | kept[0])
    return fit(add(kept, kept.const(0, 1), carry=up), bits)
