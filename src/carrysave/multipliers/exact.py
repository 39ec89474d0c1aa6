"""The exact product, as array, Wallace and Dadda multipliers with ripple or parallel-prefix final adders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import Word, partial_products, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Exact(Multiplier):
    """x * y, from the AND matrix of partial products.

    Attributes:
        tree: how the partial products are reduced to two rows.
        adder: how the two rows are added.
    """

    tree: Literal["array", "wallace", "dadda"] = "dadda"
    adder: Literal["ripple", "sklansky", "brent_kung", "kogge_stone"] = "sklansky"
    name = "exact"
    is_exact = True
    catalog = {"Exact": "exact", "Wallace": "exact:tree=wallace", "Array": "exact:tree=array"}

    def product(self, a: Word, b: Word) -> Any:
        return sum_columns(partial_products(a, b), self.tree, self.adder, width=self.product_bits)
