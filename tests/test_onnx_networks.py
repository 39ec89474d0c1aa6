"""Networks that other tools wrote, as ONNX Runtime computes them in float, and as the torch path does in integers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import carrysave as cs
from carrysave.networks.lenet import LeNet
from carrysave.networks.residual import resnet20
from carrysave.onnx_import import load
from carrysave.recipes import Arithmetic, Recipe, Rule
from onnx_models import exported, onnx, random, runtime

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MULTIPLIERS = ("exact", "kulkarni", "drum:k=5,signed=true")


class Block(nn.Module):
    """A transformer block over sequences [N, length, width], and a classifier of their mean."""

    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down, self.head = nn.Linear(width, 2 * width), nn.Linear(2 * width, width), nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(n, length, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        scores = torch.softmax(torch.matmul(q, k.transpose(-2, -1)) / 4.0, -1)
        x = x + self.out(torch.matmul(scores, v).transpose(1, 2).reshape(n, length, width))
        x = x + self.down(torch.nn.functional.gelu(self.up(self.norm2(x))))
        return self.head(x.mean(1))


class GCN(nn.Module):
    """Two graph convolutions; rows of the adjacency come in, features and adjacency are stored."""

    adjacency: torch.Tensor
    features: torch.Tensor

    def __init__(self, nodes: int = 12, features: int = 9) -> None:
        super().__init__()
        self.register_buffer("adjacency", torch.softmax(random(nodes, nodes), 1))
        self.register_buffer("features", random(nodes, features, seed=1).abs())
        self.fc1, self.fc2 = nn.Linear(features, 8, bias=False), nn.Linear(8, 3, bias=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(torch.matmul(self.adjacency, self.fc1(self.features)))
        return torch.matmul(rows, self.fc2(hidden))


def network(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    if name == "lenet":
        return LeNet(size=16).eval(), random(4, 1, 16, 16)
    if name == "resnet20":
        return resnet20().eval(), random(2, 3, 8, 8)
    return (Block().eval(), random(5, 7, 16)) if name == "block" else (GCN().eval(), torch.softmax(random(4, 12), 1))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Each network written once, by either exporter of torch."""
    folder, known = tmp_path_factory.mktemp("exported"), {}

    def file(name: str, dynamo: bool = False) -> Path:
        if (name, dynamo) not in known:
            model, x = network(name)
            # optimised, the products of what is stored are computed by the exporter and are not in the file
            known[name, dynamo] = exported(folder / f"{name}{dynamo}.onnx", model, x, dynamo, optimize=name != "gcn")
        return known[name, dynamo]

    return file


def products(model: nn.Module) -> list[Any]:
    return [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def with_parameters_of(net: nn.Module, name: str) -> nn.Module:
    """The network in torch with the file's parameters: where the exporter folded a batch norm into a convolution, the
    norm goes. Both sides hold their layers in the order in which they compute, but for the shortcuts of a residual
    network, which the shapes tell apart.
    """
    model, _ = network(name)
    if name != "resnet20":
        return model
    for module in list(model.modules()):
        for key, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, key, nn.Identity())
    rest = products(net)
    for layer in products(model):
        twin = next(other for other in rest if other.weight.shape == layer.weight.shape)
        rest.remove(twin)
        layer.weight, layer.bias = twin.weight, twin.bias
    assert not rest
    return model


@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", ["lenet", "resnet20", "block", "gcn"])
def test_exported_by_torch(name: str, dynamo: bool, files: Any) -> None:
    """In float as ONNX Runtime, to float32's rounding; in integers as the torch module, bit for bit."""
    model, x = network(name)
    net = load(files(name, dynamo))
    with torch.no_grad():
        plain = net(x)
    np.testing.assert_allclose(plain.numpy(), runtime(files(name, dynamo), x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(plain, model(x).detach(), rtol=1e-5, atol=1e-6)

    twin = with_parameters_of(net, name)
    mine, theirs = cs.calibrate(net, x, samples=len(x)), cs.calibrate(twin, x, samples=len(x))
    kinds = [record.kind for record in theirs.records.values()]
    assert sorted(record.kind for record in mine.records.values()) == sorted(kinds)
    assert sum(mine.macs.values()) == sum(theirs.macs.values())
    for spec in MULTIPLIERS[: 2 if name == "resnet20" else 3]:
        emulated, expected = (cs.emulate(m, c, multiplier=spec) for m, c in ((net, mine), (twin, theirs)))
        assert len(emulated.replaced) == len(kinds)
        with torch.no_grad():
            assert torch.equal(emulated(x), expected(x)), spec
            assert not torch.equal(emulated(x), plain)


def test_recipes_find_layers_by_their_nodes_names(files: Any) -> None:
    model, x = network("lenet")
    net = load(files("lenet"))
    assert list(net.names.values()) == ["/conv1/Conv", "/conv2/Conv", "/fc1/Gemm", "/fc2/Gemm"]
    calibration, own = cs.calibrate(net, x, samples=4), cs.calibrate(model, x, samples=4)
    coarse = Arithmetic("affine:bits=4", "affine:bits=5", "kulkarni", weight_scales="channel")

    def recipe(first: str) -> Recipe:
        return Recipe([Rule(first, coarse), Rule("*fc*", Arithmetic())])

    emulated = cs.emulate(net, calibration, recipe("/conv1/Conv"))
    with torch.no_grad():
        assert torch.equal(emulated(x), cs.emulate(model, own, recipe("conv1"))(x))
    assert [left.name for left in emulated.left] == ["/conv2/Conv"]
    attention = load(files("block"))
    names = cs.calibrate(attention, network("block")[1], samples=5).layers
    assert "/MatMul.matmul0" in names and "/MatMul_1.matmul0" in names


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1"])
def test_networks_of_the_onnx_package(name: str, tmp_path: Path) -> None:
    """The package's small copies of published networks, once as they are and once with weights that differ."""
    file = LIGHT / f"light_{name}.onnx"
    net = load(file)
    x = torch.from_numpy((np.arange(3 * 224 * 224, dtype=np.float64) / (3 * 224 * 224)).astype(np.float32))
    x = x.reshape(1, 3, 224, 224)
    expected = onnx.TensorProto()
    expected.ParseFromString((LIGHT / f"light_{name}_output_0.pb").read_bytes())
    with torch.no_grad():
        np.testing.assert_allclose(net(x).numpy(), onnx.numpy_helper.to_array(expected), rtol=1e-5, atol=1e-7)
        file = with_own_weights(file, tmp_path / "own.onnx")
        found, wanted = load(file)(x).numpy(), runtime(file, x)
    assert wanted.std() > 1e-4
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_integers_of_a_network_of_the_onnx_package(tmp_path: Path) -> None:
    """SqueezeNet under exact multipliers: every layer gives the whole numbers that a convolution of codes gives."""
    net = load(with_own_weights(LIGHT / "light_squeezenet.onnx", tmp_path / "own.onnx"))
    x = random(1, 3, 224, 224)
    calibration = cs.calibrate(net, x, samples=1)
    emulated = cs.emulate(net, calibration, multiplier="exact")
    seen: dict[str, Any] = {}
    for name, layer in emulated.named_modules():
        layer.register_forward_hook(lambda layer, given, output, name=name: seen.update({name: (layer, given, output)}))
    with torch.no_grad():
        emulated(x)
    for name in calibration.layers:
        layer, (given,), output = seen[name]
        first, second = calibration.quantizers(name, Arithmetic())
        codes, weights = first.codes(given) - first.zero, second.codes(layer.weight) - second.zero
        scale = first.scale * second.scale
        bias = torch.round(layer.bias.double() / scale.double())
        sums = nn.functional.conv2d(codes.double(), weights.double(), bias, layer.stride, layer.padding)
        assert torch.equal(output, sums.float() * scale), name
    assert len(calibration.layers) == 26


def with_own_weights(source: Path, target: Path) -> Path:
    """A copy whose parameters, all alike in the original, are random: convolutions keep the size of what passes."""
    model, generator = onnx.load(source), np.random.default_rng(0)
    shapes = {part.name: onnx.numpy_helper.to_array(part) for part in model.graph.initializer}
    kept = []
    for part in model.graph.node:
        if part.op_type != "ConstantOfShape":
            kept.append(part)
            continue
        shape = tuple(int(size) for size in shapes[part.input[0]])
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        values = generator.normal(0, (2 / fan_in) ** 0.5, shape) if len(shape) > 1 else generator.uniform(0.5, 1, shape)
        stored = onnx.numpy_helper.from_array(values.astype(np.float32), part.output[0])
        model.graph.initializer.append(stored)
    model.ir_version = 7  # from 4 on, what is stored need not be an input as well
    del model.graph.node[:]
    model.graph.node.extend(kept)
    target.write_bytes(model.SerializeToString())
    return target


def test_written_by_the_converter_of_scikit_learn(tmp_path: Path) -> None:
    """An MLP on the digits: probabilities as scikit-learn and ONNX Runtime give them, in integers as torch's layers."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx, which writes the file")
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    pixels, classes = (np.asarray(part) for part in load_digits(return_X_y=True))
    rows = (pixels / 16).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops before it converges
        mlp = MLPClassifier((32, 16), max_iter=15, random_state=0).fit(rows[:900], classes[:900])
        for zipmap in (False, True):
            model = skl2onnx.to_onnx(mlp, rows[:1], options={id(mlp): {"zipmap": zipmap}})
            (tmp_path / f"{zipmap}.onnx").write_bytes(model.SerializeToString())
    x = torch.from_numpy(rows[900:])
    net = load(tmp_path / "False.onnx")
    assert net.notes == ("of the outputs label, probabilities, probabilities is computed",)
    with torch.no_grad():
        plain = net(x).numpy()
        assert np.array_equal(load(tmp_path / "True.onnx")(x).numpy(), plain)
    np.testing.assert_allclose(plain, runtime(tmp_path / "False.onnx", x, output="probabilities"), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(plain, np.asarray(mlp.predict_proba(rows[900:])), rtol=1e-4, atol=1e-6)
    labels = load(tmp_path / "False.onnx", ["label"])
    assert np.array_equal(labels(x).numpy(), np.asarray(mlp.predict(rows[900:])))

    layers: list[nn.Module] = []
    for weight, bias in zip(mlp.coefs_, mlp.intercepts_, strict=True):
        layer = nn.Linear(*weight.shape)
        layer.weight = nn.Parameter(torch.tensor(weight.T, dtype=torch.float32))
        layer.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float32))
        layers += [layer, nn.ReLU()]
    twin = nn.Sequential(*layers[:-1], nn.Softmax(1)).eval()
    mine, theirs = cs.calibrate(net, x, samples=64), cs.calibrate(twin, x, samples=64)
    for spec in MULTIPLIERS:
        with torch.no_grad():
            found, expected = cs.emulate(net, mine, multiplier=spec)(x), cs.emulate(twin, theirs, multiplier=spec)(x)
        assert torch.equal(found, expected) and not np.array_equal(found.numpy(), plain)
