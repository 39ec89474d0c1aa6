"""What a reproduction is: a named function of a Setting that gives a table with the paper's figures beside ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carrysave.hardware.cells import compact_library
from carrysave.hardware.liberty import read_liberty
from carrysave.registry import SpecError, nearest
from carrysave.trials import Progress, silent

if TYPE_CHECKING:
    from carrysave.hardware.library import Library

Cell = str | float | int | None
REPRODUCTIONS: dict[str, Entry] = {}


@dataclass(frozen=True)
class Setting:
    """Where a reproduction finds its data and cells, and how it reports its progress.

    Attributes:
        liberty: cell libraries; without any, the full ASAP7 of the data folder, else the built-in compact one.
    """

    data_root: Path | None = None
    liberty: tuple[Path, ...] = ()
    progress: Progress = silent

    def library(self) -> Library:
        """The cells to synthesise with."""
        paths = list(self.liberty) or _full_asap7(self.data_root)
        return read_liberty(paths) if paths else compact_library()


@dataclass(frozen=True)
class Check:
    """One thing the paper's figures let us ask: what we got, what was wanted, and whether it holds."""

    what: str
    ours: float
    wanted: str
    met: bool


@dataclass(frozen=True)
class Bars:
    """A panel of stacked bars: the height of each part of each bar."""

    panel: str
    names: tuple[str, ...]
    parts: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Reproduction:
    """A table. A column's name says its unit; a figure that does not exist is None and is shown as "-"."""

    name: str
    title: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    conditions: tuple[tuple[str, str], ...] = ()
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    x_axis: str = "clock (GHz)"
    bars: tuple[Bars, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(self)

    def markdown(self, command: str) -> str:
        """The table as a page of docs/results, with the command that made it."""
        lines = [f"# {self.title}", "", f"Source: {self.source}. Made by `{command}`.", ""]
        lines += [f"| {' | '.join(self.columns)} |", f"|{'---|' * len(self.columns)}"]
        lines += [f"| {' | '.join(shown(cell) for cell in row)} |" for row in self.rows]
        if self.checks:
            lines += ["", "| check | ours | wanted | |", "|---|---|---|---|"]
            lines += [
                f"| {c.what} | {shown(c.ours)} | {c.wanted} | {'met' if c.met else 'MISSED'} |" for c in self.checks
            ]
        lines += ["", *(f"* {what}: {text}" for what, text in self.conditions)]
        lines += [line for note in self.notes for line in ("", note)]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Entry:
    """A registered reproduction."""

    name: str
    what: str
    run: Callable[[Setting], Reproduction]


def reproduction(name: str, what: str) -> Callable[[Callable[[Setting], Reproduction]], Callable[..., Reproduction]]:
    """Decorator: enter a function under the name that `carrysave reproduce` takes."""

    def enter(run: Callable[[Setting], Reproduction]) -> Callable[[Setting], Reproduction]:
        REPRODUCTIONS[name] = Entry(name, what, run)
        return run

    return enter


def named(name: str) -> Entry:
    """The reproduction called `name`. Raises SpecError with the nearest name."""
    if name not in REPRODUCTIONS:
        known = ", ".join(sorted(REPRODUCTIONS))
        raise SpecError(f"unknown reproduction {name!r}{nearest(name, REPRODUCTIONS)}; known: {known}")
    return REPRODUCTIONS[name]


def shown(cell: Cell) -> str:
    """A cell as text: four significant digits, whole numbers whole, "-" for what does not exist."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 1000 or abs(cell) < 1e-9 else f"{cell:.4g}"
    return str(cell)


def ratio(ours: float | None, of: float | None) -> float | None:
    """`ours / of`, None where either is missing."""
    return ours / of if ours is not None and of else None


def _full_asap7(data_root: Path | None) -> Sequence[Path]:
    roots = [data_root, Path(os.environ["CARRYSAVE_DATA"]) if "CARRYSAVE_DATA" in os.environ else None]
    for root in roots:
        found = sorted((root / "liberty").glob("asap7sc7p5t_*_RVT_TT_nldm_*.lib.gz")) if root else []
        if found:
            return found
    return ()
