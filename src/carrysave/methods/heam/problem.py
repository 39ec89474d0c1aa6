"""Equation 5 of HEAM as a quadratic in binary variables: which terms may stand in which columns, and their Gram matrix.

A candidate k is a shape T (an operation over a group of partial products) in a column c; its output is L = 2^c T. With
e(x, y) = xy - u(x, y), what the compressed rows would have added, equations 3 to 5 say

    E_d = E[(e - sum_k theta_k L_k)^2] = E[e^2] - 2 sum_k theta_k E[e L_k] + sum_kl theta_k theta_l E[L_k L_l].

All columns of a shape share its expectations, so the matrix is kept per shape: flipping a candidate changes the
gradient by one row of it.

Beyond the paper, `mean_weight` kappa adds kappa E[e - sum_k theta_k L_k]^2, that mean within each layer, layers by
their products. A network sums K products: independent errors of variance v and mean m give the sum a mean squared error
of K v + K^2 m^2 = K (E[e^2] + (K - 1) m^2), so kappa = K - 1 for a layer of K products to a sum. It is a square of the
same sum: with m_k = E[L_k], kappa m m^T joins the matrix, and the other constants likewise. 0 is equation 5.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from carrysave.methods.heam.distribution import Distribution, Floats
from carrysave.multipliers.compressed import Design, Term

Choice = NDArray[np.bool_]  # theta, [Z]
Group = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Shape:
    """An operation over a group of partial products, in no column yet."""

    op: str
    group: Group

    def polynomial(self) -> dict[Group, int]:
        """The shape as a sum of products of partial products: {bits multiplied: coefficient}.

        a | b = a + b - ab and a ^ b = a + b - 2ab, and likewise for more bits.
        """
        if self.op in ("pass", "and"):
            return {self.group: 1}
        factor = -1 if self.op == "or" else -2
        return {
            subset: factor ** (size - 1)
            for size in range(1, len(self.group) + 1)
            for subset in itertools.combinations(self.group, size)
        }


@dataclass(frozen=True)
class Space:
    """Which designs are searched. The paper's space: operand "x", four rows, `groups="paper"`, every column.

    Attributes:
        n: operand bits.
        operand: whose bits number the rows, "x" (activation) or "y" (weight).
        rows: how many of the lowest rows are compressed.
        groups: "paper": rows are taken in pairs, and a column's two bits of a pair form a group, else one bit does
            (Figures 1 and 2); "column": any bits of a column, and every single bit.
        largest: bits of the largest group, 2 or more; only with groups="column".
        operations: of "and", "or", "xor".
        columns: (lowest, highest) column of a term, from the column of its group; None: every column of the product.

    Raises:
        ValueError: for a space that cannot be.
    """

    n: int = 8
    operand: str = "x"
    rows: int = 4
    groups: Literal["paper", "column"] = "column"
    largest: int = 2
    operations: tuple[str, ...] = ("and", "or", "xor")
    columns: tuple[int, int] | None = (-1, 2)

    def __post_init__(self) -> None:
        if self.operand not in ("x", "y"):
            raise ValueError(f"operand={self.operand!r}: it is 'x', the activation, or 'y', the weight")
        if not 1 <= self.rows <= self.n:
            raise ValueError(f"rows={self.rows}: 1 to {self.n} rows of {self.n}-bit operands can be compressed")
        if self.groups not in ("paper", "column"):
            raise ValueError(f"groups={self.groups!r}: 'paper' (rows in pairs) or 'column' (any bits of a column)")
        if not 2 <= self.largest <= 4:
            raise ValueError(f"largest={self.largest}: groups have 2 to 4 bits")
        wrong = [op for op in self.operations if op not in ("and", "or", "xor")]
        if wrong:
            raise ValueError(f"operation {wrong[0]!r}: a group is compressed by and, or, xor")

    def bits(self) -> list[tuple[int, int]]:
        """Partial products (i, j) of the compressed rows."""
        pairs = [(row, other) for row in range(self.rows) for other in range(self.n)]
        return pairs if self.operand == "x" else [(other, row) for row, other in pairs]

    def shapes(self) -> list[Shape]:
        """Every single bit or group with every operation."""
        found = []
        for group in self._groups():
            found += [Shape(op, group) for op in self.operations] if len(group) > 1 else [Shape("pass", group)]
        return found

    def _groups(self) -> list[Group]:
        of_column: dict[int, list[tuple[int, int]]] = {}
        for i, j in self.bits():
            of_column.setdefault(i + j, []).append((i, j))
        if self.groups == "column":
            sizes = range(1, self.largest + 1)
            return [g for bits in of_column.values() for size in sizes for g in itertools.combinations(bits, size)]
        groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for column, bits in of_column.items():
            for bit in bits:
                groups.setdefault((bit[self.operand == "y"] // 2, column), []).append(bit)
        return [tuple(group) for group in groups.values()]

    def candidates(self) -> list[tuple[Shape, int]]:
        """Every shape in every column it may stand in."""
        found = []
        for shape in self.shapes():
            own = sum(shape.group[0])
            low, high = (0, 2 * self.n - 1) if self.columns is None else (own + self.columns[0], own + self.columns[1])
            found += [(shape, column) for column in range(max(0, low), min(2 * self.n - 1, high) + 1)]
        return found

    def design(self, chosen: Sequence[tuple[Shape, int]]) -> Design:
        """The design with these terms."""
        terms = sorted((Term(shape.op, shape.group, column) for shape, column in chosen), key=_order)
        return Design(self.n, self.operand, self.rows, tuple(terms))


def _order(term: Term) -> tuple[int, Group, str]:
    return term.column, term.group, term.op


@dataclass(frozen=True, eq=False)
class Problem:
    """Equation 5 for a space, a distribution and a price per candidate. With a mean weight kappa, every E[AB] here is
    E[AB] + kappa E[A] E[B].

    Attributes:
        candidates: (shape, column) [Z].
        shape: index of each candidate's shape [Z].
        weight: 2^column [Z].
        gram: E[T_s T_t] [T, T].
        target: E[e T_s] [T].
        constant: E[e^2].
        scale: E[e^2] without the mean's part: of the size of errors that matter, for temperatures.
        price: what each candidate costs [Z]; the paper's lambda1 everywhere, or squared error per area times area.
    """

    space: Space
    candidates: tuple[tuple[Shape, int], ...]
    shape: NDArray[np.intp]
    weight: Floats
    gram: Floats
    target: Floats
    constant: float
    scale: float
    price: Floats = field(repr=False)

    @cached_property
    def own(self) -> Floats:
        """E[L_k^2] [Z]."""
        return self.weight**2 * np.diag(self.gram)[self.shape]

    def with_price(self, price: Floats | float) -> Problem:
        """The same errors at another price of each candidate."""
        return replace(self, price=np.broadcast_to(np.asarray(price, dtype=np.float64), self.weight.shape))

    def amounts(self, theta: Choice) -> Floats:
        """How much of each shape is added: sum of 2^c over its chosen columns; [..., T]."""
        flat = theta.reshape(-1, theta.shape[-1])
        out = np.zeros((len(flat), len(self.gram)))
        for row, choice in zip(out, flat, strict=True):
            np.add.at(row, self.shape[choice], self.weight[choice])
        return out.reshape(*theta.shape[:-1], -1)

    def error(self, theta: Choice) -> float:
        """E_d of equation 3, and the weighted square of the mean error, for one choice [Z]."""
        amounts = self.amounts(theta)
        return float(self.constant - 2 * amounts @ self.target + amounts @ self.gram @ amounts)

    def objective(self, theta: Choice) -> float:
        """Equation 5: error and price."""
        return self.error(theta) + float(self.price[theta].sum())

    def design(self, theta: Choice) -> Design:
        """The chosen terms as a design."""
        return self.space.design([self.candidates[k] for k in np.flatnonzero(theta)])

    def choice(self, design: Design) -> Choice:
        """The candidates that a design uses. Raises ValueError for a term that is no candidate."""
        place = {(shape.op, frozenset(shape.group), column): k for k, (shape, column) in enumerate(self.candidates)}
        theta = np.zeros(len(self.candidates), dtype=bool)
        for term in design.terms:
            key = (term.op, frozenset(term.group), term.column)
            if key not in place:
                raise ValueError(f"term {term} is not in the space {self.space}")
            theta[place[key]] = True
        return theta


def build(
    space: Space,
    distribution: Distribution,
    price: Floats | float = 0.0,
    candidates: Sequence[tuple[Shape, int]] | None = None,
    mean_weight: float = 0.0,
) -> Problem:
    """Equation 5's constants, exactly, from the expectations of products of bits.

    Args:
        price: lambda1, or a price for each candidate.
        candidates: some of the space's; all of them if None.
        mean_weight: of the squared mean error, beside the mean squared error of equation 5.

    Raises:
        ValueError: if the distribution's operands have another width, or for a negative mean weight.
    """
    check_mean_weight(mean_weight)
    if distribution.n != space.n:
        raise ValueError(f"operands of {distribution.n} bits for a design of {space.n} bits")
    chosen = tuple(space.candidates() if candidates is None else candidates)
    shapes = list(dict.fromkeys(shape for shape, _ in chosen))
    monomials: dict[tuple[int, int], int] = {}
    entries = []  # (shape, monomial, coefficient)
    for s, shape in enumerate(shapes):
        for group, factor in shape.polynomial().items():
            entries.append((s, monomials.setdefault(_masks(group), len(monomials)), factor))
    rows = [(monomials.setdefault(_masks((bit,)), len(monomials)), 1 << sum(bit)) for bit in space.bits()]
    coefficients, exact = np.zeros((len(shapes), len(monomials))), np.zeros(len(monomials))
    for s, k, factor in entries:
        coefficients[s, k] += factor
    for k, weight in rows:
        exact[k] = weight
    masks = np.array(list(monomials), dtype=np.int64)
    products = distribution.gram(masks[:, 0], masks[:, 1])
    scale = float(exact @ products @ exact)
    if mean_weight:
        means = distribution.means(masks[:, 0], masks[:, 1])
        products = products + mean_weight * (means.T * distribution.weights) @ means
    place = {shape: s for s, shape in enumerate(shapes)}
    problem = Problem(
        space,
        chosen,
        np.array([place[shape] for shape, _ in chosen], dtype=np.intp),
        np.array([float(1 << column) for _, column in chosen]),
        coefficients @ products @ coefficients.T,
        coefficients @ (products @ exact),
        float(exact @ products @ exact),
        scale,
        np.zeros(len(chosen)),
    )
    return problem.with_price(price)


def check_mean_weight(mean_weight: float) -> None:
    """Raises ValueError for a weight that would reward a mean error."""
    if not 0 <= mean_weight < float("inf"):
        raise ValueError(f"mean_weight={mean_weight:g}: 0 (equation 5) or more, up to the products of a sum less one")


def _masks(group: Group) -> tuple[int, int]:
    a = b = 0
    for i, j in group:
        a, b = a | 1 << i, b | 1 << j
    return a, b
