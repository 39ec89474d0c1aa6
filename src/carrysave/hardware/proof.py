"""Units against their netlists: on all inputs where they can be enumerated, else on corners and random ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import tee
from typing import Protocol

import numpy as np

from carrysave.hardware.flops import Machine
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import EXHAUSTIVE_BITS, MismatchError, Netlist, NetlistError, ports
from carrysave.hardware.units.base import RESET, Unit, random_word
from carrysave.planes import PlaneWord

VECTORS = 10_000_000
_LANES = 1 << 15  # streams side by side: the planes of a few hundred nets then fit a cache
_CORNER_SHARE = 3  # of eight lanes, how many hold a corner at a port


@dataclass(frozen=True)
class UnitProof:
    """What was run and agreed. `exhaustive`: a proof, for a combinational unit on all its inputs."""

    vectors: int
    exhaustive: bool
    what: str

    def __str__(self) -> str:
        return f"{self.vectors:,} {self.what}, 0 mismatches"


def verify_unit(netlist: Netlist, library: Library, unit: Unit, vectors: int = VECTORS, seed: int = 0) -> UnitProof:
    """Run a netlist against the Python reading of `unit`.

    A combinational unit of up to 20 input bits is run on all inputs. Others are run on random inputs of which at each
    port three in eight are corners (0, ones, powers of two and their neighbours). A clocked unit is run in many streams
    at once whose registers start at random, other ones in the netlist than in the reading; it is reset, and compared
    once it has settled.

    Raises:
        MismatchError: with the first inputs on which they differ.
        NetlistError: if the ports are not those of the unit.
    """
    machine = Machine(netlist, library)
    got, want = machine.inputs | ports(netlist.outputs), unit.ports | unit.outputs
    if got != want:
        raise NetlistError(f"netlist {netlist.name} has ports {got}; {unit.spec} has {want}")
    return verify_steps(machine, unit, vectors, seed)


class Steps(Protocol):
    """What runs cycle by cycle: a mapped netlist of standard cells or of an FPGA."""

    def steps(self, cycles: Iterable[Mapping[str, PlaneWord]], seed: int | None) -> Iterator[dict[str, PlaneWord]]:
        """The outputs of each cycle, from a random start."""
        ...


def verify_steps(machine: Steps, unit: Unit, vectors: int = VECTORS, seed: int = 0) -> UnitProof:
    """`verify_unit` of anything that runs. Raises MismatchError, and NetlistError if the inputs are not the unit's."""
    if unit.clocked:
        return _streams(machine, unit, vectors, seed)
    bits = sum(unit.inputs.values())
    exhaustive = bits <= EXHAUSTIVE_BITS
    count, done = (1 << bits) if exhaustive else vectors, 0
    generator = np.random.default_rng(seed)
    while done < count:
        lanes = min(_LANES, count - done)
        values = _enumerated(unit.inputs, done, lanes) if exhaustive else _mixed(generator, unit.inputs, lanes)
        _compare(unit, next(machine.steps([values], seed)), next(unit.steps([values])), values, "")
        done += lanes
    return UnitProof(count, exhaustive, "inputs, all there are" if exhaustive else "random and corner inputs")


def _streams(machine: Steps, unit: Unit, vectors: int, seed: int) -> UnitProof:
    cycles = max(64, 4 * unit.settling)
    runs = max(1, -(-vectors // (cycles * _LANES)))
    lanes = min(_LANES, max(64, -(-vectors // cycles)))
    compared = 0
    for run in range(runs):
        first, second, shown = tee(_stimuli(unit, cycles + unit.settling + 1, lanes, seed + run), 3)
        netlist, reading = machine.steps(first, seed + 2 * run), unit.steps(second, seed + 2 * run + 1)
        for t, (one, other, values) in enumerate(zip(netlist, reading, shown, strict=True)):
            if t > unit.settling:
                _compare(unit, one, other, values, f" in cycle {t}")
                compared += lanes
    return UnitProof(compared, False, f"random and corner inputs in streams of {cycles} cycles")


def _stimuli(unit: Unit, cycles: int, lanes: int, seed: int) -> Iterator[dict[str, PlaneWord]]:
    """One cycle of reset, then inputs; now and then a later reset, in one lane of sixteen every few cycles."""
    generator = np.random.default_rng(seed)
    for t in range(cycles):
        values = _mixed(generator, unit.inputs, lanes)
        if unit.has_reset:
            some = next(iter(values.values())) if values else PlaneWord.from_ints(np.zeros(lanes), 1)
            rare = random_word(generator, 5, lanes)
            later = rare[0] & rare[1] & rare[2] & rare[3] & rare[4]
            values[RESET] = some.const(1, 1) if t == 0 else later
        yield {port: values[port] for port in unit.ports}


def _mixed(generator: np.random.Generator, widths: Mapping[str, int], lanes: int) -> dict[str, PlaneWord]:
    """Random words, three lanes of eight at each port holding a corner."""
    values = {}
    for port, width in widths.items():
        corners = np.array(_corners(width), dtype=np.uint64 if width <= 64 else object)
        chosen = PlaneWord.from_ints(corners[generator.integers(0, len(corners), lanes)], width)
        tosses = random_word(generator, 3, lanes)
        corner = ~(tosses[2] | (tosses[0] & tosses[1]))  # three of eight
        values[port] = corner.mux(chosen, random_word(generator, width, lanes))
    return values


def _corners(width: int) -> list[int]:
    mask = (1 << width) - 1
    patterns = {v & mask for k in range(width + 1) for v in ((1 << k) - 1, 1 << k, (1 << k) + 1, -(1 << k))}
    return sorted(patterns)


def _enumerated(widths: Mapping[str, int], start: int, lanes: int) -> dict[str, PlaneWord]:
    index = np.arange(start, start + lanes)
    values, low = {}, 0
    for port, width in widths.items():
        values[port] = PlaneWord.from_ints(index >> low, width)
        low += width
    return values


def _compare(
    unit: Unit, got: Mapping[str, PlaneWord], want: Mapping[str, PlaneWord], values: Mapping[str, PlaneWord], when: str
) -> None:
    for port, word in want.items():
        ones, others = got[port].to_ints(), word.to_ints()
        wrong = np.flatnonzero(ones != others)
        if wrong.size:
            k = int(wrong[0])
            inputs = ", ".join(f"{name}={int(value.to_ints()[k])}" for name, value in values.items())
            raise MismatchError(
                f"{unit.spec}: the netlist gives {port}={int(ones[k])} for {inputs}{when}, its definition "
                f"{int(others[k])}; {wrong.size} of {ones.size} lanes differ"
            )
