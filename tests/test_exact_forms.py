"""The two's complement forms of the exact multiplier: engines know them as exact, and every width multiplies."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from carrysave.engines.plan import plan
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.formats import FORMATS
from carrysave.multipliers import MULTIPLIERS
from carrysave.tables import multiply

FORMS = ("magnitudes", "baugh_wooley", "booth")


@pytest.mark.parametrize("n", [8, 16])
@pytest.mark.parametrize("form", FORMS)
def test_engines_take_every_form_for_exact(form: str, n: int) -> None:
    m = MULTIPLIERS.parse(f"exact:n={n},signed=true,form={form}")
    fixed = FORMATS.parse(f"fixed:bits={n}")
    weight = torch.tensor([[-1, 1, 2, -(1 << n - 1)]], dtype=torch.int32)
    problem = Problem(Products(m, fixed, fixed), Geometry("linear"), weight)
    assert plan(m, problem).engine == "exact"


@pytest.mark.parametrize("form", FORMS[1:])
@pytest.mark.parametrize("n", [2, 3, 31, 32])
def test_corners_of_odd_and_wide_operands(form: str, n: int) -> None:
    m = MULTIPLIERS.parse(f"exact:n={n},signed=true,form={form}")
    low, high = -(1 << n - 1), (1 << n - 1) - 1
    corners = np.array(sorted({low, low + 1, low // 2, -1, 0, 1, high // 2, high}))
    a, b = np.repeat(corners, corners.size), np.tile(corners, corners.size)
    assert [int(p) for p in multiply(m, a, b)] == [int(x) * int(y) for x, y in zip(a, b, strict=True)]
