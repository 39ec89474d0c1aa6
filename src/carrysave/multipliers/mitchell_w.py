"""Mitch-w: Kim, Del Barrio, Tavakoli Oliveira, Hermida and Bagherzadeh, "Efficient Mitchell's approximate log
multipliers for convolutional neural networks" (IEEE Trans. Computers 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrysave.bits import Word, antilog, any_bit, cat, leading_one, normalised, rep
from carrysave.multipliers.base import MULTIPLIERS, Multiplier
from carrysave.multipliers.parts import Logarithmic


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class MitchellW(Multiplier):
    """Signed Mitchell multiplier with fractions truncated to w - 1 bits, and one's complement for the signs (C1).

    The magnitude of a negative operand is ~a, one too small, and a negative product is ~z: -1 acts as magnitude 0,
    but as a number that is not zero.

    Attributes:
        w: bits of a significand, its leading 1 included.
        signed: always.
    """

    signed: bool = True
    w: int
    name = "mitchell_w"
    own_sign = True
    min_bits = 3
    catalog = {
        "Mitch-w6, 8 bit": "mitchell_w:w=6",
        "Mitch-w6, 16 bit": "mitchell_w:n=16,w=6",
        "Mitch-w6, 32 bit": "mitchell_w:n=32,w=6",
    }

    def check(self) -> None:
        if not self.signed:
            raise ValueError("mitchell_w: signed=false; it is a signed multiplier by definition, mitchell is unsigned")
        if self.w < 2:
            raise ValueError(f"mitchell_w: w={self.w} keeps no fraction bit; use w >= 2")
        if self.w > self.n:
            raise ValueError(
                f"mitchell_w: w={self.w} keeps {self.w - 1} fraction bits, but n={self.n} has only {self.n - 1};"
                f" use w <= {self.n}"
            )

    def product(self, a: Word, b: Word) -> Any:
        return self.parts().product(a, b, self.product_bits)

    def parts(self) -> Logarithmic:
        return Logarithmic(self.code, self.decode, self.w - 1, "complement", truncated=True)

    def code(self, v: Word) -> tuple[Any, Any]:
        """({k, f}: the magnitude's logarithm with w - 1 fraction bits, whether v is not 0)."""
        sign = v[-1]
        magnitude = v ^ rep(sign, self.n)
        k = leading_one(magnitude)
        return cat(normalised(magnitude, k)[self.n - self.w : self.n - 1], k), any_bit(v)

    def decode(self, log: Word) -> Any:
        """2^k * (1 + f), truncated, for a logarithm with w - 1 fraction bits."""
        return antilog(log, self.w - 1, self.product_bits)
