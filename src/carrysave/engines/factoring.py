"""A table of products as a few ordinary products: T[x, w] = p(x) + q(w) + sum over k of u_k(x) * v_k(w), in integers.

p and q are taken out first where that lowers the rank: in a layer they cost a box sum and a constant per channel. What
is left has rank r over the rationals. Its rows span a lattice; an LLL-reduced basis of it gives v and, as coordinates,
u, both integer. A search over unimodular changes of that basis then lowers the number of 8-bit digits that u and v
need. Factors are used only after they have rebuilt the table entry by entry, in `Factors.proved`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from carrysave.engines import lattice

MAX_RANK = 8  # more would cost more than a look-up per product
ONE_DIGIT = 255  # the span of values that an 8-bit digit holds once its offset is folded into p and q
_MULTIPLES = np.array([s * (1 << e) for e in range(8) for s in (1, -1)])


@dataclass(frozen=True, eq=False)
class Factors:
    """T = p[:, None] + q[None, :] + u @ v on the columns in `columns`; the others are 0 and stand for nothing.

    Attributes:
        u: int64 [activation codes, rank].
        v: int64 [rank, weight codes].
        p, q: int64 [activation codes], [weight codes].
        columns: bool [weight codes], the codes for which the factors are right.
    """

    u: np.ndarray
    v: np.ndarray
    p: np.ndarray
    q: np.ndarray
    columns: np.ndarray

    @property
    def rank(self) -> int:
        return self.u.shape[1]

    @property
    def digits(self) -> int:
        """How many products of 8-bit digits the factors take: the number of int8 convolutions in one."""
        return sum(digits(span_of(self.u[:, k])) * digits(span_of(self.v[k, self.columns])) for k in range(self.rank))

    def proved(self, table: np.ndarray) -> bool:
        """True if the factors rebuild `table` on every column in `columns`, entry by entry."""
        largest = np.abs(self.u).max(axis=0, initial=0).astype(float) @ np.abs(self.v).max(axis=1, initial=0)
        if largest >= 2.0**62:  # the rebuilt table could wrap to the right value
            return False
        rebuilt = self.u @ self.v + self.p[:, None] + self.q[None, :]
        return bool(np.array_equal(rebuilt[:, self.columns], table[:, self.columns]))

    def restricted(self, columns: np.ndarray) -> Factors:
        """The same factors, claimed for fewer columns."""
        return Factors(self.u, np.where(columns, self.v, 0), self.p, np.where(columns, self.q, 0), columns)


def factor(table: np.ndarray, columns: np.ndarray | None = None, max_rank: int = MAX_RANK) -> Factors | None:
    """Proved integer factors of `table` on `columns` (bool; all without it), or None above `max_rank`."""
    columns = np.ones(table.shape[1], bool) if columns is None else columns
    wanted = table[:, columns].astype(np.int64)
    p, q = _sides(wanted)
    rest = wanted - p[:, None] - q[None, :]
    plain, removed = lattice.pivots(wanted, max_rank), lattice.pivots(rest, max_rank)
    if len(plain[0]) <= len(removed[0]):
        p, q, rest, removed = np.zeros_like(p), np.zeros_like(q), wanted, plain
    if len(removed[0]) > max_rank:
        return None
    u, v = _search(*_lattice_factors(rest, *removed))
    whole = np.zeros((u.shape[1], table.shape[1]), np.int64)
    whole[:, columns] = v
    side = np.zeros(table.shape[1], np.int64)
    side[columns] = q
    factors = Factors(u, whole, p, side, columns)
    return factors if factors.proved(table) else None


def rank(table: np.ndarray, columns: np.ndarray | None = None, max_rank: int = MAX_RANK) -> int:
    """The rank that `factor` would find: with p and q out where that lowers it; max_rank + 1 stands for more."""
    wanted = (table if columns is None else table[:, columns]).astype(np.int64)
    p, q = _sides(wanted)
    return min(len(lattice.pivots(m, max_rank)[0]) for m in (wanted, wanted - p[:, None] - q[None, :]))


def span_of(values: np.ndarray) -> int:
    return int(values.max() - values.min()) if values.size else 0


def digits(span: int) -> int:
    """8-bit digits that integers of this span take, offset aside."""
    return max(1, -(-span.bit_length() // 8))


def _sides(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p and q that leave a zero first row and first column, which is the least rank that any p and q leave."""
    if not table.size:
        return np.zeros(table.shape[0], np.int64), np.zeros(table.shape[1], np.int64)
    return table[:, 0] - table[0, 0], table[0].copy()


def _lattice_factors(matrix: np.ndarray, rows: list[int], columns: list[int]) -> tuple[np.ndarray, np.ndarray]:
    size = len(rows)
    if size == 0:
        return np.zeros((matrix.shape[0], 0), np.int64), np.zeros((0, matrix.shape[1]), np.int64)
    exact = matrix.astype(object)
    # a vector of the row space is fixed by its entries in the pivot columns: the lattice is found there, then widened
    basis = np.array(lattice.row_lattice(matrix[:, columns], rows), dtype=object)
    to_rows = np.array(lattice.inverse(matrix[np.ix_(rows, columns)].tolist()), dtype=object)
    wide = basis @ to_rows @ exact[rows]
    reduced = np.array(lattice.lll([[int(value) for value in row] for row in wide]), dtype=object)
    back = np.array(lattice.inverse([[int(value) for value in row] for row in reduced[:, columns]]), dtype=object)
    return (exact[:, columns] @ back).astype(np.int64), reduced.astype(np.int64)


def _search(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unimodular changes, v_i += c v_j with u_j -= c u_i, while they lower the digits; kicked when stuck. Seeded."""
    size = u.shape[1]
    u, v = u.T.copy(), v.copy()
    if size < 2:
        return _balanced(u, v)
    generator = np.random.default_rng(0)
    best, best_cost = (u, v), float(_price(u, v).sum())
    for _ in range(24):
        u, v, cost = _descend(u, v)
        if cost < best_cost:
            best, best_cost = (u, v), cost
        if best_cost < 0.017 * size:  # nothing above one digit: only the slope is left
            break
        u, v = best[0].copy(), best[1].copy()
        for _ in range(2):
            i, j = generator.choice(size, 2, replace=False)
            _apply(u, v, i, j, generator.choice(_MULTIPLES[:6]))
    return _balanced(*best)


def _apply(u: np.ndarray, v: np.ndarray, i: int, j: int, c: int) -> None:
    v[i] += c * v[j]
    u[j] -= c * u[i]


def _descend(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    size = len(u)
    pairs = ~np.eye(size, dtype=bool)
    while True:
        now = _price(u, v)
        # [c, i, j, :]: what pair i's v and pair j's u become
        new_v = v[None, :, None] + _MULTIPLES[:, None, None, None] * v[None, None]
        new_u = u[None, None] - _MULTIPLES[:, None, None, None] * u[None, :, None]
        gain = now[:, None] + now[None, :] - _price(u[None, :, None], new_v) - _price(new_u, v[None, None])
        gain = np.where(pairs, gain, -np.inf)
        c, i, j = np.unravel_index(gain.argmax(), gain.shape)
        if gain[c, i, j] <= 1e-9:
            return u, v, float(now.sum())
        _apply(u, v, int(i), int(j), int(_MULTIPLES[c]))


def _price(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Bits above one digit of each pair of rows, and a little for every bit, so that the search has a slope."""
    size_u, gcd_u = _size(u)
    size_v, gcd_v = _size(v)
    # a common factor of u may move to v: sizes without it, and their sum with it
    common = np.log2(gcd_u * gcd_v)
    excess = np.maximum(size_u - 8, 0) + np.maximum(size_v - 8, 0) + np.maximum(size_u + size_v + common - 16, 0)
    return excess + 0.001 * (size_u + size_v)


def _size(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    gcd = np.maximum(np.gcd.reduce(rows, axis=-1), 1).astype(float)
    return np.log2((rows.max(axis=-1) - rows.min(axis=-1)) / gcd + 1), gcd


def _balanced(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Moves common factors between u and v where that saves digits, and gives u as columns again."""
    u, v = u.copy(), v.copy()
    for k in range(len(u)):
        gcd_u, gcd_v = max(int(np.gcd.reduce(u[k])), 1), max(int(np.gcd.reduce(v[k])), 1)
        base_u, base_v, common = u[k] // gcd_u, v[k] // gcd_v, gcd_u * gcd_v
        shares = [f for f in range(1, ONE_DIGIT + 1) if common % f == 0] + [common]
        share = min(shares, key=lambda f: digits(span_of(base_u) * f) * digits(span_of(base_v) * (common // f)))
        u[k], v[k] = base_u * share, base_v * (common // share)
    return u.T.copy(), v
