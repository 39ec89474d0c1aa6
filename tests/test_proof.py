"""Proofs in the cache: found again by content, written whole or not at all, and never met by another definition."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from carrysave.bits import fit
from carrysave.hardware import proof
from carrysave.hardware.cells import compact_library
from carrysave.hardware.fpga import synthesize_fpga
from carrysave.hardware.netlist import MismatchError
from carrysave.hardware.proof import UnitProof, prove_steps, prove_unit, verified
from carrysave.hardware.registers import synthesize_clocked
from carrysave.hardware.synthesis import lower, synthesize_rtlil
from carrysave.hardware.tools import SynthesisError, Tools
from carrysave.hardware.unit_cost import synthesize_units
from carrysave.hardware.units import UNITS, Register, Unit

CELLS = compact_library()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(cache: Path) -> list[Path]:
    """Everything that lies in the folder of proofs, temporary files included."""
    return [path for path in (cache / "proofs").rglob("*") if path.is_file()]


@dataclass(frozen=True, kw_only=True)
class Sum(Unit):
    """Two numbers, added: too wide to be enumerated."""

    name = "sum_of_two"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"a": 11, "b": 11}

    @property
    def spec(self) -> str:
        return "sum_of_two"

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"y": values["a"] + values["b"]}


@dataclass(frozen=True, kw_only=True)
class Counter(Sum):
    @property
    def inputs(self) -> Mapping[str, int]:
        return {"a": 2}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"sum": Register(4, reset=0)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"y": values["sum"], "sum": fit(values["sum"] + values["a"], 4)}


def mapped(unit: Unit) -> tuple[Any, Any]:
    """(netlist, what the RTL was lowered to)."""
    text = unit.circuit("u").rtlil()
    if unit.clocked:
        found = synthesize_clocked("u", text, CELLS, ["balanced"], "quick")
        return found.synthesis.smallest.netlist, found.cut
    found = synthesize_rtlil("u", text, CELLS, ["balanced"], "quick")
    return found.smallest.netlist, lower("u", text, Tools.installed())


def no_work(*arguments: Any, **options: Any) -> Any:
    raise AssertionError("this was proved before")


def broken(program: str) -> Tools:
    return replace(Tools.installed(), abc=(sys.executable, "-c", program))


@pytest.mark.parametrize("unit", [Sum(), Counter()], ids=["combinational", "clocked"])
def test_what_was_proved_is_not_proved_again(unit: Unit, cache: Path, monkeypatch: pytest.MonkeyPatch):
    netlist, rtl = mapped(unit)
    first = prove_unit(unit, netlist, CELLS, rtl, 5_000)
    kept = len(entries(cache))
    assert kept == (3 if unit.clocked else 2)
    for name in ("verify_unit", "equal_logic", "equal_core", "induction"):
        monkeypatch.setattr(proof, name, no_work)
    assert prove_unit(unit, netlist, CELLS, rtl, 5_000) == first
    assert len(entries(cache)) == kept
    for other in ((unit, netlist, CELLS, rtl, 6_000), (unit, netlist, replace(CELLS, digest="x"), rtl, 5_000)):
        with pytest.raises(AssertionError, match="this was proved before"):
            prove_unit(*other)
    monkeypatch.setattr(proof, "_code", lambda: "other code")
    with pytest.raises(AssertionError, match="this was proved before"):
        prove_unit(unit, netlist, CELLS, rtl, 5_000)
    assert len(entries(cache)) == kept


def test_what_a_proof_says():
    unit = Sum()
    said = str(prove_unit(unit, *mapped(unit)[:1], CELLS, mapped(unit)[1], 5_000))
    assert said == (
        "5,000 random and corner inputs, 0 mismatches; logic equal to definition and RTL by SAT, all inputs"
    )
    counter = Counter()
    netlist, cut = mapped(counter)
    said = str(prove_unit(counter, netlist, CELLS, cut, 5_000))
    assert (
        "in streams of 64 cycles, 0 mismatches; logic equal to that of the RTL by SAT, all inputs and states; " in said
    )
    assert said.endswith("; equal to its definition by SAT and induction, in all streams")
    one, other = UnitProof(5, False, "inputs", ("a",)), UnitProof(6, False, "inputs", ("b",))
    assert str(one.beside(other, "the fastest")) == (
        "5 inputs, 0 mismatches; a; the fastest: 6 inputs, 0 mismatches; b"
    )
    assert one.beside(one, "the fastest") == one


def test_a_changed_definition_does_not_meet_an_old_entry(cache: Path):
    """The netlist is as before, and so are spec and name; what the unit is has changed."""
    netlist, rtl = mapped(Sum())
    assert prove_unit(Sum(), netlist, CELLS, rtl, 5_000).vectors == 5_000
    before = entries(cache)

    class Changed(Sum):
        def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"y": values["b"] + (values["a"] ^ values["a"].const(1 << 10, 11))}

    with pytest.raises(MismatchError, match="sum_of_two: the netlist gives y="):
        prove_unit(Changed(), netlist, CELLS, rtl, 5_000)
    with pytest.raises(MismatchError, match="sum_of_two: the netlist gives y="):
        verified(netlist, CELLS, Changed(), 5_000)
    assert entries(cache) == before

    class Slower(Counter):
        settling = 2  # type: ignore[assignment]

    netlist, cut = mapped(Counter())
    prove_unit(Counter(), netlist, CELLS, cut, 5_000)
    before = entries(cache)
    prove_unit(Slower(), netlist, CELLS, cut, 5_000)
    assert len(entries(cache)) == len(before) + 3


def test_what_vectors_miss_sat_finds(cache: Path):
    """A netlist that is wrong for one pair of operands in four million."""

    class Almost(Sum):
        def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
            a, b = values["a"], values["b"]
            rare = a[0]
            for bit, one in [*zip(a, "11010011010", strict=True), *zip(b, "01101001011", strict=True)]:
                rare = rare & (bit if one == "1" else ~bit)
            return {"y": (a + b) ^ fit(rare, 12)}

    netlist, _ = mapped(Almost())
    rtl = mapped(Sum())[1]
    a, b = int("01011001011", 2), int("11010010110", 2)
    with pytest.raises(MismatchError, match=f"SAT finds inputs .* for a={a}, b={b}; its definition gives {a + b}"):
        prove_unit(Sum(), netlist, CELLS, rtl, 5_000)
    assert len(entries(cache)) == 1  # the vectors did agree


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; print('half-way'); sys.exit(7)", "it ended with status 7. Its last lines:\n    half-way"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it was ended by signal SIGKILL"),
        ("print('what?')", "it ended without an error and without a verdict"),
    ],
)
def test_an_abc_that_fails_leaves_no_proof(program: str, message: str, cache: Path):
    netlist, rtl = mapped(Sum())
    with pytest.raises(SynthesisError, match=f"^sum_of_two: comparing logic with ABC: {message}") as caught:
        prove_unit(Sum(), netlist, CELLS, rtl, 5_000, tools=broken(program))
    assert "reinstall pyosys" in str(caught.value)
    assert len(entries(cache)) == 1  # what ran on vectors, whole
    netlist, cut = mapped(Counter())
    with pytest.raises(SynthesisError, match="sum_of_two: comparing logic with ABC"):
        prove_unit(Counter(), netlist, CELLS, cut, 5_000, tools=broken(program))
    assert len(entries(cache)) == 2


def test_what_is_not_decided_is_said_and_asked_again_under_another_limit(cache: Path):
    netlist, rtl = mapped(Sum())
    undecided = broken("print('Networks are UNDECIDED.')")
    text = str(prove_unit(Sum(), netlist, CELLS, rtl, 5_000, tools=undecided, seconds=3.0))
    assert "the others not decided in 3 s" in text and " of 24 comparisons of single bits" in text
    dead = broken("raise SystemExit(1)")
    assert str(prove_unit(Sum(), netlist, CELLS, rtl, 5_000, tools=dead, seconds=3.0)) == text
    with pytest.raises(SynthesisError, match="ended with status 1"):
        prove_unit(Sum(), netlist, CELLS, rtl, 5_000, tools=dead, seconds=4.0)
    assert len(entries(cache)) == 2  # what ran on vectors, and what is open after 3 s
    assert "not decided" not in str(prove_unit(Sum(), netlist, CELLS, rtl, 5_000))
    netlist, cut = mapped(Counter())
    assert "induction by SAT: not decided in 3 s" in str(
        prove_unit(Counter(), netlist, CELLS, cut, 5_000, tools=undecided, seconds=3.0)
    )
    assert "not decided" not in str(prove_unit(Counter(), netlist, CELLS, cut, 5_000))


def test_a_damaged_entry_is_proved_again(cache: Path):
    netlist, rtl = mapped(Sum())
    first = prove_unit(Sum(), netlist, CELLS, rtl, 5_000)
    for path in entries(cache):
        path.write_bytes(path.read_bytes()[:9])
    assert prove_unit(Sum(), netlist, CELLS, rtl, 5_000) == first


def test_fpga_netlists_are_proved_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch):
    unit = UNITS.parse("rccm:topology_a,n=4")
    netlist = synthesize_fpga("u", unit.circuit("u").rtlil(), "xcup")
    first = prove_steps(unit, netlist, "its text")
    assert str(first).endswith("0 mismatches; logic equal to the definition by SAT, all inputs")
    monkeypatch.setattr(proof, "verify_steps", no_work)
    monkeypatch.setattr(proof, "equal_logic", no_work)
    assert prove_steps(unit, netlist, "its text") == first
    with pytest.raises(AssertionError, match="this was proved before"):
        prove_steps(unit, netlist, "another text")


def test_the_cost_of_a_unit_is_proved_with_the_tools_it_was_made_with(cache: Path):
    (found,) = synthesize_units([UNITS.parse("rccm:2add,n=3")], effort="quick")
    with pytest.raises(SynthesisError, match="rccm:2add,n=3: comparing logic with ABC: it ended with status 2"):
        replace(found, tools=broken("import sys; sys.exit(2)")).cost(1_000)
    cost = found.cost(1_000)
    assert "logic equal to definition and RTL by SAT, all inputs" in str(cost.proof)
