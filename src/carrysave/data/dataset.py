"""Labelled images in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with their classes.

    `images` is float32 (N, channels, height, width), in [0, 1] for the data sets of this package; `labels` is int64
    (N,). Iterating yields (images, labels) in batches of 256, in order. ValueError where shapes or types do not fit or
    an image holds a NaN or infinity.
    """

    images: Tensor
    labels: Tensor
    name: str

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.ndim != 4 or images.dtype != torch.float32:
            raise ValueError(
                f"Dataset {self.name}: images must be float32 of shape (N, channels, height, width), "
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
    return data.batches(size, shuffle_seed) if isinstance(data, Dataset) else data
