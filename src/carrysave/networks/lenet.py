"""LeNet as in the precision study (Table I: conv 5x5x20, maxpool, conv 5x5x50, maxpool, 500, 10), and its training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from carrysave import data
from carrysave.data import Dataset
from carrysave.networks.trained import Trainable, checked
from carrysave.quantized_training import train_quantized
from carrysave.training import RandomShifts, train


class LeNet(nn.Module):
    """Two 5 x 5 convolutions without padding, each with 2 x 2 max pooling, and two linear layers.

    Takes (N, channels, size, size), gives (N, classes) logits. A 28 x 28 input leaves 50 x 4 x 4 = 800 features
    (431,080 parameters for one channel and ten classes), 16 x 16 leaves 50 x 1 x 1. ReLU follows each
    pooling (with max pooling the order makes no difference) and the first linear layer. ValueError if `size` is not 4
    times a whole number >= 4: the poolings would drop pixels.
    """

    def __init__(self, channels: int = 1, size: int = 28, classes: int = 10) -> None:
        super().__init__()
        if size < 16 or size % 4:
            raise ValueError(f"LeNet: size={size}: two 5 x 5 convolutions and two poolings need a multiple of 4, >= 16")
        side = ((size - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.fc1 = nn.Linear(50 * side * side, 500)
        self.fc2 = nn.Linear(500, classes)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = torch.relu(self.pool(self.conv1(x_NCHW)))
        x = torch.relu(self.pool(self.conv2(x)))
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


@dataclass(frozen=True)
class _Settings:
    """How `lenet` trains on one data set; part of the weights' key."""

    epochs: int
    learning_rate: float
    shift: int  # augmentation: pixels, up to which each image is moved
    batch: int = 64
    quantized_epochs: int = 0  # with operands in 8 bits, at the end
    revision: int = 1  # raise it when a change of code changes the weights


_SETTINGS = {
    "digits": _Settings(epochs=40, learning_rate=0.05, shift=1),
    "mnist": _Settings(epochs=6, learning_rate=0.05, shift=2),
    "fashion_mnist": _Settings(epochs=8, learning_rate=0.05, shift=1, quantized_epochs=2),
}
DATA_SETS = tuple(_SETTINGS)
_QUANTIZED_RATE = 0.1  # of the learning rate


def lenet(dataset: str = "mnist", root: Path | str | None = None, seed: int = 0) -> tuple[LeNet, Dataset, Dataset]:
    """(model, train, test): LeNet trained on `dataset`, "digits", "mnist" or "fashion_mnist", in evaluation mode.

    The weights come with the package, from the cache, or are trained now: see `Trainable.trained`. `root` as in
    `data.load`. ValueError for another data set.
    """
    prepared = prepare_lenet(dataset, root, seed)
    return cast(LeNet, prepared.trained()), prepared.train_set, prepared.test_set


def prepare_lenet(dataset: str, root: Path | str | None, seed: int) -> Trainable:
    """LeNet before its training on `dataset`."""
    key = checked("lenet", dataset, DATA_SETS)
    train_set, test_set = data.load(key, root)
    settings = _SETTINGS[key]

    def fit(model: nn.Module, checkpoint: Path) -> None:
        augment = RandomShifts(settings.shift)
        rate, batch = settings.learning_rate, settings.batch
        train(model, train_set, settings.epochs, seed, rate, batch=batch, augment=augment, checkpoint=checkpoint)
        if settings.quantized_epochs:
            train_quantized(
                model,
                train_set,
                settings.quantized_epochs,
                seed,
                _QUANTIZED_RATE * rate,
                batch=batch,
                augment=augment,
                checkpoint=checkpoint.with_suffix(".training8"),
            )

    model = _initial(seed, channels=train_set.images.shape[1], size=train_set.images.shape[2])
    return Trainable(f"lenet-{key}", model, train_set, test_set, asdict(settings), seed, fit)


def _initial(seed: int, channels: int, size: int) -> LeNet:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return LeNet(channels, size)
