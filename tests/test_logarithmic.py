"""The logarithmic engine: parts give the multiplier, and the engine gives the reference, at every width and set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from carrysave import native
from carrysave.bits import Word
from carrysave.engines.logarithmic import LOGARITHMIC
from carrysave.engines.logarithmic_native import coded
from carrysave.engines.plan import plan, prepare
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.formats import FORMATS
from carrysave.layers import rescaled
from carrysave.multipliers import MULTIPLIERS, Multiplier
from carrysave.multipliers.parts import Logarithmic, Separable
from carrysave.planes import PlaneWord
from carrysave.quantizers import Quantizer

needs_native = pytest.mark.skipif(not native.available, reason="the native module is not installed")
SETS = __import__("carrysave._native", fromlist=["x"]).instruction_sets() if native.available else []
# every rounding (down, magnitude, toward_zero, complement), in words of 32 and of 64 bits
CASES = [
    ("mitchell", "affine", "affine"), ("mitchell", "affine", "sign_magnitude"),
    ("mitchell:signed=true", "fixed", "fixed"),
    ("mitchell_w:w=6", "fixed", "fixed"), ("mitchell_w:n=11,w=6", "fixed:bits=11", "fixed:bits=11"),
    ("mitchell:n=12,signed=true", "fixed:bits=12", "fixed:bits=12"),
    ("mitchell_w:n=13,w=6", "fixed:bits=13", "fixed:bits=13"),
    ("mitchell:n=16", "affine:bits=16", "affine:bits=16"), ("mitchell_w:n=16,w=6", "fixed:bits=16", "fixed:bits=16"),
    ("mitchell:n=16", "affine:bits=16", "sign_magnitude:bits=16"),
    ("mitchell_w:n=24,w=6", "fixed:bits=24", "fixed:bits=24"),
    ("mitchell:n=28,signed=true", "fixed:bits=28", "fixed:bits=28"),
    ("mitchell_w:n=32,w=8", "fixed:bits=32", "fixed:bits=32"),
]  # fmt: skip
SEPARABLE = [
    ("drum:k=6,n=16", "affine:bits=16", "affine:bits=16"), ("drum:k=6", "affine", "sign_magnitude"),
    ("drum:k=4,n=16,signed=true", "fixed:bits=16", "fixed:bits=16"),
    ("drum:k=12,n=24,signed=true", "fixed:bits=24", "fixed:bits=24"),
]  # fmt: skip


def _problem(case: tuple[str, str, str], kind: str, seed: int) -> tuple[Problem, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    a, w = FORMATS.parse(case[1]), FORMATS.parse(case[2])
    products = Products(MULTIPLIERS.parse(case[0]), a, w)
    geometry, xs, ws = Geometry("linear"), (5, 9), (4, 9)
    if kind == "conv":
        geometry, xs, ws = Geometry("conv", (2, 1), (1, 2), (1, 2), 2), (2, 6, 7, 8), (4, 3, 3, 2)
    x = torch.randint(a.low, a.high + 1, xs, generator=g)
    weight = torch.randint(w.low, w.high + 1, ws, generator=g)
    if w.bits == 32:
        weight //= 1 << 8  # sums of the widest products would leave int64
    x.view(-1)[:8] = torch.tensor([0, a.low, a.high, a.low + 1, 0, 1, a.high - 1, max(a.low, -1)])
    weight.view(-1)[:6] = torch.tensor([0, 1, max(w.low, -1), 0, weight.max(), weight.min()])
    zero = torch.tensor(0)
    if w.low == 0:
        zero = torch.tensor(w.high // 3) if seed % 2 else torch.randint(0, w.high, (4,), generator=g)
    return Problem(products, geometry, weight, 0 if a.low < 0 else a.high // 3, zero, torch.arange(4) * 1000), x


@needs_native
@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_every_width_and_instruction_set_equals_the_definition(
    isa: str, case: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRYSAVE_ISA", isa)
    for kind, seed in (("conv", 0), ("conv", 1), ("linear", 2)):
        problem, x = _problem(case, kind, seed)
        engine = prepare(problem, "logarithmic")[1]
        expected = prepare(problem, "vector")[1](x)
        assert torch.equal(engine(x), expected)
        if seed:
            assert torch.equal(prepare(problem, "reference")[1](x[:1]), expected[:1])


@needs_native
@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("case", CASES[:2] + CASES[3:4] + CASES[8:9], ids=lambda case: case[0])
def test_the_whole_layer_is_the_rescaled_accumulator(
    isa: str, case: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRYSAVE_ISA", isa)
    problem, codes = _problem(case, "conv", 1)
    fmt = problem.products.activation
    quantizer = Quantizer(fmt, torch.tensor(0.013), torch.tensor(problem.activation_zero))
    x = torch.randn(codes.shape, generator=torch.Generator().manual_seed(3)) * (fmt.high - fmt.low) * 0.006
    engine = prepare(problem, "logarithmic")[1]
    assert engine.layer is not None
    scale = torch.rand(4)
    assert torch.equal(engine.layer(x, quantizer, scale), rescaled(engine(quantizer.codes(x)), scale, x))


@pytest.mark.parametrize("case", SEPARABLE, ids=lambda case: case[0])
def test_separable_multipliers_are_one_exact_product(case: tuple[str, str, str]) -> None:
    for kind, seed in (("conv", 0), ("conv", 1), ("linear", 2)):
        problem, x = _problem(case, kind, seed)
        engine = prepare(problem, "logarithmic")[1]
        assert "one exact product" in engine.how
        assert torch.equal(engine(x), prepare(problem, "vector")[1](x))


LOGS = [
    ("mitchell:n=9", "affine:bits=9"), ("mitchell:n=9,signed=true", "fixed:bits=9"),
    ("mitchell_w:n=9,w=5", "fixed:bits=9"), ("mitchell_w:n=9,w=9", "fixed:bits=9"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "name"), LOGS, ids=[spec for spec, _ in LOGS])
def test_truncated_logs_are_those_of_the_circuit(spec: str, name: str) -> None:
    multiplier, fmt = MULTIPLIERS.parse(spec), FORMATS.parse(name)
    parts = multiplier.parts()
    assert isinstance(parts, Logarithmic) and parts.truncated
    codes = np.arange(fmt.low, fmt.high + 1)
    found, negative = coded(Products(multiplier, fmt, fmt), fmt, codes)
    log, some = parts.code(PlaneWord.from_ints(codes if parts.truncation == "complement" else abs(codes), 9))
    assert found.number.tolist() == log.to_ints().tolist()
    assert found.present.tolist() == some.to_ints().astype(bool).tolist()
    assert negative.tolist() == (codes < 0).tolist()


@needs_native
@pytest.mark.parametrize("isa", SETS)
def test_long_sums(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # mitchell is exact where the fractions add up to less than 1 and one of them is 0
    monkeypatch.setenv("CARRYSAVE_ISA", isa)
    depth = 73_728
    for spec, bits in (("mitchell", 8), ("mitchell:n=16", 16)):
        fmt = FORMATS.parse(f"affine:bits={bits}")
        problem = Problem(
            Products(MULTIPLIERS.parse(spec), fmt, fmt), Geometry("linear"), torch.full((1, depth), fmt.high), 0,
            torch.tensor(0), torch.tensor(-255),
        )  # fmt: skip
        top = 1 << (bits - 1)
        got = prepare(problem, "logarithmic")[1](torch.full((2, depth), top))
        assert got.tolist() == [[top * fmt.high * depth - 255]] * 2


@needs_native
def test_the_plan_takes_the_cheapest_and_compares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRYSAVE_ISA", SETS[-1])
    problem = _problem(CASES[0], "conv", 1)[0]
    chosen = plan(problem.products.multiplier, problem)
    assert (chosen.engine == "logarithmic") and ", table about " in chosen.why
    wide = _problem(CASES[7], "conv", 1)[0]
    assert plan(wide.products.multiplier, wide).why.startswith("its parts are known, and it is too wide for a table; ")


@needs_native
def test_sums_that_could_leave_int64_are_an_error() -> None:
    fmt = FORMATS.parse("fixed:bits=32")
    products = Products(MULTIPLIERS.parse("mitchell_w:n=32,w=8"), fmt, fmt)
    problem = Problem(products, Geometry("linear"), torch.full((1, 8), fmt.low))
    with pytest.raises(OverflowError, match="use formats with fewer bits, or engine='vector'"):
        prepare(problem, "logarithmic")[1](torch.full((1, 8), fmt.low))


def test_parts_that_do_not_rebuild_the_products_are_refused() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Liar(Multiplier):
        name = "liar"

        def product(self, a: Word, b: Word) -> Word:
            return a & b

        def parts(self) -> Separable:
            return Separable(lambda v: (v, v.const(0, 1)))

        @property
        def spec(self) -> str:
            return "liar"

    fmt = FORMATS.parse("affine")
    problem = Problem(Products(Liar(), fmt, fmt), Geometry("linear"), torch.zeros((1, 1)))
    assert LOGARITHMIC.refuses(problem) == "the parts of liar do not rebuild its products"
    other = Problem(Products(MULTIPLIERS.parse("kulkarni"), fmt, fmt), Geometry("linear"), torch.zeros((1, 1)))
    assert LOGARITHMIC.refuses(other) == "kulkarni states no parts that are logarithmic or separable"


@needs_native
def test_bad_arguments_are_errors() -> None:
    from carrysave._native import LogWeights32, log_conv, log_words32

    logs, there = np.zeros(3, np.int64), np.ones(3, bool)
    with pytest.raises(ValueError, match="logs, present, negative, out: one length expected"):
        log_words32(logs, there, there, 7, "down", False, np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="rounding: down, magnitude"):
        log_words32(logs, there, there, 7, "up", False, np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="logs: out of range"):
        log_words32(logs + (40 << 7), there, there, 7, "down", False, np.zeros(3, np.int32))
    with pytest.raises(ValueError, match="too large for `down`"):
        LogWeights32(np.full((1, 4), -(1 << 30), np.int32), 1, 1, "down", 1e9, True)
    weights = LogWeights32(np.zeros((2, 4), np.int32), 1, 1, "down", 100.0, False)
    out, table = np.zeros((1, 2, 3, 3), np.int64), np.zeros(4, np.int32)
    window = ((1, 1), (1, 1), (0, 0), (1, 1))
    codes = np.full((1, 4, 3, 3), 4, np.uint8)
    with pytest.raises(ValueError, match="codes: beyond the table's end"):
        log_conv(weights, codes, table, 0, out, *window, 1, None, None, None, 1)
    with pytest.raises(ValueError, match="weights: 4 taps, the input and kernel have 2"):
        log_conv(weights, codes, table, 0, out, *window, 2, None, None, None, 1)
    with pytest.raises(ValueError, match="box: \\[N, groups, H', W'\\] expected"):
        log_conv(weights, codes * 0, table, 0, out, *window, 1, None, np.zeros((1, 1, 2, 3), np.int32), None, 1)
