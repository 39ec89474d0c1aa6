"""The GPU engines against the reference, on a GPU or in Triton's interpreter. Run by test_gpu.py, or by hand:

    TRITON_INTERPRET=1 python -m pytest tests/gpu_kernels.py        anywhere, with triton
    python -m pytest tests/gpu_kernels.py                           on a machine with a CUDA GPU
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carrysave.calibration import calibrate
from carrysave.emulation import emulate
from carrysave.engines.gpu import dots, look_ups
from carrysave.engines.gpu.digits import Digits, digits_of
from carrysave.engines.gpu.select import obstacle
from carrysave.engines.plan import ENGINES, prepare
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.engines.reference import REFERENCE
from carrysave.engines.vector import VECTOR
from carrysave.formats import FORMATS
from carrysave.multipliers import MULTIPLIERS
from carrysave.quantizers import Quantizer

pytest.importorskip("triton", reason="needs triton: pip install 'carrysave[gpu]'")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
if not INTERPRETED and not torch.cuda.is_available():
    pytest.skip("needs a CUDA device, or TRITON_INTERPRET=1", allow_module_level=True)

EXAMPLES = 2 if INTERPRETED else 100
AFFINE, SIGN_MAGNITUDE, FIXED = "affine:bits=8", "sign_magnitude:bits=8", "fixed:bits=8"
# (multiplier, activation, weight, products of digits where the weights have one zero); the ranks are those of DESIGN.md
DIGITS = [
    ("exact", AFFINE, AFFINE, 1), ("exact:signed=true", FIXED, FIXED, 1), ("drum:k=4", AFFINE, SIGN_MAGNITUDE, 1),
    ("drum:k=6", AFFINE, AFFINE, 1), ("kulkarni", AFFINE, AFFINE, 2), ("kulkarni", AFFINE, SIGN_MAGNITUDE, 2),
    ("compressed:heam", AFFINE, AFFINE, 5), ("exact:n=16,signed=true", "fixed:bits=16", "fixed:bits=16", 4),
    ("drum:k=6,n=16", "affine:bits=16", "affine:bits=16", 4),
]  # fmt: skip
TABLES = [
    ("recovery:c=6", AFFINE, AFFINE), ("truncated:c=6", AFFINE, SIGN_MAGNITUDE), ("exact:n=4", "affine:bits=4",
    "affine:bits=4"), ("kulkarni:n=10", "affine:bits=10", "affine:bits=10"),
]  # fmt: skip
# words of 32 and of 64 bits; signs round the multiplier, and complements
LOGARITHMS = [
    ("mitchell", AFFINE, AFFINE), ("mitchell", AFFINE, SIGN_MAGNITUDE), ("mitchell:signed=true", FIXED, FIXED),
    ("mitchell_w:w=6", FIXED, FIXED), ("mitchell:n=16", "affine:bits=16", "affine:bits=16"),
    ("mitchell:n=16", "affine:bits=16", "sign_magnitude:bits=16"),
    ("mitchell_w:n=16,w=6", "fixed:bits=16", "fixed:bits=16"),
    ("mitchell:n=28,signed=true", "fixed:bits=28", "fixed:bits=28"),
    ("mitchell_w:n=32,w=8", "fixed:bits=32", "fixed:bits=32"),
]  # fmt: skip
WIDE = [
    ("exact:n=32,signed=true", "fixed:bits=32", "fixed:bits=32"),
    ("mitchell:n=16", "sign_magnitude:bits=17", "affine:bits=16"),
    ("drum:k=12,n=24,signed=true", "fixed:bits=24", "fixed:bits=24"),
]


def _products(case: tuple[Any, ...]) -> Products:
    return Products(MULTIPLIERS.parse(case[0]), FORMATS.parse(case[1]), FORMATS.parse(case[2]))


def _on_device(problem: Problem) -> Problem:
    assert problem.weight is not None
    moved = {name: getattr(problem, name).to(DEVICE) for name in ("weight", "weight_zero", "bias")}
    return replace(problem, **moved)


def _codes(fmt: Any, shape: tuple[int, ...], generator: np.random.Generator, extreme: bool) -> torch.Tensor:
    codes = generator.integers(fmt.low, fmt.high + 1, shape)
    if extreme:
        codes = np.where(codes % 2 == 0, fmt.low, fmt.high)
    if fmt.bits == 32:
        codes >>= 4  # sums of the widest products would leave int64
    return torch.from_numpy(codes if fmt.bits > 24 else codes.astype(np.int32))


def _zero(fmt: Any, shape: tuple[int, ...], generator: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(np.array(generator.integers(0, fmt.high + 1 if fmt.low == 0 else 1, shape)))


@st.composite
def _layer(draw: Any, products: Products, deepest: int = 3) -> tuple[Problem, torch.Tensor]:
    generator = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    linear, extreme = draw(st.booleans()), draw(st.booleans())
    groups, depth, width = draw(st.sampled_from([(1, 1, 2), (1, deepest, 17), (2, 2, 1), (3, 1, 1)]))
    kernel, pairs = draw(st.tuples(st.integers(1, 3), st.integers(1, 2))), st.tuples(*[st.integers(1, 2)] * 2)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 1)))
    geometry = Geometry("conv", draw(pairs), padding, draw(pairs), groups)
    shape, image = (groups * width, depth, *kernel), (draw(st.integers(0, 2)), groups * depth, 5, 4)
    if linear:
        geometry, shape, image = Geometry("linear"), (width, depth), (draw(st.integers(0, 20)), depth)
    zero = int(_zero(products.activation, (), generator))
    weight_zero = _zero(products.weight, draw(st.sampled_from([(), (shape[0],)])), generator)
    bias = torch.from_numpy(generator.integers(-(10**6), 10**6, draw(st.sampled_from([(), (shape[0],)]))))
    weight = _codes(products.weight, shape, generator, extreme)
    problem = Problem(products, geometry, weight, zero, weight_zero, torch.as_tensor(bias))
    return problem, _codes(products.activation, image, generator, extreme)


def _agree(problem: Problem, codes: torch.Tensor, name: str) -> None:
    """Accumulators of codes and results of values, contiguous and channels last."""
    wide = problem.products.activation.bits > 16
    truth = VECTOR if wide else REFERENCE
    expected = truth.prepare(problem)(codes)
    _, engine = prepare(_on_device(problem), name)
    assert engine.how.startswith("Triton, "), engine.how
    for layout in _layouts(codes):
        got = engine(layout.to(DEVICE))
        assert got.dtype == torch.int64 and got.device.type == DEVICE and torch.equal(got.cpu(), expected)
    if engine.layer is None:
        assert wide or "products" in engine.how
        return
    fmt = problem.products.activation
    quantizer = Quantizer(fmt, torch.tensor(0.37), torch.tensor(problem.activation_zero))
    values = (codes - problem.activation_zero).to(torch.float32) * 0.37 + 0.13
    values[..., -1:] *= 3  # some saturate
    scale = torch.rand(len(problem.weights), generator=torch.Generator().manual_seed(1))
    exact = prepare(problem, "vector")[1](quantizer.codes(values)).to(torch.float32)
    wanted = exact * scale.reshape(-1, *(1,) * (codes.ndim - 2))
    for layout in _layouts(values):
        got = engine.layer(layout.to(DEVICE), quantizer, scale.to(DEVICE))
        assert got.dtype == torch.float32 and torch.equal(got.cpu(), wanted)
        if layout.ndim == 4 and got.numel() and got.shape[1] > 1:
            assert got.is_contiguous() or layout.is_contiguous(memory_format=torch.channels_last)


def _layouts(x: torch.Tensor) -> list[torch.Tensor]:
    return [x] if x.ndim < 4 else [x, x.contiguous(memory_format=torch.channels_last)]


def _quick() -> Any:
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=EXAMPLES, suppress_health_check=slow)


def test_the_kernels_run_here() -> None:
    assert obstacle(torch.device(DEVICE)) is None


@pytest.mark.parametrize("case", DIGITS, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_sums_of_digits(case: tuple[str, str, str, int]) -> None:
    products = _products(case)
    name = "exact" if products.exact else "factored" if products.has_table else "logarithmic"
    codes = torch.arange(products.weight.low, products.weight.high + 1, max(1, products.weight.high // 255))
    every = digits_of(_on_device(Problem(products, Geometry("linear"), codes[None])))
    assert isinstance(every, Digits) and every.planes == case[3]

    @_quick()
    @given(_layer(products, 33))
    def agree(layer: tuple[Problem, torch.Tensor]) -> None:
        _agree(*layer, name)

    agree()


@pytest.mark.parametrize("case", TABLES, ids=lambda case: case[0])
def test_look_ups(case: tuple[str, str, str]) -> None:
    @_quick()
    @given(_layer(_products(case)))
    def agree(layer: tuple[Problem, torch.Tensor]) -> None:
        _agree(*layer, "table")

    agree()


@pytest.mark.parametrize("row_bytes", [1 << 20, 1 << 7], ids=["one part", "parts"])
def test_look_ups_in_rows(row_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_ups, "ROW_BYTES", row_bytes)
    generator, products = np.random.default_rng(0), _products(("kulkarni:n=4", "affine:bits=4", "affine:bits=4"))
    weight, zeros = _codes(products.weight, (4, 2, 2, 2), generator, False), _zero(products.weight, (4,), generator)
    geometry = Geometry("conv", groups=2)
    problem = Problem(products, geometry, weight, 5, zeros, torch.arange(4))
    _agree(problem, _codes(products.activation, (1, 4, 5, 5), generator, False), "table")  # 16 positions and codes


@pytest.mark.parametrize("case", LOGARITHMS + WIDE, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_logarithms_and_wide_products(case: tuple[str, str, str]) -> None:
    products = _products(case)

    @_quick()
    @given(_layer(products))
    def agree(layer: tuple[Problem, torch.Tensor]) -> None:
        _agree(*layer, "exact" if products.exact else "logarithmic")

    agree()


@pytest.mark.parametrize("spec, bits", [("exact", 8), ("exact:n=16", 16)])
def test_long_sums_of_extreme_codes(spec: str, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if INTERPRETED:  # fewer, larger steps
        monkeypatch.setattr(dots, "MOST_DEPTH", 8192)
        monkeypatch.setattr(dots, "EXPAND", (2, 8192))
    depth, fmt = 73_728, FORMATS.parse(f"affine:bits={bits}")
    w = torch.where(torch.arange(depth) % 3 == 0, fmt.high - 1, fmt.high)[None].repeat(2, 1)
    w[1] = torch.arange(depth) % 2 * fmt.high
    x = torch.where(torch.arange(depth) % 5 == 0, fmt.low, fmt.high)[None].repeat(2, 1)
    x[1] = fmt.high
    problem = Problem(Products(MULTIPLIERS.parse(spec), fmt, fmt), Geometry("linear"), w, 0, torch.tensor(0),
                      torch.tensor(-255))  # fmt: skip
    expected = x @ w.T - 255
    assert int(expected.max()) > 1 << 31
    found = digits_of(_on_device(problem))
    assert isinstance(found, Digits)
    assert bits == 8 or max(p.bound for p in found.places) >= 1 << 31  # int32 sums are split
    got = prepare(_on_device(problem), "exact")[1](x.to(DEVICE))
    assert torch.equal(got.cpu(), expected)


def test_sums_are_split_and_batches_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dots, "INT32", 2.0**16)
    monkeypatch.setattr(dots, "MOST_DIGITS", 64)
    monkeypatch.setattr(dots, "CHUNK", 4096)
    generator = np.random.default_rng(0)
    for spec, name in (("exact", "exact"), ("kulkarni", "factored")):
        products = _products((spec, AFFINE, AFFINE))
        weight = _codes(products.weight, (3, 40, 2, 2), generator, True)
        problem = Problem(products, Geometry("conv", padding=(1, 1)), weight, 99, torch.tensor([1, 0, 255]))
        _agree(problem, _codes(products.activation, (3, 40, 2, 3), generator, True), name)


def test_whole_layers_take_the_kernels() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2, padding=1), torch.nn.ReLU(), torch.nn.Flatten(),
                                torch.nn.Linear(27, 5)).eval()  # fmt: skip
    x = torch.rand(3, 2, 2, 2)
    calibration = calibrate(model, x, samples=3)
    for spec in ("kulkarni", "recovery:c=6"):
        wanted = emulate(model, calibration, multiplier=spec, engine="vector")(x)
        net = emulate(model, calibration, multiplier=spec).to(DEVICE)
        assert torch.equal(net(x.to(DEVICE)).cpu(), wanted)
        assert all("Triton, " in str(layer.plan) for layer in net.replaced)


def test_the_plan_says_what_runs() -> None:
    kulkarni = _products(("kulkarni", AFFINE, AFFINE))
    weight = torch.arange(256).reshape(4, 64)
    plan, _ = prepare(_on_device(Problem(kulkarni, Geometry("linear"), weight)))
    text = "factored, rank 2, 2 digits: proved to be this sum of products; Triton, 2 int8 products"
    assert str(plan).startswith(text)
    recovery = _products(("recovery:c=6", AFFINE, AFFINE))
    plan, _ = prepare(_on_device(Problem(recovery, Geometry("linear"), weight)))
    assert str(plan) == "table: the rank is above 8; Triton, 2 bytes per look-up"
    assert {"exact", "factored", "table", "logarithmic"} < set(ENGINES)
