"""Error figures against plain loops, closed forms, and sampling theory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import carrysave as cs
from carrysave.errors import error_map, measure
from carrysave.tables import operand_values, table


def slow_metrics(spec: str, weight: Any) -> dict[str, float]:
    """The definitions, pair by pair."""
    m = cs.multiplier(spec)
    products, values = table(m), operand_values(m.n, m.signed).tolist()
    rows = [
        (int(products[i, j]) - x * y, x * y, float(weight(i, j)))
        for i, x in enumerate(values)
        for j, y in enumerate(values)
        if weight(i, j)
    ]
    total = math.fsum(w for _, _, w in rows)
    relative = [(e / z, w) for e, z, w in rows if z]
    share = math.fsum(w for _, w in relative)
    largest = max(abs(v) for v in values) ** 2
    mean = math.fsum(w * e for e, _, w in rows) / total
    absolute = math.fsum(w * abs(e) for e, _, w in rows) / total
    return {
        "mean_error": mean,
        "mean_absolute_error": absolute,
        "mean_relative_error": math.fsum(w * r for r, w in relative) / share,
        "mred": math.fsum(w * abs(r) for r, w in relative) / share,
        "nmed": absolute / largest,
        "bias": mean / largest,
        "rms_error": math.sqrt(math.fsum(w * e * e for e, _, w in rows) / total),
        "worst_case": max(abs(e) for e, _, _ in rows),
        "worst_relative": max(abs(r) for r, _ in relative),
        "error_rate": math.fsum(w for e, _, w in rows if e) / total,
    }


FAMILIES = ["kulkarni:n=4", "planar:level=2,n=5", "mitchell_w:n=5,w=3", "drum:n=5,k=3,signed=true"]


@pytest.mark.parametrize("spec", FAMILIES)
def test_all_figures_by_plain_loops(spec: str) -> None:
    m = cs.multiplier(spec)
    rng = np.random.default_rng(1)
    size = 1 << m.n
    joint = rng.integers(0, 3, (size, size))
    a, b = rng.integers(0, 4, size), rng.random(size) * (rng.random(size) < 0.5)
    for operands, weight in [
        (None, lambda i, j: 1),
        (joint, lambda i, j: joint[i, j]),
        ((a, b), lambda i, j: a[i] * b[j]),
        ([(1e9 * a).astype(np.int64), b.astype(np.float32)], lambda i, j: a[i] * np.float32(b[j])),
    ]:
        found = measure(m, operands)
        for name, expected in slow_metrics(spec, weight).items():
            assert getattr(found, name) == pytest.approx(expected, rel=1e-9, abs=1e-12), name
        assert found.exhaustive and found.samples == size * size and found.standard_error is None


def test_an_exact_multiplier_has_no_error() -> None:
    found = measure(cs.multiplier("exact"))
    assert found.error_rate == found.worst_case == found.mred == found.rms_error == found.bias == 0


def test_known_figures() -> None:
    kulkarni = measure(cs.multiplier("kulkarni"))
    assert kulkarni.mean_error == -903.125 == -kulkarni.mean_absolute_error
    assert kulkarni.worst_case == 14450 and kulkarni.worst_relative == pytest.approx(2 / 9)
    assert kulkarni.nmed == 903.125 / 255**2 == -kulkarni.bias
    # a block is wrong with probability 1/16; closed form over the 16 pairs of digits, each operand's digits free
    no_three = sum(math.comb(4, k) * 3 ** (4 - k) * 4**4 * (1 - (3 / 4) ** 4 if k else 0) for k in range(5)) / 4**8
    assert kulkarni.error_rate == pytest.approx(no_three)


def test_twelve_bits_are_enumerated_and_thirteen_sampled() -> None:
    twelve = measure(cs.multiplier("truncated:n=12,c=4"), samples=10)
    # the dropped bits are 1 with probability 1/4: (c - 1) 2^c + 1 is their sum if all are 1
    assert twelve.exhaustive and twelve.samples == 1 << 24 and twelve.mean_error == -(3 * 2**4 + 1) / 4
    thirteen = measure(cs.multiplier("truncated:n=13,c=4"), samples=50_000)
    assert not thirteen.exhaustive and thirteen.samples == 50_000
    assert thirteen.standard_error is not None
    assert abs(thirteen.mean_error - twelve.mean_error) < 5 * thirteen.standard_error < 1


def test_samples_are_repeatable_and_their_standard_error_is_right() -> None:
    m = cs.multiplier("truncated:n=16,c=6")
    means, errors = [], []
    for seed in range(40):
        found = measure(m, samples=2000, seed=seed)
        means.append(found.mean_error)
        errors.append(found.standard_error or 0)
    assert measure(m, samples=2000, seed=3) == measure(m, samples=2000, seed=3) != measure(m, samples=2000, seed=4)
    assert np.mean(means) == pytest.approx(-80.25, abs=5 * float(np.mean(errors)) / math.sqrt(40))
    assert np.std(means) == pytest.approx(np.mean(errors), rel=0.5)


def test_sampled_operands_follow_their_histograms() -> None:
    m = cs.multiplier("drum:n=16,k=3")
    a, b = np.zeros(1 << 16), np.zeros(1 << 16)
    a[[5, 1000]], b[40000] = (1, 3), 7
    found = measure(m, (a, b), samples=40_000)
    products = {5: 5 * 40960, 1000: 896 * 40960}
    errors = {x: products[x] - x * 40000 for x in products}
    assert found.worst_case == max(map(abs, errors.values()))
    expected = 0.25 * errors[5] + 0.75 * errors[1000]
    assert found.mean_error == pytest.approx(expected, abs=5 * (found.standard_error or 0))
    signed = measure(cs.multiplier("exact:n=16,signed=true"), (a, b), samples=100)
    assert signed.worst_case == 0 and signed.error_rate == 0


def test_products_of_64_bits_do_not_wrap() -> None:
    found = measure(cs.multiplier("truncated:n=32,c=62"), samples=5000)
    assert found.mean_relative_error < 0 and found.worst_relative <= 1 and found.worst_case > 2**63
    assert measure(cs.multiplier("exact:n=32"), samples=5000).worst_case == 0
    signed = measure(cs.multiplier("drum:n=32,k=6,signed=true"), samples=5000)
    assert signed.worst_relative < 0.07 and abs(signed.mean_relative_error) < 0.01


def test_operands_that_are_all_zero_valued_have_no_relative_error() -> None:
    only_zero = np.zeros(256)
    only_zero[0] = 1
    found = measure(cs.multiplier("planar:level=3"), (only_zero, only_zero))
    assert found.mred == found.mean_relative_error == found.worst_relative == 0 == found.mean_error


def test_error_map() -> None:
    m = cs.multiplier("mitchell_w:w=6")
    errors = error_map(m)
    assert errors.shape == (256, 256) and errors.dtype == np.int64
    assert errors[255, 3] == int(table(m)[255, 3]) - (-1) * 3
    assert abs(errors).mean() == pytest.approx(measure(m).mean_absolute_error)


ONES = np.ones(256)


@pytest.mark.parametrize(
    ("operands", "text"),
    [
        ((ONES, ONES[:255]), r"of the second operand have one number .* shape \(256,\); got float64 of .*\(255,\)"),
        ((ONES[:10], ONES), "first operand"),
        (np.ones((256, 255)), r"joint operands \(or give a pair of arrays\) .* shape \(256, 256\)"),
        (ONES, "joint operands"),
        ((ONES, ONES, ONES), "joint operands"),
        ((ONES, -ONES), "hold a negative count, -1"),
        ((ONES, 0 * ONES), "of the second operand are all zero: no operand occurs"),
        (np.zeros((256, 256)), "all zero"),
        ((ONES * np.nan, ONES), "hold nan, not a count"),
        ((ONES, ONES * np.inf), "hold inf"),
        ((np.array(["1"] * 256), ONES), "got <U1"),
    ],
)
def test_bad_operands_are_answered(operands: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        measure(cs.multiplier("exact"), operands)


def test_other_bad_requests_are_answered() -> None:
    with pytest.raises(ValueError, match="samples=1: exact:n=16 is measured on random pairs, which needs at least 2"):
        measure(cs.multiplier("exact:n=16"), samples=1)
    with pytest.raises(ValueError, match="joint operands go to 12 bits; give a pair of arrays"):
        measure(cs.multiplier("exact:n=16"), np.ones((4, 4)))
    with pytest.raises(ValueError, match="tables go to 12 bits"):
        error_map(cs.multiplier("exact:n=16"))
