"""Convolutions and matrix products as layers that can be emulated: nn.Conv2d, nn.Linear, and products of activations.

Each layer is a child of the network under its node's name, so that recipes find it there; a function beside it brings
ONNX's shapes into torch's.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from carrysave.onnx_import.node import Node
from carrysave.onnx_import.operators.pooling import borders, padded

CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}


class Product(nn.Module):
    """A matrix product of two activations, or of a stored matrix and an activation, such as a graph's adjacency."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.matmul(left, right)


class Convolution(nn.Module):
    """A two-dimensional convolution whose weights are computed: [N, C, H, W] and [O, C / groups, kh, kw]."""

    def __init__(self, node: Node):
        super().__init__()
        self.node = node

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        stride, dilation = _spatial(self.node, "strides", 2), _spatial(self.node, "dilations", 2)
        return F.conv2d(x, weight, None, stride, 0, dilation, self.node.get("group", 1))


def linear_layer(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """From weights [O, K]."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    return _filled(layer, weight, bias)


def conv_layer(node: Node, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """From weights [O, C / groups, ...] of one to three dimensions of space; one becomes two.

    A border that is the same on both sides is the layer's own padding, any other one is put on before it.
    """
    if weight.ndim == 3:
        weight = weight.unsqueeze(2)
    rank = weight.ndim - 2
    stride, dilation = _spatial(node, "strides", rank), _spatial(node, "dilations", rank)
    groups, outputs = node.get("group", 1), weight.shape[0]
    own = symmetric_padding(node, rank)
    layer = CONVOLUTIONS[rank](
        weight.shape[1] * groups, outputs, tuple(weight.shape[2:]), tuple(stride), own or 0, tuple(dilation), groups,
        bias is not None, device="meta",
    )  # fmt: skip
    return _filled(layer, weight, bias)


def _spatial(node: Node, name: str, rank: int) -> list[int]:
    given = list(node.get(name, [1] * rank))
    return [1] * (rank - len(given)) + given


def symmetric_padding(node: Node, rank: int) -> tuple[int, ...] | None:
    """The border of a convolution with as much before as behind; None if there is none such."""
    pads = list(node.get("pads", []))
    if node.get("auto_pad", "NOTSET") not in ("NOTSET", "") or not pads:
        return None
    before, behind = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    return (*[0] * (rank - len(before)), *before) if before == behind else None


def _filled(layer: Any, weight: Tensor, bias: Tensor | None) -> Any:
    """With these very parameters: no gradient is wanted, until somebody trains."""
    layer.weight = nn.Parameter(weight.contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.contiguous())
    return layer.eval()


# --- what a step of the network calls: (layer, node, inputs...) ---


def run_conv(layer: nn.Module, node: Node, x: Tensor) -> Tensor:
    """[N, C, ...] through a layer of `conv_layer`."""
    kernel = list(layer.kernel_size)[-(x.ndim - 2) :]  # type: ignore[arg-type]
    if symmetric_padding(node, x.ndim - 2) is None:
        x = padded(x, *borders(node, list(x.shape[2:]), kernel))
    return layer(x.unsqueeze(2)).squeeze(2) if x.ndim == 3 else layer(x)


def run_convolution(layer: nn.Module, node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution with computed weights, of one or two dimensions of space."""
    x = padded(x, *borders(node, list(x.shape[2:]), list(weight.shape[2:])))
    result = layer(x.unsqueeze(2), weight.unsqueeze(2)).squeeze(2) if x.ndim == 3 else layer(x, weight)
    return result if bias is None else result + bias.reshape(-1, *(1,) * (x.ndim - 2))


def run_linear(layer: nn.Module, node: Node, x: Tensor) -> Tensor:
    return layer(x)


def run_product(layer: nn.Module, node: Node, left: Tensor, right: Tensor) -> Tensor:
    return layer(left, right)


def run_gemm(layer: nn.Module, node: Node, x: Tensor, added: Tensor | None = None) -> Tensor:
    """A Gemm whose weights and alpha are in the layer, and its bias if that is a vector."""
    result = layer(x.mT if node.get("transA", 0) else x)
    return result if added is None else result + node.get("beta", 1.0) * added


def run_gemm_product(layer: nn.Module, node: Node, left: Tensor, right: Tensor, added: Tensor | None = None) -> Tensor:
    """A Gemm of two activations."""
    left = left.mT if node.get("transA", 0) else left
    right = right.mT if node.get("transB", 0) else right
    result = layer(left, right)
    result = result if node.get("alpha", 1.0) == 1.0 else result * node.get("alpha")
    return result if added is None else result + node.get("beta", 1.0) * added
