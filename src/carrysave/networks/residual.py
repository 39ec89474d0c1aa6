"""ResNets for CIFAR images and MobileNetV2, untrained, as they are published."""

from __future__ import annotations

import torch
from torch import nn


def _normalised(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class _Sum(nn.Module):
    """x + branch(x), or skip(x) + branch(x)."""

    def __init__(self, branch: nn.Module, skip: nn.Module | None = None):
        super().__init__()
        self.branch, self.skip = branch, skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x if self.skip is None else self.skip(x)) + self.branch(x)


def _basic_block(inputs: int, outputs: int, stride: int) -> nn.Module:
    branch = nn.Sequential(*_normalised(inputs, outputs, 3, stride), nn.ReLU(), *_normalised(outputs, outputs, 3))
    changed = stride != 1 or inputs != outputs
    return nn.Sequential(
        _Sum(branch, nn.Sequential(*_normalised(inputs, outputs, 1, stride)) if changed else None), nn.ReLU()
    )


def resnet(widths: tuple[int, ...], blocks: int, classes: int = 10) -> nn.Module:
    """A CIFAR ResNet (He et al., 2016): 3x3 stem, then `blocks` basic blocks at each width, halving the size."""
    parts: list[nn.Module] = [*_normalised(3, widths[0], 3), nn.ReLU()]
    inputs = widths[0]
    for i, width in enumerate(widths):
        for block in range(blocks):
            parts.append(_basic_block(inputs, width, 2 if i and not block else 1))
            inputs = width
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


def resnet20() -> nn.Module:
    return resnet((16, 32, 64), 3)


def resnet18() -> nn.Module:
    return resnet((64, 128, 256, 512), 2)


def _inverted_residual(inputs: int, outputs: int, stride: int, expansion: int) -> nn.Module:
    hidden = inputs * expansion
    parts: list[nn.Module] = [*_normalised(inputs, hidden, 1), nn.ReLU6()] if expansion != 1 else []
    parts += [*_normalised(hidden, hidden, 3, stride, hidden), nn.ReLU6(), *_normalised(hidden, outputs, 1)]
    branch = nn.Sequential(*parts)
    return _Sum(branch) if stride == 1 and inputs == outputs else branch


def mobilenet_v2(classes: int = 1000) -> nn.Module:
    """Sandler et al., 2018, for 224x224 images."""
    parts: list[nn.Module] = [*_normalised(3, 32, 3, 2), nn.ReLU6()]
    inputs = 32
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, outputs, repeats, stride in table:
        for i in range(repeats):
            parts.append(_inverted_residual(inputs, outputs, stride if i == 0 else 1, expansion))
            inputs = outputs
    parts += [*_normalised(inputs, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(1280, classes))
