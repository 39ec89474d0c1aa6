"""Power of a mapped netlist under given operands: switching, internal and leakage, from the cells' own tables.

Per pair of successive vectors, summed over the netlist:

* switching: 1/2 C V^2 for every net that toggles; C is the input pins on the net, and at an output the load outside;
* internal: for every cell output that toggles, the mean over its internal-power arcs whose input pin toggled and
  whose `when` holds, read at the slew of that input edge (`timing`) and the output's load; and for every input pin
  that toggles, its own entries (Liberty gives them where no output moves) whose `when` holds;
* leakage: per state of the inputs where the library says so, else the cell's figure.

Nets change at most once per vector: glitches are left out. `glitches=True` runs
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
from carrysave.hardware.flops import is_flop
from carrysave.hardware.glitches import toggles_in_time
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import CONSTANTS, WIRE, Instance, Netlist, simulate
from carrysave.hardware.timing import Timing, analyze
from carrysave.hardware.transitions import TABULATED_INPUTS, Transitions, tabulated, transitions, values_of

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
    `load_of_instance_fj` is the part of `of_instance_fj` that charges the load outside.
    """

    activity: str
    switching_fj: float
    internal_fj: float
    leakage_nw: float
    standard_error_fj: float
    vectors: int
    of_instance_fj: NDArray[np.float64]
    load_of_instance_fj: NDArray[np.float64]
    inputs_fj: float
    notes: tuple[str, ...] = ()
    clock_fj: float = 0.0  # of that, what the clock takes: its net, and inside the flip-flops at its pin

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
    nets = Nets(before, after, vectors.count)
    counts = toggles_in_time(netlist, library, timing, vectors, before, after) if glitches else {}
    total = gates(netlist, library, timing, nets, counts)
    label = vectors.label + (", glitches counted (not comparable)" if glitches else "")
    return total.energy(label, netlist, library, vectors, output_load_ff, nets, counts)


def gates(
    netlist: Netlist, library: Library, timing: Timing, nets: Nets, counts: Mapping[str, Lanes] | None = None
) -> Total:
    """What the inputs and the combinational gates spend, given every net's values before and after."""
    half_v2, counts = 0.5 * library.voltage**2, counts or {}
    inputs: Lanes = np.zeros(nets.count)
    for net in netlist.inputs:
        inputs += half_v2 * timing.load_ff[net] * nets.toggles(net)
    total = Total(inputs.copy(), np.zeros(len(netlist.instances)), inputs)
    for (name, pins, outputs), places in _alike(netlist, library).items():
        instances = [netlist.instances[k] for k in places]
        indices = [nets.transitions(instance) for instance in instances]
        if len(pins) <= TABULATED_INPUTS:
            known = tabulated(library[name], pins, outputs)
        else:
            happened, flat = np.unique(np.concatenate(indices), return_inverse=True)
            known = transitions(library[name], *values_of(happened, pins), outputs)
            indices = np.split(flat, len(instances))
        inside = _spent(known, instances, timing)
        for i, (k, instance, index) in enumerate(zip(places, instances, indices, strict=True)):
            own = {pin: energies[i] for pin, energies in inside.items()}
            total.add(k, instance, known, own, index, timing, half_v2, counts)
    return total


@dataclass(eq=False)
class Total:
    """Sums over the netlist: dynamic energy of each vector [fJ] and of each instance, and the parts' means.

    `inputs` is the part of `dynamic` that the input nets take.
    """

    dynamic: Lanes
    of_instance: NDArray[np.float64]
    inputs: Lanes
    switching: float = 0.0
    internal: float = 0.0
    leakage: float = 0.0
    clock: float = 0.0

    def energy(
        self,
        label: str,
        netlist: Netlist,
        library: Library,
        vectors: Vectors,
        output_load_ff: float,
        nets: Nets,
        counts: Mapping[str, Lanes] | None = None,
    ) -> Energy:
        """The means, once everything is entered."""
        load_fj = 0.5 * library.voltage**2 * output_load_ff * _output_toggles(netlist, nets, counts or {})
        return Energy(
            label,
            self.switching + float(self.inputs.mean()),
            self.internal,
            self.leakage,
            vectors.standard_error(self.dynamic),
            vectors.count,
            self.of_instance,
            load_fj,
            float(self.inputs.mean()),
            tuple(_notes(netlist, library, vectors, self.dynamic)),
            self.clock,
        )

    def add(
        self,
        place: int,
        instance: Instance,
        known: Transitions,
        inside: Mapping[str | None, NDArray[np.float64]],
        index: NDArray[np.intp],
        timing: Timing,
        half_v2: float,
        counts: Mapping[str, Lanes],
    ) -> None:
        """Enter one instance: `inside` is its internal energy by output pin and transition, `index` each vector's
        transition, `counts` the toggles of the nets where glitches count.
        """
        happened = np.bincount(index, minlength=known.leakage_nw.size)
        share = happened / index.size
        energies = np.sum(list(inside.values()), axis=0)
        internal, switching, glitch = float(energies @ share), 0.0, None
        for pin, net in instance.outputs:
            if pin not in known.toggles:
                continue
            toggles, swing = known.toggles[pin].astype(np.float64), half_v2 * timing.load_ff[net]
            if counts:
                moved = float(toggles @ happened)
                typical = float(inside[pin] @ happened) / moved if moved else 0.0
                extra = counts[net] - toggles[index]
                glitch = extra * (typical + swing) + (0.0 if glitch is None else glitch)
                internal += typical * float(extra.mean())
                switching += swing * float(extra.mean())
            energies = energies + swing * toggles
            switching += swing * float(toggles @ share)
        self.dynamic += energies[index] if glitch is None else energies[index] + glitch
        self.of_instance[place] = internal + switching
        self.internal += internal
        self.switching += switching
        self.leakage += float(known.leakage_nw @ share)


def _output_toggles(netlist: Netlist, nets: Nets, counts: Mapping[str, Lanes]) -> NDArray[np.float64]:
    """Mean toggles of the netlist's outputs that each instance drives, itself or over a plain wire."""
    driver = {net: k for k, instance in enumerate(netlist.instances) for _, net in instance.outputs}
    toggles = np.zeros(len(netlist.instances))
    for output in netlist.outputs:
        k = driver.get(output)
        while k is not None and netlist.instances[k].cell == WIRE:
            k = driver.get(netlist.instances[k].inputs[0][1])
        if k is not None:
            toggles[k] += (counts[output] if counts else nets.toggles(output)).mean()
    return toggles


def _alike(netlist: Netlist, library: Library) -> dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[int]]:
    """Places of the instances of each gate, by the pins that are connected; constants, wires, flip-flops left out."""
    groups: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[int]] = {}
    for k, instance in enumerate(netlist.instances):
        if instance.cell not in CONSTANTS and instance.cell != WIRE and not is_flop(instance, library):
            pins, outputs = (tuple(pin for pin, _ in side) for side in (instance.inputs, instance.outputs))
            groups.setdefault((instance.cell, pins, outputs), []).append(k)
    return groups


def _spent(known: Transitions, instances: list[Instance], timing: Timing) -> dict[str | None, NDArray[np.float64]]:
    """Internal energy [fJ] of instances of one cell, by output pin (None: the input pins' own): [instances, T]."""
    spent: dict[str | None, NDArray[np.float64]] = {}
    for output, entries in known.entries.items():
        values = np.empty((len(instances), len(entries)))
        for e, entry in enumerate(entries):
            slews = [timing.slew_ps[dict(i.inputs)[entry.pin]][entry.edge] for i in instances]
            loads = [0.0 if output is None else timing.load_ff[dict(i.outputs)[output]] for i in instances]
            values[:, e] = entry.table.at(np.array(slews), np.array(loads))
        spent[output] = values @ known.weights[output]
    return spent


def _notes(netlist: Netlist, library: Library, vectors: Vectors, dynamic: Lanes) -> Iterable[str]:
    used = [library[name] for name in netlist.cells() if name != "_wire_"]
    if used and not any(pin.powers for cell in used for pin in cell.pins):
        yield _NO_TABLES.format(library.name)
    mean, error = float(dynamic.mean()), vectors.standard_error(dynamic)
    if error > 0.05 * mean > 0:
        yield _FEW.format(vectors.count, 100 * error / mean)


class Nets:
    """Values and toggles of nets as one byte per vector, unpacked when they are first asked for."""

    def __init__(self, before: Mapping[str, Any], after: Mapping[str, Any], count: int):
        self.planes = {"before": before, "after": after}
        self.count = count
        self._known: dict[tuple[str, str], NDArray[np.bool_]] = {}

    def value(self, net: str, when: str) -> NDArray[np.bool_]:
        key = (net, when)
        if key not in self._known:
            bits = np.unpackbits(np.ascontiguousarray(self.planes[when][net]).view(np.uint8), bitorder="little")
            self._known[key] = bits[: self.count].view(bool)
        return self._known[key]

    def toggles(self, net: str) -> NDArray[np.bool_]:
        return self.value(net, "before") ^ self.value(net, "after")

    def transitions(self, instance: Instance) -> NDArray[np.intp]:
        """Each vector's transition of an instance's inputs, numbered as in `tabulated`."""
        bits = [self.value(net, when) for when in ("before", "after") for _, net in instance.inputs]
        kind = np.uint16 if len(bits) <= 16 else np.uint64
        index = np.zeros(self.count, dtype=kind)
        for i, bit in enumerate(bits):
            index |= bit.astype(kind) << kind(i)
        return index.astype(np.intp)
