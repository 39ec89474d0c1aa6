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
_LADDER = (0.0, 1 / 16, 1 / 4, 1.0)  # of the mean's weight: searches one after the other, each from those before


def silent(done: int, total: int, name: str) -> None:
    """Progress of which nothing is shown."""


@dataclass(frozen=True)
class Predicted:
    """A design before synthesis: E_d of equation 3 with the weighted square of the mean error, and area and delay by
    the fitted prices."""

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
    mean_weight: float = 0.0,
    free: bool = True,
    rounds: int = 1,
    steps: int = search.STEPS,
    seed: int = 0,
    progress: Progress = silent,
) -> Searched:
    """The front over all spaces.

    Args:
        mean_weight: of the squared mean error in the error (`problem`); 0 is equation 5.
        free: at the end search all rows at once, from the best of the others: a row that stays is terms of single
            bits, so this space holds all the others, and drops and compresses bits of any row.
        rounds, steps: of the annealing in each space. Ctrl-C ends the search with what was found so far.
    """
    run = _Run(distribution, prices.fitted(), steps, seed, progress)
    ladder = tuple(mean_weight * share for share in _LADDER) if mean_weight else (0.0,)
    each = ladder[:1] if free else ladder
    run.total = (len(spaces) * rounds * len(each) + _ROUNDS * len(ladder) * free) * steps
    found: list[Predicted] = []
    plain: list[Predicted] = []  # as equation 5 has it: where the search of all rows starts
    searched: list[Space] = []
    interrupted = False
    try:
        for space in spaces:
            choices = run.climb(space, each, rounds)
            plain += run.predicted(space, choices, 0.0)
            found += run.predicted(space, choices, mean_weight)
            searched.append(space)
            run.check()
        if free:
            space = all_rows(spaces[0])
            problem = build(space, distribution)
            starts = [embedded(problem, each.design) for each in unbeaten(plain)]
            found += run.predicted(space, run.climb(space, ladder, _ROUNDS, starts), mean_weight)
            searched.append(space)
            run.check()
    except KeyboardInterrupt:
        interrupted = True
    fitting = [each for each in found if _fits(each.design)]
    return Searched(tuple(unbeaten(fitting)), tuple(searched), run.moves, interrupted)


@dataclass
class _Run:
    """The searches of one call, one after the other."""

    distribution: Distribution
    pricing: prices.Prices
    steps: int
    seed: int
    progress: Progress
    total: int = 0  # proposals of a chain, in all searches
    done: int = 0
    moves: int = 0
    interrupted: bool = False

    def problem(self, space: Space, mean_weight: float) -> Problem:
        problem = build(space, self.distribution, mean_weight=mean_weight)
        return problem.with_price(self.pricing.of_candidates(problem.candidates))

    def climb(self, space: Space, ladder: Sequence[float], rounds: int, starts: Sequence[Choice] = ()) -> list[Choice]:
        """The fronts at each mean weight; each search starts from what those before it found. At the full weight at
        once few moves are good ones, for most change the mean."""
        found: list[Choice] = []
        for mean_weight in ladder:
            problem, before = self.problem(space, mean_weight), self.done
            name = f"{space.operand}, {space.rows} rows"
            weights = problem.scale / float(problem.price.mean()) * np.geomspace(*_WEIGHTS, search.CHAINS)
            front = search.front(
                problem, weights, rounds=rounds, steps=self.steps, seed=self.seed, starts=[*starts, *found],
                progress=lambda step, _, before=before, name=name: self.progress(before + step, self.total, name),
            )  # fmt: skip
            found += [choice.theta for choice in front.found]
            self.moves, self.done = self.moves + front.moves, self.done + rounds * self.steps
            self.interrupted = front.interrupted
            if front.interrupted:
                break
        return found

    def predicted(self, space: Space, choices: Sequence[Choice], mean_weight: float) -> list[Predicted]:
        problem, made = self.problem(space, mean_weight), []
        for theta in choices:
            design = problem.design(theta)
            made.append(Predicted(design, problem.error(theta), self.pricing.area(design), self.pricing.delay(design)))
        return made

    def check(self) -> None:
        """Raises KeyboardInterrupt where the last search was stopped."""
        if self.interrupted:
            raise KeyboardInterrupt


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


def _fits(design: Design) -> bool:
    """No sum of terms leaves the product's bits: equation 4 knows no modulus."""
    kept = (1 << design.n) - (1 << design.rows)
    largest = kept * ((1 << design.n) - 1)
    return largest + sum(1 << term.column for term in design.terms) < 1 << 2 * design.n
