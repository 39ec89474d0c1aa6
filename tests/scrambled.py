"""A multiplier of no family, for tests: products with no structure that an engine could use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrysave.bits import Word, cat, partial_products, sum_columns
from carrysave.multipliers import Multiplier


@dataclass(frozen=True, kw_only=True)
class Scrambled(Multiplier):
    """The exact product with bits flipped where `seed` has ones and the operands, crossed, do too."""

    seed: int = 1
    name = "scrambled"

    def product(self, a: Word, b: Word) -> Any:
        exact = sum_columns(partial_products(a, b), width=self.product_bits)
        mask = a.const(self.seed % (1 << self.product_bits), self.product_bits)
        return exact ^ (cat(b, a) & mask) ^ ((exact << 1)[: self.product_bits] & cat(a, b))
