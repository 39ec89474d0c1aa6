"""The networks of the papers, and how they are trained."""

from __future__ import annotations

from carrysave.networks.lenet import LeNet, lenet

__all__ = ["NAMES", "LeNet", "lenet"]

NAMES = ("lenet",)
