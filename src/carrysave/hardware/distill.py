"""A compact library from any Liberty file: few cells, small tables, the same areas.

    python -m carrysave.hardware.distill LIB... -o FILE.json.gz

Two things make a kit large: cells that a mapper hardly ever takes, and tables finer than delays need. Cells are ranked
by their share of the area of what the whole library makes of a set of multipliers. Each table keeps three points per
axis, those at which a bilinear surface fitted by least squares comes closest to it in the range of slews and loads met
inside mapped circuits. Arcs of one pin pair are merged into their worst case, as ABC does; energies keep their
conditions. Area, pin capacitance and function are kept as they are. Of the cells with state the plain flip-flops are
kept, all of them, with setup and hold times.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.flops import is_plain
from carrysave.hardware.liberty import read_liberty
from carrysave.hardware.liberty_writer import worst_arc
from carrysave.hardware.library import Cell, Library, Pin, Power, Table, to_json
from carrysave.hardware.synthesis import synthesize_many
from carrysave.multipliers import MULTIPLIERS
from carrysave.paths import write_atomically

CELLS = 84  # combinational ones
POINTS = 3
# (inputs, truth table) of what every mapper needs, and of how many: buffers are rare in small circuits and needed in
# large ones; a tiny benchmark may do without an inverter
_NEEDED = (({(1, 0b10)}, 4), ({(1, 0b01)}, 1), ({(2, 0b0111), (2, 0b0001)}, 1))
_CONSTRAINTS = ("setup_rising", "hold_rising")
# what decides which cells are kept: exact and approximate, shallow and deep, multiplexers and adders
BENCHMARKS = (
    "exact", "exact:tree=array", "exact:tree=wallace", "exact:tree=array,adder=ripple", "exact:signed=true", "kulkarni",
    "kulkarni:depth=3", "or_compressed", "recovery:c=6", "planar:level=1", "planar:level=3", "venkatachalam",
    "truncated:c=6", "mitchell", "mitchell_w:w=6", "drum:k=4", "drum:k=6",
)  # fmt: skip
_SLEWS_PS = (0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 26.0, 32.0, 40.0, 50.0, 65.0, 80.0, 110.0, 160.0)
_LOADS = (0.0, 0.3, 0.6, 0.9, 1.2, 1.6, 2.0, 2.6, 3.4, 4.5, 6.0, 8.0, 12.0, 24.0)  # times the first load of the axis


def distill(library: Library, cells: Iterable[str], source: str, digits: int = 4) -> Library:
    """The library with these cells and 3x3 tables; `source` says where the figures come from and their licence."""
    chosen = library.subset(cells)
    small = {name: _shrink_cell(cell, digits) for name, cell in chosen.cells.items()}
    compact = replace(chosen, cells=small, source=source)
    return replace(compact, digest=hashlib.sha256(to_json(compact)).hexdigest())


def choose_cells(
    library: Library,
    count: int = CELLS,
    benchmarks: Sequence[str] = BENCHMARKS,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[str]:
    """The cells that circuits made with the whole library spend their area on, most first."""
    results = synthesize_many([MULTIPLIERS.parse(spec) for spec in benchmarks], library, progress=progress)
    share: dict[str, float] = {}
    for result in results:
        for mapped in result.pareto:
            for cell, number in mapped.netlist.cells().items():
                part = number * library[cell].area_um2 / mapped.area_um2 / len(result.pareto)
                share[cell] = share.get(cell, 0.0) + part
    ranked = sorted(share, key=lambda cell: -share[cell])
    needed = [name for forms, number in _NEEDED for name in _most_used(library, share, forms, number)]
    return needed + [cell for cell in ranked if cell not in needed][: count - len(needed)]


def _most_used(library: Library, share: dict[str, float], forms: set[tuple[int, int]], number: int) -> list[str]:
    known = [c for c in library.combinational() if (len(c.inputs), *c.truth()) in forms]
    return [c.name for c in sorted(known, key=lambda c: (-share.get(c.name, 0.0), c.area_um2))][:number]


def _shrink_cell(cell: Cell, digits: int) -> Cell:
    return replace(cell, pins=tuple(_shrink_pin(cell, pin, digits) for pin in cell.pins))


def _shrink_pin(cell: Cell, pin: Pin, digits: int) -> Pin:
    arcs = []
    for related in cell.inputs:
        arc = worst_arc(pin.arcs, related.name)
        if arc:
            arcs.append(replace(arc, tables={k: shrink_table(t, digits) for k, t in arc.tables.items()}))
    for arc in pin.arcs:
        if arc.type in _CONSTRAINTS:
            tables = {k: shrink_table(t, digits, loads=_SLEWS_PS) for k, t in arc.tables.items()}
            arcs.append(replace(arc, tables=tables))
    powers = [Power(p.related_pin, p.when, _maybe(p.rise, digits), _maybe(p.fall, digits)) for p in pin.powers]
    return replace(pin, arcs=tuple(arcs), powers=tuple(powers))


def _maybe(table: Table | None, digits: int) -> Table | None:
    return None if table is None else shrink_table(table, digits)


def shrink_table(table: Table, digits: int = 4, points: int = POINTS, loads: tuple[float, ...] | None = None) -> Table:
    """The table on `points` of its own points per axis, with the values that come closest to it in the range met.

    `loads` is that range on the second axis; by default multiples of its first point.
    """
    slew_axis, load_axis = (
        _Axis.of(table.slew, points, _SLEWS_PS),
        _Axis.of(table.load, points, loads or tuple(load * table.load[0] for load in _LOADS)),
    )
    wanted = table.at(*np.meshgrid(slew_axis.samples, load_axis.samples, indexing="ij"))
    # the squared error of a least-squares fit is what lies outside the two column spaces: keep the most inside
    inside = slew_axis.bases.T @ wanted @ load_axis.bases
    shape = (len(slew_axis.choices), -1, len(load_axis.choices), load_axis.bases.shape[1] // len(load_axis.choices))
    kept = np.square(inside.reshape(shape)).sum(axis=(1, 3))
    i, j = np.unravel_index(int(kept.argmax()), kept.shape)
    values = slew_axis.fits[i] @ wanted @ load_axis.fits[j].T
    rounded = np.array([float(f"{value:.{digits}g}") for value in values.ravel()]).reshape(values.shape)
    return Table(slew_axis.choices[i], load_axis.choices[j], rounded)


@dataclass(frozen=True, eq=False)
class _Axis:
    """All choices of points on an axis: the matrices that fit values to samples, and bases of what they can express."""

    samples: NDArray[np.float64]
    choices: tuple[tuple[float, ...], ...]
    fits: tuple[NDArray[np.float64], ...]
    bases: NDArray[np.float64]

    @staticmethod
    @cache
    def of(axis: tuple[float, ...], points: int, met: tuple[float, ...]) -> _Axis:
        if len(axis) == 1:
            return _Axis(np.zeros(1), (axis,), (np.ones((1, 1)),), np.ones((1, 1)))
        samples, choices, fits, bases = np.array(met), [], [], []
        for chosen in itertools.combinations(axis, min(points, len(axis))):
            hats = [
                Table(chosen, (0.0,), row[:, None]).at(samples, np.zeros_like(samples)) for row in np.eye(len(chosen))
            ]
            design = np.stack(hats, axis=1)
            if np.linalg.matrix_rank(design) == len(chosen):
                choices.append(chosen)
                fits.append(np.linalg.pinv(design))
                bases.append(np.linalg.qr(design)[0])
        return _Axis(samples, tuple(choices), tuple(fits), np.concatenate(bases, axis=1))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m carrysave.hardware.distill", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("liberty", nargs="+", type=Path, help="Liberty files, .gz or not; read as one library")
    parser.add_argument("-o", "--output", required=True, type=Path, help="compact library to write, .json.gz")
    parser.add_argument("--cells", type=int, default=CELLS, help=f"how many cells to keep (default {CELLS})")
    parser.add_argument("--source", help="where the figures come from and their licence (default: the file names)")
    options = parser.parse_args(arguments)
    library = read_liberty(options.liberty)
    names = choose_cells(library, options.cells, BENCHMARKS, progress=_print_progress)
    names += [cell.name for cell in library.flip_flops() if is_plain(cell)]
    compact = distill(library, names, options.source or library.source)
    write_atomically(options.output, gzip.compress(to_json(compact), 9, mtime=0))
    print(
        f"{options.output}: {len(names)} of {len(library.cells)} cells, {options.output.stat().st_size / 1000:.0f} KB"
    )


def _print_progress(done: int, total: int, name: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total} {name:40s}", end="" if done < total else "\n", flush=True, file=sys.stderr)


if __name__ == "__main__":
    main()
