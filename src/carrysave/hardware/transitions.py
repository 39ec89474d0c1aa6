"""What a cell does on each transition of its inputs, worked out once per cell.

A gate of k inputs has 4^k transitions: its inputs' bits before and after. Which power tables speak of each, and with
which weight, depends on the cell alone; so a netlist's energy is a table per gate, looked up once per vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from carrysave.hardware.functions import evaluate, parse_function
from carrysave.hardware.library import Cell, Power, Table
from carrysave.hardware.timing import EDGES

TABULATED_INPUTS = 6  # of a wider cell only the transitions that happen are worked out: 4^9 are more than those

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Entry:
    """A power table that is read at the slew of an edge of the input `pin` and at the load of `output` (None: 0)."""

    table: Table
    pin: str
    edge: str
    output: str | None


@dataclass(frozen=True, eq=False)
class Transitions:
    """A cell's answer to T transitions.

    Attributes:
        toggles: by output pin, whether it toggles [T].
        entries, weights: by output pin (None: those of the input pins), tables and how much of each is spent [E, T].
        leakage_nw: of the state after the transition [T].
    """

    toggles: Mapping[str, Bits]
    entries: Mapping[str | None, tuple[Entry, ...]]
    weights: Mapping[str | None, NDArray[np.float64]]
    leakage_nw: NDArray[np.float64]


@lru_cache(maxsize=512)
def tabulated(cell: Cell, pins: tuple[str, ...], outputs: tuple[str, ...]) -> Transitions:
    """All transitions of the connected input `pins`, in the order of `values_of`."""
    return transitions(cell, *values_of(np.arange(1 << 2 * len(pins)), pins), outputs)


def values_of(index: NDArray[np.integer], pins: tuple[str, ...]) -> tuple[dict[str, Bits], dict[str, Bits]]:
    """Values of the k pins before and after numbered transitions: bit i is pin i before, bit k + i after."""
    index = index.astype(np.uint64)
    before, after = (
        {pin: (index >> np.uint64(first + i) & np.uint64(1)).astype(bool) for i, pin in enumerate(pins)}
        for first in (0, len(pins))
    )
    return before, after


def transitions(
    cell: Cell, before: Mapping[str, Bits], after: Mapping[str, Bits], outputs: Iterable[str]
) -> Transitions:
    """Any transitions, given the values of the input pins before and after."""
    size = next(iter(after.values())).size if after else 1
    ones = np.ones(size, dtype=bool)
    functions = {pin.name: parse_function(pin.function) for pin in cell.outputs if pin.function}
    was, now = (
        {**values, **{pin: evaluate(tree, values, ones) for pin, tree in functions.items()}}
        for values in (before, after)
    )
    edges = {
        (pin, edge): (was[pin] ^ now[pin]) & (now[pin] if edge == "rise" else was[pin]) for pin in now for edge in EDGES
    }
    found: dict[str | None, list[tuple[Entry, NDArray[np.float64]]]] = {}
    chosen = [pin for pin in outputs if pin in functions]
    for pin in chosen:
        arcs = [arc for arc in cell.pin(pin).powers if arc.related_pin in after]
        found[pin] = [row for edge in EDGES for row in _of_output(arcs, pin, edge, edges, now, ones)]
    found[None] = [row for pin in after for row in _of_input(cell.pin(pin).powers, pin, edges, now, ones)]
    kept = {pin: [row for row in rows if row[1].any()] for pin, rows in found.items()}
    return Transitions(
        {pin: was[pin] ^ now[pin] for pin in chosen},
        {pin: tuple(entry for entry, _ in rows) for pin, rows in kept.items()},
        {pin: np.array([weight for _, weight in rows]).reshape(len(rows), size) for pin, rows in kept.items()},
        _leakage(cell, now, ones),
    )


def _of_output(
    arcs: list[Power], pin: str, edge: str, edges: Mapping[tuple[str, str], Bits], state: Mapping[str, Bits], ones: Bits
) -> list[tuple[Entry, NDArray[np.float64]]]:
    """One edge of an output: the mean over the arcs that explain it.

    Where several inputs toggle at once no arc's `when` may hold; then all arcs of the pins that toggled count alike.
    """
    moves, rows = edges[pin, edge], []
    for arc in arcs:
        table = arc.rise if edge == "rise" else arc.fall
        if table is None:
            continue
        source, holds = str(arc.related_pin), _holds(arc.when, state, ones)
        for edge_in in EDGES:
            causes = edges[source, edge_in] & moves
            rows.append((Entry(table, source, edge_in, pin), causes, causes & holds))
    loose_count, strict_count = (sum((row[k].astype(float) for row in rows), np.zeros(ones.size)) for k in (1, 2))
    return [
        (entry, np.where(strict_count > 0, strict / np.maximum(strict_count, 1), loose / np.maximum(loose_count, 1)))
        for entry, loose, strict in rows
    ]


def _of_input(
    powers: Iterable[Power], pin: str, edges: Mapping[tuple[str, str], Bits], state: Mapping[str, Bits], ones: Bits
) -> list[tuple[Entry, NDArray[np.float64]]]:
    """An input pin's own entries, which Liberty gives where no output moves."""
    return [
        (Entry(table, pin, edge, None), (edges[pin, edge] & _holds(arc.when, state, ones)).astype(float))
        for arc in powers
        for edge, table in (("rise", arc.rise), ("fall", arc.fall))
        if table is not None
    ]


def _holds(when: str | None, state: Mapping[str, Bits], ones: Bits) -> Bits:
    return ones if when is None else evaluate(parse_function(when), state, ones)


def _leakage(cell: Cell, state: Mapping[str, Bits], ones: Bits) -> NDArray[np.float64]:
    """Leakage [nW] of each state; those that the library leaves out have the cell's own figure."""
    leakage, open_ = np.full(ones.size, cell.leakage_nw), ones
    for when, value in cell.leakage_states:
        holds = _holds(when, state, ones) & open_
        leakage = np.where(holds, value, leakage)
        open_ = open_ & ~holds
    return leakage
