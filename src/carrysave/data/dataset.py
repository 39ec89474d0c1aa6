"""Labelled images in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import RandomSampler


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their classes.

    `images` is float32 (N, ...), for the data sets of this package (N, channels, height, width) in [0, 1]; `labels` is
    int64 (N,). Iterating yields (images, labels) in batches of 256, in order. ValueError where shapes or types do not
    fit or an image holds a NaN or infinity.
    """

    images: Tensor
    labels: Tensor
    name: str

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim < 2 or images.dtype != torch.float32:
            raise ValueError(
                f"Dataset {self.name}: images must be float32 of shape (N, ...), such as (N, channels, height, width), "
                f"got {images.dtype} of shape {tuple(images.shape)}"
            )
        if labels.shape != images.shape[:1] or labels.dtype != torch.int64:
            raise ValueError(
                f"Dataset {self.name}: labels must be int64 of shape ({len(images)},), one for each image, "
                f"got {labels.dtype} of shape {tuple(labels.shape)}"
            )
        finite = images.isfinite().flatten(1).all(1)
        if not finite.all():
            bad = int((~finite).nonzero()[0])
            raise ValueError(f"Dataset {self.name}: image {bad} holds a NaN or infinity; every pixel must be finite")

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.batches(256)

    def batches(self, size: int, shuffle_seed: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, labels) in batches of `size`, the last one smaller; in order, or shuffled by `shuffle_seed`."""
        if size < 1:
            raise ValueError(f"Dataset {self.name}: the batch size must be at least 1, got {size}")
        if shuffle_seed is None:
            yield from zip(self.images.split(size), self.labels.split(size), strict=True)
            return
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(shuffle_seed))
        for chosen in order.split(size):
            yield self.images[chosen], self.labels[chosen]

    def subset(self, n: int, seed: int) -> Dataset:
        """`n` images drawn without replacement, kept in their order; the same for the same seed."""
        if not 1 <= n <= len(self):
            raise ValueError(f"Dataset {self.name}: cannot draw {n} of {len(self)} images; use 1 to {len(self)}")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        chosen = order[:n].sort().values
        return Dataset(self.images[chosen], self.labels[chosen], self.name)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) over shapes, pixels and labels: equal for equal data, whatever its name or origin."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy().data)
        digest.update(self.labels.contiguous().numpy().data)
        return digest.hexdigest()


Batches = Dataset | Iterable[tuple[Tensor, Tensor]]
"""What can be trained and evaluated on: a Dataset, or (images, labels) batches that can be iterated again and again."""


def batches_of(data: Batches, size: int, shuffle_seed: int | None = None) -> Iterable[tuple[Tensor, Tensor]]:
    """The batches of a Dataset by `size` and `shuffle_seed`; anything else has its own batches and its own order."""
    return data.batches(size, shuffle_seed) if isinstance(data, Dataset) else _pairs(data)


def _pairs(data: Iterable[Any]) -> Iterator[tuple[Tensor, Tensor]]:
    for index, batch in enumerate(data):
        pair = isinstance(batch, tuple | list) and len(batch) == 2
        if not pair or not all(isinstance(part, Tensor) for part in batch):
            parts = batch if isinstance(batch, tuple | list) else [batch]
            came = ", ".join(f"{type(p).__name__} {tuple(p.shape)}" if isinstance(p, Tensor) else type(p).__name__
                             for p in parts)  # fmt: skip
            raise ValueError(
                f"data: batch {index} must be (images, labels), two tensors, got {came}; labels are needed to tell "
                "right answers from wrong ones"
            )
        yield batch[0], batch[1]


def check_order(data: Any, name: str) -> None:
    """Raises ValueError for batches that come only once, or in another order in every pass.

    A DataLoader tells by its sampler; of anything else the first batch is read twice.
    """
    if isinstance(data, Dataset | Tensor):
        return
    if hasattr(data, "__next__"):
        kind = type(data).__name__
        raise ValueError(f"{name}: a {kind} can be read only once; give a list of batches or a DataLoader")
    shuffled = isinstance(getattr(data, "sampler", None), RandomSampler)
    if not shuffled:
        first, second = (next(iter(data), None) for _ in range(2))
        shuffled = not _same(first, second)
    if shuffled:
        raise ValueError(
            f"{name}: its batches come in another order in every pass; results are compared image by image and must "
            "be the same again, so give a DataLoader with shuffle=False"
        )


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, tuple | list) and isinstance(second, tuple | list):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return True  # what it is, is judged where it is used
