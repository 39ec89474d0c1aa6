"""Which engine serves a layer, and why. The cheapest exact way, or the one that is asked for by name."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from carrysave import native
from carrysave.engines import factoring
from carrysave.engines.exact import EXACT
from carrysave.engines.factored import FACTORED, factors_of
from carrysave.engines.factoring import Factors
from carrysave.engines.gpu.select import on_devices
from carrysave.engines.logarithmic import LOGARITHMIC
from carrysave.engines.problem import Engine, Geometry, Prepared, Problem, Products
from carrysave.engines.reference import REFERENCE
from carrysave.engines.sums import LIMITS
from carrysave.engines.table import TABLE
from carrysave.engines.vector import VECTOR
from carrysave.multipliers import Multiplier
from carrysave.recipes import Arithmetic
from carrysave.registry import nearest

ENGINES: dict[str, Engine] = {
    e.name: on_devices(e) for e in (EXACT, FACTORED, LOGARITHMIC, TABLE, VECTOR, REFERENCE)
}


@dataclass(frozen=True)
class Plan:
    """The chosen engine.

    Attributes:
        engine: its name.
        rank: of the products on the weight codes that occur in the layer; None where it has no table or a high rank.
        multiplier_rank: of the products on all codes of the two formats; None likewise.
        digits: 8-bit digit products per product; None where the engine is neither exact nor factored.
        why: one line.
    """

    engine: str
    rank: int | None
    multiplier_rank: int | None
    digits: int | None
    why: str

    def __str__(self) -> str:
        rank = "" if self.rank is None else f", rank {self.rank}"
        if self.rank is not None and self.rank != self.multiplier_rank:
            whole = f"more than {factoring.MAX_RANK}" if self.multiplier_rank is None else self.multiplier_rank
            rank += f" (the multiplier: {whole})"
        digits = "" if self.digits is None else f", {self.digits} digit{'s' * (self.digits != 1)}"
        return f"{self.engine}{rank}{digits}: {self.why}"


def plan(multiplier: Multiplier, problem: Problem | None = None, engine: str | None = None) -> Plan:
    """Chooses an engine for `problem`, or, without one, for the multiplier with its natural formats.

    Args:
        engine: the name of the engine to use; without it the choice is the plan's.

    Raises:
        ValueError: if the engine asked for is unknown or cannot serve the problem, or problem and multiplier disagree.
    """
    if problem is None:
        return _of_multiplier(multiplier, engine)
    if problem.products.multiplier != multiplier:
        raise ValueError(f"plan: the problem multiplies with {problem.products.multiplier}, not with {multiplier}")
    return prepare(problem, engine)[0]


def prepare(problem: Problem, engine: str | None = None) -> tuple[Plan, Prepared]:
    """The plan for `problem` and its engine, ready to be called. Raises like `plan`."""
    if engine is not None:
        refusal = engine_named(engine).refuses(problem)
        if refusal:
            raise ValueError(f"engine {engine!r} cannot serve this: {refusal}; leave the engine to the plan")
        return _described(problem, engine, "asked for by name")
    # where every product is exact, its one factor is what the exact engine multiplies
    names = ("exact", "table") if EXACT.refuses(problem) is None else ("factored", "logarithmic", "table")
    ready = {name: ENGINES[name].prepare(problem) for name in names if ENGINES[name].refuses(problem) is None}
    if not ready:
        return _described(problem, "vector", "too wide for a table, so each product is evaluated by its definition")
    best = min(ready, key=lambda name: ready[name].cost)
    return _described(problem, best, _reason(problem, best, ready), ready[best])


def _reason(problem: Problem, best: str, ready: dict[str, Prepared]) -> str:
    others = [f"{name} about {p.cost:.2g}" for name, p in ready.items() if name != best and p.cost < math.inf]
    compared = f"costs about {ready[best].cost:.2g} float32 layers, {', '.join(others)}" if others else ""
    if best == "exact":
        return "every product is exact"
    if best == "factored":
        return "proved to be this sum of products"
    if compared:
        return compared
    if best == "table":
        return f"the rank is above {factoring.MAX_RANK}"
    return "its parts are known, and it is too wide for a table"


def engine_named(name: str) -> Engine:
    """The engine of that name. Raises ValueError with the nearest one."""
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}{nearest(name, ENGINES)}; known: {', '.join(ENGINES)}")
    return ENGINES[name]


def _of_multiplier(multiplier: Multiplier, engine: str | None) -> Plan:
    products = Products(*Arithmetic.natural(multiplier).parts)
    problem = Problem(products, Geometry("matmul"), None)
    chosen = prepare(problem, engine)[0]
    why = chosen.why
    if chosen.engine in ("exact", "factored"):
        factors = factors_of(problem) if products.has_table else None
        if native.available and factors is not None and 0 < factors.rank == factors.digits:
            kind, bits, depth = "int8", "int32", (1 << 31) // _largest_digits(factors)
        else:
            kind, bits, depth = "float32", "float32", LIMITS[torch.float32] // _largest_term(products)
        why = f"{chosen.digits} {kind} convolution{'s' * (chosen.digits != 1)} in one, "
        why += f"exact in {bits} up to K = {depth}, and longer sums are split"
    return Plan(chosen.engine, chosen.rank, chosen.multiplier_rank, chosen.digits, why)


def _largest_term(products: Products) -> int:
    factors = factors_of(Problem(products, Geometry("matmul"), None)) if products.has_table else None
    if factors is None or not factors.rank:
        return max(1, products.activation.high * products.weight.high)
    half = (factors.u.max(0) - factors.u.min(0) + 1) // 2
    return max(1, int((half * abs(factors.v).max(1)).sum()))


def _largest_digits(factors: Factors) -> int:
    """The same in digits: activations from 0, weights shifted no further than to fit 8 bits."""
    lowest, highest = factors.v.min(1), factors.v.max(1)
    shift = np.minimum(np.maximum(0, highest - 127), lowest + 128)
    weights = np.maximum(abs(lowest - shift), abs(highest - shift))
    return max(1, int(((factors.u.max(0) - factors.u.min(0)) * weights).sum()))


def _described(problem: Problem, engine: str, reason: str, prepared: Prepared | None = None) -> tuple[Plan, Prepared]:
    prepared = ENGINES[engine].prepare(problem) if prepared is None else prepared
    why = f"{reason}; {prepared.how}" if prepared.how else reason
    if not problem.products.has_table:
        return Plan(engine, None, None, None, why), prepared
    if engine == "exact":
        return Plan(engine, 1, 1, 1, why), prepared
    factors = factors_of(problem)
    whole = factors_of(Problem(problem.products, Geometry("matmul"), None))
    digits = factors.digits if factors is not None and engine == "factored" else None
    return Plan(engine, factors and factors.rank, whole and whole.rank, digits, why), prepared
