"""Power of a mapped netlist under given operands: switching, internal and leakage, from the cells' own tables.

Per pair of successive vectors, summed over the netlist:

* switching: 1/2 C V^2 for every net that toggles; C is the input pins on the net, and at an output the load outside;
* internal: for every cell output that toggles, the mean over its internal-power arcs whose input pin toggled and
  whose `when` holds, read at the slew of that input edge (`timing`) and the output's load; and for every input pin
  that toggles, its own entries (Liberty gives them where no output moves) whose `when` holds;
* leakage: per state of the inputs where the library says so, else the cell's figure.

Nets change at most once per vector: glitches are left out, as in a commercial tool's default. `glitches=True` runs
the netlist in time steps instead and counts every pulse that outlasts a gate's delay; such a figure is labelled and
not comparable. Wires have no capacitance before placement: see docs/cost-model.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.activity import Vectors
from carrysave.hardware.functions import evaluate, parse_function
from carrysave.hardware.glitches import toggles_in_time
from carrysave.hardware.library import Cell, Library
from carrysave.hardware.library import Power as PowerArc
from carrysave.hardware.netlist import CONSTANTS, Instance, Netlist, simulate
from carrysave.hardware.timing import EDGES, Timing, analyze

OUTPUT_LOAD_FF = 8.6
_NO_TABLES = "switching and leakage only: library {} has no internal power tables"
_FEW = "{} vectors are few: the standard error of the energy is {:.1f} %"

Lanes = NDArray[np.float64]


@dataclass(frozen=True)
class Power:
    """Power at one clock, one operation per cycle, always with the activity it was computed under.

    Units: uW, GHz. `standard_error_uw` is that of the dynamic part, from the spread over the vectors.
    """

    activity: str
    frequency_ghz: float
    switching_uw: float
    internal_uw: float
    leakage_uw: float
    standard_error_uw: float
    notes: tuple[str, ...] = ()

    @property
    def dynamic_uw(self) -> float:
        return self.switching_uw + self.internal_uw

    @property
    def total_uw(self) -> float:
        return self.dynamic_uw + self.leakage_uw


@dataclass(frozen=True, eq=False)
class Energy:
    """Mean energy per operation [fJ] and mean leakage [nW] under one activity; `at` makes a power of it.

    `of_instance_fj` is the dynamic energy of each instance of the netlist: its internal energy and the switching of
    the nets it drives; `inputs_fj` is the switching of the input nets. Together they are `switching_fj + internal_fj`.
    """

    activity: str
    switching_fj: float
    internal_fj: float
    leakage_nw: float
    standard_error_fj: float
    vectors: int
    of_instance_fj: NDArray[np.float64]
    inputs_fj: float
    notes: tuple[str, ...] = ()

    @property
    def dynamic_fj(self) -> float:
        return self.switching_fj + self.internal_fj

    def at(self, frequency_ghz: float) -> Power:
        """The power at a clock of one operation per cycle. fJ times GHz is uW."""
        return Power(
            self.activity,
            frequency_ghz,
            self.switching_fj * frequency_ghz,
            self.internal_fj * frequency_ghz,
            self.leakage_nw * 1e-3,
            self.standard_error_fj * frequency_ghz,
            self.notes,
        )


def energy(
    netlist: Netlist,
    library: Library,
    vectors: Vectors,
    output_load_ff: float = OUTPUT_LOAD_FF,
    glitches: bool = False,
    timing: Timing | None = None,
) -> Energy:
    """Energy per operation of a combinational netlist.

    Args:
        vectors: pairs of successive input values (`activity.toggling`, `drawn`, `recorded`).
        output_load_ff: load at every output [fF].
        glitches: run in time steps and count every pulse.
        timing: the netlist's timing under the same load, if it is known already.

    Raises:
        NetlistError: if the vectors are not for the netlist's inputs.
    """
    timing = analyze(netlist, library, output_load_ff) if timing is None else timing
    before = simulate(netlist, library, vectors.planes(netlist, "before"))
    after = simulate(netlist, library, vectors.planes(netlist, "after"))
    nets = _Nets(before, after, vectors.count)
    half_v2 = 0.5 * library.voltage**2
    counts = toggles_in_time(netlist, library, timing, vectors, before, after) if glitches else {}
    dynamic = np.zeros(vectors.count)
    switching = internal = leakage = 0.0
    of_instance = np.zeros(len(netlist.instances))
    inputs = sum((half_v2 * timing.load_ff[net] * nets.toggles(net) for net in netlist.inputs), np.zeros(vectors.count))
    for k, instance in enumerate(netlist.instances):
        if instance.cell in CONSTANTS or instance.cell == "_wire_":
            continue
        cell = library[instance.cell]
        per_edge, inside = _internal(cell, instance, nets, timing)
        outside = np.zeros(vectors.count)
        for pin, net in instance.outputs:
            toggles = nets.toggles(net).astype(np.float64)
            if glitches:
                extra = counts[net] - toggles
                inside = inside + extra * per_edge[pin]
                toggles = counts[net]
            outside += half_v2 * timing.load_ff[net] * toggles
        dynamic += inside + outside
        of_instance[k] = inside.mean() + outside.mean()
        internal += inside.mean()
        switching += outside.mean()
        leakage += _leakage(cell, instance, nets)
    dynamic += inputs
    return Energy(
        vectors.label + (", glitches counted (not comparable)" if glitches else ""),
        switching + inputs.mean(),
        internal,
        leakage,
        vectors.standard_error(dynamic),
        vectors.count,
        of_instance,
        float(inputs.mean()),
        tuple(_notes(netlist, library, vectors, dynamic)),
    )


def _notes(netlist: Netlist, library: Library, vectors: Vectors, dynamic: Lanes) -> Iterable[str]:
    used = [library[name] for name in netlist.cells() if name != "_wire_"]
    if used and not any(pin.powers for cell in used for pin in cell.pins):
        yield _NO_TABLES.format(library.name)
    mean, error = float(dynamic.mean()), vectors.standard_error(dynamic)
    if error > 0.05 * mean > 0:
        yield _FEW.format(vectors.count, 100 * error / mean)


class _Nets:
    """Values and toggles of nets as one byte per vector, unpacked when they are first asked for."""

    def __init__(self, before: Mapping[str, Any], after: Mapping[str, Any], count: int):
        self.planes = {"before": before, "after": after}
        self.count = count
        self._known: dict[tuple[str, str], NDArray[np.bool_]] = {}

    def value(self, net: str, when: str) -> NDArray[np.bool_]:
        key = (net, when)
        if key not in self._known:
            bits = np.unpackbits(np.ascontiguousarray(self.planes[when][net]).view(np.uint8), bitorder="little")
            self._known[key] = bits[: self.count].astype(bool)
        return self._known[key]

    def toggles(self, net: str) -> NDArray[np.bool_]:
        return self.value(net, "before") ^ self.value(net, "after")

    def edge(self, net: str, edge: str) -> NDArray[np.bool_]:
        rises = self.value(net, "after") if edge == "rise" else self.value(net, "before")
        return self.toggles(net) & rises


def _internal(cell: Cell, instance: Instance, nets: _Nets, timing: Timing) -> tuple[dict[str, float], Lanes]:
    """(mean energy of a transition of each output, internal energy of the instance in each vector), fJ."""
    net_of = dict(instance.inputs + instance.outputs)
    state = {pin: nets.value(net, "after") for pin, net in net_of.items()}
    total, typical = np.zeros(nets.count), {}
    for pin, net in instance.outputs:
        arcs = [arc for arc in cell.pin(pin).powers if arc.related_pin in net_of]
        spent = sum(
            (_output_edge(arcs, edge, net, net_of, state, nets, timing) for edge in EDGES), np.zeros(nets.count)
        )
        moved = int(nets.toggles(net).sum())
        typical[pin] = float(spent.sum()) / moved if moved else 0.0
        total += spent
    for pin, net in instance.inputs:
        for arc in cell.pin(pin).powers:
            for edge in EDGES:
                table = arc.rise if edge == "rise" else arc.fall
                if table is not None:
                    happens = nets.edge(net, edge) & _holds(arc, state, nets.count)
                    total += happens * float(table.at(timing.slew_ps[net][edge], 0.0))
    return typical, total


def _output_edge(
    arcs: list[PowerArc],
    edge: str,
    net: str,
    net_of: Mapping[str, str],
    state: Mapping[str, NDArray[np.bool_]],
    nets: _Nets,
    timing: Timing,
) -> Lanes:
    """Energy of one edge of an output: the mean over the arcs that explain it in each vector.

    Where several inputs toggle at once no arc's `when` may hold; then all arcs of the pins that toggled count alike.
    """
    moves = nets.edge(net, edge)
    strict_sum, strict_count = np.zeros(nets.count), np.zeros(nets.count)
    loose_sum, loose_count = np.zeros(nets.count), np.zeros(nets.count)
    for arc in arcs:
        table = arc.rise if edge == "rise" else arc.fall
        if table is None:
            continue
        source = net_of[str(arc.related_pin)]
        holds = _holds(arc, state, nets.count)
        for edge_in in EDGES:
            causes = nets.edge(source, edge_in) & moves
            value = float(table.at(timing.slew_ps[source][edge_in], timing.load_ff[net]))
            loose_sum += causes * value
            loose_count += causes
            strict_sum += (causes & holds) * value
            strict_count += causes & holds
    strict = np.divide(strict_sum, strict_count, out=np.zeros(nets.count), where=strict_count > 0)
    loose = np.divide(loose_sum, loose_count, out=np.zeros(nets.count), where=loose_count > 0)
    return np.where(strict_count > 0, strict, loose)


def _holds(arc: PowerArc, state: Mapping[str, NDArray[np.bool_]], count: int) -> NDArray[np.bool_]:
    ones = np.ones(count, dtype=bool)
    return ones if arc.when is None else evaluate(parse_function(arc.when), state, ones)


def _leakage(cell: Cell, instance: Instance, nets: _Nets) -> float:
    """Mean leakage of one instance [nW]; states that the library leaves out have the cell's own figure."""
    if not cell.leakage_states:
        return cell.leakage_nw
    state = {pin: nets.value(net, "after") for pin, net in instance.inputs + instance.outputs}
    ones = np.ones(nets.count, dtype=bool)
    total, covered = 0.0, np.zeros(nets.count, dtype=bool)
    for when, value in cell.leakage_states:
        holds = evaluate(parse_function(when), state, ones) & ~covered
        total += value * float(holds.mean())
        covered |= holds
    return total + cell.leakage_nw * float((~covered).mean())
