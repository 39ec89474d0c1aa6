"""Trials' records: what goes into the store as JSON values and bytes, and what comes out as typed rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from carrysave.calibration import Calibration
from carrysave.evaluation import Accuracy, compare
from carrysave.multipliers import Multiplier
from carrysave.questions import Candidate, Effort
from carrysave.recipes import Arithmetic, Recipe
from carrysave.results import AccuracyFigure, CostFigure, Layer, LayerPlan, Paired, Point, Row, histogram
from carrysave.store import Stored
from carrysave.trials import multiplier_hash

if TYPE_CHECKING:
    from carrysave.hardware.library import Library


def calibration_to_bytes(calibration: Calibration) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.npz"
        calibration.save(path)
        return path.read_bytes()


def calibration_from_bytes(payload: bytes) -> Calibration:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.npz"
        path.write_bytes(payload)
        return Calibration.load(path)


def arithmetic_inputs(arithmetic: Arithmetic) -> dict[str, Any]:
    m, activation, weight = arithmetic.parts
    return {
        "activation": activation.spec,
        "weight": weight.spec,
        "multiplier": multiplier_hash(m),
        "ranges": str(arithmetic.ranges),
        "weight_scales": arithmetic.weight_scales,
    }


def recipe_inputs(recipe: Recipe) -> list[Any]:
    return [[rule.pattern, rule.arithmetic and arithmetic_inputs(rule.arithmetic)] for rule in recipe.rules]


def accuracy_result(accuracy: Accuracy, plans: list[Any], left: list[Any]) -> tuple[dict[str, Any], bytes]:
    low, high = accuracy.interval
    assert accuracy.predictions is not None and accuracy.labels is not None  # `evaluate` always gives them
    answers = np.stack([accuracy.predictions, accuracy.labels]).astype("<i4")
    result = {
        "correct": accuracy.correct,
        "total": accuracy.total,
        "low": low,
        "high": high,
        "plans": plans,
        "left": left,
    }
    return result, answers.tobytes()


def accuracy_figure(stored: Stored) -> AccuracyFigure:
    r = stored.result
    return AccuracyFigure(r["correct"], r["total"], 100 * r["correct"] / r["total"], r["low"], r["high"])


def paired(stored: Stored, baseline: Stored) -> Paired:
    def accuracy(of: Stored) -> Accuracy:
        predictions, labels = np.frombuffer(of.payload, "<i4").reshape(2, -1)
        return Accuracy(of.result["correct"], of.result["total"], predictions, labels)

    counts = compare(accuracy(stored), accuracy(baseline))
    return Paired(gained=counts.only_first, lost=counts.only_second)


def float_layers(
    calibration: Calibration, plans: Iterable[LayerPlan], left: Iterable[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """(name, why) of each layer that multiplied during calibration and that no plan emulates."""
    emulated, reasons = {plan.layer for plan in plans}, dict(left)
    return tuple(
        (name, reasons.get(name) or f"a {record.kind} cannot be emulated")
        for name, record in calibration.records.items()
        if name not in emulated
    )


def plan_record(replaced: Any) -> dict[str, Any]:
    plan = replaced.plan
    return {
        "layer": replaced.name,
        "kind": replaced.kind,
        "multiplier": replaced.arithmetic.parts[0].spec,
        "engine": plan.engine,
        "rank": plan.rank,
        "text": str(plan),
    }


def timed_cost(m: Multiplier, library: Library, effort: Effort) -> tuple[dict[str, Any], float]:
    from carrysave.hardware.cost import cost_of
    from carrysave.hardware.synthesis import synthesize

    start = time.perf_counter()
    figure = cost_of(m, synthesize(m, library, effort=effort), effort)
    points = [[float(area), float(delay), str(script)] for area, delay, script in figure.pareto]
    return {"pareto": points, "cells": sum(figure.cells.values()), "source": figure.source}, time.perf_counter() - start


def finished(future: Future[tuple[dict[str, Any], float]], doing: str) -> tuple[dict[str, Any], float]:
    """A trial's result and seconds; an error says what it was doing."""
    try:
        return future.result()
    except Exception as error:
        error.add_note(f"while {doing}; finished trials are kept")
        raise


def cost_figure(spec: str, result: Mapping[str, Any]) -> CostFigure:
    points = tuple(Point(area, delay, script) for area, delay, script in sorted(result["pareto"]))
    return CostFigure(spec, points, result["cells"], result["source"])


def drawable_operands(
    candidate: Candidate, calibration: Calibration
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Shares of the operands' bit patterns over all layers; None for several arithmetics or above 12 bits."""
    m = candidate.multipliers[0]
    if len(set(candidate.arithmetics)) != 1 or max(m.a_bits, m.b_bits) > 12:
        return None
    operands = calibration.operands_of_all(candidate.arithmetics[0])
    return histogram(operands.activation), histogram(operands.weight)


def layer_rows(calibration: Calibration, arithmetic: Arithmetic, rows: Iterable[Row]) -> tuple[Layer, ...]:
    kinds = {plan.layer: plan.kind for row in rows for plan in row.plans}
    layers = []
    for name in calibration.layers:
        operands = calibration.operands(name, arithmetic)
        layers.append(
            Layer(
                name,
                kinds.get(name, ""),
                int(calibration.macs[name]),
                histogram(operands.activation),
                histogram(operands.weight),
            )
        )
    return tuple(layers)
