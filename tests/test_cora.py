"""CORA: the graph as its paper normalises it, its split, and damaged files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from carrysave import data
from carrysave.data.cora import Graph, load_graph, normalised_adjacency


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CARRYSAVE_DATA", raising=False)


def arrays(**changed: object) -> dict[str, np.ndarray]:
    """Four papers, five words; paper 3 has none."""
    parts: dict = {
        "x_indptr": [0, 2, 3, 6, 6],
        "x_indices": [0, 4, 1, 0, 1, 2],
        "x_shape": [4, 5],
        "label": [0, 1, 1, 0],
        "edges": [[0, 1], [1, 2]],
        "train": [0, 1],
        "test": [3, 2],
        **changed,
    }
    return {name: np.asarray(part) for name, part in parts.items()}


def written(folder, **changed):
    (folder / "cora").mkdir()
    np.savez(folder / "cora" / "cora_planetoid.npz", **arrays(**changed))  # type: ignore[arg-type]
    return folder


def test_the_graph(tmp_path):
    graph = load_graph(written(tmp_path))
    third = torch.tensor(1 / 3)
    wanted = torch.tensor([[0.5, 0, 0, 0, 0.5], [0, 1, 0, 0, 0], [third, third, third, 0, 0], [0, 0, 0, 0, 0]])
    assert torch.equal(graph.features, wanted)
    linked = torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    root = torch.diag(linked.sum(1) ** -0.5)
    assert torch.allclose(graph.adjacency, root @ linked @ root)
    train, test = data.load("cora", tmp_path)
    assert torch.equal(train.images, graph.adjacency[[0, 1]]) and train.labels.tolist() == [0, 1]
    assert torch.equal(test.images, graph.adjacency[[3, 2]]) and test.labels.tolist() == [0, 1] and test.name == "CORA"


def test_an_edge_counts_once_in_whichever_direction():
    once = normalised_adjacency(3, np.array([[0, 1]]))
    assert torch.equal(once, normalised_adjacency(3, np.array([[0, 1], [1, 0], [0, 1]])))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"edges": [[0, 4]]}, r"edges must hold numbers from 0 to 3, it holds 0 to 4"),
        ({"edges": [0, 1]}, r"edges must be pairs of nodes, got an array of shape \(2,\)"),
        ({"x_indices": [0, 5, 1, 0, 1, 2]}, r"x_indices must hold numbers from 0 to 4"),
        ({"test": np.zeros(0, int)}, r"test must hold numbers from 0 to 3, it holds nothing"),
        ({"label": [0, 1, 1]}, r"3 labels, but features of shape \[4, 5\] in 4 rows"),
        ({"x_indptr": [0, 3, 2, 6, 6]}, r"4 labels, but features"),
        ({"train": ["a", "b"]}, r"expected an .npz file with the arrays x_indptr"),
    ],
)
def test_a_damaged_graph_says_what_is_wrong(tmp_path, changed, message):
    with pytest.raises(data.GraphError, match=message) as caught:
        load_graph(written(tmp_path, **changed))
    assert "cora_planetoid.npz" in str(caught.value)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="CORA was not found: its files cora_planetoid.npz must lie"):
        data.load("cora", tmp_path)
    (tmp_path / "cora").mkdir()
    (tmp_path / "cora" / "cora_planetoid.npz").write_bytes(b"PK")
    with pytest.raises(data.GraphError, match="expected an .npz file"):
        data.load("cora", tmp_path)


def test_the_real_graph(shared_data):
    if not (shared_data / "cora" / "cora_planetoid.npz").is_file():
        pytest.skip("needs cora_planetoid.npz")
    graph = load_graph(shared_data)
    assert isinstance(graph, Graph) and graph.features.shape == (2708, 1433)
    assert int((graph.features > 0).sum()) == 49_216 and (len(graph.train), len(graph.test)) == (140, 1000)
    assert int((graph.adjacency > 0).sum()) == 2 * 5278 + 2708
    degrees = (graph.adjacency > 0).sum(1).float()
    assert torch.allclose(graph.adjacency @ degrees.sqrt(), degrees.sqrt(), rtol=1e-5)  # its eigenvector of value 1
