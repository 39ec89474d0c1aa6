"""Certified optima of equation 5: by trying every choice, and by SCIP, which else states the gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from carrysave.methods.heam.distribution import Floats
from carrysave.methods.heam.problem import Choice, Problem

BRUTE = 24  # candidates; each one more doubles the work
_BLOCK = 1 << 14


@dataclass(frozen=True, eq=False)
class Certified:
    """A choice and how good it is at least.

    Attributes:
        objective: equation 5 of `theta`.
        bound: no choice has less than this, up to the solver's tolerance.
    """

    theta: Choice
    objective: float
    bound: float

    @property
    def gap(self) -> float:
        """By how much at most the objective could be lowered, as a share of it; 0 where it is optimal."""
        return max(0.0, (self.objective - self.bound) / self.objective) if self.objective > 0 else 0.0


def brute_force(problem: Problem) -> Certified:
    """The optimum among all 2^Z choices. Raises ValueError for more than BRUTE candidates."""
    count = len(problem.weight)
    if count > BRUTE:
        raise ValueError(f"brute force: {count} candidates; it tries all choices of up to {BRUTE}: use scip")
    matrix = np.zeros((count, len(problem.gram)))
    matrix[np.arange(count), problem.shape] = problem.weight
    best, best_number = np.inf, 0
    for start in range(0, 1 << count, _BLOCK):
        numbers = np.arange(start, min(start + _BLOCK, 1 << count))
        theta = (numbers[:, None] >> np.arange(count) & 1).astype(np.float64)
        amounts = theta @ matrix
        values = np.einsum("pt,pt->p", amounts @ problem.gram - 2 * problem.target, amounts) + theta @ problem.price
        if values.min() < best:
            best, best_number = float(values.min()), start + int(values.argmin())
    theta = (best_number >> np.arange(count) & 1).astype(bool)
    value = problem.objective(theta)
    return Certified(theta, value, value)


def scip(problem: Problem, seconds: float = 60.0, start: Choice | None = None) -> Certified:
    """SCIP's best choice for equation 5 and its proved bound, after at most `seconds`.

    Args:
        start: a choice to begin with, such as the local search's; the result is at least as good.

    Raises:
        ModuleNotFoundError: without pyscipopt, with the command that installs it.
    """
    try:
        from pyscipopt import Model, quicksum
    except ImportError as error:
        raise ModuleNotFoundError(
            "certified optima need SCIP, which is not installed: pip install 'carrysave[scip]'"
        ) from error
    scale = 1.0 / max(problem.constant, 1e-300)
    squares, offsets, rest = _as_squares(problem)
    model = Model("heam")
    model.hideOutput()
    model.setParam("limits/time", seconds)
    theta = [model.addVar(vtype="B") for _ in problem.weight]
    total, parts = model.addVar(lb=0.0), []
    for row, offset in zip(squares * scale**0.5, offsets * scale**0.5, strict=True):
        part = model.addVar(lb=None)
        per_term = row[problem.shape] * problem.weight
        model.addCons(part == quicksum(float(a) * t for a, t in zip(per_term, theta, strict=True)) - float(offset))
        parts.append(part)
    model.addCons(quicksum(part * part for part in parts) <= total)
    price = quicksum(float(p * scale) * t for p, t in zip(problem.price, theta, strict=True))
    model.setObjective(total + price + rest * scale, "minimize")
    if start is not None:
        first = model.createPartialSol()
        for variable, chosen in zip(theta, start, strict=True):
            model.setSolVal(first, variable, float(chosen))
        model.addSol(first)
    model.optimize()
    return _result(model, theta, problem, start, scale)


def _as_squares(problem: Problem) -> tuple[Floats, Floats, float]:
    """E_d as |R w - r|^2 + rest of the amounts w of each shape: rows R, offsets r, and what no choice removes."""
    values, vectors = np.linalg.eigh(problem.gram)
    kept = values > 1e-12 * max(float(values.max()), 1e-300)
    rows = vectors[:, kept].T * np.sqrt(values[kept])[:, None]
    offsets = (vectors[:, kept].T @ problem.target) / np.sqrt(values[kept])
    return rows, offsets, max(0.0, problem.constant - float(offsets @ offsets))


def _result(model: Any, theta: list[Any], problem: Problem, start: Choice | None, scale: float) -> Certified:
    choices = [] if start is None else [start]
    if model.getNSols():
        choices.append(np.array([model.getVal(variable) > 0.5 for variable in theta]))
    if not choices:
        raise ValueError("SCIP found no choice in the time given; give it more seconds, or a start")
    best = min(choices, key=problem.objective)
    return Certified(best, problem.objective(best), min(model.getDualbound() / scale, problem.objective(best)))
