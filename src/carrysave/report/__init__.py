"""Draws results: one self-contained HTML file, figures as PNG or SVG, tables in the terminal."""

from __future__ import annotations

from pathlib import Path

from carrysave.paths import write_atomically
from carrysave.results import Results

FIGURES = (".png", ".svg", ".pdf")


def save(results: Results, path: Path, *, x: str, y: str) -> Path:
    """The report (.html), the Pareto plot (.png, .svg, .pdf) or the rows (.json), by the name's ending.

    Raises ValueError for another ending, OSError where the file cannot be written.
    """
    kind = path.suffix.lower()
    if kind in (".html", ".htm"):
        from carrysave.report.html import render

        return write_atomically(path, render(results, x=x, y=y).encode())
    if kind in FIGURES:
        from carrysave.report.figures import pareto_figure, to_bytes

        return write_atomically(path, to_bytes(pareto_figure(results, x, y), kind[1:]))
    if kind == ".json":
        import json

        return write_atomically(path, json.dumps(results.to_dict(), indent=1).encode())
    raise ValueError(f"cannot save results as '{path}'; the name ends in .html, .json, {', '.join(FIGURES)}")


def save_figures(results: Results, folder: Path) -> list[Path]:
    """All figures of the report as PNG and SVG in `folder`, which is created."""
    from carrysave.report.figures import all_figures, to_bytes

    return [
        write_atomically(folder / f"{name}.{kind}", to_bytes(figure, kind))
        for name, figure in all_figures(results)
        for kind in ("png", "svg")
    ]
