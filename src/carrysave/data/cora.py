"""CORA: 2,708 papers in seven classes, the words in each, and who cites whom; Planetoid's split.

P. Sen et al., "Collective Classification in Network Data", AI Magazine 29, 2008; split by Z. Yang et al.,
arXiv:1603.08861; normalised as in T. Kipf, M. Welling, "Semi-supervised classification with graph convolutional
networks", arXiv:1609.02907.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from carrysave.data.dataset import Dataset
from carrysave.data.places import find_files

TITLE = "CORA"
FILE = "cora_planetoid.npz"
_ARRAYS = ("x_indptr", "x_indices", "x_shape", "label", "edges", "train", "test")


class GraphError(ValueError):
    """A graph's file that is damaged, or holds something else."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph whose nodes are to be classified.

    Attributes:
        features: float32 [V, words]: 1 / (words in the paper) where it has the word, else 0.
        adjacency: float32 [V, V], D^-1/2 (A + I) D^-1/2 (Kipf and Welling, equation 2).
        labels: int64 [V].
        train, test: int64, the nodes of the split.
    """

    features: Tensor
    adjacency: Tensor
    labels: Tensor
    train: Tensor
    test: Tensor

    def nodes(self, chosen: Tensor) -> Dataset:
        """The chosen nodes as samples: node i's "image" is row i of the adjacency, its part in the last product."""
        return Dataset(self.adjacency[chosen], self.labels[chosen], TITLE)


def load_graph(root: Path | str | None = None) -> Graph:
    """CORA. FileNotFoundError says which file goes where, GraphError what is wrong with it."""
    (path,) = find_files(TITLE, "cora", ("cora", "CORA", "Cora"), (FILE,), root)
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]).astype(np.int64) for name in _ARRAYS}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise GraphError(
            f"{path}: expected an .npz file with the arrays {', '.join(_ARRAYS)} ({error}); fetch it again"
        ) from error
    _check(path, arrays)
    train, test, labels = (torch.from_numpy(arrays[name]) for name in ("train", "test", "label"))
    return Graph(_features(arrays), normalised_adjacency(len(labels), arrays["edges"]), labels, train, test)


def normalised_adjacency(nodes: int, edges: np.ndarray) -> Tensor:
    """float32 [V, V]: D^-1/2 (A + I) D^-1/2 of the undirected `edges` [E, 2]; an edge counts once."""
    linked = np.eye(nodes, dtype=bool)
    linked[edges[:, 0], edges[:, 1]] = linked[edges[:, 1], edges[:, 0]] = True
    root = 1 / np.sqrt(linked.sum(1))
    return torch.from_numpy((linked * root[:, None] * root).astype(np.float32))


def _features(arrays: dict[str, np.ndarray]) -> Tensor:
    words = np.diff(arrays["x_indptr"])
    features = np.zeros(arrays["x_shape"], np.float32)
    rows = np.repeat(np.arange(len(words)), words)
    features[rows, arrays["x_indices"]] = (1 / np.maximum(words, 1))[rows]
    return torch.from_numpy(features)


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Every index inside its range, or GraphError."""
    nodes = len(arrays["label"])
    start, words, shape = (arrays[f"x_{part}"] for part in ("indptr", "indices", "shape"))
    fits = shape.shape == (2,) and shape[0] == nodes > 0 and start.shape == (nodes + 1,) and words.ndim == 1
    if not fits or start[0] != 0 or start[-1] != len(words) or (np.diff(start) < 0).any():
        raise GraphError(f"{path}: {nodes} labels, but features of shape {shape.tolist()} in {len(start) - 1} rows")
    edges = arrays["edges"]
    if edges.ndim != 2 or edges.shape[1] != 2:
        raise GraphError(f"{path}: edges must be pairs of nodes, got an array of shape {edges.shape}")
    limits = {"x_indices": int(shape[1]), "edges": nodes, "train": nodes, "test": nodes, "label": 256}
    for name, limit in limits.items():
        inside = arrays[name]
        if inside.size == 0 or inside.min() < 0 or inside.max() >= limit:
            came = f"{inside.min()} to {inside.max()}" if inside.size else "nothing"
            raise GraphError(f"{path}: {name} must hold numbers from 0 to {limit - 1}, it holds {came}")
