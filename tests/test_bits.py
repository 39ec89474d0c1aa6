"""Words against integers: the contract of `bits`, run on bit planes."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrysave import bits
from carrysave.bits import ADDERS, TREES
from carrysave.planes import PlaneWord


def word(values: Any, width: int) -> PlaneWord:
    return PlaneWord.from_ints(np.asarray(values), width)


def pairs(width_a: int, width_b: int) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of values of the two widths."""
    a, b = np.arange(1 << width_a), np.arange(1 << width_b)
    return np.repeat(a, b.size), np.tile(b, a.size)


def ints(w: Any) -> list[int]:
    return [int(v) for v in w.to_ints()]


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 3), (2, 4), (4, 2)])
def test_operators_are_those_of_integers_with_stated_widths(m: int, n: int) -> None:
    a, b = pairs(m, n)
    x, y, wide = word(a, m), word(b, n), max(m, n)
    for result, expected, width in [
        (x & y, a & b, wide),
        (x | y, a | b, wide),
        (x ^ y, a ^ b, wide),
        (~x, (1 << m) - 1 - a, m),
        (x + y, a + b, wide + 1),
        (x - y, (a - b) % (1 << wide), wide),
        (x << 3, a << 3, m + 3),
        (x[-1].mux(x, y), np.where(a >> (m - 1), a, b), wide),
        (bits.less(x, y), a < b, 1),
        (bits.negate(x), -a % (1 << m), m),
        (bits.cat(x, y), a | (b << m), m + n),
    ]:
        assert result.width == width
        assert ints(result) == expected.astype(int).tolist()


def test_slices_shifts_and_extensions() -> None:
    values = np.arange(64)
    w = word(values, 6)
    assert len(w) == 6 and [b.width for b in w] == [1] * 6
    for low in range(6):
        assert ints(w >> low) == (values >> low).tolist() and (w >> low).width == 6 - low
        for high in range(low + 1, 7):
            assert ints(w[low:high]) == (values >> low & ((1 << (high - low)) - 1)).tolist()
    assert ints(w[-2]) == (values >> 4 & 1).tolist() and ints(w[:2]) == (values & 3).tolist()
    assert ints(bits.zext(w, 9)) == values.tolist() and bits.zext(w, 9).width == 9
    assert ints(bits.sext(w, 8)) == np.where(values >> 5, values + 192, values).tolist()
    assert ints(bits.fit(w, 3)) == (values & 7).tolist() and bits.fit(w, 7).width == 7
    assert ints(bits.rep(w[0], 3)) == ((values & 1) * 7).tolist()
    assert ints(w.const(37, 7)) == [37] * 64


def test_reductions_and_leading_ones_exhaustively() -> None:
    for width in range(1, 10):
        values = np.arange(1 << width)
        w = word(values, width)
        top = [max(0, int(v).bit_length() - 1) for v in values]
        assert ints(bits.any_bit(w)) == (values > 0).astype(int).tolist()
        assert ints(bits.all_bits(w)) == (values == values.max()).astype(int).tolist()
        assert ints(bits.parity(w)) == [int(v).bit_count() & 1 for v in values]
        assert ints(bits.leading_one(w)) == top
        assert ints(bits.leading_one_hot(w)) == [1 << t if v else 0 for v, t in zip(values, top, strict=True)]
        assert ints(bits.encode(bits.leading_one_hot(w))) == top
        shifted = bits.normalised(w, bits.leading_one(w))
        assert ints(shifted) == [int(v) << (width - 1 - t) for v, t in zip(values, top, strict=True)]


@pytest.mark.parametrize(("width", "amount_bits"), [(1, 1), (5, 2), (5, 3), (8, 4)])
def test_barrel_shifters(width: int, amount_bits: int) -> None:
    v, s = pairs(width, amount_bits)
    w, amount = word(v, width), word(s, amount_bits)
    assert ints(bits.shr(w, amount)) == (v >> s).tolist()
    for out in (width, width + 3):
        result = bits.shl(w, amount, out)
        assert ints(result) == ((v << s) % (1 << out)).tolist() and result.width == out


@pytest.mark.parametrize(("fraction", "width"), [(0, 4), (3, 8), (5, 8), (3, 7)])
def test_antilog_truncates(fraction: int, width: int) -> None:
    k_bits = (width - 1).bit_length()
    log = np.array([c << fraction | f for c in range(width) for f in range(1 << fraction)])
    one = 1 << fraction
    expected = [(one + v % one) * 2 ** (v // one) // one for v in log.tolist()]
    assert ints(bits.antilog(word(log, fraction + k_bits), fraction, width)) == expected


@pytest.mark.parametrize("adder", ADDERS)
def test_adders_exhaustively(adder: str) -> None:
    for m, n in [(1, 1), (2, 3), (4, 4), (5, 2), (5, 5)]:
        a, b = pairs(m, n)
        assert ints(bits.add(word(a, m), word(b, n), adder)) == (a + b).tolist()
        for carry in (0, 1):
            total = bits.add(word(a, m), word(b, n), adder, carry=word(np.full(a.size, carry), 1))
            assert total.width == max(m, n) + 1 and ints(total) == (a + b + carry).tolist()


@given(width=st.integers(1, 80), adder=st.sampled_from(ADDERS), data=st.data())
@settings(max_examples=60, deadline=None)
def test_adders_of_any_width(width: int, adder: str, data: st.DataObject) -> None:
    numbers = st.lists(st.integers(0, (1 << width) - 1), min_size=3, max_size=3)
    a, b = data.draw(numbers), data.draw(numbers)
    x, y = (PlaneWord.from_ints(np.array(v, dtype=object), width) for v in (a, b))
    assert ints(bits.add(x, y, adder)) == [p + q for p, q in zip(a, b, strict=True)]


@given(
    heights=st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    tree=st.sampled_from(TREES),
    adder=st.sampled_from(ADDERS),
    width=st.none() | st.integers(1, 14),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_sum_columns_is_the_sum(heights: list[int], tree: str, adder: str, width: int | None, seed: int) -> None:
    drawn = [np.random.default_rng(seed + c).integers(0, 2, (h, 70)) for c, h in enumerate(heights)]
    drawn[-1][:] = 1  # the largest sum occurs as well, at least in the top column
    columns = [[word(row, 1) for row in rows] for rows in drawn]
    expected = reduce(lambda total, part: total + part, (rows.sum(axis=0) << c for c, rows in enumerate(drawn)))
    largest = sum(h << c for c, h in enumerate(heights))
    total = bits.sum_columns(columns, tree, adder, width)
    assert total.width == (largest.bit_length() if width is None else width)
    assert ints(total) == (expected % (1 << total.width)).tolist()


def test_rows_and_products() -> None:
    a, b = pairs(4, 3)
    x, y = word(a, 4), word(b, 3)
    assert ints(bits.sum_columns(bits.rows_to_columns([(x, 2), (y, 0), (y, 5)]))) == (4 * a + 33 * b).tolist()
    assert ints(bits.sum_columns(bits.partial_products(x, y), width=7)) == (a * b).tolist()
    for shift, width in [(0, 8), (2, 8), (4, 7)]:
        rows = [(x, 0), *bits.minus(y, shift, width)]
        total = bits.sum_columns(bits.rows_to_columns(rows), width=width)
        assert ints(total) == ((a - (b << shift)) % 2**width).tolist()


def test_misuse_is_answered() -> None:
    w = word([1, 2, 3], 4)
    for misuse, error, text in [
        (lambda: bool(w), TypeError, "no truth value"),
        (lambda: w == w, TypeError, "not compared"),
        (lambda: w & 3, TypeError, "expected a Word, got int; constants come from an operand"),
        (lambda: w + 1, TypeError, "expected a Word"),
        (lambda: w.mux(w, w), ValueError, "selects by one bit, not by a Word of width 4"),
        (lambda: w[4], IndexError, "bit 4 lies outside a Word of width 4"),
        (lambda: w[-5], IndexError, "outside"),
        (lambda: w[2:2], IndexError, "or is empty"),
        (lambda: w[0:5], IndexError, "outside a Word of width 4"),
        (lambda: w[0:4:2], IndexError, "slice"),
        (lambda: w[-2:4], IndexError, "slice"),
        (lambda: w << -1, ValueError, "non-negative"),
        (lambda: w >> 4, ValueError, "drops 0 to 3 bits"),
        (lambda: w.const(16, 4), ValueError, "constant 16 does not fit 4 bits"),
        (lambda: w.const(-1, 4), ValueError, "does not fit"),
        (lambda: bits.rep(w, 2), ValueError, "one bit"),
        (lambda: bits.zext(w, 3), ValueError, "use fit to cut it"),
        (lambda: bits.add(w, w, "carry_skip"), ValueError, "unknown adder 'carry_skip'; one of ripple"),
        (lambda: bits.sum_columns([[w[0]]], "oak"), ValueError, "unknown tree 'oak'"),
        (lambda: bits.sum_columns([[], []]), ValueError, "no bits to add"),
    ]:
        with pytest.raises(error, match=text):
            misuse()
