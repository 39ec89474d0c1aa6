"""Fused int8 layers: exact on every instruction set, at any depth."""

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
from carrysave.engines import exact, separable
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


@pytest.mark.parametrize("shape", GEOMETRIES)
@pytest.mark.parametrize("name", ["exact", "factored"])
def test_these_layers_run_natively(shape: str, name: str) -> None:
    engine = prepare(_problem(SPECS[name == "factored"], shape, False)[0], name)[1]
    assert engine.how.startswith("int8 in one pass") and engine.layer is not None


@pytest.mark.parametrize("isa", SETS)
def test_sums_beyond_32_bits(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRYSAVE_ISA", isa)
    fmt = FORMATS.parse("affine")
    products = Products(MULTIPLIERS.parse("exact"), fmt, fmt)
    for depth, ranges in ((9216, ""), (73728, " in 2 ranges of 32 bits")):
        geometry, weight = Geometry("linear"), torch.full((2, depth), 255)
        problem = Problem(products, geometry, weight, 0, torch.tensor(128), torch.tensor(-255))
        engine = prepare(problem, "exact")[1]
        assert engine.how.endswith(f"|accumulator| at most {255 * 127 * depth:.4g}{ranges}")
        assert engine(torch.full((3, depth), 255)).tolist() == [[255 * 127 * depth - 255] * 2] * 3
        quantizer, scale = Quantizer(fmt, torch.tensor(1.0), torch.tensor(0)), torch.tensor(1.0)
        expected = np.float32(255 * 127 * depth - 255)  # rounded once
        assert engine.layer is not None
        assert engine.layer(torch.full((3, depth), 255.0), quantizer, scale).tolist() == [[expected] * 2] * 3


@pytest.mark.parametrize("isa", SETS)
def test_threads_bands_and_empty_batches(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRYSAVE_ISA", isa)
    products = Products(MULTIPLIERS.parse("kulkarni"), FORMATS.parse("affine"), FORMATS.parse("affine"))
    generator = torch.Generator().manual_seed(0)
    threads = torch.get_num_threads()
    for channels, size, stride in ((1, 700, 1), (9, 5, 1), (3, 33, 2)):
        weight = torch.randint(0, 256, (5, channels, 3, 3), generator=generator)
        problem = Problem(products, Geometry("conv", (stride, stride), (1, 1)), weight, 7, torch.tensor(100))
        engine, table = prepare(problem, "factored")[1], prepare(problem, "table")[1]
        codes = torch.randint(0, 256, (2, channels, size, size), generator=generator)
        expected = table(codes)
        try:
            for count in (1, 2, 3):
                torch.set_num_threads(count)
                assert torch.equal(engine(codes), expected), (channels, size, count)
        finally:
            torch.set_num_threads(threads)
        assert engine(codes[:0]).shape == (0, *expected.shape[1:])


def test_an_accumulator_of_one_less_than_a_multiple_of_255() -> None:
    depth = 9216
    signed = FORMATS.parse("sign_magnitude")
    products = Products(MULTIPLIERS.parse("exact"), FORMATS.parse("affine"), signed)
    weight = torch.full((1, depth), 127)
    problem = Problem(products, Geometry("linear"), weight, 0, torch.tensor(0), torch.tensor(-255))
    for name in ("exact", "factored", "table"):
        assert prepare(problem, name)[1](torch.full((1, depth), 255)).item() == 255 * 127 * 9216 - 255


def test_one_pointwise_layer_on_images_of_one_and_of_many_pixels() -> None:
    problem, codes = _problem(SPECS[1], "pointwise", False)
    engine, table = prepare(problem, "factored")[1], prepare(problem, "table")[1]
    for part in (codes[:, :, :1, :1], codes, codes[:1, :, 1:2, 1:2], codes[:, :, 2:, :1]):
        assert torch.equal(engine(part), table(part))


WIDE = [("exact:n=16", 16, "affine:bits=16"), ("exact:n=16,signed=true", 16, "fixed:bits=16"),
        ("drum:k=6,n=16", 16, "affine:bits=16"), ("exact:n=12", 12, "sign_magnitude:bits=12"),
        ("drum:k=6,n=16,signed=true", 16, "fixed:bits=16"), ("exact:n=16", 8, "affine:bits=16")]  # fmt: skip


@pytest.mark.parametrize("shape", ["odd", "depthwise", "linear"])
@pytest.mark.parametrize("multiplier, bits, weight", WIDE)
def test_wide_operands_are_multiplied_digit_by_digit(
    shape: str, multiplier: str, bits: int, weight: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "exact" if multiplier.startswith("exact") else "logarithmic"
    activation = f"fixed:bits={bits}" if "signed" in multiplier else f"affine:bits={bits}"
    for extreme in (False, True):
        problem, codes = _problem((multiplier, activation, weight), shape, extreme)
        engine = prepare(problem, name)[1]
        assert "int8 products of digits" in engine.how
        with monkeypatch.context() as patch:
            for module in (exact, separable):
                patch.setattr(module, "obstacle", lambda problem, most_bits=8: "told so")
            in_float64 = prepare(problem, name)[1]
        assert "float64" in in_float64.how
        assert torch.equal(engine(codes), in_float64(codes))
        assert engine(codes[:0]).shape[0] == 0


def test_wide_sums_of_73728_products() -> None:
    fmt = FORMATS.parse("affine:bits=16")
    products = Products(MULTIPLIERS.parse("exact:n=16"), fmt, fmt)
    weight = torch.full((2, 73728), 65535)
    problem = Problem(products, Geometry("linear"), weight, 0, torch.tensor([0, 32768]), torch.tensor(-255))
    engine = prepare(problem, "exact")[1]
    assert "int8 products of digits" in engine.how
    expected = [65535 * 65535 * 73728 - 255, 65535 * 32767 * 73728 - 255]
    assert engine(torch.full((1, 73728), 65535)).tolist() == [expected]


UNDER_A_LIMIT = """
import sys
sys.path.insert(0, {tests!r})
import torch
import test_fused as t
for shape in t.GEOMETRIES:
    for spec in t.SPECS:
        problem, codes = t._problem(spec, shape, True)
        name = "exact" if spec[0].startswith("exact") else "factored"
        got = t.prepare(problem, name)[1](codes)
        assert torch.equal(got, t.prepare(problem, "table")[1](codes)), (shape, spec)
print("right")
"""


@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE"])
def test_limits_of_onednn_do_not_matter(isa: str) -> None:
    program = UNDER_A_LIMIT.format(tests=os.path.dirname(__file__))
    environment: Any = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split()[-1:] == ["right"], done.stderr


def test_bad_arguments_are_errors() -> None:
    from carrysave._native import DigitWeights, digit_sums

    v, largest = np.zeros((2, 6, 3, 3, 3), np.int8), np.full(2, 255, np.uint8)
    with pytest.raises(ValueError, match="passes: one plane and shift for each of v expected"):
        DigitWeights(v, [(0, 0)], 1, largest)
    with pytest.raises(ValueError, match="passes: a plane is not there"):
        DigitWeights(v, [(0, 0), (2, 0)], 1, largest)
    with pytest.raises(ValueError, match="groups: they must divide the outputs"):
        DigitWeights(v, [(0, 0), (1, 0)], 4, largest)
    with pytest.raises(TypeError, match="incompatible function arguments"):
        DigitWeights(v.astype(np.int64), [(0, 0), (1, 0)], 1, largest)
    weights = DigitWeights(v, [(0, 0), (1, 0)], 1, largest)
    codes, out = np.zeros((1, 3, 4, 4), np.uint8), np.zeros((1, 6, 4, 4), np.int64)
    good: dict[str, Any] = {
        "weights": weights, "codes": codes, "halo": 0, "out": out, "stride": (1, 1), "padding": (1, 1),
        "dilation": (1, 1), "tables": np.zeros((2, 256), np.uint8), "addend": None,
        "constant": np.zeros(6, np.int64), "bound": 0.0, "threads": 1,
    }  # fmt: skip
    digit_sums(**good)
    for name, value, message in (
        ("padding", (0, 0), "out: dimension 2 is 4, expected 2"),
        ("codes", np.zeros((1, 4, 4, 4), np.uint8), "weights: 27 taps, the input and kernel have 36"),
        ("halo", 256, "halo: 0 to 255 expected"),
        ("tables", np.zeros((1, 256), np.uint8), "tables: 256 entries for each plane expected"),
        ("addend", np.zeros(3, np.int32), "addend: 256 entries expected"),
        ("constant", np.zeros(5, np.int64), "constant: one entry per output expected"),
        ("bound", float("nan"), "bound: 0 to 4e18 expected"),
        ("threads", 0, "threads: 1 to 4096 expected"),
    ):
        with pytest.raises(ValueError, match=message):
            digit_sums(**{**good, name: value})


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
