"""OU: Chen, Yang, Ouyang, Zhao, Li and Zhuo, "Optimally approximated and unbiased floating-point multiplier with
runtime configurability" (ICCAD 2020), applied to integers as the HEAM paper does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrysave.bits import Word, cat, minus, rep, rows_to_columns, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Planar(Multiplier):
    """The product's surface replaced by 2^level x 2^level planes, each tangent at the middle of its square.

    With w = 2^(n - level), xc = floor(x / w) * w + w/2 and yc likewise, z = max(0, xc*y + yc*x - xc*yc); that is
    the product less (x - xc) * (y - yc), so it is not 0 where one operand is 0.

    Attributes:
        level: leading bits of an operand that choose the plane.
    """

    level: int
    name = "planar"
    catalog = {"L.1": "planar:level=1", "L.3": "planar:level=3"}

    def check(self) -> None:
        if not 1 <= self.level < self.n:
            raise ValueError(
                f"planar: level={self.level}; 1 to {self.n - 1} leading bits of n={self.n} choose the plane"
            )

    def product(self, a: Word, b: Word) -> Any:
        total = self._sum(a, b)
        return total[: self.product_bits] & rep(~total[-1], self.product_bits)

    def _sum(self, a: Word, b: Word) -> Any:
        """xc*y + yc*(x - xc) in two's complement of 2n + 1 bits.

        In units of w/2, xc is the odd number {leading bits, 1}, and x - xc is the low bits of x with the top one
        of them inverted and of negative weight.
        """
        low, width = self.n - self.level, self.product_bits + 1
        odd_x, odd_y = (cat(v.const(1, 1), v[low:]) for v in (a, b))
        rows = [(rep(odd_x[i], self.n) & b, i + low - 1) for i in range(odd_x.width)]
        if low > 1:
            rows += [(rep(odd_y[j], low - 1) & a[: low - 1], j + low - 1) for j in range(odd_y.width)]
        rows += minus(odd_y & rep(~a[low - 1], odd_y.width), 2 * (low - 1), width)
        return sum_columns(rows_to_columns(rows), width=width)
