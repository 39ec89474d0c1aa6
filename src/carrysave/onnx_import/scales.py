"""Which values of a graph are codes times a scale that the file states, so that a layer can compute with the codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from carrysave.onnx_import.dtypes import RANGES
from carrysave.onnx_import.node import Node
from carrysave.quantizers import Scale

# these give elements of their first input, and 0 at most beside them
_KEEPING = {
    "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "MaxPool", "Slice", "Gather", "Split",
    "Expand", "Tile", "Relu", "Transpose",
}  # fmt: skip


@dataclass(frozen=True)
class Stated:
    """A scale, and the axis along which it has one entry per channel; None for one of the whole tensor."""

    scale: Scale
    axis: int | None = None


class Scales:
    """The stated scales by value, as the nodes come by in their order.

    Attributes:
        notes: quantized values whose scales cannot be kept, in words.
    """

    def __init__(self, constants: Mapping[str, Tensor], dtypes: Mapping[str, torch.dtype]):
        self.constants, self.types = constants, dict(dtypes)
        self.stated: dict[str, Stated] = {}
        self.notes: list[str] = []

    def see(self, node: Node) -> None:
        """What a node says of its outputs."""
        if node.kind == "QuantizeLinear":
            zero = self.constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
            self.types[node.outputs[0]] = torch.uint8 if zero is None else zero.dtype
        elif node.kind == "DynamicQuantizeLinear":
            self.types[node.outputs[0]] = torch.uint8
        elif node.kind == "DequantizeLinear":
            self._dequantized(node)
        elif node.kind in _KEEPING and node.inputs and node.inputs[0] in self.stated:
            kept = self._kept(node, self.stated[node.inputs[0]])
            if kept is not None:
                self.stated.update(dict.fromkeys(node.outputs, kept))

    def of(self, value: str) -> Scale | None:
        """The one scale of a value; None if none is stated."""
        stated = self.stated.get(value)
        return None if stated is None or stated.axis is not None else stated.scale

    def of_channels(self, value: str, axis: int, rank: int) -> Scale | None:
        """The scale of weights whose outputs lie along `axis` of `rank`: one, or one for each output."""
        stated = self.stated.get(value)
        if stated is None:
            return None
        if stated.axis is None or stated.axis % rank == axis % rank:
            return stated.scale
        self.notes.append(
            f"the scales of {value!r} differ along axis {stated.axis}, not between outputs; they are computed again"
        )
        return None

    def _dequantized(self, node: Node) -> None:
        codes, scale_name, zero_name = [*node.inputs, ""][:3]
        scale, zero = self.constants.get(scale_name), self.constants.get(zero_name)
        if scale is None or (zero_name and zero is None):
            return  # computed while the graph runs: ranges are then calibrated
        found = self.constants.get(codes)
        dtype = found.dtype if found is not None else self.types.get(codes, None if zero is None else zero.dtype)
        if dtype is None or dtype not in RANGES or dtype == torch.int32:
            return
        if node.get("block_size", 0):
            self.notes.append(f"{node}: its scales differ between blocks; the layer's scales are computed again")
            return
        count = max(scale.numel(), 1 if zero is None else zero.numel())
        zeros = (
            torch.zeros(count, dtype=torch.int64) if zero is None else zero.reshape(-1).to(torch.int64).expand(count)
        )
        scales = scale.reshape(-1).to(torch.float32).expand(count)
        if not bool((scales > 0).all()) or not bool(torch.isfinite(scales).all()):
            raise ValueError(f"{node}: its scale is not a positive number")
        low, high = RANGES[dtype]
        stated = Scale(tuple(scales.tolist()), tuple(zeros.tolist()), low, high)
        self.stated[node.outputs[0]] = Stated(stated, node.get("axis", 1) if count > 1 else None)

    def _kept(self, node: Node, stated: Stated) -> Stated | None:
        if stated.axis is None or node.kind == "Identity":
            return stated
        if node.kind == "Transpose" and node.get("perm"):
            order = list(node.get("perm"))
            return Stated(stated.scale, order.index(stated.axis % len(order)))
        if node.kind == "Transpose" and node.inputs[0] in self.constants:
            rank = self.constants[node.inputs[0]].ndim
            return Stated(stated.scale, rank - 1 - stated.axis % rank)
        return None
