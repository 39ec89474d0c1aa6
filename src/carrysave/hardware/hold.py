"""Hold times with an ideal clock: whether a flip-flop's data stays long enough after the edge that takes it on.

The model of `timing` from the other side: the earliest arrival and the smallest slew at each net, the fastest arc of
each pin pair over its conditions, no wires. A path that is too short does not depend on the period; buffers or the skew
of a clock tree, which is not here, would have to mend or could break it. Inputs are ideal and change with the clock:
what they lack is how long they must be held after its edge, which is said and no violation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from carrysave.hardware.flops import Flop, flop, is_flop
from carrysave.hardware.library import Library, Table
from carrysave.hardware.netlist import CONSTANTS, WIRE, Instance, Netlist
from carrysave.hardware.timing import EDGES, causes, net_loads

Times = dict[str, dict[str, float]]  # of each net by edge [ps]


@dataclass(frozen=True)
class Hold:
    """What the shortest paths leave beside the hold times.

    Attributes:
        slack_ps: the least time that data from a flip-flop stays longer than it must; negative: too short. Infinite
            where no flip-flop feeds another.
        at: (cell, data net) with the least slack.
        inputs_ps: how long inputs must be held after the clock's edge; 0 if not at all.
        unknown: flip-flop cells without hold times in the library, which were left out.
    """

    slack_ps: float
    at: tuple[str, str] | None
    inputs_ps: float
    unknown: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """A sentence where something is wrong or not known; "" where hold times are met."""
        if self.unknown:
            return f"hold times not checked: the library gives none for {', '.join(self.unknown)}"
        if self.slack_ps < 0 and self.at:
            cell, net = self.at
            return (
                f"hold time missed by {-self.slack_ps:.1f} ps with an ideal clock, at {cell} taking {net}: "
                "the path needs buffers, which are not in these figures"
            )
        return ""


def check_hold(netlist: Netlist, library: Library) -> Hold:
    """Hold times of a mapped netlist with one ideal clock; without flip-flops there is nothing to hold.

    Raises LibraryError for a cell with state that is no plain flip-flop.
    """
    flops = [(i, flop(library[i.cell])) for i in netlist.instances if is_flop(i, library)]
    if not flops:
        return Hold(math.inf, None, 0.0)
    clock = dict(flops[0][0].inputs)[flops[0][1].clock]
    unknown = {i.cell for i, entry in flops for pin in entry.data_pins if not _tables(library, i.cell, pin, entry)}
    ends = [(i, entry) for i, entry in flops if i.cell not in unknown]
    inner = _slacks(ends, library, _earliest(netlist, library, {clock}))
    outer = _slacks(ends, library, _earliest(netlist, library, {net for net in netlist.inputs if net != clock}))
    slack, at = min(inner, default=(math.inf, None))
    return Hold(slack, at, max((-late for late, _ in outer if late < 0), default=0.0), tuple(sorted(unknown)))


def _tables(library: Library, cell: str, pin: str, entry: Flop) -> dict[str, list[Table]]:
    """The hold times of a data pin by the edge of its data; none unless the library has both."""
    arcs = [a for a in library[cell].pin(pin).arcs if a.type == "hold_rising" and a.related_pin == entry.clock]
    found = {edge: [a.tables[f"{edge}_constraint"] for a in arcs if f"{edge}_constraint" in a.tables] for edge in EDGES}
    return found if all(found.values()) else {}


def _slacks(
    flops: list[tuple[Instance, Flop]], library: Library, times: tuple[Times, Times]
) -> list[tuple[float, tuple[str, str]]]:
    """(slack, (cell, data net)) at each edge that arrives at a data pin: how much later than the hold time it does."""
    arrival, slew = times
    found = []
    for instance, entry in flops:
        nets = dict(instance.inputs)
        for pin in entry.data_pins:
            net = nets[pin]
            for edge, tables in _tables(library, instance.cell, pin, entry).items():
                if arrival[net][edge] < math.inf:
                    needed = max(table.point(slew[net][edge], 0.0) for table in tables)
                    found.append((arrival[net][edge] - needed, (instance.cell, net)))
    return found


def _earliest(netlist: Netlist, library: Library, sources: set[str]) -> tuple[Times, Times]:
    """(earliest arrival, smallest slew) where `sources` change at time 0 and nothing else does; infinite: never."""
    loads = net_loads(netlist, library)
    never = dict.fromkeys(EDGES, math.inf)
    arrival = {net: dict.fromkeys(EDGES, 0.0) if net in sources else never for net in netlist.inputs}
    slew = {net: dict.fromkeys(EDGES, 0.0) for net in netlist.inputs}
    for instance in netlist.instances:
        wires = dict(instance.inputs)
        for out, net in instance.outputs:
            if instance.cell == WIRE:
                arrival[net], slew[net] = arrival[wires["a"]], slew[wires["a"]]
                continue
            arrival[net], slew[net] = dict(never), dict(never)
            if instance.cell in CONSTANTS:
                continue
            for pin, edge_in, edge, delay, transition in _arcs(library, instance.cell, out):
                start, given = arrival[wires[pin]][edge_in], slew[wires[pin]][edge_in]
                if start < math.inf:
                    arrival[net][edge] = min(arrival[net][edge], start + delay.point(given, loads[net]))
                    slew[net][edge] = min(slew[net][edge], transition.point(given, loads[net]))
    return arrival, slew


@lru_cache(maxsize=4096)
def _arcs(library: Library, cell: str, out: str) -> list[tuple[str, str, str, Table, Table]]:
    """(input pin, its edge, output edge, delay, transition) of every arc to an output, each condition's by itself."""
    clocked = library[cell].kind != "combinational"
    return [
        (arc.related_pin, edge_in, edge, arc.tables[f"cell_{edge}"], arc.tables[f"{edge}_transition"])
        for arc in library[cell].pin(out).arcs
        for edge in EDGES
        if {f"cell_{edge}", f"{edge}_transition"} <= arc.tables.keys()
        for edge_in in (("rise",) if clocked else causes(arc, edge))
    ]
