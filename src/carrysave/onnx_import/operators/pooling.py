"""Pooling, and the padding that convolutions and poolings share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from carrysave.onnx_import.node import Node, checked_size

_MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}


def borders(node: Node, sizes: list[int], kernel: list[int]) -> tuple[list[int], list[int]]:
    """What is put before and behind each spatial axis: `pads`, or what `auto_pad` makes of the sizes."""
    rank = len(kernel)
    strides, dilations = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "", "VALID"):
        pads = [0] * (2 * rank) if auto == "VALID" else node.get("pads", [0] * (2 * rank))
        return list(pads[:rank]), list(pads[rank:])
    totals = [
        max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        for size, stride, k, dilation in zip(sizes, strides, kernel, dilations, strict=True)
    ]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (small, large) if auto == "SAME_UPPER" else (large, small)


def padded(x: Tensor, begin: list[int], end: list[int], value: float = 0.0) -> Tensor:
    """`x` with borders on its last axes."""
    if not any(begin) and not any(end):
        return x
    rank = len(begin)
    checked_size([*x.shape[:-rank], *(b + s + e for b, s, e in zip(begin, x.shape[-rank:], end, strict=True))])
    order = [width for pair in zip(reversed(begin), reversed(end), strict=True) for width in pair]
    if not x.is_floating_point():
        value = torch.iinfo(x.dtype).min if value == -torch.inf else int(value)
    return F.pad(x, order, value=value)


def _windows(node: Node, x: Tensor, value: float) -> tuple[Tensor, Tensor]:
    """The windows of `x` [N, C, outputs..., kernel...], and 1 where an element counts [outputs..., kernel...]."""
    kernel = list(node.get("kernel_shape"))
    rank = len(kernel)
    strides, dilations = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
    sizes = list(x.shape[-rank:])
    begin, end = borders(node, sizes, kernel)
    inside = torch.ones(sizes, device=x.device)
    x, inside = padded(x, begin, end, value), padded(inside, begin, end, float(node.get("count_include_pad", 0)))
    spans = [(k - 1) * dilation + 1 for k, dilation in zip(kernel, dilations, strict=True)]
    if node.get("ceil_mode", 0) and node.get("auto_pad", "NOTSET") in ("NOTSET", ""):
        more = [
            _overhang(padded_size, padded_size - behind, span, stride)
            for padded_size, behind, span, stride in zip(inside.shape, end, spans, strides, strict=True)
        ]
        x, inside = padded(x, [0] * rank, more, value), padded(inside, [0] * rank, more)
    return _cut(x, spans, strides, dilations), _cut(inside, spans, strides, dilations)


def _overhang(size: int, last: int, span: int, stride: int) -> int:
    """How far the last window of ceil_mode reaches beyond `size`; one that would start at or behind `last` is none."""
    steps = max(0, -(-(size - span) // stride))
    steps -= int(steps * stride >= last)
    return max(0, steps * stride + span - size)


def _cut(x: Tensor, spans: list[int], strides: list[int], dilations: list[int]) -> Tensor:
    first = x.ndim - len(spans)
    for axis, (span, stride, dilation) in enumerate(zip(spans, strides, dilations, strict=True)):
        x = x.unfold(first + axis, span, stride)[..., ::dilation]
    return x


def _max_pool(node: Node, x: Tensor) -> Tensor:
    kernel = list(node.get("kernel_shape"))
    rank = len(kernel)
    begin, end = borders(node, list(x.shape[-rank:]), kernel)
    fits = begin == end and all(2 * border <= k for border, k in zip(begin, kernel, strict=True))
    if fits and not node.get("ceil_mode", 0) and x.is_floating_point() and rank in _MAX_POOL:
        strides, dilations = node.get("strides", [1] * rank), node.get("dilations", [1] * rank)
        return _MAX_POOL[rank](x, kernel, strides, begin, dilations)
    windows, _ = _windows(node, x, -torch.inf)
    return windows.amax(tuple(range(-rank, 0)))


def _average_pool(node: Node, x: Tensor) -> Tensor:
    windows, counted = _windows(node, x, 0.0)
    last = tuple(range(-len(node.get("kernel_shape")), 0))
    return windows.sum(last) / counted.sum(last).to(x.dtype)


def _over_space(reduce: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda node, x: reduce(x, tuple(range(2, x.ndim)), keepdim=True)


OPERATORS: dict[str, Callable[..., Any]] = {
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _over_space(torch.mean),
    "GlobalMaxPool": _over_space(torch.amax),
}
