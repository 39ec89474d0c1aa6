"""Separable multipliers: the product of two numbers that stand for the operands, so one exact sum of products."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from carrysave.engines import costs, wide
from carrysave.engines.fused import obstacle
from carrysave.engines.logarithmic_native import coded
from carrysave.engines.problem import Geometry, Prepared, Problem, codes_of
from carrysave.engines.sums import SumOfProducts
from carrysave.engines.wide import Factor, WideLayer


def separable(problem: Problem) -> Prepared:
    """acc = sum number(x) number(w)  -  zw sum (x - zx)  -  zx sum w  +  bias, each sum exact."""
    layer = _wide(problem)
    if isinstance(layer, WideLayer):
        return Prepared(layer.call, f"one exact product of coded operands, {layer.how}", layer.products, layer.cost)
    weights, geometry, zx = problem.weights, problem.geometry, problem.activation_zero
    depth = weights.shape[1]
    fmt = problem.products.activation
    ends = _numbers(problem, torch.tensor([fmt.low, fmt.high])).abs()
    # a number is never smaller than that of a smaller magnitude
    reach = torch.full((depth,), int(ends.max()))
    unpadded = Geometry(geometry.kind, geometry.stride, (0, 0), geometry.dilation, geometry.groups)
    total = SumOfProducts(unpadded, _numbers(problem, weights, weight=True), reach)
    zeros = problem.weight_zero
    shape = (-1, 1, 1) if geometry.kind == "conv" else (-1,)
    constant = (problem.bias - zx * weights.reshape(len(weights), -1).sum(1)).reshape(shape)
    ones = SumOfProducts(
        unpadded, torch.ones_like(weights), torch.full((depth,), max(fmt.high - zx, zx - fmt.low, 1))
    )  # fmt: skip

    def call(codes: torch.Tensor) -> torch.Tensor:
        if geometry.kind == "conv":
            py, px = geometry.padding
            codes = F.pad(codes, (px, px, py, py), value=zx)
        acc = total(_numbers(problem, codes)) + constant.to(codes.device)
        if bool(zeros.any()):
            acc -= ones(codes.to(torch.int64) - zx) * zeros.to(codes.device).reshape(shape if zeros.ndim else ())
        return acc

    how = f"one exact product of coded operands, {total.how}"
    return Prepared(call, how, total.parts, costs.FLOAT32_PASS * (1 + total.parts))


def _wide(problem: Problem) -> WideLayer | str:
    """On products of 8-bit digits, or why not."""
    reason = obstacle(problem, wide.MOST_BITS)
    if reason:
        return reason
    weights = problem.weights.reshape(*problem.weights.shape, *(1,) * (4 - problem.weights.ndim))
    constant = problem.bias - problem.activation_zero * weights.sum((1, 2, 3))
    numbers = _numbers(problem, torch.from_numpy(codes_of(problem.products.activation))).numpy()
    zeros = problem.weight_zero.expand(len(weights))
    return wide.wide(problem, Factor(numbers, _numbers(problem, weights, weight=True), constant, zeros))


def _numbers(problem: Problem, codes: torch.Tensor, weight: bool = False) -> torch.Tensor:
    """int64, signed: what each code stands for."""
    products = problem.products
    fmt = products.weight if weight else products.activation
    values, which = torch.unique(codes, return_inverse=True)
    found, negative = coded(products, fmt, values.cpu().numpy())
    numbers = torch.from_numpy(found.number)
    numbers = torch.where(torch.from_numpy(negative), -numbers, numbers)
    return numbers.to(codes.device)[which]
