"""From definitions to proved netlists, and what happens when a tool dies, hangs, or writes nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carrysave.bits import cat
from carrysave.hardware.cells import compact_library
from carrysave.hardware.cost import cost, costs
from carrysave.hardware.library import Library, LibraryError
from carrysave.hardware.netlist import Netlist, run, verify
from carrysave.hardware.rtl import circuit, combinational, module_name, rtlil, verilog
from carrysave.hardware.scripts import EFFORTS, SCRIPTS
from carrysave.hardware.synthesis import (
    Mapped,
    pareto_set,
    report_delay,
    synthesize,
    synthesize_many,
    synthesize_rtlil,
)
from carrysave.hardware.tools import SynthesisError, Tools
from carrysave.multipliers import MULTIPLIERS
from carrysave.planes import PlaneWord

NARROW = {"hybrid_radix": "hybrid_radix:r=6"}  # whose catalog is of wider operands alone


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    """A cache of this file's own: nothing is taken from, or left in, the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def every_multiplier() -> list[str]:
    """The catalogued 8-bit instances of each, or the plain one; tables come from files, and are tested elsewhere."""
    specs = []
    for name in (name for name in MULTIPLIERS.names() if name != "table"):
        catalog = getattr(MULTIPLIERS.get(name), "catalog", {}).values()
        narrow = [spec for spec in catalog if MULTIPLIERS.parse(spec).product_bits <= 20]
        specs += narrow or [NARROW.get(name, name)]
    return list(dict.fromkeys(specs))


# ---------------------------------------------------------------- proofs


@pytest.mark.parametrize("spec", every_multiplier())
def test_the_netlist_of_every_multiplier_is_its_table(spec: str):
    m = MULTIPLIERS.parse(spec)
    found = synthesize(m, scripts=["balanced"])
    for mapped in found.pareto:
        proof = verify(mapped.netlist, found.library, m)
        assert proof.exhaustive and proof.pairs == 1 << (m.a_bits + m.b_bits)


@pytest.mark.parametrize(
    "spec",
    [
        "exact:tree=array,adder=ripple",
        "exact:tree=wallace,adder=kogge_stone",
        "exact:adder=brent_kung",
        "exact:n=4,signed=true",
        "kulkarni:depth=3",
        "recovery:c=7",
        "planar:level=3",
        "drum:k=4,signed=true",
        "mitchell_w:w=6",
    ],
)
@pytest.mark.parametrize("script", ["fast", "small"])
def test_other_scripts_and_structures(spec: str, script: str):
    m = MULTIPLIERS.parse(spec)
    found = synthesize(m, scripts=[script])
    assert verify(found.fastest.netlist, found.library, m).exhaustive
    assert verify(found.smallest.netlist, found.library, m).exhaustive


WIDE = {
    "exact": "", "kulkarni": "", "or_compressed": "", "recovery": "c=14", "planar": "level=3", "truncated": "c=12",
    "mitchell": "", "mitchell_w": "w=6", "drum": "k=6", "momeni": "variant=3", "roba": "", "tosam": "h=2,t=5",
    "iterative_log": "iterations=2",
}  # fmt: skip
WIDE_SPECS = [f"{name}:n={n},{parameters}".rstrip(",") for n in (16, 32) for name, parameters in WIDE.items()]
WIDE_SPECS += ["kulkarni:n=16,depth=6", "drum:n=16,k=6,signed=true", "hybrid_radix:n=16,r=10"]


def test_every_wide_multiplier_is_among_those_tested():
    wide = {name for name in MULTIPLIERS.names() if MULTIPLIERS.get(name).max_bits >= 16}
    assert wide - set(WIDE) <= {"hybrid_radix", "compressed", "table"}  # above; given by their files, to 8 bits here


@pytest.mark.parametrize("spec", WIDE_SPECS)
def test_wide_multipliers_on_a_million_pairs(spec: str):
    m = MULTIPLIERS.parse(spec)
    found = synthesize(m, scripts=["balanced"], effort="quick")
    proof = verify(found.smallest.netlist, found.library, m)
    assert not proof.exhaustive and proof.pairs > 1_000_000


def test_every_operation_of_a_word_becomes_the_same_circuit():
    def everything(a, b):
        return {
            "logic": cat((a & b) | ~a, a ^ b),
            "sums": cat(a + b, a - b),
            "choice": b[0].mux(a, b) ^ a.const(5, 4),
            "moved": cat((a << 2) >> 1, a[1:3], a[-1], a[1:][1:][0]),
        }

    text = combinational("everything", {"a": 4, "b": 4}, everything).rtlil()
    found = synthesize_rtlil("everything", text, scripts=["balanced"])
    x, y = np.repeat(np.arange(16), 16), np.tile(np.arange(16), 16)
    words = {"a": PlaneWord.from_ints(x, 4), "b": PlaneWord.from_ints(y, 4)}
    got = run(found.smallest.netlist, found.library, words)
    want = everything(words["a"], words["b"])
    assert {port: word.to_ints().tolist() for port, word in got.items()} == {
        port: word.to_ints().tolist() for port, word in want.items()}  # fmt: skip


def test_a_circuit_without_gates_and_one_that_copies():
    text = combinational("idle", {"a": 2}, lambda a: {"zero": a & a.const(0, 2), "same": cat(a[0], a[0])}).rtlil()
    found = synthesize_rtlil("idle", text, effort="quick")
    got = run(found.smallest.netlist, found.library, {"a": PlaneWord.from_ints([0, 1, 2, 3], 2)})
    assert got["zero"].to_ints().tolist() == [0, 0, 0, 0] and got["same"].to_ints().tolist() == [0, 3, 0, 3]


# ---------------------------------------------------------------- RTL


def test_rtl_is_the_same_text_every_time_and_ports_keep_their_order():
    m = MULTIPLIERS.parse("drum:k=4")
    assert rtlil(m) == rtlil(m) and "module \\drum_k4" in rtlil(m)
    text = verilog(m, "mine")
    assert "module mine(a, b, p);" in text
    assert rtlil(m) == circuit(m).rtlil()


def test_verilog_is_the_same_circuit():
    m = MULTIPLIERS.parse("mitchell")
    tools = Tools.installed()
    commands = "read_verilog design.v\nproc\nwrite_rtlil design.il\n"
    again = tools.run_yosys("reading Verilog", commands, {"design.v": verilog(m)}, "design.il")
    found = synthesize_rtlil("mitchell", again, scripts=["balanced"])
    assert verify(found.smallest.netlist, found.library, m).exhaustive


def test_rtl_does_not_grow_exponentially():
    """Each level uses its operand twice: named wires make that 2 cells a level, nested expressions 2^level."""

    def deep(a):
        for _ in range(200):
            a = (a & ~a) | (a ^ a)
        return {"p": a}

    assert combinational("deep", {"a": 1}, deep).rtlil().count("cell $") == 200 * 4


@pytest.mark.parametrize(("spec", "name"), [("exact", "exact"), ("drum:k=6,n=16", "drum_k6_n16"), ("8bit", "m_8bit")])
def test_module_names_are_identifiers(spec: str, name: str):
    assert module_name(spec) == name


# ---------------------------------------------------------------- results


def test_pareto_set_by_hand():
    nothing = Netlist("n", (), (), ())
    points = [(3.0, 5.0), (1.0, 9.0), (2.0, 9.0), (2.0, 7.0), (4.0, 5.0), (5.0, 1.0), (2.0, 8.0)]
    kept = pareto_set(Mapped("s", area, delay, nothing) for area, delay in points)
    assert [(p.area_um2, p.delay_ps) for p in kept] == [(1.0, 9.0), (2.0, 7.0), (3.0, 5.0), (5.0, 1.0)]


def test_synthesis_keeps_what_no_other_beats_and_says_where_it_came_from():
    found = synthesize(MULTIPLIERS.parse("exact"), effort="quick")
    assert len({script.split("/")[0] for _, _, script in found.figures}) == len(EFFORTS["quick"]) == 4
    assert not found.failures
    for mapped in found.pareto:
        assert not any(a <= mapped.area_um2 and d < mapped.delay_ps for a, d, _ in found.figures)
        assert mapped.delay_ps == pytest.approx(report_delay(mapped.netlist, found.library), abs=0.05)
    assert found.meeting(found.fastest.delay_ps) == found.fastest and found.meeting(1.0) is None
    assert found.meeting(1e9) == found.smallest


def test_a_load_at_the_outputs_slows_the_circuit_down():
    m = MULTIPLIERS.parse("kulkarni:n=4")
    free, loaded = (synthesize(m, scripts=["balanced"], load_ff=load).fastest for load in (0.0, 8.6))
    assert loaded.delay_ps > free.delay_ps
    library = compact_library()
    assert report_delay(free.netlist, library, load_ff=8.6) > free.delay_ps


def test_cost_of_a_multiplier():
    exact, rough = costs([MULTIPLIERS.parse("exact"), MULTIPLIERS.parse("truncated:c=8")], effort="quick")
    assert exact.area_um2 == exact.pareto[0][0] and exact.delay_ps == exact.pareto[0][1]
    assert exact.min_delay_ps == exact.pareto[-1][1] < exact.delay_ps
    library = compact_library()
    assert sum(library[cell].area_um2 * n for cell, n in exact.cells.items()) == pytest.approx(exact.area_um2)
    assert rough.area_um2 < 0.7 * exact.area_um2  # 36 of 64 partial products are gone
    assert "ASAP7" in exact.source and "effort quick" in exact.source and "failed" not in exact.source
    assert exact.area_at(400) is not None and exact.area_at(1.0) is None
    at_400 = exact.area_at(400.0)
    assert at_400 is not None and at_400 <= 30.4


def test_power_is_part_of_the_cost():
    flat, one = np.ones(16), np.eye(16)[5]
    price = cost("exact:n=4", effort="quick", frequency_ghz=0.5, operands=(flat, flat))
    assert list(price.power) == ["input toggle rate 0.1", "this network's operands"] and price.frequency_ghz == 0.5
    toggled, own = price.power.values()
    assert own.total_uw > 2 * toggled.total_uw  # independent operands toggle half of the input bits
    assert price.energy_fj() == pytest.approx(toggled.total_uw / 0.5)
    assert price.energy_fj("this network's operands") == pytest.approx(own.total_uw / 0.5)
    still = cost("exact:n=4", effort="quick", frequency_ghz=0.5, operands=(one, one)).power["this network's operands"]
    assert still.dynamic_uw == 0 and still.total_uw == still.leakage_uw > 0
    late = cost("exact:n=4", effort="quick", frequency_ghz=100.0)
    assert not late.power and late.energy_fj() is None and late.area_um2 == price.area_um2
    with pytest.raises(ValueError, match="a clock is positive and finite"):
        cost("exact:n=4", effort="quick", frequency_ghz=0.0)
    with pytest.raises(ValueError, match=r"operands of b have shape \(8,\), expected \(16,\)"):
        cost("exact:n=4", effort="quick", operands=(flat, np.ones(8)))


def test_progress_counts_every_script():
    seen: list[tuple[int, int, str]] = []
    multipliers = [MULTIPLIERS.parse(spec) for spec in ("exact:n=2", "kulkarni:n=2")]
    synthesize_many(multipliers, effort="quick", progress=lambda *event: seen.append(event))
    assert [done for done, _, _ in seen] == list(range(1, 9)) and {total for _, total, _ in seen} == {8}
    assert [name for _, _, name in seen] == ["exact_n2"] * 4 + ["kulkarni_n2"] * 4


# ---------------------------------------------------------------- errors


def test_unknown_names():
    m = MULTIPLIERS.parse("exact:n=2")
    with pytest.raises(ValueError, match="effort 'slow': expected one of quick, normal"):
        synthesize(m, effort="slow")
    with pytest.raises(ValueError, match="synthesis script 'best': expected one of balanced, fast"):
        synthesize(m, scripts=["best"])
    assert set(SCRIPTS) >= {"balanced", "fast", "lean", "small"}


def without(kind: str) -> Library:
    library = compact_library()
    return library.subset(name for name in library.cells if kind not in name)


@pytest.mark.parametrize(("kind", "missing"), [("INV", "an inverter"), ("BUF", "a buffer")])
def test_a_library_without_the_cells_needed(kind: str, missing: str):
    library = without(kind)
    kept = library.subset(n for n in library.cells if kind != "BUF" or not n.startswith("HB"))
    with pytest.raises(LibraryError, match=f"lacks {missing}"):
        synthesize(MULTIPLIERS.parse("exact:n=2"), kept)


def test_a_design_with_registers_is_refused():
    inverter = "cell $_NOT_ \\n\nconnect \\A \\q\nconnect \\Y \\d\nend\n"
    flop = "cell $_DFF_P_ \\f\nconnect \\C \\c\nconnect \\D \\d\nconnect \\Q \\q\nend\n"
    text = f"module \\t\nwire input 1 \\c\nwire output 2 \\q\nwire \\d\n{inverter}{flop}end\n"
    with pytest.raises(SynthesisError, match="t: no script gave a circuit; t: the design has registers"):
        synthesize_rtlil("t", text, scripts=["balanced"])


def failing(how: str) -> tuple[str, ...]:
    """A command that behaves badly, in place of a tool."""
    programs = {
        "dies": "import sys; print('something broke'); sys.exit(3)",
        "crashes": "import os, signal; print('oh', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
        "hangs": "import subprocess, sys, time; print('thinking', flush=True); time.sleep(600)",
        "writes nothing": "print('all is well')",
        "complains": "print(\"** cmd error: unknown command 'nonsense'\")",
    }
    return (sys.executable, "-c", programs[how])


FAILURES = [
    ("dies", "ended with status 3", "something broke"),
    ("crashes", "was ended by signal SIGSEGV", "oh"),
    ("hangs", "no result after 2 s, stopped", "thinking"),
    ("writes nothing", "ended without an error but wrote no", "all is well"),
    ("complains", r"reported \"\*\* cmd error: unknown command 'nonsense'\"", "cmd error"),
]


@pytest.mark.parametrize(("how", "problem", "last_line"), FAILURES)
@pytest.mark.parametrize("tool", ["yosys", "abc"])
def test_a_failing_tool(
    tool: str, how: str, problem: str, last_line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    seconds = 2.0 if how == "hangs" else 60.0
    tools = replace(Tools.installed(), seconds=seconds, **{tool: failing(how)})
    stage = "lowering the RTL with Yosys" if tool == "yosys" else "mapping with ABC, script 'balanced'"
    with pytest.raises(SynthesisError, match=f"exact_n2: {stage}: .*{problem}") as caught:
        synthesize(MULTIPLIERS.parse("exact:n=2"), scripts=["balanced"], tools=tools)
    assert last_line in str(caught.value) and "reinstall pyosys" in str(caught.value)
    assert len(list(tmp_path.rglob("*.json.gz"))) == (tool == "abc")  # the lowered design, and nothing half-written


def test_a_tool_that_is_not_there():
    tools = replace(Tools.installed(), abc=("/nowhere/abc",))
    with pytest.raises(SynthesisError, match="cannot start /nowhere/abc: No such file"):
        synthesize(MULTIPLIERS.parse("exact:n=3"), scripts=["balanced"], tools=tools)


def test_one_failing_script_leaves_the_others_and_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    good = SCRIPTS["balanced"]
    monkeypatch.setitem(EFFORTS, "quick", (replace(good, name="broken", map="nonsense"), good))
    found = synthesize(MULTIPLIERS.parse("exact:n=3"), effort="quick")
    assert [name for name, _ in found.failures] == ["broken"] and "unknown command 'nonsense'" in found.failures[0][1]
    assert {script.split("/")[0] for _, _, script in found.figures} == {"balanced"}
    price = cost(MULTIPLIERS.parse("exact:n=3"), effort="quick")
    assert price.source.endswith("scripts that failed: broken")


def test_what_was_computed_is_taken_from_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    m = MULTIPLIERS.parse("exact:n=4")
    first = synthesize(m, effort="quick")
    broken = replace(Tools.installed(), abc=failing("dies"), yosys=failing("dies"))
    assert synthesize(m, effort="quick", tools=broken) == first
    with pytest.raises(SynthesisError):  # another library is another key
        synthesize(m, compact_library().subset(list(compact_library().cells)[:-1]), effort="quick", tools=broken)
    for entry in tmp_path.rglob("*.json.gz"):
        entry.write_bytes(entry.read_bytes()[:20])  # a damaged entry is computed again
    assert synthesize(m, effort="quick").figures == first.figures


def test_a_hanging_design_is_given_up_after_its_first_scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    started, slow = tmp_path / "started", tmp_path / "slow.py"
    slow.write_text(f"import time\nopen({str(started)!r}, 'a').write('x')\ntime.sleep(600)\n")
    tools = replace(Tools.installed(), abc=(sys.executable, str(slow)), seconds=1.0)
    done: list[int] = []
    with pytest.raises(SynthesisError, match="no script gave a circuit; .*no result after 1 s"):
        synthesize_many(
            [MULTIPLIERS.parse("exact:n=4")], workers=1, tools=tools, progress=lambda count, *_: done.append(count)
        )
    assert done == list(range(1, len(SCRIPTS) + 1))  # every script is accounted for ...
    assert len(started.read_text()) <= 2  # ... and the pool had at most taken up the second one
