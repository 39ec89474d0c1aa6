"""Leon, Zervakis, Soudris and Pekmestzi, "Approximate hybrid high radix encoding for energy-efficient inexact
multipliers" (IEEE TVLSI 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from carrysave.bits import Word, add, cat, fit, less, rep, rows_to_columns, sext, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class HybridRadix(Multiplier):
    """Signed: the low r bits of the second operand are one digit m, rounded to 0 or +-2^(r-4), ..., +-2^(r-1).

    |m| below 2^(r-5) becomes 0, and from there each bound is one and a half of the power below it: for r = 10, below
    32 -> 0, 96 -> 64, 192 -> 128, 384 -> 256, else 512. The upper bits are exact radix-4 Booth digits.

    Attributes:
        r: bits of the approximate digit, even.
        signed: always.
    """

    signed: bool = True
    r: int
    name = "hybrid_radix"
    own_sign = True
    min_bits = 6
    catalog = {"RAD64, 16 bit": "hybrid_radix:n=16,r=6", "RAD1024, 16 bit": "hybrid_radix:n=16,r=10"}

    def check(self) -> None:
        if not self.signed:
            raise ValueError("hybrid_radix: signed=false; it is a signed multiplier by definition")
        if self.r % 2 or self.n % 2 or not 6 <= self.r <= self.n:
            raise ValueError(
                f"hybrid_radix: r={self.r}, n={self.n}; above r bits stand radix-4 digits, so both are even, and r is 6"
                " to n"
            )

    def product(self, a: Word, b: Word) -> Any:
        rows: list[tuple[Word, int]] = []
        for j in range(self.r, self.n, 2):
            top, middle, below = b[j + 1], b[j], b[j - 1]
            one = middle ^ below
            two = ~one & (top ^ middle)
            rows += self._row([(one, 0), (two, 1)], a, top, j)
        rows += self._row([(select, self.r - 4 + s) for s, select in enumerate(self.digit(b))], a, b[self.r - 1], 0)
        return sum_columns(rows_to_columns(rows), width=self.product_bits)

    def digit(self, b: Word) -> list[Any]:
        """Which of the powers 2^(r-4) to 2^(r-1) the low digit's magnitude is rounded to, one-hot; none for 0."""
        low = b[: self.r]
        magnitude = fit(add(low ^ rep(low[-1], self.r), low[-1]), self.r)
        bounds = [1 << (self.r - 5), *(3 << (self.r - 5 + s) for s in range(3))]
        reached = [~less(magnitude, b.const(bound, self.r)) for bound in bounds]
        return [here & ~above for here, above in zip(reached, reached[1:], strict=False)] + [reached[-1]]

    def _row(self, choices: list[tuple[Any, int]], a: Word, negative: Any, shift: int) -> list[tuple[Any, int]]:
        """Rows that add +-(a << s) << shift for the s whose select is 1, or 0 if none is."""
        width = self.product_bits - shift
        wide = sext(a, width)
        chosen = [rep(select, width) & fit(wide << s, width) for select, s in choices]
        some = reduce(lambda one, other: one | other, [select for select, _ in choices])
        row = reduce(lambda one, other: one | other, chosen) ^ rep(negative & some, width)
        return [(row, shift), (cat(negative & some), shift)]
