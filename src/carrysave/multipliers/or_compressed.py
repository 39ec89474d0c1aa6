"""SDLC: Qiqieh, Shafik, Tarawneh, Sokolov and Yakovlev, "Energy-efficient approximate multiplier design using bit
significance-driven logic compression" (DATE 2017), clusters of two rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrysave.bits import Word, rep, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class OrCompressed(Multiplier):
    """Rows 2g and 2g+1 of the partial products are ORed in columns <= g + n - 1, and exact above; all is added exactly.

    The compressed cluster loses a column per pair: an OR of whole rows would be another circuit.
    """

    name = "or_compressed"
    catalog = {"SDLC": "or_compressed"}

    def check(self) -> None:
        if self.n % 2:
            raise ValueError(f"or_compressed: n={self.n} is odd; it compresses pairs of rows, so n is even")

    def product(self, a: Word, b: Word) -> Any:
        columns: list[list[Word]] = [[] for _ in range(self.product_bits)]
        for g in range(self.n // 2):
            low, high = rep(a[2 * g], self.n) & b, rep(a[2 * g + 1], self.n) & b
            for c in range(2 * g, 2 * g + self.n + 1):
                in_low, in_high = c - 2 * g, c - 2 * g - 1
                bits = ([low[in_low]] if in_low < self.n else []) + ([high[in_high]] if in_high >= 0 else [])
                columns[c] += [bits[0] | bits[1]] if len(bits) == 2 and c <= g + self.n - 1 else bits
        return sum_columns(columns, width=self.product_bits)
