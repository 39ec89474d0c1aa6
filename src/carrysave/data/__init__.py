"""Data sets as (train, test) pairs of `Dataset`: digits (embedded), mnist, fashion_mnist, cifar10, cora."""

from __future__ import annotations

from pathlib import Path

from carrysave.data.cifar10 import JpegError, load_cifar10
from carrysave.data.cora import GraphError, load_graph
from carrysave.data.dataset import Batches, Dataset, batches_of, check_order
from carrysave.data.digits import digits
from carrysave.data.idx import IdxError
from carrysave.data.idx_sets import FASHION_MNIST, MNIST, load_idx_set
from carrysave.registry import nearest

__all__ = [
    "NAMES",
    "Batches",
    "Dataset",
    "GraphError",
    "IdxError",
    "JpegError",
    "batches_of",
    "check_order",
    "cifar10",
    "cora",
    "digits",
    "fashion_mnist",
    "load",
    "mnist",
]

NAMES = ("digits", "mnist", "fashion_mnist", "cifar10", "cora")


def mnist(root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test): 60,000 and 10,000 handwritten digits, images (N, 1, 28, 28)."""
    return load_idx_set(MNIST, root)


def fashion_mnist(root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test): 60,000 and 10,000 pieces of clothing in ten classes, images (N, 1, 28, 28)."""
    return load_idx_set(FASHION_MNIST, root)


def cifar10(root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test): 50,000 and 10,000 photographs in ten classes as lossy JPEGs, images (N, 3, 32, 32)."""
    return load_cifar10(root)


def cora(root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test): 140 and 1000 papers in seven classes; a paper's "image" is its row of the normalised adjacency,
    (N, 2708). The words are the network's: `networks.gcn`.
    """
    graph = load_graph(root)
    return graph.nodes(graph.train), graph.nodes(graph.test)


def load(name: str, root: Path | str | None = None) -> tuple[Dataset, Dataset]:
    """(train, test) of the data set `name`, one of NAMES (a hyphen for the underscore will do).

    `root` is the first folder to look into, either with the files or with a subfolder named after the data set; then
    come $CARRYSAVE_DATA, the cache and, for the MNISTs, a download. Digits need none. ValueError for an unknown name.
    """
    wanted = name.replace("-", "_").lower()
    if wanted == "digits":
        return digits()
    loaders = {"mnist": mnist, "fashion_mnist": fashion_mnist, "cifar10": cifar10, "cora": cora}
    if wanted in loaders:
        return loaders[wanted](root)
    raise ValueError(f"unknown data set {name!r}{nearest(wanted, NAMES)}; known: {', '.join(NAMES)}")
