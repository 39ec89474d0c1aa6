"""Logic against logic by SAT: a mapped netlist against the definition it was made from, and against its RTL.

Both sides become one and-inverter graph (`logic`), every pair of outputs one output that must be 0, and ABC's `&cec`
decides for all inputs at once. It is given plain logic, not cells: what a cell does is read from the library here, as
everywhere. A counterexample is evaluated in the graph before it is believed.

What each proof covers. The definition is the unit's function over Words, run on literals; the netlist is what is
simulated and counted, run on literals by the same code. Equality with the definition thus covers Amaranth, Yosys'
lowering and ABC's mapping at once. Equality with the RTL (the BLIF that Yosys lowered it to, flip-flops taken out)
covers the mapping alone, for every state, also those that never occur. Random vectors repeat both through code that
knows neither graphs nor SAT.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from carrysave.hardware.flops import Machine, flop
from carrysave.hardware.logic import Graph, Literal, code_of, codes_of, of_blif, plane, symbols
from carrysave.hardware.netlist import MismatchError, NetlistError, Planes, simulate
from carrysave.hardware.registers import Cut
from carrysave.hardware.tools import SynthesisError, Tools, ToolTimeout, failure
from carrysave.hardware.units.base import Unit
from carrysave.planes import PlaneWord

SECONDS = 60.0  # for one decision: float32 multiply-accumulate takes 20 s of a core
_CONFLICTS = 100_000  # of the solver at one node of the graph
_GRACE = 30.0  # the time limit inside ABC is approximate


@dataclass(frozen=True)
class Verdict:
    """What SAT found: `equal` is None where it found nothing in time; else `ones`, the inputs at 1 of a difference."""

    equal: bool | None
    ones: frozenset[str] = frozenset()


def decide(stage: str, graph: Graph, differences: Sequence[int], tools: Tools, seconds: float = SECONDS) -> Verdict:
    """Whether all literals `differences` are 0 for all inputs.

    Raises SynthesisError if ABC fails, or gives a counterexample that is none.
    """
    left = list(dict.fromkeys(code for code in differences if code))
    if not left:
        return Verdict(True)
    files = {"logic.blif": graph.blif(left)}
    limit = max(1, int(seconds))  # ABC takes whole seconds
    commands = f"read_blif logic.blif\nstrash\n&get\n&cec -m -T {limit} -C {_CONFLICTS}\n"
    limited = replace(tools, seconds=seconds + _GRACE)
    began = time.monotonic()
    try:
        _, log = limited.run_abc(stage, commands, files, ())
        if re.search(r"^Networks are equivalent", log, re.MULTILINE):
            return Verdict(True)
        if re.search(r"^(Networks are UNDECIDED|Timed out after)", log, re.MULTILINE):
            return Verdict(None)
        if not re.search(r"^Networks are NOT EQUIVALENT", log, re.MULTILINE):
            if time.monotonic() - began >= 0.9 * min(seconds, limit):  # its own limit, reached without a word
                return Verdict(None)
            raise SynthesisError(failure(stage, "it ended without an error and without a verdict", log))
        texts, log = limited.run_abc(stage, f"{commands}write_cex logic.cex\n", files, ("logic.cex",))
    except ToolTimeout:
        return Verdict(None)
    bits = re.match(r"[01]*", texts["logic.cex"])[0]  # type: ignore[index]
    ones = frozenset(name for name, bit in zip(graph.inputs, bits, strict=False) if bit == "1")
    if len(bits) != len(graph.inputs) or not any(graph.values(set(ones), left)):
        raise SynthesisError(failure(stage, "its counterexample is none", log + texts["logic.cex"]))
    return Verdict(False, ones)


@dataclass(frozen=True)
class Pair:
    """One output bit of the netlist and what it must equal, of the definition or the RTL."""

    side: str
    net: str
    netlist: int
    other: int


def compare(unit: Unit, graph: Graph, pairs: Sequence[Pair], tools: Tools, seconds: float) -> tuple[int, int]:
    """(pairs that are equal, all pairs): first all at once, and if that is not decided in time, one after the other.

    Raises MismatchError with the first inputs on which they differ.
    """
    codes = [(Literal(graph, pair.netlist) ^ Literal(graph, pair.other)).code for pair in pairs]
    stage = f"{unit.spec}: comparing logic with ABC"
    verdict = decide(stage, graph, codes, tools, seconds)
    if verdict.equal is None:
        each = [decide(stage, graph, [code], tools, max(1.0, seconds / len(pairs))) for code in codes]
        wrong = [one for one in each if one.equal is False]
        equal = sum(one.equal is True for one in each)
        verdict = wrong[0] if wrong else Verdict(equal == len(pairs) or None)
        if not wrong:
            return equal, len(pairs)
    if not verdict.equal:
        raise MismatchError(_difference(unit, graph, pairs, set(verdict.ones)))
    return len(pairs), len(pairs)


def _difference(unit: Unit, graph: Graph, pairs: Sequence[Pair], ones: set[str]) -> str:
    """The counterexample in a user's words: ports as numbers, flip-flops at 1 by name."""
    got = graph.values(ones, [pair.netlist for pair in pairs])
    want = graph.values(ones, [pair.other for pair in pairs])
    wrong = next(k for k, (one, other) in enumerate(zip(got, want, strict=True)) if one != other)
    side = pairs[wrong].side
    mine = [k for k, pair in enumerate(pairs) if pair.side == side]
    port = _port(pairs[wrong].net)
    values = [_numbers((pairs[k].net, bits[k]) for k in mine)[port] for bits in (got, want)]
    given = _numbers((name, int(name in ones)) for name in graph.inputs if not name.startswith("_q"))
    inputs = ", ".join(f"{name}={value}" for name, value in given.items())
    state = [name for name in graph.inputs if name.startswith("_q")]
    where = f", flip-flops at 1: {', '.join(sorted(ones & set(state))) or 'none'}" if state else ""
    return (
        f"{unit.spec}: SAT finds inputs for which the netlist is something else: it gives {port}={values[0]} "
        f"for {inputs}{where}; its {side} {values[1]}"
    )


def _port(net: str) -> str:
    return re.sub(r"\[\d+\]$", "", net)


def _numbers(bits: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The value of each port from its bits."""
    found: dict[str, int] = {}
    for net, bit in bits:
        place = re.search(r"\[(\d+)\]$", net)
        found[_port(net)] = found.get(_port(net), 0) + (bit << int(place[1]) if place else bit)
    return found


# ---------------------------------------------------------------- combinational units


class Steps(Protocol):
    """What runs cycle by cycle: a mapped netlist of standard cells or of an FPGA."""

    def steps(self, cycles: Iterable[Mapping[str, PlaneWord]], seed: int | None) -> Iterator[dict[str, PlaneWord]]:
        """The outputs of each cycle, from a random start."""
        ...


class Advancing(Steps, Protocol):
    """The same, a cycle at a time: `flops.Machine`, or `fpga_netlist.FpgaNetlist`."""

    def start(self, words: int, seed: int | None) -> dict[str, Planes]:
        """A random state of `words` times 64 lanes, by flip-flop."""
        ...

    def advance(
        self, values: Mapping[str, PlaneWord], state: dict[str, Planes]
    ) -> tuple[dict[str, PlaneWord], dict[str, Planes]]:
        """(outputs, next state) for inputs and a state."""
        ...


def equal_logic(
    unit: Unit, netlist: Advancing, rtl: str | None = None, tools: Tools | None = None, seconds: float = SECONDS
) -> tuple[int, int]:
    """A combinational netlist against its unit's definition, and the RTL lowered to BLIF if given; as `compare`."""
    graph = Graph()
    words = {port: symbols(graph, port, width) for port, width in unit.ports.items()}
    given = {name: Literal(graph, 2 * node) for name, node in graph.inputs.items()}
    got, want = netlist.advance(words, {})[0], unit.evaluate(words)[0]
    lowered = of_blif(rtl, given, graph) if rtl is not None else {}
    pairs = []
    for port, word in got.items():
        nets = [port] if word.width == 1 else [f"{port}[{bit}]" for bit in range(word.width)]
        sides = codes_of(word.planes), codes_of(want[port].planes)
        pairs += [Pair("definition gives", *pair) for pair in zip(nets, *sides, strict=True)]
        if lowered:
            pairs += [Pair("RTL gives", net, one, lowered[net].code) for net, one in zip(nets, sides[0], strict=True)]
    return compare(unit, graph, pairs, tools or Tools.installed(), seconds)


# ---------------------------------------------------------------- between flip-flops


def equal_core(
    unit: Unit, machine: Machine, cut: Cut, tools: Tools | None = None, seconds: float = SECONDS
) -> tuple[int, int]:
    """The logic between a clocked netlist's flip-flops against that of the RTL they were taken out of; as `compare`.

    Raises NetlistError unless both have the same flip-flops.
    """
    graph = Graph()
    shown = [net for _, _, pins in cut.flops for _, net in pins]
    given = {net: graph.input(net) for net in [*cut.inputs, *shown] if net != cut.clock}
    lowered = of_blif(cut.core, given, graph)
    planes = {net: plane(literal) for net, literal in given.items()}
    state = _same_flops(unit, machine, cut, planes)
    clock = {cut.clock: np.zeros(1, dtype=object)}
    nets = simulate(machine.netlist, machine.library, {**planes, **clock}, state)
    ends = {net: nets[net] for net in machine.netlist.outputs}
    ends |= {net: nets[net] for instance, _ in machine.flops for pin, net in instance.inputs if net in lowered}
    sides = {net: (code_of(value[0]), lowered[net].code) for net, value in ends.items()}
    pairs = [Pair("RTL gives", net, *codes) for net, codes in sides.items()]
    return compare(unit, graph, pairs, tools or Tools.installed(), seconds)


def _same_flops(unit: Unit, machine: Machine, cut: Cut, planes: Mapping[str, Planes]) -> dict[str, Planes]:
    """The planes of the nets that flip-flops drive; each must take on and show what its like in the cut does."""
    there = {shown: (cell, dict(data)) for cell, data, shown in cut.flops}
    state = {}
    for instance, entry in machine.flops:
        cell, data = there.pop(instance.outputs, (None, None))
        wires = dict(instance.inputs)
        same = data == {pin: wires[pin] for pin in entry.data_pins}
        if cell is None or not same or entry != replace(flop(machine.library[cell]), cell=entry.cell):
            raise NetlistError(f"{unit.spec}: netlist {machine.netlist.name} has a flip-flop that the RTL has not")
        state |= {net: planes[net] for _, net in instance.outputs}
    if there:
        raise NetlistError(f"{unit.spec}: netlist {machine.netlist.name} lacks {len(there)} flip-flops of the RTL")
    return state
