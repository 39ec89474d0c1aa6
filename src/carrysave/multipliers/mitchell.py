"""Mitchell, "Computer multiplication and division using binary logarithms" (IRE Trans. Electronic Computers 1962)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from carrysave.bits import Word, antilog, any_bit, cat, leading_one, normalised
from carrysave.multipliers.base import MULTIPLIERS, Multiplier
from carrysave.multipliers.parts import Logarithmic


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Mitchell(Multiplier):
    """The product by adding logarithms, with log2(1 + f) taken as f.

    With v = 2^k * (1 + f): z = 2^(ka+kb) * (1 + fa + fb) if fa + fb < 1, else 2^(ka+kb+1) * (fa + fb), truncated to
    an integer; 0 if an operand is 0. Never too large, by at most a ninth too small.
    """

    name = "mitchell"
    catalog = {"Mitchell": "mitchell"}

    def product(self, a: Word, b: Word) -> Any:
        return self.parts().product(a, b, self.product_bits)

    def parts(self) -> Logarithmic:
        return Logarithmic(self.code, self.decode, self.n - 1, "magnitude", truncated=True)

    def code(self, v: Word) -> tuple[Any, Any]:
        """({k, f}: the logarithm with n - 1 fraction bits, whether v is not 0)."""
        k = leading_one(v)
        return cat(normalised(v, k)[: self.n - 1], k), any_bit(v)

    def decode(self, log: Word) -> Any:
        """2^k * (1 + f), truncated, for a logarithm with n - 1 fraction bits."""
        return antilog(log, self.n - 1, self.product_bits)
