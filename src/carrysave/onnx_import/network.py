"""A graph as a torch module: steps in order, each an operator or a layer that can be emulated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from carrysave.onnx_import.node import Node
from carrysave.running import ModelError


@dataclass(frozen=True)
class Input:
    """An input of the graph: its element type and its sizes; a size that is not fixed has a name, or None."""

    name: str
    dtype: torch.dtype
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name!r}"
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name!r} of shape [{sizes}], {str(self.dtype).removeprefix('torch.')}"

    def checked(self, given: Tensor) -> Tensor:
        """The tensor in the graph's own type. Raises ModelError for another shape or kind of numbers."""
        came = f"got shape {list(given.shape)}, {str(given.dtype).removeprefix('torch.')}"
        if self.shape is not None:
            fits = len(self.shape) == given.ndim and all(
                not isinstance(size, int) or size == actual
                for size, actual in zip(self.shape, given.shape, strict=True)
            )
            if not fits:
                raise ModelError(f"the graph takes {self}; {came}")
        if given.is_floating_point() and not self.dtype.is_floating_point:
            raise ModelError(f"the graph takes whole numbers: {self}; {came}")
        return given.to(self.dtype)


@dataclass(frozen=True)
class Step:
    """What computes a node's outputs: `function(node, *inputs)`, or `function(layer, node, *inputs)` for a layer."""

    node: Node
    function: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layer: str | None = None


class OnnxNetwork(nn.Module):
    """A graph that computes as its file says; its layers are children under their nodes' names, "." written "_".

    Called on one tensor for each of `inputs`, it gives one tensor for each of `outputs`: the tensor itself if there is
    one, else a tuple.

    Attributes:
        inputs: what it takes.
        outputs: names of what it gives.
        notes: what a reader should know about how the file was understood.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        outputs: Sequence[str],
        steps: Sequence[Step],
        constants: Mapping[str, Tensor],
        layers: Mapping[str, nn.Module],
        notes: Iterable[str] = (),
    ):
        super().__init__()
        self.inputs, self.outputs, self.steps = tuple(inputs), tuple(outputs), tuple(steps)
        self.notes = tuple(notes)
        self.stored: dict[str, str] = {}
        for number, (name, value) in enumerate(constants.items()):
            self.stored[name] = f"constant{number}"
            self.register_buffer(self.stored[name], value)
        self.names: dict[str, str] = {}
        for name, layer in layers.items():
            self.names[name] = _free_name(self, name)
            self.add_module(self.names[name], layer)
        self.spent = _last_uses(self.steps, self.outputs)
        self.eval()

    @property
    def batch(self) -> int | None:
        """How many samples the first input always holds, where the file fixes it."""
        shape = self.inputs[0].shape
        return shape[0] if shape and isinstance(shape[0], int) else None

    def forward(self, *given: Tensor) -> Any:
        if len(given) != len(self.inputs):
            wanted = "; ".join(map(str, self.inputs))
            raise ModelError(f"the graph takes {len(self.inputs)} inputs ({wanted}), {len(given)} came")
        values: dict[str, Any] = {name: self.get_buffer(buffer) for name, buffer in self.stored.items()}
        for wanted, tensor in zip(self.inputs, given, strict=True):
            values[wanted.name] = wanted.checked(tensor)
        for step, spent in zip(self.steps, self.spent, strict=True):
            result = self._computed(step, [values[name] if name else None for name in step.inputs])
            parts = result if isinstance(result, tuple) else (result,)
            values.update(zip(step.outputs, parts, strict=False))
            for name in spent:
                del values[name]
        found = tuple(values[name] for name in self.outputs)
        return found[0] if len(found) == 1 else found

    def _computed(self, step: Step, inputs: list[Tensor | None]) -> Any:
        try:
            if step.layer is None:
                return step.function(step.node, *inputs)
            return step.function(self._modules[self.names[step.layer]], step.node, *inputs)
        except ModelError:
            raise
        except Exception as error:
            shapes = ", ".join("-" if value is None else str(list(value.shape)) for value in inputs)
            raise ModelError(f"{step.node} failed on inputs of shapes {shapes}: {error}") from error


def _free_name(module: nn.Module, name: str) -> str:
    """`name` as torch allows it for a child of `module`."""
    free = name.replace(".", "_") or "_"
    while hasattr(module, free):
        free += "_"
    return free


def _last_uses(steps: Sequence[Step], outputs: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """For each step the values that no later one needs: a deep network would otherwise keep all of them."""
    seen = set(outputs)
    spent = []
    for step in reversed(steps):
        names = {name for name in (*step.inputs, *step.outputs) if name} - seen
        seen |= names
        spent.append(tuple(sorted(names)))
    return tuple(reversed(spent))
