"""Reconfigurable constant-coefficient multipliers as circuits (simplification thesis, Figures 6.1 and 6.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from carrysave.adder_graphs import GRAPHS, INPUT, AdderGraph, add_node, read_graph
from carrysave.bits import cat, zext
from carrysave.hardware.units.base import UNITS, Register, Unit
from carrysave.registry import nearest


@UNITS.register
@dataclass(frozen=True, kw_only=True)
class Rccm(Unit):
    """The input times one of a few coefficients that a select word chooses: muxed adders, no multiplier.

    Ports: `x`, `select`; `y` in two's complement, of the bits that the largest product needs. With `pipelined` a
    register stands after each level of adders, and a product comes out that many cycles later.

    Attributes:
        kind: 2add, 3add, 4add (Figure 6.4 with the shifts of Table 6.3), unmatched (the 3-Add set of 6.5.1), figure6.1,
            one stage alone (topology_a, topology_b), or a file that `adder_graphs.read_graph` reads.
        n: bits of the input.
        signed: whether the input is two's complement. Activations after a ReLU are not.
    """

    kind: str
    n: int = 8
    signed: bool = False
    pipelined: bool = False
    name = "rccm"
    positional = "kind"
    catalog = {
        "2-Add": "rccm:2add",
        "3-Add": "rccm:3add",
        "4-Add": "rccm:4add",
        "Figure 6.1": "rccm:figure6.1",
        "2-Add, pipelined": "rccm:2add,pipelined=true",
        "3-Add, pipelined": "rccm:3add,pipelined=true",
        "4-Add, pipelined": "rccm:4add,pipelined=true",
    }

    def check(self) -> None:
        if self.kind not in GRAPHS and not self.kind.endswith(".json"):
            near, known = nearest(self.kind, GRAPHS), ", ".join(GRAPHS)
            raise ValueError(f"rccm: no circuit {self.kind!r}{near}; one of {known}, or a .json file")
        if not self.graph.select_bits:
            raise ValueError(f"rccm: {self.kind} has no select bits; a multiplier by one constant is no RCCM")
        if not 2 <= self.n <= 32:
            raise ValueError(f"rccm: n={self.n} input bits; 2 to 32")

    @cached_property
    def graph(self) -> AdderGraph:
        return read_graph(self.kind) if self.kind.endswith(".json") else GRAPHS[self.kind]

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n, "select": self.graph.select_bits}

    @property
    def settling(self) -> int:
        return self.graph.levels[-1] if self.pipelined else 0

    @property
    def registers(self) -> Mapping[str, Register]:
        """Of each value the cycles that it is late: x_1 is the input one cycle later, n0_1 the first node's."""
        if not self.pipelined:
            return {}
        graph, found = self.graph, {}
        for source, last in self._last_read().items():
            first, width = self._ready(source)
            name = "x" if source == INPUT else f"n{source}"
            found |= {f"{name}_{late}": Register(width) for late in range(first, last + 1)}
        for k, adder in enumerate(graph.adders):
            if graph.levels[k] > 1 and adder.select:
                width = len(adder.select)
                found |= {f"s{k}_{late}": Register(width) for late in range(1, graph.levels[k])}
        return found

    def _ready(self, source: int) -> tuple[int, int]:
        """(first cycle in which a value is a register's, its width)."""
        if source == INPUT:
            return 1, self.n
        return self.graph.levels[source], self.graph.width(source, self.n, self.signed)

    def _last_read(self) -> dict[int, int]:
        """Of each source, the cycle in which it is read last; the output's own register is read outside."""
        graph = self.graph
        last = {len(graph.adders) - 1: graph.levels[-1]}
        for k, adder in enumerate(graph.adders):
            for term in (term for pair in adder.pairs for term in pair if term.sign):
                first = 0 if term.source == INPUT else graph.levels[term.source]
                last[term.source] = max(last.get(term.source, first), graph.levels[k] - 1)
        return last

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        graph, following = self.graph, {}
        read = dict(values)
        for k, adder in enumerate(graph.adders):
            level = graph.levels[k] - 1  # the cycle in which the node adds
            # an adder that chooses nothing takes any bit: constants are made from a Word
            select = cat(*[values["select"][bit] for bit in adder.select or (0,)])
            sources = {term.source for pair in adder.pairs for term in pair if term.sign}
            if self.pipelined and adder.select:
                for late in range(1, level + 1):
                    following[f"s{k}_{late}"] = select
                    select = values[f"s{k}_{late}"]
            words = {source: self._word(source, level, read) for source in sources}
            made = add_node(adder, select, words, graph.width(k, self.n, self.signed))
            if self.pipelined:
                following[f"n{k}_{level + 1}"] = made
            else:
                read[f"n{k}_0"] = made
        for name, register in self.registers.items():
            if name not in following:  # a value that waits for its reader
                stem, _, late = name.rpartition("_")
                before = f"{stem}_{int(late) - 1}"
                following[name] = values["x"] if before == "x_0" else values[before]
                assert following[name].width == register.width
        last = len(graph.adders) - 1
        out = values[f"n{last}_{graph.levels[-1]}"] if self.pipelined else read[f"n{last}_0"]
        return {"y": out, **following}

    def _word(self, source: int, cycle: int, values: Mapping[str, Any]) -> Any:
        """A source as a two's complement Word, as late as the node that reads it."""
        late = cycle if self.pipelined else 0
        if source != INPUT:
            return values[f"n{source}_{late}"]
        x = values[f"x_{late}"] if late else values["x"]
        return x if self.signed else zext(x, self.n + 1)
