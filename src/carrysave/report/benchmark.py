"""What `carrysave bench` does: checks, measures, and shows speeds and memory as tables, JSON and a picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from carrysave.bench import CASES, ENTRIES, NETWORKS, Memory, Row, check, chosen, measure, peak_memory
from carrysave.bench.cases import Subject
from carrysave.bench.memory import measurable
from carrysave.bench.speed import FLOAT32
from carrysave.paths import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = (".png", ".svg")
COLOURS = {"exact": "#1c2127", "factored": "#1f5fa8", "logarithmic": "#3f9d7a", "table": "#d08a2e"}
MIXED = "#7d93ab"


def run(
    cases: Sequence[str], multipliers: Sequence[str], threads: Sequence[int], repeats: int, memory: bool,
    picture: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure what the names choose (everything without them) and print it.

    Raises:
        ValueError: for a name that fits nothing, or a picture that is neither .png nor .svg; before anything is timed.
        AssertionError: if an engine differs from the reference; then nothing is timed.
    """
    import torch

    subjects = chosen(CASES + NETWORKS, cases, "case")
    entries = chosen(ENTRIES, multipliers, "multiplier")
    if picture is not None and picture.suffix.lower() not in KINDS:
        raise ValueError(f"--picture {picture}: give it a name ending in .png or .svg")
    compared = check(entries)
    before = torch.get_num_threads()
    rows: list[Row] = []
    try:
        for count in threads or sorted({1, before}):
            torch.set_num_threads(count)
            for subject in subjects:
                _say(f"{subject.name}, {count} thread{'s' * (count != 1)}")
                rows += measure([subject], entries, repeats)
    finally:
        torch.set_num_threads(before)
    peaks = _peaks(subjects, entries) if memory else []
    if picture is not None:
        from carrysave.report.figures import to_bytes

        write_atomically(picture, to_bytes(speed_figure(rows), picture.suffix.lower()[1:]))
        _say(f"picture: {picture}")
    if as_json:
        print(json.dumps(record(rows, peaks), indent=1))
    else:
        console = Console() if sys.stdout.isatty() else Console(width=120)
        print_benchmark(rows, peaks, compared, console)


def record(rows: Iterable[Row], peaks: Iterable[Memory]) -> dict[str, Any]:
    """What --json prints."""
    speeds = [asdict(row) for row in rows]
    return {"speed": speeds, "memory": [{**asdict(m), "against_float32": m.against_float32} for m in peaks]}


def _peaks(subjects: Sequence[Subject], entries: Sequence[Any]) -> list[Memory]:
    if not measurable():
        _say("peak memory: not measured, for only Linux tells it")
        return []
    peaks = []
    for subject in subjects:
        _say(f"{subject.name}, peak memory")
        peaks += peak_memory(subject, tuple(entries))
    return peaks


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def print_benchmark(rows: Sequence[Row], peaks: Sequence[Memory], compared: int, console: Console) -> None:
    """One table per case and number of threads."""
    console.print(Text(f"{compared} engines equal the reference bit for bit; medians of interleaved rounds", "dim"))
    console.print(Text("speed and memory relative to torch float32; digits: 8-bit products in a product", "dim"))
    memory = {(m.case, m.entry): m.against_float32 for m in peaks}
    for case, threads in dict.fromkeys((row.case, row.threads) for row in rows):
        title = f"{case}, {threads} thread{'s' * (threads != 1)}"
        table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
        for name in ("Multiplier", "Engine"):
            table.add_column(name, no_wrap=True)
        for name in ("GMAC/s", "Speed", "of int8 / digits", "Memory"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in (r for r in rows if (r.case, r.threads) == (case, threads)):
            share = None if row.against_int8 is None else row.against_int8 * (row.digits or 1)
            shown = share is not None and (row.digits is not None or row.entry == "-")
            peak = memory.get((case, row.entry))
            table.add_row(
                row.entry,
                row.engine,
                f"{row.gmac_per_s:.2f}",
                f"{row.against_float32:.2f}",
                f"{share:.2f}" if shown else "",
                "" if peak is None else f"{peak:.2f}",
            )
        console.print(table)


def speed_figure(rows: Sequence[Row]) -> Figure:
    """Bars: each arithmetic's speed relative to torch's float32, a panel per case, of the fewest threads measured."""
    import matplotlib
    from matplotlib.patches import Patch

    from carrysave.report import figures

    fewest = min(row.threads for row in rows)
    rows = [row for row in rows if row.threads == fewest and row.engine != FLOAT32]
    cases = list(dict.fromkeys(row.case for row in rows))
    names = list(dict.fromkeys(row.entry if row.entry != "-" else row.engine for row in rows))[::-1]
    with matplotlib.rc_context(figures.STYLE):
        figure, axes = figures.canvas(3.0 + 2.6 * len(cases), 0.3 * len(names) + 1.3, 1, len(cases))
        for axis, case in zip(axes[0], cases, strict=True):
            for row in (r for r in rows if r.case == case):
                y = names.index(row.entry if row.entry != "-" else row.engine)
                axis.barh(y, row.against_float32, height=0.66, color=COLOURS.get(row.engine, MIXED), linewidth=0)
                axis.annotate(
                    f"{row.against_float32:.2f}", (row.against_float32, y), (3, 0), textcoords="offset points",
                    va="center", fontsize=7.5, color=figures.SOFT, zorder=4,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
                )  # fmt: skip
            axis.axvline(1, color=figures.INK, linewidth=1, linestyle=(0, (3, 2)))
            axis.set_yticks(range(len(names)), names if axis is axes[0, 0] else [""] * len(names))
            axis.set_title(case, fontsize=9, loc="left")
            axis.margins(x=0.12)
            axis.set_ylim(-0.6, len(names) - 0.4)  # the same in each panel, whichever rows it has
            axis.grid(visible=False, axis="y")
        handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
        handles.append(Patch(color=MIXED, label="torch int8, or several engines"))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
        title = f"Speed relative to torch float32, {fewest} thread{'s' * (fewest != 1)}, same shapes, same run"
        figure.suptitle(title, fontsize=10.5, x=0.01, ha="left")
        return figure
