"""Units against their netlists: run on all inputs where they can be enumerated, else on corners and random ones, and
decided by SAT; each cached by the content of all that it depends on.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache, lru_cache
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np

from carrysave import bits, planes
from carrysave.hardware.equivalence import SECONDS, Advancing, Steps, equal_core, equal_logic
from carrysave.hardware.flops import Machine
from carrysave.hardware.induction import NOT_DECIDED, induction
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import EXHAUSTIVE_BITS, MismatchError, Netlist, NetlistError, ports
from carrysave.hardware.registers import Cut
from carrysave.hardware.stimuli import enumerated, mixed, streams
from carrysave.hardware.synthesis import cached_rows
from carrysave.hardware.tools import Tools
from carrysave.hardware.units.base import Unit
from carrysave.paths import cache_dir, write_atomically
from carrysave.planes import PlaneWord

VECTORS = 10_000_000
_LANES = 1 << 15  # streams side by side: the planes of a few hundred nets then fit a cache
_CODE = ("equivalence", "flops", "fpga_netlist", "functions", "induction", "logic", "netlist", "proof", "stimuli")


@dataclass(frozen=True)
class UnitProof:
    """What was run and agreed, and what SAT decided.

    Attributes:
        exhaustive: whether the vectors were all inputs of a combinational unit.
        what: what the vectors were.
        logic: what was proved by SAT, or not decided, in words (`equivalence` says what each covers).
    """

    vectors: int
    exhaustive: bool
    what: str
    logic: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "; ".join([f"{self.vectors:,} {self.what}, 0 mismatches", *self.logic])

    def beside(self, other: UnitProof, name: str) -> UnitProof:
        """This proof, and what is different in that of a second circuit, called `name`."""
        if other == self:
            return self
        return replace(self, logic=(*self.logic, f"{name}: {other}"))


def verified(netlist: Netlist, library: Library, unit: Unit, vectors: int = VECTORS) -> UnitProof:
    """`verify_unit`, or what it found for the same content before."""
    return _Kept(unit, (netlist.blif(), library.digest)).vectors(
        vectors, lambda: verify_unit(netlist, library, unit, vectors)
    )


def prove_unit(
    unit: Unit,
    netlist: Netlist,
    library: Library,
    rtl: str | Cut,
    vectors: int = VECTORS,
    *,
    tools: Tools | None = None,
    seconds: float = SECONDS,
) -> UnitProof:
    """`verify_unit`, then the same and the netlist's RTL by SAT, for all inputs and states.

    Args:
        rtl: the BLIF that Yosys lowered the unit's RTL to; of a clocked unit, what `registers.lower_clocked` made.
        seconds: time limit of each decision; what is not decided is said, and asked again under another limit alone.

    Raises:
        MismatchError: with the first inputs, or those that SAT found, on which they differ.
        NetlistError: if the ports or the flip-flops are not those of the unit.
        SynthesisError: if ABC fails.
    """
    tools = tools or Tools.installed()
    proof = verified(netlist, library, unit, vectors)
    kept, machine = _Kept(unit, (netlist.blif(), library.digest)), Machine(netlist, library)
    if isinstance(rtl, str):
        found = kept.decided(
            ("definition and RTL", rtl, tools.version),
            seconds,
            lambda: _said(equal_logic(unit, machine, rtl, tools, seconds), "definition and RTL", "inputs", seconds),
        )
        return replace(proof, logic=(found,))
    core = kept.decided(
        ("core", rtl.core, repr(rtl.flops), tools.version),
        seconds,
        lambda: _said(equal_core(unit, machine, rtl, tools, seconds), "that of the RTL", "inputs and states", seconds),
    )
    return replace(proof, logic=(core, _by_induction(kept, unit, machine, tools, seconds)))


def prove_steps(
    unit: Unit,
    netlist: Advancing,
    text: str,
    vectors: int = VECTORS,
    *,
    tools: Tools | None = None,
    seconds: float = SECONDS,
) -> UnitProof:
    """`verify_steps`, then the same by SAT, of a netlist that its text determines. Raises as `prove_unit`."""
    tools = tools or Tools.installed()
    kept = _Kept(unit, (text,))
    proof = kept.vectors(vectors, lambda: verify_steps(netlist, unit, vectors))
    if unit.clocked:
        return replace(proof, logic=(_by_induction(kept, unit, netlist, tools, seconds),))
    found = kept.decided(
        ("definition", tools.version),
        seconds,
        lambda: _said(equal_logic(unit, netlist, None, tools, seconds), "the definition", "inputs", seconds),
    )
    return replace(proof, logic=(found,))


def _by_induction(kept: _Kept, unit: Unit, netlist: Advancing, tools: Tools, seconds: float) -> str:
    def decide() -> tuple[str, bool]:
        found = induction(unit, netlist, tools, seconds)
        if found.start:
            return "equal to its definition by SAT and induction, in all streams", True
        text = f"induction by SAT: {found.why}"
        if found.step:
            text = f"equal to its definition by SAT in all streams once registers agree; open is when: {found.why}"
        return text, not found.why.startswith(NOT_DECIDED)  # which may be otherwise next time

    return kept.decided(("induction", tools.version), seconds, decide)


def _said(equal: tuple[int, int], what: str, of: str, seconds: float) -> tuple[str, bool]:
    """(what SAT found, whether that is everything)."""
    decided, total = equal
    if decided == total:
        return f"logic equal to {what} by SAT, all {of}", True
    share = f"{decided} of {total} comparisons of single bits, the others not decided in {seconds:g} s"
    return f"logic equal to {what} by SAT, all {of}, in {share}", False


class _Kept:
    """Proofs of one netlist of one unit in the cache: looked up by content, written once they have succeeded."""

    def __init__(self, unit: Unit, netlist: tuple[str, ...]):
        self.parts = (_code(), rtlil_of(unit), repr((unit.spec, unit.settling, unit.registers)), *netlist)

    def vectors(self, vectors: int, compute: Callable[[], UnitProof]) -> UnitProof:
        """What `compute` proves, or did before. Its errors go through, and nothing is kept."""
        path = self._path("vectors", str(vectors))
        known = cached_rows(path)
        if known is not None:
            return UnitProof(**{**known[0], "logic": ()})
        proof = compute()
        _keep(path, asdict(proof))
        return proof

    def decided(self, parts: tuple[str, ...], seconds: float, compute: Callable[[], tuple[str, bool]]) -> str:
        """The text of what `compute` decides, or did before. What it leaves open is kept for this time limit alone."""
        paths = self._path(*parts), self._path(*parts, f"open after {seconds:g} s")
        for path in paths:
            known = cached_rows(path)
            if known is not None:
                return known[0]["text"]
        text, whole = compute()
        _keep(paths[0] if whole else paths[1], {"text": text})
        return text

    def _path(self, *parts: str) -> Path:
        digest = hashlib.sha256("\0".join((*self.parts, *parts)).encode()).hexdigest()
        return cache_dir() / "proofs" / digest[:2] / f"{digest}.json.gz"


@lru_cache(maxsize=64)
def rtlil_of(unit: Unit) -> str:
    """A unit's RTL, made once: for a large one it takes a second."""
    return unit.circuit().rtlil()


def _keep(path: Path, row: Mapping[str, Any]) -> None:
    write_atomically(path, gzip.compress(json.dumps([row]).encode(), 3))


@cache
def _code() -> str:
    """SHA-256 of the code that proves, and runs what is proved: another one has to prove everything anew."""
    here = Path(__file__).parent
    files = [*(here / f"{name}.py" for name in _CODE), here / "units" / "base.py", bits.__file__, planes.__file__]
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()


# ---------------------------------------------------------------- vectors


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
        values = enumerated(unit.inputs, done, lanes) if exhaustive else mixed(generator, unit.inputs, lanes)
        _compare(unit, next(machine.steps([values], seed)), next(unit.steps([values])), values, "")
        done += lanes
    return UnitProof(count, exhaustive, "inputs, all there are" if exhaustive else "random and corner inputs")


def _streams(machine: Steps, unit: Unit, vectors: int, seed: int) -> UnitProof:
    cycles = max(64, 4 * unit.settling)
    runs = max(1, -(-vectors // (cycles * _LANES)))
    lanes = min(_LANES, max(64, -(-vectors // cycles)))
    compared = 0
    for run in range(runs):
        first, second, shown = tee(streams(unit, cycles + unit.settling + 1, lanes, seed + run), 3)
        netlist, reading = machine.steps(first, seed + 2 * run), unit.steps(second, seed + 2 * run + 1)
        for t, (one, other, values) in enumerate(zip(netlist, reading, shown, strict=True)):
            if t > unit.settling:
                _compare(unit, one, other, values, f" in cycle {t}")
                compared += lanes
    return UnitProof(compared, False, f"random and corner inputs in streams of {cycles} cycles")


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
