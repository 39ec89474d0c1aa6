"""The two numeric readings of a multiplier: its table, and its product on arrays."""

from __future__ import annotations

import numpy as np
import pytest

import carrysave as cs
from carrysave.tables import exact_product, multiply, operand_values, table


@pytest.mark.parametrize("n", [2, 3, 8, 11])
def test_the_table_of_the_exact_product(n: int) -> None:
    for signed in (False, True):
        m = cs.multiplier(f"exact:n={n},signed={signed}")
        values = operand_values(n, signed)
        assert (table(m) == np.outer(values, values)).all()
        assert table(m).dtype == np.int32 and table(m).shape == (1 << n, 1 << n)


def test_operand_values() -> None:
    assert operand_values(3, False).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert operand_values(3, True).tolist() == [0, 1, 2, 3, -4, -3, -2, -1]


def test_a_table_is_made_once_and_is_read_only() -> None:
    first = table(cs.multiplier("kulkarni"))
    assert table(cs.multiplier("kulkarni")) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


def test_rows_are_the_first_operand() -> None:
    """HEAM compresses the low rows of its first operand: 240 has none, of 15 there is nothing else."""
    m = cs.multiplier("compressed:heam")
    assert table(m)[240, 15] == multiply(m, np.array(240), np.array(15)) == 3600
    assert table(m)[15, 240] == multiply(m, np.array(15), np.array(240)) == 512 + 1536 + 1024


def test_multiply_broadcasts_and_keeps_shapes() -> None:
    m = cs.multiplier("recovery:c=6")
    x, y = np.arange(256)[:, None], np.arange(256)[None, :]
    assert (multiply(m, x, y) == table(m)).all()
    assert multiply(m, np.zeros((0, 3), dtype=int), np.zeros(3, dtype=int)).shape == (0, 3)
    assert multiply(m, np.array(7, dtype=np.uint8), np.array(9, dtype=np.int8)).shape == ()


def test_more_pairs_than_one_batch_of_lanes() -> None:
    m = cs.multiplier("exact:n=16")
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 1 << 16, (2, (1 << 20) + 13))
    assert (multiply(m, x, y) == x * y).all()


@pytest.mark.parametrize(
    ("spec", "kind"), [("exact:n=31", np.int64), ("exact:n=32", np.uint64), ("exact:n=32,signed=true", np.int64)]
)
def test_the_widest_products(spec: str, kind: type) -> None:
    m = cs.multiplier(spec)
    low, high = (-(1 << 31), (1 << 31) - 1) if m.signed else (0, (1 << m.n) - 1)
    x, y = np.array([low, high, low, high], dtype=np.int64), np.array([low, high, high, low], dtype=np.int64)
    found = multiply(m, x, y)
    assert found.dtype == kind and exact_product(m, x, y).dtype == kind
    expected = [int(p) * int(q) for p, q in zip(x, y, strict=True)]
    assert [int(v) for v in found] == expected == [int(v) for v in exact_product(m, x, y)]


def test_what_cannot_be_is_answered() -> None:
    m, signed = cs.multiplier("exact"), cs.multiplier("exact:signed=true")
    for x, text in [
        (np.array([1.0]), "operands are integers, not float64"),
        (np.array([256]), r"first operand 256 lies outside 0 to 255 \(8 bits\)"),
        (np.array([-1]), "first operand -1 lies outside 0 to 255"),
    ]:
        with pytest.raises(ValueError, match=text):
            multiply(m, x, np.array([1]))
    with pytest.raises(ValueError, match="second operand -129 lies outside -128 to 127"):
        multiply(signed, np.array([1]), np.array([-129]))
    with pytest.raises(ValueError, match=r"2\^16 x 2\^16 products is too large; tables go to 12 bits an operand"):
        table(cs.multiplier("drum:n=16,k=6"))
