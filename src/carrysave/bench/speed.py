"""Time per forward pass. The whole layer is timed, from float activation to float result; all figures of a case are
medians of one interleaved run, so that what else the machine does falls on all alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from carrysave.bench.cases import CASES, ENTRIES, NETWORKS, Case, Entry, Subject
from carrysave.bench.int8 import Int8Convolution, is_exact
from carrysave.calibration import calibrate
from carrysave.emulation import emulate
from carrysave.engines.images import Window
from carrysave.engines.plan import engine_named, prepare
from carrysave.engines.problem import Problem, Products
from carrysave.recipes import Recipe, Rule

FLOAT32, INT8 = "torch float32", "torch int8"


@dataclass(frozen=True)
class Row:
    """One arithmetic on one case: billions of products per second, and the speed relative to torch's float32.

    Attributes:
        entry: the arithmetic's name; "-" for torch itself.
        engine: the engines of its layers, or what of torch was timed.
        plan: that of the layer; of a network, how many layers.
        against_float32, against_int8: speeds as ratios; None where exact int8 was not timed.
        digits: 8-bit digit products per product of a factored or exact layer.
    """

    case: str
    entry: str
    engine: str
    plan: str
    gmac_per_s: float
    against_float32: float
    against_int8: float | None
    digits: int | None
    threads: int


def check(entries: Iterable[Entry] = ENTRIES, seed: int = 0) -> int:
    """Compare every engine that the plan chooses with the reference on a small layer; returns how many were compared.

    Raises AssertionError naming the multiplier and engine that differ: figures of a wrong engine mean nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    small = Case("check", 2, 6, 7, 4, 3, groups=2)
    count = 0
    for entry in entries:
        products = Products(*entry.arithmetic.parts)
        codes, weights = small.codes(generator, products)
        zero = (products.activation.low + products.activation.high) // 2
        problem = Problem(products, small.geometry, weights, zero)
        plan, prepared = prepare(problem)
        want = engine_named("reference").prepare(problem)(codes)
        if not torch.equal(prepared(codes), want):
            raise AssertionError(f"{entry.name}: engine {plan.engine} differs from the reference; please report this")
        count += 1
    return count


def measure(
    cases: Iterable[Subject] = CASES + NETWORKS,
    entries: Iterable[Entry] = ENTRIES,
    repeats: int = 5,
    seed: int = 0,
) -> Iterator[Row]:
    """In each round float32, the bare exact int8 operator and every arithmetic run once; torch's threads are used."""
    entries = tuple(entries)
    for case in cases:
        module, x = case.layer(torch.Generator().manual_seed(seed))
        calibration = calibrate(module, x, samples=len(x))
        runs: dict[str, Callable[[], Any]] = {FLOAT32: lambda module=module, x=x: module(x)}
        bare = _int8_run(case) if isinstance(case, Case) else None
        if bare is not None:
            runs[INT8] = bare
        plans = {}
        for entry in entries:
            net = emulate(module, calibration, Recipe([Rule("*", entry.arithmetic)]))
            plans[entry.name] = [replaced.plan for replaced in net.replaced]
            runs[entry.name] = lambda net=net, x=x: net(x)
        median = _medians(runs, repeats)
        for name, seconds in median.items():
            yield _row(case, name, seconds, median, plans.get(name))


def _row(case: Subject, name: str, seconds: float, median: dict[str, float], plans: list[Any] | None) -> Row:
    engines = " ".join(sorted({plan.engine for plan in plans})) if plans else name
    text = "" if not plans else str(plans[0]) if len(plans) == 1 else f"{len(plans)} layers: {engines}"
    return Row(
        case.name,
        name if plans else "-",
        engines,
        text,
        case.macs / seconds / 1e9,
        median[FLOAT32] / seconds,
        median[INT8] / seconds if INT8 in median else None,
        plans[0].digits if plans and len(plans) == 1 else None,
        torch.get_num_threads(),
    )


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
