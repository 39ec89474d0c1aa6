"""Data sets as (train, test) pairs of `Dataset`: digits (embedded), mnist, fashion_mnist."""

from __future__ import annotations

from pathlib import Path

from carrysave.data.dataset import Batches, Dataset, batches_of, check_order
from carrysave.data.digits import digits
from carrysave.data.idx import IdxError
from carrysave.data.idx_sets import FASHION_MNIST, MNIST, load_idx_set
from carrysave.registry import nearest

__all__ = [
    "NAMES",
    "Batches",
    "Dataset",
    "IdxError",
    "batches_of",
    "check_order",
    "digits",
    "fashion_mnist",
    "load",
    "mnist",
]

NAMES = ("digits", "mnist", "fashion_mnist")


def mnist(root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test): 60,000 and 10,000 handwritten digits, images (N, 1, 28, 28)."""
    return load_idx_set(MNIST, root)


def fashion_mnist(root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test): 60,000 and 10,000 pieces of clothing in ten classes, images (N, 1, 28, 28)."""
    return load_idx_set(FASHION_MNIST, root)


def load(name: str, root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test) of the data set `name`, one of NAMES (a hyphen for the underscore will do).

    `root` is the first folder to look into, either with the files or with a subfolder named after the data set; then
    come $CARRYSAVE_DATA, the cache and a download. Digits need none. ValueError for an unknown name.
    """
    wanted = name.replace("-", "_").lower()
    if wanted == "digits":
        return digits()
    if wanted == "mnist":
        return mnist(root)
    if wanted == "fashion_mnist":
        return fashion_mnist(root)
    raise ValueError(f"unknown data set {name!r}{nearest(wanted, NAMES)}; known: {', '.join(NAMES)}")
