"""Codes and values: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear.

A code is value / scale in float32, rounded half to even, plus the zero, saturated: the rule of carrysave's formats too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from carrysave.onnx_import.dtypes import RANGES, dtype_of
from carrysave.onnx_import.node import Node


def _along(node: Node, x: Tensor, parameter: Tensor) -> Tensor:
    """A scale or zero in a shape that broadcasts against `x`: one number, one per channel, or one per block."""
    if parameter.numel() == 1:
        return parameter.reshape(())
    axis = node.get("axis", 1) % x.ndim
    block = node.get("block_size", 0)
    if block:
        return parameter.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return parameter.reshape(*(-1 if i == axis else 1 for i in range(x.ndim)))


def _quantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    stated = node.get("output_dtype", 0)
    dtype = zero.dtype if zero is not None else dtype_of(stated) if stated else torch.uint8
    codes = torch.round(x.to(torch.float32) / _along(node, x, scale).to(torch.float32))
    if zero is not None:
        codes = codes + _along(node, x, zero.to(torch.float32))
    return codes.clamp(*RANGES[dtype]).to(dtype)


def _dequantize(node: Node, x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    codes = x.to(torch.int32)
    if zero is not None:
        codes = codes - _along(node, x, zero.to(torch.int32))
    return codes.to(scale.dtype) * _along(node, x, scale)


def _dynamic_quantize(node: Node, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round(-low / scale).clamp(0, 255)
    return torch.round(x / scale).add(zero).clamp(0, 255).to(torch.uint8), scale, zero.to(torch.uint8)


OPERATORS: dict[str, Callable[..., Any]] = {
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
    "DynamicQuantizeLinear": _dynamic_quantize,
}
