"""MACs without a multiplier, against integers."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.hardware.units import UNITS

GENERATOR = np.random.default_rng(0)


def operands(n: int, accumulator: int, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    x = GENERATOR.integers(-(1 << n - 1), 1 << n - 1, count)
    return np.concatenate([x, [-(1 << n - 1), (1 << n - 1) - 1]]), GENERATOR.integers(0, 1 << accumulator, count + 2)


def test_binary():
    unit = UNITS.parse("binary_mac:n=8,accumulator=20")
    x, c = operands(8, 20)
    w = GENERATOR.integers(0, 2, x.size)
    assert np.array_equal(unit.run(x=x % 256, w=w, c=c)["y"], (c + np.where(w, x, -x)) % (1 << 20))


def test_ternary_on_every_code():
    unit = UNITS.parse("ternary_mac:n=8,accumulator=20")
    x, c = operands(8, 20)
    w = GENERATOR.integers(0, 4, x.size)
    weight = np.array([0, 1, 0, -1])[w]  # negative zero is zero
    assert np.array_equal(unit.run(x=x % 256, w=w, c=c)["y"], (c + weight * x) % (1 << 20))


def test_powers_of_two():
    unit = UNITS.parse("shift_mac:n=8,exponent=4,accumulator=24")
    x, c = operands(8, 24)
    w = GENERATOR.integers(0, 32, x.size)
    power, minus = w % 16, w // 16
    weight = np.where(power == 15, 0, (1 << power) * np.where(minus, -1, 1))
    assert np.array_equal(unit.run(x=x % 256, w=w, c=c)["y"], (c + weight * x) % (1 << 24))


@pytest.mark.parametrize("n", [2, 7, 32])
def test_xnor_popcount_is_the_sum_of_products_of_signs(n: int):
    unit = UNITS.parse(f"xnor_popcount:n={n},accumulator=16")
    bits = GENERATOR.integers(0, 2, (2, 3000, n))
    codes = (bits << np.arange(n)).sum(axis=2)
    c = GENERATOR.integers(0, 1 << 16, 3000)
    sums = ((2 * bits[0] - 1) * (2 * bits[1] - 1)).sum(axis=1)
    assert np.array_equal(unit.run(a=codes[0], w=codes[1], c=c)["y"], (c + (sums + n) // 2) % (1 << 16))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("binary_mac:n=40", "n=40, accumulator=32; n is 2 to 32"),
        ("ternary_mac:n=16,accumulator=8", "the sum has 16 to 64 bits"),
        ("shift_mac:exponent=7", "exponent=7 bits; 1 to 6"),
        ("xnor_popcount:n=32,accumulator=5", "the sum holds n"),
    ],
)
def test_what_cannot_be(spec: str, message: str):
    with pytest.raises(ValueError, match=message):
        UNITS.parse(spec)
