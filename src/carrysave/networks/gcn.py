"""The two-layer graph convolutional network: T. Kipf, M. Welling, arXiv:1609.02907, equation 9, on CORA."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from carrysave.data import Dataset
from carrysave.data.cora import Graph, load_graph
from carrysave.networks.trained import Trainable, checked
from carrysave.quantized_training import train_quantized
from carrysave.training import train

DATA_SETS = ("cora",)


class GCN(nn.Module):
    """Logits of nodes: A relu(A X W1) W2, with the graph's features X and normalised adjacency A inside the model.

    Takes rows of A (N, V), those of the nodes that are asked for, gives (N, classes). The hidden layer is that of all
    nodes, whatever the batch. Both products with A are matrix products of two activations, those with W linear layers
    without bias, so that all four can be emulated. Only the weights are saved, not the graph (`features`,
    `adjacency`, and the nodes' `labels`).
    """

    features: Tensor
    adjacency: Tensor
    labels: Tensor

    def __init__(self, graph: Graph, hidden: int = 16) -> None:
        super().__init__()
        self.register_buffer("features", graph.features, persistent=False)
        self.register_buffer("adjacency", graph.adjacency, persistent=False)
        self.register_buffer("labels", graph.labels, persistent=False)
        self.fc1 = nn.Linear(graph.features.shape[1], hidden, bias=False)
        self.fc2 = nn.Linear(hidden, int(graph.labels.max()) + 1, bias=False)
        self.dropout = nn.Dropout(0.5)
        for layer in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, rows_NV: Tensor) -> Tensor:
        hidden = torch.relu(torch.matmul(self.adjacency, self.fc1(self.dropout(self.features))))
        return torch.matmul(rows_NV, self.fc2(self.dropout(hidden)))


@dataclass(frozen=True)
class _Settings:
    """How `gcn` trains; part of the weights' key."""

    epochs: int = 200
    learning_rate: float = 4.0
    hidden: int = 16
    quantized_epochs: int = 20  # with operands in 8 bits, at the end
    quantized_rate: float = 0.4
    revision: int = 1


def gcn(dataset: str = "cora", root: Path | str | None = None, seed: int = 0) -> tuple[GCN, Dataset, Dataset]:
    """(model, train, test): the two-layer GCN trained on CORA's 140 nodes, in evaluation mode; 1000 test nodes.

    The weights come with the package, from the cache, or are trained now: see `Trainable.trained`. `root` as in
    `data.load`. ValueError for another data set.
    """
    prepared = prepare_gcn(dataset, root, seed)
    return cast(GCN, prepared.trained()), prepared.train_set, prepared.test_set


def prepare_gcn(dataset: str, root: Path | str | None, seed: int) -> Trainable:
    """The GCN before its training."""
    checked("gcn", dataset, DATA_SETS)
    graph, settings = load_graph(root), _Settings()
    train_set, test_set = graph.nodes(graph.train), graph.nodes(graph.test)
    batch = len(train_set)

    def fit(model: nn.Module, checkpoint: Path) -> None:
        train(model, train_set, settings.epochs, seed, settings.learning_rate, batch=batch, checkpoint=checkpoint)
        train_quantized(
            model,
            train_set,
            settings.quantized_epochs,
            seed,
            settings.quantized_rate,
            batch=batch,
            checkpoint=checkpoint.with_suffix(".training8"),
        )

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = GCN(graph, settings.hidden)
    return Trainable("gcn-cora", model, train_set, test_set, asdict(settings), seed, fit)
