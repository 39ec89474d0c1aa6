"""The exact engine: for a multiplier whose table is the exact product, one ordinary convolution of centred codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from carrysave.engines import costs, wide
from carrysave.engines.fused import FusedLayer, Ingredients, fused, obstacle
from carrysave.engines.problem import Prepared, Problem, codes_of
from carrysave.engines.sums import LIMITS, SumOfProducts, check_accumulator
from carrysave.engines.wide import Factor, WideLayer


@dataclass(frozen=True)
class Exact:
    name: str = "exact"

    def refuses(self, problem: Problem) -> str | None:
        if problem.products.exact:
            return None
        return f"the products of {problem.products.multiplier} are not all exact"

    def prepare(self, problem: Problem) -> Prepared:
        if problem.geometry.kind == "matmul":
            return Prepared(_matmul(problem), cost=costs.EXACT_MATMUL)
        layer = fused_of(problem)
        if isinstance(layer, FusedLayer):
            return Prepared(layer.call, layer.how, layer.rank, layer.cost, layer.layer)
        broad = wide_of(problem)
        if isinstance(broad, WideLayer):
            return Prepared(broad.call, broad.how, broad.products, broad.cost)
        zero = problem.activation_zero
        total = sum_of(problem)
        bias = problem.bias.reshape(-1, 1, 1) if problem.geometry.kind == "conv" else problem.bias

        def call(codes: torch.Tensor) -> torch.Tensor:
            return total(codes - zero).add_(bias)

        return Prepared(call, total.how, total.parts, total.parts * costs.FLOAT32_PASS)


def fused_of(problem: Problem) -> FusedLayer | str:
    """On int8 convolutions, (x - low) (w - shift), or why not; the shift is the weight zero where that fits int8."""
    reason = obstacle(problem)
    if reason:
        return reason
    weights = problem.weights.reshape(*problem.weights.shape, *(1,) * (4 - problem.weights.ndim))
    zeros = problem.weight_zero.expand(len(weights)).reshape(-1, 1, 1, 1)
    centred = weights - zeros
    if not centred.numel():
        return "there are no weights"
    lows, highs = centred.amin((1, 2, 3)), centred.amax((1, 2, 3))
    # what does not fit int8 is shifted further; a sum of x over the window makes that good, for all channels alike
    shift = max(0, int(highs.max()) - 127) + min(0, int(lows.min()) + 128)
    fmt, zx = problem.products.activation, problem.activation_zero
    x = np.arange(fmt.low, fmt.high + 1)
    v = centred - shift
    constant = (fmt.low - zx) * v.sum((1, 2, 3)) + problem.bias
    return fused(problem, Ingredients((x - fmt.low)[None], v[None], shift * (x - zx), constant))


def wide_of(problem: Problem) -> WideLayer | str:
    """On products of 8-bit digits, x (w - zw), or why not."""
    reason = obstacle(problem, wide.MOST_BITS)
    if reason:
        return reason
    weights = problem.weights.reshape(*problem.weights.shape, *(1,) * (4 - problem.weights.ndim))
    centred = weights - problem.weight_zero.expand(len(weights)).reshape(-1, 1, 1, 1)
    constant = problem.bias - problem.activation_zero * centred.sum((1, 2, 3))
    none = torch.zeros(len(weights), dtype=torch.int64)
    return wide.wide(problem, Factor(codes_of(problem.products.activation), centred, constant, none))


def sum_of(problem: Problem) -> SumOfProducts:
    """sum of (x - zx)(w - zw): the corrections multiplied out, and padding is 0."""
    weights = problem.weights
    zeros = problem.weight_zero.to(weights.device).reshape(-1, *(1,) * (weights.ndim - 1))
    reach = torch.full((weights.shape[1],), reach_of(problem), dtype=torch.int64)
    return SumOfProducts(problem.geometry, weights - zeros, reach)


def reach_of(problem: Problem) -> int:
    """The largest |x - zx|."""
    fmt = problem.products.activation
    return max(fmt.high - problem.activation_zero, problem.activation_zero - fmt.low)


def _matmul(problem: Problem) -> Callable[..., torch.Tensor]:
    fmt, zx, zw = problem.products.weight, problem.activation_zero, int(problem.weight_zero)
    product = reach_of(problem) * max(fmt.high - zw, zw - fmt.low)
    bias = problem.bias

    def call(codes: torch.Tensor, weight_codes: torch.Tensor) -> torch.Tensor:
        bound = product * codes.shape[2]
        if bound <= LIMITS[torch.float64]:
            return ((codes - zx).to(torch.float64) @ (weight_codes - zw).to(torch.float64)).to(torch.int64) + bias
        if bound >= 1 << 62:
            check_accumulator(codes.to(torch.float64) @ weight_codes.to(torch.float64))
        return (codes.to(torch.int64) - zx) @ (weight_codes.to(torch.int64) - zw) + bias

    return call


EXACT = Exact()
