"""What a user's model does wrong is said with the model, the layer and the images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import carrysave as cs
from carrysave.data import Dataset
from carrysave.running import ModelError


def images(*shape: int) -> Dataset:
    return Dataset(torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 2, "random")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 2, 3), nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return self.fc(self.conv(input=x).flatten(1))


class Pair(Net):
    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(x), x


class Raises(Net):
    def forward(self, x: torch.Tensor) -> Any:
        raise KeyError("my own")


def test_a_layer_called_by_keyword_is_calibrated() -> None:
    assert cs.calibrate(Net(), images(1, 6, 6)).layers == ["conv", "fc"]


@pytest.mark.parametrize("doing", [cs.calibrate, cs.evaluate])
def test_a_model_that_fails_is_named_with_layer_and_images(doing: Any) -> None:
    net = Net()
    with pytest.raises(ModelError, match=r"Net in layer 'fc' \(Linear\) failed on images of shape \(4, 1, 8, 8\)"):
        doing(net, images(1, 8, 8))
    with pytest.raises(ModelError, match=r"\(4, 3, 6, 6\), float32: RuntimeError"):
        doing(net, images(3, 6, 6))
    with pytest.raises(
        ModelError, match=r"Raises failed on images of shape \(4, 1, 6, 6\), float32: KeyError: 'my own'"
    ):
        doing(Raises(), images(1, 6, 6))
    with pytest.raises(ModelError, match=r"the weights are float64; images are float32, so use model.float\(\)"):
        doing(Net().double(), images(1, 6, 6))
    with pytest.raises(ModelError, match="the weights are float16"):
        doing(Net().half(), images(1, 6, 6))
    assert not net.fc._forward_hooks and not net.fc._forward_pre_hooks and net.training


def test_a_tuple_is_no_answer() -> None:
    with pytest.raises(ModelError, match=r"Pair must return one tensor \(N, classes\), it returned a tuple of Tensor"):
        cs.evaluate(Pair(), images(1, 6, 6))
    assert cs.calibrate(Pair(), images(1, 6, 6)).layers == ["conv", "fc"]


def test_labels_lie_within_the_classes() -> None:
    data = images(1, 6, 6)
    for wrong in (2, -1):
        labels = data.labels.clone()
        labels[3] = wrong
        with pytest.raises(
            ModelError, match=f"image 3 has label {wrong}, but Net has 2 classes; labels run from 0 to 1"
        ):
            cs.evaluate(Net(), Dataset(data.images, labels, "wrong"))


def test_an_accumulator_that_overflows_names_layer_and_multiplier() -> None:
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Flatten(), nn.Linear(36, 2)), images(1, 6, 6)
    net = cs.emulate(model, cs.calibrate(model, data), multiplier="exact:n=32,signed=true")
    with pytest.raises(ModelError, match="in layer '1' .*exact:n=32,signed=true.* use formats with fewer bits"):
        cs.evaluate(net, data)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, add_bias_kv=True, batch_first=True)
        self.fc = nn.Linear(36, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x[:, 0]
        return self.fc(self.attention(y, y, y)[0].flatten(1))


class Others(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.up, self.line = nn.LSTM(6, 6), nn.ConvTranspose2d(1, 1, 3), nn.Conv1d(8, 1, 3)
        self.fc = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.einsum("nchw,nchw->nchw", x, x)
        return self.fc(self.line(self.up(self.lstm(x[:, 0])[0][:, None])[:, 0])[:, 0])


def test_what_multiplies_and_cannot_be_emulated_is_listed() -> None:
    data = images(1, 6, 6)
    calibration = cs.calibrate(Attention(), data)
    assert (calibration.layers, calibration.others) == (
        ["fc"],
        {"attention.multi_head_attention0": "multi_head_attention"},
    )
    model = Attention().eval()
    emulated = cs.emulate(model, calibration, multiplier="kulkarni")
    assert "attention.multi_head_attention0" in {left.name for left in emulated.left}
    calibration = cs.calibrate(Others(), data)
    assert calibration.layers == ["fc"]
    assert calibration.others == {"einsum0": "einsum", "lstm": "LSTM", "up": "ConvTranspose2d", "line": "Conv1d"}
