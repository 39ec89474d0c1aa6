"""Engines: all of them give, bit for bit, the integers of the loops in reference.py; those are checked by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carrysave import native
from carrysave.engines.plan import ENGINES, plan, prepare
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.engines.sums import LIMITS, SumOfProducts
from carrysave.formats import FORMATS
from carrysave.multipliers import MULTIPLIERS, Multiplier
from scrambled import Scrambled

FAST = [name for name in ENGINES if name != "reference"]
UNSIGNED = [("affine:bits={n}", "affine:bits={n}"), ("affine:bits={n}", "sign_magnitude:bits={n}"),
            ("sign_magnitude:bits={n}", "sign_magnitude:bits={n}"), ("affine:bits=3", "affine:bits={n}")]  # fmt: skip
SPECS = ["exact", "kulkarni", "kulkarni:depth=3", "or_compressed", "compressed:heam", "truncated:c=6", "drum:k=4"]
SPECS += ["recovery:c=6", "exact:n=4", "kulkarni:n=4", "exact:signed=true", "drum:k=4,signed=true", "mitchell_w:w=6"]


def _multipliers() -> st.SearchStrategy[Multiplier]:
    scrambled = st.builds(Scrambled, n=st.sampled_from([3, 4, 8]), seed=st.integers(0, 1 << 16), signed=st.booleans())
    return st.one_of(st.sampled_from([MULTIPLIERS.parse(s) for s in SPECS]), scrambled)


@st.composite
def _products(draw: Any) -> Products:
    m = draw(_multipliers())
    formats = [("fixed:bits={n}", "fixed:bits={n}")] if m.signed else UNSIGNED
    activation, weight = draw(st.sampled_from(formats))
    return Products(m, FORMATS.parse(activation.format(n=m.n)), FORMATS.parse(weight.format(n=m.n)))


def _codes(draw: Any, fmt: Any, shape: tuple[int, ...]) -> torch.Tensor:
    """Codes over the whole range, or at its ends only."""
    generator = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    codes = generator.integers(fmt.low, fmt.high + 1, shape)
    if draw(st.booleans()):
        codes = np.where(codes % 2 == 0, fmt.low, fmt.high)
    return torch.from_numpy(codes.astype(np.int32))


def _zero(draw: Any, fmt: Any, channels: int) -> torch.Tensor:
    if fmt.low < 0:
        return torch.zeros((), dtype=torch.int64)
    shape = draw(st.sampled_from([(), (channels,)]))
    return _codes(draw, fmt, shape).to(torch.int64)


@st.composite
def _conv(draw: Any) -> tuple[Problem, torch.Tensor]:
    products = draw(_products())
    groups, depth, width = draw(st.sampled_from([(1, 1, 2), (1, 3, 2), (2, 2, 1), (3, 1, 1), (2, 1, 2)]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pairs = st.tuples(st.integers(1, 2), st.integers(1, 2))
    geometry = Geometry("conv", draw(pairs), draw(st.tuples(st.integers(0, 2), st.integers(0, 2))), draw(pairs), groups)
    outputs = groups * width
    weight = _codes(draw, products.weight, (outputs, depth, *kernel))
    zero = 0 if products.activation.low < 0 else draw(st.integers(0, products.activation.high))
    bias = torch.tensor(draw(st.lists(st.integers(-(10**6), 10**6), min_size=outputs, max_size=outputs)))
    problem = Problem(products, geometry, weight, zero, _zero(draw, products.weight, outputs), bias)
    size = (draw(st.integers(0, 2)), groups * depth, draw(st.integers(5, 6)), draw(st.integers(5, 7)))
    return problem, _codes(draw, products.activation, size)


def _agree(problem: Problem, *codes: torch.Tensor) -> None:
    expected = ENGINES["reference"].prepare(problem)(*codes)
    assert expected.dtype == torch.int64
    for name in FAST:
        if ENGINES[name].refuses(problem) is None:
            _, engine = prepare(problem, name)
            got = engine(*codes)
            assert got.dtype == torch.int64 and torch.equal(got, expected), name
            assert torch.equal(engine(*codes), expected), f"{name}, called again"


@settings(max_examples=40)
@given(_conv())
def test_all_engines_agree_on_convolutions(case: tuple[Problem, torch.Tensor]) -> None:
    _agree(*case)


@settings(max_examples=30)
@given(st.data())
def test_all_engines_agree_on_linear_layers(data: Any) -> None:
    products = data.draw(_products())
    rows, depth, outputs = (data.draw(st.integers(low, 9)) for low in (0, 1, 1))
    zero = 0 if products.activation.low < 0 else data.draw(st.integers(0, products.activation.high))
    weight = _codes(data.draw, products.weight, (outputs, depth))
    bias = torch.tensor(data.draw(st.integers(-99, 99)))
    problem = Problem(products, Geometry("linear"), weight, zero, _zero(data.draw, products.weight, outputs), bias)
    _agree(problem, _codes(data.draw, products.activation, (rows, depth)))


@settings(max_examples=30)
@given(st.data())
def test_all_engines_agree_on_matmuls(data: Any) -> None:
    products = data.draw(_products())
    batch, rows, depth, columns = (data.draw(st.integers(1, 4)) for _ in range(4))
    zero = 0 if products.activation.low < 0 else data.draw(st.integers(0, products.activation.high))
    weight_zero = (
        _codes(data.draw, products.weight, ()).to(torch.int64) if products.weight.low == 0 else torch.tensor(0)
    )
    problem = Problem(products, Geometry("matmul"), None, zero, weight_zero)
    x = _codes(data.draw, products.activation, (batch, rows, depth))
    _agree(problem, x, _codes(data.draw, products.weight, (batch, depth, columns)))


@pytest.mark.parametrize(
    "spec", ["kulkarni:n=16", "drum:k=6,n=16,signed=true", "mitchell:n=16", "exact:n=32,signed=true"]
)
def test_wide_multipliers_are_evaluated_by_their_definition(spec: str) -> None:
    m = MULTIPLIERS.parse(spec)
    fmt = FORMATS.parse(f"fixed:bits={m.n}" if m.signed else "affine:bits=16")
    products = Products(m, fmt, fmt)
    generator = np.random.default_rng(0)
    w = torch.from_numpy(generator.integers(fmt.low // 2, fmt.high // 2, (4, 2, 2, 2)))
    x = torch.from_numpy(generator.integers(fmt.low // 2, fmt.high // 2, (2, 4, 3, 3)))
    zero = 0 if m.signed else 777
    problem = Problem(
        products, Geometry("conv", padding=(1, 1), groups=2), w, zero, torch.tensor(zero), torch.tensor(9)
    )
    assert plan(m, problem).engine in ("vector", "exact", "logarithmic")
    _agree(problem, x)


def test_reference_by_hand() -> None:
    # Kulkarni: 3 * 3 = 7, all else of two bits exact. x = 3, 2; w = 3, 3; zx = 1, zw = 2; bias 10
    #   (7 - 2*3 - 1*3 + 2) + (6 - 2*2 - 1*3 + 2) + 10 = 0 + 1 + 10
    products = Products(
        MULTIPLIERS.parse("kulkarni:n=2"), FORMATS.parse("affine:bits=2"), FORMATS.parse("affine:bits=2")
    )
    problem = Problem(
        products, Geometry("linear"), torch.tensor([[3, 3]]), 1, torch.tensor(2), torch.tensor(10)
    )  # fmt: skip
    for name in ("reference", "factored", "table", "vector"):
        assert prepare(problem, name)[1](torch.tensor([[3, 2]])).tolist() == [[11]]


def test_padding_enters_the_multiplier_as_the_zero_code() -> None:
    # one pixel 2, a 1x3 kernel of 3s, one column of padding with code 3: M(3,3) = 7 + M(2,3) = 6 + 7
    products = Products(
        MULTIPLIERS.parse("kulkarni:n=2"), FORMATS.parse("affine:bits=2"), FORMATS.parse("affine:bits=2")
    )
    weight = torch.full((1, 1, 1, 3), 3)
    problem = Problem(products, Geometry("conv", padding=(0, 1)), weight, 3)
    expected = (7 + 6 + 7) - 3 * 9  # zx = 3 times the sum of the weights; zw = 0
    for name in ("reference", "factored", "table", "vector"):
        assert prepare(problem, name)[1](torch.tensor([[[[2]]]])).tolist() == [[[[expected]]]]


def test_signs_go_round_an_unsigned_multiplier() -> None:
    products = Products(MULTIPLIERS.parse("kulkarni"), FORMATS.parse("affine"), FORMATS.parse("sign_magnitude"))
    assert products.table[3, 127 + 3] == 7 and products.table[3, 127 - 3] == -7
    signed = Products(MULTIPLIERS.parse("kulkarni:signed=true"), FORMATS.parse("fixed"), FORMATS.parse("fixed"))
    assert signed.table[128 - 3, 128 + 3] == -7 and signed.table[128 - 3, 128 - 3] == 7
    assert np.array_equal(signed.multiply(np.arange(-128, 128)[:, None], np.arange(-128, 128)), signed.table)


@pytest.mark.parametrize("spec", ["exact", "kulkarni", "recovery:c=6"])
@pytest.mark.parametrize("depth, rows", [(73728, 2), (2000, 300)], ids=["deep", "many"])
def test_long_sums_of_extreme_codes_stay_exact(spec: str, depth: int, rows: int) -> None:
    m = MULTIPLIERS.parse(spec)
    products = Products(m, FORMATS.parse("affine"), FORMATS.parse("affine"))
    w = torch.full((2, depth), 255)
    w[1] = torch.arange(depth) % 256
    x = torch.full((rows, depth), 255, dtype=torch.int32)
    x[1] = torch.arange(depth, 0, -1) % 256
    problem = Problem(products, Geometry("linear"), w, 0, torch.tensor([0, 128]), torch.tensor([-255, 3]))
    table = products.table
    corrected = [table[x[i].numpy()][np.arange(depth), w[o].numpy()].sum() for i in (0, 1) for o in (0, 1)]
    corrected[1] -= 128 * int(x[0].sum())
    corrected[3] -= 128 * int(x[1].sum())
    for name in ("exact", "factored", "table"):
        if ENGINES[name].refuses(problem) is None:
            acc = prepare(problem, name)[1](x)
            assert [int(acc[i, o]) + (255 if o == 0 else -3) for i in (0, 1) for o in (0, 1)] == corrected, name
    if spec == "exact" and depth == 73728:
        acc = prepare(problem)[1](x)
        assert int(acc[0, 0]) == 255 * 255 * depth - 255 > 1 << 31


def test_sums_are_split_where_float32_would_round() -> None:
    w = torch.full((1, 300), 255, dtype=torch.int64)
    total = SumOfProducts(Geometry("linear"), w, torch.full((300,), 255))
    assert (total.dtype, total.parts, total.bound) == (torch.float32, 2, 255 * 255 * 300)
    assert total.bound > LIMITS[torch.float32] >= 255 * 255 * 258
    assert int(total(torch.full((1, 300), 255))) == 255 * 255 * 300
    wide = SumOfProducts(Geometry("linear"), w << 10, torch.full((300,), 1 << 20))
    assert wide.dtype == torch.float64
    assert int(wide(torch.full((1, 300), 1 << 20))) == 300 * 255 << 30
    wider = SumOfProducts(Geometry("linear"), w << 36, torch.full((300,), 255))
    assert wider.dtype == torch.int64 and int(wider(torch.full((1, 300), 255))) == 300 * 255 * 255 << 36
    with pytest.raises(OverflowError, match="beyond the 2\\^62"):
        SumOfProducts(Geometry("linear"), w << 50, torch.full((300,), 255))(torch.full((1, 300), 255))


def test_reduced_float32_precision_does_not_reach_the_sums() -> None:
    w = torch.randint(-127, 128, (8, 64), generator=torch.Generator().manual_seed(0))
    x = torch.randint(0, 256, (16, 64), generator=torch.Generator().manual_seed(1))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        got = SumOfProducts(Geometry("linear"), w, torch.full((64,), 255))(x)
    finally:
        torch.set_float32_matmul_precision(before)
    assert np.array_equal(got.numpy(), x.numpy() @ w.numpy().T)


def test_plans_explain_themselves() -> None:
    kulkarni = MULTIPLIERS.parse("kulkarni")
    text = str(plan(kulkarni))
    kind, sums = ("int8", "int32") if native.available else ("float32", "float32")
    assert text.startswith(f"factored, rank 2, 2 digits: 2 {kind} convolutions in one, exact in {sums} up to K = ")
    assert str(plan(MULTIPLIERS.parse("exact"))).startswith("exact, rank 1, 1 digit: ")
    assert str(plan(MULTIPLIERS.parse("recovery:c=6"))).startswith("table: the rank is above 8")
    products = Products(kulkarni, FORMATS.parse("affine"), FORMATS.parse("affine"))
    problem = Problem(products, Geometry("linear"), torch.tensor([[0, 1, 2, 4]]))
    assert str(plan(kulkarni, problem)).startswith("factored, rank 1 (the multiplier: 2), 1 digit: ")
    assert plan(kulkarni, problem, engine="table").why.startswith("asked for by name")
    assert plan(MULTIPLIERS.parse("kulkarni:n=16")).engine == "vector"


def test_errors_say_what_to_do() -> None:
    kulkarni, affine = MULTIPLIERS.parse("kulkarni"), FORMATS.parse("affine")
    with pytest.raises(ValueError, match=r"unknown engine 'tabel' \(did you mean 'table'\?\)"):
        plan(kulkarni, engine="tabel")
    with pytest.raises(
        ValueError, match="engine 'exact' cannot serve this: the products of kulkarni are not all exact"
    ):
        plan(kulkarni, engine="exact")
    with pytest.raises(ValueError, match="use signed=true, or the format sign_magnitude:bits=8, or affine"):
        Products(kulkarni, affine, FORMATS.parse("fixed"))
    with pytest.raises(
        ValueError, match="codes 0 to 255, but the multiplier takes signed operands -128 to 127; use the "
    ):
        Products(MULTIPLIERS.parse("kulkarni:signed=true"), affine, affine)
    with pytest.raises(
        ValueError, match="codes 0 to 4095, but the multiplier takes unsigned operands 0 to 255; use a "
    ):
        Products(kulkarni, FORMATS.parse("affine:bits=12"), affine)
    problem = Problem(Products(kulkarni, affine, affine), Geometry("matmul"), None)
    with pytest.raises(ValueError, match="multiplies with kulkarni, not with exact"):
        plan(MULTIPLIERS.parse("exact"), problem)
