"""ROBA: Zendegani, Kamal, Bahadori, Afzali-Kusha and Pedram, "RoBA multiplier: a rounding-based approximate multiplier
for high-speed yet energy-efficient digital signal processing" (IEEE TVLSI 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrysave.bits import (
    Word,
    any_bit,
    cat,
    encode,
    fit,
    leading_one_hot,
    minus,
    rep,
    rows_to_columns,
    shl,
    sum_columns,
)
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Roba(Multiplier):
    """z = Ar * B + Br * A - Ar * Br with operands rounded to the nearest power of two, halfway up, but 3 to 2.

    That is the product less (A - Ar) * (B - Br), by shifts alone.
    """

    name = "roba"
    min_bits = 3
    catalog = {"ROBA": "roba"}

    def product(self, a: Word, b: Word) -> Any:
        width = self.product_bits
        rounded_a, rounded_b = self.rounded(a), self.rounded(b)
        shift_a, some_a = encode(rounded_a), any_bit(a)
        both = rep(some_a & any_bit(b), width)
        rows = [
            (shl(b, shift_a, width) & both, 0),
            (shl(a, encode(rounded_b), width) & both, 0),
            *minus(fit(shl(rounded_b, shift_a, width + 1), width) & both, 0, width),
        ]
        return sum_columns(rows_to_columns(rows), width=width)

    def rounded(self, v: Word) -> Any:
        """The nearest power of two, one-hot, of n + 1 bits; 0 for 0."""
        top = leading_one_hot(v)
        up = [top[i] & v[i - 1] if i > 1 else v.const(0, 1) for i in range(self.n)]  # from bit i to i + 1
        stay = [top[i] & ~up[i] for i in range(self.n)]
        return cat(stay[0], *[stay[i] | up[i - 1] for i in range(1, self.n)], up[-1])
