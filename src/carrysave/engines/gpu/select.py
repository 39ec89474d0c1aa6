"""Which problems the GPU kernels serve: those whose weights are on a CUDA device, where Triton works.

Elsewhere the engines are what they are without this package; on a CUDA device without Triton they compute in torch, and
the plan says why. TRITON_INTERPRET=1, set before Triton is imported, runs the kernels on the CPU, slowly: for tests.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from carrysave.engines.gpu import digits, dots, logarithms, look_ups
from carrysave.engines.logarithmic import parts_rebuild
from carrysave.engines.problem import Engine, Geometry, Prepared, Problem, Products
from carrysave.formats import FORMATS
from carrysave.multipliers import MULTIPLIERS
from carrysave.multipliers.parts import Logarithmic

MISSING = "Triton is not installed (pip install 'carrysave[gpu]')"


@dataclass(frozen=True)
class OnDevices:
    """An engine that takes the GPU kernels where they serve, and else is the one it was."""

    base: Engine
    kernels: Callable[[Problem], Prepared | str]

    @property
    def name(self) -> str:
        return self.base.name

    def refuses(self, problem: Problem) -> str | None:
        if asked(problem) and self.name == "logarithmic":
            return _refuses_logarithms(problem)
        return self.base.refuses(problem)

    def prepare(self, problem: Problem) -> Prepared:
        if not asked(problem):
            return self.base.prepare(problem)
        found = obstacle(problem.weights.device) or self.kernels(problem)
        if isinstance(found, Prepared):
            return found
        prepared = self.base.prepare(problem)
        return replace(prepared, how=f"in torch, since {found}" + (f"; {prepared.how}" if prepared.how else ""))


def on_devices(engine: Engine) -> Engine:
    """The engine, with its GPU kernels if it has any."""
    kernels = {"exact": _exact, "factored": _factored, "table": look_ups.prepare, "logarithmic": _logarithmic}
    return OnDevices(engine, kernels[engine.name]) if engine.name in kernels else engine


def asked(problem: Problem) -> bool:
    """True for layers that are on a CUDA device, or on the CPU where Triton is told to interpret its kernels."""
    if problem.weight is None:
        return False
    device = problem.weight.device.type
    return device == "cuda" or (device == "cpu" and os.environ.get("TRITON_INTERPRET") == "1")


@lru_cache
def obstacle(device: torch.device) -> str | None:
    """Why Triton's kernels do not run on this device: missing, failing, or wrong on the largest operands."""
    if importlib.util.find_spec("triton") is None:
        return MISSING
    try:
        return _trial(device)
    except Exception as error:  # whatever a compiler, driver or old device may raise: torch serves then
        first = (str(error).splitlines() or ["(no message)"])[0]
        return f"Triton's kernels do not run on {device}: {type(error).__name__}: {first}"


def _trial(device: torch.device) -> str | None:
    affine = FORMATS.parse("affine")
    products, depth = Products(MULTIPLIERS.parse("exact"), affine, affine), 64
    weight = torch.tensor([[255], [0]], device=device).repeat(1, depth)
    problem = Problem(products, Geometry("linear"), weight, 0, torch.tensor([0, 127], device=device))
    codes = torch.full((16, depth), 255, dtype=torch.int32, device=device)
    for kernels in (_exact, look_ups.prepare):
        prepared = kernels(problem)
        expected = torch.tensor([255 * 255 * depth, -127 * 255 * depth], device=device).expand(16, 2)
        if isinstance(prepared, str) or not torch.equal(prepared(codes), expected):
            return f"Triton's kernels are not exact on {device}"
    return None


def _exact(problem: Problem) -> Prepared | str:
    found = digits.digits_of(problem)
    return logarithms.prepare(problem) if isinstance(found, str) else dots.prepare(problem, found)


def _factored(problem: Problem) -> Prepared | str:
    found = digits.digits_of(problem)
    return found if isinstance(found, str) else dots.prepare(problem, found)


def _logarithmic(problem: Problem) -> Prepared | str:
    if isinstance(problem.products.multiplier.parts(), Logarithmic):
        return logarithms.prepare(problem)
    found = digits.digits_of(problem)
    return logarithms.prepare(problem) if isinstance(found, str) else dots.prepare(problem, found)


def _refuses_logarithms(problem: Problem) -> str | None:
    multiplier = problem.products.multiplier
    parts = multiplier.parts()
    if parts is None:
        return f"{multiplier} states no parts that are logarithmic or separable"
    if not parts_rebuild(problem.products):
        return f"the parts of {multiplier} do not rebuild its products"
    if not isinstance(parts, Logarithmic):
        return None
    # there is no other way to compute logarithms on a GPU
    found = obstacle(problem.weights.device) or logarithms.prepare(problem)
    return found if isinstance(found, str) else None
