"""What is measured: layers, matrix products and whole networks, each with several arithmetics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from carrysave import networks
from carrysave.engines.problem import Geometry, Products
from carrysave.recipes import Arithmetic
from carrysave.registry import nearest


@dataclass(frozen=True)
class Entry:
    """An arithmetic that is emulated, and what the tables call it."""

    name: str
    arithmetic: Arithmetic

    @classmethod
    def of(cls, spec: str) -> Entry:
        """A multiplier with its natural formats."""
        return cls(spec, Arithmetic.natural(spec))


ENTRIES: tuple[Entry, ...] = (
    Entry.of("exact"),
    Entry.of("drum:k=6"),
    Entry.of("kulkarni"),
    Entry.of("compressed:heam"),
    Entry(
        "compressed:heam, sign and magnitude",
        Arithmetic("affine:bits=8", "sign_magnitude:bits=8", "compressed:heam"),
    ),
    Entry.of("or_compressed"),
    Entry.of("recovery:c=6"),
    Entry.of("mitchell"),
    Entry.of("mitchell_w:w=6"),
    Entry.of("mitchell:n=16"),
    Entry.of("mitchell_w:n=16,w=8"),
    # 64-bit sums of full 32-bit products overflow after two terms; these operands leave room for a network's layers
    Entry("mitchell_w:n=32,w=16 of 26 x 24 bits", Arithmetic("fixed:bits=26", "fixed:bits=24", "mitchell_w:n=32,w=16")),
)


@dataclass(frozen=True)
class Case:
    """A layer's shape: input [N, C, H, W] and weight [O, C / groups, kh, kw]; H = W = 1 and a 1x1 kernel is a matrix
    product."""

    name: str
    batch: int
    channels: int
    size: int
    outputs: int
    kernel: int
    groups: int = 1

    @property
    def geometry(self) -> Geometry:
        return Geometry("conv", padding=(self.kernel // 2, self.kernel // 2), groups=self.groups)

    @property
    def macs(self) -> int:
        return self.batch * self.outputs * self.size**2 * self.channels // self.groups * self.kernel**2

    def codes(self, generator: torch.Generator, products: Products) -> tuple[torch.Tensor, torch.Tensor]:
        """Random activation and weight codes over the whole range of their formats."""
        x, w = products.activation, products.weight
        shape = (self.outputs, self.channels // self.groups, self.kernel, self.kernel)
        return (
            torch.randint(x.low, x.high + 1, (self.batch, self.channels, self.size, self.size), generator=generator),
            torch.randint(w.low, w.high + 1, shape, generator=generator),
        )

    def layer(self, generator: torch.Generator) -> tuple[nn.Module, torch.Tensor]:
        """An nn.Conv2d with bell-shaped weights and an activation as a ReLU leaves it."""
        module = nn.Conv2d(
            self.channels, self.outputs, self.kernel, padding=self.kernel // 2, groups=self.groups
        ).requires_grad_(False)
        module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * 0.05)
        shape = (self.batch, self.channels, self.size, self.size)
        return module.eval(), torch.relu(torch.randn(shape, generator=generator))


@dataclass(frozen=True)
class Gemm:
    """A matrix product of square matrices, as an nn.Linear."""

    name: str
    size: int

    @property
    def macs(self) -> int:
        return self.size**3

    def layer(self, generator: torch.Generator) -> tuple[nn.Module, torch.Tensor]:
        module = nn.Linear(self.size, self.size).requires_grad_(False)
        module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * 0.05)
        return module.eval(), torch.relu(torch.randn((self.size, self.size), generator=generator))


@dataclass(frozen=True)
class Network:
    """A whole untrained network on random images [batch, 3, size, size]; every layer that can be is emulated."""

    name: str
    build: Callable[[], nn.Module]
    batch: int
    size: int
    macs: int

    def layer(self, generator: torch.Generator) -> tuple[nn.Module, torch.Tensor]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            module = self.build()
        x = torch.rand((self.batch, 3, self.size, self.size), generator=generator)
        with torch.no_grad():
            module(x)  # in training mode: batch norm finds its statistics, so that activations stay in range
        return module.eval().requires_grad_(False), x


Subject = Case | Gemm | Network

CASES: tuple[Subject, ...] = (
    Case("conv 16x64x32x32, 64 3x3", 16, 64, 32, 64, 3),
    Case("depthwise 16x64x32x32, 3x3", 16, 64, 32, 64, 3, groups=64),
    Case("1x1 conv 16x64x32x32, 64", 16, 64, 32, 64, 1),
    Gemm("GEMM 512", 512),
    Gemm("GEMM 1024", 1024),
)
NETWORKS: tuple[Subject, ...] = (
    Network("ResNet-20, CIFAR, batch 16", networks.resnet20, 16, 32, 16 * 40_813_184),
    Network("ResNet-18, CIFAR, batch 8", networks.resnet18, 8, 32, 8 * 555_422_720),
    Network("MobileNetV2, 224x224, batch 2", networks.mobilenet_v2, 2, 224, 2 * 300_774_272),
)

_Named = TypeVar("_Named", Entry, Subject)


def chosen(things: Iterable[_Named], names: Iterable[str], what: str) -> tuple[_Named, ...]:
    """Those whose name begins with one of `names`, upper and lower case alike; all of them without names.

    Raises:
        ValueError: if a name is the beginning of none.
    """
    things, beginnings = tuple(things), tuple(name.lower() for name in names)
    for name in beginnings:
        if not any(thing.name.lower().startswith(name) for thing in things):
            known = [thing.name for thing in things]
            hint = nearest(name, known)
            raise ValueError(f"bench: no {what} begins with {name!r}{hint}; there are: {'; '.join(known)}")
    return tuple(thing for thing in things if not beginnings or thing.name.lower().startswith(beginnings))
