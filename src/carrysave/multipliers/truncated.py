"""Truncation of the partial-product matrix: the low columns are not built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrysave.bits import Word, partial_products, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Truncated(Multiplier):
    """The partial-product bits x[i] & y[j] with i + j < c are left out; the rest is added exactly.

    Attributes:
        c: dropped columns, from the least significant.
    """

    c: int
    name = "truncated"
    catalog = {"Truncated, 6 columns": "truncated:c=6", "Truncated, 8 columns": "truncated:c=8"}

    def check(self) -> None:
        if not 0 <= self.c <= 2 * self.n - 2:
            raise ValueError(
                f"truncated: c={self.c} dropped columns; n={self.n} has {2 * self.n - 1} columns and one must stay:"
                f" use 0 to {2 * self.n - 2}"
            )

    def product(self, a: Word, b: Word) -> Any:
        kept = [[] if column < self.c else bits for column, bits in enumerate(partial_products(a, b))]
        return sum_columns(kept, width=self.product_bits)
