"""Circuits as and-inverter graphs: what runs on bit planes, run on literals, writes its logic down.

A literal knows `& | ^ ~` as a bit plane does, so the code that runs a unit's reading, a mapped netlist or an FPGA
netlist on vectors is the code that builds its graph: no second reading of any of them stands between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from carrysave.hardware.netlist import NetlistError, Planes, logical_lines
from carrysave.planes import PlaneWord

_WORD = 0xFFFFFFFFFFFFFFFF  # among literals, a constant is a word of a plane: zero or all ones


class Graph:
    """Inputs, then two-input ANDs, each once. Node n is literal 2n, its complement 2n + 1; literal 0 is false.

    Attributes:
        inputs: node of each input by its name.
        gates: the two literals of each AND by its node, in topological order.
    """

    def __init__(self) -> None:
        self.inputs: dict[str, int] = {}
        self.gates: dict[int, tuple[int, int]] = {}
        self._known: dict[tuple[int, int], int] = {}

    def _new_node(self) -> int:
        return 1 + len(self.inputs) + len(self.gates)

    def input(self, name: str) -> Literal:
        """A new input. Raises ValueError for a name that is taken."""
        if name in self.inputs:
            raise ValueError(f"graph: there is an input {name} already")
        node = self._new_node()
        self.inputs[name] = node
        return Literal(self, 2 * node)

    def conjunction(self, a: int, b: int) -> int:
        """The literal of a & b."""
        a, b = min(a, b), max(a, b)
        if a == 0 or a == b ^ 1:
            return 0
        if a == 1 or a == b:
            return b
        if (a, b) not in self._known:
            node = self._new_node()
            self.gates[node] = (a, b)
            self._known[a, b] = 2 * node
        return self._known[a, b]

    def values(self, ones: set[str], codes: Sequence[int]) -> list[int]:
        """The values, 0 or 1, of literals where the inputs named in `ones` are 1 and all others 0."""
        node = {number: int(name in ones) for name, number in self.inputs.items()} | {0: 0}
        for number, (a, b) in self.gates.items():
            node[number] = (node[a >> 1] ^ a & 1) & (node[b >> 1] ^ b & 1)
        return [node[code >> 1] ^ code & 1 for code in codes]

    def blif(self, codes: Sequence[int]) -> str:
        """The logic of literals as BLIF with the outputs o0, o1, ...; inputs, all of them, are i0, i1, ..."""
        names = {node: f"i{k}" for k, node in enumerate(self.inputs.values())} | {0: "zero"}
        lines = [".model logic", f".inputs {' '.join(f'i{k}' for k in range(len(self.inputs)))}"]
        lines += [f".outputs {' '.join(f'o{k}' for k in range(len(codes)))}", ".names zero"]
        reached = self._reached(codes)
        for node, (a, b) in self.gates.items():
            if node in reached:
                names[node] = f"n{node}"
                lines.append(f".names {names[a >> 1]} {names[b >> 1]} n{node}\n{1 - (a & 1)}{1 - (b & 1)} 1")
        lines += [f".names {names[code >> 1]} o{k}\n{1 - (code & 1)} 1" for k, code in enumerate(codes)]
        return "\n".join([*lines, ".end", ""])

    def _reached(self, codes: Sequence[int]) -> set[int]:
        """The ANDs that literals depend on."""
        todo, found = [code >> 1 for code in codes], set()
        while todo:
            node = todo.pop()
            if node in self.gates and node not in found:
                found.add(node)
                todo += [code >> 1 for code in self.gates[node]]
        return found


class Literal:
    """A node of a graph or its complement, with the operators of a word of a bit plane."""

    __slots__ = ("code", "graph")

    def __init__(self, graph: Graph, code: int):
        self.graph = graph
        self.code = code

    def __and__(self, other: Any) -> Literal:
        return Literal(self.graph, self.graph.conjunction(self.code, code_of(other)))

    def __or__(self, other: Any) -> Literal:
        return Literal(self.graph, self.graph.conjunction(self.code ^ 1, code_of(other) ^ 1) ^ 1)

    def __xor__(self, other: Any) -> Literal:
        a, b = self.code, code_of(other)
        one, two = self.graph.conjunction(a, b ^ 1), self.graph.conjunction(a ^ 1, b)
        return Literal(self.graph, self.graph.conjunction(one ^ 1, two ^ 1) ^ 1)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Literal:
        return Literal(self.graph, self.code ^ 1)


def code_of(value: Any) -> int:
    """The literal of a value: its own, or that of a constant word of a plane. Raises ValueError for anything else."""
    if isinstance(value, Literal):
        return value.code
    word = int(value) & _WORD
    if word not in (0, _WORD):
        raise ValueError(f"logic: the plane word {word:#x} among literals is neither all zeros nor all ones")
    return int(word == _WORD)


def codes_of(planes: Planes) -> list[int]:
    """The literals of planes [bits, 1]."""
    return [code_of(value) for value in planes[:, 0]]


def plane(value: Literal) -> Planes:
    """A literal as a bit plane of one word."""
    made = np.empty(1, dtype=object)
    made[0] = value
    return made


def symbols(graph: Graph, port: str, width: int) -> PlaneWord:
    """A word of new inputs; those of a wide port are port[0], port[1], ..."""
    names = [port] if width == 1 else [f"{port}[{bit}]" for bit in range(width)]
    return PlaneWord(np.stack([plane(graph.input(name)) for name in names]), 1)


# ---------------------------------------------------------------- lowered RTL


def of_blif(text: str, given: Mapping[str, Literal], graph: Graph) -> dict[str, Literal]:
    """The outputs of a BLIF text of logic alone, such as Yosys writes, from literals for its inputs.

    A net that nothing drives, which Yosys leaves where a bit is of no consequence, is 0, as it is to ABC.

    Raises NetlistError for anything but logic, and for a loop.
    """
    tables, outputs = _tables(text)
    values: dict[str, Literal] = dict(given)
    needs = {net: [source for source in sources if source not in given] for net, (sources, _) in tables.items()}
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise NetlistError(f"BLIF: a loop runs through {error.args[1][0]}") from None
    for net in order:
        sources, rows = tables.get(net, ([], []))
        values[net] = _cover([values[source] for source in sources], rows, Literal(graph, 0))
    return {net: values.get(net, Literal(graph, 0)) for net in outputs}


def _tables(text: str) -> tuple[dict[str, tuple[list[str], list[list[str]]]], list[str]]:
    """(sources and rows of each net, output nets)."""
    tables: dict[str, tuple[list[str], list[list[str]]]] = {}
    outputs: list[str] = []
    rows: list[list[str]] = []
    for number, line in logical_lines(text):
        words = line.split()
        if words[0] == ".names":
            rows = []
            tables[words[-1]] = (words[1:-1], rows)
        elif words[0] == ".outputs":
            outputs += words[1:]
        elif not words[0].startswith("."):
            rows.append(words)
        elif words[0] not in (".model", ".inputs", ".end"):
            raise NetlistError(f"BLIF line {number}: {words[0]} is not expected among logic")
    return tables, outputs


def _cover(sources: list[Literal], rows: list[list[str]], false: Literal) -> Literal:
    """A BLIF table: the sum of its rows, or (rows that end with 0) the complement of that; no rows are 0."""
    if not sources:
        return ~false if rows == [["1"]] else false
    total = false
    for pattern, _ in rows:
        term = ~false
        for mark, source in zip(pattern, sources, strict=True):
            if mark != "-":
                term = term & (source if mark == "1" else ~source)
        total = total | term
    return ~total if rows and rows[0][1] == "0" else total
