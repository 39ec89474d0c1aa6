"""Emulated layers and networks against torch's own float32 on this machine: exactness first, then speed, as ratios of
one interleaved run. The whole layer is timed, from float activation to float result.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from carrysave import networks
from carrysave.calibration import calibrate
from carrysave.emulation import emulate
from carrysave.engines.images import Window
from carrysave.engines.int8 import Int8Convolution, is_exact
from carrysave.engines.plan import engine_named, prepare
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.multipliers import MULTIPLIERS
from carrysave.recipes import Arithmetic

MULTIPLIERS_MEASURED = (
    "exact",
    "drum:k=6",
    "kulkarni",
    "compressed:heam",
    "recovery:c=6",
    "mitchell",
    "mitchell_w:w=6",
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


@dataclass(frozen=True)
class Row:
    """One multiplier on one case: billions of products per second, and the speed relative to torch's float32.

    `plan` is that of the layer; of a network, which engines its layers have.
    """

    case: str
    multiplier: str
    engine: str
    plan: str
    gmac_per_s: float
    against_float32: float
    threads: int


def check(specs: Iterable[str] = MULTIPLIERS_MEASURED, seed: int = 0) -> int:
    """Compare every engine that the plan chooses with the reference on a small layer; returns how many were compared.

    Raises AssertionError naming the multiplier and engine that differ: figures of a wrong engine mean nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    small = Case("check", 2, 6, 7, 4, 3, groups=2)
    count = 0
    for spec in specs:
        problem, codes = _problem(small, spec, generator)
        chosen, prepared = prepare(problem)
        want = engine_named("reference").prepare(problem)(codes)
        if not torch.equal(prepared(codes), want):
            raise AssertionError(f"{spec}: engine {chosen.engine} differs from the reference; please report this")
        count += 1
    return count


def measure(
    cases: Iterable[Subject] = CASES + NETWORKS,
    specs: Iterable[str] = MULTIPLIERS_MEASURED,
    repeats: int = 5,
    seed: int = 0,
) -> Iterator[Row]:
    """Medians of interleaved repeats: in each round float32, the bare exact int8 operator and every engine run once."""
    for case in cases:
        module, x = case.layer(torch.Generator().manual_seed(seed))
        calibration = calibrate(module, x, samples=len(x))
        runs: dict[str, Callable[[], Any]] = {"torch float32": lambda module=module, x=x: module(x)}
        bare = _int8_run(case) if isinstance(case, Case) else None
        if bare is not None:
            runs["torch int8"] = bare
        plans = {}
        for spec in specs:
            net = emulate(module, calibration, multiplier=spec)
            plans[spec] = [replaced.plan for replaced in net.replaced]
            runs[spec] = lambda net=net, x=x: net(x)
        median = _medians(runs, repeats)
        for name, seconds in median.items():
            chosen = plans.get(name)
            engines = " ".join(sorted({p.engine for p in chosen})) if chosen else name
            text = "" if not chosen else str(chosen[0]) if len(chosen) == 1 else f"{len(chosen)} layers: {engines}"
            speed, ratio = case.macs / seconds / 1e9, median["torch float32"] / seconds
            yield Row(case.name, name if chosen else "-", engines, text, speed, ratio, torch.get_num_threads())


def _medians(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    with torch.no_grad():
        for _ in range(repeats + 1):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seen[1:]) for name, seen in times.items()}  # the first round warms up


def _int8_run(case: Case) -> Callable[[], Any] | None:
    """oneDNN's int8 convolution alone, its input quantised and laid out beforehand; None where it is not exact."""
    padding = case.kernel // 2
    window = Window((case.kernel, case.kernel), (1, 1), (0, 0), (1, 1), case.groups)
    depth = case.channels // case.groups
    if not is_exact(window, depth, case.outputs):
        return None
    weight = torch.randint(-127, 128, (case.outputs, depth, case.kernel, case.kernel), dtype=torch.int8)
    side = case.size + 2 * padding
    x = torch.randint(0, 256, (case.batch, side, side, case.channels), dtype=torch.uint8).permute(0, 3, 1, 2)
    convolution = Int8Convolution(weight, window)
    return lambda: convolution(x)


def _problem(case: Case, spec: str, generator: torch.Generator) -> tuple[Problem, torch.Tensor]:
    products = Products(*Arithmetic.natural(MULTIPLIERS.parse(spec)).parts)
    codes, weights = case.codes(generator, products)
    zero = (products.activation.low + products.activation.high) // 2
    return Problem(products, case.geometry, weights, zero), codes
