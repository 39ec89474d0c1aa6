"""Structure that a multiplier may state of itself: parts from which its product is built, and which engines read.

An engine that knows the parts need not look products up or evaluate the circuit for each one: each operand is coded
once, and what is left per product is one exact multiplication (Separable) or one addition (Logarithmic).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from carrysave.bits import Word, partial_products, rep, shl, sum_columns


@dataclass(frozen=True)
class Separable:
    """Each operand becomes a number of its own, m << s; the product of the two numbers is exact.

    Attributes:
        code: an operand's (m, s); m as wide as the operand means that s is always 0.
    """

    code: Callable[[Word], tuple[Any, Any]]

    def product(self, a: Word, b: Word, width: int) -> Any:
        (m_a, shift_a), (m_b, shift_b) = self.code(a), self.code(b)
        small = sum_columns(partial_products(m_a, m_b), width=m_a.width + m_b.width)
        return small if m_a.width == a.width else shl(small, shift_a + shift_b, width)


@dataclass(frozen=True)
class Logarithmic:
    """Each operand becomes a logarithm, the product is decoded from their sum, and is 0 where an operand is 0.

    Attributes:
        code: an operand's (log, some): {k, f} for the magnitude 2^k (1 + f), and whether the operand is not 0.
        decode: a sum of two logs to 2^k (1 + f), truncated to an integer.
        fraction_bits: of f.
        truncation: what a product of operands of opposite signs is. "magnitude": parts see magnitudes only, and the
            sign goes round the whole multiplier (-z). "complement": `code` takes two's complement operands, and the
            product is ~z, one less than -z.
        truncated: True states of `code` that the log is exact up to the fraction bits it drops: k the position of the
            leading 1, f the bits right below it, of the operand or, for "complement", of ~v where v is negative; k and
            f are 0 where there is no 1. Engines then find logs without evaluating the circuit.
    """

    code: Callable[[Word], tuple[Any, Any]]
    decode: Callable[[Any], Any]
    fraction_bits: int
    truncation: Literal["magnitude", "complement"]
    truncated: bool = False

    def product(self, a: Word, b: Word, width: int) -> Any:
        (log_a, some_a), (log_b, some_b) = self.code(a), self.code(b)
        magnitude = self.decode(log_a + log_b)
        if self.truncation == "complement":
            magnitude = magnitude ^ rep(a[-1] ^ b[-1], width)
        return magnitude & rep(some_a & some_b, width)


Parts = Separable | Logarithmic
