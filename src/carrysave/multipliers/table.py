"""A multiplier given by its table of products: EvoApproxLib, ApproxFlow, or anything else that can be enumerated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from carrysave.bits import Word, cat
from carrysave.multipliers.base import MULTIPLIERS, Multiplier
from carrysave.table_files import read_table, truth_tables

MAX_CIRCUIT_BITS = 16  # of both operands together: beyond, a circuit by decisions is of no use to anybody


@MULTIPLIERS.register
@dataclass(frozen=True, kw_only=True)
class Table(Multiplier):
    """The products in a file, of 2^a rows (the first operand, the activation) and 2^b columns.

    As a circuit, every output bit is decided by one operand bit after the other (Shannon), equal decisions shared.

    Attributes:
        file: .npy, text or raw uint16: see `table_files.read_table`.
        n: the wider operand's bits.
        entries: int64 array [2^a_bits, 2^b_bits], by the operands' bit patterns; negative ones only if `signed`.
        digest: SHA-256 of size and entries: two tables of equal content and name are equal.
    """

    n: int = field(default=8, init=False)
    file: str
    entries: Any = field(init=False, repr=False, compare=False)
    digest: str = field(init=False, repr=False)
    name = "table"
    positional: ClassVar[str] = "file"
    own_sign = True

    def check(self) -> None:
        entries = read_table(self.file, self.signed)
        entries.setflags(write=False)
        content = str(entries.shape).encode() + entries.astype("<i8").tobytes()
        object.__setattr__(self, "entries", entries)
        object.__setattr__(self, "digest", hashlib.sha256(content).hexdigest())
        object.__setattr__(self, "n", max(self.a_bits, self.b_bits))

    @property
    def a_bits(self) -> int:
        return self.entries.shape[0].bit_length() - 1

    @property
    def b_bits(self) -> int:
        return self.entries.shape[1].bit_length() - 1

    @property
    def key(self) -> str:
        return f"table:{self.digest}" + (",signed=true" if self.signed else "")

    def given_table(self) -> Any:
        return self.entries

    def product(self, a: Word, b: Word) -> Any:
        if self.a_bits + self.b_bits > MAX_CIRCUIT_BITS:
            raise ValueError(
                f"{self.spec}: a table of {self.a_bits} + {self.b_bits} operand bits is too large for a circuit; to"
                f" {MAX_CIRCUIT_BITS} bits together it becomes one, a larger one is emulated only"
            )
        order = min(_orders(self.a_bits, self.b_bits), key=self._size)
        inputs = [*reversed(list(a)), *reversed(list(b))]
        decisions = _Decisions([inputs[i] for i in order])
        return cat(*[decisions.build(outputs) for outputs in truth_tables(self.entries, order, self.product_bits)])

    def _size(self, order: Sequence[int]) -> int:
        counter = _Counter(len(order))
        for outputs in truth_tables(self.entries, order, self.product_bits):
            counter.visit(outputs, 0)
        return len(counter.seen)


def _orders(a_bits: int, b_bits: int) -> list[list[int]]:
    """Orders of decision to choose from: one operand after the other, and both in turn from either end."""
    a, b = list(range(a_bits)), list(range(a_bits, a_bits + b_bits))
    common = min(a_bits, b_bits)
    from_top = [i for pair in zip(a, b, strict=False) for i in pair] + a[common:] + b[common:]
    return [a + b, b + a, from_top, from_top[::-1]]


class _Decisions:
    """Truth tables as trees of multiplexers; equal ones, and ones that differ by an inversion, are built once."""

    def __init__(self, inputs: Sequence[Any]):
        self.inputs = inputs
        self.zero = inputs[0].const(0, 1)
        self.known: dict[tuple[int, int], Any] = {}

    def build(self, table: int, level: int = 0) -> Any:
        """The bit whose truth table over inputs[level:] is `table`."""
        if (table, level) not in self.known:
            inverse = _inverse(table, len(self.inputs) - level)
            self.known[table, level] = ~self.build(inverse, level) if table & 1 else self._decide(table, level)
        return self.known[table, level]

    def _decide(self, table: int, level: int) -> Any:
        """`build` for a table whose first entry is 0."""
        if table == 0:
            return self.zero
        below, sel = level + 1, self.inputs[level]
        low, high = _halves(table, len(self.inputs) - level)
        full = _inverse(0, len(self.inputs) - below)
        if low == high:
            return self.build(low, below)
        if low == 0:
            return sel if high == full else sel & self.build(high, below)
        if high == full:
            return sel | self.build(low, below)
        if high == low ^ full:
            return sel ^ self.build(low, below)
        return sel.mux(self.build(high, below), self.build(low, below))


class _Counter:
    """How many decisions truth tables need, without building them."""

    def __init__(self, inputs: int):
        self.inputs = inputs
        self.seen: set[tuple[int, int]] = set()

    def visit(self, table: int, level: int) -> None:
        if table & 1:
            table = _inverse(table, self.inputs - level)
        if table == 0 or (table, level) in self.seen:
            return
        low, high = _halves(table, self.inputs - level)
        if low != high:
            self.seen.add((table, level))
            self.visit(high, level + 1)
        self.visit(low, level + 1)


def _inverse(table: int, inputs: int) -> int:
    """The truth table of the inverted output."""
    return table ^ ((1 << (1 << inputs)) - 1)


def _halves(table: int, inputs: int) -> tuple[int, int]:
    """(lower, upper) half of a truth table over `inputs` inputs: the first input 0, and 1."""
    half = 1 << (inputs - 1)
    return table & ((1 << half) - 1), table >> half
