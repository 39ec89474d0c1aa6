"""KMap: Kulkarni, Gupta and Ercegovac, "Trading accuracy for power with an underdesigned multiplier architecture"
(VLSI Design 2011), and its partial form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrysave.bits import Word, cat, partial_products, rows_to_columns, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Kulkarni(Multiplier):
    """2x2 blocks in which only 3 * 3 is wrong (7 instead of 9), added exactly.

    The blocks of all digit pairs (i, j), two bits a digit, are summed at weight 4^(i+j): the recursion of the
    paper, written out.

    Attributes:
        depth: only blocks with i + j <= depth are approximate; without it all are.
    """

    depth: int | None = None
    name = "kulkarni"
    catalog = {"KMap": "kulkarni", "KMap, partial": "kulkarni:depth=3"}

    def check(self) -> None:
        if self.n % 2:
            raise ValueError(f"kulkarni: n={self.n} is odd; it is built of 2x2 blocks, so n is even")
        if self.depth is not None and not -1 <= self.depth <= self.n - 2:
            raise ValueError(
                f"kulkarni: depth={self.depth}; the block index i + j of n={self.n} runs from 0 to {self.n - 2}"
            )

    def product(self, a: Word, b: Word) -> Any:
        rows: list[tuple[Word, int]] = []
        for i in range(self.n // 2):
            for j in range(self.n // 2):
                x, y, shift = a[2 * i : 2 * i + 2], b[2 * j : 2 * j + 2], 2 * (i + j)
                if self.depth is None or i + j <= self.depth:
                    rows.append((approximate_block(x, y), shift))
                else:
                    rows.append((sum_columns(partial_products(x, y)), shift))
        return sum_columns(rows_to_columns(rows), width=self.product_bits)


def approximate_block(x: Word, y: Word) -> Any:
    """The 2x2 product with three output bits: {x1 y1, x1 y0 | x0 y1, x0 y0}."""
    return cat(x[0] & y[0], (x[1] & y[0]) | (x[0] & y[1]), x[1] & y[1])
