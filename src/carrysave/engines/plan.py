"""Which engine serves a layer, and why. The cheapest exact way, or the one that is asked for by name."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from carrysave import native
from carrysave.engines import factoring
from carrysave.engines.exact import EXACT
from carrysave.engines.factored import FACTORED, factors_of
from carrysave.engines.problem import Engine, Geometry, Prepared, Problem, Products
from carrysave.engines.reference import REFERENCE
from carrysave.engines.sums import LIMITS
from carrysave.engines.table import TABLE
from carrysave.engines.vector import VECTOR
from carrysave.multipliers import Multiplier
from carrysave.recipes import Arithmetic
from carrysave.registry import nearest

ENGINES: dict[str, Engine] = {e.name: e for e in (EXACT, FACTORED, TABLE, VECTOR, REFERENCE)}
# A look-up costs about as much as this many multiply-adds of torch's float32 convolution: natively, and in torch.
TABLE_COST = 3 if native.available else 8


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
    if EXACT.refuses(problem) is None:
        return _described(problem, "exact", "every product is exact")
    if not problem.products.has_table:
        return _described(problem, "vector", "too wide for a table, so each product is evaluated by its definition")
    if FACTORED.refuses(problem) is not None:
        return _described(problem, "table", f"the rank is above {factoring.MAX_RANK}")
    factored = _described(problem, "factored", "proved to be this sum of products")
    passes = factored[1].passes
    if passes > TABLE_COST and problem.geometry.kind != "matmul":
        reason = f"factored would cost {passes} convolutions, a look-up per product about {TABLE_COST}"
        return _described(problem, "table", reason)
    return factored


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
        why = f"{chosen.digits} exact convolution{'s' * (chosen.digits != 1)} in one; float32 is exact up to K = "
        why += f"{LIMITS[torch.float32] // _largest_term(products)}, and longer sums are split"
    return Plan(chosen.engine, chosen.rank, chosen.multiplier_rank, chosen.digits, why)


def _largest_term(products: Products) -> int:
    factors = factors_of(Problem(products, Geometry("matmul"), None)) if products.has_table else None
    if factors is None or not factors.rank:
        return max(1, products.activation.high * products.weight.high)
    half = (factors.u.max(0) - factors.u.min(0) + 1) // 2
    return max(1, int((half * abs(factors.v).max(1)).sum()))


def _described(problem: Problem, engine: str, reason: str) -> tuple[Plan, Prepared]:
    prepared = ENGINES[engine].prepare(problem)
    why = f"{reason}; {prepared.how}" if prepared.how else reason
    if not problem.products.has_table:
        return Plan(engine, None, None, None, why), prepared
    if engine == "exact":
        return Plan(engine, 1, 1, 1, why), prepared
    factors = factors_of(problem)
    whole = factors_of(Problem(problem.products, Geometry("matmul"), None))
    digits = factors.digits if factors is not None and engine == "factored" else None
    return Plan(engine, factors and factors.rank, whole and whole.rank, digits, why), prepared
