"""Babic, Avramovic and Bulic, "An iterative logarithmic multiplier" (Microprocessors and Microsystems 2011); truncated
fractions as in Kim et al. (2019)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from carrysave.bits import Word, any_bit, encode, leading_one_hot, rep, rows_to_columns, shl, sum_columns, zext
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class IterativeLog(Multiplier):
    """The basic block 2^(k1+k2) + (N1 - 2^k1) * 2^k2 + (N2 - 2^k2) * 2^k1, repeated on the residues and added.

    A block of an operand that is 0 is 0, so enough iterations give the exact product.

    Attributes:
        iterations: basic blocks.
        t: bits kept of a residue below the leading 1, in every block; without it all. Where it is cut off, it is
            cut off for the following blocks as well (a reading).
    """

    iterations: int
    t: int | None = None
    name = "iterative_log"
    catalog = {"Iterative log, 1": "iterative_log:iterations=1", "Iterative log, 2": "iterative_log:iterations=2"}

    def check(self) -> None:
        if not 1 <= self.iterations <= self.n:
            raise ValueError(f"iterative_log: iterations={self.iterations}; use 1 to n={self.n}, which is exact")
        if self.t is not None and not 0 <= self.t < self.n:
            raise ValueError(f"iterative_log: t={self.t}; n={self.n} has 0 to {self.n - 1} bits below the leading 1")

    def product(self, a: Word, b: Word) -> Any:
        rows: list[tuple[Word, int]] = []
        for _ in range(self.iterations):
            (k_a, a, rest_a), (k_b, b, rest_b) = self.code(a), self.code(b)
            some = any_bit(a) & any_bit(b)
            for operand, shift in ((a, k_b), (rest_b, k_a)):
                rows.append((shl(operand, shift, self.product_bits) & rep(some, self.product_bits), 0))
            a, b = rest_a, rest_b
        return sum_columns(rows_to_columns(rows), width=self.product_bits)

    def code(self, v: Word) -> tuple[Any, Any, Any]:
        """(leading position, the operand with what is kept of its residue, the residue)."""
        top = leading_one_hot(v)
        rest = v ^ top
        if self.t is not None:
            windows = [zext(top >> s, self.n) for s in range(1, self.t + 1)]
            rest = rest & reduce(lambda one, other: one | other, windows, v.const(0, self.n))
        return encode(top), top | rest, rest
