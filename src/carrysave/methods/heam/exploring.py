"""The searches of a design put together: every side and number of rows, then all rows at once, on one fitted price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from carrysave.methods.heam import prices, search
from carrysave.methods.heam.distribution import Distribution
from carrysave.methods.heam.problem import Choice, Problem, Space, build
from carrysave.multipliers.compressed import Design

Progress = Callable[[int, int, str], None]
_WEIGHTS = (1e-7, 0.3)  # of E[e^2], for the price of a mean term: from nearly exact to nearly empty
_ROUNDS = 4  # of the last search, that of all rows


def silent(done: int, total: int, name: str) -> None:
    """Progress of which nothing is shown."""


@dataclass(frozen=True)
class Predicted:
    """A design before synthesis: E_d of equation 3, and area and delay by the fitted prices."""

    design: Design
    error: float
    area_um2: float
    delay_ps: float


@dataclass(frozen=True)
class Searched:
    """Designs that no other found one beats in error and predicted area, smallest first.

    Attributes:
        spaces: what was searched.
        moves: accepted by all searches.
        interrupted: the user stopped it; this is the best so far.
    """

    designs: tuple[Predicted, ...]
    spaces: tuple[Space, ...]
    moves: int
    interrupted: bool

    def at_most(self, error: float) -> list[Predicted]:
        """Those with at most this error, smallest first."""
        return [found for found in self.designs if found.error <= error]


def spaces_of(
    n: int,
    operands: Sequence[str] = ("x", "y"),
    rows: Iterable[int] | None = None,
    largest: int = 2,
    operations: Sequence[str] = ("and", "or", "xor"),
) -> list[Space]:
    """One space for each side and number of rows; two to six of eight rows, and as many in proportion, if None."""
    if rows is None:
        rows = range(max(1, n // 4), n - n // 4 + 1) if n <= 8 else range(n // 2, n - n // 4 + 1, max(1, n // 8))
    chosen = list(rows)
    if not chosen or not operands:
        raise ValueError("no space to search: give at least one side, 'x' or 'y', and one number of rows")
    return [
        Space(n, side, count, largest=largest, operations=tuple(operations)) for side in operands for count in chosen
    ]


def explore(
    distribution: Distribution,
    spaces: Sequence[Space],
    *,
    free: bool = True,
    rounds: int = 1,
    steps: int = search.STEPS,
    seed: int = 0,
    progress: Progress = silent,
) -> Searched:
    """The front over all spaces.

    Args:
        free: at the end search all rows at once, from the best of the others: a row that stays is terms of single
            bits, so this space holds all the others, and drops and compresses bits of any row.
        rounds, steps: of the annealing in each space. Ctrl-C ends the search with what was found so far.
    """
    pricing = prices.fitted()
    total = (len(spaces) * rounds + _ROUNDS * free) * steps
    found: list[Predicted] = []
    moves, done, interrupted = 0, 0, False
    searched: list[Space] = []
    try:
        for space in spaces:
            problem = _priced(build(space, distribution), pricing)
            front = _front(problem, rounds, steps, seed, (), progress, done, total)
            found += [_predicted(problem, f.theta, f.error, pricing) for f in front.found]
            moves, done = moves + front.moves, done + rounds * steps
            searched.append(space)
            if front.interrupted:
                raise KeyboardInterrupt
        if free:
            space = all_rows(spaces[0])
            problem = _priced(build(space, distribution), pricing)
            starts = [embedded(problem, each.design) for each in unbeaten(found)]
            front = _front(problem, _ROUNDS, steps, seed, starts, progress, done, total)
            found += [_predicted(problem, f.theta, f.error, pricing) for f in front.found]
            moves, interrupted = moves + front.moves, front.interrupted
            searched.append(space)
    except KeyboardInterrupt:
        interrupted = True
    fitting = [each for each in found if _fits(each.design)]
    return Searched(tuple(unbeaten(fitting)), tuple(searched), moves, interrupted)


def unbeaten(found: Iterable[Predicted]) -> list[Predicted]:
    """Those that no other one beats in both error and predicted area, smallest first."""
    kept: list[Predicted] = []
    for each in sorted(found, key=lambda p: (p.area_um2, p.error)):
        if not kept or each.error < kept[-1].error:
            kept.append(each)
    return kept


def all_rows(space: Space) -> Space:
    """The space in which every row is compressed; it holds `space`."""
    return replace(space, operand="x", rows=space.n)


def embedded(problem: Problem, design: Design) -> Choice:
    """A design in the space of all rows: bits of rows that stay are terms of their own."""
    place = {(shape.op, frozenset(shape.group), column): k for k, (shape, column) in enumerate(problem.candidates)}
    theta = np.zeros(len(problem.candidates), dtype=bool)
    for term in design.terms:
        theta[place[term.op, frozenset(term.group), term.column]] = True
    for i in range(design.n):
        for j in range(design.n):
            if (i if design.operand == "x" else j) >= design.rows:
                theta[place["pass", frozenset({(i, j)}), i + j]] = True
    return theta


def _priced(problem: Problem, pricing: prices.Prices) -> Problem:
    return problem.with_price(pricing.of_candidates(problem.candidates))


def _front(
    problem: Problem, rounds: int, steps: int, seed: int, starts: Sequence[Choice], progress: Progress,
    done: int, total: int,
) -> search.Front:  # fmt: skip
    name = f"{problem.space.operand}, {problem.space.rows} rows"
    weights = problem.constant / float(problem.price.mean()) * np.geomspace(*_WEIGHTS, search.CHAINS)
    return search.front(
        problem, weights, rounds=rounds, steps=steps, seed=seed, starts=starts,
        progress=lambda step, _: progress(done + step, total, name),
    )  # fmt: skip


def _predicted(problem: Problem, theta: Choice, error: float, pricing: prices.Prices) -> Predicted:
    design = problem.design(theta)
    return Predicted(design, error, pricing.area(design), pricing.delay(design))


def _fits(design: Design) -> bool:
    """No sum of terms leaves the product's bits: equation 4 knows no modulus."""
    kept = (1 << design.n) - (1 << design.rows)
    largest = kept * ((1 << design.n) - 1)
    return largest + sum(1 << term.column for term in design.terms) < 1 << 2 * design.n
