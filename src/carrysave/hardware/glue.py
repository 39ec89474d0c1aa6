"""The glue of an assembly in standard cells: mostly wires between parts, which are no gates, and some logic.

ABC would put a buffer into every wire from an input to an output, so the wires are taken out before it maps what is
left. They are put back as wires; where one net feeds many places, as a tree of buffers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from carrysave.hardware.flat import port_nets
from carrysave.hardware.liberty_writer import worst_arc
from carrysave.hardware.library import Cell, Library
from carrysave.hardware.netlist import (
    CONSTANTS,
    WIRE,
    Instance,
    Netlist,
    logical_lines,
    sort_topologically,
    tied,
)
from carrysave.hardware.proof import VECTORS, UnitProof, prove_unit
from carrysave.hardware.registers import Clocked, Cut, joined, lower_clocked, meeting_period
from carrysave.hardware.resizing import meeting
from carrysave.hardware.rtl import module_name
from carrysave.hardware.synthesis import Mapped, Synthesis, lower, make_core_job, run_jobs
from carrysave.hardware.tools import Tools
from carrysave.hardware.units.assembly import Glue

FANOUT = 12  # places that one gate feeds before buffers are put in
_CLOSE = 1.25  # a buffer whose delay under that load is within this factor of the fastest one's is fast enough
_CONSTANT_ROWS = {(): "_const0_", ("1",): "_const1_"}


@dataclass(frozen=True)
class Stripped:
    """A BLIF text without outputs that are wires.

    Attributes:
        core: what is left, as BLIF; None if nothing is.
        wires: (source, output): an input, another output, or a constant.
    """

    core: str | None
    wires: tuple[tuple[str, str], ...]


def strip_wires(blif: str) -> Stripped:
    """Take outputs that equal an input, an earlier output or a constant out of a BLIF text of `.names` tables."""
    name, inputs, outputs = "", [], []
    tables: dict[str, tuple[tuple[str, ...], list[str]]] = {}
    rows: list[str] = []
    for _, line in logical_lines(blif):
        words = line.split()
        if words[0] == ".model":
            name = words[1]
        elif words[0] in (".inputs", ".outputs"):
            (inputs if words[0] == ".inputs" else outputs).extend(words[1:])
        elif words[0] == ".names":
            rows = []
            tables[words[-1]] = (tuple(words[1:-1]), rows)
        elif not words[0].startswith("."):
            rows.append(line)

    def root(net: str) -> str:
        while net in tables and len(tables[net][0]) == 1 and tables[net][1] == ["1 1"]:
            (net,) = tables[net][0]
        if net in tables and not tables[net][0]:
            return _CONSTANT_ROWS[tuple(tables[net][1])]
        return net

    known = {net: net for net in [*inputs, *CONSTANTS]}
    kept, wires = [], []
    for net in outputs:
        source = root(net)
        if source in known:
            wires.append((known[source], net))
        else:
            known[source] = net
            kept.append(net)
    if not kept:
        return Stripped(None, tuple(wires))
    lines, waiting, done = [], list(kept), set(inputs)
    while waiting:
        net = waiting.pop()
        if net not in done:
            done.add(net)
            sources, of_net = tables[net]
            lines += [f".names {' '.join((*sources, net))}", *of_net]
            waiting += sources
    head = [f".model {name}", f".inputs {' '.join(inputs)}", f".outputs {' '.join(kept)}"]
    return Stripped("\n".join([*head, *lines, ".end", ""]), tuple(wires))


@dataclass(frozen=True)
class GlueSynthesis:
    """What the scripts found for a glue, freed of its wires; `clocked` if it has registers.

    `rtl` is what it is proved against: the BLIF that Yosys lowered it to, with registers the whole `Cut`.
    """

    unit: Glue
    library: Library
    synthesis: Synthesis
    wires: tuple[tuple[str, str], ...]
    clocked: Clocked | None
    rtl: str | Cut
    tools: Tools

    def prove(self, mapped: Mapped, vectors: int = VECTORS) -> UnitProof:
        """Prove one of the circuits that `at` gives; cached. Raises as `proof.prove_unit`."""
        few = self.unit.vectors(vectors)
        return prove_unit(self.unit, mapped.netlist, self.library, self.rtl, few, tools=self.tools)

    @property
    def wires_only(self) -> bool:
        """Whether there is no gate in it, registers apart."""
        core = self.clocked.core if self.clocked else self.synthesis
        return not any(mapped.netlist.instances for mapped in core.found)

    def at(self, period_ps: float) -> Mapped | None:
        """The smallest circuit that meets a period (unloaded), its wires and their buffers put in; None without one."""
        if self.wires_only:
            found = self.synthesis.meeting(period_ps)
        else:
            found = meeting_period(self.clocked, period_ps) if self.clocked else meeting(self.synthesis, period_ps)
        if found is None:
            return None
        netlist = buffered(found.netlist if self.clocked else self._whole(found.netlist), self.library)
        return replace(found, netlist=netlist, area_um2=netlist.area_um2(self.library))

    def _whole(self, core: Netlist) -> Netlist:
        inputs, outputs = port_nets(self.unit.ports), port_nets(self.unit.outputs)
        instances = [*core.instances, *(tied(source, net) for source, net in self.wires)]
        return Netlist(core.name, inputs, outputs, sort_topologically(instances, inputs, outputs, self.library))


def synthesize_glue(glue: Glue, library: Library, effort: str, tools: Tools | None = None) -> GlueSynthesis:
    """Map the logic of a glue. Raises SynthesisError as `synthesis.synthesize` and `registers.synthesize_clocked`."""
    tools = tools or Tools.installed()
    name = f"{module_name(glue.of.spec)}_glue"
    text = glue.circuit(name).rtlil()
    if not glue.clocked:
        rtl = lower(name, text, tools)
        stripped = strip_wires(rtl)
        logic = _mapped(name, stripped, library, effort, tools)
        return GlueSynthesis(glue, library, logic, stripped.wires, None, rtl, tools)
    cut = lower_clocked(name, text, library, tools)
    stripped = strip_wires(cut.core)
    core = _mapped(name, stripped, library, effort, tools)
    freed = replace(cut, wires=stripped.wires)
    whole = joined(freed, core)
    return GlueSynthesis(glue, library, whole, stripped.wires, Clocked(whole, freed, core), cut, tools)


def _mapped(name: str, stripped: Stripped, library: Library, effort: str, tools: Tools) -> Synthesis:
    if stripped.core is None:
        nothing = (Mapped("wires", 0.0, 0.0, Netlist(name, (), (), ())),)
        return Synthesis(name, library, nothing, nothing)
    return run_jobs([make_core_job(name, stripped.core, library, None, effort, 0.0, tools)])[0]


# ---------------------------------------------------------------- nets that feed many places


def buffered(netlist: Netlist, library: Library) -> Netlist:
    """The netlist with trees of buffers where a gate or flip-flop feeds more than `FANOUT` outputs through wires.

    Inputs are not buffered: what drives them is outside, as strong as it has to be.
    """
    outputs, sources = set(netlist.outputs), {*netlist.inputs}
    aliases = {i.outputs[0][1]: i.inputs[0][1] for i in netlist.instances if i.cell == WIRE}
    tied_to = {i.outputs[0][1] for i in netlist.instances if i.cell in CONSTANTS}
    ends: dict[str, list[str]] = {}
    for net in aliases:
        root = net
        while root in aliases:
            root = aliases[root]
        if net in outputs and root not in sources and root not in tied_to:
            ends.setdefault(root, []).append(net)
    wide = {root: nets for root, nets in ends.items() if len(nets) > FANOUT}
    if not wide:
        return netlist
    fed = {net for nets in wide.values() for net in nets}
    made = [i for i in netlist.instances if not (i.cell == WIRE and i.outputs[0][1] in fed)]
    for root, nets in wide.items():
        made += _tree(root, nets, fastest_buffer(library))
    order = sort_topologically(made, netlist.inputs, netlist.outputs, library)
    return replace(netlist, instances=order)


def _tree(root: str, nets: list[str], cell: Cell) -> list[Instance]:
    """Buffers from `root` to `nets`, none of which feeds more than `FANOUT`."""
    (taken,), (given,) = cell.inputs, cell.outputs
    made: list[Instance] = []
    ends: list[list[str]] = [nets[k : k + FANOUT] for k in range(0, len(nets), FANOUT)]
    level = 0
    while True:
        sources = [f"_fan{level}_{root}_{k}" for k in range(len(ends))]
        for source, group in zip(sources, ends, strict=True):
            made += [tied(source, net) for net in group]
        if len(ends) <= FANOUT:
            return made + [Instance(cell.name, ((taken.name, root),), ((given.name, s),)) for s in sources]
        inner = [f"_in{level}_{root}_{k}" for k in range(len(ends))]
        made += [
            Instance(cell.name, ((taken.name, i),), ((given.name, s),)) for i, s in zip(inner, sources, strict=True)
        ]
        ends = [inner[k : k + FANOUT] for k in range(0, len(inner), FANOUT)]
        level += 1


@lru_cache(maxsize=4)
def fastest_buffer(library: Library) -> Cell:
    """The smallest buffer that is nearly as fast as any under `FANOUT` average input pins."""
    pins = [pin.capacitance_ff for cell in library.combinational() for pin in cell.inputs]
    load = FANOUT * sum(pins) / len(pins)
    delays = {}
    for cell in library.combinational():
        if len(cell.inputs) == len(cell.outputs) == 1 and cell.truth() == (0b10,):
            arc = worst_arc(cell.outputs[0].arcs, cell.inputs[0].name)
            if arc is not None:
                delays[cell] = max(arc.tables[f"cell_{edge}"].point(0.0, load) for edge in ("rise", "fall"))
    fast = [cell for cell, delay in delays.items() if delay <= _CLOSE * min(delays.values())]
    return min(fast, key=lambda cell: (cell.area_um2, cell.name))
