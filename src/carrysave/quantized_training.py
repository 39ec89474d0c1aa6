"""Training that feels the quantization: Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", CVPR 2018, section 3.

In the forward pass every product sees its operands as their codes represent them, while the weights behind stay float
and take the gradients, straight through. Weight ranges are those of the weights at each step, as in the paper;
activation ranges are calibrated before and stay, where the paper follows them with moving averages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from carrysave.calibration import Calibration, calibrate
from carrysave.data import Dataset
from carrysave.functional import Handler, Tracker
from carrysave.quantizers import Quantizer, quantizer_of_weights
from carrysave.recipes import Arithmetic
from carrysave.training import Epoch, train

SAMPLES = 512  # for the activations' ranges


def train_quantized(
    model: nn.Module,
    data: Dataset,
    epochs: int,
    seed: int,
    learning_rate: float,
    *,
    batch: int = 64,
    augment: Callable[[Tensor], Tensor] | None = None,
    checkpoint: Path | None = None,
) -> tuple[Epoch, ...]:
    """Train `model`, which has been trained in float, a few epochs more with its operands in 8 bits (unsigned affine,
    one scale per tensor). The rest, errors included, as `training.train`.
    """
    calibration = calibrate(model, data, samples=SAMPLES, seed=seed)
    with quantized(model, calibration, Arithmetic.natural("exact")):
        return train(model, data, epochs, seed, learning_rate, batch=batch, augment=augment, checkpoint=checkpoint)


@contextmanager
def quantized(model: nn.Module, calibration: Calibration, arithmetic: Arithmetic) -> Iterator[nn.Module]:
    """Inside the context `model` computes each calibrated layer's products from the values of `arithmetic`'s codes.

    What is trained there are the model's own parameters; their names in `state_dict` differ until the context ends.
    """
    handles: list[Any] = []
    weighted: list[nn.Module] = []
    try:
        for name, module in model.named_modules():
            record = calibration.records.get(name)
            if record is None or record.weight is None or not record.module:
                continue
            activation, _ = calibration.quantizers(name, arithmetic)
            handles.append(module.register_forward_pre_hook(_Quantize(activation)))
            parametrize.register_parametrization(module, "weight", _Represented(arithmetic))
            weighted.append(module)
        products = _Products(calibration, arithmetic)
        handles += Tracker(products).attach(model) if products.quantizers else []
        yield model
    finally:
        for handle in handles:
            handle.remove()
        for module in weighted:
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


class _Quantize:
    """A layer's input as its codes represent it."""

    def __init__(self, quantizer: Quantizer) -> None:
        self.quantizer = quantizer

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.quantizer(args[0]), *args[1:])


class _Represented(nn.Module):
    """Weights as their codes represent them, with the range that they have now."""

    def __init__(self, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.arithmetic = arithmetic

    def forward(self, weight: Tensor) -> Tensor:
        _, _, fmt = self.arithmetic.parts
        ranges: Any = self.arithmetic.ranges
        return quantizer_of_weights(weight, fmt, ranges, self.arithmetic.weight_scales)(weight)


class _Products(Handler):
    """Functional products: both operands as their codes represent them."""

    def __init__(self, calibration: Calibration, arithmetic: Arithmetic) -> None:
        names = [name for name in calibration.layers if not calibration[name].module]
        self.arithmetic = arithmetic
        self.quantizers = {name: calibration.quantizers(name, arithmetic) for name in names}

    def matmul(self, name: str, x: Tensor, w: Tensor) -> Tensor:
        if name in self.quantizers:
            first, second = self.quantizers[name]
            x, w = first(x), second(w)
        return torch.matmul(x, w)

    def linear(self, name: str, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if name in self.quantizers:
            x, weight = self.quantizers[name][0](x), _Represented(self.arithmetic)(weight)
        return F.linear(x, weight, bias)

    def conv2d(self, name: str, x: Tensor, weight: Tensor, bias: Tensor | None, **how: Any) -> Tensor:
        if name in self.quantizers:
            x, weight = self.quantizers[name][0](x), _Represented(self.arithmetic)(weight)
        return F.conv2d(x, weight, bias, **how)
