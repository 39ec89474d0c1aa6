"""Momeni, Han, Montuschi and Lombardi, "Design and analysis of approximate compressors for multiplication" (IEEE Trans.
Computers 2015): two approximate 4-2 compressors, and four multipliers made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from carrysave.bits import Word, full_adder, half_adder, partial_products, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Momeni(Multiplier):
    """Partial products reduced to two rows by 4-2 compressors in a Dadda tree, then added exactly.

    The columns are reduced to heights of at most ..., 8, 4, 2. In each level and column, from the least significant,
    compressors are placed while at least three bits are too many, then a full adder for two, a half adder for one. A
    carry-out feeds the carry-in of a compressor of the next column in the same level, or else is a bit of it. The
    paper shows this as a picture; at n = 8 with design 1 the rule places 2 half adders, 2 full adders and 8 compressors
    in the first level and 1, 1 and 10 in the second. Which bit enters which input is a reading: rows in order, then
    sums alternating with the carries of the column below.

    Products of zero are not zero: both designs give sum 1 for no bits.

    Attributes:
        variant: 1, 2: design 1, 2 in all columns; 3, 4: the same in the n - 1 low columns, exact ones above.
    """

    variant: int
    name = "momeni"
    min_bits = 4
    catalog = {f"Momeni {v}": f"momeni:variant={v}" for v in (1, 2, 3, 4)}

    def check(self) -> None:
        if self.variant not in (1, 2, 3, 4):
            raise ValueError(
                f"momeni: variant={self.variant}; 1, 2: design 1, 2 throughout; 3, 4: in the low columns only"
            )

    def product(self, a: Word, b: Word) -> Any:
        columns = partial_products(a, b) + [[]]
        height = 1 << (self.n - 1).bit_length()
        while max(len(bits) for bits in columns) > 2:
            height = max(2, height // 2)
            columns = self._level(columns, height)
        return sum_columns(columns, width=self.product_bits)

    def _level(self, columns: list[list[Any]], height: int) -> list[list[Any]]:
        following: list[list[Any]] = []
        carries: list[Any] = []  # from the column below: they are bits of the next level
        chain: list[Any] = []  # carry-outs of the column below: they are bits of this level
        for c, bits in enumerate(columns):
            sums, left, next_carries, next_chain = self._column(c, bits, chain, height - len(carries))
            following.append([bit for pair in zip_longest(sums, carries) for bit in pair if bit is not None] + left)
            carries, chain = next_carries, next_chain
        return following

    def _column(self, c: int, bits: Sequence[Any], chain: Sequence[Any], room: int) -> tuple[list[Any], ...]:
        """(sums, bits left over, carries, carry-outs) of one column in one level."""
        waiting, chain = list(bits), list(chain)
        sums: list[Any] = []
        carries: list[Any] = []
        couts: list[Any] = []
        while (excess := len(waiting) + len(chain) + len(sums) - room) > 0 and len(waiting) + len(chain) > 1:
            if excess >= 3 and len(waiting) + len(chain) >= 4:
                total, carry, cout = self._compress(c, *_compressor_inputs(waiting, chain))
                couts += [] if cout is None else [cout]
            else:
                waiting = chain + waiting
                chain = []
                inputs, waiting = (waiting[:2], waiting[2:]) if excess == 1 else (waiting[:3], waiting[3:])
                total, carry = full_adder(*inputs) if len(inputs) == 3 else half_adder(*inputs)
            sums.append(total)
            carries.append(carry)
        return sums, chain + waiting, carries, couts

    def _compress(self, c: int, inputs: tuple[Any, Any, Any, Any], cin: Any) -> tuple[Any, Any, Any]:
        """(sum, carry, carry-out or None) of the compressor that stands in column c."""
        if self.variant > 2 and c >= self.n - 1:
            return exact_compressor(*inputs, cin)
        if self.variant % 2:
            return design_1(*inputs, cin)
        assert cin is None  # design 2 stands below every compressor that has a carry-out
        return *design_2(*inputs), None


def _compressor_inputs(waiting: list[Any], chain: list[Any]) -> tuple[tuple[Any, Any, Any, Any], Any]:
    """Take four inputs and a carry-in (None if there is none) out of the bits of a column."""
    cin = chain.pop(0) if chain and len(waiting) + len(chain) > 4 else None
    x1, x2, x3, x4 = (waiting.pop(0) if waiting else chain.pop(0) for _ in range(4))
    return (x1, x2, x3, x4), cin


def design_1(x1: Word, x2: Word, x3: Word, x4: Word, cin: Word | None) -> tuple[Any, Any, Any]:
    """(sum, carry, carry-out): carry = cin, sum = ~cin & (~(x1^x2) | ~(x3^x4)), cout = (x1|x2) & (x3|x4)."""
    below: Any = x1.const(0, 1) if cin is None else cin
    total, cout = design_2(x1, x2, x3, x4)
    return ~below & total, below, cout


def design_2(x1: Word, x2: Word, x3: Word, x4: Word) -> tuple[Any, Any]:
    """(sum, carry): sum = ~(x1^x2) | ~(x3^x4), carry = (x1|x2) & (x3|x4); wrong by one in four of sixteen cases."""
    return ~(x1 ^ x2) | ~(x3 ^ x4), (x1 | x2) & (x3 | x4)


def exact_compressor(x1: Word, x2: Word, x3: Word, x4: Word, cin: Word | None) -> tuple[Any, Any, Any]:
    """(sum, carry, carry-out) with x1 + x2 + x3 + x4 + cin = sum + 2 * (carry + cout)."""
    first, cout = full_adder(x1, x2, x3)
    total, carry = half_adder(first, x4) if cin is None else full_adder(first, x4, cin)
    return total, carry, cout
