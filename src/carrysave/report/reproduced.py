"""Reproductions in the terminal and as a picture."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from carrysave.reproductions import Reproduction
from carrysave.reproductions.base import Cell, shown


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


def curves_picture(made: Reproduction) -> bytes:
    """PNG of a reproduction's curves; their keys are "panel|line"."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(key.partition("|")[0] for key in made.curves))
    figure = Figure(figsize=(5.5 * len(panels), 4.2), layout="constrained")
    for place, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), place)
        for key, points in made.curves.items():
            if key.partition("|")[0] == panel:
                axes.plot([x for x, _ in points], [y for _, y in points], "o-", ms=3, lw=1, label=key.partition("|")[2])
        axes.set_xlabel(made.x_axis)
        axes.set_ylabel(panel)
        axes.grid(alpha=0.3)
    figure.axes[-1].legend(fontsize=7, frameon=False)
    figure.suptitle(made.title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
