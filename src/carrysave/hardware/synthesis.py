"""From RTL to gates: Yosys lowers the RTL, ABC restructures and maps it with several scripts and sizes the gates.

Delay is ABC's static timing over the library's tables: ideal inputs, no load at the outputs unless stated, no wires.
Results are cached per design and script by content (RTLIL, library, script, tools), so a stopped run loses one script
at most.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from carrysave.hardware.cells import compact_library
from carrysave.hardware.functions import parse_function, pins_of
from carrysave.hardware.liberty_writer import worst_arc, write_liberty
from carrysave.hardware.library import Cell, Library, check_mappable
from carrysave.hardware.netlist import Netlist, parse_blif
from carrysave.hardware.rtl import module_name, rtlil
from carrysave.hardware.scripts import EFFORTS, SCRIPTS, Script
from carrysave.hardware.tools import SynthesisError, Tools, ToolTimeout
from carrysave.multipliers.base import Multiplier
from carrysave.paths import cache_dir, write_atomically

FLOW = "2"  # part of every cache key: raise it when the commands below change
_LOWER = "read_rtlil design.il\nsynth -flatten -noabc\nopt_clean -purge\nwrite_blif design.blif\n"
_RELAXED_PS = 1_000_000  # a target that every circuit meets
_STEPS = {"quick": (0.5,), "normal": (0.1, 0.25, 0.5, 0.75)}  # sizings between the fastest (0) and the smallest (1)
_FIGURES = re.compile(r"Area =\s*([\d.]+).*?Delay =\s*([\d.]+) ps")


@dataclass(frozen=True)
class Mapped:
    """One mapped circuit: its area and delay, the netlist, and the script and sizing it came from."""

    script: str
    area_um2: float
    delay_ps: float
    netlist: Netlist


@dataclass(frozen=True)
class Synthesis:
    """What the scripts found for one design.

    Attributes:
        pareto: the circuits that no other one beats in area and delay, smallest area first.
        found: every circuit, the beaten ones included.
        failures: (script, message) of scripts that failed while others worked.
    """

    name: str
    library: Library
    pareto: tuple[Mapped, ...]
    found: tuple[Mapped, ...]
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def figures(self) -> tuple[tuple[float, float, str], ...]:
        """(area_um2, delay_ps, script) of every circuit."""
        return tuple((mapped.area_um2, mapped.delay_ps, mapped.script) for mapped in self.found)

    @property
    def smallest(self) -> Mapped:
        return self.pareto[0]

    @property
    def fastest(self) -> Mapped:
        return self.pareto[-1]

    def meeting(self, delay_ps: float) -> Mapped | None:
        """The smallest circuit with at most this delay; None where there is none."""
        return next((mapped for mapped in self.pareto if mapped.delay_ps <= delay_ps), None)


@dataclass(frozen=True)
class Job:
    """One design, ready to be synthesised: its RTLIL, or (`lowered`) the BLIF of logic that Yosys lowered before."""

    name: str
    text: str
    library: Library
    scripts: tuple[Script, ...]
    steps: tuple[float, ...]
    load_ff: float
    tools: Tools
    lowered: bool = False


# ---------------------------------------------------------------- what a caller uses


def synthesize(
    m: Multiplier,
    library: Library | None = None,
    scripts: Sequence[str] | None = None,
    effort: str = "normal",
    *,
    load_ff: float = 0.0,
    tools: Tools | None = None,
) -> Synthesis:
    """Map a multiplier onto the library's cells.

    Args:
        library: the built-in compact one if None.
        scripts: names from `SCRIPTS`; those of the effort if None.
        effort: "quick" (4 scripts, 3 sizings each) or "normal" (16 scripts, 6 sizings).
        load_ff: capacitance at every output [fF].
        tools: Yosys and ABC; those of the installed pyosys if None.

    Raises:
        SynthesisError: if every script fails: stage, problem, last lines of the log and what to do.
        LibraryError: if the library lacks an inverter, a buffer, or a two-input gate.
    """
    return synthesize_rtlil(module_name(m.spec), rtlil(m), library, scripts, effort, load_ff=load_ff, tools=tools)


def synthesize_rtlil(
    name: str,
    text: str,
    library: Library | None = None,
    scripts: Sequence[str] | None = None,
    effort: str = "normal",
    *,
    load_ff: float = 0.0,
    tools: Tools | None = None,
) -> Synthesis:
    """Map any combinational circuit given as RTLIL; else as `synthesize`."""
    return run_jobs([make_job(name, text, library, scripts, effort, load_ff, tools)])[0]


def synthesize_many(
    multipliers: Iterable[Multiplier],
    library: Library | None = None,
    effort: str = "normal",
    *,
    progress: Callable[[int, int, str], None] | None = None,
    workers: int | None = None,
    load_ff: float = 0.0,
    tools: Tools | None = None,
) -> list[Synthesis]:
    """`synthesize` for many multipliers, all their scripts spread over `workers` processes (one per core if None).

    `progress(done, total, name)` is called from the calling thread after each script of each design.
    """
    jobs = [make_job(module_name(m.spec), rtlil(m), library, None, effort, load_ff, tools) for m in multipliers]
    return run_jobs(jobs, progress, workers)


def report_delay(netlist: Netlist, library: Library, *, load_ff: float = 0.0, tools: Tools | None = None) -> float:
    """Delay [ps] of a mapped netlist by ABC's static timing over the library's tables."""
    tools = tools or Tools.installed()
    files = {"cells.lib": cells_text(library), "map.blif": netlist.blif(), "load.constr": f"set_load {load_ff:g}\n"}
    load = "read_constr load.constr\n" if load_ff else ""
    commands = f"read_lib cells.lib\n{load}read_blif map.blif\ntopo\nstime\nwrite_blif timed.blif\n"
    stage = f"{netlist.name}: timing with ABC"
    texts, log = tools.run_abc(stage, commands, files, ["timed.blif"])
    return timed_rows(stage, ["timed"], texts, log)[0]["delay_ps"]


def flow_of(effort: str) -> str:
    """Everything but design and library that results of this effort depend on, as a hash."""
    parts = (FLOW, Tools.installed().version, _LOWER, repr(EFFORTS[effort]), repr(_STEPS[effort]))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make_job(
    name: str,
    text: str,
    library: Library | None,
    scripts: Sequence[str] | None,
    effort: str,
    load_ff: float,
    tools: Tools | None,
) -> Job:
    """Check what was asked for. Raises ValueError for an unknown effort or script, LibraryError for an unusable
    library.
    """
    if effort not in EFFORTS:
        raise ValueError(f"effort {effort!r}: expected one of {', '.join(EFFORTS)}")
    unknown = [s for s in scripts or () if s not in SCRIPTS]
    if unknown:
        raise ValueError(f"synthesis script {unknown[0]!r}: expected one of {', '.join(SCRIPTS)}")
    chosen = EFFORTS[effort] if scripts is None else tuple(SCRIPTS[s] for s in scripts)
    library = library or compact_library()
    mappable(library)
    return Job(name, text, library, chosen, _STEPS[effort], load_ff, tools or Tools.installed())


def make_core_job(
    name: str,
    blif: str,
    library: Library,
    scripts: Sequence[str] | None,
    effort: str,
    load_ff: float,
    tools: Tools,
) -> Job:
    """`make_job` of logic that is lowered already: what lies between the registers of a design."""
    return replace(make_job(name, blif, library, scripts, effort, load_ff, tools), lowered=True)


@lru_cache(maxsize=4)
def mappable(library: Library) -> Library:
    """The cells that ABC may choose: one output, a delay from each input that the function reads.

    Raises LibraryError if they do not suffice to map every function.
    """
    usable = library.subset(cell.name for cell in library.combinational() if _usable(cell))
    check_mappable(usable)
    return usable


def _usable(cell: Cell) -> bool:
    if len(cell.outputs) != 1 or not cell.inputs:
        return False
    output = cell.outputs[0]
    read = pins_of(parse_function(output.function or "0"))
    return len(read) == len(cell.inputs) and all(worst_arc(output.arcs, pin) for pin in read)


@lru_cache(maxsize=4)
def cells_text(library: Library) -> str:
    """The cells that ABC may choose, as the Liberty text it reads."""
    return write_liberty(mappable(library))


# ---------------------------------------------------------------- running


def run_jobs(
    jobs: list[Job], progress: Callable[[int, int, str], None] | None = None, workers: int | None = None
) -> list[Synthesis]:
    """Every script of every job on a pool of threads, each of which waits for a child process."""
    total, done = sum(len(job.scripts) for job in jobs), 0
    results = []
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        pending = [[(script, pool.submit(_run_script, job, script)) for script in job.scripts] for job in jobs]
        for job, futures in zip(jobs, pending, strict=True):
            mapped, failures = [], []
            for script, future in futures:
                try:
                    mapped += future.result()
                except CancelledError:
                    failures.append((script.name, "not run, as another script of this design hung"))
                except SynthesisError as error:
                    failures.append((script.name, str(error)))
                    if isinstance(error, ToolTimeout):  # a design that hangs one script hangs them all, mostly
                        for _, later in futures:
                            later.cancel()
                done += 1
                if progress:
                    progress(done, total, job.name)
            if not mapped:
                raise SynthesisError(f"{job.name}: no script gave a circuit; {failures[0][1]}")
            results.append(Synthesis(job.name, job.library, pareto_set(mapped), tuple(mapped), tuple(failures)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return results


def pareto_set(mapped: Iterable[Mapped]) -> tuple[Mapped, ...]:
    """Those that no other one beats in both area and delay, smallest area first."""
    kept: list[Mapped] = []
    for candidate in sorted(mapped, key=lambda p: (p.area_um2, p.delay_ps, p.script)):
        if not kept or candidate.delay_ps < kept[-1].delay_ps:
            kept.append(candidate)
    return tuple(kept)


def _run_script(job: Job, script: Script) -> list[Mapped]:
    parts = (
        FLOW,
        job.tools.version,
        job.library.digest,
        _LOWER,
        repr(script),
        repr(job.steps),
        repr(job.load_ff),
        job.text,
    )
    path = cached_path(parts)
    known = cached_rows(path)
    rows = _synthesize_script(job, script) if known is None else known
    found = []
    for row in rows:
        netlist = parse_blif(row["blif"], job.library)
        found.append(Mapped(f"{script.name}/{row['sizing']}", netlist.area_um2(job.library), row["delay_ps"], netlist))
    if known is None:  # not before all of it could be read
        write_atomically(path, gzip.compress(json.dumps(rows).encode(), 3))
    return found


def cached_path(parts: Iterable[str]) -> Path:
    """Where the result that `parts` determine is kept."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return cache_dir() / "synthesis" / digest[:2] / f"{digest}.json.gz"


def cached_rows(path: Path) -> list[dict] | None:
    """The rows of a cache entry; None where there is none, or none that can be read."""
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, ValueError, EOFError):
        return None  # not there, or not readable: synthesise


def lower(name: str, text: str, tools: Tools) -> str:
    """RTLIL as unmapped BLIF by Yosys, cached by content. Raises SynthesisError if it is not combinational."""
    path = cached_path((FLOW, tools.version, _LOWER, text))
    known = cached_rows(path)
    if known is not None:
        return known[0]["blif"]
    blif = tools.run_yosys(f"{name}: lowering the RTL with Yosys", _LOWER, {"design.il": text}, "design.blif")
    if ".latch" in blif or ".subckt" in blif:
        raise SynthesisError(
            f"{name}: the design has registers or black boxes; designs with registers go through synthesize_clocked"
        )
    write_atomically(path, gzip.compress(json.dumps([{"blif": blif}]).encode(), 3))
    return blif


def _synthesize_script(job: Job, script: Script) -> list[dict]:
    """Map once, then size: the smallest, the fastest, and the steps between."""
    stage = f"{job.name}: mapping with ABC, script {script.name!r}"
    files = {
        "cells.lib": cells_text(job.library),
        "design.blif": job.text if job.lowered else lower(job.name, job.text, job.tools),
        "load.constr": f"set_load {job.load_ff:g}\n",
    }
    start = "read_lib cells.lib\n" + ("read_constr load.constr\n" if job.load_ff else "")
    sized = (  # the fastest starts from the gates as mapped: up from the smallest ones, sizing gets stuck earlier
        "upsize\ndnsize\ntopo\nupsize\ndnsize\ntopo\nstime\nwrite_blif fastest.blif\n"
        f"read_blif map.blif\ntopo\ndnsize -D {_RELAXED_PS}\ntopo\nstime\nwrite_blif smallest.blif\n"
    )
    ends = ["fastest", "smallest"]
    mapping = f"{script.restructure}; {script.map}; buffer -c; topo; write_blif map.blif"
    commands = f"{start}read_blif design.blif\n{_lines(mapping)}"
    texts, log = job.tools.run_abc(stage, commands + sized, files, ["map.blif", *(f"{name}.blif" for name in ends)])
    rows = timed_rows(stage, ends, texts, log)
    quick, slow = rows[0]["delay_ps"], rows[1]["delay_ps"]
    targets = {f"{round(quick + step * (slow - quick))}ps": quick + step * (slow - quick) for step in job.steps}
    if slow - quick < 1:
        return rows
    commands = start + "".join(
        f"read_blif map.blif\ntopo\nupsize -D {target:.0f}\ndnsize -D {target:.0f}\ntopo\nstime\n"
        f"write_blif {name}.blif\n"
        for name, target in targets.items()
    )
    texts, log = job.tools.run_abc(
        stage, commands, {**files, "map.blif": texts["map.blif"]}, [f"{n}.blif" for n in targets]
    )
    return rows + timed_rows(stage, list(targets), texts, log)


def _lines(commands: str) -> str:
    return "".join(f"{command.strip()}\n" for command in commands.split(";"))


def timed_rows(stage: str, names: list[str], texts: dict[str, str], log: str) -> list[dict]:
    """Name ("sizing"), delay and BLIF of the circuits that ABC timed, in the order of its reports."""
    figures = _FIGURES.findall(log)
    if len(figures) != len(names):
        tail = "\n".join(log.splitlines()[-12:])
        raise SynthesisError(
            f"{stage}: expected {len(names)} timing reports, found {len(figures)}. Its last lines:\n{tail}"
        )
    return [
        {"sizing": name, "delay_ps": float(delay), "blif": texts[f"{name}.blif"]}
        for name, (_, delay) in zip(names, figures, strict=True)
    ]
