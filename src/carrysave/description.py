"""What there is to say about one multiplier, as data: `carrysave show` and `carrysave list` print it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from carrysave.multipliers import MULTIPLIERS
from carrysave.registry import Registry, nearest

CLOCK_GHZ = 1.0  # of the power that is shown
ERROR_TITLES = (
    ("mean_error", "mean error", 3, ""),
    ("mean_absolute_error", "mean |error|", 3, ""),
    ("mean_relative_error", "mean relative", 3, "%"),
    ("nmed", "normalised (NMED)", 4, "%"),
    ("mred", "mean |relative| (MRED)", 3, "%"),
    ("worst_case", "worst |error|", 0, ""),
    ("error_rate", "products that are wrong", 2, "%"),
)


def first_sentence(cls: type) -> str:
    """The first sentence of a class's docstring, on one line."""
    text = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    end = text.find(". ")
    return (text if end < 0 else text[: end + 1]).rstrip(".")


def catalog(registry: Registry = MULTIPLIERS) -> list[dict[str, Any]]:
    """Name, one-line description and parameters with their defaults of every registered multiplier, or unit."""
    entries = []
    for name in registry.names():
        cls: Any = registry.get(name)
        own = [f for f in dataclasses.fields(cls) if f.init and f.name not in ("n", "signed")]
        parameters = [f.name if f.default is dataclasses.MISSING else f"{f.name}={f.default}" for f in own]
        entries.append({"name": name, "description": first_sentence(cls), "parameters": parameters})
    return entries


def listed(what: str) -> list[dict[str, Any]]:
    """`catalog` of the multipliers or the units. Raises ValueError for another word."""
    if what == "multipliers":
        return catalog()
    if what != "units":
        near = nearest(what, ("multipliers", "units"))
        raise ValueError(f"list {what}: there are multipliers and units{near}")
    from carrysave.hardware.units import UNITS

    return catalog(UNITS)


def describe(spec: str, liberty: Sequence[Path], effort: str = "normal") -> tuple[dict[str, Any], Any]:
    """(record of JSON values, error map or None) of a multiplier. Raises SpecError, LibraryError."""
    from carrysave.engines.plan import plan
    from carrysave.errors import error_map, measure
    from carrysave.hardware.cells import compact_library
    from carrysave.hardware.liberty import read_liberty
    from carrysave.report.pictures import by_value

    if effort not in ("quick", "normal"):
        raise ValueError(f"--effort {effort}: it is quick or normal")
    m = MULTIPLIERS.parse(spec)
    library = read_liberty(list(liberty)) if liberty else compact_library()
    metrics = measure(m)
    planned = plan(m)
    errors = dataclasses.asdict(metrics)
    record = {
        "spec": m.spec,
        "description": first_sentence(type(m)),
        "operands": f"{m.a_bits} x {m.b_bits} bits, {'signed' if m.signed else 'unsigned'}",
        "errors": errors,
        "error_lines": _error_lines(errors),
        "plan": {"engine": planned.engine, "rank": planned.rank, "text": str(planned)},
        **_hardware(m, library, effort),
    }
    drawable = max(m.a_bits, m.b_bits) <= 12
    return record, by_value(error_map(m), m.signed) if drawable else None


def _hardware(m: Any, library: Any, effort: Any) -> dict[str, Any]:
    """Cost, critical paths and power; for a multiplier that cannot be synthesised `cost_note` says why."""
    from carrysave.hardware.anatomy import critical_path
    from carrysave.hardware.cost import cost_of
    from carrysave.hardware.rtl import rtlil
    from carrysave.hardware.synthesis import synthesize
    from carrysave.hardware.tools import SynthesisError

    try:
        rtlil(m)
    except ValueError as error:
        return {"cost": None, "cost_note": str(error), "critical_paths": {}, "power": None}
    try:
        synthesis = synthesize(m, library, effort=effort)
    except SynthesisError as error:
        return {"cost": None, "cost_note": str(error), "critical_paths": {}, "power": None}
    price = cost_of(m, synthesis, effort)
    return {
        "cost": {
            "area_um2": price.area_um2,
            "min_delay_ps": price.min_delay_ps,
            "cells": dict(price.cells),
            "source": price.source,
            "pareto": [{"area_um2": a, "delay_ps": d, "script": str(s)} for a, d, s in price.pareto],
        },
        "critical_paths": {
            which: critical_path(mapped.netlist, library).to_dict()
            for which, mapped in (("fastest", synthesis.fastest), ("smallest", synthesis.smallest))
        },
        "power": _power(m, library, effort),
    }


def _power(m: Any, library: Any, effort: Any) -> dict[str, Any] | None:
    """Power at CLOCK_GHZ under the published tables' activity, and its parts; None where no circuit meets the clock."""
    from carrysave import powers
    from carrysave.hardware.activity import toggling

    record, _ = powers.timed(m, library, effort, CLOCK_GHZ, toggling({"a": m.a_bits, "b": m.b_bits}))
    figure = powers.figure(record)
    if figure is None:
        return None
    return {key: value for key, value in record.items() if key not in ("met", "path")} | {
        "total_uw": figure.total_uw,
        "energy_fj": figure.energy_fj,
        "text": str(figure),
    }


def _error_lines(errors: dict[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for key, title, decimals, unit in ERROR_TITLES:
        value = errors[key] * (100 if unit == "%" else 1)
        lines.append((title, f"{value:,.{decimals}f}" + (f" {unit}" if unit else "")))
    if errors["exhaustive"]:
        lines.append(("operand pairs", f"all {errors['samples']:,}"))
    else:
        lines.append(("operand pairs", f"{errors['samples']:,} at random, mean ± {errors['standard_error']:.3g}"))
    return lines


def error_picture(spec: str, errors: Any, path: Path) -> bytes:
    """An error map as PNG bytes. Raises ValueError for operands too wide, and for another kind of file."""
    from carrysave.report.figures import error_map_figure, to_bytes

    if path.suffix.lower() != ".png":
        raise ValueError(f"--map {path}: the map is a PNG file; give it a name ending in .png")
    if errors is None:
        raise ValueError(f"{spec}: an error map is drawn up to 12 bits an operand")
    return to_bytes(error_map_figure([(spec, errors)]), "png")
