"""Quantized ONNX files: the scales and zeros of the file are used, and integers are those of the torch path."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import carrysave as cs
from carrysave.calibration import Calibration
from carrysave.formats import FORMATS
from carrysave.layers import EmulatedConv2d, EmulatedLinear, Emulation
from carrysave.onnx_import import load
from carrysave.quantizers import Quantizer
from carrysave.recipes import Arithmetic
from carrysave.settings import Setting
from onnx_models import exported, node, onnx, random, runtime, written

quantization = pytest.importorskip("onnxruntime.quantization", reason="needs ONNX Runtime's quantizer")
FORMS = {  # format, activations, weights, scales per channel
    "qdq, unsigned by signed": ("QDQ", "QUInt8", "QInt8", False),
    "qdq, signed, per channel": ("QDQ", "QInt8", "QInt8", True),
    "qdq, unsigned": ("QDQ", "QUInt8", "QUInt8", False),
    "operators": ("QOperator", "QUInt8", "QInt8", False),
    "operators, per channel": ("QOperator", "QUInt8", "QInt8", True),
}


class Net(nn.Module):
    """Convolutions with and without a border, pooling, a sum of two paths, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, stride=2, groups=2)
        self.pool, self.fc1, self.fc2 = nn.MaxPool2d(2), nn.Linear(54, 12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.pool(self.conv1(x)))
        x = torch.relu(self.conv2(x))
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class _Reader(quantization.CalibrationDataReader):
    def __init__(self, x: torch.Tensor):
        self.batches: Iterator[torch.Tensor] = iter(x.split(4))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"x": batch.numpy()}


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return random(12, 2, 16, 16).abs()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, images: torch.Tensor) -> Path:
    torch.manual_seed(0)
    return exported(tmp_path_factory.mktemp("float") / "net.onnx", Net(), images)


def quantized(plain: Path, target: Path, images: torch.Tensor, form: str) -> Path:
    kind, activation, weight, per_channel = FORMS[form]
    quantization.quantize_static(
        plain,
        target,
        _Reader(images),
        quant_format=quantization.QuantFormat[kind],
        activation_type=quantization.QuantType[activation],
        weight_type=quantization.QuantType[weight],
        per_channel=per_channel,
    )
    return target


def stated(file: Path) -> list[tuple[str, list[np.ndarray]]]:
    """What the file itself says of each layer: its operator, and codes, scales and zeros in the order
    [activation scale, zero, weight codes, scale, zero, bias codes].
    """
    graph = onnx.load(file).graph
    arrays = {part.name: onnx.numpy_helper.to_array(part) for part in graph.initializer}
    decoded = {part.output[0]: list(part.input) for part in graph.node if part.op_type == "DequantizeLinear"}
    found = []
    for part in graph.node:
        if part.op_type in ("Conv", "Gemm"):
            x, w, b = (decoded[name] for name in part.input)
            found.append((part.op_type, [*x[1:], *w, b[0]]))
        elif part.op_type in ("QLinearConv", "QGemm"):
            names = list(part.input)
            bias = names[8] if part.op_type == "QLinearConv" else names[6]
            found.append((part.op_type, [*names[1:6], bias]))
    return [(kind, [arrays[name] for name in names]) for kind, names in found]


def torch_layer(net_layer: Any, parts: list[np.ndarray], spec: str) -> Any:
    """The layer in torch with the file's numbers, computing with codes from -128 or from 0 as the multiplier takes."""
    scale_x, zero_x, codes, scale_w, zero_w, bias = (torch.from_numpy(np.array(part)) for part in parts)
    fmt = FORMATS.parse("fixed:bits=8" if cs.multiplier(spec).signed else "affine:bits=8")

    def quantizer(scale: torch.Tensor, zero: torch.Tensor) -> Quantizer:
        return Quantizer(fmt, scale.squeeze(), zero.to(torch.int64).squeeze() + fmt.low - torch.iinfo(zero.dtype).min)

    first, second = quantizer(scale_x, zero_x), quantizer(scale_w, zero_w)
    weights = second.values(codes.to(torch.int64) + fmt.low - torch.iinfo(codes.dtype).min)
    layer = copy.deepcopy(net_layer)
    assert torch.equal(layer.weight, weights)
    layer.bias = nn.Parameter(bias.to(torch.float32) * (first.scale * second.scale))
    core = Emulation(Setting("by hand", Arithmetic(fmt, fmt, spec), first, second))
    return EmulatedConv2d.of(layer, core) if isinstance(layer, nn.Conv2d) else EmulatedLinear.of(layer, core)


@pytest.mark.parametrize("form", FORMS)
def test_scales_of_the_file_are_used(form: str, plain: Path, images: torch.Tensor, tmp_path: Path) -> None:
    """Every layer gives the integers of the torch path under the numbers in the file; with exact multipliers the whole
    is what ONNX Runtime computes.
    """
    file = quantized(plain, tmp_path / "q.onnx", images, form)
    net = load(file)
    calibration = cs.calibrate(net, 100 * images, samples=4)  # other ranges than the file was made with
    numbers = stated(file)
    assert len(calibration.records) == len(numbers) == 4 and not net.notes
    expected = runtime(file, images, optimised=False)
    with torch.no_grad():
        np.testing.assert_allclose(net(images).numpy(), expected, rtol=1e-6)
        for spec in ("exact", "kulkarni", "exact:signed=true", "drum:k=5,signed=true"):
            emulated = cs.emulate(net, calibration, multiplier=spec)
            seen: list[tuple[torch.Tensor, torch.Tensor]] = []
            layers = [m for m in emulated.modules() if isinstance(m, EmulatedConv2d | EmulatedLinear)]
            for layer in layers:
                layer.register_forward_hook(lambda _, given, output, seen=seen: seen.append((given[0], output)))
            found = emulated(images)
            originals = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
            for (x, output), layer, (kind, parts) in zip(seen, originals, numbers, strict=True):
                assert torch.equal(output, torch_layer(layer, parts, spec)(x)), (spec, kind)
            if "exact" in spec:
                np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
            else:
                assert not torch.equal(found, torch.from_numpy(expected))


def test_calibration_keeps_them_in_its_file(plain: Path, images: torch.Tensor, tmp_path: Path) -> None:
    net = load(quantized(plain, tmp_path / "q.onnx", images, "qdq, signed, per channel"))
    calibration = cs.calibrate(net, images, samples=4)
    calibration.save(tmp_path / "c.npz")
    again = Calibration.load(tmp_path / "c.npz")
    assert [r.given for r in again.records.values()] == [r.given for r in calibration.records.values()]
    name = calibration.layers[0]
    arithmetic = Arithmetic.natural("exact")
    mine, theirs = again.operands(name, arithmetic), calibration.operands(name, arithmetic)
    assert np.array_equal(mine.activation, theirs.activation) and np.array_equal(mine.weight, theirs.weight)
    assert mine.activation.sum() == pytest.approx(calibration[name].macs)


def test_a_multiplier_too_narrow_for_the_files_codes(plain: Path, images: torch.Tensor, tmp_path: Path) -> None:
    net = load(quantized(plain, tmp_path / "q.onnx", images, "qdq, unsigned"))
    calibration = cs.calibrate(net, images, samples=4)
    with pytest.raises(
        ValueError, match=r"layer '/conv1/Conv': the model brings its own codes; exact:n=4: .* larger n"
    ):
        cs.emulate(net, calibration, multiplier="exact:n=4")
    assert len(cs.emulate(net, calibration, multiplier="exact:n=12").replaced) == 4


@pytest.mark.parametrize("signed", [False, True])
def test_integer_operators(signed: bool, tmp_path: Path) -> None:
    """ConvInteger and MatMulInteger: the integers of ONNX Runtime, by the engines of any exact multiplier."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (2, 3, 6, 6), dtype=torch.uint8, generator=generator)
    w = torch.randint(0, 256, (4, 3, 3, 3), dtype=torch.uint8, generator=generator)
    v = torch.randint(0, 256, (6, 5), dtype=torch.uint8, generator=generator)
    zero = {"zx": np.uint8(100), "zw": np.uint8(120)}
    conv = node("ConvInteger", ["x", "w", "zx", "zw"], pads=[1, 1, 1, 1], name="conv")
    product = node("MatMulInteger", ["x", "v", "zx", "zw"], name="product")
    for one, weights in ((conv, {"w": w.numpy()}), (product, {"v": v.numpy()})):
        file = written(tmp_path / "i.onnx", [one], {"x": ["n", 3, 6, 6]}, stored={**zero, **weights}, kinds=(2, 6))
        expected = torch.from_numpy(runtime(file, x))
        net = load(file)
        assert torch.equal(net(x), expected)
        calibration = cs.calibrate(net, x, samples=2)
        spec = "exact:signed=true" if signed else "exact"
        assert torch.equal(cs.emulate(net, calibration, multiplier=spec)(x), expected)
        rough = cs.emulate(net, calibration, multiplier="kulkarni")(x)
        assert rough.dtype == torch.int32 and not torch.equal(rough, expected)


def test_a_product_of_two_activations(tmp_path: Path) -> None:
    """Attention's products, with codes, scales and zeros of the file on both sides: by whole numbers."""
    stored = {"sx": np.float32(0.02), "zx": np.uint8(117), "sz": np.float32(0.05), "zz": np.int8(-9)}
    nodes = [
        node("QuantizeLinear", ["x", "sx", "zx"], ["qx"]),
        node("DequantizeLinear", ["qx", "sx", "zx"], ["dx"]),
        node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        node("QuantizeLinear", ["t", "sz", "zz"], ["qt"]),
        node("DequantizeLinear", ["qt", "sz", "zz"], ["dt"]),
        node("MatMul", ["dx", "dt"], name="scores"),
    ]
    file = written(tmp_path / "a.onnx", nodes, {"x": ["n", 4, 6]}, stored=stored)
    x = random(3, 4, 6)
    net = load(file)
    np.testing.assert_allclose(net(x).numpy(), runtime(file, x, optimised=False), rtol=1e-5, atol=1e-6)
    calibration = cs.calibrate(net, x, samples=3)
    assert calibration.layers == ["scores.matmul0"]
    left = np.clip(np.rint(x.numpy() / stored["sx"]) + 117, 0, 255).astype(np.int64) - 117
    right = np.clip(np.rint(x.numpy() / stored["sz"]) - 9, -128, 127).astype(np.int64).transpose(0, 2, 1) + 9
    expected = (left @ right).astype(np.float32) * (stored["sx"] * stored["sz"])
    for spec in ("exact", "exact:signed=true", "exact:n=10"):
        assert np.array_equal(cs.emulate(net, calibration, multiplier=spec)(x).numpy(), expected), spec


def test_ranges_that_the_graph_computes_are_calibrated(plain: Path, images: torch.Tensor, tmp_path: Path) -> None:
    """Dynamic quantization has an activation scale for each batch: the weights' codes are the file's, the
    activations' are not.
    """
    file = tmp_path / "dynamic.onnx"
    quantization.quantize_dynamic(plain, file, weight_type=quantization.QuantType.QInt8)
    net = load(file)
    with torch.no_grad():
        np.testing.assert_allclose(net(images).numpy(), runtime(file, images), rtol=1e-4, atol=1e-5)
    calibration = cs.calibrate(net, images, samples=12)
    given = [record.given for record in calibration.records.values()]
    assert given and all(g is not None and g.activation is None and g.weight is not None for g in given)
    with torch.no_grad():
        emulated = cs.emulate(net, calibration, multiplier="exact")(images)
    assert float((emulated - net(images)).abs().max()) < 0.05 * float(net(images).abs().max())


def test_scales_that_no_engine_can_keep_are_told(tmp_path: Path) -> None:
    """Per input channel of the weights: computed again, and a note says so."""
    w = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    nodes = [
        node("DequantizeLinear", ["w", "s"], ["v"], axis=0),
        node("MatMul", ["x", "v"], name="product"),
    ]
    scales = np.array([0.1, 0.2, 0.3], np.float32)
    file = written(tmp_path / "s.onnx", nodes, {"x": ["n", 3]}, stored={"w": w, "s": scales})
    net = load(file)
    assert net.notes == ("the scales of 'v' differ along axis 0, not between outputs; they are computed again",)
    x = random(5, 3)
    np.testing.assert_allclose(net(x).detach().numpy(), runtime(file, x), rtol=1e-5, atol=1e-6)
    assert cs.calibrate(net, x, samples=5)["product"].given is None


def test_a_scale_that_is_none(tmp_path: Path) -> None:
    nodes = [node("DequantizeLinear", ["w", "s"], ["v"], name="dq"), node("MatMul", ["x", "v"])]
    stored = {"w": np.ones((3, 4), np.int8), "s": np.float32(0)}
    file = written(tmp_path / "s.onnx", nodes, {"x": ["n", 3]}, stored=stored)
    with pytest.raises(
        ValueError, match=r"s\.onnx: node 'dq' \(DequantizeLinear\): its scale is not a positive number"
    ):
        load(file)
    assert onnx.load(file).graph.node[0].name == "dq"
