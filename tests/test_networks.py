"""LeNet, AlexNet and the GCN: shapes, products, training, and where their weights come from."""

from __future__ import annotations

import pytest
import torch

from carrysave import networks
from carrysave.calibration import calibrate
from carrysave.data import Dataset
from carrysave.data.cora import Graph, normalised_adjacency
from carrysave.emulation import emulate
from carrysave.evaluation import evaluate
from carrysave.multipliers import MULTIPLIERS
from carrysave.networks import GCN, AlexNet, LeNet, trained
from carrysave.networks.alexnet import folded, normalised
from carrysave.networks.gcn import prepare_gcn
from carrysave.networks.lenet import prepare_lenet
from carrysave.networks.trained import Trainable
from carrysave.recipes import Arithmetic
from carrysave.tables import table
from carrysave.training import CheckpointError


def test_the_shapes_of_the_precision_study():
    """Its 1650 KB of float32 parameters are 1684 by these shapes: 431,080 of them."""
    model = LeNet()
    assert [tuple(p.shape) for p in model.parameters() if p.ndim > 1] == [
        (20, 1, 5, 5),
        (50, 20, 5, 5),
        (500, 800),
        (10, 500),
    ]
    assert sum(p.numel() for p in model.parameters()) == 431_080
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert LeNet(3, 16, 7)(torch.zeros(1, 3, 16, 16)).shape == (1, 7)


@pytest.mark.parametrize("size", [12, 15, 18, 30])
def test_a_size_that_drops_pixels_is_refused(size):
    with pytest.raises(ValueError, match=f"size={size}: .* a multiple of 4, >= 16"):
        LeNet(size=size)


@pytest.fixture
def one_thread():
    """Two threads that wait for each other are many times slower on a machine that is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_lenet_learns_digits_once(tmp_path, monkeypatch, capsys, one_thread):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    state = torch.get_rng_state()
    model, train, test = networks.lenet("digits")
    accuracy = evaluate(model, test)
    assert accuracy.percent > 98 and not model.training and len(train) == 1000
    assert torch.equal(torch.get_rng_state(), state)
    files = list((tmp_path / "networks").iterdir())
    assert [path.suffix for path in files] == [".safetensors"]  # and no checkpoint is left

    capsys.readouterr()
    again = networks.lenet("digits")[0]
    assert capsys.readouterr().err == "" and evaluate(again, test) == accuracy

    files[0].write_bytes(files[0].read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged .* delete it"):
        networks.lenet("digits")


def test_alexnet_stays_below_twenty_million_macs():
    model = AlexNet().eval()
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert model(images).shape == (3, 10)
    by_hand = 32 * 32 * 32 * 27 + 16 * 16 * 64 * 9 * 32 + 8 * 8 * 9 * (96 * 64 + 96 * 96 + 64 * 96) + 1024 * 256 + 2560
    calibration = calibrate(model, images)
    assert sum(calibration.macs.values()) == by_hand == 18_254_336 <= 20_000_000
    assert {calibration[name].kind for name in calibration.layers} == {"Conv2d", "Linear"} and not calibration.others


def test_a_batch_norm_folds_into_its_convolution():
    torch.manual_seed(0)
    images = torch.rand(8, 3, 32, 32)
    model = normalised(AlexNet())
    model.train()
    model(images)  # moves the running statistics
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    wanted = model.eval()(images)
    plain = folded(model)
    assert plain.state_dict().keys() == AlexNet().state_dict().keys()
    assert torch.allclose(plain(images), wanted, rtol=1e-4, atol=1e-4)


@pytest.fixture
def graph():
    """Twelve nodes on a ring, each with one word of its class and one common word."""
    nodes = torch.arange(12)
    edges = torch.stack([nodes, (nodes + 1) % 12], 1).numpy()
    features = torch.zeros(12, 5)
    features[nodes, nodes % 3] = features[:, 4] = 0.5
    return Graph(features, normalised_adjacency(12, edges), nodes % 3, nodes[:9], nodes[9:])


def test_a_gcn_is_its_papers_equation(graph):
    torch.manual_seed(0)
    model = GCN(graph, hidden=4).eval()
    a, x = graph.adjacency, graph.features
    wanted = a @ (torch.relu(a @ (x @ model.fc1.weight.T)) @ model.fc2.weight.T)
    assert torch.allclose(model(a), wanted, atol=1e-6) and model(a[:2]).shape == (2, 3)
    assert torch.allclose(model(a[3:5]), wanted[3:5], atol=1e-6)  # a node's answer is no matter of its batch
    assert set(model.state_dict()) == {"fc1.weight", "fc2.weight"}


@pytest.mark.parametrize("spec", ["exact", "compressed:heam"])
def test_all_four_products_of_a_gcn_go_through_the_multiplier(graph, spec):
    torch.manual_seed(0)
    model = GCN(graph, hidden=4).eval()
    calibration = calibrate(model, graph.nodes(graph.train))
    net = emulate(model, calibration, multiplier=spec)
    assert {r.name for r in net.replaced} == {"fc1", "fc2", "matmul0", "matmul1"} and not net.left

    products = torch.tensor(table(MULTIPLIERS.parse(spec)))

    def product(layer: str, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        first, second = calibration.quantizers(layer, Arithmetic.natural(spec))
        p, q = first.codes(x).long(), second.codes(w).long()
        zero_x, zero_w = int(first.zero), int(second.zero)
        total = torch.zeros(len(p), q.shape[1], dtype=torch.int64)
        for k in range(p.shape[1]):
            u, v = p[:, k, None], q[None, k]
            total += products[u, v] - zero_w * u - zero_x * v + zero_x * zero_w
        return total.float() * (first.scale * second.scale)

    rows = graph.adjacency[graph.test]
    hidden = torch.relu(product("matmul0", graph.adjacency, product("fc1", graph.features, model.fc1.weight.T)))
    assert torch.equal(net(rows), product("matmul1", rows, product("fc2", hidden, model.fc2.weight.T)))


def _bias(model: torch.nn.Module) -> float:
    return model.get_parameter("fc2.bias")[0].item()


def _fill(model: torch.nn.Module, value: float) -> None:
    torch.nn.init.constant_(model.get_parameter("fc2.bias"), value)


def tiny(tmp_path, seed: int = 0) -> Trainable:
    images = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    data = Dataset(images, torch.arange(6) % 2, "tiny")

    def fit(model: torch.nn.Module, checkpoint) -> None:
        checkpoint.parent.mkdir(exist_ok=True)
        for suffix in (".training", ".training8"):
            checkpoint.with_suffix(suffix).write_bytes(b"state")
        _fill(model, 1 / 3)

    return Trainable("net-tiny", LeNet(size=16, classes=2), data, data, {"epochs": 1}, seed, fit)


def test_weights_come_with_the_package_or_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trained, "SHIPPED", tmp_path)
    made = tiny(tmp_path).trained()
    third = _bias(made)
    assert third == pytest.approx(1 / 3, rel=1e-6) and not made.training
    kept = [path.name for path in (tmp_path / "cache" / "networks").iterdir()]
    assert len(kept) == 1 and kept[0].startswith("net-tiny-") and kept[0].endswith(".safetensors")

    prepared = tiny(tmp_path)
    _fill(prepared.model, 2 / 3)
    prepared.ship(tmp_path, torch.float16)
    assert _bias(tiny(tmp_path).trained()) == float(torch.tensor(2 / 3).half())
    assert tiny(tmp_path, seed=1).shipped() is None  # another seed's are trained
    assert _bias(tiny(tmp_path, seed=1).trained()) == third


def test_the_package_brings_weights_that_work(shared_data):
    """A guard against a change of settings or names that would set a person's machine training."""
    for network, dataset, least in (("lenet", "mnist", 98.5), ("gcn", "cora", 81.0)):
        prepared = {"lenet": prepare_lenet, "gcn": prepare_gcn}[network](dataset, shared_data, 0)
        assert prepared.shipped() is not None, f"{network} on {dataset} would be trained"
        assert evaluate(prepared.trained(), prepared.test_set.subset(1000, seed=0)).percent >= least


def test_a_network_is_trained_on_its_own_data():
    with pytest.raises(ValueError, match="lenet is trained on digits, mnist, fashion_mnist, not on 'cifar10'"):
        networks.load("lenet", "cifar10")
    with pytest.raises(ValueError, match="gcn is trained on cora, not on 'mnist'"):
        networks.load("gcn", "mnist")
    with pytest.raises(ValueError, match="not on 'cifra10' .did you mean 'cifar10'"):
        networks.load("alexnet", "cifra10")
    with pytest.raises(ValueError, match="unknown network 'alexnt' .did you mean 'alexnet'"):
        networks.load("alexnt", "cifar10")
