"""Designed multipliers beside the published one and exact: in the terminal, as Markdown, JSON and a picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from carrysave.evaluation import Accuracy
from carrysave.methods.heam import Designed, Designs
from carrysave.multipliers.compressed import Compressed
from carrysave.paths import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = (".png", ".svg", ".pdf")
ENDINGS = (*PICTURES, ".md", ".json")
Accuracies = Mapping[str, Accuracy]


def check_output(path: Path) -> None:
    """Raises ValueError for a name that says no kind of file that is written here."""
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"-o {path}: give it a name ending in {', '.join(ENDINGS)}")


def names(found: Designs) -> list[str]:
    """A name for each row: HEAM, exact, and the designs numbered from the smallest."""
    numbered = iter(range(1, len(found.rows) + 1))
    return [row.label if row.label != "design" else f"design {next(numbered)}" for row in found.rows]


def columns(found: Designs) -> list[str]:
    return [
        "multiplier",
        "expected squared error",
        "root",
        "mean error (layers)",
        f"area um2 at {found.frequency_ghz:g} GHz",
        "of exact",
        "delay ps",
        "power uW",
        "accuracy %",
    ]


def cells(found: Designs, accuracies: Accuracies) -> list[list[str]]:
    """The table as text, a row for each multiplier; "-" for what there is not."""
    exact = next(row.area_um2 for row in found.rows if row.label == "exact")
    rows = []
    for name, row in zip(names(found), found.rows, strict=True):
        sampled = f" ± {row.error.standard_error:.1g}" if row.error.standard_error else ""
        accuracy = accuracies.get(row.spec)
        rows.append(
            [
                name + (" *" if row.on_front else ""),
                _figure(row.error.value) + sampled,
                _figure(math.sqrt(row.error.value)),
                f"{row.error.mean:.3g} ({math.sqrt(row.error.square_of_means):.3g})",
                "-" if row.area_um2 is None else f"{row.area_um2:.2f}",
                "-" if row.area_um2 is None or not exact else f"{row.area_um2 / exact:.3f}",
                "-" if row.delay_ps is None else f"{row.delay_ps:.1f}",
                "-" if row.power_uw is None else f"{row.power_uw:.2f}",
                "-" if accuracy is None else _accuracy(accuracy),
            ]
        )
    return rows


def _accuracy(accuracy: Accuracy) -> str:
    low, high = accuracy.interval
    return f"{accuracy.percent:.2f} ({low:.2f}–{high:.2f})"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 or value == 0 else f"{value:.4g}"


def conclusion(found: Designs, accuracies: Accuracies) -> list[str]:
    """What the table says, in sentences."""
    lines = []
    if found.interrupted:
        lines.append("Stopped early: these are the best found so far.")
    if found.published is not None:
        better = [n for n, row in zip(names(found), found.rows, strict=True) if row in found.better]
        what = "beat" if len(better) > 1 else "beats"
        beaten = f"{', '.join(better)} {what}" if better else "No design beats"
        weighted = f" with {found.mean_weight:g} times the squared mean error" if found.mean_weight else ""
        lines.append(f"{beaten} the published HEAM in expected error{weighted} and in area.")
    exact = next((a for spec, a in accuracies.items() if spec.startswith("exact")), None)
    if exact is not None:
        near = [
            name
            for name, row in zip(names(found), found.rows, strict=True)
            if row.label == "design" and row.spec in accuracies and accuracies[row.spec].percent > exact.percent - 0.1
        ]
        lines.append(f"Less than 0.1 points below exact on {exact.total:,} samples: {', '.join(near) or 'none'}.")
    return lines


def sources(found: Designs) -> list[str]:
    """Where the figures come from."""
    pairs = found.rows[0].error.pairs
    sampled = any(row.error.standard_error for row in found.rows)
    return [
        f"operands: {found.operands}",
        f"minimised: the expected squared error and {found.mean_weight:g} times the squared mean error"
        if found.mean_weight
        else "minimised: the expected squared error",
        "mean error: with its sign, and in parentheses the root mean square of the layers' mean errors",
        "errors: "
        + (f"over {pairs:,} pairs drawn from the operands, with the standard error" if sampled else "over all pairs"),
        f"cells: {found.cells}; area and power of the smallest circuit that meets the clock, power under these"
        " operands; delay of the fastest circuit",
        f"search: {len(found.searched.spaces)} spaces, {found.searched.moves:,} moves",
    ]


def print_designs(found: Designs, accuracies: Accuracies, title: str, console: Console) -> None:
    """The table, what it says, the designs in full, and the sources."""
    console.print()
    console.print(Text(f"Multipliers of the HEAM form for {title}", "bold"))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for k, column in enumerate(columns(found)):
        table.add_column(column, justify="left" if k == 0 else "right")
    for row, line in zip(found.rows, cells(found, accuracies), strict=True):
        table.add_row(*line, style="bold" if row.label != "design" else "" if row.on_front else "dim")
    console.print(table)
    console.print(Text("* no other row is better in error, area, delay and power\n", "dim"))
    for line in conclusion(found, accuracies):
        console.print(Text(line, "bold"))
    console.print()
    for name, row in zip(names(found), found.rows, strict=True):
        if row.label == "design" and row.on_front:
            console.print(Text(f"{name}  ", "bold"), Text(row.spec), soft_wrap=True, sep="")
    for line in sources(found):
        console.print(Text(line, "dim"))


def to_dict(found: Designs, accuracies: Accuracies, title: str) -> dict[str, Any]:
    """Everything as JSON values; units in the names."""
    return {
        "title": title,
        "operands": found.operands,
        "cells": found.cells,
        "frequency_ghz": found.frequency_ghz,
        "interrupted": found.interrupted,
        "mean_weight": found.mean_weight,
        "multipliers": [
            _record(name, row, accuracies.get(row.spec), row in found.better)
            for name, row in zip(names(found), found.rows, strict=True)
        ],
        "searched": [
            {"design": p.design.text, "weighted_error": p.error, "predicted_area_um2": p.area_um2}
            for p in found.searched.designs
        ],
    }


def _record(name: str, row: Designed, accuracy: Accuracy | None, better: bool) -> dict[str, Any]:
    return {
        "name": name,
        "spec": row.spec,
        "expected_squared_error": row.error.value,
        "standard_error": row.error.standard_error,
        "mean_error": row.error.mean,
        "rms_of_layers_mean_errors": math.sqrt(row.error.square_of_means),
        "weighted_error": row.weighted,
        "area_um2": row.area_um2,
        "delay_ps": row.delay_ps,
        "power_uw": row.power_uw,
        "power_standard_error_uw": row.power_error_uw,
        "predicted_area_um2": row.predicted_um2,
        "on_front": row.on_front,
        "better_than_published": better,
        "correct": None if accuracy is None else accuracy.correct,
        "samples": None if accuracy is None else accuracy.total,
    }


def markdown(found: Designs, accuracies: Accuracies, title: str, command: str) -> str:
    """The table as a section of a page, with the command that made it."""
    lines = [f"# Multipliers of the HEAM form for {title}", "", f"Made by `{command}`.", ""]
    lines += [f"| {' | '.join(columns(found))} |", f"|{'---|' * len(columns(found))}"]
    lines += [f"| {' | '.join(line)} |" for line in cells(found, accuracies)]
    lines += ["", "\\* no other row is better in error, area, delay and power", ""]
    lines += [*conclusion(found, accuracies), ""]
    lines += [
        f"* {name}: `{row.spec}`"
        for name, row in zip(names(found), found.rows, strict=True)
        if row.label == "design" and row.on_front
    ]
    return "\n".join([*lines, "", *(f"* {line}" for line in sources(found))]) + "\n"


def designs_figure(found: Designs, title: str) -> Figure:
    """Root of the expected squared error over area: what was synthesised, and the search's front as predicted."""
    import matplotlib

    from carrysave.report.figures import ACCENT, INK, POINT, SOFT, STYLE, canvas

    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(7.6, 4.6)
        axis = axes[0, 0]
        made = [
            (name, row, row.area_um2)
            for name, row in zip(names(found), found.rows, strict=True)
            if row.area_um2 is not None and row.error.value > 0
        ]
        floor = 0.5 * min((math.sqrt(row.error.value) for _, row, _ in made), default=1.0)
        front = [(p.area_um2, math.sqrt(p.error)) for p in found.searched.designs if p.error > floor**2]
        axis.plot(*zip(*front, strict=True), color=POINT, linewidth=1, label="searched, area predicted")
        for name, row, area in made:
            own = row.label == "design"
            axis.plot(area, math.sqrt(row.error.value), "o" if own else "D", color=ACCENT if own else INK)
            axis.annotate(
                name.removeprefix("design "),
                (area, math.sqrt(row.error.value)),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=8,
            )
        for row in found.rows:
            if row.label == "exact" and row.area_um2 is not None:
                axis.axvline(row.area_um2, color=SOFT, linewidth=1, linestyle="--", label="exact")
        axis.set_yscale("log")
        axis.set_xlabel("area (µm²)")
        axis.set_ylabel("root of the expected squared error")
        axis.set_title(f"HEAM form for {title}", loc="left", fontsize=11.5, fontweight="bold")
        axis.legend(frameon=False, fontsize=8)
        return figure


def write(found: Designs, accuracies: Accuracies, title: str, path: Path, command: str) -> Path:
    """To a file, by the name's ending. Raises ValueError (`check_output`), OSError."""
    check_output(path)
    kind = path.suffix.lower()
    if kind == ".md":
        return write_atomically(path, markdown(found, accuracies, title, command).encode())
    if kind == ".json":
        return write_atomically(path, (json.dumps(to_dict(found, accuracies, title), indent=1) + "\n").encode())
    from carrysave.report.figures import to_bytes

    return write_atomically(path, to_bytes(designs_figure(found, title), kind[1:]))


def save_designs(found: Designs, folder: Path) -> list[Path]:
    """Each design on the front as a JSON file, which `compressed:FILE.json` names."""
    return [
        row.multiplier.design.save(folder / f"{name.replace(' ', '-')}.json")
        for name, row in zip(names(found), found.rows, strict=True)
        if row.label == "design" and row.on_front and isinstance(row.multiplier, Compressed)
    ]
