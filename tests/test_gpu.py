"""The GPU engines where there is no GPU: without Triton, in its interpreter, and through its compiler."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from carrysave.engines.gpu import digits, select
from carrysave.engines.plan import plan, prepare
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.engines.reference import REFERENCE
from carrysave.formats import FORMATS
from carrysave.multipliers import MULTIPLIERS

HERE = Path(__file__).parent
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs triton: pip install 'carrysave[gpu]'"
)


def _problem(spec: str) -> Problem:
    affine = FORMATS.parse("affine")
    weight = torch.randint(0, 256, (3, 7), generator=torch.Generator().manual_seed(0))
    return Problem(Products(MULTIPLIERS.parse(spec), affine, affine), Geometry("linear"), weight, 9, torch.tensor(77))


@pytest.fixture
def as_if_on_a_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(select, "asked", lambda problem: problem.weight is not None)
    select.obstacle.cache_clear()
    yield monkeypatch
    select.obstacle.cache_clear()


@pytest.mark.parametrize("spec", ["exact", "kulkarni", "recovery:c=6", "mitchell"])
def test_without_triton_torch_serves_and_the_plan_says_why(spec: str, as_if_on_a_gpu: pytest.MonkeyPatch) -> None:
    as_if_on_a_gpu.setattr(importlib.util, "find_spec", lambda name, *_: None)
    problem = _problem(spec)
    chosen, engine = prepare(problem)
    assert "in torch, since Triton is not installed (pip install 'carrysave[gpu]')" in chosen.why
    x = torch.randint(0, 256, (5, 7), generator=torch.Generator().manual_seed(1))
    assert torch.equal(engine(x), REFERENCE.prepare(problem)(x))
    if spec == "mitchell":
        assert chosen.engine == "table"
        with pytest.raises(ValueError, match="engine 'logarithmic' cannot serve this: Triton is not installed"):
            plan(problem.products.multiplier, problem, "logarithmic")


def test_kernels_that_fail_leave_torch_and_a_reason(as_if_on_a_gpu: pytest.MonkeyPatch) -> None:
    def failing(device: torch.device) -> None:
        raise RuntimeError("ptxas: not found\nand more")

    as_if_on_a_gpu.setattr(select, "_trial", failing)
    as_if_on_a_gpu.setattr(importlib.util, "find_spec", lambda name, *_: "found")
    why = prepare(_problem("kulkarni"))[0].why
    assert "in torch, since Triton's kernels do not run on cpu: RuntimeError: ptxas: not found; " in why


def test_layers_on_the_cpu_do_not_ask_for_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert not select.asked(_problem("kulkarni"))
    assert "Triton" not in prepare(_problem("kulkarni"))[0].why


def test_digits_are_the_factors() -> None:
    for spec, planes in (("exact", 1), ("kulkarni", 2), ("compressed:heam", 5)):
        problem = _problem(spec)
        weight = torch.arange(256)[:, None]  # every weight code a channel of one tap: accumulators are the table
        whole = Problem(problem.products, problem.geometry, weight, 9, torch.tensor(77))
        found = digits.digits_of(whole)
        assert isinstance(found, digits.Digits) and found.planes == planes
        total = sum(
            256**p.place * p.u.long().T @ p.v.long().reshape(len(p.v), -1) for p in found.places
        ) + found.constant  # fmt: skip
        total = total if found.addend is None else total + found.addend[:, None]
        assert torch.equal(total, REFERENCE.prepare(whole)(torch.arange(256)[:, None]))
        assert all(p.u.dtype == p.v.dtype == torch.int8 for p in found.places)


def _child(*arguments: str, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=900, cwd=HERE,
        env={**kept, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


@needs_triton
def test_the_kernels_equal_the_reference_in_tritons_interpreter() -> None:
    out = _child("-m", "pytest", "-q", "-p", "no:cacheprovider", "gpu_kernels.py", TRITON_INTERPRET="1")
    assert " passed" in out and "skipped" not in out


@needs_triton
def test_the_kernels_compile_for_gpus(tmp_path: Path) -> None:
    out = _child("-m", "pytest", "-q", "-p", "no:cacheprovider", "gpu_compiled.py", TRITON_CACHE_DIR=str(tmp_path))
    assert " passed" in out and "skipped" not in out


@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_kernels_equal_the_reference_on_this_gpu() -> None:
    out = _child("-m", "pytest", "-q", "-p", "no:cacheprovider", "gpu_kernels.py")
    assert " passed" in out and "skipped" not in out
