"""Reconfigurable constant-coefficient multipliers as adder graphs (AddNet; simplification thesis, chapter 6).

Every node adds two terms, each a shifted value of an earlier node or of the input, with a sign; a select word chooses
among a few such pairs. So a select word s makes the graph multiply its input by the coefficient C[s]. The base
topologies A and B are made to fit one six-input LUT per bit of an adder on Xilinx devices (Figures 6.2 and 6.3).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from carrysave.bits import Word, cat, fit, rep, sext

INPUT = -1  # the source of a term that reads the graph's input


@dataclass(frozen=True)
class Term:
    """`sign * (source << shift)`; sign 0 is no term. A source is a node's place, or INPUT."""

    source: int
    shift: int
    sign: int = 1


@dataclass(frozen=True)
class Adder:
    """A node: the pair of terms that is added for each code of its select bits, and which bits of the word these are.

    A pair has at most one negative term: two would take an adder more.
    """

    pairs: tuple[tuple[Term, Term], ...]
    select: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.pairs) != 1 << len(self.select):
            raise ValueError(f"adder: {len(self.pairs)} pairs for {len(self.select)} select bits; each code has one")
        if any(one.sign < 0 and other.sign < 0 for one, other in self.pairs):
            raise ValueError("adder: both terms of a pair are negative; negate the node that reads it")


def topology_a(a: int, b: int, shifts: Sequence[int], f: int, select: tuple[int, int]) -> Adder:
    """A1 + B1, A2 + B1, A3 + B1, F + B1 with A1..A3 and B1 shifted by `shifts`; F is 0, or -A_f for f = 1, 2, 3."""
    terms = [Term(a, shift) for shift in shifts[:3]]
    last = Term(a, shifts[f - 1], -1) if f else Term(a, 0, 0)
    base = Term(b, shifts[3])
    return Adder(tuple((term, base) for term in [*terms, last]), select)


def topology_b(a: int, b: int, shifts: Sequence[int], select: tuple[int, int]) -> Adder:
    """-A1 + B1, -A2 + B1, A1 - B1, A2 - B1 with A1, A2 and B1 shifted by `shifts`."""
    one, other, base = Term(a, shifts[0]), Term(a, shifts[1]), Term(b, shifts[2])
    minus = [Term(t.source, t.shift, -1) for t in (one, other, base)]
    return Adder(((minus[0], base), (minus[1], base), (one, minus[2]), (other, minus[2])), select)


@dataclass(frozen=True)
class AdderGraph:
    """Nodes in order, each reading earlier ones; the last is the output."""

    name: str
    adders: tuple[Adder, ...]
    select_bits: int

    def __post_init__(self) -> None:
        if not self.adders or not 0 <= self.select_bits <= 16:
            raise ValueError(
                f"{self.name}: {len(self.adders)} adders, {self.select_bits} select bits; 1 or more, to 16"
            )
        for k, adder in enumerate(self.adders):
            for term in (term for pair in adder.pairs for term in pair):
                if not INPUT <= term.source < k or term.shift < 0:
                    raise ValueError(f"{self.name}: node {k} reads node {term.source} shifted by {term.shift}")
            if any(not 0 <= bit < self.select_bits for bit in adder.select):
                raise ValueError(f"{self.name}: node {k} has select bits {adder.select} of {self.select_bits}")

    @cached_property
    def multiples(self) -> tuple[tuple[int, ...], ...]:
        """Of each node: what it multiplies the input by, for every select word."""
        found: list[tuple[int, ...]] = []
        for adder in self.adders:
            row = []
            for word in range(1 << self.select_bits):
                code = sum((word >> bit & 1) << i for i, bit in enumerate(adder.select))
                row.append(
                    sum(
                        term.sign * ((1 if term.source == INPUT else found[term.source][word]) << term.shift)
                        for term in adder.pairs[code]
                    )
                )
            found.append(tuple(row))
        return tuple(found)

    @property
    def coefficients(self) -> tuple[int, ...]:
        """C[s] for every select word s."""
        return self.multiples[-1]

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Adders from the input to each node, itself included."""
        found: list[int] = []
        for adder in self.adders:
            sources = {term.source for pair in adder.pairs for term in pair if term.sign}
            found.append(1 + max((found[s] for s in sources if s != INPUT), default=0))
        return tuple(found)

    def width(self, node: int, bits: int, signed: bool) -> int:
        """Bits in two's complement that a node needs for every input of `bits` bits and every select word."""
        inputs = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        values = [c * x for c in set(self.multiples[node]) for x in inputs]
        return max((v if v >= 0 else ~v).bit_length() + 1 for v in values)


def read_graph(path: str | Path) -> AdderGraph:
    """An adder graph of a JSON file.

    Its form: `{"select_bits": 1, "adders": [{"select": [0], "pairs": [[[-1, 0, 1], [-1, 1, 1]], ...]}, ...]}`; a term
    is [source, shift, sign], source -1 the input, 0 the first adder, sign 1, -1 or 0 for none; one pair for each code
    of the adder's select bits.

    Raises:
        ValueError: for a file of another form, and graphs that cannot be.
        OSError: where it cannot be read.
    """
    name = Path(path).stem
    try:
        data = json.loads(Path(path).read_text())
        adders = []
        for entry in data["adders"]:
            pairs = tuple((_term(one), _term(other)) for one, other in entry["pairs"])
            adders.append(Adder(pairs, tuple(map(int, entry["select"]))))
        return AdderGraph(name, tuple(adders), int(data["select_bits"]))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path}: not an adder graph ({error}); expected select_bits, and adders with select and pairs of "
            "[source, shift, sign]"
        ) from None


def _term(row: Sequence[int]) -> Term:
    source, shift, sign = row
    if sign not in (-1, 0, 1):
        raise ValueError(f"term {list(row)}: its sign is 1, -1 or 0")
    return Term(int(source), int(shift), int(sign))


def add_node(adder: Adder, select: Word, sources: dict[int, Any], width: int) -> Any:
    """A node's adder over Words: `sources` are two's complement, `select` is the node's own bits.

    The sign of a term is an XOR with the carry-in set, so that multiplexer, sign and addend of one bit are one function
    of at most six bits: what a LUT before a carry chain takes.
    """
    sides, negative = [], []
    for side in (1, 0):  # the addend that is never negated first: the carry chain takes it as it is
        terms = [pair[side] for pair in adder.pairs]
        value = _choose(select, [_shifted(term, sources, width, select) for term in terms])
        minus = _code_is(select, [term.sign < 0 for term in terms])
        negative.append(minus)
        sides.append(value if minus is None else value ^ rep(minus, width))
    signs = [minus for minus in negative if minus is not None]
    if not signs:
        return fit(sides[0] + sides[1], width)
    carry = signs[0] | signs[1] if len(signs) == 2 else signs[0]
    if all(any(term.sign < 0 for term in pair) for pair in adder.pairs):
        carry = select.const(1, 1)
    return fit(cat(carry, sides[0]) + cat(carry, sides[1]), width + 1)[1:]


def _shifted(term: Term, sources: dict[int, Any], width: int, like: Word) -> tuple[Term, Any]:
    if not term.sign:
        return term, like.const(0, width)
    return Term(term.source, term.shift), fit(sext(sources[term.source], max(width, 1)) << term.shift, width)


def _choose(select: Word, values: list[tuple[Term, Any]]) -> Any:
    """The value of the select code; alike ones are one."""
    if len({term for term, _ in values}) == 1:
        return values[0][1]
    half = len(values) // 2
    if half == 1:
        return select[0].mux(values[1][1], values[0][1])
    top = (half - 1).bit_length()
    low, high = _choose(select[:top], values[:half]), _choose(select[:top], values[half:])
    return select[top].mux(high, low)


def _code_is(select: Word, wanted: list[bool]) -> Any:
    """1 for the codes that are wanted; None where none is."""
    if not any(wanted):
        return None
    if all(wanted):
        return select.const(1, 1)
    half = len(wanted) // 2
    if half == 1:
        return select[0] if wanted[1] else ~select[0]
    top = (half - 1).bit_length()
    low, high = wanted[:half], wanted[half:]
    if low == high:
        return _code_is(select[:top], low)
    parts = []
    for chosen, codes in ((~select[top], low), (select[top], high)):
        inner = _code_is(select[:top], codes)
        if inner is not None:
            parts.append(chosen if all(codes) else chosen & inner)
    return parts[0] if len(parts) == 1 else parts[0] | parts[1]


_2ADD = (topology_a(INPUT, INPUT, (0, 1, 3, 2), 0, (0, 1)), topology_b(0, INPUT, (0, 3, 2), (2, 3)))
_3ADD = (
    topology_a(INPUT, INPUT, (0, 2, 3, 3), 2, (0, 1)),
    topology_a(INPUT, INPUT, (0, 1, 3, 0), 1, (2, 3)),
    topology_b(0, 1, (0, 3, 0), (4, 5)),
)
_4ADD = (
    topology_a(INPUT, INPUT, (0, 1, 3, 0), 3, (0, 1)),
    topology_a(INPUT, INPUT, (0, 1, 3, 1), 2, (2, 3)),
    topology_a(0, 1, (0, 1, 3, 3), 1, (4, 5)),
    topology_b(2, INPUT, (0, 3, 1), (6, 7)),
)
_UNMATCHED = (
    topology_a(INPUT, INPUT, (0, 2, 3, 1), 1, (0, 1)),
    topology_a(INPUT, INPUT, (0, 2, 3, 1), 3, (2, 3)),
    topology_b(0, 1, (0, 2, 3), (4, 5)),
)
_X = Term(INPUT, 0)
_FIGURE_6_1 = (  # 3x or 5x; 8x or that, plus that << 11; x or 256x, plus twice that
    Adder(((_X, Term(INPUT, 1)), (_X, Term(INPUT, 2))), (0,)),
    Adder(((Term(INPUT, 3), Term(0, 11)), (Term(0, 0), Term(0, 11))), (0,)),
    Adder(((_X, Term(1, 1)), (Term(INPUT, 8), Term(1, 1))), (0,)),
)
_TOPOLOGY_A = (topology_a(INPUT, INPUT, (0, 1, 3, 2), 1, (0, 1)),)
_TOPOLOGY_B = (topology_b(INPUT, INPUT, (0, 3, 2), (0, 1)),)
GRAPHS = {
    graph.name: graph
    for graph in (
        AdderGraph("2add", _2ADD, 4),
        AdderGraph("3add", _3ADD, 6),
        AdderGraph("4add", _4ADD, 8),
        AdderGraph("unmatched", _UNMATCHED, 6),
        AdderGraph("figure6.1", _FIGURE_6_1, 1),
        AdderGraph("topology_a", _TOPOLOGY_A, 2),
        AdderGraph("topology_b", _TOPOLOGY_B, 2),
    )
}
