"""The exact product, as array, Wallace and Dadda multipliers with ripple or parallel-prefix final adders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import Word, cat, partial_products, rep, rows_to_columns, sext, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Exact(Multiplier):
    """x * y, from the AND matrix of partial products.

    Attributes:
        tree: how the partial products are reduced to two rows.
        adder: how the two rows are added.
        form: of a signed one. magnitudes: the unsigned array multiplies the magnitudes, between conversions from and to
            two's complement. baugh_wooley: a two's complement array without conversions (Baugh and Wooley, IEEE Trans.
            Computers 1973, in the form that complements the products of one sign bit). booth: a row for each radix-4
            digit of b, -2 to 2 times a (MacSorley, Proc. IRE 1961): half the rows, and in standard cells the smallest
            from 8 bits on.
    """

    tree: Literal["array", "wallace", "dadda"] = "dadda"
    adder: Literal["ripple", "sklansky", "brent_kung", "kogge_stone"] = "sklansky"
    form: Literal["magnitudes", "baugh_wooley", "booth"] = "magnitudes"
    name = "exact"
    is_exact = True
    catalog = {
        "Exact": "exact",
        "Wallace": "exact:tree=wallace",
        "Array": "exact:tree=array",
        "Baugh-Wooley": "exact:signed=true,form=baugh_wooley",
        "Booth": "exact:signed=true,form=booth",
    }

    def check(self) -> None:
        if self.own_sign and not self.signed:
            raise ValueError(f"exact: form={self.form} is two's complement by definition; give signed=true with it")

    @property
    def own_sign(self) -> bool:
        """Whether `product` takes and gives two's complement words."""
        return self.form != "magnitudes"

    def product(self, a: Word, b: Word) -> Any:
        terms = {"magnitudes": partial_products, "baugh_wooley": _baugh_wooley, "booth": _booth}[self.form]
        return sum_columns(terms(a, b), self.tree, self.adder, width=self.product_bits)


def _baugh_wooley(a: Word, b: Word) -> list[list[Any]]:
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


def _booth(a: Word, b: Word) -> list[list[Any]]:
    """Columns of the two's complement product of two words of n bits, modulo 2^2n, from the radix-4 digits of b.

    A row is a times the digit in n + 1 bits, its negative as the complement and a 1. Its sign bit s weighs
    -s * 2^k = ~s * 2^k - 2^k instead of being extended; the constants -2^k of all rows are one.
    """
    n, digits = a.width, sext(b, b.width + b.width % 2)
    rows, constant = [], 0
    once, twice = sext(a, n + 1), cat(a.const(0, 1), a)
    for i in range(0, digits.width, 2):
        top, middle, below = digits[i + 1], digits[i], digits[i - 1] if i else b.const(0, 1)
        one = middle ^ below
        two = ~one & (top ^ middle)
        row = ((rep(one, n + 1) & once) | (rep(two, n + 1) & twice)) ^ rep(top, n + 1)
        rows += [(cat(row[:n], ~row[n]), i), (top, i)]
        constant -= 1 << n + i
    ones = [(a.const(1, 1), k) for k in range(2 * n) if constant >> k & 1]
    return rows_to_columns(rows + ones)
