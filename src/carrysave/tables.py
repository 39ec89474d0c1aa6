"""A multiplier read as numbers: its table of all products, and its product on arrays of operands."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from carrysave.multipliers.base import Multiplier
from carrysave.planes import PlaneWord

MAX_TABLE_BITS = 24
_LANES = 1 << 20  # operand pairs evaluated at a time: bounds memory to a few hundred MB at any width


def table(m: Multiplier) -> np.ndarray:
    """All products of `m`: an array [2^a_bits, 2^b_bits] indexed by the operands' bit patterns, read-only.

    int32 where the products fit, else int64; entries are negative where `m` is signed.

    Raises:
        ValueError: for more than 12 + 12 operand bits; use `multiply` on the operands you need.
    """
    if m.a_bits + m.b_bits > MAX_TABLE_BITS:
        raise ValueError(
            f"{m.spec}: a table of 2^{m.a_bits} x 2^{m.b_bits} products is too large; tables go to"
            f" {MAX_TABLE_BITS // 2} bits an operand, and multiply(m, x, y) works at any width"
        )
    return _table(m)


@lru_cache(maxsize=64)
def _table(m: Multiplier) -> np.ndarray:
    small = m.product_bits <= 31 or (m.signed and m.product_bits <= 32)
    full = _enumerate(m) if m.given_table() is None else m.given_table()
    full = full.astype(np.int32 if small else np.int64)
    full.setflags(write=False)
    return full


def _enumerate(m: Multiplier) -> np.ndarray:
    b_count = 1 << m.b_bits
    rows = max(1, _LANES // b_count)
    parts = []
    for start in range(0, 1 << m.a_bits, rows):
        a = np.arange(start, min(start + rows, 1 << m.a_bits), dtype=np.int64)
        parts.append(_evaluate(m, np.repeat(a, b_count), np.tile(np.arange(b_count, dtype=np.int64), a.size)))
    return np.concatenate(parts).reshape(1 << m.a_bits, b_count)


def multiply(m: Multiplier, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """m's product of two integer arrays that broadcast against each other.

    Args:
        x, y: operand values: 0 to 2^bits - 1, or -2^(bits-1) to 2^(bits-1) - 1 if `m` is signed.

    Returns:
        int64, or uint64 for an unsigned product of 64 bits.

    Raises:
        ValueError: if an operand lies outside its range.
    """
    x, y = np.broadcast_arrays(np.asarray(x), np.asarray(y))
    _check_range(m, "first", x, m.a_bits)
    _check_range(m, "second", y, m.b_bits)
    if (given := m.given_table()) is not None:
        patterns = ((1 << m.a_bits) - 1, (1 << m.b_bits) - 1)
        return given[x & patterns[0], y & patterns[1]].astype(np.int64)
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    parts = [
        _evaluate(m, flat_x[start : start + _LANES], flat_y[start : start + _LANES])
        for start in range(0, flat_x.size, _LANES)
    ]
    return (np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)).reshape(x.shape)


def exact_product(m: Multiplier, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x * y in the dtype that `multiply` returns for `m`: what an error is measured against."""
    kind = np.uint64 if m.product_bits == 64 and not m.signed else np.int64
    return np.asarray(x).astype(kind) * np.asarray(y).astype(kind)


def operand_values(bits: int, signed: bool) -> np.ndarray:
    """The value of every bit pattern of `bits` bits, in the order of a table's index."""
    patterns = np.arange(1 << bits, dtype=np.int64)
    return np.where(patterns >= 1 << (bits - 1), patterns - (1 << bits), patterns) if signed else patterns


def _evaluate(m: Multiplier, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return m(PlaneWord.from_ints(x, m.a_bits), PlaneWord.from_ints(y, m.b_bits)).to_ints(m.signed)


def _check_range(m: Multiplier, which: str, values: np.ndarray, bits: int) -> None:
    if values.dtype.kind not in "iu":
        raise ValueError(f"{m.spec}: operands are integers, not {values.dtype}")
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if m.signed else (0, (1 << bits) - 1)
    if values.size and (values.min() < low or values.max() > high):
        worst = values.min() if values.min() < low else values.max()
        raise ValueError(f"{m.spec}: {which} operand {worst} lies outside {low} to {high} ({bits} bits)")
