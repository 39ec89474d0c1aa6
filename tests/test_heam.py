"""HEAM's optimiser against slow truths: equation 5 over all operand pairs, all choices tried, SCIP's proved optima."""

from __future__ import annotations

import io
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import carrysave as cs
from carrysave.calibration import Operands
from carrysave.errors import measure
from carrysave.evaluation import Accuracy
from carrysave.methods import heam
from carrysave.methods.heam import exploring, prices, proof, search
from carrysave.methods.heam.distribution import Joint, Mixture, Sampled, distribution_of, mean_square_product, uniform
from carrysave.methods.heam.figures import unsigned
from carrysave.methods.heam.genetic import genetic
from carrysave.methods.heam.problem import Problem, Space, build
from carrysave.multipliers.compressed import Compressed, Design
from carrysave.report.designs import cells, check_output, conclusion, print_designs, save_designs, write

HEAM = cs.multiplier("compressed:heam")
FIGURE_1 = Space(n=4, operand="x", rows=4, groups="paper", columns=None)
PAPER = Space(n=8, operand="x", rows=4, groups="paper", columns=None)


def lumpy(n: int, seed: int = 0) -> Mixture:
    """Two layers of unlike operands, as a network has them."""
    random = np.random.default_rng(seed)
    sides = []
    for weight in (3.0, 1.0):
        a, b = random.random(1 << n) ** 6, random.random(1 << n) ** 3
        sides.append((weight * a / a.sum(), weight * b / b.sum()))
    return Mixture(sides)


def joint(n: int, seed: int = 0) -> Joint:
    return Joint(np.random.default_rng(seed).random((1 << n, 1 << n)) ** 4)


def pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.arange(1 << n), np.arange(1 << n), indexing="ij")
    return x, y


def output(op: str, group: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A shape over all pairs, by what the operations mean."""
    bits = np.stack([(x >> i) & (y >> j) & 1 for i, j in group])
    return {"pass": bits[0], "and": bits.min(0), "or": bits.max(0), "xor": bits.sum(0) % 2}[op]


def instance(size: int, seed: int, share: float, space: Space | None = None, mean_weight: float = 0.0) -> Problem:
    """`size` candidates of a space, with a price that is a share of what nothing compressed costs."""
    space = space or Space(n=8, rows=4)
    every = space.candidates()
    chosen = np.random.default_rng(seed).choice(len(every), size, replace=False)
    problem = build(space, lumpy(space.n, seed), 0.0, [every[k] for k in chosen], mean_weight)
    return problem.with_price(share * problem.scale)


# ---------------------------------------------------------------- operands


@pytest.mark.parametrize("distribution", [lumpy(4), joint(4), uniform(4)], ids=["mixture", "joint", "uniform"])
def test_expectations_of_products_of_bits_are_those_over_all_pairs(distribution: Any) -> None:
    x, y = pairs(4)
    a, b = (part.reshape(-1) for part in pairs(4))
    have = ((x.reshape(-1) & a[:, None]) == a[:, None]) & ((y.reshape(-1) & b[:, None]) == b[:, None])
    weighted = have * distribution.joint().reshape(-1)
    assert distribution.joint().sum() == pytest.approx(1)
    np.testing.assert_allclose(distribution.gram(a, b), weighted @ have.T.astype(float), atol=1e-12)


def test_a_sample_is_its_own_distribution_and_its_error_is_stated() -> None:
    whole = lumpy(6)
    sample = distribution_of(whole, samples=3000, seed=4)
    assert isinstance(sample, Sampled)
    histogram = np.zeros((64, 64))
    np.add.at(histogram, (sample.x, sample.y), 1)
    a, b = np.arange(0, 64, 3), np.arange(0, 64, 3)
    np.testing.assert_allclose(sample.gram(a, b), Joint(histogram).gram(a, b), atol=1e-12)
    assert (np.abs(sample.gram(a, b) - whole.gram(a, b)) < 5 * 0.5 / math.sqrt(3000)).all()
    wide = Mixture([(np.full(1 << 13, 1 / (1 << 13)), np.arange(1 << 13) / np.arange(1 << 13).sum())])
    m = cs.multiplier("truncated:c=10,n=13")
    first, second = wide.error(m, pairs=40_000, seed=1), wide.error(m, pairs=40_000, seed=2)
    assert first.pairs == 40_000 and first.standard_error > 0
    assert abs(first.value - second.value) < 5 * math.hypot(first.standard_error, second.standard_error)
    assert first.value != second.value


def test_expected_error_is_that_of_the_other_program() -> None:
    """`errors.measure` knows joint histograms, too."""
    for distribution in (lumpy(8), joint(8)):
        theirs = measure(HEAM, operands=distribution.joint()).rms_error ** 2
        assert distribution.error(HEAM).value == pytest.approx(theirs, rel=1e-9)
    x, y = pairs(5)
    assert mean_square_product(joint(5)) == pytest.approx((joint(5).joint() * (x * y) ** 2).sum())


def test_magnitudes_of_signed_operands() -> None:
    counts = np.arange(1.0, 17.0)  # by pattern: 0 to 7, -8 to -1
    folded = distribution_module()._magnitudes(counts)
    assert folded.tolist() == [1, 2 + 16, 3 + 15, 4 + 14, 5 + 13, 6 + 12, 7 + 11, 8 + 10, 9, 0, 0, 0, 0, 0, 0, 0]


def distribution_module() -> Any:
    from carrysave.methods.heam import distribution

    return distribution


FULL, BAD = np.ones(16), np.ones(16)
BAD[3] = math.nan


@pytest.mark.parametrize(
    ("sides", "message"),
    [
        ([], "no histogram was given"),
        ([(np.zeros(16), FULL)], "the activation histogram is empty: all its counts are zero"),
        ([(FULL, 2 * FULL)], "activation histogram sums to 16, the weight histogram to 32; .* divide each by its sum"),
        ([(FULL, BAD)], "the weight histogram holds nan"),
        ([(FULL, -FULL)], "the weight histogram holds a negative count, -1"),
        ([(FULL, np.ones(17))], r"the weight histogram has shape \[16\], one number per code; got \[17\]"),
        ([(np.ones(15), FULL)], "the activation histogram has one entry per code of 2 to 20 bits, not 15 entries"),
    ],
)
def test_histograms_that_are_none(sides: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(sides)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.ones((16, 8)), r"a joint histogram has shape \[2\^n, 2\^n\], not \[16, 8\]"),
        (np.zeros((16, 16)), "the joint histogram is empty"),
        (3, "operands come from a Calibration, Operands or a joint histogram .*, not int"),
    ],
)
def test_operands_that_are_none(source: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        distribution_of(source)
    with pytest.raises(ValueError, match="samples=1: at least 2 pairs"):
        distribution_of(uniform(4), samples=1)


# ---------------------------------------------------------------- equation 5


@pytest.mark.parametrize("operand", ["x", "y"])
def test_the_matrix_is_that_over_all_65536_pairs(operand: str) -> None:
    """Equation 5's constants by its own sums, for groups of one to three bits of random shapes."""
    space, distribution = Space(operand=operand, rows=3, largest=3), joint(8)
    random, every = np.random.default_rng(1), Space(operand=operand, rows=3, largest=3).candidates()
    problem = build(space, distribution, 0.0, [every[k] for k in random.choice(len(every), 30, replace=False)])
    assert {len(shape.group) for shape, _ in problem.candidates} == {1, 2, 3}
    x, y = pairs(8)
    outputs = np.stack([output(s.op, s.group, x, y).reshape(-1) << c for s, c in problem.candidates]).astype(float)
    missing = ((x % 8) * y if operand == "x" else x * (y % 8)).reshape(-1).astype(float)
    p = distribution.joint().reshape(-1)
    gram = problem.weight[:, None] * problem.gram[np.ix_(problem.shape, problem.shape)] * problem.weight
    np.testing.assert_allclose(gram, (outputs * p) @ outputs.T, rtol=1e-9)
    np.testing.assert_allclose(problem.weight * problem.target[problem.shape], outputs @ (p * missing), rtol=1e-9)
    assert problem.constant == pytest.approx(float(p @ missing**2))
    theta = random.random(30) < 0.3
    left = missing - theta @ outputs
    assert problem.error(theta) == pytest.approx(float(p @ left**2))
    assert problem.with_price(7.0).objective(theta) == pytest.approx(float(p @ left**2) + 7 * theta.sum())


@pytest.mark.parametrize("layers", [1, 2])
def test_the_weighted_mean_is_that_over_all_65536_pairs(layers: int) -> None:
    """What is minimised by its own sums over all pairs, each layer's mean on its own; nothing of the matrix is used."""
    distribution = lumpy(8) if layers == 2 else joint(8)
    space, kappa = Space(rows=3), 37.0
    random, every = np.random.default_rng(3), space.candidates()
    chosen = [every[k] for k in random.choice(len(every), 25, replace=False)]
    plain, problem = (build(space, distribution, 5.0, chosen, weight) for weight in (0.0, kappa))
    x, y = pairs(8)
    parts = [distribution.joint()]
    if isinstance(distribution, Mixture):
        parts = [
            w * np.outer(a, b) for w, a, b in zip(distribution.weights, distribution.a, distribution.b, strict=True)
        ]
    assert len(parts) == layers
    for theta in (np.zeros(25, dtype=bool), random.random(25) < 0.3, random.random(25) < 0.6):
        left = (x % 8 * y).astype(float)
        for (shape, column), taken in zip(problem.candidates, theta, strict=True):
            left -= taken * (output(shape.op, shape.group, x, y) << column)
        square = sum((p * left**2).sum() for p in parts)
        mean = sum((p * left).sum() ** 2 / p.sum() for p in parts)
        assert problem.error(theta) == pytest.approx(square + kappa * mean)
        assert problem.objective(theta) == pytest.approx(square + kappa * mean + 5 * theta.sum())
        assert plain.error(theta) == pytest.approx(square)
        measured = distribution.error(Compressed.of(problem.design(theta)))
        if exploring._fits(problem.design(theta)):
            assert measured.weighted(kappa) == pytest.approx(problem.error(theta))
            assert measured.mean == pytest.approx(-sum((p * left).sum() for p in parts))
    assert problem.scale == plain.constant == pytest.approx(plain.error(np.zeros(25, dtype=bool)))
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"mean_weight=.*: 0 \(equation 5\) or more, up to the products of a sum"):
            build(space, distribution, mean_weight=wrong)


def test_a_sample_knows_the_layers_that_its_pairs_are_of() -> None:
    sample = distribution_of(lumpy(6), samples=3000, seed=4)
    assert isinstance(sample, Sampled)
    a, b = np.arange(0, 64, 5), np.arange(0, 64, 5)
    for layer in (0, 1):
        mine = sample.layer == layer
        have = ((sample.x[mine] & a[:, None]) == a[:, None]) & ((sample.y[mine] & b[:, None]) == b[:, None])
        np.testing.assert_allclose(sample.means(a, b)[layer], have.mean(axis=1))
        assert sample.weights[layer] == pytest.approx(mine.mean()) == pytest.approx(lumpy(6).weights[layer], abs=0.05)
    wide = Mixture([(np.arange(1 << 13), np.full(1 << 13, ((1 << 13) - 1) / 2))] * 2)
    m = cs.multiplier("truncated:c=12,n=13")
    drawn = wide.error(m, pairs=100_000)
    assert drawn.mean < 0 and drawn.square_of_means == pytest.approx(drawn.mean**2, rel=0.01)


def test_the_papers_space_holds_the_published_multiplier_and_its_figures_groups() -> None:
    assert len({shape.group for shape in FIGURE_1.shapes()}) == 10  # "divided into 10 groups"
    assert len(PAPER.candidates()) == 16 * (3 * 14 + 4)
    for distribution in (uniform(8), lumpy(8), joint(8)):
        for space in (PAPER, Space()):
            problem = build(space, distribution)
            theta = problem.choice(HEAM.design)
            assert problem.error(theta) == pytest.approx(distribution.error(HEAM).value, rel=1e-9)
            assert problem.design(theta).terms == tuple(
                sorted(HEAM.design.terms, key=lambda t: (t.column, t.group, t.op))
            )
    with pytest.raises(ValueError, match=r"term 0.7or1.6@8 is not in the space"):
        build(Space(rows=4, operations=("and",)), uniform(8)).choice(HEAM.design)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"operand": "z"}, "operand='z': it is 'x', the activation, or 'y', the weight"),
        ({"rows": 9}, "rows=9: 1 to 8 rows"),
        ({"largest": 5}, "largest=5: groups have 2 to 4 bits"),
        ({"groups": "rows"}, "groups='rows': 'paper'"),
        ({"operations": ("nand",)}, "operation 'nand'"),
    ],
)
def test_spaces_that_cannot_be(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Space(**wrong)
    with pytest.raises(ValueError, match="operands of 4 bits for a design of 8 bits"):
        build(Space(), uniform(4))


# ---------------------------------------------------------------- optima


def test_trying_every_choice_is_what_a_slow_loop_over_multipliers_finds() -> None:
    """The slow loop builds each multiplier and measures it: nothing of equation 5 is shared."""
    space = Space(n=4, rows=2)
    problem = instance(7, 3, 0.02, space)
    distribution = lumpy(4, 3)
    best = math.inf
    for bits in itertools.product((0, 1), repeat=7):
        chosen = [candidate for candidate, bit in zip(problem.candidates, bits, strict=True) if bit]
        error = distribution.error(Compressed.of(space.design(chosen))).value
        best = min(best, error + problem.price[0] * sum(bits))
    found = proof.brute_force(problem)
    assert found.objective == pytest.approx(best) and found.gap == 0
    with pytest.raises(ValueError, match="brute force: 25 candidates; .* up to 24: use scip"):
        proof.brute_force(instance(25, 0, 0.1))


@pytest.mark.parametrize(("seed", "mean_weight"), [*((seed, 0.0) for seed in range(6)), (0, 10.0), (1, 200.0)])
def test_local_search_finds_the_optimum_of_small_instances(seed: int, mean_weight: float) -> None:
    problem = instance(14, seed, 10.0 ** -(1 + seed % 4), mean_weight=mean_weight)
    truth = proof.brute_force(problem)
    assert search.minimise(problem, rounds=1, steps=1000).objective == pytest.approx(truth.objective, rel=1e-9)
    evolved = genetic(problem, 300, terms=4)
    assert evolved.objective == pytest.approx(truth.objective, rel=1e-9)


@pytest.mark.parametrize(
    ("problem", "what"),
    [
        (instance(40, 1, 1e-2), "40 candidates"),
        (instance(40, 2, 1e-3), "40 candidates"),
        (build(FIGURE_1, uniform(4)).with_price(1000.0), "Figure 1"),
        (instance(40, 1, 1e-2, mean_weight=50.0), "40 candidates, the mean weighted"),
    ],
    ids=["40a", "40b", "figure-1", "40-mean"],
)
def test_local_search_finds_the_optimum_that_scip_proves(problem: Problem, what: str) -> None:
    pytest.importorskip("pyscipopt", reason="optima are proved by SCIP: pip install 'carrysave[scip]'")
    found = search.minimise(problem, rounds=2, steps=3000)
    proved = proof.scip(problem, seconds=120)
    assert proved.gap < 1e-4, what
    assert found.objective <= proved.objective * (1 + 1e-9), what
    assert found.objective >= proved.bound * (1 - 1e-6) > 0, what


def test_without_scip_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyscipopt", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'carrysave\[scip\]'"):
        proof.scip(instance(5, 0, 0.1))


def test_a_descent_ends_where_no_flip_and_no_exchange_helps() -> None:
    problem = instance(30, 5, 1e-3)
    start = np.random.default_rng(0).random(30) < 0.5
    end = search.polish(problem, start)
    value = problem.objective(end)
    assert value < problem.objective(start)
    for k, other in itertools.combinations_with_replacement(range(30), 2):
        moved = end.copy()
        moved[k] ^= True
        if other != k:
            if end[k] == end[other]:
                continue  # not an exchange
            moved[other] ^= True
        assert problem.objective(moved) >= value - 1e-9 * problem.constant


def test_a_front_rises_and_its_errors_are_those_of_its_multipliers() -> None:
    distribution = lumpy(6)
    problem = build(Space(n=6, rows=3), distribution, 1.0)
    front = search.front(problem, problem.constant * np.geomspace(1e-5, 0.3, 16), rounds=1, steps=800)
    assert len(front.found) > 5 and not front.interrupted
    for cheap, dear in itertools.pairwise(front.found):
        assert cheap.price < dear.price and cheap.error > dear.error
    for choice in front.found:
        m = Compressed.of(problem.design(choice.theta))
        assert distribution.error(m).value == pytest.approx(choice.error, rel=1e-6, abs=1e-9 * problem.constant)
        assert choice.price == choice.theta.sum()


def test_stopping_a_search_keeps_the_best_so_far() -> None:
    problem = instance(40, 0, 1e-3)

    def stop(done: int, total: int) -> None:
        if done > 500:
            raise KeyboardInterrupt

    found = search.minimise(problem, steps=3000, progress=stop)
    assert found.interrupted and 0 < found.objective < problem.constant
    assert genetic(problem, progress=lambda done, total: stop(600, 0)).interrupted
    searched = exploring.explore(
        uniform(4), exploring.spaces_of(4), steps=1000, progress=lambda done, total, name: stop(done, total)
    )
    assert searched.interrupted and searched.designs


# ---------------------------------------------------------------- prices and all spaces


def test_features_are_counts_of_gates() -> None:
    counted = dict(zip(prices.FEATURES, prices.features(HEAM.design), strict=True))
    # rows 4 to 7 keep 32 partial products in columns 4 to 14, the six terms read eight more; adders: 38 bits less the
    # 11 columns they stand in
    assert counted == {"constant": 1, "products": 32 + 8, "and": 1, "or": 3, "xor": 0, "adders": 38 - 11}
    known = prices.fitted()
    problem = build(Space(), uniform(8))
    theta = problem.choice(HEAM.design)
    last = int(np.flatnonzero(theta)[-1])
    fewer = theta.copy()
    fewer[last] = False
    price = known.of_candidates(problem.candidates)[last]
    assert known.area(HEAM.design) - known.area(problem.design(fewer)) == pytest.approx(price)


def test_a_fit_finds_the_prices_that_made_it() -> None:
    random, every = np.random.default_rng(0), Space().candidates()
    designs = [
        Space(rows=rows).design([every[k] for k in random.choice(100, random.integers(1, 15), replace=False)])
        for rows in (4, 5, 6)
        for _ in range(20)
    ]
    table = np.array([prices.features(design) for design in designs])
    truth = np.array([0.4, 0.03, 0.02, 0.05, 0.09, 0.41])
    found = prices.fit(designs, table @ truth, 2 * table @ truth, "made up")
    np.testing.assert_allclose(found.area_um2, truth, atol=1e-4)
    np.testing.assert_allclose(found.delay_ps, 2 * truth, atol=1e-4)
    assert found.area_rms_um2 < 1e-3 and found.designs == 60


def test_searching_all_rows_holds_every_design_of_the_others() -> None:
    distribution = lumpy(5)
    spaces = exploring.spaces_of(5, rows=(2, 3))
    for space in spaces:
        small = build(space, distribution)
        theta = np.random.default_rng(2).random(len(small.candidates)) < 0.05
        whole = build(exploring.all_rows(space), distribution)
        held = exploring.embedded(whole, small.design(theta))
        assert whole.error(held) == pytest.approx(small.error(theta), rel=1e-9)
    searched = exploring.explore(distribution, spaces, steps=600)
    assert searched.spaces == (*spaces, exploring.all_rows(spaces[0]))
    for found, following in itertools.pairwise(searched.designs):
        assert found.area_um2 < following.area_um2 and found.error > following.error
    for found in searched.designs:
        measured = distribution.error(Compressed.of(found.design)).value
        assert measured == pytest.approx(found.error, rel=1e-6, abs=1e-6)
    assert exploring.explore(distribution, spaces, steps=600) == searched  # the same call, the same designs
    with pytest.raises(ValueError, match="no space to search"):
        exploring.spaces_of(8, operands=())


@pytest.mark.parametrize("free", [True, False])
def test_a_mean_weight_lowers_the_mean_errors(free: bool) -> None:
    distribution, spaces, kappa = lumpy(5), exploring.spaces_of(5, rows=(2, 3)), 60.0
    plain = exploring.explore(distribution, spaces, steps=500, free=free)
    weighed = exploring.explore(distribution, spaces, steps=500, free=free, mean_weight=kappa)
    assert weighed.designs
    for found in weighed.designs:
        measured = distribution.error(Compressed.of(found.design))
        assert measured.weighted(kappa) == pytest.approx(found.error, rel=1e-6, abs=1e-6)
    lower = 0
    for area in np.linspace(plain.designs[0].area_um2, plain.designs[-1].area_um2, 9)[1:]:
        old, new = (
            distribution.error(Compressed.of([p for p in front.designs if p.area_um2 <= area][-1].design))
            for front in (plain, weighed)
        )
        assert new.weighted(kappa) <= old.weighted(kappa) * (1 + 1e-9) + 1e-9
        lower += new.square_of_means < 0.5 * old.square_of_means
    assert lower >= 3


def test_terms_whose_sum_leaves_the_product_are_no_design() -> None:
    fits = exploring._fits
    assert fits(HEAM.design)
    assert fits(Design.from_text("4x4_3.3@6_3.2@5_2.3@5_2.2@4"))
    assert not fits(Design.from_text("4x4_3.3@7_3.2@7"))  # 2^8 has no bit there


def test_sixteen_bits_by_moments_and_by_samples() -> None:
    random = np.random.default_rng(0)
    a, b = random.random(1 << 16) ** 9, random.random(1 << 16)
    whole = Mixture([(a / a.sum(), b / b.sum())])
    space = Space(n=16, rows=5, columns=(0, 1))
    problem = build(space, whole).with_price(0.0)
    problem = problem.with_price(1e-3 * problem.constant)
    found = search.minimise(problem, rounds=1, steps=300, chains=16)
    m = Compressed.of(problem.design(found.theta))
    sampled = whole.error(m, pairs=200_000)
    assert abs(sampled.value - found.error) < 5 * sampled.standard_error < 0.1 * found.error
    few = build(space, distribution_of(whole, samples=4000))
    assert few.error(found.theta) == pytest.approx(found.error, rel=0.3)


# ---------------------------------------------------------------- multipliers with their figures


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One cache for this file: a multiplier is synthesised once."""
    return tmp_path_factory.mktemp("cache")


def small(cache: Any, monkeypatch: pytest.MonkeyPatch, **asked: Any) -> Any:
    monkeypatch.setenv("CARRYSAVE_CACHE", str(cache))
    monkeypatch.setattr("carrysave.methods.heam.designing.STEPS", 300)
    return heam.designs(lumpy(4), finalists=3, **asked)


def test_designs_are_ordinary_multipliers_with_proved_figures(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = small(cache, monkeypatch)
    assert found.published is None and not found.interrupted and "effort quick" in found.cells
    assert sum(row.label == "exact" for row in found.rows) == 1 and len(found.rows) >= 3
    for row in found.rows:
        assert row.area_um2 and row.delay_ps and row.power_uw
        again = cs.multiplier(row.spec)
        assert again == row.multiplier and lumpy(4).error(again).value == pytest.approx(row.error.value)
        assert cs.cost(row.spec, effort="quick").area_um2 == pytest.approx(row.area_um2)
    exact = next(row for row in found.rows if row.label == "exact")
    assert exact.error.value == 0 and any(row.error.value == 0 for row in found.pareto)
    for row in found.pareto:
        for other in found.pareto:
            beats = [other.error.value <= row.error.value]
            beats += [getattr(other, key) <= getattr(row, key) for key in ("area_um2", "delay_ps", "power_uw")]
            assert other is row or not all(beats)
    middle = sorted(row.error.value for row in found.rows)[1]
    best = found.best(max_error=middle)
    assert best.error.value <= middle and best.label == "design"
    assert found.best(max_area_um2=exact.area_um2).error.value == min(
        row.error.value for row in found.rows if row.label == "design" and row.area_um2 <= exact.area_um2
    )
    with pytest.raises(ValueError, match=r"no design has an area of 0.1 um2 or less; there are \d"):
        found.best(max_area_um2=0.1)


def test_designs_from_a_sample_are_measured_over_all_pairs(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sample predicts is not what its design's error is."""
    found = small(cache, monkeypatch, samples=2000, mean_weight=9.0)
    designs = [row for row in found.rows if row.label == "design"]
    assert designs and found.mean_weight == 9
    for row in designs:
        error = lumpy(4).error(row.multiplier)
        assert row.error == error and row.weighted == pytest.approx(error.value + 9 * error.square_of_means)


def test_one_design_meets_what_is_asked(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRYSAVE_CACHE", str(cache))
    monkeypatch.setattr("carrysave.methods.heam.designing.STEPS", 300)
    distribution = lumpy(4)
    m = heam.design(distribution.joint(), max_error=30.0)
    assert cs.multiplier(m.spec) == m and 0 < distribution.error(m).value <= 30
    given = heam.design(Operands(np.ones(16), np.ones(16)), max_error=30.0)
    assert uniform(4).error(given).value <= 30
    with pytest.raises(ValueError, match=r"no design has an expected squared error of -1 or less; the least .* exact"):
        heam.design(distribution, max_error=-1.0)
    with pytest.raises(ValueError, match="no design has an area of -1 um2 or less"):
        heam.design(distribution, max_area_um2=-1.0)


def test_stopping_the_synthesis_keeps_what_was_done(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from carrysave.hardware import synthesis

    real, calls = synthesis.synthesize, []

    def stopping(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*given, **named)

    monkeypatch.setattr(synthesis, "synthesize", stopping)
    found = small(cache, monkeypatch)
    assert found.interrupted and len(calls) == 3
    assert sum(row.area_um2 is not None for row in found.rows) == 2
    assert all(row.error.value > 0 for row in found.rows if row.area_um2 is None)
    assert found.rows[-1].area_um2 is None  # last, behind those with figures
    lines = conclusion(found, {})
    assert lines[0] == "Stopped early: these are the best found so far."
    assert cells(found, {})[-1][4] == "-"


def test_a_layers_operands_and_signed_multipliers(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    calibration = cs.calibrate(model, torch.rand(64, 6), samples=64)
    every = distribution_of(calibration)
    assert isinstance(every, Mixture) and every.source.startswith("all 2 layers")
    np.testing.assert_allclose(every.weights, [48 / 72, 24 / 72])
    one = distribution_of(calibration, layer="2")
    assert isinstance(one, Mixture) and len(one.weights) == 1
    operands = calibration.operands("2", cs.Arithmetic())
    np.testing.assert_allclose(one.a[0], operands.activation / operands.activation.sum())
    with pytest.raises(ValueError, match="no layer '3'.*layers: 0, 2"):
        distribution_of(calibration, layer="3")
    arithmetic = cs.Arithmetic.natural("exact:n=4,signed=true")
    monkeypatch.setenv("CARRYSAVE_CACHE", str(cache))
    monkeypatch.setattr("carrysave.methods.heam.designing.STEPS", 300)
    m = heam.design(calibration, arithmetic=arithmetic, max_error=5.0)
    assert m.signed and m.n == 4 and cs.multiplier(m.spec) == m
    joint_error = 0.0  # over signed values, by the calibration's own operands
    values = np.where(np.arange(16) < 8, np.arange(16), np.arange(16) - 16)
    for layer in calibration.layers:
        both = calibration.operands(layer, arithmetic)
        p = np.outer(both.activation, both.weight)
        joint_error += (p * (cs.table(m) - np.outer(values, values)) ** 2).sum() / both.weight.sum()
    joint_error /= sum(calibration.operands(layer, arithmetic).activation.sum() for layer in calibration.layers)
    assert distribution_of(calibration, arithmetic).error(unsigned(m)).value == pytest.approx(joint_error)


def test_tables_pictures_and_files(cache: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = small(cache, monkeypatch)
    accuracies = {"exact:n=4": Accuracy(990, 1000), found.pareto[0].spec: Accuracy(985, 1000)}
    console = Console(width=160, file=io.StringIO())
    print_designs(found, accuracies, "a test", console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "design 1 *" in text and found.pareto[0].spec in text and "98.50" in text
    for kind in ("png", "svg", "pdf", "md", "json"):
        assert write(found, accuracies, "a test", tmp_path / f"r.{kind}", "carrysave design heam").stat().st_size > 100
    record = json.loads((tmp_path / "r.json").read_text())
    assert [row["spec"] for row in record["multipliers"]] == [row.spec for row in found.rows]
    assert "Made by `carrysave design heam`." in (tmp_path / "r.md").read_text()
    with pytest.raises(ValueError, match="-o r.txt: give it a name ending in .png"):
        check_output(Path("r.txt"))
    saved = save_designs(found, tmp_path / "designs")
    designs = [row for row in found.pareto if row.label == "design"]
    assert [cs.multiplier(f"compressed:{path}").design for path in saved] == [row.multiplier.design for row in designs]
