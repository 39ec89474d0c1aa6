"""CR: Liu, Han and Lombardi, "A low-power, high-performance approximate multiplier with configurable partial error
recovery" (DATE 2014), the form with ORed error vectors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from carrysave.bits import Word, fit, rep, rows_to_columns, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Recovery(Multiplier):
    """The rows are added pairwise by adders without carry chains, whose errors are partly added back.

    An adder gives S and an error vector E with A + B = S + E. The rows are summed n - n/2 - ... - 1 keeping the S's;
    the E's of all adders are ORed into one, and its top `c` bits are added at the end.

    Attributes:
        c: recovered bits, counted from bit 2n - 2 down: c=6 of n=8 adds back bits 14 to 9, c=7 bits 14 to 8.
    """

    c: int
    name = "recovery"
    catalog = {"C.6": "recovery:c=6", "C.7": "recovery:c=7"}

    def check(self) -> None:
        if self.n & (self.n - 1):
            raise ValueError(f"recovery: n={self.n}; its rows are added pairwise, so n is a power of two: 4, 8, 16, 32")
        if not 0 <= self.c <= 2 * self.n - 1:
            raise ValueError(
                f"recovery: c={self.c} recovered bits; n={self.n} has 0 to {2 * self.n - 1}, from bit {2 * self.n - 2}"
                " down"
            )

    def product(self, a: Word, b: Word) -> Any:
        width = self.product_bits
        level = [fit((rep(a[i], self.n) & b) << i, width) for i in range(self.n)]
        errors: list[Word] = []
        while len(level) > 1:
            sums = [approximate_add(level[i], level[i + 1]) for i in range(0, len(level), 2)]
            level = [total for total, _ in sums]
            errors += [error for _, error in sums]
        rows = [(level[0], 0)]
        if self.c:
            top = width - 1
            recovered = reduce(lambda one, other: one | other, errors)[top - self.c : top]
            rows.append((recovered, top - self.c))
        return sum_columns(rows_to_columns(rows), width=width)


def approximate_add(a: Word, b: Word) -> tuple[Any, Any]:
    """(S, E) of two words of one width, with A + B = S + E modulo 2^width."""
    half = a ^ b
    carry = fit((a & b) << 1, a.width)
    return half | carry, half & carry
