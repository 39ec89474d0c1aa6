"""The paper's optimiser, for comparison: a genetic algorithm over binary variables with the settings that MATLAB's
mixed-integer `ga` has by default (Deep, Singh, Kansal and Mohan, 2009): tournaments, elite, crossover share.

Where it deviates: for variables that are 0 or 1 that algorithm's Laplace crossover and power mutation come down to
exchanging and flipping bits, which is what is done here. The first population may be sparse: half of all candidates
chosen at once, as a uniform draw has it, is so far from any multiplier that most of the run goes into thinning it out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carrysave.methods.heam.problem import Problem
from carrysave.methods.heam.search import Found, Progress, silent

POPULATION = 100
ELITE = 5
CROSSED = 0.8
STALL = 50  # generations without gain after which it ends
_SPARSE = 8.0  # terms of a first choice, on average


def genetic(
    problem: Problem,
    generations: int = 2000,
    seed: int = 0,
    *,
    population: int = POPULATION,
    stall: int = STALL,
    terms: float = _SPARSE,
    progress: Progress = silent,
) -> Found:
    """The best choice that the genetic algorithm finds. Ctrl-C ends it early.

    Args:
        generations: at most; it ends after `stall` without gain.
        terms: chosen candidates of a first choice, on average.
    """
    random = np.random.default_rng(seed)
    matrix = np.zeros((len(problem.weight), len(problem.gram)))
    matrix[np.arange(len(problem.weight)), problem.shape] = problem.weight
    people = random.random((population, len(problem.weight))) < min(1.0, terms / len(problem.weight))
    values = _objectives(problem, matrix, people)
    best, since, spent, interrupted = float(values.min()), 0, population, False
    try:
        for generation in range(generations):
            order = np.argsort(values, kind="stable")
            elite = people[order[:ELITE]]
            children = _children(people, values, population - ELITE, random)
            people = np.concatenate([elite, children])
            values = np.concatenate([values[order[:ELITE]], _objectives(problem, matrix, children)])
            spent += len(children)
            since = 0 if values.min() < best else since + 1
            best = min(best, float(values.min()))
            if since >= stall:
                break
            if generation % 20 == 0:
                progress(generation, generations)
        progress(generations, generations)
    except KeyboardInterrupt:
        interrupted = True
    theta = people[int(values.argmin())]
    return Found(theta, problem.error(theta), float(problem.price[theta].sum()), spent, interrupted)


def _children(
    people: NDArray[np.bool_], values: NDArray[np.float64], count: int, random: np.random.Generator
) -> NDArray[np.bool_]:
    crossed = round(CROSSED * count)
    first, second = _winners(values, crossed, random), _winners(values, crossed, random)
    mask = random.random((crossed, people.shape[1])) < 0.5
    born = np.where(mask, people[first], people[second])
    changed = people[_winners(values, count - crossed, random)]
    flips = random.random(changed.shape) < random.uniform(0.5, 4.0, (len(changed), 1)) / people.shape[1]
    return np.concatenate([born, changed ^ flips])


def _winners(values: NDArray[np.float64], count: int, random: np.random.Generator) -> NDArray[np.intp]:
    """Of two drawn at random, the better one."""
    pairs = random.integers(0, values.size, (2, count))
    return np.where(values[pairs[0]] <= values[pairs[1]], pairs[0], pairs[1])


def _objectives(problem: Problem, matrix: NDArray[np.float64], people: NDArray[np.bool_]) -> NDArray[np.float64]:
    amounts = people @ matrix
    quadratic = np.einsum("pt,pt->p", amounts @ problem.gram - 2 * problem.target, amounts)
    return problem.constant + quadratic + people @ problem.price
