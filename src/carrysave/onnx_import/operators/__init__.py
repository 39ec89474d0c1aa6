"""ONNX operators as functions on tensors, in one table: (domain, kind) -> function(node, *inputs).

An optional input that is left out is None. A function gives a tensor, or a tuple of them for several outputs. Products
(convolutions, matrix products) are not here: they become layers (products.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from carrysave.onnx_import.node import Node
from carrysave.onnx_import.operators import elementwise, normalization, pooling, quantization, shapes

_OWN = (elementwise, normalization, pooling, quantization, shapes)
OPERATORS: dict[tuple[str, str], Callable[..., Any]] = {
    **{("", kind): function for module in _OWN for kind, function in module.OPERATORS.items()},
    **{("ai.onnx.ml", kind): function for kind, function in shapes.ML_OPERATORS.items()},
    ("com.microsoft", "QuantizeLinear"): quantization.OPERATORS["QuantizeLinear"],
    ("com.microsoft", "DequantizeLinear"): quantization.OPERATORS["DequantizeLinear"],
    ("com.microsoft", "Gelu"): elementwise.OPERATORS["Gelu"],
}
_OUTPUTS = {
    "Split": None,
    "TopK": 2,
    "Dropout": 2,
    "DynamicQuantizeLinear": 3,
    "LayerNormalization": 3,
}  # of all others one is computed

_VALUES = ("value", "value_int", "value_ints", "value_float", "value_floats")  # of a Constant


def refusal(node: Node) -> str | None:
    """Why a node whose operator there is cannot be computed as it stands; None if it can."""
    computed = _OUTPUTS.get(node.kind, 1)
    if computed is not None and any(node.outputs[computed:]):
        return f"its output {computed + 1} is used, which is not computed"
    if node.kind == "BatchNormalization" and node.get("training_mode", 0):
        return "it is in training mode; export the network in evaluation mode"
    if node.kind == "Constant" and not any(isinstance(node.get(name), Tensor | int | float | list) for name in _VALUES):
        return "it holds strings, or elements that are not supported"
    return None
