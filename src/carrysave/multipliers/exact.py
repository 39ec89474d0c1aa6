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
        form: of a signed one. magnitudes: the unsigned array multiplies the magnitudes, between
            conversions from and to two's complement. baugh_wooley: a two's complement array without conversions
            (Baugh and Wooley, IEEE Trans. Computers 1973, in the form that complements the products of one sign bit).
    """

    tree: Literal["array", "wallace", "dadda"] = "dadda"
    adder: Literal["ripple", "sklansky", "brent_kung", "kogge_stone"] = "sklansky"
    form: Literal["magnitudes", "baugh_wooley"] = "magnitudes"
    name = "exact"
    is_exact = True
    catalog = {
        "Exact": "exact",
        "Wallace": "exact:tree=wallace",
        "Array": "exact:tree=array",
        "Baugh-Wooley": "exact:signed=true,form=baugh_wooley",
    }

    def check(self) -> None:
        if self.form == "baugh_wooley" and not self.signed:
            raise ValueError("exact: form=baugh_wooley is two's complement by definition; give signed=true with it")

    @property
    def own_sign(self) -> bool:
        """Whether `product` takes and gives two's complement words."""
        return self.form == "baugh_wooley"

    def product(self, a: Word, b: Word) -> Any:
        columns = _two_complement_products(a, b) if self.own_sign else partial_products(a, b)
        return sum_columns(columns, self.tree, self.adder, width=self.product_bits)


def _two_complement_products(a: Word, b: Word) -> list[list[Any]]:
    """Columns of the two's complement product of two words of n bits, modulo 2^2n.

    A bit product with exactly one sign bit in it weighs -2^k. It is -2^k * p = 2^k * ~p - 2^k, and over both rows of
    such products the constants -2^k add up to 2^n + 2^(2n-1).
    """
    n = a.width
    columns = partial_products(a, b)
    for column in columns[n - 1 : 2 * n - 2]:  # in the order of a's bits: b's sign is in the first product, a's last
        column[0], column[-1] = ~column[0], ~column[-1]
    one = a.const(1, 1)
    columns[n].append(one)
    columns.append([one])
    return columns
