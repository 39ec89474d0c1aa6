"""What goes wrong with hardware units, at the command line as in the functions: one message that names the stage, the
last lines of the log and what to do; exit status 2; and nothing partial in the cache."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from carrysave.cli import app
from carrysave.hardware.cells import compact_library
from carrysave.hardware.liberty_writer import write_liberty
from carrysave.hardware.library import LibraryError
from carrysave.hardware.tools import SynthesisError, Tools, ToolTimeout
from carrysave.hardware.unit_cost import synthesize_units
from carrysave.hardware.units import UNITS
from carrysave.registry import SpecError

PLAIN, CLOCKED = "rccm:2add,n=3", "rccm:2add,n=3,pipelined=true"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("carrysave.unit_command.VECTORS", 2_000)
    return tmp_path / "cache"


def files(cache: Path) -> list[Path]:
    """Everything in the cache, temporary files included."""
    return [path for path in cache.rglob("*") if path.is_file()]


def refused(*arguments: str) -> str:
    """The message of a command that ends with status 2 and without a traceback."""
    made = CliRunner().invoke(app, list(arguments))
    assert made.exit_code == 2, made.output
    assert isinstance(made.exception, SystemExit) and "Traceback" not in made.output and not made.stdout
    text = "".join(line + "\n" for line in made.stderr.splitlines() if not line.startswith("{"))  # without progress
    assert text.startswith("carrysave: ") and text.count("carrysave: ") == 1
    return text.removeprefix("carrysave: ")


# ---------------------------------------------------------------- names and parameters


@pytest.mark.parametrize(
    "command",
    [
        ["show", "rcm:2add"],
        ["verilog", "rcm:2add"],
        ["synth", "rcm:2add", "--frequency", "1GHz"],
        ["synth", "exact:n=3", "rcm:2add", "--frequency", "1GHz"],
        ["synth", "rcm:2add", "--fpga", "xcup"],
    ],
    ids=" ".join,
)
def test_an_unknown_unit_is_answered_with_the_nearest(command: list[str], cache: Path):
    assert refused(*command).startswith("unknown unit or multiplier 'rcm' (did you mean 'rccm'?); known: ")
    assert not files(cache)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rccm:2add,pipelind=true", "no parameter 'pipelind' (did you mean 'pipelined'?); it has: "),
        ("rccm:2add,pipelined=maybe", "pipelined is true or false, not 'maybe'"),
        ("rccm:2add,n=three", "n is of type int, not 'three'"),
        ("rccm:2add,n=2.5", "n is of type int, not '2.5'"),
        ("rccm:2add,n=3,n=4", "n is given twice"),
        ("rccm", "kind must be given, such as rccm:2add"),
        ("run_length:run_bits=9,address_bits=8", "run_bits=9, address_bits=8; a run has 1 bit or more"),
        ("float_mac:format=bfloat8", "bfloat8"),
        ("mac:multiplier=exakt", "unknown multiplier 'exakt' (did you mean 'exact'?)"),
        ("mac:accumulator=3", "accumulator=3; a product of exact has 16 bits"),
        ("enq_quantizer:bits=1000000", "input value would be 1000000 bits wide; it can be 1 to 65536"),
        ("knq_quantizer:bits=-1", "bits wide; it can be 1 to 65536"),
    ],
)
def test_parameters_that_a_unit_cannot_have(spec: str, message: str):
    for command in (["show", spec], ["synth", spec, "--frequency", "1GHz"], ["synth", spec, "--fpga", "xc7"]):
        assert message in refused(*command)


@pytest.mark.parametrize("name", UNITS.names())
def test_every_unit_refuses_parameters_it_has_not_and_widths_below_zero(name: str):
    unit = next(iter(UNITS.get(name).catalog.values()), name)
    joined = f"{unit}," if ":" in unit else f"{unit}:"
    with pytest.raises(SpecError, match="unit .* no parameter 'frobs'.*; it has: "):
        UNITS.parse(f"{joined}frobs=1")
    with pytest.raises(SpecError):
        UNITS.parse(f"{name}:{'x' * 3}")


# ---------------------------------------------------------------- libraries


def test_a_library_without_flip_flops_maps_what_has_no_registers(tmp_path: Path, cache: Path):
    path = tmp_path / "gates.lib"
    path.write_text(write_liberty(compact_library()))
    common = ["--frequency", "1GHz", "--liberty", str(path), "--effort", "quick"]
    text = refused("synth", CLOCKED, *common)
    assert "mapping registers: library" in text and str(path.name) in text
    assert "has no plain rising-edge flip-flop (one data input, one clock)" in text
    assert "a kit split over several files needs its sequential file, too: give --liberty once for each" in text
    assert not [p for p in files(cache) if "synthesis" in p.parts]
    made = CliRunner().invoke(app, ["synth", PLAIN, *common, "--json"])
    assert made.exit_code == 0, made.output
    (row,) = json.loads(made.stdout)["rows"]
    assert row["met"] and row["area_um2"] > 0 and "0 mismatches" in row["proof"]
    gates = compact_library().subset(cell.name for cell in compact_library().combinational())
    with pytest.raises(LibraryError, match="no plain rising-edge flip-flop"):
        synthesize_units([UNITS.parse(PLAIN), UNITS.parse(CLOCKED)], gates, "quick")


# ---------------------------------------------------------------- tools that are missing

COMMANDS = [
    ["show", PLAIN, "--effort", "quick"],
    ["show", CLOCKED, "--effort", "quick"],
    ["synth", CLOCKED, "--frequency", "1GHz", "--effort", "quick"],
    ["synth", PLAIN, "--fpga", "xcup"],
    ["verilog", CLOCKED],
]


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch):
    """What `Tools.installed` finds is looked for anew; returns how to say where pyosys is."""
    Tools.installed.cache_clear()
    find = importlib.util.find_spec

    def at(origin: str | None) -> None:
        found = SimpleNamespace(origin=origin) if origin else None
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: found if name == "pyosys" else find(name, *a))

    yield at
    monkeypatch.undo()
    Tools.installed.cache_clear()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[:2]))
def test_tools_that_are_not_installed(command: list[str], not_installed: Any, cache: Path, tmp_path: Path):
    not_installed(None)
    remedy = "synthesis needs Yosys and ABC: pip install pyosys\n"
    assert refused(*command) == f"pyosys is not installed; {remedy}"
    (tmp_path / "yosys-abc").write_text("no program")
    not_installed(str(tmp_path / "__init__.py"))
    assert refused(*command) == f"{tmp_path / 'yosys-abc'} is missing or not executable; {remedy}"
    assert not files(cache)


# ---------------------------------------------------------------- tools that fail

PROGRAMS = {
    "dies": "import sys; [print('step', k) for k in range(20)]; print('out of luck'); sys.exit(3)",
    "dies half-way": (
        "import sys\nfor name in ('design.blif', 'design.json', 'map.blif', 'fastest.blif'):\n"
        "    open(name, 'w').write('.model half\\n.inputs a')\nprint('writing'); sys.exit(1)"
    ),
    "crashes": "import os, signal; print('oh', flush=True); os.kill(os.getpid(), signal.SIGSEGV)",
    "is killed": "import os, signal; print('memory is short', flush=True); os.kill(os.getpid(), signal.SIGKILL)",
    "hangs": "echo thinking; exec sleep 600",  # of the shell, which starts at once on a busy machine, too
    "writes nothing": "print('all is well')",
}
SAID = {
    "dies": ("it ended with status 3", "out of luck"),
    "dies half-way": ("it ended with status 1", "writing"),
    "crashes": ("it was ended by signal SIGSEGV", "oh"),
    "is killed": ("it was ended by signal SIGKILL", "memory is short"),
    "hangs": ("no result after 2 s, stopped", "thinking"),
    "writes nothing": ("it ended without an error but wrote no", "all is well"),
}


def failing(which: str, how: str) -> Tools:
    command = ("/bin/sh", "-c") if how == "hangs" else (sys.executable, "-S", "-c")
    seconds = 2.0 if how == "hangs" else 60.0
    return replace(Tools.installed(), seconds=seconds, **{which: (*command, PROGRAMS[how])})


STAGES = {
    ("yosys", PLAIN): "rccm_2add_n3: lowering the RTL with Yosys: ",
    ("yosys", CLOCKED): "rccm_2add_n3_pipelinedtrue: lowering the RTL and mapping its registers with Yosys: ",
    ("yosys", "fpga"): "rccm_2add_n3: synthesis for UltraScale+ with Yosys: ",
    ("yosys", "verilog"): "writing Verilog with Yosys: ",
}


@pytest.mark.parametrize("how", PROGRAMS)
@pytest.mark.parametrize("what", [what for tool, what in STAGES], ids=str)
def test_a_yosys_that_fails(what: str, how: str, cache: Path, monkeypatch: pytest.MonkeyPatch):
    tools = failing("yosys", how)
    monkeypatch.setattr(Tools, "installed", staticmethod(lambda: tools))
    synth = ["--frequency", "1GHz", "--effort", "quick"]
    command = {"fpga": ["synth", PLAIN, "--fpga", "xcup"], "verilog": ["verilog", PLAIN]}.get(
        what, ["synth", what, *synth]
    )
    text = refused(*command)
    problem, last = SAID[how]
    assert STAGES["yosys", what] + problem in text and f"\n    {last}\n" in text
    assert (
        "If this repeats: try the built-in library instead of --liberty, another effort, or reinstall pyosys." in text
    )
    assert "step 7" not in text  # the last dozen lines of the log, no more
    assert not files(cache)


@pytest.mark.parametrize("how", ["dies", "dies half-way", "is killed", "hangs", "writes nothing"])
def test_an_abc_that_fails_between_registers(how: str, cache: Path):
    tools = failing("abc", how)
    stage = "rccm_2add_n3_pipelinedtrue: no script gave a circuit; rccm_2add_n3_pipelinedtrue: mapping with ABC, script"
    with pytest.raises(SynthesisError) as caught:
        synthesize_units([UNITS.parse(CLOCKED)], effort="quick", tools=tools)
    text, (problem, last) = str(caught.value), SAID[how]
    assert text.startswith(stage) and problem in text and f"\n    {last}\n" in text
    (lowered,) = files(cache)  # what Yosys made before is whole
    assert json.loads(gzip.decompress(lowered.read_bytes()))[0]["blif"].rstrip().endswith(".end")


@pytest.mark.parametrize("spec", [PLAIN, CLOCKED])
def test_an_abc_that_fails_while_sizing_to_a_clock_or_proving(spec: str, cache: Path):
    (found,) = synthesize_units([UNITS.parse(spec)], effort="quick")
    before = sorted(files(cache))
    broken = replace(found, tools=failing("abc", "dies half-way"))
    clock = 1000 / (1.02 * found.synthesis.fastest.delay_ps)
    with pytest.raises(SynthesisError, match=r"sizing to [\d.]+ ps with ABC: it ended with status 1") as caught:
        broken.at_clock(clock, vectors=2_000)
    assert "\n    writing\n" in str(caught.value) and sorted(files(cache)) == before
    assert found.at_clock(clock, vectors=2_000).mapped is not None
    with pytest.raises(SynthesisError, match=f"{spec}: comparing logic with ABC: it ended with status 1"):
        broken.cost(2_000)


def test_text_that_cannot_be_read_is_not_kept(cache: Path):
    """A mapper that ends well, but whose netlist stops in the middle."""
    lines = "Area = 1.0 Delay = 2.0 ps"
    program = (
        f"for name in ('map', 'fastest', 'smallest'): open(name + '.blif', 'w').write('.model half')\n"
        f"print({lines!r}); print({lines!r})"
    )
    tools = replace(Tools.installed(), abc=(sys.executable, "-S", "-c", program))
    for spec, kept in ((PLAIN, 1), (CLOCKED, 2)):
        with pytest.raises(ValueError, match="no .model with outputs; the mapper wrote no netlist"):
            synthesize_units([UNITS.parse(spec)], effort="quick", tools=tools)
        assert len(files(cache)) == kept  # lowered designs alone


def test_a_tool_that_hangs_is_ended_with_all_it_started(tmp_path: Path):
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\ntime.sleep(600)"
    )
    tools = replace(Tools.installed(), yosys=(sys.executable, "-S", "-c", program), seconds=2.0)
    with pytest.raises(ToolTimeout, match="no result after 2 s, stopped"):
        synthesize_units([UNITS.parse(CLOCKED)], effort="quick", tools=tools)
    states = [Path(f"/proc/{pid}/stat") for pid in (tmp_path / "pids").read_text().split()]
    for _ in range(600):  # they were sent SIGKILL; a busy machine takes its time
        left = [state for state in states if runs(state)]
        if not left:
            break
        time.sleep(0.1)
    assert not left and len(states) == 2


def runs(stat: Path) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
