"""The engines against torch's own float32 on this machine: exactness first, then speed, as ratios of one interleaved
run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from carrysave.engines.plan import engine_named, plan, prepare
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.multipliers import MULTIPLIERS
from carrysave.recipes import Arithmetic

MULTIPLIERS_MEASURED = ("exact", "drum:k=6", "kulkarni", "compressed:heam", "recovery:c=6")


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


CASES = (
    Case("conv 16x64x32x32, 64 3x3", 16, 64, 32, 64, 3),
    Case("depthwise 16x64x32x32, 3x3", 16, 64, 32, 64, 3, groups=64),
    Case("1x1 conv 16x64x32x32, 64", 16, 64, 32, 64, 1),
)


@dataclass(frozen=True)
class Row:
    """One multiplier on one case: billions of products per second, and the speed relative to torch's float32."""

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
    cases: Iterable[Case] = CASES, specs: Iterable[str] = MULTIPLIERS_MEASURED, repeats: int = 5, seed: int = 0
) -> Iterator[Row]:
    """Medians of interleaved repeats: in each round float32 and every engine run once."""
    specs = tuple(specs)
    for case in cases:
        generator = torch.Generator().manual_seed(seed)
        runs: dict[str, Callable[[], object]] = {"float32": _float_run(case, generator)}
        plans = {}
        for spec in specs:
            problem, codes = _problem(case, spec, generator)
            plans[spec] = plan(problem.products.multiplier, problem)
            prepared = prepare(problem)[1]
            runs[spec] = lambda prepared=prepared, codes=codes: prepared(codes)
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(repeats + 1):
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - start)
        median = {name: statistics.median(seen[1:]) for name, seen in times.items()}  # the first round warms up
        yield Row(
            case.name, "-", "torch float32", "", case.macs / median["float32"] / 1e9, 1.0, torch.get_num_threads()
        )
        for spec in specs:
            speed, ratio = case.macs / median[spec] / 1e9, median["float32"] / median[spec]
            yield Row(case.name, spec, plans[spec].engine, str(plans[spec]), speed, ratio, torch.get_num_threads())


def _problem(case: Case, spec: str, generator: torch.Generator) -> tuple[Problem, torch.Tensor]:
    products = Products(*Arithmetic.natural(MULTIPLIERS.parse(spec)).parts)
    codes, weights = case.codes(generator, products)
    zero = (products.activation.low + products.activation.high) // 2
    return Problem(products, case.geometry, weights, zero), codes


def _float_run(case: Case, generator: torch.Generator) -> Callable[[], object]:
    x = torch.randn(case.batch, case.channels, case.size, case.size, generator=generator)
    w = torch.randn(case.outputs, case.channels // case.groups, case.kernel, case.kernel, generator=generator)
    return lambda: F.conv2d(x, w, None, padding=case.kernel // 2, groups=case.groups)
