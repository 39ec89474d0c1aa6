"""What `carrysave run` found, in the terminal."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from carrysave.report import tables

if TYPE_CHECKING:
    from carrysave.toolbox import Run, RunRow

_SHOWN = 6  # layers that a line names


def print_run(found: Run, console: Console) -> None:
    """A table with a row per arithmetic, what was emulated and what stayed float, and notes."""
    counted = "no labels" if found.counted is None else f"{found.counted:,} with labels"
    console.print()
    console.print(Text(found.network, "bold"))
    console.print(Text(f"{found.data}, {found.samples:,} samples, {counted}; output {found.output}", "dim"))
    console.print(run_table(found))
    console.print(
        Text(
            "Difference: of the outputs from those in float; root mean square relative to that of the float outputs, "
            "and the largest.",
            "dim",
        )
    )
    for line in layer_lines(found):
        console.print(Text(line))
    for note in found.notes:
        console.print(Text(f"note: {note}", "yellow"))


def run_table(found: Run) -> Table:
    """Accuracy where there are labels; how far the outputs are from float in any case."""
    labelled = found.counted is not None
    columns = ["Accuracy %", "95 % interval", "vs exact"] if labelled else []
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("Arithmetic", no_wrap=True)
    for name in [*columns, "Difference %", "largest", "Same answer %"]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.rows:
        name = Text(row.name, "bold" if row.kind in ("float", "exact") else "")
        table.add_row(name, *(_accuracy(row) if labelled else ()), *_deviation(row))
    return table


def _accuracy(row: RunRow) -> list[str]:
    assert row.accuracy is not None
    paired = row.against_exact
    points = None if paired is None else 100 * (paired.gained - paired.lost) / row.accuracy.total
    against = "" if points is None else tables.number(points, 2, sign=True)
    return [f"{row.accuracy.percent:.2f}", f"{row.accuracy.low:.2f}–{row.accuracy.high:.2f}", against]


def _deviation(row: RunRow) -> list[str]:
    d = row.deviation
    if d is None:
        return ["", "", ""]
    return [f"{100 * d.relative:.3g}", f"{d.largest:.3g}", "" if d.same_answer is None else f"{d.same_answer:.2f}"]


def layer_lines(found: Run) -> list[str]:
    """For each arithmetic the engines of its layers, and the layers that stay float, alike ones in one line."""
    lines = []
    for row in found.rows:
        if row.kind == "float":
            continue
        engines: dict[str, list[str]] = defaultdict(list)
        for plan in row.plans:
            engines[plan.engine].append(plan.layer)
        parts = [f"{engine}: {_names(layers)}" for engine, layers in engines.items()]
        lines.append(f"{row.name}  {len(row.plans)} layers emulated; {'; '.join(parts) or 'none'}")
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in found.rows:
        for layer, why in row.left:
            reasons[layer, why].append(row.name)
    emulated = sum(row.kind != "float" for row in found.rows)
    for (layer, why), names in reasons.items():
        lines.append(f"stays float  {layer}: {why}{'' if len(names) == emulated else f' ({_names(names)})'}")
    return lines


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
