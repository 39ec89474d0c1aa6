"""A page per multiplier: where its area and energy go, its critical path, and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from carrysave.report import pictures, tables
from carrysave.results import PowerFigure, Results, Row

MAP_BITS = 12  # widest operands whose error map is drawn


@dataclass(frozen=True)
class Bar:
    """A stacked bar: (part, share in percent, figure as text) of a whole."""

    title: str
    total: str
    segments: tuple[tuple[str, float, str], ...]


@dataclass(frozen=True)
class Page:
    """Of one row; `steps` of the path are (cell, edge, arrival, load) as text, `maps` (title, data URI)."""

    name: str
    figures: tuple[tuple[str, str], ...]
    circuit: str
    bars: tuple[Bar, ...]
    matched: float
    start: str
    steps: tuple[tuple[str, str, str, str], ...]
    maps: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def pages(results: Results) -> list[Page]:
    """One for each row with one multiplier, exact first."""
    found = []
    for row in sorted((row for row in results.rows if row.cost), key=lambda row: row.kind != "exact"):
        power = row.power or row.own_power
        path = power.path if power else {"start": "", "steps": ()}
        found.append(
            Page(
                name=row.name,
                figures=tuple(_figures(row, results.frequency_ghz)),
                circuit=_circuit(power, results.frequency_ghz),
                bars=bars(row),
                matched=power.matched if power else 0.0,
                start=path["start"],
                steps=tuple(_step(step) for step in path["steps"]),
                maps=tuple(
                    (title, pictures.data_uri(pictures.steps_png(picture))) for title, picture in maps(results, row)
                ),
                notes=tuple(dict.fromkeys(note for p in (row.power, row.own_power) if p for note in p.notes)),
            )
        )
    return found


def bars(row: Row) -> tuple[Bar, ...]:
    """Area, and dynamic energy under each activity, by part."""
    power = row.power or row.own_power
    found = [_bar("area", power.area_parts, "µm²")] if power else []
    for figure in (row.power, row.own_power):
        if figure:
            found.append(_bar(f"energy, {figure.activity}", figure.energy_parts, "fJ"))
    return tuple(found)


def _bar(title: str, parts: Mapping[str, float], unit: str) -> Bar:
    total = sum(parts.values())
    segments = tuple(
        (part, 100 * parts[part] / total if total else 0.0, f"{tables.number(parts[part], 2)} {unit}")
        for part in tables.in_order(parts)
    )
    return Bar(title, f"{tables.number(total, 2)} {unit}", segments)


def _figures(row: Row, frequency_ghz: float) -> list[tuple[str, str]]:
    assert row.cost is not None
    found = [
        ("smallest", f"{tables.number(row.cost.area_um2, 2)} µm², {tables.number(row.cost.pareto[0].delay_ps, 0)} ps"),
        ("fastest", f"{tables.number(row.cost.delay_ps, 0)} ps, {tables.number(row.cost.pareto[-1].area_um2, 2)} µm²"),
    ]
    for power in (row.power, row.own_power):
        if power:
            found.append(
                (
                    f"power, {power.activity}",
                    f"{tables.number(power.total_uw, 2)} ± {tables.number(power.standard_error_uw, 2)} µW "
                    f"at {power.frequency_ghz:g} GHz: switching {tables.number(power.switching_uw, 2)}, internal "
                    f"{tables.number(power.internal_uw, 2)}, leakage {tables.number(power.leakage_uw, 2)}",
                )
            )
    if row.energy_nj is not None:
        found.append(
            (
                "energy, this network's operands",
                f"{tables.number(row.energy_fj, 2)} fJ per product; {tables.number(row.energy_nj, 3)} nJ per inference "
                f"of {row.macs:,} products, multipliers only",
            )
        )
    if not row.power:
        found.append(("power", f"– no mapping meets {frequency_ghz:g} GHz"))
    return found


def _circuit(power: PowerFigure | None, frequency_ghz: float) -> str:
    if power is None:
        return ""
    return (
        f"the smallest mapping that meets {frequency_ghz:g} GHz: {tables.number(power.area_um2, 2)} µm², "
        f"{tables.number(power.delay_ps, 1)} ps, script {power.script}"
    )


def _step(step: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        tables.short_cell(step["cell"]),
        "↑" if step["edge"] == "rise" else "↓",
        tables.number(step["arrival_ps"], 0),
        tables.number(step["load_ff"], 1),
    )


def maps(results: Results, row: Row) -> list[tuple[str, np.ndarray]]:
    """(title, palette steps [side, side]) of a row's error: all pairs alike, and weighted by the network's operands."""
    from carrysave.errors import error_map

    m = results.multipliers.get(row.multipliers[0]) if len(row.multipliers) == 1 else None
    if m is None or max(m.a_bits, m.b_bits) > MAP_BITS or not (errors := error_map(m)).any():
        return []
    found = [("all operand pairs alike", pictures.error_steps(pictures.shrink(pictures.by_value(errors, m.signed))))]
    if row.operands is not None:
        weighted = errors * np.multiply.outer(*map(np.asarray, row.operands))
        found.append(
            ("weighted by this network's operands", pictures.weighted_steps(pictures.by_value(weighted, m.signed)))
        )
    return found
