"""The networks of the papers, and how they are trained; and residual networks for the benchmark."""

from __future__ import annotations

from carrysave.networks.lenet import LeNet, lenet
from carrysave.networks.residual import mobilenet_v2, resnet18, resnet20

__all__ = ["NAMES", "LeNet", "lenet", "mobilenet_v2", "resnet18", "resnet20"]

NAMES = ("lenet",)
