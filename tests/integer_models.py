"""The multipliers again, as formulas over integers: what the Word definitions are tested against.

Every model takes operand values x, y (unsigned, or signed where the circuit has its own sign), the width n and the
parameters, as scalars or as NumPy arrays (int64, or Python integers where products exceed 63 bits).
"""

from __future__ import annotations

import re
from functools import reduce
from typing import Any

import numpy as np


def log2(v: Any) -> Any:
    """floor(log2 v), 0 for 0."""
    return np.vectorize(lambda t: max(0, int(t).bit_length() - 1), otypes=[object])(v)


def bit(v: Any, i: int) -> Any:
    return v >> i & 1


def exact(x: Any, y: Any, n: int, **_: Any) -> Any:
    return x * y


def kulkarni(x: Any, y: Any, n: int, depth: int | None = None) -> Any:
    """Every block 3 * 3 loses 2."""
    digits = range(n // 2)
    lost = sum(
        ((x >> 2 * i & 3 == 3) & (y >> 2 * j & 3 == 3)) * (2 << 2 * (i + j))
        for i in digits
        for j in digits
        if depth is None or i + j <= depth
    )
    return x * y - lost


def or_compressed(x: Any, y: Any, n: int) -> Any:
    """The OR of two rows loses their AND."""
    z = x * y
    for g in range(n // 2):
        both = (bit(x, 2 * g) * (y << 2 * g)) & (bit(x, 2 * g + 1) * (y << (2 * g + 1)))
        z = z - (both & ((1 << (g + n)) - 1))
    return z


def recovery(x: Any, y: Any, n: int, c: int) -> Any:
    rows, errors = [bit(x, i) * (y << i) for i in range(n)], 0
    while len(rows) > 1:
        following = []
        for a, b in zip(rows[::2], rows[1::2], strict=True):
            error = (a ^ b) & ((a & b) << 1)
            errors = errors | error
            following.append(a + b - error)
        rows = following
    top = 2 * n - 1
    return rows[0] + (errors & ((1 << top) - (1 << (top - c))))


def truncated(x: Any, y: Any, n: int, c: int) -> Any:
    return sum(bit(x, i) * bit(y, j) << (i + j) for i in range(n) for j in range(n) if i + j >= c)


def planar(x: Any, y: Any, n: int, level: int) -> Any:
    w = 1 << (n - level)
    xc, yc = x // w * w + w // 2, y // w * w + w // 2
    z = xc * y + yc * x - xc * yc
    return np.where(z > 0, z, 0)


def mitchell(x: Any, y: Any, n: int) -> Any:
    ka, kb = log2(x), log2(y)
    one = 1 << (ka + kb)
    s = (x - (1 << ka)) * (1 << kb) + (y - (1 << kb)) * (1 << ka)  # (fa + fb) * one
    return np.where((x == 0) | (y == 0), 0, np.where(s < one, one + s, 2 * s))


def mitchell_w(x: Any, y: Any, n: int, w: int) -> Any:
    """The pseudo-code, by two's complement patterns, one pair at a time."""
    return np.vectorize(lambda p, q: _mitchell_w(int(p), int(q), n, w), otypes=[object])(x, y)


def _mitchell_w(x: int, y: int, n: int, w: int) -> int:
    full = (1 << n) - 1

    def log(v: int) -> tuple[int, int, bool]:
        sign = int(v < 0)
        magnitude = ~v & full if sign else v
        k = max(0, magnitude.bit_length() - 1)
        fraction = ((magnitude << (n - 1 - k)) & ((1 << (n - 1)) - 1)) >> (n - w)
        return k << (w - 1) | fraction, sign, k != 0 or bool(v & 1) or bool(sign)

    (la, sa, some_a), (lb, sb, some_b) = log(x), log(y)
    if not (some_a and some_b):
        return 0
    total = la + lb
    ch, man = total >> (w - 1), 1 << (w - 1) | total & ((1 << (w - 1)) - 1)
    z = man << (ch - w + 1) if ch >= n else (man << (n - w)) >> (n - 1 - ch)
    return ~z if sa ^ sb else z


def drum(x: Any, y: Any, n: int, k: int) -> Any:
    def cut(v: Any) -> Any:
        shift = np.maximum(0, log2(v) - k + 1)
        return np.where(log2(v) < k, v, (v >> shift | 1) << shift)

    return cut(x) * cut(y)


def heam(x: Any, y: Any, n: int) -> Any:
    def p(i: int, j: int) -> Any:
        return bit(x, i) & bit(y, j)

    return (
        ((x >> 4) * y << 4)
        + 2**8 * ((p(0, 7) | p(1, 6)) + p(1, 7))
        + 2**9 * ((p(2, 6) & p(3, 5)) + (p(2, 6) | p(3, 5)) + (p(2, 7) | p(3, 6)))
        + 2**10 * p(3, 7)
    )


VENKATACHALAM = """
first
4: HA(P04,P13)   5: FA(P05,P14,P23)   6: 4-2(P06,P15,P24,p33)   7: 4-2(P07,P16,P25,P34)   8: 4-2(P17,P26,P35,p44)
9: FA(P27,P36,P45)   10: FA(P37,P46,p55)   11: HA(P47,P56)   12: HA(p57,p75)
second
1: HA(p10,p01)   2: FA(p20,p02,p11)   3: FA(P03,P12,G_3)   4: FA(S_4,p22,G_4)   5: FA(S_5,G_5,C_4)
6: FA(S_6,G_6,C_5)   7: FA(S_7,G_7,C_6)   8: FA(S_8,G_8,C_7)   9: FA(S_9,G_9,C_8)   10: FA(S_10,G_10,C_9)
11: FA(S_11,G_11,C_10)   12: FA(S_12,C_11,p66)   13: FA(p76,p67,C_12)
"""


def venkatachalam(x: Any, y: Any, n: int) -> Any:
    """The document's table of cells, interpreted as it is printed."""

    def p(i: int, j: int) -> Any:
        return bit(x, i) & bit(y, j)

    def g(c: int) -> Any:
        return reduce(np.bitwise_and, [p(i, c - i) & p(c - i, i) for i in range(8) if i < c - i < 8])

    def argument(text: str) -> Any:
        if text[1] == "_":
            c = int(text[2:])
            return g(c) if text[0] == "G" else first[c]["SC".index(text[0])]
        i, j = int(text[1]), int(text[2])
        return p(i, j) | p(j, i) if text[0] == "P" else p(i, j)

    def cells(text: str) -> dict[int, tuple[Any, Any]]:
        found = re.findall(r"(\d+): (HA|FA|4-2)\(([^)]*)\)", text)
        return {int(c): _CELLS[kind](*map(argument, inputs.split(","))) for c, kind, inputs in found}

    first: dict[int, tuple[Any, Any]] = {}
    levels = VENKATACHALAM.split("second")
    first.update(cells(levels[0]))
    second = cells(levels[1])
    return p(0, 0) + (p(7, 7) << 14) + sum((s << c) + (k << (c + 1)) for c, (s, k) in second.items())


_CELLS: dict[str, Any] = {
    "HA": lambda a, b: (a | b, a & b),
    "FA": lambda a, b, c: ((a | b) ^ c, (a | b) & c),
    "4-2": lambda a, b, c, d: ((a ^ b) | (c ^ d) | (a & b & c & d), (a & b) | (c & d)),
}


def roba(x: Any, y: Any, n: int) -> Any:
    def nearest(v: int) -> int:
        if v in (0, 3):
            return v & 2
        return min((1 << k for k in range(n + 1)), key=lambda p: (abs(v - p), -p))

    def scalar(p: int, q: int) -> int:
        return nearest(p) * q + nearest(q) * p - nearest(p) * nearest(q)

    return np.vectorize(lambda p, q: scalar(int(p), int(q)), otypes=[object])(x, y)


def tosam(x: Any, y: Any, n: int, h: int, t: int) -> Any:
    from fractions import Fraction

    def parts(v: int) -> tuple[int, Fraction, Fraction]:
        k = v.bit_length() - 1
        f = Fraction(v, 1 << k) - 1
        return k, Fraction(int(f * 2**t), 2**t), Fraction(2 * int(f * 2**h) + 1, 2 ** (h + 1))

    def scalar(p: int, q: int) -> int:
        if not (p and q):
            return 0
        (ka, ta, ha), (kb, tb, hb) = parts(p), parts(q)
        return int(2 ** (ka + kb) * (1 + ta + tb + ha * hb))

    return np.vectorize(lambda p, q: scalar(int(p), int(q)), otypes=[object])(x, y)


def iterative_log(x: Any, y: Any, n: int, iterations: int, t: int | None = None) -> Any:
    def rest(v: int) -> int:
        k = v.bit_length() - 1
        f = v - (1 << k)
        return f if t is None or t >= k else f >> (k - t) << (k - t)

    def scalar(p: int, q: int) -> int:
        z = 0
        for _ in range(iterations):
            if not (p and q):
                break
            ka, kb = p.bit_length() - 1, q.bit_length() - 1
            p, q = rest(p), rest(q)
            z += (1 << (ka + kb)) + (p << kb) + (q << ka)
        return z

    return np.vectorize(lambda p, q: scalar(int(p), int(q)), otypes=[object])(x, y)


def hybrid_radix(x: Any, y: Any, n: int, r: int) -> Any:
    m = (y + (1 << (r - 1))) % (1 << r) - (1 << (r - 1))
    size, unit = abs(m), 1 << (r - 5)
    digit = np.where(size < unit, 0, np.where(size < 3 * unit, 2 * unit, np.where(size < 6 * unit, 4 * unit, 8 * unit)))
    digit = np.where(size >= 12 * unit, 16 * unit, digit)
    return x * (y - m + np.where(m < 0, -1, 1) * digit)
