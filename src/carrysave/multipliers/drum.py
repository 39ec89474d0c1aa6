"""DRUM: Hashemi, Bahar and Reda, "DRUM: a dynamic range unbiased multiplier for approximate applications" (ICCAD
2015)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from carrysave.bits import Word, any_bit, cat, encode, leading_one_hot, rep
from carrysave.multipliers.base import MULTIPLIERS, Multiplier
from carrysave.multipliers.parts import Separable


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Drum(Multiplier):
    """Each operand cut to k bits from its leading 1, the last of them set to 1; then an exact k x k product, shifted.

    With L = floor(log2 v): v < 2^k is kept; else m = (v >> (L-k+1)) | 1 and the shift is L-k+1. Setting the last bit
    puts m in the middle of the values it stands for, so the error has no bias.

    Attributes:
        k: bits kept of an operand.
    """

    k: int
    name = "drum"
    catalog = {"DRUM6": "drum:k=6", "DRUM4": "drum:k=4", "DRUM5": "drum:k=5", "DRUM7": "drum:k=7"}

    def check(self) -> None:
        if not 1 <= self.k <= self.n:
            raise ValueError(f"drum: k={self.k}; it keeps 1 to n={self.n} bits of an operand")

    def product(self, a: Word, b: Word) -> Any:
        return self.parts().product(a, b, self.product_bits)

    def parts(self) -> Separable:
        return Separable(self.code)

    def code(self, v: Word) -> tuple[Any, Any]:
        """(mantissa of k bits, shift): v is read as mantissa << shift."""
        if self.k == self.n:
            return v, v.const(0, 1)
        high = leading_one_hot(v)[self.k :]  # bit s - 1 is set where the shift is s
        short = ~any_bit(high)
        windows = [rep(short, self.k) & v[: self.k]]
        for s in range(1, self.n - self.k + 1):
            window = cat(v.const(1, 1), v[s + 1 : s + self.k]) if self.k > 1 else v.const(1, 1)
            windows.append(rep(high[s - 1], self.k) & window)
        return reduce(lambda one, other: one | other, windows), encode(cat(short, high))
