"""Factoring: known ranks, proofs entry by entry, and the lattice algebra against slow truths."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrysave.engines import lattice
from carrysave.engines.factoring import MAX_RANK, factor, rank
from carrysave.engines.problem import Products
from carrysave.formats import FORMATS
from carrysave.multipliers import MULTIPLIERS

KNOWN = {  # full tables: rank, and as many 8-bit digits
    "exact": 1,
    "drum:k=4": 1,
    "drum:k=6": 1,
    "kulkarni": 2,
    "or_compressed": 5,
    "compressed:heam": 5,
    "truncated:c=6": 7,
    "truncated:c=8": 7,
}


def _table(spec: str, weight: str = "affine") -> np.ndarray:
    return Products(MULTIPLIERS.parse(spec), FORMATS.parse("affine"), FORMATS.parse(weight)).table


@pytest.mark.parametrize("spec", KNOWN)
def test_known_ranks_and_one_digit_per_rank(spec: str) -> None:
    table = _table(spec)
    factors = factor(table)
    assert factors is not None
    assert (factors.rank, factors.digits) == (KNOWN[spec], KNOWN[spec])
    rebuilt = np.array(
        [[sum(int(a) * int(b) for a, b in zip(u, v, strict=True)) for v in factors.v.T[:8]] for u in factors.u]
    )
    assert np.array_equal(rebuilt + factors.p[:, None] + factors.q[:8], table[:, :8])
    assert factors.proved(table)


def test_sign_and_magnitude_weights_lower_the_rank() -> None:
    factors = factor(_table("compressed:heam", "sign_magnitude"))
    assert factors is not None and (factors.rank, factors.digits) == (3, 3)
    # one bit of the weight less, one row pair less to compress
    assert rank(_table("or_compressed", "sign_magnitude")) == 4


def test_only_the_codes_that_occur_count() -> None:
    table = _table("kulkarni")
    columns = np.zeros(256, bool)
    columns[[0, 1, 2, 4, 8, 16, 128]] = True  # one bit set: Kulkarni is exact there
    factors = factor(table, columns)
    assert factors is not None and factors.rank == 1 and factors.proved(table)
    assert rank(table, columns) == 1 and rank(table) == 2


@pytest.mark.parametrize("spec", ["recovery:c=6", "venkatachalam", "mitchell"])
def test_high_ranks_are_left_to_the_table(spec: str) -> None:
    assert factor(_table(spec)) is None
    assert rank(_table(spec)) == MAX_RANK + 1


def test_wrong_factors_are_not_proved() -> None:
    table = _table("kulkarni")
    factors = factor(table)
    assert factors is not None
    factors.u[17, 0] += 1
    assert not factors.proved(table)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 6), st.booleans(), st.integers(0, 10**6))
def test_random_tables_of_low_rank_are_rebuilt(size: int, sides: bool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    table = generator.integers(-40, 40, (37, size)) @ generator.integers(-40, 40, (size, 23))
    if sides:
        table = table + generator.integers(0, 999, (37, 1)) + generator.integers(0, 999, (1, 23))
    factors = factor(table)
    assert factors is not None and factors.rank <= np.linalg.matrix_rank(table)
    assert np.array_equal(factors.u @ factors.v + factors.p[:, None] + factors.q, table)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 10**6))
def test_lll_keeps_the_lattice_and_shortens_it(size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    basis = generator.integers(-50, 50, (size, size + 2))
    if np.linalg.matrix_rank(basis) < size:
        return
    reduced = np.array(lattice.lll(basis.tolist()))
    change = np.linalg.lstsq(basis.T.astype(float), reduced.T.astype(float), rcond=None)[0]
    assert np.allclose(change, np.rint(change), atol=1e-6)  # integer combinations of the old vectors
    assert round(abs(np.linalg.det(change))) == 1  # and the old ones of the new
    bound = 2 ** ((size - 1) / 4) * np.linalg.det((basis @ basis.T).astype(float)) ** (0.5 / size)
    assert np.linalg.norm(reduced[0]) <= bound * (1 + 1e-9)  # the theorem on the first vector, delta = 3/4


def test_row_lattice_holds_every_row_and_nothing_finer() -> None:
    rows = np.array([[4, 6], [6, 8], [10, 2]])
    basis = lattice.row_lattice(rows, [0, 1])
    inverse = lattice.inverse(basis)
    for row in rows.tolist():
        coordinates = [sum(Fraction(row[k]) * inverse[k][j] for k in range(2)) for j in range(2)]
        assert all(c.denominator == 1 for c in coordinates)
    # the gcd of the 2x2 minors (-4, -52, -68) is the lattice's determinant
    assert abs(basis[0][0] * basis[1][1] - basis[0][1] * basis[1][0]) == 4
