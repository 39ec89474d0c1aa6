"""The logarithmic engine: multipliers that state Logarithmic or Separable parts, at any width, without a table.

Logarithmic: each operand is coded once as the bit pattern of a float whose exponent and fraction are its logarithm; a
product is then one integer addition, and its truncation the direction in which the sum is rounded
(native/logarithmic.h). Separable: each operand is coded once as a number, and the layer is one exact sum of products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from carrysave import native
from carrysave.engines import logarithmic_native
from carrysave.engines.logarithmic_native import coded
from carrysave.engines.problem import Prepared, Problem, Products
from carrysave.engines.separable import separable
from carrysave.multipliers.parts import Logarithmic as LogarithmicParts
from carrysave.multipliers.parts import Separable
from carrysave.planes import PlaneWord

TRIED = 1 << 14  # pairs of operands, where there are too many for all of them


@dataclass(frozen=True)
class Logarithmic:
    name: str = "logarithmic"

    def refuses(self, problem: Problem) -> str | None:
        multiplier = problem.products.multiplier
        parts = multiplier.parts()
        if parts is None:
            return f"{multiplier} states no parts that are logarithmic or separable"
        if problem.geometry.kind == "matmul":
            return "both operands come with the call"
        reason = None if isinstance(parts, Separable) else logarithmic_native.obstacle(problem)
        if reason is None and not parts_rebuild(problem.products):
            return f"the parts of {multiplier} do not rebuild its products"
        return reason

    def prepare(self, problem: Problem) -> Prepared:
        native.warn_if_missing()
        if isinstance(problem.products.multiplier.parts(), Separable):
            return separable(problem)
        return logarithmic_native.prepare(problem)


@lru_cache(maxsize=64)
def parts_rebuild(products: Products) -> bool:
    """True if the products are those that the parts give: all pairs of small formats, else many and the ends."""
    x, w = _operands(products)
    parts = products.multiplier.parts()
    (a, minus_a), (b, minus_b) = coded(products, products.activation, x), coded(products, products.weight, w)
    negative = minus_a ^ minus_b
    if isinstance(parts, Separable):
        rebuilt = a.number * b.number
        rebuilt = np.where(negative, -rebuilt, rebuilt)
    else:
        assert isinstance(parts, LogarithmicParts)
        width = int(max(a.number.max(initial=0), b.number.max(initial=0))).bit_length()
        total = PlaneWord.from_ints(a.number + b.number, width + 1)
        rebuilt = parts.decode(total).to_ints().astype(np.int64) * (a.present & b.present)
        below = ~rebuilt if parts.truncation == "complement" else -rebuilt
        rebuilt = np.where(negative & a.present & b.present, below, rebuilt)
    return bool(np.array_equal(rebuilt, products.multiply(x, w)))


def _operands(products: Products) -> tuple[np.ndarray, np.ndarray]:
    fmt_x, fmt_w = products.activation, products.weight
    if products.has_table and (fmt_x.high - fmt_x.low + 1) * (fmt_w.high - fmt_w.low + 1) <= 1 << 16:
        grid = np.meshgrid(np.arange(fmt_x.low, fmt_x.high + 1), np.arange(fmt_w.low, fmt_w.high + 1))
        return grid[0].reshape(-1), grid[1].reshape(-1)
    g = np.random.default_rng(0)
    pairs = []
    for fmt in (fmt_x, fmt_w):
        ends = [fmt.low, fmt.low + 1, -1, 0, 1, fmt.high - 1, fmt.high]
        ends = [c for c in ends if fmt.low <= c <= fmt.high]
        pairs.append((np.array(ends), g.integers(fmt.low, fmt.high + 1, TRIED)))
    corners = np.meshgrid(pairs[0][0], pairs[1][0])
    return tuple(np.concatenate([c.reshape(-1), p[1]]) for c, p in zip(corners, pairs, strict=True))  # type: ignore


LOGARITHMIC = Logarithmic()
