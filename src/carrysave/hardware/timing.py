"""Static timing of a mapped netlist: arrival and slew of every net by the library's tables, and the critical path.

The same worst-case model that ABC sizes with, so that the two agree: one arc from each input pin to each output pin
(the worst over its conditions), rise and fall apart, the largest arrival and the largest slew at each net, bilinear
tables continued linearly, ideal inputs (slew 0), pins as the only load unless a load is given for the outputs.

With flip-flops the delay is the shortest period of an ideal clock: every path from an input or a flip-flop's clock pin
to an output or, with its setup time, to a flip-flop's data pin fits into it. Hold times are another module's (`hold`).
Pulse widths are not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrysave.hardware.flops import flop
from carrysave.hardware.liberty_writer import worst_arc
from carrysave.hardware.library import Arc, Library, LibraryError
from carrysave.hardware.netlist import CONSTANTS, Instance, Netlist

EDGES: tuple[str, ...] = ("rise", "fall")
_FLIP = {"rise": "fall", "fall": "rise"}


@dataclass(frozen=True)
class Step:
    """One gate of a path: the edge at its output, what it added, and when the edge is there."""

    cell: str
    pin: str
    net: str
    edge: str
    delay_ps: float
    arrival_ps: float
    load_ff: float


@dataclass(frozen=True, eq=False)
class Timing:
    """Of each net by edge: arrival [ps] and slew [ps]; its load [fF]; and the slowest path, from its input on.

    A path from one flip-flop to another starts at the clock and ends with the setup time, as a step at the data pin.
    """

    arrival_ps: dict[str, dict[str, float]]
    slew_ps: dict[str, dict[str, float]]
    load_ff: dict[str, float]
    delay_ps: float
    start: str
    path: tuple[Step, ...]


def analyze(netlist: Netlist, library: Library, output_load_ff: float = 0.0, input_slew_ps: float = 0.0) -> Timing:
    """Time a netlist: the delay of a combinational one, the shortest clock period of one with flip-flops.

    Args:
        output_load_ff: load at each output of the netlist, besides pins [fF].
        input_slew_ps: slew at each input, the clock included [ps].

    Raises:
        LibraryError: where a cell has no delay table from a pin that its output depends on, or a flip-flop no setup.
    """
    loads = net_loads(netlist, library, output_load_ff)
    arrival = {net: dict.fromkeys(EDGES, 0.0) for net in netlist.inputs}
    slew = {net: dict.fromkeys(EDGES, input_slew_ps) for net in netlist.inputs}
    cause: dict[tuple[str, str], tuple[Instance, str, str, str, float]] = {}
    arcs = _Arcs(library)
    for instance in netlist.instances:
        if instance.cell in CONSTANTS or instance.cell == "_wire_":
            _pass(instance, arrival, slew)
            continue
        sources = dict(instance.inputs)
        for out, net in instance.outputs:
            arrival[net], slew[net] = dict.fromkeys(EDGES, -math.inf), dict.fromkeys(EDGES, 0.0)
            for pin, edge_in, edge, delay, transition in arcs.of(instance.cell, out):
                source = sources[pin]
                if arrival[source][edge_in] == -math.inf:
                    continue
                spent = delay.point(slew[source][edge_in], loads[net])
                slew[net][edge] = max(slew[net][edge], transition.point(slew[source][edge_in], loads[net]))
                if arrival[source][edge_in] + spent > arrival[net][edge]:
                    arrival[net][edge] = arrival[source][edge_in] + spent
                    cause[net, edge] = (instance, pin, source, edge_in, spent)
    return _slowest(netlist, arrival, slew, loads, cause, _setups(netlist, library, slew))


def net_loads(netlist: Netlist, library: Library, output_load_ff: float = 0.0) -> dict[str, float]:
    """Capacitance that each net drives [fF]: the input pins on it, and the outside load where it is an output."""
    loads = {net: 0.0 for net in netlist.inputs}
    pins = {
        cell: {pin.name: pin.capacitance_ff for pin in library[cell].pins}
        for cell in netlist.cells()
        if cell != "_wire_"
    }
    aliases = {i.outputs[0][1]: i.inputs[0][1] for i in netlist.instances if i.cell == "_wire_"}
    for instance in netlist.instances:
        for _, net in instance.outputs:
            loads.setdefault(net, 0.0)
        if instance.cell in pins:
            for pin, net in instance.inputs:
                loads[net] = loads.get(net, 0.0) + pins[instance.cell][pin]
    for net in netlist.outputs:
        loads[net] = loads.get(net, 0.0) + output_load_ff
    for alias, net in reversed(aliases.items()):  # what hangs on a plain wire loads its driver
        loads[net] += loads[alias]
    return loads


class _Arcs:
    """The worst arcs of each cell's output, looked up once: (input pin, its edge, output edge, delay, transition)."""

    def __init__(self, library: Library):
        self.library = library
        self._known: dict[tuple[str, str], list[tuple[str, str, str, Any, Any]]] = {}

    def of(self, cell: str, out: str) -> list[tuple[str, str, str, Any, Any]]:
        if (cell, out) not in self._known:
            self._known[cell, out] = [
                entry for pin in self.library[cell].inputs for entry in self._from(cell, out, pin.name)
            ]
        return self._known[cell, out]

    def _from(self, cell: str, out: str, pin: str) -> list[tuple[str, str, str, Any, Any]]:
        known = self.library[cell].pin(out).arcs
        arc = worst_arc(known, pin)
        if arc is None:
            return []
        clocked = self.library[cell].kind != "combinational"
        found = []
        for edge in EDGES:
            delay, transition = arc.tables.get(f"cell_{edge}"), arc.tables.get(f"{edge}_transition")
            if delay is None or transition is None:
                raise LibraryError(f"cell {cell}: the arc from {pin} to {out} has no {edge} delay or transition table")
            sources = ("rise",) if clocked else causes(arc, edge)
            found += [(pin, edge_in, edge, delay, transition) for edge_in in sources]
        return found


def causes(arc: Arc, edge: str) -> tuple[str, ...]:
    """The input edges that cause an output edge."""
    if arc.sense == "positive_unate":
        return (edge,)
    return (_FLIP[edge],) if arc.sense == "negative_unate" else EDGES


def _pass(instance: Instance, arrival: dict[str, dict[str, float]], slew: dict[str, dict[str, float]]) -> None:
    net = instance.outputs[0][1]
    if instance.inputs:
        source = instance.inputs[0][1]
        arrival[net], slew[net] = arrival[source], slew[source]
    else:
        arrival[net], slew[net] = dict.fromkeys(EDGES, -math.inf), dict.fromkeys(EDGES, 0.0)


@dataclass(frozen=True)
class _Setup:
    """How long before the clock's edge an edge of a data pin must be there."""

    cell: str
    pin: str
    net: str
    edge: str
    needed_ps: float


def _setups(netlist: Netlist, library: Library, slew: Mapping[str, Mapping[str, float]]) -> list[_Setup]:
    found = []
    for instance in netlist.instances:
        cell = library.cells.get(instance.cell)
        if cell is None or cell.kind != "flip_flop":
            continue
        entry, nets = flop(cell), dict(instance.inputs)
        for pin in entry.data_pins:
            arcs = [arc for arc in cell.pin(pin).arcs if arc.type == "setup_rising" and arc.related_pin == entry.clock]
            for edge in EDGES:
                tables = [arc.tables[f"{edge}_constraint"] for arc in arcs if f"{edge}_constraint" in arc.tables]
                if not tables:
                    raise LibraryError(f"cell {cell.name}: pin {pin} has no {edge} setup time to {entry.clock}")
                slews = slew[nets[pin]][edge], slew[nets[entry.clock]]["rise"]
                needed = max(table.point(*slews) for table in tables)
                found.append(_Setup(cell.name, pin, nets[pin], edge, needed))
    return found


def _slowest(
    netlist: Netlist,
    arrival: dict[str, dict[str, float]],
    slew: dict[str, dict[str, float]],
    loads: dict[str, float],
    cause: dict[tuple[str, str], tuple[Instance, str, str, str, float]],
    setups: list[_Setup],
) -> Timing:
    ends: list[tuple[float, str, str, _Setup | None]] = [
        (arrival[net][edge], net, edge, None) for net in netlist.outputs for edge in EDGES
    ]
    ends += [(arrival[s.net][s.edge] + s.needed_ps, s.net, s.edge, s) for s in setups]
    delay, net, edge, last = max(ends, key=lambda end: end[:3])
    aliases = {i.outputs[0][1]: i.inputs[0][1] for i in netlist.instances if i.cell == "_wire_"}
    steps = [Step(last.cell, last.pin, net, edge, last.needed_ps, delay, 0.0)] if last else []
    while net in aliases or (net, edge) in cause:
        if net in aliases:
            net = aliases[net]
            continue
        instance, pin, source, edge_in, spent = cause[net, edge]
        steps.append(Step(instance.cell, pin, net, edge, spent, arrival[net][edge], loads[net]))
        net, edge = source, edge_in
    return Timing(arrival, slew, loads, max(delay, 0.0), net, tuple(reversed(steps)))
