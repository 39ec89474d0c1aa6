"""An AlexNet for 32 x 32 images: five convolutions, three poolings and two linear layers in 18.25 million MACs.

After A. Krizhevsky, I. Sutskever, G. Hinton (NeurIPS 2012), whose layers the HEAM paper takes over for CIFAR-10 without
giving their sizes; kernels of 3 x 3 and narrower layers, for images of 32 x 32.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from carrysave import data
from carrysave.data import Dataset
from carrysave.networks.trained import Trainable, checked
from carrysave.quantized_training import train_quantized
from carrysave.training import RandomFlips, RandomShifts, train

DATA_SETS = ("cifar10",)
CONVOLUTIONS = ("conv1", "conv2", "conv3", "conv4", "conv5")


class AlexNet(nn.Module):
    """Takes (N, 3, 32, 32), gives (N, classes) logits; 18,254,336 multiply-accumulates an image with ten classes.

    ReLU follows every layer but the last, 2 x 2 max pooling the first, second and fifth. The `norm` layers are empty
    but while `normalised` trains it; `folded` puts them into the convolutions.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 32, 3, padding=1), nn.Identity()
        self.conv2, self.norm2 = nn.Conv2d(32, 64, 3, padding=1), nn.Identity()
        self.conv3, self.norm3 = nn.Conv2d(64, 96, 3, padding=1), nn.Identity()
        self.conv4, self.norm4 = nn.Conv2d(96, 96, 3, padding=1), nn.Identity()
        self.conv5, self.norm5 = nn.Conv2d(96, 64, 3, padding=1), nn.Identity()
        self.dropout = nn.Dropout(0.2)
        self.fc1 = nn.Linear(64 * 4 * 4, 256)
        self.fc2 = nn.Linear(256, classes)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.norm1(self.conv1(x_NCHW))))
        x = self.pool(torch.relu(self.norm2(self.conv2(x))))
        x = torch.relu(self.norm3(self.conv3(x)))
        x = torch.relu(self.norm4(self.conv4(x)))
        x = self.pool(torch.relu(self.norm5(self.conv5(x))))
        x = torch.relu(self.fc1(self.dropout(x.flatten(1))))
        return self.fc2(x)


def normalised(model: AlexNet) -> AlexNet:
    """The same model, with batch norm after each convolution."""
    for number, name in enumerate(CONVOLUTIONS, start=1):
        setattr(model, f"norm{number}", nn.BatchNorm2d(getattr(model, name).out_channels))
    return model


def folded(model: AlexNet) -> AlexNet:
    """The same model with its batch norms, as they compute in evaluation, put into the convolutions before them."""
    model.eval()
    for number, name in enumerate(CONVOLUTIONS, start=1):
        setattr(model, name, fuse_conv_bn_eval(getattr(model, name), getattr(model, f"norm{number}")))
        setattr(model, f"norm{number}", nn.Identity())
    return model


class HalfPrecision(nn.Module):
    """A model that computes its products in bfloat16 where torch may, and gives float32."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.model(x).float()


@dataclass(frozen=True)
class _Settings:
    """How `alexnet` trains; part of the weights' key."""

    epochs: int = 24
    learning_rate: float = 0.1
    batch: int = 128
    shift: int = 4
    quantized_epochs: int = 2  # with operands in 8 bits, at the end
    quantized_rate: float = 0.005
    revision: int = 1


def alexnet(
    dataset: str = "cifar10", root: Path | str | None = None, seed: int = 0
) -> tuple[AlexNet, Dataset, Dataset]:
    """(model, train, test): the AlexNet trained on CIFAR-10 (JPEG q75), in evaluation mode.

    The weights come with the package, from the cache, or are trained now (most of an hour on one core): see
    `Trainable.trained`. `root` as in `data.load`. ValueError for another data set.
    """
    prepared = prepare_alexnet(dataset, root, seed)
    return cast(AlexNet, prepared.trained()), prepared.train_set, prepared.test_set


def prepare_alexnet(dataset: str, root: Path | str | None, seed: int) -> Trainable:
    """The AlexNet before its training."""
    train_set, test_set = data.load(checked("alexnet", dataset, DATA_SETS), root)
    settings = _Settings()
    augment = RandomFlips(RandomShifts(settings.shift))

    def fit(model: nn.Module, checkpoint: Path) -> None:
        net = normalised(cast(AlexNet, model)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        train(
            HalfPrecision(net),
            train_set,
            settings.epochs,
            seed,
            settings.learning_rate,
            batch=settings.batch,
            augment=augment,
            checkpoint=checkpoint,
        )
        train_quantized(
            folded(net),
            train_set,
            settings.quantized_epochs,
            seed,
            settings.quantized_rate,
            batch=settings.batch,
            augment=augment,
            checkpoint=checkpoint.with_suffix(".training8"),
        )

    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = AlexNet()
    return Trainable("alexnet-cifar10", model, train_set, test_set, asdict(settings), seed, fit)
