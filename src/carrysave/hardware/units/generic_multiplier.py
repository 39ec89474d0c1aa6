"""Multipliers of two variables as FPGAs build them: what the reconfigurable ones are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import Word, cat, fit, rep, sext, times, zext
from carrysave.hardware.units.base import UNITS, Unit


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class GenericMultiplier(Unit):
    """An unsigned activation of n bits times a two's complement weight of m, exactly.

    Forms:
        pairs: two rows of partial products to an adder (their AND gates fit its LUTs), then a tree: m - 1 adders.
        booth: one adder per radix-4 Booth digit of the weight, its selection in the adder's LUTs: six inputs a bit
            (Kumm, Abbas and Zipf, "An efficient softcore multiplier architecture for Xilinx FPGAs", ARITH 2015).
        native: the `*` of RTL, left to the synthesiser.

    Attributes:
        n: bits of the activation `x`.
        m: bits of the weight `w`, even.
        form: pairs, booth or native.
    """

    n: int = 8
    m: int = 8
    form: Literal["pairs", "booth", "native"] = "pairs"
    name = "generic_multiplier"
    catalog = {
        "pairs of rows": "generic_multiplier",
        "Booth rows": "generic_multiplier:form=booth",
        "native": "generic_multiplier:form=native",
    }

    def check(self) -> None:
        if not (2 <= self.n <= 32 and 4 <= self.m <= 32 and self.m % 2 == 0):
            raise ValueError(f"generic_multiplier: n={self.n}, m={self.m}; n is 2 to 32, m 4 to 32 and even")

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n, "w": self.m}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"y": product(values["x"], values["w"], self.form)}


def product(x: Word, w: Word, form: str) -> Any:
    """Unsigned `x` times two's complement `w`, as wide as both, in one of the forms of `GenericMultiplier`."""
    if form == "native":
        return times(zext(x, x.width + 1), w)[: x.width + w.width]
    return _booth(x, w) if form == "booth" else _pairs(x, w)


def _pairs(x: Word, w: Word) -> Any:
    """Sums of two rows each, (w[i] + 2 w[i+1]) x, then a binary tree; the top row counts negatively."""
    n, rows = x.width, []
    for i in range(0, w.width, 2):
        low, high = zext(rep(w[i], n) & x, n + 2), zext((rep(w[i + 1], n) & x) << 1, n + 2)
        top = i + 2 == w.width
        minus = x.const(int(top), 1)
        rows.append((sum_of(low, ~high if top else high, minus), i, top))
    while len(rows) > 1:
        rows = [_added(rows[k], rows[k + 1]) if k + 1 < len(rows) else rows[k] for k in range(0, len(rows), 2)]
    return fit(rows[0][0], n + w.width)


def _booth(x: Word, w: Word) -> Any:
    """Digit by digit from the lowest, two bits of the product done in each step."""
    width, one, done = x.width + 3, zext(x, x.width + 3), []
    total = x.const(0, width)
    for i in range(0, w.width, 2):
        before = w[i - 1] if i else w.const(0, 1)
        single = w[i] ^ before
        double = (w[i + 1] & ~w[i] & ~before) | (~w[i + 1] & w[i] & before)
        negative = w[i + 1]
        chosen = (rep(single, width) & one) | (rep(double, width) & fit(one << 1, width))
        row = chosen ^ rep(negative, width)
        total = sum_of(total, row, negative)
        if i + 2 < w.width:
            done.append(total[:2])
            total = sext(total[2:], width)
    return fit(cat(*done, total), x.width + w.width)


def _added(one: tuple[Any, int, bool], other: tuple[Any, int, bool]) -> tuple[Any, int, bool]:
    """Two rows at their shifts, the lower bits of the first passed by; (sum, shift, whether it is signed)."""
    (low, shift, _), (high, above, signed) = one, other
    step = above - shift
    width = high.width + 1
    upper = low[step:]
    left = zext(upper, max(width, upper.width))
    right = sext(high, left.width) if signed else zext(high, left.width)
    return cat(low[:step], sum_of(left, right, left.const(0, 1))), shift, signed


def sum_of(a: Word, b: Word, carry: Word) -> Any:
    """a + b + carry of two words of one width, modulo; a bit below the lowest makes the carry.

    With that bit the sum is one adder in the eyes of a synthesiser, which would merge it with the next one else, and
    spend two levels of LUTs on three addends.
    """
    return fit(cat(carry, a) + cat(carry, b), a.width + 1)[1:]
