"""A standard-cell library in memory, in one set of units: um2, ps, fF, fJ, nW, V.

The classes follow Liberty (cells, pins, timing arcs, internal power), whatever units and axis orders a file used. A
library can be kept as plain data (`to_data`, `from_data`), which is the form of the compact library and of the cache
of large files.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.functions import parse_function, truth_table


class LibraryError(ValueError):
    """A cell library cannot be read or cannot be used for what was asked."""


@dataclass(frozen=True, eq=False)
class Table:
    """Values over two axes, for delays and energies input slew [ps] by output load [fF].

    A table that depends on one variable has a single entry on the other axis, a constant on both.
    """

    slew: tuple[float, ...]
    load: tuple[float, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.slew), len(self.load)):
            raise LibraryError(
                f"table of shape {self.values.shape} on axes of {len(self.slew)} and {len(self.load)} points"
            )

    def at(self, slew: Any, load: Any) -> Any:
        """Bilinear interpolation, outside the axes continued linearly; scalars or arrays of equal shape."""
        i, u = _bracket(self.slew, slew)
        j, v = _bracket(self.load, load)
        ii, jj = np.minimum(i + 1, len(self.slew) - 1), np.minimum(j + 1, len(self.load) - 1)
        low = self.values[i, j] * (1 - v) + self.values[i, jj] * v
        high = self.values[ii, j] * (1 - v) + self.values[ii, jj] * v
        return low * (1 - u) + high * u

    def point(self, slew: float, load: float) -> float:
        """`at` of one point, without NumPy's price for scalars."""
        rows = self._rows
        i, u = _bracket_one(self.slew, slew)
        j, v = _bracket_one(self.load, load)
        first, second = rows[i], rows[min(i + 1, len(self.slew) - 1)]
        jj = min(j + 1, len(self.load) - 1)
        low = first[j] * (1 - v) + first[jj] * v
        high = second[j] * (1 - v) + second[jj] * v
        return low * (1 - u) + high * u

    @cached_property
    def _rows(self) -> list[list[float]]:
        return self.values.tolist()


def _bracket_one(axis: tuple[float, ...], x: float) -> tuple[int, float]:
    if len(axis) == 1:
        return 0, 0.0
    i = min(max(bisect_right(axis, x) - 1, 0), len(axis) - 2)
    return i, (x - axis[i]) / (axis[i + 1] - axis[i])


def _bracket(axis: tuple[float, ...], x: Any) -> tuple[Any, Any]:
    if len(axis) == 1:
        return np.zeros(np.shape(x), dtype=np.intp), np.zeros(np.shape(x))
    points = np.asarray(axis)
    i = np.clip(np.searchsorted(points, x, side="right") - 1, 0, len(axis) - 2)
    return i, (x - points[i]) / (points[i + 1] - points[i])


@dataclass(frozen=True, eq=False)
class Arc:
    """How an output (or for `constraint`, a data pin) answers to `related_pin`, where `when` holds."""

    related_pin: str
    sense: str = "non_unate"  # positive_unate, negative_unate, non_unate
    type: str = "combinational"  # Liberty's timing_type
    when: str | None = None
    tables: dict[str, Table] = field(default_factory=dict)  # cell_rise, rise_transition, fall_constraint, ...


@dataclass(frozen=True, eq=False)
class Power:
    """Internal energy per transition of its pin [fJ]; `related_pin` is None where an input moves no output."""

    related_pin: str | None
    when: str | None
    rise: Table | None
    fall: Table | None


@dataclass(frozen=True, eq=False)
class Pin:
    name: str
    direction: str  # input, output, inout, internal
    capacitance_ff: float = 0.0
    function: str | None = None
    max_capacitance_ff: float | None = None
    clock: bool = False
    arcs: tuple[Arc, ...] = ()
    powers: tuple[Power, ...] = ()


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell. `kind`: combinational, flip_flop, latch, or other (clock gates, three-state, fillers: never chosen)."""

    name: str
    area_um2: float
    leakage_nw: float
    pins: tuple[Pin, ...]
    kind: str = "combinational"
    leakage_states: tuple[tuple[str, float], ...] = ()  # (when, nW)
    state: dict[str, str] = field(default_factory=dict)  # of a flip-flop: q, qn, next_state, clocked_on, clear, preset
    dont_use: bool = False

    def pin(self, name: str) -> Pin:
        for pin in self.pins:
            if pin.name == name:
                return pin
        raise LibraryError(f"cell {self.name} has no pin {name}; it has {', '.join(p.name for p in self.pins)}")

    @property
    def inputs(self) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.pins if pin.direction == "input")

    @property
    def outputs(self) -> tuple[Pin, ...]:
        return tuple(pin for pin in self.pins if pin.direction == "output")

    def truth(self) -> tuple[int, ...]:
        """Truth table of each output over the inputs in pin order (`functions.truth_table`)."""
        names = tuple(pin.name for pin in self.inputs)
        return tuple(truth_table(parse_function(pin.function), names) for pin in self.outputs if pin.function)


@dataclass(frozen=True, eq=False)
class Library:
    name: str
    voltage: float
    temperature: float
    cells: dict[str, Cell]
    source: str  # file names, or for the built-in library where its figures come from
    digest: str  # of the content it was read from

    def __getitem__(self, name: str) -> Cell:
        if name not in self.cells:
            raise LibraryError(f"library {self.name} has no cell {name}")
        return self.cells[name]

    def combinational(self) -> tuple[Cell, ...]:
        """The cells without state, three-state outputs or a dont_use mark."""
        return tuple(c for c in self.cells.values() if c.kind == "combinational" and not c.dont_use and c.outputs)

    def flip_flops(self) -> tuple[Cell, ...]:
        return tuple(c for c in self.cells.values() if c.kind == "flip_flop" and not c.dont_use)

    def subset(self, names: Iterable[str]) -> Library:
        """The library with these cells only."""
        names = sorted(set(names))
        cells = {name: self[name] for name in names}
        digest = hashlib.sha256("\n".join([self.digest, *names]).encode()).hexdigest()
        return replace(self, cells=cells, digest=digest)


def check_mappable(library: Library) -> None:
    """Raise LibraryError unless a mapper can express every function: an inverter, a buffer, and a NAND or NOR (or
    AND/OR).
    """
    truths = {(len(cell.inputs), *cell.truth()) for cell in library.combinational()}
    needs = {
        "an inverter": {(1, 0b01)},
        "a buffer": {(1, 0b10)},
        "a two-input NAND, NOR, AND or OR": {(2, 0b0111), (2, 0b0001), (2, 0b1000), (2, 0b1110)},
    }
    missing = [what for what, forms in needs.items() if not truths & forms]
    if missing:
        raise LibraryError(
            f"library {library.name} ({library.source}) lacks {', '.join(missing)} "
            f"among its {len(library.combinational())} combinational cells; "
            "a kit split over several files needs all of them: give --liberty once for each"
        )


def check_has_flip_flops(library: Library, found: int) -> None:
    """Raise LibraryError unless flip-flops were found: registers cannot be made of gates."""
    if not found:
        raise LibraryError(
            f"mapping registers: library {library.name} ({library.source}) has no plain rising-edge flip-flop "
            f"(one data input, one clock) among its {len(library.cells)} cells; "
            "a kit split over several files needs its sequential file, too: give --liberty once for each"
        )


# ---------------------------------------------------------------- plain data


def to_data(library: Library) -> dict[str, Any]:
    """The library as JSON-ready data; equal axes are stored once."""
    axes: dict[tuple[float, ...], int] = {}

    def table(t: Table | None) -> list[Any] | None:
        if t is None:
            return None
        indices = [axes.setdefault(axis, len(axes)) for axis in (t.slew, t.load)]
        return [*indices, *(float(f"{v:.6g}") for v in t.values.ravel())]

    cells = []
    for cell in library.cells.values():
        pins = []
        for pin in cell.pins:
            arcs = [
                [a.related_pin, a.sense, a.type, a.when, {k: table(t) for k, t in a.tables.items()}] for a in pin.arcs
            ]
            powers = [[p.related_pin, p.when, table(p.rise), table(p.fall)] for p in pin.powers]
            pins.append(
                [
                    pin.name,
                    pin.direction,
                    pin.capacitance_ff,
                    pin.function,
                    pin.max_capacitance_ff,
                    pin.clock,
                    arcs,
                    powers,
                ]
            )
        cells.append(
            [
                cell.name,
                cell.area_um2,
                cell.leakage_nw,
                cell.kind,
                cell.dont_use,
                list(cell.leakage_states),
                cell.state,
                pins,
            ]
        )
    return {
        "format": 1,
        "name": library.name,
        "voltage": library.voltage,
        "temperature": library.temperature,
        "source": library.source,
        "digest": library.digest,
        "cells": cells,
        "axes": list(axes),
    }


def from_data(data: dict[str, Any]) -> Library:
    """The library that `to_data` wrote. Raises LibraryError for data of another format."""
    if not isinstance(data, dict) or data.get("format") != 1:
        raise LibraryError(
            "this is no cell library in carrysave's data form 1; write one with carrysave.hardware.distill"
        )
    axes = [tuple(axis) for axis in data["axes"]]

    def table(t: list[Any] | None) -> Table | None:
        if t is None:
            return None
        slew, load = axes[t[0]], axes[t[1]]
        return Table(slew, load, np.array(t[2:], dtype=np.float64).reshape(len(slew), len(load)))

    def arc(row: list[Any]) -> Arc:
        tables = {name: made for name, t in row[4].items() if (made := table(t)) is not None}
        return Arc(row[0], row[1], row[2], row[3], tables)

    cells = {}
    for name, area, leakage, kind, dont_use, leakage_states, state, pins in data["cells"]:
        made = tuple(
            Pin(
                p[0],
                p[1],
                p[2],
                p[3],
                p[4],
                p[5],
                tuple(map(arc, p[6])),
                tuple(Power(r[0], r[1], table(r[2]), table(r[3])) for r in p[7]),
            )
            for p in pins
        )
        cells[name] = Cell(name, area, leakage, made, kind, tuple((w, v) for w, v in leakage_states), state, dont_use)
    return Library(data["name"], data["voltage"], data["temperature"], cells, data["source"], data["digest"])


def to_json(library: Library) -> bytes:
    return json.dumps(to_data(library), separators=(",", ":")).encode()
