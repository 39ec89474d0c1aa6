"""Circuits sized to a clock: the gates of what the scripts found, made larger or smaller until the period is just met.

A synthesis sizes each script's circuit to fixed steps between its fastest and its smallest; a clock falls between two
steps. Sized to the period itself, from several circuits of the scripts that come near it, the smallest is up to three
percent smaller (8-bit exact at 3 GHz: 30.65 to 29.86 um2; HEAM at 2 GHz: 12.95 to 12.52).
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable

from carrysave.hardware.netlist import parse_blif
from carrysave.hardware.synthesis import (
    FLOW,
    Mapped,
    Synthesis,
    cached_path,
    cached_rows,
    cells_text,
    timed_rows,
)
from carrysave.hardware.tools import Tools
from carrysave.paths import write_atomically

SCRIPTS = 6  # those with the smallest circuits that meet the period, then those that nearly do
NEAR = 1.05  # a circuit slower than the period by this factor may still come to meet it
_COMMANDS = (
    "read_blif {name}.blif\ntopo\nupsize -D {period}\ndnsize -D {period}\ntopo\nstime\nwrite_blif {name}.out.blif\n"
)


def meeting(synthesis: Synthesis, period_ps: float, *, tools: Tools | None = None) -> Mapped | None:
    """The smallest circuit with at most this delay, those sized to it included; None where there is none.

    Cached by content. Raises SynthesisError if ABC fails.
    """
    known = synthesis.meeting(period_ps)
    if known == synthesis.smallest:
        return known  # no sizing makes gates smaller than the smallest
    sized = [mapped for mapped in resized(synthesis, period_ps, tools=tools) if mapped.delay_ps <= period_ps]
    return min([known, *sized] if known else sized, key=lambda mapped: mapped.area_um2, default=None)


def resized(synthesis: Synthesis, period_ps: float, *, tools: Tools | None = None) -> list[Mapped]:
    """The starting circuits, each sized to the period (unloaded outputs); some may miss it."""
    starts = _starts(synthesis.found, period_ps)
    if not starts:
        return []
    tools, period = tools or Tools.installed(), f"{period_ps:.1f}"
    texts = [start.netlist.blif() for start in starts]
    path = cached_path((FLOW, tools.version, synthesis.library.digest, "resized", _COMMANDS, period, *texts))
    known = cached_rows(path)
    rows = _resize(synthesis, texts, period, tools) if known is None else known
    found = [_mapped(start, row, synthesis, period) for start, row in zip(starts, rows, strict=True)]
    if known is None:  # not before all of it could be read
        write_atomically(path, gzip.compress(json.dumps(rows).encode(), 3))
    return found


def _resize(synthesis: Synthesis, texts: list[str], period: str, tools: Tools) -> list[dict]:
    """Rows of `timed_rows` for mapped BLIF texts, each sized by ABC."""
    names = [f"start{k}" for k in range(len(texts))]
    files = {
        "cells.lib": cells_text(synthesis.library),
        **{f"{n}.blif": t for n, t in zip(names, texts, strict=True)},
    }
    commands = "read_lib cells.lib\n" + "".join(_COMMANDS.format(name=name, period=period) for name in names)
    stage = f"{synthesis.name}: sizing to {period} ps with ABC"
    outputs, log = tools.run_abc(stage, commands, files, [f"{name}.out.blif" for name in names])
    return timed_rows(stage, [f"{name}.out" for name in names], outputs, log)


def _mapped(start: Mapped, row: dict, synthesis: Synthesis, period: str) -> Mapped:
    netlist = parse_blif(row["blif"], synthesis.library)
    area = netlist.area_um2(synthesis.library)
    return Mapped(f"{start.script} to {float(period):g}ps", area, row["delay_ps"], netlist)


def _starts(found: Iterable[Mapped], period_ps: float) -> list[Mapped]:
    """Of the scripts that come near with the smallest circuits: the fastest, the smallest and the nearest of each."""
    by_script: dict[str, list[Mapped]] = {}
    for mapped in found:
        by_script.setdefault(mapped.script.split("/")[0], []).append(mapped)

    def smallest(script: str, within_ps: float) -> float:
        return min((m.area_um2 for m in by_script[script] if m.delay_ps <= within_ps), default=math.inf)

    rank = {script: (smallest(script, period_ps), smallest(script, NEAR * period_ps)) for script in by_script}
    near = [script for script, (_, area) in rank.items() if area < math.inf]
    starts: list[Mapped] = []
    for script in sorted(near, key=lambda script: rank[script])[:SCRIPTS]:
        circuits = by_script[script]
        chosen = (
            min(circuits, key=lambda mapped: mapped.delay_ps),
            min(circuits, key=lambda mapped: mapped.area_um2),
            min(circuits, key=lambda mapped: abs(mapped.delay_ps - period_ps)),
        )
        starts += [mapped for k, mapped in enumerate(chosen) if mapped not in chosen[:k]]
    return starts
