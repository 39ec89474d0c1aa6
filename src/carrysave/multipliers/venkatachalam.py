"""AC in the tables of the HEAM paper: Venkatachalam and Ko, "Design of power and area efficient approximate
multipliers" (IEEE TVLSI 2017), as reproduced there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from carrysave.bits import Word, sum_columns
from carrysave.multipliers.base import MULTIPLIERS, Multiplier

Cell = tuple[Any, Any]  # (sum, carry)


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Venkatachalam(Multiplier):
    """8x8: partial products altered to P = p(i,j) | p(j,i) and G = p(i,j) & p(j,i), i < j, the G's of a column ANDed to
    one bit, the columns reduced in two levels of approximate cells, and the two rows left added exactly."""

    name = "venkatachalam"
    min_bits = 8
    max_bits = 8
    catalog = {"AC": "venkatachalam"}

    def product(self, a: Word, b: Word) -> Any:
        return sum_columns(_second_level(_Altered(a, b)), width=16)


class _Altered:
    """The partial products p(i,j), their altered forms P(i,j), and G(c) of a column."""

    def __init__(self, a: Word, b: Word):
        self.p = [[a[i] & b[j] for j in range(8)] for i in range(8)]

    def or_pair(self, i: int, j: int) -> Any:
        return self.p[i][j] | self.p[j][i]

    def and_column(self, c: int) -> Any:
        pairs = [self.p[i][c - i] & self.p[c - i][i] for i in range(max(0, c - 7), (c + 1) // 2)]
        return reduce(lambda one, other: one & other, pairs)


def half_adder(a: Word, b: Word) -> Cell:
    return a | b, a & b


def full_adder(a: Word, b: Word, c: Word) -> Cell:
    either = a | b
    return either ^ c, either & c


def compressor(a: Word, b: Word, c: Word, d: Word) -> Cell:
    """4-2: sum (a ^ b) | (c ^ d) | abcd, carry ab | cd."""
    ab, cd = a & b, c & d
    return (a ^ b) | (c ^ d) | (ab & cd), ab | cd


def _first_level(m: _Altered) -> dict[int, Cell]:
    """The cell of each of the columns 4 to 12."""
    p, pair = m.p, m.or_pair
    return {
        4: half_adder(pair(0, 4), pair(1, 3)),
        5: full_adder(pair(0, 5), pair(1, 4), pair(2, 3)),
        6: compressor(pair(0, 6), pair(1, 5), pair(2, 4), p[3][3]),
        7: compressor(pair(0, 7), pair(1, 6), pair(2, 5), pair(3, 4)),
        8: compressor(pair(1, 7), pair(2, 6), pair(3, 5), p[4][4]),
        9: full_adder(pair(2, 7), pair(3, 6), pair(4, 5)),
        10: full_adder(pair(3, 7), pair(4, 6), p[5][5]),
        11: half_adder(pair(4, 7), pair(5, 6)),
        12: half_adder(p[5][7], p[7][5]),
    }


def _second_level(m: _Altered) -> list[list[Any]]:
    """At most two bits in every column."""
    p, first = m.p, _first_level(m)
    cells = {
        1: half_adder(p[1][0], p[0][1]),
        2: full_adder(p[2][0], p[0][2], p[1][1]),
        3: full_adder(m.or_pair(0, 3), m.or_pair(1, 2), m.and_column(3)),
        4: full_adder(first[4][0], p[2][2], m.and_column(4)),
        5: full_adder(first[5][0], m.and_column(5), first[4][1]),
        **{c: full_adder(first[c][0], m.and_column(c), first[c - 1][1]) for c in range(6, 12)},
        12: full_adder(first[12][0], first[11][1], p[6][6]),
        13: full_adder(p[7][6], p[6][7], first[12][1]),
    }
    columns: list[list[Any]] = [[] for _ in range(16)]
    columns[0].append(p[0][0])
    columns[14].append(p[7][7])
    for c, (total, carry) in cells.items():
        columns[c].append(total)
        columns[c + 1].append(carry)
    return columns
