"""Emulated layers: the integer semantics by hand and against torch's float layers, padding, gradients, checkpoints."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import carrysave as cs
from carrysave.layers import EmulatedConv2d, EmulatedLinear
from carrysave.recipes import Arithmetic, Recipe, Rule


def _emulated(layer: nn.Module, x: torch.Tensor, arithmetic: Arithmetic, engine: str | None = None) -> Any:
    calibration = cs.calibrate(layer, x, samples=len(x))
    return cs.emulate(layer, calibration, Recipe([Rule("*", arithmetic)]), engine=engine)


def _seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CONVS = [
    {},
    {"stride": 2, "padding": 1},
    {"padding": (2, 1), "dilation": 2},
    {"padding": "same"},
    {"padding": "same", "kernel_size": (2, 4)},
    {"padding": "valid"},
    {"groups": 2, "padding": 1, "bias": False},
    {"groups": 4, "out_channels": 8, "padding": 1},
    {"padding": 1, "padding_mode": "reflect"},
    {"padding": (0, 2), "padding_mode": "circular"},
    {"padding": "same", "padding_mode": "replicate", "kernel_size": 2},
]
ARITHMETICS = [
    Arithmetic(),
    Arithmetic(weight_scales="channel"),
    Arithmetic(weight="sign_magnitude:bits=8", weight_scales="channel", ranges="mse"),
    Arithmetic("fixed:bits=8", "fixed:bits=8", "exact:signed=true"),
    Arithmetic("affine:bits=4", "affine:bits=5", ranges="percentile:99.9"),
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")  # torch's own layer
@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
@pytest.mark.parametrize("options", CONVS, ids=str)
def test_exact_emulation_is_the_float_layer_on_represented_values(
    options: dict[str, Any], arithmetic: Arithmetic
) -> None:
    torch.manual_seed(0)
    settings = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, **options}
    layer = nn.Conv2d(**settings)
    x = _seeded(3, 4, 7, 8)
    emulated = _emulated(layer, x, arithmetic)
    assert emulated.replaced[0].plan.engine in ("exact", "table")  # look-ups are cheaper in narrow groups
    assert isinstance(emulated, EmulatedConv2d)
    # torch's own float64 convolution of the fake-quantised input, weight and bias
    core = emulated.core
    _, quantizer, scale = core.prepared(emulated.weight, emulated.bias, emulated.geometry())
    twin = copy.deepcopy(layer).double()
    twin.weight.data = quantizer.values(quantizer.codes(layer.weight.detach())).double()
    if twin.bias is not None:
        assert layer.bias is not None
        twin.bias.data = torch.round(layer.bias.detach().double() / scale.double()) * scale.double()
    expected = twin(core.activation(x).double())
    got = emulated(x)
    assert got.dtype == torch.float32 and got.shape == expected.shape == layer(x).shape
    assert torch.allclose(got.double(), expected, rtol=2e-6, atol=2e-6 * float(expected.detach().abs().max()))
    # and where the formats are wide enough, near the float layer itself
    if arithmetic in ARITHMETICS[:2]:
        assert float((got - layer(x)).detach().abs().max()) < 0.05


@pytest.mark.parametrize("arithmetic", ARITHMETICS, ids=str)
def test_linear_takes_any_leading_shape(arithmetic: Arithmetic) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(5, 3)
    x = _seeded(2, 4, 5)
    emulated = _emulated(layer, x, arithmetic)
    assert isinstance(emulated, EmulatedLinear)
    values = emulated.core.prepared(layer.weight, layer.bias, cs.engines.problem.Geometry("linear"))[1]
    expected = F.linear(emulated.core.activation(x), values(layer.weight), layer.bias)
    assert torch.allclose(emulated(x), expected, atol=2e-4 if "4" not in arithmetic.parts[1].spec else 3e-2)
    assert emulated(x[0, 0]).shape == (3,)
    assert torch.equal(emulated(x)[1, 2], emulated(x[1, 2]))


def test_the_result_is_the_integer_rounded_once() -> None:
    layer = nn.Linear(3, 1)
    layer.weight.data = torch.tensor([[-1.0, 0.5, 127 / 128]])
    layer.bias.data = torch.tensor([0.25])
    x = torch.tensor([[0.0, 1.0, 255 / 128]])
    emulated = _emulated(layer, x, Arithmetic(multiplier="kulkarni"))
    core = emulated.core
    # by hand: sx = sw = 1/128; zx = 0, x = 0, 128, 255; zw = 128, w = 0, 192, 255; bias 0.25 * 128 * 128 = 4096
    assert (float(core.activation.scale), int(core.activation.zero)) == (1 / 128, 0)
    _, quantizer, scale = core.prepared(emulated.weight, emulated.bias, cs.engines.problem.Geometry("linear"))
    assert quantizer.codes(layer.weight).tolist() == [[0, 192, 255]] and int(quantizer.zero) == 128
    from carrysave.tables import multiply

    products = multiply(cs.multiplier("kulkarni"), np.array([0, 128, 255]), np.array([0, 192, 255]))
    integer = int(products.sum()) - 128 * (0 + 128 + 255) + 4096
    assert float(emulated(x).detach()) == float(np.float32(integer) * np.float32(scale))


@pytest.mark.parametrize("spec", ["kulkarni", "or_compressed", "recovery:c=6", "drum:k=4"])
def test_engines_give_the_same_layer_bit_for_bit(spec: str) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, padding=1, groups=1)
    x = _seeded(2, 3, 6, 6).relu()
    calibration = cs.calibrate(layer, x)
    results = [cs.emulate(layer, calibration, multiplier=spec, engine=e)(x) for e in (None, "table", "reference")]
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_gradients_are_those_of_the_float_layer_at_the_represented_values() -> None:
    torch.manual_seed(0)
    for layer, x in (
        (nn.Conv2d(2, 4, 3, padding=1, stride=2, groups=2), _seeded(2, 2, 6, 6)),
        (nn.Linear(6, 3), _seeded(5, 6)),
    ):
        emulated = _emulated(layer, x, Arithmetic(multiplier="kulkarni"))
        geometry = emulated.geometry() if isinstance(layer, nn.Conv2d) else cs.engines.problem.Geometry("linear")
        quantizer = emulated.core.prepared(emulated.weight, emulated.bias, geometry)[1]
        twin: Any = copy.deepcopy(layer)
        twin.weight.data = quantizer.values(quantizer.codes(layer.weight.detach()))
        x1, x2 = x.clone().requires_grad_(), emulated.core.activation(x).detach().requires_grad_()
        seed = _seeded(*layer(x).shape, seed=5)
        (emulated(x1) * seed).sum().backward()
        (twin(x2) * seed).sum().backward()
        for got, expected in (
            (x1.grad, x2.grad),
            (emulated.weight.grad, twin.weight.grad),
            (emulated.bias.grad, twin.bias.grad),
        ):
            assert got is not None and torch.allclose(got, expected, atol=1e-5)


def test_saturated_activations_have_no_gradient() -> None:
    layer = nn.Linear(2, 1)
    emulated = _emulated(layer, torch.tensor([[0.0, 1.0]]), Arithmetic())
    x = torch.tensor([[0.5, 3.0]], requires_grad=True)
    emulated(x).sum().backward()
    assert x.grad is not None and x.grad[0, 0] != 0 and x.grad[0, 1] == 0


def test_training_lowers_the_loss_and_moves_the_weight_scales() -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    x, y = _seeded(24, 1, 6, 6), torch.arange(24) % 3
    emulated = cs.emulate(model, cs.calibrate(model, x), multiplier="kulkarni")
    optimiser = torch.optim.SGD(emulated.parameters(), lr=0.1)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = F.cross_entropy(emulated(x), y)
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert not torch.equal(emulated[0].weight, model[0].weight)


def test_changed_weights_are_seen_however_they_change() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    x = _seeded(5, 4)
    emulated = _emulated(layer, x, Arithmetic())
    before = emulated(x).detach()
    emulated.weight.data.mul_(2)  # no version counter moves
    emulated.bias.data.mul_(2)
    assert torch.allclose(emulated(x).detach(), 2 * before, atol=0.05)


def test_float_checkpoints_fit_and_copies_compute_the_same() -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(32, 2)).eval()
    x = _seeded(4, 1, 6, 6)
    emulated = cs.emulate(model, cs.calibrate(model, x))
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.mul_(-0.9)
    emulated.load_state_dict(other.state_dict(), strict=True)
    expected = emulated(x)
    assert float((expected - other(x)).detach().abs().max()) < 0.05 * float(other(x).detach().abs().max())
    assert list(emulated.state_dict()) == list(model.state_dict())
    assert torch.equal(copy.deepcopy(emulated)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(emulated))(x), expected)
    with torch.inference_mode():
        assert torch.equal(emulated(x), expected)


def test_bad_values_name_the_layer() -> None:
    layer: Any = nn.Sequential(nn.Linear(2, 2))
    emulated = cs.emulate(layer, cs.calibrate(layer, torch.rand(4, 2)))
    with pytest.raises(ValueError, match=r"layer '0': an activation is NaN or infinite \(1 of 2 values\)"):
        emulated(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match=r"layer '0': 2 input channels expected, got a tensor \(1, 3\)"):
        emulated(torch.rand(1, 3))
    emulated[0].weight.data[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"layer '0': a weight is NaN or infinite \(1 of 4 values\)"):
        emulated(torch.rand(1, 2))
    with torch.no_grad():
        layer[0].bias.fill_(1e30)
    with pytest.raises(ValueError, match="layer '0': a bias is .* times the product of the scales"):
        cs.emulate(layer, cs.calibrate(layer, torch.rand(4, 2)))


def test_empty_and_unbatched_inputs() -> None:
    layer = nn.Conv2d(1, 2, 3)
    emulated = _emulated(layer, torch.rand(2, 1, 5, 5), Arithmetic(multiplier="kulkarni"))
    assert emulated(torch.rand(0, 1, 5, 5)).shape == (0, 2, 3, 3)
    image = torch.rand(1, 5, 5)
    assert torch.equal(emulated(image), emulated(image[None])[0])
    assert emulated(torch.rand(2, 1, 5, 5, dtype=torch.float64)).dtype == torch.float64
