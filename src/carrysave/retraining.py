"""Engines for weights that change with every step: what depends on the tables alone is computed once.

A plan looks for the cheapest engine for the very weights, and in training would take longer than the step. Here the
factors of the whole table serve, with everything that a code contributes looked up in small tables: the digits v_k(w)
and, summed over a channel's taps, its constant. The accumulators are the same, as those of all engines are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from carrysave.engines.factored import factors_of
from carrysave.engines.fused import FusedLayer, Ingredients, fused, obstacle
from carrysave.engines.problem import Geometry, Prepared, Problem, Products, codes_of


@dataclass(frozen=True, eq=False)
class _Digits:
    """M(x, w) = p(x) + q(w) + sum over k of u_k(x) v_k(w), with 8-bit u and v, for all codes.

    Attributes:
        u: int64 [rank, activation codes], from 0 to 255.
        v: int8 [rank, weight codes].
        p, q: int64 [activation codes], [weight codes].
    """

    u: np.ndarray
    v: torch.Tensor
    p: np.ndarray
    q: torch.Tensor


def prepared_again(problem: Problem) -> Prepared | None:
    """An engine for `problem`, or None where only a plan finds one."""
    if problem.weight is None or obstacle(problem) or not problem.products.has_table:
        return None
    products, zx = problem.products, problem.activation_zero
    index = problem.weight.to(torch.int64) - products.weight.low
    index = index.reshape(*index.shape, *(1,) * (4 - index.ndim))
    digits = None if problem.weight_zero.ndim else _digits(products)
    if products.exact:
        layer = _exact(problem, index)
    elif digits is None:
        return None
    else:
        addend = digits.p - int(problem.weight_zero) * (codes_of(products.activation) - zx)
        constants = digits.q - zx * torch.from_numpy(codes_of(products.weight))
        sums = constants[index].sum((1, 2, 3)) + problem.bias
        layer = fused(problem, Ingredients(digits.u, digits.v[:, index], addend, sums))
    if not isinstance(layer, FusedLayer):
        return None
    return Prepared(layer.call, layer.how, layer.rank, layer.cost, layer.layer)


def _exact(problem: Problem, index: torch.Tensor) -> FusedLayer | str:
    """(x - low) (w - shift), the shift being the weight zero or, where w - zero leaves int8, the least that fits."""
    fmt, zx = problem.products.activation, problem.activation_zero
    centred = index + problem.products.weight.low - problem.weight_zero.reshape(-1, 1, 1, 1)
    lowest, highest = torch.aminmax(centred)
    if int(highest) - int(lowest) > 255:
        return "a factor needs more than 8 bits"
    shift = max(0, int(highest) - 127) + min(0, int(lowest) + 128)
    v = centred - shift if shift else centred
    x = codes_of(fmt)
    constant = v.sum((1, 2, 3)) * (fmt.low - zx) + problem.bias
    return fused(problem, Ingredients((x - fmt.low)[None], v.to(torch.int8)[None], shift * (x - zx), constant))


@lru_cache(maxsize=64)
def _digits(products: Products) -> _Digits | None:
    """From the factors of the whole table; None if there are none, or one needs more than 8 bits."""
    factors = factors_of(Problem(products, Geometry("matmul"), None))
    if factors is None or not factors.rank:
        return None
    u, v, p, q = factors.u.T, factors.v, factors.p, factors.q
    if (np.ptp(u, axis=1) > 255).any() or (np.ptp(v, axis=1) > 255).any():
        return None
    # constants taken out of u and v join q and p
    least, middle = u.min(1), (v.max(1) + v.min(1) + 1) // 2
    u, v = u - least[:, None], v - middle[:, None]
    return _Digits(
        u, torch.from_numpy(v.astype(np.int8)), p + middle @ (u + least[:, None]), torch.from_numpy(q + least @ v)
    )
