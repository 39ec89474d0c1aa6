"""Momeni's compressors by their truth tables, and the arrangement of cells independent of them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

import carrysave as cs
from carrysave.multipliers import momeni
from carrysave.planes import PlaneWord
from carrysave.tables import table


def all_inputs(count: int) -> tuple[list[PlaneWord], np.ndarray]:
    """(one word per input, how many inputs are 1) over all 2^count rows of a truth table."""
    rows = np.arange(1 << count)
    return [PlaneWord.from_ints(rows >> i & 1, 1) for i in range(count)], np.bitwise_count(rows).astype(int)


def test_truth_tables_of_the_compressors() -> None:
    inputs, ones = all_inputs(4)
    total, carry = (w.to_ints() for w in momeni.design_2(*inputs))
    wrong = total + 2 * carry - ones
    assert (wrong != 0).sum() == 4 and set(wrong[wrong != 0].tolist()) == {-1, 1}
    assert wrong[0] == 1 and wrong[15] == -1

    inputs, ones = all_inputs(5)
    total, carry, cout = (w.to_ints() for w in momeni.design_1(*inputs))
    wrong = total + 2 * (carry + cout) - ones
    assert (wrong != 0).sum() == 12 and (carry == inputs[4].to_ints()).all()

    total, carry, cout = (w.to_ints() for w in momeni.exact_compressor(*inputs))
    assert (total + 2 * (carry + cout) == ones).all()


@pytest.mark.parametrize("variant", [1, 3])
@pytest.mark.parametrize("n", [*range(4, 17), 24, 32])
def test_with_exact_cells_the_tree_is_exact(monkeypatch: pytest.MonkeyPatch, n: int, variant: int) -> None:
    monkeypatch.setattr(momeni, "design_1", momeni.exact_compressor)
    rng = np.random.default_rng(n)
    x, y = (np.append(rng.integers(0, 1 << n, 500, dtype=np.uint64), [0, (1 << n) - 1]).astype(np.uint64) for _ in "xy")
    m = cs.multiplier(f"momeni:variant={variant},n={n}")
    found = m(PlaneWord.from_ints(x, n), PlaneWord.from_ints(y, n)).to_ints()
    assert [int(v) for v in found] == [int(p) * int(q) for p, q in zip(x, y, strict=True)]


@pytest.mark.parametrize("n", [4, 5, 8, 11])
@pytest.mark.parametrize("variant", [1, 2, 3, 4])
def test_the_error_is_that_of_the_compressors(monkeypatch: pytest.MonkeyPatch, n: int, variant: int) -> None:
    """Product less x * y = the weighted errors of the cells, modulo 2^2n; none in the high columns of 3 and 4."""
    found: list[Any] = []
    original = momeni.Momeni._compress

    def recorded(self: Any, c: int, inputs: Any, cin: Any) -> Any:
        outputs = original(self, c, inputs, cin)
        ones = sum(w.to_ints() for w in [*inputs, *([] if cin is None else [cin])])
        total, carry, cout = (0 if w is None else w.to_ints() for w in outputs)
        found.append((c, total + 2 * carry + 2 * cout - ones))
        return outputs

    monkeypatch.setattr(momeni.Momeni, "_compress", recorded)
    rng = np.random.default_rng(n)
    x, y = (np.append(rng.integers(0, 1 << n, 500), [0, (1 << n) - 1]) for _ in "xy")
    m = cs.multiplier(f"momeni:variant={variant},n={n}")
    product = m(PlaneWord.from_ints(x, n), PlaneWord.from_ints(y, n)).to_ints()
    error = sum(wrong << c for c, wrong in found)
    assert (product == (x * y + error) % (1 << 2 * n)).all()
    assert variant < 3 or all(not wrong.any() for c, wrong in found if c >= n - 1)
    assert any(wrong.any() for _, wrong in found) == (n > 4 or variant < 3)  # a 4x4 tree is high from column 3


def test_published_cells_of_the_8x8_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Design 1: 2 half adders, 2 full adders, 8 compressors in the first level, then 1, 1, 10."""
    counts: list[Counter[str]] = []
    for name in ("half_adder", "full_adder", "design_1"):
        cell = getattr(momeni, name)
        monkeypatch.setattr(momeni, name, lambda *w, cell=cell, name=name: (counts[-1].update([name]), cell(*w))[1])
    level = momeni.Momeni._level
    monkeypatch.setattr(momeni.Momeni, "_level", lambda *args: (counts.append(Counter()), level(*args))[1])
    word = PlaneWord.from_ints(np.arange(3), 8)
    cs.multiplier("momeni:variant=1")(word, word)
    assert counts == [
        {"half_adder": 2, "full_adder": 2, "design_1": 8},
        {"half_adder": 1, "full_adder": 1, "design_1": 10},
    ]


@pytest.mark.parametrize("variant", [1, 2, 3, 4])
def test_zero_operands_give_products_that_are_not_zero(variant: int) -> None:
    products = table(cs.multiplier(f"momeni:variant={variant}"))
    assert products[0].any() and products[:, 0].any() and products[0, 0]
