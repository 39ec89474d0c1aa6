"""Operators on codes, written as what they mean: values of codes, the float operator, and codes of its result.

Exact multipliers then give the accumulators of the integer operator, for a layer whose operands are codes computes with
these codes and the file's own scales (carrysave.quantizers.Given).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from carrysave.onnx_import.node import Node

INT32 = 6  # TensorProto.INT32


class _Writer:
    """Collects the nodes that stand for one."""

    def __init__(self, node: Node):
        self.node = node
        self.nodes: list[Node] = []

    def add(self, kind: str, inputs: tuple[str, ...], output: str = "", name: str = "", **attributes: Any) -> str:
        """One node more; gives the name of its output."""
        own = name or f"{self.node.name}:{len(self.nodes)}"
        result = output or f"{self.node.outputs[0]}:{len(self.nodes)}"
        opset = self.node.get("opset", 13)  # QLinearSoftmax brings one as an attribute
        self.nodes.append(Node(own, kind, "", opset, inputs, (result,), attributes))
        return result

    def values(self, codes: str, scale: str, zero: str, axis: int = 1) -> str:
        return self.add("DequantizeLinear", (codes, scale, zero), axis=axis)

    def one(self) -> str:
        return self.add("Constant", (), value=torch.tensor(1.0))

    def codes(self, values: str, scale: str, zero: str) -> list[Node]:
        self.add("QuantizeLinear", (values, scale, zero), self.node.outputs[0])
        return self.nodes


def _inputs(node: Node, count: int) -> list[str]:
    return [*node.inputs, *[""] * (count - len(node.inputs))]


def _conv(node: Node) -> list[Node]:
    x, sx, zx, w, sw, zw, sy, zy, bias = _inputs(node, 9)
    writer = _Writer(node)
    operands = [writer.values(x, sx, zx), writer.values(w, sw, zw, 0)]
    if bias:
        operands.append(writer.values(bias, writer.add("Mul", (sx, sw)), "", 0))
    product = writer.add("Conv", tuple(operands), name=node.name, **node.attributes)
    return writer.codes(product, sy, zy)


def _matmul(node: Node) -> list[Node]:
    a, sa, za, b, sb, zb, sy, zy = _inputs(node, 8)
    writer = _Writer(node)
    product = writer.add("MatMul", (writer.values(a, sa, za, -2), writer.values(b, sb, zb, -1)), name=node.name)
    return writer.codes(product, sy, zy)


def _gemm(node: Node) -> list[Node]:
    a, sa, za, b, sb, zb, c, sy, zy = _inputs(node, 9)
    writer = _Writer(node)
    operands = [writer.values(a, sa, za), writer.values(b, sb, zb, 0 if node.get("transB", 0) else 1)]
    if c:
        operands.append(writer.values(c, writer.add("Mul", (sa, sb)), "", -1))
    output = "" if sy else node.outputs[0]
    product = writer.add("Gemm", tuple(operands), output, node.name, **node.attributes)
    return writer.codes(product, sy, zy) if sy else writer.nodes


def _integer(kind: str, axes: tuple[int, int]) -> Callable[[Node], list[Node]]:
    def expand(node: Node) -> list[Node]:
        x, w, zx, zw = _inputs(node, 4)
        writer = _Writer(node)
        one = writer.one()
        operands = (writer.values(x, one, zx, axes[0]), writer.values(w, one, zw, axes[1]))
        product = writer.add(kind, operands, name=node.name, **node.attributes)
        writer.add("Cast", (writer.add("Round", (product,)),), node.outputs[0], to=INT32)
        return writer.nodes

    return expand


def _on_values(kind: str, operands: int) -> Callable[[Node], list[Node]]:
    """An operator of ONNX Runtime: codes, scale and zero for each operand, then scale and zero of the result."""

    def expand(node: Node) -> list[Node]:
        given = _inputs(node, 3 * operands + 2)
        writer = _Writer(node)
        triples = [given[3 * i : 3 * i + 3] for i in range(operands)]
        values = tuple(writer.values(codes, scale, zero) for codes, scale, zero in triples)
        result = writer.add(kind, values, name=node.name, **node.attributes)
        return writer.codes(result, given[3 * operands], given[3 * operands + 1])

    return expand


EXPANSIONS: dict[tuple[str, str], Callable[[Node], list[Node]]] = {
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    ("", "ConvInteger"): _integer("Conv", (1, 0)),
    ("", "MatMulInteger"): _integer("MatMul", (-2, -1)),
    ("com.microsoft", "QGemm"): _gemm,
    ("com.microsoft", "QLinearAdd"): _on_values("Add", 2),
    ("com.microsoft", "QLinearMul"): _on_values("Mul", 2),
    ("com.microsoft", "QLinearSigmoid"): _on_values("Sigmoid", 1),
    ("com.microsoft", "QLinearSoftmax"): _on_values("Softmax", 1),
    ("com.microsoft", "QLinearLeakyRelu"): _on_values("LeakyRelu", 1),
    ("com.microsoft", "QLinearAveragePool"): _on_values("AveragePool", 1),
    ("com.microsoft", "QLinearGlobalAveragePool"): _on_values("GlobalAveragePool", 1),
}
