"""Fused int8 layers: exact where oneDNN is, and not used where it saturates."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import carrysave as cs
from carrysave import native
from carrysave.engines import int8
from carrysave.engines.images import Window
from carrysave.engines.plan import prepare
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.formats import FORMATS
from carrysave.layers import rescaled
from carrysave.multipliers import MULTIPLIERS
from carrysave.quantizers import Quantizer

pytestmark = pytest.mark.skipif(not native.available, reason="the native module is not installed")
SETS = __import__("carrysave._native", fromlist=["x"]).instruction_sets() if native.available else []
SPECS = [("exact", "affine", "affine"), ("kulkarni", "affine", "affine"), ("drum:k=6", "affine", "sign_magnitude"),
         ("compressed:heam", "affine", "sign_magnitude"), ("drum:k=4,signed=true", "fixed", "fixed"),
         ("exact:n=4", "affine:bits=4", "affine:bits=4"), ("exact:signed=true", "fixed", "fixed")]  # fmt: skip
GEOMETRIES = {
    "plain": (Geometry("conv", padding=(1, 1)), (3, 20, 7, 9), (17, 20, 3, 3)),
    "odd": (Geometry("conv", (2, 3), (2, 0), (2, 1)), (2, 5, 12, 9), (6, 5, 3, 2)),
    "pointwise": (Geometry("conv"), (2, 33, 5, 5), (40, 33, 1, 1)),
    "depthwise": (Geometry("conv", (2, 1), (1, 1), groups=24), (2, 24, 8, 7), (24, 1, 3, 3)),
    "grouped": (Geometry("conv", padding=(1, 1), groups=3), (2, 12, 6, 6), (15, 4, 3, 3)),
    "linear": (Geometry("linear"), (7, 150), (11, 150)),
}


def _problem(spec: tuple[str, str, str], shape: str, extreme: bool) -> tuple[Problem, torch.Tensor]:
    g = torch.Generator().manual_seed(len(shape))
    geometry, xs, ws = GEOMETRIES[shape]
    a, w = FORMATS.parse(spec[1]), FORMATS.parse(spec[2])
    x = torch.randint(a.low, a.high + 1, xs, generator=g)
    weight = torch.randint(w.low, w.high + 1, ws, generator=g)
    if extreme:
        x, weight = torch.where(x % 5 > 0, a.high, a.low), torch.where(weight % 7 > 0, w.high, w.low)
    zero = torch.zeros((), dtype=torch.int64) if w.low < 0 else torch.tensor(w.high // 2 + 3)
    bias = torch.randint(-(10**6), 10**6, (ws[0],), generator=g)
    products = Products(MULTIPLIERS.parse(spec[0]), a, w)
    return Problem(products, geometry, weight, 0 if a.low < 0 else a.high // 3, zero, bias), x


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("shape", GEOMETRIES)
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec[0]}-{spec[2]}")
def test_codes_and_values_give_the_reference(
    isa: str, shape: str, spec: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRYSAVE_ISA", isa)
    name = "exact" if spec[0].startswith("exact") else "factored"
    for extreme in (False, True):
        problem, codes = _problem(spec, shape, extreme)
        engine = prepare(problem, name)[1]
        assert torch.equal(engine(codes), prepare(problem, "vector")[1](codes))
        if engine.layer is None:
            continue
        fmt = problem.products.activation
        quantizer = Quantizer(fmt, torch.tensor(0.02), torch.tensor(problem.activation_zero))
        x = torch.randn(codes.shape) * (fmt.high - fmt.low) * 0.01
        scale = torch.rand(len(problem.weights)) if shape != "linear" else torch.tensor(0.3)
        assert torch.equal(engine.layer(x, quantizer, scale), rescaled(engine(quantizer.codes(x)), scale, x))


def test_this_suite_runs_the_int8_convolution_where_it_is_exact() -> None:
    window = Window((3, 3), (1, 1), (0, 0), (1, 1), 1)
    if not int8.is_exact(window, 64, 64):
        pytest.skip("this processor has no VNNI instructions")
    for shape in GEOMETRIES:
        engine = prepare(_problem(SPECS[1], shape, False)[0], "factored")[1]
        assert engine.how.startswith("int8 ") and engine.layer is not None, shape


def test_sums_beyond_float32_are_split() -> None:
    fmt = FORMATS.parse("affine")
    for depth, parts in ((500, 1), (4608, 9), (9216, 0)):
        products = Products(MULTIPLIERS.parse("exact"), fmt, fmt)
        problem = Problem(
            products, Geometry("linear"), torch.full((2, depth), 255), 0, torch.tensor(128), torch.tensor(-255)
        )
        engine = prepare(problem, "exact")[1]
        if parts:
            assert engine.passes == parts or not engine.how.startswith("int8")
        got = engine(torch.full((3, depth), 255))
        assert got.tolist() == [[255 * 127 * depth - 255] * 2] * 3


def test_an_accumulator_of_one_less_than_a_multiple_of_255() -> None:
    depth = 9216
    signed = FORMATS.parse("sign_magnitude")
    products = Products(MULTIPLIERS.parse("exact"), FORMATS.parse("affine"), signed)
    weight = torch.full((1, depth), 127)
    problem = Problem(products, Geometry("linear"), weight, 0, torch.tensor(0), torch.tensor(-255))
    for name in ("exact", "factored", "table"):
        assert prepare(problem, name)[1](torch.full((1, depth), 255)).item() == 255 * 127 * 9216 - 255


SATURATION = """
import sys
sys.path.insert(0, {tests!r})
import torch
import test_fused as t
from carrysave.engines import int8
window = t.Window((3, 3), (1, 1), (0, 0), (1, 1), 1)
print("exact" if int8.is_exact(window, 64, 64) else "saturates")
for shape in t.GEOMETRIES:
    for spec in t.SPECS:
        problem, codes = t._problem(spec, shape, True)
        name = "exact" if spec[0].startswith("exact") else "factored"
        got = t.prepare(problem, name)[1](codes)
        assert torch.equal(got, t.prepare(problem, "table")[1](codes)), (shape, spec)
print("right")
"""


@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE"])
def test_saturating_convolutions_are_noticed_and_not_used(isa: str) -> None:
    program = SATURATION.format(tests=os.path.dirname(__file__))
    environment: Any = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    # where the processor has no VNNI at all, or oneDNN ignores the limit, the answer may be either; never a wrong sum
    assert done.stdout.split()[-1:] == ["right"], done.stderr


def test_bad_arguments_are_errors() -> None:
    from carrysave._native import box_sum, expand_codes, expand_values, finish

    tables = np.zeros((2, 256), np.uint8)
    codes, out = np.zeros((1, 3, 4, 4), np.uint8), np.zeros(1 * 3 * 6 * 6 * 2, np.uint8)
    expand_codes(codes, 0, (1, 1), tables, "blocks", out, None, None, 1)
    with pytest.raises(ValueError, match="out: 216 bytes, expected 96"):
        expand_codes(codes, 0, (0, 0), tables, "blocks", out, None, None, 1)
    with pytest.raises(ValueError, match="layout: planes, blocks or interleaved"):
        expand_codes(codes, 0, (1, 1), tables, "rows", out, None, None, 1)
    with pytest.raises(ValueError, match="addend and sums come together"):
        expand_codes(codes, 0, (1, 1), tables, "blocks", out, np.zeros(256, np.int32), None, 1)
    with pytest.raises(ValueError, match="low, zero, high: they must rise"):
        expand_values(codes.astype(np.float32), 1.0, -1, 0, 255, (1, 1), tables, "blocks", out, None, None, 1)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        expand_codes(codes.astype(np.int64), 0, (1, 1), tables, "blocks", out, None, None, 1)
    sums, box = np.zeros((1, 1, 6, 6), np.int32), np.zeros((1, 1, 4, 4), np.int32)
    box_sum(sums, box, (3, 3), (1, 1), (1, 1), 1)
    with pytest.raises(ValueError, match="out: dimension 2 is 4, expected 2"):
        box_sum(sums, box, (3, 3), (2, 2), (1, 1), 1)
    part, result = np.zeros((1, 4, 4, 5), np.float32), np.zeros((1, 5, 4, 4), np.float32)
    with pytest.raises(ValueError, match="parts: \\[N, H, W, O\\] expected"):
        finish([result], None, np.zeros(5, np.int64), None, 0.0, result, 1)
    with pytest.raises(ValueError, match="constant: one entry per channel expected"):
        finish([part], None, np.zeros(4, np.int64), None, 0.0, result, 1)


@pytest.mark.parametrize("spec", [*SPECS[:4], ("recovery:c=6", "affine", "affine"), ("mitchell", "affine", "affine")])
def test_without_the_native_module_the_torch_engines_give_the_same(
    spec: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for shape in ("plain", "depthwise", "linear"):
        problem, codes = _problem(spec, shape, False)
        with_kernels = prepare(problem)[1]
        monkeypatch.setattr(native, "available", False)
        plan, without = prepare(problem)
        monkeypatch.undo()
        assert plan.engine in ("exact", "factored", "table") and without.layer is None
        assert torch.equal(without(codes), with_kernels(codes))


def test_an_emulated_network_survives_copies_and_pickling() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(128, 3))
    x = torch.rand(4, 2, 6, 6)
    calibration = cs.calibrate(model, x)
    for multiplier in ("drum:k=6", "recovery:c=6", "mitchell"):
        net = cs.emulate(model, calibration, multiplier=multiplier)
        with torch.no_grad():
            expected = net(x)
            assert torch.equal(copy.deepcopy(net)(x), expected)
            assert torch.equal(pickle.loads(pickle.dumps(net))(x), expected)
