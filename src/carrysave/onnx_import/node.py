"""One node of a graph, and what its operator may ask of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

MAX_ELEMENTS = 1 << 29  # of one tensor whose size the file states; 2 GiB in float32


@dataclass(frozen=True)
class Node:
    """A node with its operator's kind and domain ("" is ONNX's own), the domain's version, and names of values.

    An empty input name is an optional input that is left out. Attributes are numbers, strings, lists and tensors.
    """

    name: str
    kind: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute, or `default` where the file does not give it."""
        return self.attributes.get(name, default)

    def operand(self, name: str, values: tuple[torch.Tensor | None, ...], index: int) -> list[int] | None:
        """Whole numbers that newer versions give as input `index`, and older ones as the attribute `name`."""
        if len(values) > index and values[index] is not None:
            return integers(values[index])
        found = self.get(name)
        return list(found) if isinstance(found, list | tuple) else None if found is None else [found]

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.kind})"


def integers(values: torch.Tensor | None) -> list[int]:
    """The whole numbers in a tensor of them."""
    assert values is not None
    return [int(value) for value in values.reshape(-1).tolist()]


def checked_size(shape: Iterable[int]) -> list[int]:
    """`shape`, unless a tensor of it is too large. Raises ValueError: a few bytes in a file can ask for terabytes."""
    sizes = list(shape)
    if math.prod(sizes) > MAX_ELEMENTS:
        raise ValueError(f"a tensor of shape {tuple(sizes)} is asked for, more than {MAX_ELEMENTS:,} elements")
    return sizes
