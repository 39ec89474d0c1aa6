"""The native table kernel through its binding and through layers, on every instruction set that this machine has."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carrysave import native
from carrysave.engines.plan import prepare
from carrysave.engines.problem import Geometry, Problem, Products
from carrysave.formats import FORMATS
from carrysave.layers import rescaled
from carrysave.multipliers import MULTIPLIERS
from carrysave.quantizers import Quantizer
from scrambled import Scrambled

pytestmark = pytest.mark.skipif(not native.available, reason="the native module is not installed")
SETS = __import__("carrysave._native", fromlist=["x"]).instruction_sets() if native.available else []


def by_loops(x: np.ndarray, weights: np.ndarray, table: np.ndarray, pad: int, window: tuple) -> np.ndarray:
    """The sum of table entries over each window, one output after the other."""
    (kh, kw), (sy, sx), (py, px), (dy, dx), groups = window
    x = np.pad(x.astype(int), ((0, 0), (0, 0), (py, py), (px, px)), constant_values=pad)
    n, c, h, w = x.shape
    rows, columns = (h - dy * (kh - 1) - 1) // sy + 1, (w - dx * (kw - 1) - 1) // sx + 1
    out = np.zeros((n, len(weights), rows, columns), np.int64)
    for o, i, j in np.ndindex(len(weights), rows, columns):
        first = o // (len(weights) // groups) * (c // groups)
        part = x[:, first : first + c // groups, i * sy : i * sy + dy * (kh - 1) + 1 : dy]
        part = part[..., j * sx : j * sx + dx * (kw - 1) + 1 : dx]
        out[:, o, i, j] = table[part.reshape(n, -1), weights[o]].sum(1)
    return out


@pytest.mark.parametrize("isa", SETS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_instruction_set_equals_the_loops(isa: str, data: st.DataObject) -> None:
    from carrysave._native import TableWeights, table_conv

    seed, bits = data.draw(st.integers(0, 1 << 20)), data.draw(st.sampled_from([1, 4, 6, 7, 8, 8, 8, 10, 12]))
    entry = data.draw(st.sampled_from([0, 200, 60_000, 1 << 20, (1 << 32) - 1]))
    g = np.random.default_rng(seed)
    groups, depth, width = data.draw(st.sampled_from([(1, 3, 5), (4, 1, 1), (2, 2, 3), (1, 70, 2)]))
    kernel = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    padding = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    window = (kernel, data.draw(pairs), padding, data.draw(pairs), groups)
    table = g.integers(0, entry + 1, (1 << bits, 37)) - data.draw(st.sampled_from([0, 1 << 20]))
    weights = g.integers(0, 37, (groups * width, depth * kernel[0] * kernel[1])).astype(np.uint16)
    size = (data.draw(st.integers(1, 3)), groups * depth, data.draw(st.integers(7, 9)), data.draw(st.integers(7, 33)))
    codes = g.integers(0, 1 << bits, size).astype(np.uint8 if bits <= 8 else np.uint16)
    pad = int(g.integers(0, 1 << bits))
    expected = by_loops(codes, weights, table, pad, window)
    out = np.empty_like(expected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_ISA", isa)
        prepared = TableWeights(table, weights, once=bool(seed % 2))
        table_conv(prepared, codes, out, *window, pad, None, data.draw(st.integers(1, 3)))
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("isa", SETS)
@pytest.mark.parametrize("activation, weight, kind", [
    ("affine", "affine", "conv"), ("affine", "sign_magnitude", "conv"), ("affine:bits=6", "affine", "linear"),
    ("affine", "affine", "linear"),
])  # fmt: skip
def test_the_whole_layer_is_the_rescaled_accumulator(
    isa: str, activation: str, weight: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARRYSAVE_ISA", isa)
    g = torch.Generator().manual_seed(1)
    formats = FORMATS.parse(activation), FORMATS.parse(weight)
    products = Products(Scrambled(n=8, seed=3), *formats)
    low, high = formats[1].low, formats[1].high + 1
    zero = torch.zeros((), dtype=torch.int64) if low < 0 else torch.randint(low, high, (6,), generator=g)
    bias = torch.randint(-(10**6), 10**6, (6,), generator=g)
    quantizer = Quantizer.covering(formats[0], -0.7, 1.3)
    scale = torch.rand((6,), generator=g) if zero.ndim else torch.tensor(0.017)
    if kind == "conv":
        geometry = Geometry("conv", (2, 1), (1, 2), (1, 2), 2)
        x, w = torch.randn(3, 8, 9, 11, generator=g), torch.randint(low, high, (6, 4, 3, 2), generator=g)
    else:
        geometry = Geometry("linear")
        x, w = torch.randn(5, 70, generator=g), torch.randint(low, high, (6, 70), generator=g)
    x.view(-1)[::7] = (torch.arange(len(x.view(-1)[::7])) - 40.5) * quantizer.scale  # ties of the rounding
    problem = Problem(products, geometry, w, int(quantizer.zero), zero, bias)
    engine = prepare(problem, "table")[1]
    assert engine.layer is not None
    codes = quantizer.codes(x)
    assert torch.equal(engine(codes), prepare(problem, "vector")[1](codes))
    assert torch.equal(engine.layer(x, quantizer, scale), rescaled(engine(codes), scale, x))
    if kind == "conv":
        last = x.contiguous(memory_format=torch.channels_last)
        result = engine.layer(last, quantizer, scale)
        assert torch.equal(result, engine.layer(x, quantizer, scale))
        assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("isa", SETS)
def test_long_sums(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from carrysave._native import TableWeights, table_conv

    monkeypatch.setenv("CARRYSAVE_ISA", isa)
    depth = 73_728
    table = np.multiply.outer(np.arange(256), np.arange(256))
    for depth, constant in ((9216, -255), (73_728, 0)):
        weights = np.full((1, depth), 255, np.uint16)
        codes, out = np.full((1, depth, 1, 2), 255, np.uint8), np.zeros((1, 1, 1, 2), np.int64)
        arguments = (out, (1, 1), (1, 1), (0, 0), (1, 1), 1, 0, np.array([constant]), 1)
        table_conv(TableWeights(table, weights), codes, *arguments)
        assert out.tolist() == [[[[255 * 255 * depth + constant] * 2]]]


def test_bad_arguments_are_errors() -> None:
    from carrysave._native import TableWeights, table_conv, table_layer

    table, weights = np.zeros((16, 4), np.int64), np.zeros((2, 9), np.uint16)
    good = TableWeights(table, weights)
    codes, out = np.zeros((1, 1, 5, 5), np.uint8), np.zeros((1, 2, 3, 3), np.int64)
    window = ((3, 3), (1, 1), (0, 0), (1, 1), 1)
    table_conv(good, codes, out, *window, 0, None, 1)

    def wrong(match: str, kind: type[Exception] = ValueError, **changes: object) -> None:
        names = ("weights", "codes", "out", "kernel", "stride", "padding", "dilation", "groups", "pad", "constant")
        given = dict(zip((*names, "threads"), (good, codes, out, *window, 0, None, 1), strict=True)) | changes
        with pytest.raises(kind, match=match):
            table_conv(**given)

    wrong("codes: 16, but the table has 16 rows", codes=np.full((1, 1, 5, 5), 16, np.uint8))
    wrong("out: dimension 2 is 4, expected 3", out=np.zeros((1, 2, 4, 3), np.int64))
    wrong("weights: 9 taps, the input and kernel have 18", codes=np.zeros((1, 2, 5, 5), np.uint8))
    wrong("codes: uint8 for a table of up to 256", codes=np.zeros((1, 1, 5, 5), np.uint16))
    wrong("incompatible function arguments", TypeError, codes=np.zeros((1, 1, 5, 5), np.float32))
    wrong("incompatible function arguments", TypeError, codes=np.zeros((1, 1, 10, 5), np.uint8)[:, :, ::2])
    wrong("incompatible function arguments", TypeError, codes=np.zeros((5, 5), np.uint8))
    wrong("constant: 3 entries for 2 channels", constant=np.zeros(3, np.int64))
    wrong("the kernel is larger than the padded input", codes=np.zeros((1, 1, 2, 5), np.uint8))
    wrong("the kernel is larger than the padded input", codes=np.zeros((0, 1, 0, 0), np.uint8))
    wrong("stride: 1 to 32768 expected", stride=(0, 1))
    wrong("groups: 3 must divide 1 and 2", groups=3)
    wrong("pad: it is no row of the table", pad=16)
    wrong("threads: 1 to 4096 expected", threads=0)
    with pytest.raises(ValueError, match="weight code 4, but the table has 4 columns"):
        TableWeights(table, np.full((2, 9), 4, np.uint16))
    with pytest.raises(ValueError, match="span 2\\^32 or more"):
        TableWeights(np.array([[0], [1 << 32]]), np.zeros((1, 1), np.uint16))
    with pytest.raises(ValueError, match="at most 4096"):
        TableWeights(np.zeros((5000, 1), np.int64), np.zeros((1, 1), np.uint16))
    with pytest.raises(ValueError, match="more codes than the table has rows"):
        values, result = np.zeros((1, 1, 5, 5), np.float32), np.zeros((1, 2, 3, 3), np.float32)
        table_layer(good, values, result, *window, 1.0, 0, 0, 255, None, None, 1)
    table_conv(good, np.zeros((0, 1, 5, 5), np.uint8), np.zeros((0, 2, 3, 3), np.int64), *window, 0, None, 1)


@pytest.mark.parametrize("name", ["sse9", "neon" if "neon" not in SETS else "avx2"])
def test_an_absent_instruction_set_is_an_error(name: str) -> None:
    program = "from carrysave import _native; print(_native.chosen_set())"
    run = [sys.executable, "-c", program]
    done = subprocess.run(run, env={**os.environ, "CARRYSAVE_ISA": name}, capture_output=True, text=True, timeout=60)
    assert f"ValueError: CARRYSAVE_ISA={name}: this machine and build have portable" in done.stderr


def test_pairs_of_operands_that_come_with_the_call() -> None:
    g = torch.Generator().manual_seed(0)
    products = Products(MULTIPLIERS.parse("recovery:c=6"), FORMATS.parse("affine"), FORMATS.parse("affine"))
    problem = Problem(products, Geometry("matmul"), None, 7, torch.tensor(130), torch.tensor(5))
    x, w = torch.randint(0, 256, (3, 4, 50), generator=g), torch.randint(0, 256, (3, 50, 6), generator=g)
    assert torch.equal(prepare(problem, "table")[1](x, w), prepare(problem, "vector")[1](x, w))
