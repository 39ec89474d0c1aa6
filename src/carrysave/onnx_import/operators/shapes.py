"""Operators that move elements about, choose some, or speak of shapes and types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from carrysave.onnx_import.dtypes import dtype_of
from carrysave.onnx_import.node import Node, checked_size, integers


def _reshape(node: Node, x: Tensor, *shape: Tensor) -> Tensor:
    sizes = node.operand("shape", (x, *shape), 1) or []
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    rows = x.shape[:axis].numel()
    return x.reshape(rows, x.numel() // rows if rows else x.shape[axis:].numel())


def _transpose(node: Node, x: Tensor) -> Tensor:
    return x.permute(node.get("perm") or tuple(reversed(range(x.ndim))))


def _concat(node: Node, *inputs: Tensor) -> Tensor:
    return torch.cat(inputs, node.get("axis", 1))


def _slice(node: Node, x: Tensor, *bounds: Tensor | None) -> Tensor:
    given = (x, *bounds)
    starts, ends = node.operand("starts", given, 1) or [], node.operand("ends", given, 2) or []
    axes = node.operand("axes", given, 3) or list(range(len(starts)))
    steps = node.operand("steps", given, 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen = range(*slice(start, end if step > 0 or end >= -x.shape[axis] else None, step).indices(x.shape[axis]))
        if step > 0:
            x = x.narrow(axis, chosen.start, max(0, chosen.stop - chosen.start))
            x = x if step == 1 else x.index_select(axis, torch.arange(0, x.shape[axis], step, device=x.device))
        else:
            x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64, device=x.device))
    return x


def _split(node: Node, x: Tensor, *sizes: Tensor) -> tuple[Tensor, ...]:
    axis, count = node.get("axis", 0), len(node.outputs)
    given = node.operand("split", (x, *sizes), 1)
    return x.split(given if given else -(-x.shape[axis] // count), axis)


def _squeeze(node: Node, x: Tensor, *axes: Tensor) -> Tensor:
    chosen = node.operand("axes", (x, *axes), 1)
    if chosen is None:
        return x.squeeze()
    for axis in chosen:
        if x.shape[axis] != 1:
            raise ValueError(f"axis {axis} of shape {tuple(x.shape)} is not of size 1 and cannot be squeezed")
    return x.squeeze(tuple(chosen))


def _unsqueeze(node: Node, x: Tensor, *axes: Tensor) -> Tensor:
    chosen = node.operand("axes", (x, *axes), 1) or []
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


def _gather(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0) % x.ndim
    chosen = x.index_select(axis, _positive(indices, x.shape[axis]).reshape(-1))
    return chosen.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def _positive(indices: Tensor, size: int) -> Tensor:
    places = indices.to(torch.int64)
    return torch.where(places < 0, places + size, places)


def _gather_elements(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    return x.gather(axis, _positive(indices, x.shape[axis]))


def _scatter_elements(node: Node, x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = node.get("axis", 0)
    places = _positive(indices, x.shape[axis])
    how = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}.get(node.get("reduction", "none"))
    return x.scatter(axis, places, updates) if how is None else x.scatter_reduce(axis, places, updates, how)


def _array_feature_extractor(node: Node, x: Tensor, indices: Tensor) -> Tensor:
    chosen = x.index_select(-1, indices.reshape(-1).to(torch.int64))
    return chosen.reshape(1, -1) if x.ndim == 1 else chosen


def _expand(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(checked_size(torch.broadcast_shapes(x.shape, tuple(integers(shape)))))


def _tile(node: Node, x: Tensor, repeats: Tensor) -> Tensor:
    counts = integers(repeats)
    checked_size(size * count for size, count in zip(x.shape, counts, strict=True))
    return x.repeat(counts)


def _shape(node: Node, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[node.get("start", 0) : node.get("end")], dtype=torch.int64, device=x.device)


def _size(node: Node, x: Tensor) -> Tensor:
    return torch.tensor(x.numel(), dtype=torch.int64, device=x.device)


def _cast(node: Node, x: Tensor) -> Tensor:
    return x.to(dtype_of(node.get("to")))


def _cast_like(node: Node, x: Tensor, like: Tensor) -> Tensor:
    return x.to(like.dtype)


def _constant(node: Node) -> Tensor:
    for name, dtype in (("value_float", torch.float32), ("value_floats", torch.float32),
                        ("value_int", torch.int64), ("value_ints", torch.int64)):  # fmt: skip
        if name in node.attributes:
            return torch.tensor(node.attributes[name], dtype=dtype)
    return node.attributes["value"]


def _constant_of_shape(node: Node, shape: Tensor) -> Tensor:
    value = node.get("value", torch.zeros(1))
    return value.reshape(()).expand(checked_size(integers(shape))).contiguous()


def _range(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = start.item(), limit.item(), delta.item()
    count = max(0, -int(-(last - first) // step)) if step else 0
    checked_size([count])
    return first + step * torch.arange(count, device=start.device).to(start.dtype)


def _pad(
    node: Node, x: Tensor, pads: Tensor | None = None, value: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    widths = node.operand("pads", (x, pads), 1) or node.get("paddings") or []
    chosen = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in integers(axes)]
    begin, end = [0] * x.ndim, [0] * x.ndim
    for i, axis in enumerate(chosen):
        begin[axis], end[axis] = widths[i], widths[i + len(chosen)]
    checked_size(b + size + e for b, size, e in zip(begin, x.shape, end, strict=True))
    mode = node.get("mode", "constant")
    if mode == "constant":
        fill = node.get("value", 0.0) if value is None else value.item()
        order = [width for pair in zip(reversed(begin), reversed(end), strict=True) for width in pair]
        return F.pad(x, order, value=fill if x.is_floating_point() else int(fill))
    for axis in range(x.ndim):
        x = x.index_select(axis, _border(x.shape[axis], begin[axis], end[axis], mode).to(x.device))
    return x


def _border(size: int, begin: int, end: int, mode: str) -> Tensor:
    """Where the elements of a padded axis come from."""
    places = torch.arange(-begin, size + end)
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places % size
    period = max(1, 2 * size - 2)
    return (places % period - (size - 1)).abs().mul(-1).add(size - 1)


def _arg_most(most: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def operator(node: Node, x: Tensor) -> Tensor:
        axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
        if not node.get("select_last_index", 0):
            return _first(x, axis, keep, most)
        return x.shape[axis] - 1 - _first(x.flip(axis), axis, keep, most)

    return operator


def _first(x: Tensor, axis: int, keep: bool, most: Callable[..., Tensor]) -> Tensor:
    # torch's argmax may take any of several equal ones
    return (x == most(x, axis, True)).to(torch.int8).argmax(axis, keep)


def _top_k(node: Node, x: Tensor, count: Tensor | None = None) -> tuple[Tensor, Tensor]:
    k = (node.operand("k", (x, count), 1) or [1])[0]
    axis, largest = node.get("axis", -1), bool(node.get("largest", 1))
    order = x.argsort(dim=axis, descending=largest, stable=True).narrow(axis, 0, k)
    return x.gather(axis, order), order


def _trilu(node: Node, x: Tensor, diagonal: Tensor | None = None) -> Tensor:
    k = 0 if diagonal is None else int(diagonal)
    return x.triu(k) if node.get("upper", 1) else x.tril(k)


def _depth_to_space(node: Node, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = node.get("blocksize")
    if node.get("mode", "DCR") == "DCR":
        return x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)
    return F.pixel_shuffle(x, b)


def _space_to_depth(node: Node, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    b = node.get("blocksize")
    blocks = x.reshape(n, c, h // b, b, w // b, b)
    blocks = blocks.permute(0, 3, 5, 1, 2, 4) if node.get("mode", "DCR") == "DCR" else blocks.permute(0, 1, 3, 5, 2, 4)
    return blocks.reshape(n, c * b * b, h // b, w // b)


def _cumulated(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    along = int(axis)
    x = x.flip(along) if node.get("reverse", 0) else x
    total = x.cumsum(along).to(x.dtype)
    total = total - x if node.get("exclusive", 0) else total
    return total.flip(along) if node.get("reverse", 0) else total


def _same(node: Node, x: Tensor, *others: Tensor | None) -> Tensor:
    return x


def _dropout(node: Node, x: Tensor, *others: Tensor | None) -> tuple[Tensor, ...]:
    return x, torch.ones_like(x, dtype=torch.bool)


def _einsum(node: Node, *inputs: Tensor) -> Tensor:
    equation = node.get("equation")
    return torch.einsum(equation if isinstance(equation, str) else equation.decode(), *inputs)


OPERATORS: dict[str, Callable[..., Any]] = {
    "Reshape": _reshape, "Flatten": _flatten, "Transpose": _transpose, "Concat": _concat, "Slice": _slice,
    "Split": _split, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Gather": _gather,
    "GatherElements": _gather_elements, "ScatterElements": _scatter_elements, "Expand": _expand, "Tile": _tile,
    "Shape": _shape, "Size": _size, "Cast": _cast, "CastLike": _cast_like, "Constant": _constant,
    "ConstantOfShape": _constant_of_shape, "Range": _range, "Pad": _pad, "ArgMax": _arg_most(torch.amax),
    "ArgMin": _arg_most(torch.amin), "TopK": _top_k, "Trilu": _trilu, "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth, "CumSum": _cumulated, "Identity": _same, "Dropout": _dropout, "Einsum": _einsum,
}  # fmt: skip
ML_OPERATORS: dict[str, Callable[..., Any]] = {
    "ArrayFeatureExtractor": _array_feature_extractor,
    "ZipMap": _same,  # a list of dictionaries for Python; here the table that it is made of
}
