"""Reproductions in the terminal and as a picture."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from carrysave.reproductions import Reproduction
from carrysave.reproductions.base import Bars, Cell, shown


def print_reproduction(made: Reproduction, console: Console) -> None:
    """The table, what was asked of it and whether it holds, the conditions and the notes."""
    console.print(Text(made.title, "bold"))
    table = Table(box=None, header_style="bold", pad_edge=False)
    ours = [k for k, column in enumerate(made.columns) if column.strip() != "paper"]
    for k in ours:
        beside = k + 1 < len(made.columns) and k + 1 not in ours
        name = made.columns[k].strip() + (" (paper)" if beside else "")
        table.add_column(name, justify="left" if k == 0 else "right", no_wrap=k == 0)
    for row in made.rows:
        table.add_row(*(_with_papers(row, k, ours) for k in ours))
    console.print(table)
    for check in made.checks:
        mark = Text("met    " if check.met else "MISSED ", "green" if check.met else "bold red")
        console.print(Text.assemble("  ", mark, f"{check.what}: {shown(check.ours)}, wanted {check.wanted}"))
    for what, text in made.conditions:
        console.print(Text(f"{what}: {text}", "dim"))
    for note in made.notes:
        console.print(Text(note, "dim"))


def _with_papers(row: tuple[Cell, ...], k: int, ours: list[int]) -> Text:
    text = Text(shown(row[k]))
    if k + 1 < len(row) and k + 1 not in ours:
        text.append(f" ({shown(row[k + 1])})", "dim")
    return text


def picture(made: Reproduction) -> bytes | None:
    """PNG of a reproduction's curves, whose keys are "panel|line", and its bars; None if it has neither."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(key.partition("|")[0] for key in made.curves))
    count = len(panels) + len(made.bars)
    if not count:
        return None
    figure = Figure(figsize=(5.5 * count, 4.2), layout="constrained")
    for place, bars in enumerate(made.bars, start=len(panels) + 1):
        _stack(figure.add_subplot(1, count, place), bars)
    for place, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, count, place)
        for key, points in made.curves.items():
            if key.partition("|")[0] == panel:
                axes.plot([x for x, _ in points], [y for _, y in points], "o-", ms=3, lw=1, label=key.partition("|")[2])
        axes.set_xlabel(made.x_axis)
        axes.set_ylabel(panel)
        axes.grid(alpha=0.3)
    figure.axes[0 if made.bars else -1].legend(fontsize=7, frameon=False)
    figure.suptitle(made.title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _stack(axes: Any, bars: Bars) -> None:
    below = [0.0] * len(bars.names)
    for part, heights in bars.parts.items():
        axes.bar(range(len(below)), heights, bottom=below, width=0.7, label=part)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    axes.set_xticks(range(len(below)), bars.names, rotation=35, ha="right", fontsize=8)
    axes.set_ylabel(bars.panel)
    axes.grid(axis="y", alpha=0.3)
