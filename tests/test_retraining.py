"""Engines prepared for weights in training give the integers of the reference, and say so where they cannot."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from carrysave import native
from carrysave.engines.plan import ENGINES
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.formats import FORMATS
from carrysave.multipliers import MULTIPLIERS
from carrysave.retraining import prepared_again

needs_native = pytest.mark.skipif(not native.available, reason="the native module is not installed")


def _problem(spec: str, kind: str, channels: bool, formats: tuple[str, str]) -> tuple[Problem, torch.Tensor]:
    g = np.random.default_rng(0)
    products = Products(MULTIPLIERS.parse(spec), FORMATS.parse(formats[0]), FORMATS.parse(formats[1]))
    fmt, other = products.activation, products.weight
    shape, size = ((6, 2, 3, 3), (2, 4, 7, 6)) if kind == "conv" else ((5, 33), (4, 33))
    geometry = Geometry("conv", (2, 1), (1, 1), (1, 1), 2) if kind == "conv" else Geometry("linear")
    weight = torch.from_numpy(g.integers(other.low, other.high + 1, shape))
    zeros = torch.from_numpy(g.integers(0, other.high, shape[0] if channels else ()) if other.low == 0 else np.array(0))
    bias = torch.from_numpy(g.integers(-(10**5), 10**5, shape[0]))
    zero = 0 if fmt.low < 0 else 77 % (fmt.high + 1)
    codes = torch.from_numpy(g.integers(fmt.low, fmt.high + 1, size).astype(np.int32))
    return Problem(products, geometry, weight, zero, zeros, bias), codes


@needs_native
@pytest.mark.parametrize("kind", ["conv", "linear"])
@pytest.mark.parametrize(
    "spec, formats",
    [
        ("exact", ("affine", "affine")), ("kulkarni", ("affine", "affine")), ("drum:k=6", ("affine", "affine")),
        ("exact", ("affine", "sign_magnitude")), ("kulkarni:n=4", ("affine:bits=3", "affine:bits=4")),
    ],
)  # fmt: skip
def test_the_accumulators_are_those_of_the_reference(spec: str, formats: tuple[str, str], kind: str) -> None:
    problem, codes = _problem(spec, kind, False, formats)
    again = prepared_again(problem)
    assert again is not None and again.layer is not None
    assert torch.equal(again(codes), ENGINES["reference"].prepare(problem)(codes))


@needs_native
def test_extreme_weights_and_zeros_of_their_own() -> None:
    problem, codes = _problem("exact", "linear", True, ("affine", "affine"))
    for change in ({}, {"weight": torch.full((5, 33), 255)}, {"weight": torch.zeros(5, 33, dtype=torch.int64)}):
        changed = dataclasses.replace(problem, **change)
        again = prepared_again(changed)
        # zeros so far apart that no shift fits all of them into 8 bits are left to the plan
        spread = changed.weights - changed.weight_zero[:, None]
        assert (again is None) == (int(spread.max() - spread.min()) > 255)
        assert again is None or torch.equal(again(codes), ENGINES["reference"].prepare(changed)(codes))


def test_what_only_a_plan_can_serve() -> None:
    zeros, _ = _problem("kulkarni", "linear", True, ("affine", "affine"))
    random, _ = _problem("recovery:c=6", "linear", False, ("affine", "affine"))
    wide, _ = _problem("mitchell:n=16", "linear", False, ("affine:bits=16", "affine:bits=16"))
    matmul = Problem(zeros.products, Geometry("matmul"), None)
    assert [prepared_again(p) for p in (zeros, random, wide, matmul)] == [None] * 4
