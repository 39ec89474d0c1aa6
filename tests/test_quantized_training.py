"""Training with operands in 8 bits: what the layers compute with, what is trained, and what is left behind."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from carrysave.calibration import calibrate
from carrysave.data import Dataset
from carrysave.emulation import emulate
from carrysave.quantized_training import quantized, train_quantized
from carrysave.recipes import Arithmetic


class Mixed(nn.Module):
    """A convolution, a linear layer, a product of two activations, and functional ones."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv = nn.Conv2d(1, 3, 3, padding=1)
        self.fc = nn.Linear(48, 6)
        self.own = nn.Parameter(torch.randn(4, 6))
        self.kernel = nn.Parameter(torch.randn(1, 1, 3, 3))

    def forward(self, x):
        x = torch.relu(self.conv(F.conv2d(x, self.kernel, padding=1)))
        x = F.linear(torch.relu(self.fc(x.flatten(1))), self.own)
        return torch.matmul(x[:, None], x[:, :, None]).reshape(-1, 1) * x


@pytest.fixture
def images():
    return torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_it_computes_what_the_emulated_network_computes(images):
    """The represented values' products in float are the integers' to a float's rounding, but for the bias's own."""
    model = Mixed().eval()
    calibration = calibrate(model, images)
    arithmetic = Arithmetic.natural("exact")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    plain = model(images)
    integer = emulate(model, calibration, multiplier="exact")(images)
    with quantized(model, calibration, arithmetic):
        inside = model(images)
        assert model.state_dict().keys() != before.keys()
    assert torch.equal(model(images), plain) and model.state_dict().keys() == before.keys()
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert (inside - integer).abs().max() < 0.2 * (plain - integer).abs().max() and not torch.equal(inside, plain)


def test_gradients_pass_straight_through(images):
    layer = nn.Linear(16, 2)
    calibration = calibrate(layer, images.flatten(1))
    activation, weight = calibration.quantizers("", Arithmetic.natural("exact"))
    x = images.flatten(1).requires_grad_()
    with quantized(layer, calibration, Arithmetic.natural("exact")):
        layer(x).sum().backward()
        original = dict(layer.named_parameters())["parametrizations.weight.original"]
        assert original.grad is not None
        assert torch.allclose(original.grad, activation(x).detach().sum(0).expand(2, -1))
    assert x.grad is not None
    assert torch.allclose(x.grad, weight(layer.weight).detach().sum(0).expand(20, -1))


def test_the_model_is_itself_again_after_an_error(images):
    model = Mixed()
    calibration = calibrate(model, images)
    names = set(model.state_dict())
    with pytest.raises(KeyError), quantized(model, calibration, Arithmetic.natural("exact")):
        raise KeyError
    assert set(model.state_dict()) == names and not any(m._forward_hooks for m in model.modules())
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_training_goes_on_in_8_bits_and_from_its_checkpoint(images, tmp_path):
    data = Dataset(images, (images.mean((1, 2, 3)) > 0.5).long(), "bright")

    def ends(model: nn.Module) -> dict[str, torch.Tensor]:
        history = train_quantized(model, data, 2, 0, 0.01, batch=8, checkpoint=tmp_path / "net.training")
        assert [epoch.number for epoch in history] == [1, 2]
        return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    first = ends(Mixed())
    untrained = dict(Mixed().named_parameters())
    assert not any(torch.equal(first[name], untrained[name]) for name in first)
    second = ends(Mixed())  # which finds all epochs in the checkpoint
    assert all(torch.equal(first[name], second[name]) for name in first)
