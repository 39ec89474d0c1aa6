"""TOSAM: Vahdat, Kamal, Afzali-Kusha and Pedram, "TOSAM: an energy-efficient truncation- and rounding-based scalable
approximate multiplier" (IEEE TVLSI 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrysave.bits import (
    Word,
    any_bit,
    cat,
    fit,
    leading_one,
    normalised,
    partial_products,
    rep,
    rows_to_columns,
    shl,
    sum_columns,
)
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Tosam(Multiplier):
    """2^(ka+kb) * (1 + At + Bt + Ah * Bh), truncated to an integer; 0 if an operand is 0.

    Attributes:
        h: bits of a fraction in the product Ah * Bh, a 1 appended to round them.
        t: bits of a fraction in the sum, truncated.
    """

    h: int
    t: int
    name = "tosam"
    min_bits = 3
    catalog = {"TOSAM(2,5)": "tosam:h=2,t=5"}

    def check(self) -> None:
        if not 0 <= self.h <= self.t <= self.n - 1:
            raise ValueError(
                f"tosam: h={self.h}, t={self.t}; of the {self.n - 1} fraction bits of n={self.n} it takes t in the sum"
                f" and h in the product, 0 <= h <= t <= {self.n - 1}"
            )

    def product(self, a: Word, b: Word) -> Any:
        (k_a, t_a, h_a), (k_b, t_b, h_b) = self.code(a), self.code(b)
        bits = max(self.t, 2 * self.h + 2)  # of the sum's fraction
        rows = [(a.const(1, 1), bits), (sum_columns(partial_products(h_a, h_b)), bits - 2 * self.h - 2)]
        rows += [(part, bits - self.t) for part in (t_a, t_b) if part is not None]
        total = sum_columns(rows_to_columns(rows), width=bits + 2)
        shifted = shl(total, k_a + k_b, self.product_bits + bits)
        return fit(shifted[bits:], self.product_bits) & rep(any_bit(a) & any_bit(b), self.product_bits)

    def code(self, v: Word) -> tuple[Any, Any, Any]:
        """(leading position, fraction of t bits or None, fraction of h bits with a 1 appended)."""
        k = leading_one(v)
        fraction = normalised(v, k)[: self.n - 1]
        high = fraction[self.n - 1 - self.h :] if self.h else None
        one = v.const(1, 1)
        return k, fraction[self.n - 1 - self.t :] if self.t else None, one if high is None else cat(one, high)
