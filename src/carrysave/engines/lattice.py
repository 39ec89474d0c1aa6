"""Exact integer linear algebra for factoring tables: rank, row lattices, LLL. Python integers where sizes may grow."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

PRIME = (1 << 31) - 1
_SAMPLE = 300


def pivots(matrix: np.ndarray, limit: int) -> tuple[list[int], list[int]]:
    """Rows and columns of a largest non-singular minor modulo a prime: their number is at most the rational rank.

    Stops at limit + 1 pivots. (That the rank is not larger is proved by rebuilding the matrix from its factors.)
    """
    step = [max(1, size // _SAMPLE) for size in matrix.shape]
    if max(step) > 1:  # a high rank shows in a part of a large matrix, at a fraction of the cost
        rows, columns = pivots(matrix[:: step[0], :: step[1]][:_SAMPLE, :_SAMPLE], limit)
        if len(rows) > limit:
            return [step[0] * i for i in rows], [step[1] * j for j in columns]
    work = matrix.astype(np.int64) % PRIME
    rows: list[int] = []
    columns: list[int] = []
    while len(rows) <= limit:
        if not work.any():
            break
        row = int((work != 0).any(axis=1).argmax())
        column = int((work[row] != 0).argmax())
        rows.append(row)
        columns.append(column)
        inverse = pow(int(work[row, column]), PRIME - 2, PRIME)
        scale = work[:, column] * inverse % PRIME
        work = (work - scale[:, None] * work[row] % PRIME) % PRIME
    return rows, columns


def inverse(matrix: list[list[int]]) -> list[list[Fraction]]:
    """The inverse of a non-singular square integer matrix, by Gauss-Jordan over the rationals."""
    size = len(matrix)
    work = [[Fraction(v) for v in row] + [Fraction(int(i == j)) for j in range(size)] for i, row in enumerate(matrix)]
    for i in range(size):
        pivot = next(k for k in range(i, size) if work[k][i] != 0)
        work[i], work[pivot] = work[pivot], work[i]
        work[i] = [v / work[i][i] for v in work[i]]
        for k in range(size):
            if k != i and work[k][i] != 0:
                factor = work[k][i]
                work[k] = [a - factor * b for a, b in zip(work[k], work[i], strict=True)]
    return [row[size:] for row in work]


def row_lattice(rows: np.ndarray, independent: list[int]) -> list[list[int]]:
    """A basis (Hermite form) of the lattice that integer `rows` [m, r] span; r rows, `independent`, have full rank."""
    size = rows.shape[1]
    # the independent rows alone span every multiple of their determinant: entries may be kept below it
    modulus = abs(determinant(rows[independent].tolist()))
    basis = [[modulus * (i == j) for j in range(size)] for i in range(size)]
    for vector in np.unique(rows, axis=0).tolist():
        _insert(basis, [value % modulus for value in vector], modulus)
    return basis


def determinant(matrix: list[list[int]]) -> int:
    """By Bareiss's fraction-free elimination."""
    work, previous, sign = [row[:] for row in matrix], 1, 1
    for i in range(len(work)):
        pivot = next((k for k in range(i, len(work)) if work[k][i]), None)
        if pivot is None:
            return 0
        if pivot != i:
            work[i], work[pivot], sign = work[pivot], work[i], -sign
        for k in range(i + 1, len(work)):
            for j in range(i + 1, len(work)):
                work[k][j] = (work[k][j] * work[i][i] - work[k][i] * work[i][j]) // previous
        previous = work[i][i]
    return sign * previous


def _insert(basis: list[list[int]], vector: list[int], modulus: int) -> None:
    for i in range(len(vector)):
        row = basis[i]
        while vector[i]:  # Euclid on two rows; what is left of `vector` starts further right
            quotient = row[i] // vector[i]
            row, vector = vector, [(a - quotient * b) % modulus for a, b in zip(row, vector, strict=True)]
        basis[i] = row


def lll(basis: list[list[int]]) -> list[list[int]]:
    """An LLL-reduced basis (delta = 3/4) of the lattice of linearly independent integer rows.

    The integral form of Cohen, "A Course in Computational Algebraic Number Theory", Algorithm 2.6.7: no fractions.
    """
    b = [row[:] for row in basis]
    n = len(b)
    if n < 2:
        return b
    lam = [[0] * n for _ in range(n)]
    d = [1] + [0] * n  # d[i + 1] is the Gram determinant of the first i + 1 vectors

    def gram_schmidt(k: int) -> None:
        for j in range(k + 1):
            u = sum(x * y for x, y in zip(b[k], b[j], strict=True))
            for i in range(j):
                u = (d[i + 1] * u - lam[k][i] * lam[j][i]) // d[i]
            if j < k:
                lam[k][j] = u
            else:
                d[k + 1] = u

    def reduce(k: int, j: int) -> None:
        if 2 * abs(lam[k][j]) <= d[j + 1]:
            return
        q = (2 * lam[k][j] + d[j + 1]) // (2 * d[j + 1])
        b[k] = [x - q * y for x, y in zip(b[k], b[j], strict=True)]
        lam[k][j] -= q * d[j + 1]
        for i in range(j):
            lam[k][i] -= q * lam[j][i]

    def swap(k: int, top: int) -> None:
        b[k], b[k - 1] = b[k - 1], b[k]
        lam[k][: k - 1], lam[k - 1][: k - 1] = lam[k - 1][: k - 1], lam[k][: k - 1]
        mu = lam[k][k - 1]
        new = (d[k - 1] * d[k + 1] + mu * mu) // d[k]
        for i in range(k + 1, top + 1):
            t = lam[i][k]
            lam[i][k] = (d[k + 1] * lam[i][k - 1] - mu * t) // d[k]
            lam[i][k - 1] = (new * t + mu * lam[i][k]) // d[k + 1]
        d[k] = new

    gram_schmidt(0)
    k, top = 1, 0
    while k < n:
        if k > top:
            top = k
            gram_schmidt(k)
        reduce(k, k - 1)
        if 4 * d[k + 1] * d[k - 1] < 3 * d[k] * d[k] - 4 * lam[k][k - 1] ** 2:
            swap(k, top)
            k = max(1, k - 1)
        else:
            for j in range(k - 2, -1, -1):
                reduce(k, j)
            k += 1
    return b
