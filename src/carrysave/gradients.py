"""The gradients of emulated products.

Those of the float product at the represented values, zero where a value saturates; and, with the table's slope, for
each product of slopes.Slope one more transposed or correlating product of the layer's own size:

    dL/dx  =  sum over outputs of g sw (w - zw)  +  sum over k of u_k(x) * sum over outputs of g sw v_k(w)

and alike for the weights, with sx, where padding counts as the zero's code. (In units of the codes the accumulator's
derivative by x is dM/dx - zw, and M's is w plus the slope of its error; see layers.py for the accumulator.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F

from carrysave.engines.problem import Geometry
from carrysave.quantizers import Quantizer
from carrysave.slopes import Slope

FLOAT32_CODES = 24  # bits of a code that float32 holds


def of_input(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, activation: Quantizer, quantizer: Quantizer,
    geometry: Geometry, slope: Slope | None,
) -> torch.Tensor:  # fmt: skip
    """By the input of a conv or linear layer, like `x`; `slope` is by the activation, None for straight-through."""
    grad = grad.contiguous()

    def through(values: torch.Tensor) -> torch.Tensor:
        if geometry.kind == "linear":
            return grad @ values
        return _convolution_backward(grad, x, values, geometry, (True, False))

    total = through(represented(quantizer, weight).to(grad.dtype))
    if slope is not None and slope.rank:
        u, v = _looked_up(activation, slope.u, x), _looked_up(quantizer, slope.v, weight)
        scale = _per_channel(quantizer.scale, weight)
        for k in range(slope.rank):
            total = total + u(k) * through((v(k) * scale).to(grad.dtype))
    return masked(activation, x, total).to(x.dtype)


def of_weight(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, activation: Quantizer, quantizer: Quantizer,
    geometry: Geometry, slope: Slope | None,
) -> torch.Tensor:  # fmt: skip
    """By the weights of a conv or linear layer, like `weight`; `slope` is by the weight."""
    grad = grad.contiguous()

    def through(values: torch.Tensor, geometry: Geometry) -> torch.Tensor:
        if geometry.kind == "linear":
            return grad.T @ values
        return _convolution_backward(grad, values, weight, geometry, (False, True))

    total = through(represented(activation, x).to(grad.dtype), geometry)
    if slope is not None and slope.rank:
        inner, place = x, geometry
        if geometry.kind == "conv":
            (py, px) = geometry.padding  # a padding's code is the zero, and its value 0
            inner = F.pad(x, (px, px, py, py))
            place = Geometry("conv", geometry.stride, (0, 0), geometry.dilation, geometry.groups)
        u, v = _looked_up(activation, slope.u, inner), _looked_up(quantizer, slope.v, weight)
        for k in range(slope.rank):
            total = total + v(k) * through((u(k) * activation.scale).to(grad.dtype), place)
    return masked(quantizer, weight, total).to(weight.dtype)


def of_left(
    grad: torch.Tensor, x: torch.Tensor, w: torch.Tensor, left: Quantizer, right: Quantizer, slope: Slope | None
) -> torch.Tensor:
    """By x of x [B, M, K] @ w [B, K, O]."""
    total = grad @ represented(right, w).to(grad.dtype).mT
    if slope is not None and slope.rank:
        u, v = _looked_up(left, slope.u, x), _looked_up(right, slope.v, w)
        for k in range(slope.rank):
            total = total + u(k) * (grad @ (v(k) * right.scale).to(grad.dtype).mT)
    return masked(left, x, total).to(x.dtype)


def of_right(
    grad: torch.Tensor, x: torch.Tensor, w: torch.Tensor, left: Quantizer, right: Quantizer, slope: Slope | None
) -> torch.Tensor:
    """By w of x [B, M, K] @ w [B, K, O]."""
    total = represented(left, x).to(grad.dtype).mT @ grad
    if slope is not None and slope.rank:
        u, v = _looked_up(left, slope.u, x), _looked_up(right, slope.v, w)
        for k in range(slope.rank):
            total = total + v(k) * ((u(k) * left.scale).to(grad.dtype).mT @ grad)
    return masked(right, w, total).to(w.dtype)


def represented(quantizer: Quantizer, x: torch.Tensor) -> torch.Tensor:
    """`quantizer.values(quantizer.codes(x))`, in float32 and in place where codes fit it."""
    fmt = quantizer.format
    if fmt.bits > FLOAT32_CODES or quantizer.scale.ndim:
        return quantizer.values(quantizer.codes(x))
    zero = int(quantizer.zero)
    ratio = x.to(torch.float32) / quantizer.scale
    return ratio.round_().clamp_(fmt.low - zero, fmt.high - zero).mul_(quantizer.scale)


def masked(quantizer: Quantizer, x: torch.Tensor, grad: torch.Tensor) -> torch.Tensor:
    """`grad` where `x` does not saturate, half a step beyond the end codes included; else 0."""
    if quantizer.scale.ndim or x.dtype != grad.dtype or x.dtype != torch.float32:
        return grad * quantizer.inside(x)
    fmt = quantizer.format
    below, above = _ends(fmt.low, fmt.high, int(quantizer.zero), float(quantizer.scale))
    return torch.ops.aten.hardtanh_backward(grad, x, below, above)  # one pass; it excludes its bounds


@lru_cache(maxsize=1024)
def _ends(low: int, high: int, zero: int, scale: float) -> tuple[float, float]:
    """The float32 next below what is still inside, and the next above."""
    inside = np.array([(low - 0.5 - zero) * scale, (high + 0.5 - zero) * scale], np.float32)
    below, above = np.nextafter(inside, np.array([-np.inf, np.inf], np.float32))
    return float(below), float(above)


def _looked_up(quantizer: Quantizer, table: torch.Tensor, x: torch.Tensor) -> Callable[[int], torch.Tensor]:
    """table[k] at the codes of x, by k."""
    index, place = (quantizer.codes(x) - quantizer.format.low).to(torch.int64), table.to(x.device)
    return lambda k: place[k][index]


def _per_channel(scale: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return scale.reshape(-1, *(1,) * (weight.ndim - 1)) if scale.ndim else scale


def _convolution_backward(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, g: Geometry, wanted: tuple[bool, bool]
) -> torch.Tensor:
    by_input, by_weight, _ = torch.ops.aten.convolution_backward(
        grad, x, weight, None, g.stride, g.padding, g.dilation, False, (0, 0), g.groups, (*wanted, False)
    )
    return by_input if wanted[0] else by_weight
