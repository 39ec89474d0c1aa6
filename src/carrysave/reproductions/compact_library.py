"""The compact library against the full one it was distilled from: for the same netlists, and synthesised afresh."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.activity import toggling
from carrysave.hardware.cells import compact_library
from carrysave.hardware.kept_energy import cached_energy
from carrysave.hardware.library import Library
from carrysave.hardware.synthesis import Synthesis, synthesize_many
from carrysave.hardware.timing import analyze
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.reproductions.base import Cell, Check, Reproduction, Setting, reproduction
from carrysave.trials import Event

SPECS = (
    "exact", "exact:tree=wallace", "exact:tree=array", "exact:adder=kogge_stone", "compressed:heam", "kulkarni",
    "kulkarni:depth=3", "recovery:c=6", "recovery:c=7", "venkatachalam", "planar:level=1", "planar:level=3",
    "or_compressed", "truncated:c=6", "truncated:c=8", "mitchell", "mitchell_w:w=6", "drum:k=4", "drum:k=6",
    "momeni:variant=1", "momeni:variant=3",
)  # fmt: skip
_COLUMNS = (
    "multiplier",
    "same netlists: delay %",
    "power %",
    "afresh: smallest area %",
    "shortest delay %",
    "area at equal delay, mean %",
    "least %",
    "most %",
)
_NOTES = (
    "Percent by which the compact library's figure differs from the full one's. Area at equal delay: both Pareto sets"
    " interpolated at 60 delays between the slower of the two fastest and the faster of the two smallest circuits; its"
    " extremes lie at the fast end, where a mapper's choices jump with small changes of the tables.",
)


@reproduction("compact-library", "The compact cell library against the full ASAP7 it is distilled from")
def compare_libraries(setting: Setting) -> Reproduction:
    """Raises ValueError where the setting has no library but the compact one."""
    full, compact = setting.library(), compact_library()
    if full.digest == compact.digest:
        raise ValueError("compact-library: give the full library by --liberty, or its folder's parent by --data-root")
    chosen = [MULTIPLIERS.parse(spec) for spec in SPECS]
    total = 2 * len(chosen)
    pairs = []
    for place, library in enumerate((full, compact)):
        setting.progress(Event("synthesis", library.name, place * len(chosen), total))
        pairs.append(synthesize_many(chosen, library))
    setting.progress(Event("synthesis", compact.name, total, total))
    rows = [_row(m, theirs, ours, full) for m, theirs, ours in zip(chosen, *pairs, strict=True)]
    worst = [max(abs(float(row[k] or 0.0)) for row in rows) for k in range(1, len(_COLUMNS))]
    extreme = max(worst[5], worst[6])
    checks = (
        Check("same netlists: largest difference in delay, %", worst[0], "at most 2", worst[0] <= 2),
        Check("same netlists: largest difference in power, %", worst[1], "at most 5", worst[1] <= 5),
        Check("afresh: largest difference in the smallest area, %", worst[2], "at most 10", worst[2] <= 10),
        Check("afresh: largest mean difference in area at equal delay, %", worst[4], "at most 10", worst[4] <= 10),
        Check("afresh: largest difference in area at any equal delay, %", extreme, "at most 10", extreme <= 10),
    )
    conditions = (("cells", f"{compact.source}, against {full.source}; effort normal"),)
    title = "The compact library against the full one"
    return Reproduction("compact-library", title, "ours", _COLUMNS, tuple(rows), checks, _NOTES, conditions)


def _row(m: Multiplier, full: Synthesis, compact: Synthesis, library: Library) -> tuple[Cell, ...]:
    vectors = toggling({"a": m.a_bits, "b": m.b_bits}, count=2048)
    delays, powers = [], []
    for mapped in compact.pareto:
        delays.append(100 * (mapped.delay_ps / analyze(mapped.netlist, library).delay_ps - 1))
    for mapped in {id(p): p for p in (compact.smallest, compact.fastest)}.values():
        ours, theirs = (cached_energy(mapped.netlist, cells, vectors) for cells in (compact.library, library))
        powers.append(100 * (ours.at(1.0).total_uw / theirs.at(1.0).total_uw - 1))
    low = max(s.fastest.delay_ps for s in (full, compact))
    high = min(s.smallest.delay_ps for s in (full, compact))
    at = np.linspace(low, high, 60)
    ratio = 100 * (_areas(compact, at) / _areas(full, at) - 1)
    return (
        m.spec,
        max(delays, key=abs),
        max(powers, key=abs),
        100 * (compact.smallest.area_um2 / full.smallest.area_um2 - 1),
        100 * (compact.fastest.delay_ps / full.fastest.delay_ps - 1),
        float(ratio.mean()),
        float(ratio.min()),
        float(ratio.max()),
    )


def _areas(synthesis: Synthesis, delays: NDArray[np.float64]) -> NDArray[np.float64]:
    fastest_first = synthesis.pareto[::-1]
    return np.interp(delays, [p.delay_ps for p in fastest_first], [p.area_um2 for p in fastest_first])
