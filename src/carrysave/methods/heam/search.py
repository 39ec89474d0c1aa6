"""Simulated annealing on equation 5's Gram matrix, many chains at once, and a descent by exchanges at the end.

A chain holds its terms in slots and proposes to put another candidate, or nothing, into one of them: that is a flip, or
an exchange of two candidates. A proposal costs a few numbers, an accepted one two rows of the matrix. Chains may weigh
the price differently, so that one run finds the whole front from few terms to small errors. Later rounds restart
half of the chains from the best choices known, not as hot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from carrysave.methods.heam.distribution import Floats
from carrysave.methods.heam.problem import Choice, Problem

CHAINS = 64
STEPS = 5000  # proposals of each chain in a round
ROUNDS = 4
_SLOTS = 24  # terms of a design, at most; more where more than two rows are compressed
_HOT = 0.02  # temperature at the start, of E[e^2]
_WARM, _COLD = 1.0, 0.02  # temperatures from a good choice and at the end, of a mean term's price
_LEAST = 1e-7  # of E[e^2]: the last temperature where terms are free
_NEAR, _EMPTY = 0.4, 0.2  # of all proposals: another candidate of the same group, and an emptied slot
_DRAWN = 256  # steps whose random numbers are drawn at once
_POLISHED = 32  # of a front's choices
_CELLS = 800  # of the archive, along the price

Progress = Callable[[int, int], None]
_Drawn = tuple[NDArray[np.int64], NDArray[np.int64], Floats]  # slots, candidates [_DRAWN, R]; chances [3, _DRAWN, R]


def silent(done: int, total: int) -> None:
    """Progress of which nothing is shown."""


@dataclass(frozen=True, eq=False)
class Found:
    """A choice of terms.

    Attributes:
        theta: [Z].
        error: E_d, equation 3.
        price: the sum of its terms' prices; `objective`, equation 5, is both together.
        moves: accepted by the search.
        interrupted: the user stopped the search, and this is the best so far.
    """

    theta: Choice
    error: float
    price: float
    moves: int = 0
    interrupted: bool = False

    @property
    def objective(self) -> float:
        return self.error + self.price


@dataclass(frozen=True)
class Front:
    """Choices of which none is beaten in both error and price, cheapest first."""

    found: tuple[Found, ...]
    moves: int
    interrupted: bool


def minimise(
    problem: Problem,
    *,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    chains: int = CHAINS,
    seed: int = 0,
    progress: Progress = silent,
) -> Found:
    """The best choice for the problem's price. Ctrl-C ends the search early and gives the best so far."""
    run = _Chains(problem, np.ones(chains), seed)
    interrupted = run.run(rounds, steps, progress)
    ends = [polish(problem, theta) for theta in run.archive.nearly_best(1.0)]
    best = min(ends, key=problem.objective)
    return Found(best, problem.error(best), float(problem.price[best].sum()), run.moves, interrupted)


def front(
    problem: Problem,
    weights: Floats,
    *,
    rounds: int = ROUNDS,
    steps: int = STEPS,
    seed: int = 0,
    starts: Sequence[Choice] = (),
    progress: Progress = silent,
) -> Front:
    """The choices that no other visited one beats in error and in price.

    Args:
        weights: squared error per unit of the problem's price, one chain for each; they span the front.
        rounds, steps: of the annealing. Ctrl-C ends it early and gives the front so far.
        starts: choices known to be good; where there are some, chains begin with the best of them, not hot.
    """
    weights = np.asarray(weights, dtype=np.float64)
    run = _Chains(problem, weights, seed)
    for theta in starts:
        error, price = problem.error(theta), float(problem.price[theta].sum())
        run.archive.note(np.array([error]), np.array([price]), theta[None])
    run.warm = bool(starts)
    interrupted = run.run(rounds, steps, progress)
    ends = run.archive.thetas()
    known: set[bytes] = set()
    for weight in weights[:: max(1, len(weights) // _POLISHED)]:
        best = run.archive.best_for(weight)
        if best.tobytes() not in known:
            ends.append(polish(problem.with_price(weight * problem.price), best))
        known.add(best.tobytes())
    found = [Found(theta, problem.error(theta), float(problem.price[theta].sum())) for theta in ends]
    return Front(tuple(unbeaten(found)), run.moves, interrupted)


def unbeaten(found: Sequence[Found]) -> list[Found]:
    """Those that no other one beats in both error and price, cheapest first."""
    kept: list[Found] = []
    for choice in sorted(found, key=lambda f: (f.price, f.error)):
        if not kept or choice.error < kept[-1].error:
            kept.append(choice)
    return kept


def polish(problem: Problem, theta: Choice) -> Choice:
    """Down from `theta` by single flips and exchanges of two candidates until none lowers the objective."""
    theta = theta.copy()
    least = -1e-12 * max(problem.constant, 1e-300)  # a gain that is more than rounding
    while True:
        sign: Floats = np.where(theta, -1.0, 1.0)
        gradient = problem.gram @ problem.amounts(theta) - problem.target
        single = sign * (2 * problem.weight * gradient[problem.shape] + problem.price) + problem.own
        flips = [int(single.argmin())]
        if single[flips[0]] >= least:
            gain, flips = _exchange(problem, theta, sign, single)
            if gain >= least:
                return theta
        theta[flips] ^= True


def _exchange(problem: Problem, theta: Choice, sign: Floats, single: Floats) -> tuple[float, list[int]]:
    """The change of the objective by the best exchange of a chosen candidate and another flip, and the two."""
    chosen = np.flatnonzero(theta)
    if not chosen.size:
        return 0.0, []
    double = problem.gram[np.ix_(problem.shape[chosen], problem.shape)] * (2 * sign * problem.weight)
    double *= (sign[chosen] * problem.weight[chosen])[:, None]
    double += single
    double += single[chosen, None]
    double[np.arange(chosen.size), chosen] = np.inf
    k, other = np.unravel_index(int(double.argmin()), double.shape)
    return float(double[k, other]), [int(chosen[k]), int(other)]


@dataclass(eq=False)
class _Archive:
    """The smallest error at each level of the price."""

    problem: Problem
    errors: Floats = field(init=False)
    kept: dict[int, Choice] = field(init=False)

    def __post_init__(self) -> None:
        self.errors = np.full(_CELLS, np.inf)
        self.errors[0] = self.problem.constant
        self.kept = {0: np.zeros(len(self.problem.weight), dtype=bool)}
        self.width = max(float(self.problem.price.mean()), 1e-300) * 80 / _CELLS

    def note(self, errors: Floats, prices: Floats, theta: Choice) -> None:
        cells = np.minimum((prices / self.width).astype(np.intp), _CELLS - 1)
        for place in np.flatnonzero(errors < self.errors[cells] * (1 - 1e-12)):
            cell = int(cells[place])
            if errors[place] < self.errors[cell]:
                self.errors[cell] = errors[place]
                self.kept[cell] = theta[place].copy()

    def best_for(self, weight: float) -> Choice:
        """The kept choice with the least objective at this weight of the price."""
        return self.nearly_best(weight, 1)[0]

    def nearly_best(self, weight: float, count: int = 8) -> list[Choice]:
        cells = np.array(list(self.kept))
        values = self.errors[cells] + weight * cells * self.width
        return [self.kept[int(cells[k])] for k in values.argsort()[:count]]

    def thetas(self) -> list[Choice]:
        return list(self.kept.values())


class _Chains:
    """R choices in slots [R, S], candidate Z being none, with their gradients [R, T], errors and prices [R]."""

    def __init__(self, problem: Problem, weights: Floats, seed: int):
        self.problem, self.weights = problem, weights
        self.random = np.random.default_rng(seed)
        self.archive = _Archive(problem)
        self.none = len(problem.weight)
        self.weight, self.own = np.append(problem.weight, 0.0), np.append(problem.own, 0.0)
        self.price, self.shape = np.append(problem.price, 0.0), np.append(problem.shape, 0)
        self.near, self.nearby = _same_group(problem)
        self.lines, self.moves, self.warm = np.arange(len(weights)), 0, False
        space = problem.space  # where all rows are compressed, the bits that stay are terms, too
        slots = space.n * (space.n + 2) if space.rows == space.n else 10 * space.rows
        self.slots = min(self.none, max(_SLOTS, slots))

    def run(self, rounds: int, steps: int, progress: Progress) -> bool:
        """All rounds; True if the user stopped them."""
        mean = self.weights * float(self.problem.price.mean())
        last = np.maximum(_COLD * mean, _LEAST * self.problem.scale)
        try:
            for number in range(rounds):
                again = ((self.lines % 2 == 0) & (number > 0)) | self.warm
                self._start(again)
                first = np.maximum(np.where(again, _WARM * mean, _HOT * self.problem.scale), last)
                for step in range(steps):
                    if step % _DRAWN == 0:
                        progress(number * steps + step, rounds * steps)
                        drawn = self._draw()
                    self._propose(drawn, step % _DRAWN, first * (last / first) ** (step / steps))
        except KeyboardInterrupt:
            return True
        progress(rounds * steps, rounds * steps)
        return False

    def _start(self, again: NDArray[np.bool_]) -> None:
        """Empty chains, and where `again` the best known for the chain's weight."""
        p, shape = self.problem, (len(self.weights), self.slots)
        self.slot = np.full(shape, self.none)
        self.inside = np.zeros((shape[0], self.none + 1), dtype=bool)
        for chain in np.flatnonzero(again):
            chosen = np.flatnonzero(self.archive.best_for(self.weights[chain]))[: self.slots]
            self.slot[chain, : chosen.size] = chosen
            self.inside[chain, chosen] = True
        amounts = p.amounts(self.inside[:, :-1])
        self.gradient = amounts @ p.gram - p.target
        self.error = p.constant + np.einsum("rt,rt->r", amounts, self.gradient - p.target)
        self.total = self.inside[:, :-1] @ p.price

    def _draw(self) -> _Drawn:
        shape = (_DRAWN, len(self.weights))
        chances = self.random.random((3, *shape))
        chances[2] = -np.log(1 - chances[2])
        return self.random.integers(0, self.slots, shape), self.random.integers(0, self.none, shape), chances

    def _propose(self, drawn: _Drawn, k: int, heat: Floats) -> None:
        """One proposal in each chain, taken as Metropolis does at the temperatures `heat` [R]."""
        slots, candidates, (kind, which, threshold) = drawn[0][k], drawn[1][k], drawn[2][:, k]
        old = self.slot[self.lines, slots]
        new = np.where(kind < _NEAR, self.near[old, (which * self.nearby[old]).astype(np.intp)], candidates)
        new[kind > 1 - _EMPTY] = self.none
        taken = self.inside[self.lines, new]
        s, t, a, b = self.shape[old], self.shape[new], self.weight[old], self.weight[new]
        change = self.own[old] + self.own[new] - 2 * a * b * self.problem.gram[s, t]
        change += 2 * (b * self.gradient[self.lines, t] - a * self.gradient[self.lines, s])
        price = self.price[new] - self.price[old]
        ok = np.flatnonzero((change + self.weights * price < heat * threshold) & ~taken & (new != old))
        if not ok.size:
            return
        self.slot[ok, slots[ok]] = new[ok]
        self.inside[ok, old[ok]] = False
        self.inside[ok, new[ok]] = True
        self.inside[:, self.none] = False
        gram = self.problem.gram
        self.gradient[ok] += b[ok, None] * gram[t[ok]] - a[ok, None] * gram[s[ok]]
        self.error[ok] += change[ok]
        self.total[ok] += price[ok]
        self.moves += ok.size
        self.archive.note(self.error[ok], self.total[ok], self.inside[ok, :-1])


def _same_group(problem: Problem) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For each candidate those of the same bits, other operations and columns, [Z + 1, most], and how many; none's
    only one is none."""
    groups: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for k, (shape, _) in enumerate(problem.candidates):
        groups.setdefault(shape.group, []).append(k)
    none = len(problem.candidates)
    near = np.full((none + 1, max(map(len, groups.values()))), none)
    count = np.ones(none + 1, dtype=np.intp)
    for members in groups.values():
        near[members, : len(members)] = members
        count[members] = len(members)
    return near, count
