"""Dot products as FPGAs add them, against integers; and the product that is left to whoever maps it."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.bits import times
from carrysave.hardware.fpga import synthesize_fpga
from carrysave.hardware.rtl import combinational
from carrysave.hardware.units import UNITS
from carrysave.hardware.units.dot_product import popcount
from carrysave.planes import PlaneWord


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def weight(code: int, m: int, n: int) -> int:
    """What a weight's code stands for."""
    if m == 1:
        return 1 if code else -1
    if m == 2:
        return (-1 if code & 2 else 1) if code & 1 else 0
    return code - (1 << m) if code >> (m - 1) else code


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("m", [1, 2, 4, 8])
@pytest.mark.parametrize("lanes", [1, 2, 5, 8, 11])
def test_a_dot_product_is_the_sum_of_its_products(n: int, m: int, lanes: int):
    generator = np.random.default_rng(lanes)
    count, bits = 100, n + m + 6
    unit = UNITS.parse(f"dot_product:n={n},m={m},lanes={lanes},accumulator={bits}")
    x = generator.integers(0, 1 << n, (count, lanes))
    w = generator.integers(0, 1 << m, (count, lanes))
    x[:4], w[0], w[1], w[2], w[3] = (1 << n) - 1, 0, (1 << m) - 1, 1, 1 << (m - 1)  # the largest sums of either sign
    c = generator.integers(0, 1 << bits, count)
    packed = [
        [sum(int(code) << (k * width) for k, code in enumerate(row)) for row in codes]
        for codes, width in ((x, n), (w, m))
    ]
    words = {"x": PlaneWord.from_ints(np.array(packed[0], object), n * lanes)}
    words |= {"w": PlaneWord.from_ints(np.array(packed[1], object), m * lanes), "c": PlaneWord.from_ints(c, bits)}
    for form in ("booth", "native") if m > 2 else ("booth",):
        unit = UNITS.parse(f"dot_product:n={n},m={m},lanes={lanes},accumulator={bits},form={form}")
        got = next(unit.steps([words]))["y"].to_ints().tolist()
        for k in range(count):
            total = sum(int(x[k, i]) * weight(int(w[k, i]), m, n) for i in range(lanes))
            assert got[k] == (int(c[k]) + total) % (1 << bits)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 7, 10])
def test_bits_are_counted(bits: int):
    values = np.arange(1 << bits)
    counted = popcount(PlaneWord.from_ints(values, bits))
    assert counted.width == bits.bit_length() and counted.to_ints().tolist() == [v.bit_count() for v in values.tolist()]


def test_signs_that_agree_are_counted():
    unit = UNITS.parse("dot_product:n=1,m=1,lanes=6,accumulator=5")
    x, w = np.divmod(np.arange(1 << 12), 64)
    y = unit.run(x=x, w=w, c=np.full_like(x, 30))["y"]
    signs = [[1 if code >> k & 1 else -1 for k in range(6)] for code in range(64)]
    for k in range(1 << 12):
        total = sum(a * b for a, b in zip(signs[x[k]], signs[w[k]], strict=True))
        assert y[k] == (30 + (total + 6) // 2) % 32


@pytest.mark.parametrize(("a_bits", "b_bits"), [(1, 1), (3, 5), (5, 3), (4, 1)])
def test_products_in_twos_complement(a_bits: int, b_bits: int):
    a, b = np.divmod(np.arange(1 << (a_bits + b_bits)), 1 << b_bits)
    made = times(PlaneWord.from_ints(a, a_bits), PlaneWord.from_ints(b, b_bits))
    assert made.width == a_bits + b_bits

    def signed(v: np.ndarray, bits: int) -> np.ndarray:
        return np.where(v >> (bits - 1) & 1, v - (1 << bits), v)

    expected = signed(a, a_bits) * signed(b, b_bits) % (1 << (a_bits + b_bits))
    assert made.to_ints().tolist() == expected.tolist()
    if (a_bits, b_bits) == (3, 5):  # the same on wires, on the mapped netlist
        circuit = combinational("product", {"a": 3, "b": 5}, lambda a, b: {"y": times(a, b)})
        netlist = synthesize_fpga("product", circuit.rtlil(), dsps=False)
        words = {"a": PlaneWord.from_ints(a, 3), "b": PlaneWord.from_ints(b, 5)}
        assert next(netlist.steps([words]))["y"].to_ints().tolist() == expected.tolist()


@pytest.mark.parametrize(("format", "bits"), [("float32", 32), ("float16", 16)])
@pytest.mark.parametrize("form", ["pairs", "booth", "native"])
def test_floats_multiply_the_same_by_any_multiplier(format: str, bits: int, form: str):
    generator = np.random.default_rng(0)
    one, other = UNITS.parse(f"fpga_float_mac:{format},form={form}"), UNITS.parse(f"float_mac:{format}")
    values = {port: generator.integers(0, 1 << bits, 2000) for port in "abc"}
    assert np.array_equal(one.run(**values)["y"], other.run(**values)["y"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("m=3", "n=8, m=3; n is 1 to 32 bits, m is 1, or even"),
        ("n=1,m=2", "n=1, m=2; .* and 1 where n is 1"),
        ("lanes=0", "lanes=0, accumulator=32; 1 to 1024 lanes"),
        ("accumulator=19", "lanes=16, accumulator=19; 1 to 1024 lanes, and the sum of them takes 20 to 80 bits"),
    ],
)
def test_dot_products_that_cannot_be(spec: str, message: str):
    with pytest.raises(ValueError, match=message):
        UNITS.parse(f"dot_product:{spec}")
