"""Operators that treat each element by itself, and comparisons and sums of tensors that broadcast."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from carrysave.onnx_import.node import Node


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """An operator without attributes."""
    return lambda node, *inputs: function(*inputs)


def over_all(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """An operator of any number of inputs."""
    return lambda node, *inputs: reduce(function, inputs)


def _divide(node: Node, x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _power(node: Node, x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y).to(x.dtype)


def _modulo(node: Node, x: Tensor, y: Tensor) -> Tensor:
    return torch.fmod(x, y) if node.get("fmod", 0) else torch.remainder(x, y)


def _mean(node: Node, *inputs: Tensor) -> Tensor:
    return reduce(torch.add, inputs) / len(inputs)


def _clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    least = node.get("min") if low is None else low.to(x.device)
    most = node.get("max") if high is None else high.to(x.device)
    if isinstance(least, Tensor) or isinstance(most, Tensor):
        x = x if least is None else torch.maximum(x, torch.as_tensor(least, dtype=x.dtype))
        return x if most is None else torch.minimum(x, torch.as_tensor(most, dtype=x.dtype))
    return x if least is None and most is None else torch.clamp(x, least, most)


def _prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    if node.opset < 7 and slope.ndim == 1:  # then, one for each channel
        slope = slope.reshape(-1, *(1,) * (x.ndim - 2))
    return torch.where(x < 0, x * slope, x)


def _elu(node: Node, x: Tensor) -> Tensor:
    return F.elu(x, node.get("alpha", 1.0))


def _selu(node: Node, x: Tensor) -> Tensor:
    alpha, gamma = node.get("alpha", 1.67326319217681884765625), node.get("gamma", 1.05070102214813232421875)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x))


def _celu(node: Node, x: Tensor) -> Tensor:
    return F.celu(x, node.get("alpha", 1.0))


def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node.get("approximate", "none"))


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return torch.clamp(node.get("alpha", 0.2) * x + node.get("beta", 0.5), 0, 1)


def _leaky_relu(node: Node, x: Tensor) -> Tensor:
    return F.leaky_relu(x, node.get("alpha", 0.01))


def _swish(node: Node, x: Tensor) -> Tensor:
    return x * torch.sigmoid(node.get("alpha", 1.0) * x)


def _thresholded_relu(node: Node, x: Tensor) -> Tensor:
    return torch.where(x > node.get("alpha", 1.0), x, 0)


def _shrink(node: Node, x: Tensor) -> Tensor:
    threshold, bias = node.get("lambd", 0.5), node.get("bias", 0.0)
    return torch.where(x < -threshold, x + bias, torch.where(x > threshold, x - bias, 0)).to(x.dtype)


OPERATORS: dict[str, Callable[..., Any]] = {
    "Abs": plain(torch.abs), "Neg": plain(torch.neg), "Sign": plain(torch.sign), "Exp": plain(torch.exp),
    "Log": plain(torch.log), "Sqrt": plain(torch.sqrt), "Reciprocal": plain(torch.reciprocal),
    "Floor": plain(torch.floor), "Ceil": plain(torch.ceil), "Round": plain(torch.round), "Erf": plain(torch.erf),
    "Sin": plain(torch.sin), "Cos": plain(torch.cos), "Tanh": plain(torch.tanh), "Sigmoid": plain(torch.sigmoid),
    "Relu": plain(torch.relu), "Softplus": plain(F.softplus), "Softsign": plain(F.softsign), "Mish": plain(F.mish),
    "HardSwish": plain(F.hardswish), "Not": plain(torch.logical_not), "And": plain(torch.logical_and),
    "Or": plain(torch.logical_or), "Xor": plain(torch.logical_xor), "IsNaN": plain(torch.isnan),
    "Equal": plain(torch.eq), "Greater": plain(torch.gt), "GreaterOrEqual": plain(torch.ge), "Less": plain(torch.lt),
    "LessOrEqual": plain(torch.le), "Where": plain(torch.where), "Add": plain(torch.add), "Sub": plain(torch.sub),
    "Mul": plain(torch.mul), "Div": _divide, "Pow": _power, "Mod": _modulo, "Sum": over_all(torch.add), "Mean": _mean,
    "Max": over_all(torch.maximum), "Min": over_all(torch.minimum), "Clip": _clip, "PRelu": _prelu, "Elu": _elu,
    "Selu": _selu, "Celu": _celu, "Gelu": _gelu, "HardSigmoid": _hard_sigmoid, "LeakyRelu": _leaky_relu,
    "Swish": _swish, "ThresholdedRelu": _thresholded_relu, "Shrink": _shrink,
}  # fmt: skip
