"""A clocked netlist against its unit's definition in every cycle of every stream, by induction with SAT.

Registers of the definition and flip-flops of the netlist are sorted into classes of those that always agree (or always
differ; or never change), as van Eijk does: classes start from simulated streams and are split where values that agree
in all classes now do not in the next cycle, first by simulation, then by SAT's counterexamples. Proved are then

* the step: where all classes agree, outputs agree, and classes agree in the next cycle, for all inputs;
* the start: from any two states, after the reset and `settling` cycles, classes agree, for all inputs.

Source: C. A. J. van Eijk, "Sequential equivalence checking based on structural similarities", IEEE TCAD 19 (7), 2000.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from carrysave.hardware.equivalence import SECONDS, Advancing, Verdict, decide
from carrysave.hardware.logic import Graph, code_of, plane, symbols
from carrysave.hardware.netlist import Planes
from carrysave.hardware.stimuli import mixed, streams
from carrysave.hardware.tools import Tools
from carrysave.hardware.units.base import RESET, Unit
from carrysave.planes import PlaneWord

State = Mapping[str, Planes]
_CYCLES, _LANES = 64, 1024  # simulated streams from which classes start
_PLANES = 1 << 27  # bytes that these may take: with very many registers there are fewer streams
_QUIET = 6  # rounds of simulation that split nothing, after which SAT is asked
_TURNS = 50  # of simulation and SAT, after which classes are given up
_FALSE = "false"  # the class of what is always 0
NOT_DECIDED = "not decided"
_ONES = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True)
class _Both:
    """Netlist and definition side by side; a state holds the planes of the flip-flops and of all register bits."""

    unit: Unit
    netlist: Advancing

    def start(self, words: int, seed: int) -> dict[str, Planes]:
        generator = np.random.default_rng(seed + 1)
        state = {f"netlist {key}": planes for key, planes in self.netlist.start(words, seed).items()}
        for name, register in self.unit.registers.items():
            for bit in range(register.width):
                state[f"{name}[{bit}]"] = generator.integers(0, 1 << 64, words, dtype=np.uint64)
        return state

    def advance(
        self, values: Mapping[str, PlaneWord], state: State
    ) -> tuple[dict[str, PlaneWord], dict[str, PlaneWord], dict[str, Planes]]:
        """(outputs of the netlist, outputs of the definition, the next state)."""
        lanes = next(iter(values.values())).lanes
        flops = {key.removeprefix("netlist "): p for key, p in state.items() if key.startswith("netlist ")}
        got, after = self.netlist.advance(values, flops)
        words = {
            name: PlaneWord(np.stack([state[f"{name}[{bit}]"] for bit in range(register.width)]), lanes)
            for name, register in self.unit.registers.items()
        }
        want, following = self.unit.evaluate({**values, **words})
        found = {f"netlist {key}": planes for key, planes in after.items()}
        for name, word in following.items():
            found |= {f"{name}[{bit}]": word.planes[bit] for bit in range(word.width)}
        return got, want, found


class _Classes:
    """Which bits of the state agree: each has a class, and a phase (whether it is the class's complement)."""

    def __init__(self, signatures: State):
        self.phase = {key: bool(planes[0] & np.uint64(1)) for key, planes in signatures.items()}
        self.of = dict.fromkeys(signatures, _FALSE)
        self.split(signatures)

    def _true(self, key: str, planes: Planes) -> Planes:
        return ~planes if self.phase[key] else planes

    def split(self, values: State) -> bool:
        """Part what differs in these values, a class keeping the name of its first bit; whether anything did."""
        before, seen = dict(self.of), {}
        for key, name in before.items():
            made = self._true(key, values[key])
            own = _FALSE if name == _FALSE and not made.any() else key
            self.of[key] = seen.setdefault((name, made.tobytes()), own)
        return self.of != before

    def names(self) -> list[str]:
        """The classes, the constant one left out."""
        return [name for name in dict.fromkeys(self.of.values()) if name != _FALSE]

    def state(self, of_class: State, zeros: Planes) -> dict[str, Planes]:
        """A state that agrees in all classes, from a plane for each but the constant one."""
        return {key: self._true(key, of_class.get(name, zeros)) for key, name in self.of.items()}

    def differences(self, state: State) -> list[int]:
        """Literals that are 1 where bits of a class do not agree."""
        first: dict[str, Planes] = {_FALSE: np.zeros(1, dtype=object)}
        found = []
        for key, name in self.of.items():
            made = self._true(key, state[key])
            found.append(code_of((first.setdefault(name, made) ^ made)[0]))
        return found


@dataclass(frozen=True)
class Induction:
    """What was proved: the step, and with it the start; and why not both.

    A reason is no proof of the opposite: SAT may not decide in time, or know too little of which states occur.
    """

    step: bool
    start: bool
    why: str = ""


def induction(unit: Unit, netlist: Advancing, tools: Tools | None = None, seconds: float = SECONDS) -> Induction:
    """A clocked netlist against its unit's definition, cycle by cycle.

    Registers that nothing sets within `settling` cycles, such as the words of a memory, leave the start open: netlist
    and definition then agree from the first cycle on in which their registers do.
    """
    both, tools = _Both(unit, netlist), tools or Tools.installed()
    classes, step, why = _Classes(_signatures(both)), False, f"no classes that last were found in {_TURNS} turns"
    for turn in range(_TURNS):
        _simulate(both, classes, turn)
        verdict, values = _step(both, classes, tools, seconds)
        if verdict.equal:
            step = True
            verdict, values = _start(both, classes, tools, seconds)
        if verdict.equal:
            return Induction(True, True)
        if verdict.equal is None:
            return Induction(step, False, f"{NOT_DECIDED} in {seconds:g} s")
        if not classes.split(values):
            later = (
                f"a register, such as a word of a memory, is set later than {unit.settling + 1} cycles after a reset"
            )
            why = later if step else "outputs differ in a state that may never occur"
            break
    return Induction(step, False, why)


def _signatures(both: _Both) -> dict[str, Planes]:
    """The planes of each bit of the state over the second half of simulated streams, when most words of memories have
    been written."""
    settling = both.unit.settling
    bits = len(both.start(1, 0))
    lanes = max(64, min(_LANES, _PLANES // (bits * _CYCLES * 8) * 64))
    state, seen = both.start(lanes // 64, 0), []
    for t, values in enumerate(streams(both.unit, settling + 1 + _CYCLES, lanes, 1)):
        if t > settling + _CYCLES // 2:
            seen.append(state)
        state = both.advance(values, state)[2]
    return {key: np.concatenate([moment[key] for moment in seen]) for key in state}


def _simulate(both: _Both, classes: _Classes, seed: int) -> None:
    """Split classes by the cycles that follow random states in which they agree, until none has split for a while."""
    generator, quiet, words = np.random.default_rng(seed), 0, _LANES // 64
    while quiet < _QUIET:
        values = mixed(generator, both.unit.ports, _LANES)
        planes = _biased(generator, len(classes.names()), words)
        state = classes.state(dict(zip(classes.names(), planes, strict=True)), np.zeros(words, dtype=np.uint64))
        quiet = 0 if classes.split(both.advance(values, state)[2]) else quiet + 1


def _biased(generator: np.random.Generator, count: int, words: int) -> Planes:
    """Random planes of which some are nearly all ones or zeros in some words: long carries then do occur."""
    tosses = generator.integers(0, 1 << 64, (5, count, words), dtype=np.uint64)
    ones, zeros = np.bitwise_or.reduce(tosses), np.bitwise_and.reduce(tosses)
    return np.choose(np.arange(words) % 4, [tosses[0], ones, zeros, tosses[0] | tosses[1]])


def _step(both: _Both, classes: _Classes, tools: Tools, seconds: float) -> tuple[Verdict, dict[str, Planes]]:
    """Whether agreement and equal outputs follow from agreement, and else a next state that disagrees."""
    graph = Graph()
    words = {port: symbols(graph, port, width) for port, width in both.unit.ports.items()}
    free = {name: plane(graph.input(f"class {name}")) for name in classes.names()}
    got, want, after = both.advance(words, classes.state(free, np.zeros(1, dtype=object)))
    outputs = [
        code_of((one ^ other)[0])
        for port, word in want.items()
        for one, other in zip(got[port].planes, word.planes, strict=True)
    ]
    return _decided(both, graph, [*outputs, *classes.differences(after)], after, tools, seconds)


def _start(both: _Both, classes: _Classes, tools: Tools, seconds: float) -> tuple[Verdict, dict[str, Planes]]:
    """Whether all states agree after the reset and settling, and else one that does not."""
    graph, unit = Graph(), both.unit
    state = {key: plane(graph.input(key)) for key in classes.of}
    for t in range(unit.settling + 1):
        words = {port: symbols(graph, f"{port} in cycle {t}", width) for port, width in unit.ports.items()}
        if unit.has_reset and t == 0:
            words[RESET] = PlaneWord(~np.zeros((1, 1), dtype=np.uint64), 1)
        state = both.advance(words, state)[2]
    return _decided(both, graph, classes.differences(state), state, tools, seconds)


def _decided(
    both: _Both, graph: Graph, differences: list[int], state: State, tools: Tools, seconds: float
) -> tuple[Verdict, dict[str, Planes]]:
    verdict = decide(f"{both.unit.spec}: induction with ABC", graph, differences, tools, seconds)
    if verdict.equal is not False:
        return verdict, {}
    bits = graph.values(set(verdict.ones), [code_of(planes[0]) for planes in state.values()])
    return verdict, {
        key: np.array([_ONES if bit else 0], dtype=np.uint64) for key, bit in zip(state, bits, strict=True)
    }
