"""The networks of the papers, and how they are trained; and residual networks for the benchmark."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from carrysave.data import Dataset
from carrysave.networks.alexnet import DATA_SETS as _OF_ALEXNET
from carrysave.networks.alexnet import AlexNet, alexnet
from carrysave.networks.gcn import DATA_SETS as _OF_GCN
from carrysave.networks.gcn import GCN, gcn
from carrysave.networks.lenet import DATA_SETS as _OF_LENET
from carrysave.networks.lenet import LeNet, lenet
from carrysave.networks.residual import mobilenet_v2, resnet18, resnet20
from carrysave.registry import nearest

__all__ = [
    "GCN",
    "NAMES",
    "TRAINED",
    "AlexNet",
    "LeNet",
    "alexnet",
    "gcn",
    "lenet",
    "load",
    "mobilenet_v2",
    "resnet18",
    "resnet20",
]

TRAINED = {"lenet": (lenet, _OF_LENET), "alexnet": (alexnet, _OF_ALEXNET), "gcn": (gcn, _OF_GCN)}
NAMES = tuple(TRAINED)


def load(name: str, dataset: str, root: Path | str | None = None, seed: int = 0) -> tuple[nn.Module, Dataset, Dataset]:
    """(model, train, test) of the network `name`, one of NAMES, trained on a data set of its own.

    ValueError for an unknown name, and for a data set that the network is not trained on.
    """
    if name not in TRAINED:
        raise ValueError(
            f"unknown network '{name}'{nearest(name, NAMES)}; known: {', '.join(NAMES)}, or your own: my_net.py:model"
        )
    network, _ = TRAINED[name]
    return network(dataset, root=root, seed=seed)
