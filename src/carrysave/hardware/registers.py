"""Designs with registers in standard cells: the logic between the registers is mapped as any other circuit is.

Yosys lowers the RTL and maps its registers onto the library's flip-flops (dfflibmap; resets and enables become gates).
The flip-flops are then taken out, so that what is left is combinational, with an input for each flip-flop's output and
an output for its data pin: every ABC script of `synthesis` works on it unchanged. With the flip-flops put back, each
of the library's drive strengths is tried, and `timing` gives the shortest clock period.

Registers have no power-up value in silicon: RTL that needs one resets.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from carrysave.hardware.flops import flop, plain_flops
from carrysave.hardware.liberty_writer import write_flops
from carrysave.hardware.library import Cell, Library
from carrysave.hardware.netlist import WIRE, Instance, Netlist, logical_lines, sort_topologically, tied
from carrysave.hardware.resizing import resized
from carrysave.hardware.synthesis import (
    FLOW,
    Mapped,
    Synthesis,
    cached_path,
    cached_rows,
    make_core_job,
    pareto_set,
    run_jobs,
)
from carrysave.hardware.timing import analyze
from carrysave.hardware.tools import SynthesisError, Tools
from carrysave.paths import write_atomically

_LOWER = (
    "read_rtlil design.il\nsynth -flatten -noabc\nsetattr -unset init\ndfflegalize -cell $_DFF_P_ x\n"
    "opt -full\ndfflibmap -liberty flops.lib\nopt_clean -purge\nwrite_blif design.blif\n"
)


@dataclass(frozen=True)
class Cut:
    """A lowered design without its flip-flops.

    Attributes:
        core: BLIF of the logic, with the input `_q3_` and the output `_d3_` of the fourth flip-flop.
        flops: (cell, data pins with the core's output net of each, output pins with the core's input net).
        inputs, outputs: of the whole design, the clock among the inputs.
        wires: (source, net) of nets that are other nets or a constant, where the core was freed of them.
    """

    name: str
    core: str
    flops: tuple[tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]], ...]
    clock: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    wires: tuple[tuple[str, str], ...] = ()

    def joined(self, core: Netlist, library: Library, chosen: Callable[[str], str] = str) -> Netlist:
        """The mapped core with the flip-flops put back, each as the cell that `chosen` makes of its own."""
        instances = _without_feedthrough_buffers(core, library)
        instances += [tied(source, net) for source, net in self.wires]
        for name, data, shown in self.flops:
            cell = chosen(name)
            clock = flop(library[cell]).clock
            instances.append(Instance(cell, (*data, (clock, self.clock)), shown))
        order = sort_topologically(instances, self.inputs, self.outputs, library)
        return Netlist(self.name, self.inputs, self.outputs, order)


def _without_feedthrough_buffers(core: Netlist, library: Library) -> list[Instance]:
    """The core's gates; a buffer from an input to an output, which ABC needs, is a wire in the whole design."""
    sources, ends, kept = set(core.inputs), set(core.outputs), []
    for instance in core.instances:
        cell = library.cells.get(instance.cell)
        if cell and len(cell.inputs) == 1 and cell.truth() == (0b10,):
            (_, source), (_, net) = instance.inputs[0], instance.outputs[0]
            if source in sources and net in ends:
                kept.append(Instance(WIRE, (("a", source),), (("z", net),)))
                continue
        kept.append(instance)
    return kept


@dataclass(frozen=True)
class Clocked:
    """What the scripts found for a design with registers; `delay_ps` of its circuits is the shortest clock period."""

    synthesis: Synthesis
    cut: Cut
    core: Synthesis


def synthesize_clocked(
    name: str,
    text: str,
    library: Library,
    scripts: Sequence[str] | None = None,
    effort: str = "normal",
    *,
    tools: Tools | None = None,
) -> Clocked:
    """Map a design with registers, given as RTLIL with one clock; else as `synthesis.synthesize`.

    Raises:
        LibraryError: if the library has no plain flip-flop.
        SynthesisError: as `synthesize`, and for latches, several clocks, or a register that no flip-flop can be.
    """
    return synthesize_clocked_many([(name, text)], library, scripts, effort, tools=tools)[0]


def synthesize_clocked_many(
    designs: Iterable[tuple[str, str]],
    library: Library,
    scripts: Sequence[str] | None = None,
    effort: str = "normal",
    *,
    progress: Callable[[int, int, str], None] | None = None,
    tools: Tools | None = None,
) -> list[Clocked]:
    """`synthesize_clocked` for many (name, RTLIL), all their scripts side by side."""
    tools = tools or Tools.installed()
    smallest = _smallest(library)
    load = smallest.pin(flop(smallest).data_pins[0]).capacitance_ff
    cuts = [lower_clocked(name, text, library, tools) for name, text in designs]
    jobs = [make_core_job(cut.name, cut.core, library, scripts, effort, load, tools) for cut in cuts]
    return [Clocked(joined(cut, core), cut, core) for cut, core in zip(cuts, run_jobs(jobs, progress), strict=True)]


def lower_clocked(name: str, text: str, library: Library, tools: Tools) -> Cut:
    """RTLIL as logic and flip-flops, by Yosys; cached by content."""
    kinds = write_flops(library, [_smallest(library)])
    path = cached_path((FLOW, tools.version, _LOWER, kinds, text))
    known = cached_rows(path)
    if known is None:
        stage = f"{name}: lowering the RTL and mapping its registers with Yosys"
        blif = tools.run_yosys(stage, _LOWER, {"design.il": text, "flops.lib": kinds}, "design.blif")
        cut = cut_registers(name, blif, library)
        write_atomically(path, gzip.compress(json.dumps([{"blif": blif}]).encode(), 3))
        return cut
    return cut_registers(name, known[0]["blif"], library)


def _smallest(library: Library) -> Cell:
    """What registers are mapped onto: inverters at its pins cost less than a larger flip-flop, or nothing."""
    return min(plain_flops(library), key=lambda cell: (cell.area_um2, cell.name))


def cut_registers(name: str, blif: str, library: Library) -> Cut:
    """Take the flip-flops out of a lowered BLIF text. Raises SynthesisError for anything that is no flip-flop."""
    kept, flops, clocks = [], [], set()
    inputs: list[str] = []
    outputs: list[str] = []
    for _, line in logical_lines(blif):
        words = line.split()
        if words[0] == ".inputs":
            inputs += words[1:]
        elif words[0] == ".outputs":
            outputs += words[1:]
        elif words[0] in (".gate", ".subckt") and words[1] in library.cells:
            entry, pins = flop(library[words[1]]), dict(word.split("=", 1) for word in words[2:])
            clocks.add(pins.pop(entry.clock))
            data = tuple((pin, pins[pin]) for pin in entry.data_pins)
            flops.append((words[1], data, tuple((pin, net) for pin, net in pins.items() if pin not in entry.data_pins)))
        elif words[0] in (".latch", ".gate", ".subckt"):
            what = "a latch or register" if words[0] == ".latch" else f"a {words[1]}"
            raise SynthesisError(f"{name}: mapping registers: {what} is left that no flip-flop of the library can be")
        elif words[0] not in (".model", ".end"):
            kept.append(line)
    if len(clocks) != 1 or not clocks <= set(inputs):
        raise SynthesisError(f"{name}: mapping registers: clocked by {sorted(clocks) or 'nothing'}; expected one input")
    (clock,) = clocks
    return _renamed(name, kept, flops, clock, inputs, outputs)


def _renamed(name: str, kept: list[str], flops: list, clock: str, inputs: list[str], outputs: list[str]) -> Cut:
    """Nets of their own between core and flip-flops: one net may feed several of them, or be an output as well."""
    wires, made, ins, outs = [], [], [], []
    for k, (cell, data, shown) in enumerate(flops):
        new_data = tuple((pin, f"_d{k}_" if i == 0 else f"_d{k}_{i}_") for i, (pin, _) in enumerate(data))
        new_shown = tuple((pin, f"_q{k}_" if i == 0 else f"_q{k}_{i}_") for i, (pin, _) in enumerate(shown))
        wires += [f".names {net} {new}\n1 1" for (_, net), (_, new) in zip(data, new_data, strict=True)]
        wires += [f".names {new} {net}\n1 1" for (_, net), (_, new) in zip(shown, new_shown, strict=True)]
        ins += [net for _, net in new_shown]
        outs += [net for _, net in new_data]
        made.append((cell, new_data, new_shown))
    head = [
        f".model {name}",
        f".inputs {' '.join([*(net for net in inputs if net != clock), *ins])}",
        f".outputs {' '.join([*outputs, *outs])}",
    ]
    core = "\n".join([*head, *kept, *wires, ".end", ""])
    return Cut(name, core, tuple(made), clock, tuple(inputs), tuple(outputs))


def joined(cut: Cut, core: Synthesis) -> Synthesis:
    """The circuits of the core with flip-flops of each drive strength, and their periods."""
    library = core.library
    found = [circuit for mapped in core.pareto for circuit in with_flops(cut, mapped, library)]
    return replace(core, pareto=pareto_set(found), found=tuple(found))


def with_flops(cut: Cut, mapped: Mapped, library: Library) -> list[Mapped]:
    """One mapped core with the flip-flops put back: as lowered, and all in each other strength there is."""
    strengths = {name: alike(library[name], library) for name, _, _ in cut.flops}
    found = []
    for k in range(max(len(cells) for cells in strengths.values())):

        def chosen(name: str, k: int = k) -> str:
            return strengths[name][min(k, len(strengths[name]) - 1)]

        netlist = cut.joined(mapped.netlist, library, chosen)
        period = analyze(netlist, library).delay_ps
        script = mapped.script + (f", flip-flops {k + 1}" if k else "")
        found.append(Mapped(script, netlist.area_um2(library), period, netlist))
    return found


def meeting_period(clocked: Clocked, period_ps: float, *, tools: Tools | None = None) -> Mapped | None:
    """The smallest circuit with at most this clock period, its logic sized to it; None where there is none.

    The logic is sized to what the period leaves beside the flip-flops' own times, as little as they took in any circuit
    found, so that some candidates miss the period and are left out. Raises SynthesisError if ABC fails.
    """
    synthesis, core = clocked.synthesis, clocked.core
    known = synthesis.meeting(period_ps)
    if known == synthesis.smallest:
        return known
    delays = {mapped.script: mapped.delay_ps for mapped in core.pareto}
    own = min(m.delay_ps - delays[m.script.split(",")[0]] for m in synthesis.found)
    sized = resized(core, period_ps - own, tools=tools) if period_ps > own else []
    found = [circuit for mapped in sized for circuit in with_flops(clocked.cut, mapped, core.library)]
    met = [circuit for circuit in found if circuit.delay_ps <= period_ps]
    return min([known, *met] if known else met, key=lambda mapped: mapped.area_um2, default=None)


def alike(cell: Cell, library: Library) -> tuple[str, ...]:
    """The plain flip-flops with the pins and the function of `cell`, smallest first."""
    own = flop(cell)

    def function(other: Cell) -> tuple:
        entry = flop(other)
        return entry.clock, entry.data_pins, entry.state, entry.next_state, entry.outputs

    found = [other for other in plain_flops(library) if function(other) == function(cell)]
    names = [other.name for other in sorted(found, key=lambda other: (other.area_um2, other.name))]
    return tuple(names) or (own.cell,)
