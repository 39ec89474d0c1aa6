"""From a file to a network: operators looked up, constants computed once, weights put into layers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from carrysave.onnx_import import products
from carrysave.onnx_import.dtypes import dtype_of
from carrysave.onnx_import.expansion import EXPANSIONS
from carrysave.onnx_import.file import OnnxError, check, initializers_of, nodes_of, read
from carrysave.onnx_import.network import Input, OnnxNetwork, Step
from carrysave.onnx_import.node import Node
from carrysave.onnx_import.operators import OPERATORS, refusal
from carrysave.onnx_import.scales import Scales
from carrysave.quantizers import Given, Scale

PRODUCTS = ("Conv", "Gemm", "MatMul")
MAX_CONSTANT_ELEMENTS = 1 << 31
_NAMED = 8  # nodes that a message names for one operator


def load(path: str | Path, outputs: Sequence[str] | None = None) -> OnnxNetwork:
    """The network in an ONNX file, float or quantized, in evaluation mode; nothing in the file is executed.

    Convolutions and matrix products with stored weights are nn.Conv2d and nn.Linear, so `calibrate`, `emulate` and
    recipes work on it by the nodes' names; a matrix product of two activations is the functional product
    "NODE.matmul0". A bias that a following Add brings is the layer's own. A quantized file's scales and zeros are kept:
    an emulated layer computes with them (and with formats that hold its codes) whatever the recipe's formats.

    Args:
        outputs: names of the outputs to compute. Without them the first that holds numbers with a fraction, such as a
            classifier's probabilities beside its labels, or the first.

    Raises:
        OnnxError: for damaged files, with all operators that are not supported at once, each with its nodes.
        MissingExtra: without the package onnx. OSError: for a file that cannot be read.
    """
    model = read(path)
    stored = {proto.name for proto in model.graph.initializer}
    given = [proto for proto in model.graph.input if proto.name not in stored]
    chosen, notes = _outputs(model.graph, outputs, path)
    nodes = _needed(nodes_of(model), chosen)
    _refuse_unsupported(nodes, path)
    check(model, path)
    used = {name for node in nodes for name in node.inputs} | set(chosen)
    try:
        inputs = [_input(proto) for proto in given if proto.name in used]
        constants = initializers_of(model, used)
        built = _Importer(inputs, constants, _expanded(nodes), chosen)
        return built.network(notes)
    except OnnxError:
        raise
    except ValueError as error:
        raise OnnxError(f"{path}: {error}") from error


def _input(proto: Any) -> Input:
    if proto.type.WhichOneof("value") != "tensor_type":
        raise ValueError(f"input {proto.name!r} is no tensor")
    kind = proto.type.tensor_type
    try:
        dtype = dtype_of(kind.elem_type)
    except ValueError as error:
        raise ValueError(f"input {proto.name!r}: {error}") from None
    if not kind.HasField("shape"):
        return Input(proto.name, dtype, None)
    sizes = [d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in kind.shape.dim]
    return Input(proto.name, dtype, tuple(None if size in (0, -1) else size for size in sizes))


def _outputs(graph: Any, wanted: Sequence[str] | None, path: Any) -> tuple[list[str], list[str]]:
    """The outputs to compute, and what is to be said about the choice."""
    names = [proto.name for proto in graph.output]
    if not names:
        raise OnnxError(f"{path}: the graph has no output")
    if wanted is not None:
        wrong = [name for name in wanted if name not in names]
        if wrong or not wanted:
            raise OnnxError(f"{path}: no output is called {', '.join(map(repr, wrong))}; it has {', '.join(names)}")
        return list(wanted), []
    if len(names) == 1:
        return names, []
    real = [proto.name for proto in graph.output if _is_real(proto)]
    chosen = (real or names)[0]
    return [chosen], [f"of the outputs {', '.join(names)}, {chosen} is computed"]


def _is_real(proto: Any) -> bool:
    """Floating point, or the list of maps that scikit-learn's converter makes of probabilities."""
    if proto.type.WhichOneof("value") != "tensor_type":
        return True
    return proto.type.tensor_type.elem_type in (1, 10, 11, 16)


def _needed(nodes: list[Node], outputs: Iterable[str]) -> list[Node]:
    """The nodes that the outputs depend on, in order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted & {name for name in node.outputs if name}:
            wanted |= set(node.inputs)
            kept.append(node)
    return kept[::-1]


def _refuse_unsupported(nodes: list[Node], path: Any) -> None:
    unknown: dict[str, list[str]] = defaultdict(list)
    refused = []
    for node in nodes:
        key = (node.domain, node.kind)
        if key not in OPERATORS and key not in EXPANSIONS and not (node.domain == "" and node.kind in PRODUCTS):
            unknown[f"{node.domain}.{node.kind}" if node.domain else node.kind].append(node.name)
        elif reason := refusal(node):
            refused.append(f"{node}: {reason}")
    if not unknown and not refused:
        return
    lines = []
    if unknown:
        lines.append(f"{path}: {len(unknown)} operator{'s are' if len(unknown) > 1 else ' is'} not supported")
        for kind, names in sorted(unknown.items()):
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            lines.append(f"{kind}, {len(names)} node{'s' * (len(names) > 1)}: {', '.join(names[:_NAMED])}{more}")
    else:
        lines.append(f"{path}: some nodes cannot be computed")
    raise OnnxError("\n  ".join([*lines, *refused]))


def _expanded(nodes: list[Node]) -> list[Node]:
    return [part for node in nodes for part in EXPANSIONS.get((node.domain, node.kind), lambda one: [one])(node)]


class _Importer:
    """Constants, scales, steps and layers, as the nodes are gone through."""

    def __init__(self, inputs: list[Input], constants: dict[str, Tensor], nodes: list[Node], outputs: list[str]):
        self.inputs, self.constants, self.outputs = inputs, constants, outputs
        self.scales = Scales(constants, {one.name: one.dtype for one in inputs})
        self.steps: list[Step] = []
        self.layers: dict[str, nn.Module] = {}
        self.nodes = self._without_constants(nodes)
        self.uses = Counter([*outputs, *(name for node in self.nodes for name in node.inputs)])
        self.absorbed: set[str] = set()
        for node in self.nodes:
            if node.name not in self.absorbed:
                self._add(node)

    def network(self, notes: Iterable[str]) -> OnnxNetwork:
        used = {name for step in self.steps for name in step.inputs} | set(self.outputs)
        constants = {name: value for name, value in self.constants.items() if name in used}
        found = [*notes, *self.scales.notes]
        return OnnxNetwork(self.inputs, self.outputs, self.steps, constants, self.layers, found)

    def _without_constants(self, nodes: list[Node]) -> list[Node]:
        """The nodes that depend on an input or a product; the others are computed now. Products stay products: a graph
        network multiplies stored features by stored weights, and both go through the multiplier.
        """
        left, elements = [], sum(value.numel() for value in self.constants.values())
        for node in nodes:
            self.scales.see(node)
            function = OPERATORS.get((node.domain, node.kind))
            if function is None or any(name and name not in self.constants for name in node.inputs):
                left.append(node)
                continue
            try:
                with torch.no_grad():
                    result = function(node, *(self.constants[name] if name else None for name in node.inputs))
            except Exception as error:
                raise ValueError(f"{node} cannot be computed: {error}") from error
            parts = result if isinstance(result, tuple) else (result,)
            self.constants.update(zip(node.outputs, parts, strict=False))
            elements += sum(part.numel() for part in parts)
            if elements > MAX_CONSTANT_ELEMENTS:
                raise ValueError(f"{node}: the constants have more than {MAX_CONSTANT_ELEMENTS:,} elements")
        return left

    def _add(self, node: Node) -> None:
        if node.kind in PRODUCTS and node.domain == "":
            {"Conv": self._conv, "Gemm": self._gemm, "MatMul": self._matmul}[node.kind](node)
            return
        self.steps.append(Step(node, OPERATORS[node.domain, node.kind], node.inputs, node.outputs))

    def _layer(self, node: Node, layer: nn.Module, function: Any, inputs: tuple[str, ...], output: str) -> None:
        self.layers[node.name] = layer
        self.steps.append(Step(node, function, inputs, (output,), node.name))

    def _given(self, layer: Any, activation: Scale | None, weight: Scale | None) -> None:
        if activation is not None or weight is not None:
            layer.given = Given(activation, weight)

    def _conv(self, node: Node) -> None:
        x, w, b = [*node.inputs, ""][:3]
        if w in self.constants and (not b or b in self.constants):
            weight = self.constants[w]
            bias, output = (self.constants[b], node.outputs[0]) if b else self._following_bias(node, len(weight), 1)
            layer = products.conv_layer(node, weight, bias)
            self._given(layer, self.scales.of(x), self.scales.of_channels(w, 0, weight.ndim))
            self._layer(node, layer, products.run_conv, (x,), output)
            return
        layer = products.Convolution(node)
        self._given(layer, self.scales.of(x), self.scales.of(w))
        self._layer(node, layer, products.run_convolution, node.inputs, node.outputs[0])

    def _matmul(self, node: Node) -> None:
        a, b = node.inputs
        weight = self.constants.get(b)
        if weight is not None and weight.ndim == 2:
            bias, output = self._following_bias(node, weight.shape[1], 0)
            layer = products.linear_layer(weight.T, bias)
            self._given(layer, self.scales.of(a), self.scales.of_channels(b, 1, 2))
            self._layer(node, layer, products.run_linear, (a,), output)
            return
        layer = products.Product()
        self._given(layer, self.scales.of(a), self.scales.of(b))
        self._layer(node, layer, products.run_product, node.inputs, node.outputs[0])

    def _gemm(self, node: Node) -> None:
        a, b, c = [*node.inputs, ""][:3]
        weight, added = self.constants.get(b), self.constants.get(c)
        alpha, transposed = node.get("alpha", 1.0), bool(node.get("transB", 0))
        if weight is None or weight.ndim != 2:
            layer = products.Product()
            self._given(layer, self.scales.of(a), self.scales.of(b))
            self._layer(node, layer, products.run_gemm_product, node.inputs, node.outputs[0])
            return
        matrix = weight if transposed else weight.T
        scale = self.scales.of_channels(b, 0 if transposed else 1, 2)
        if alpha != 1.0:
            matrix, scale = matrix * alpha, None
        outputs = matrix.shape[0]
        fits = added is not None and added.numel() in (1, outputs) and added.shape[-1:] in ((), (1,), (outputs,))
        bias = (node.get("beta", 1.0) * added.reshape(-1)).expand(outputs) if fits and added is not None else None
        layer = products.linear_layer(matrix, bias)
        self._given(layer, self.scales.of(a), scale)
        inputs = (a,) if fits or not c else (a, c)
        self._layer(node, layer, products.run_gemm, inputs, node.outputs[0])

    def _following_bias(self, node: Node, outputs: int, axis: int) -> tuple[Tensor | None, str]:
        """The stored vector that the one node after this one adds to each output, and the value that then results.

        Args:
            axis: of the channels: 0 if they come last, 1 if axes of space follow.
        """
        value = node.outputs[0]
        users = [other for other in self.nodes if value in other.inputs]
        if self.uses[value] != 1 or len(users) != 1 or users[0].kind != "Add" or users[0].domain:
            return None, value
        other = next((name for name in users[0].inputs if name != value), "")
        vector = self.constants.get(other)
        if vector is None:
            return None, value
        shape = tuple(vector.shape)
        if axis:
            space = self.constants[node.inputs[1]].ndim - 2
            fits = shape in ((outputs, *[1] * space), (1, outputs, *[1] * space))
        else:
            fits = shape in ((outputs,), (1, outputs))
        if not fits:
            return None, value
        self.absorbed.add(users[0].name)
        return vector.reshape(-1), users[0].outputs[0]
