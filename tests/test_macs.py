"""MACs: fixed point against integers, floating point against NumPy and an exact rounding, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.hardware.units import UNITS
from carrysave.hardware.units.floating import BFLOAT16, FLOAT16, FLOAT32, FloatFormat, multiply, plus
from carrysave.planes import PlaneWord
from carrysave.tables import multiply as product_of


def patterns(format: FloatFormat, count: int, seed: int) -> np.ndarray:
    """Bit patterns: random ones, half of them with exponents that meet, and all pairs of the odd ones."""
    generator = np.random.default_rng(seed)
    top = (1 << format.exponent) - 1
    odd_exponents = (0, 1, 2, format.bias - 1, format.bias, top - 1, top)
    odd = [e << format.fraction | f for e in odd_exponents for f in (0, 1, (1 << format.fraction) - 1)]
    odd = np.array([s << format.width - 1 | v for v in odd for s in (0, 1)])
    wild = generator.integers(0, 1 << format.width, count)
    near = generator.integers(format.bias - 12, format.bias + 12, count) << format.fraction
    near |= generator.integers(0, 1 << format.fraction, count) | generator.integers(0, 2, count) << format.width - 1
    return np.concatenate([np.repeat(odd, odd.size) if seed % 2 else np.tile(odd, odd.size), wild, near])


def value(bits: np.ndarray, format: FloatFormat) -> np.ndarray:
    """Exactly, as float64."""
    fraction = bits & (1 << format.fraction) - 1
    exponent = bits >> format.fraction & (1 << format.exponent) - 1
    top = exponent == (1 << format.exponent) - 1
    significand = np.where(exponent > 0, fraction + (1 << format.fraction), fraction).astype(np.float64)
    result = np.ldexp(significand, np.maximum(exponent, 1) - format.bias - format.fraction)
    result = np.where(top, np.where(fraction > 0, np.nan, np.inf), result)
    return np.where(bits >> format.width - 1, -result, result)


def stored(x: np.ndarray, format: FloatFormat) -> np.ndarray:
    """Round float64 to nearest even by exact scaling; patterns, with one NaN."""
    smallest = 1 - format.bias
    finite = np.where(np.isfinite(x), x, 0)
    exponent = np.where(finite == 0, smallest, np.maximum(np.frexp(finite)[1] - 1, smallest)).astype(np.int64)
    unit = np.ldexp(1.0, exponent - format.fraction)
    with np.errstate(invalid="ignore"):
        scaled = np.where(np.isfinite(x), np.rint(np.abs(x) / unit), 0).astype(np.int64)
    magnitude = (exponent - smallest << format.fraction) + scaled
    infinity = (1 << format.exponent) - 1 << format.fraction
    magnitude = np.where(np.isinf(x), infinity, np.minimum(magnitude, infinity))
    sign = np.signbit(x).astype(np.int64) << format.width - 1
    return np.where(np.isnan(x), infinity | 1 << format.fraction - 1, magnitude | sign)


def run(function, *operands: tuple[np.ndarray, int]) -> np.ndarray:
    return function(*[PlaneWord.from_ints(values, width) for values, width in operands]).to_ints()


@pytest.mark.parametrize("format", [BFLOAT16, FLOAT16], ids=["bfloat16", "float16"])
def test_narrow_products_and_sums_against_exact_rounding(format: FloatFormat):
    a, b = patterns(format, 60_000, 0), patterns(format, 60_000, 1)
    x, y = value(a, format), value(b, format)
    with np.errstate(invalid="ignore"):
        exact_product = x * y  # 8 or 11 bits each: exact in float64
        # sums of numbers far apart are not, but only their side of a tie matters, and 53 bits tell it
        exact_sum = x + y
    got = run(lambda p, q: multiply(p, q, format, format), (a, format.width), (b, format.width))
    assert np.array_equal(got, stored(exact_product, format))
    near = ~(np.abs(np.frexp(np.where(np.isfinite(x), x, 0))[1] - np.frexp(np.where(np.isfinite(y), y, 0))[1]) > 40)
    got = run(lambda p, q: plus(p, q, format), (a, format.width), (b, format.width))
    want = stored(exact_sum, format)
    assert np.array_equal(got[near], want[near]) and near.mean() > 0.3
    assert np.array_equal(got, want)


def test_float32_against_numpy():
    a, b = patterns(FLOAT32, 60_000, 2), patterns(FLOAT32, 60_000, 3)
    x, y = (bits.astype(np.uint32).view(np.float32) for bits in (a, b))
    for function, wanted in ((lambda p, q: multiply(p, q, FLOAT32, FLOAT32), np.multiply),
                             (lambda p, q: plus(p, q, FLOAT32), np.add)):  # fmt: skip
        with np.errstate(all="ignore"):
            want = wanted(x, y)
        got = run(function, (a, 32), (b, 32)).astype(np.uint32)
        canonical = np.where(np.isnan(want), np.uint32(0x7FC00000), want.view(np.uint32))
        assert np.array_equal(got, canonical)


def test_a_bfloat16_product_in_float32_and_its_mac():
    unit = UNITS.parse("float_mac:bfloat16,accumulator=float32")
    a, b = patterns(BFLOAT16, 20_000, 4), patterns(BFLOAT16, 20_000, 5)
    c = patterns(FLOAT32, a.size, 6)[-a.size :]
    with np.errstate(all="ignore"):
        product = stored(value(a, BFLOAT16) * value(b, BFLOAT16), FLOAT32)
        want = product.astype(np.uint32).view(np.float32) + c.astype(np.uint32).view(np.float32)
    got = unit.run(a=a, b=b, c=c)["y"].astype(np.uint32)
    assert np.array_equal(got, np.where(np.isnan(want), np.uint32(0x7FC00000), want.view(np.uint32)))


@pytest.mark.parametrize(
    "spec",
    [
        *(f"exact:n={n};signed=true;form={form}" for n in (4, 6, 8, 16) for form in ("baugh_wooley", "booth")),
        "exact:n=16;signed=true",
        "mitchell_w:w=6;n=16",
        "drum:k=4",
        "exact:n=6",
    ],
)
def test_fixed_macs_add_the_products_of_their_multiplier(spec: str):
    unit = UNITS.parse(f"mac:multiplier={spec}")
    m, generator = unit.of, np.random.default_rng(0)
    low, high = (-(1 << m.n - 1), 1 << m.n - 1) if m.signed else (0, 1 << m.n)
    a, b = generator.integers(low, high, (2, 5000))
    c = generator.integers(0, 1 << unit.bits, 5000)
    got = unit.run(a=a % (1 << m.n), b=b % (1 << m.n), c=c)["y"]
    assert np.array_equal(got, (c + product_of(m, a, b)) % (1 << unit.bits))


@pytest.mark.parametrize("spec", ["exact:n=32;signed=true;form=booth", "mitchell_w:w=6;n=32"])
def test_macs_of_32_bits_add_in_64(spec: str):
    unit = UNITS.parse(f"mac:multiplier={spec}")
    m, generator = unit.of, np.random.default_rng(0)
    a, b = np.concatenate([generator.integers(-(1 << 31), 1 << 31, (2, 500)), [[-(1 << 31)] * 2, [-(1 << 31), -1]]], 1)
    c = [int(v) for v in generator.integers(0, 1 << 63, a.size)]
    words = [PlaneWord.from_ints(np.array(v, dtype=object), w) for v, w in ((a % 2**32, 32), (b % 2**32, 32), (c, 64))]
    got = unit.evaluate(dict(zip("abc", words, strict=True)))[0]["y"].to_ints()
    products = [x * y for x, y in zip(a.tolist(), b.tolist(), strict=True)] if m.is_exact else product_of(m, a, b)
    assert [int(y) for y in got] == [(z + int(p)) % 2**64 for z, p in zip(c, products, strict=True)]


def test_the_fixed_macs_of_every_width_are_in_the_catalogue():
    catalog = UNITS.get("mac").catalog
    for n in (4, 6, 8, 16, 32):
        unit = UNITS.parse(catalog[f"fixed {n}"])
        assert unit.inputs == {"a": n, "b": n, "c": 2 * n} and unit.outputs == {"y": 2 * n}
        assert unit.of.signed and unit.of.is_exact and unit.spec == catalog[f"fixed {n}"]
    assert {UNITS.parse(catalog[f"Mitch-w6, {n}"]).of.spec for n in (16, 32)} == {
        "mitchell_w:n=16,w=6", "mitchell_w:n=32,w=6",
    }  # fmt: skip


def test_a_mac_that_keeps_its_sum():
    unit = UNITS.parse("mac:multiplier=exact:n=4;signed=true,accumulator=12,registered=true")
    generator = np.random.default_rng(1)
    a, b = generator.integers(-8, 8, (2, 20, 30))
    reset = np.zeros((20, 30), dtype=int)
    reset[7] = 1
    y = unit.run(a=a % 16, b=b % 16, rst=reset)["y"]
    sums = np.zeros((20, 30), dtype=int)
    for t in range(1, 20):
        sums[t] = np.where(reset[t - 1] == 1, 0, sums[t - 1] + a[t - 1] * b[t - 1])
    assert np.array_equal(y, sums % 4096)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "mac:multiplier=exact,accumulator=12",
            "accumulator=12; a product of exact has 16 bits, so a sum takes 16 to 128",
        ),
        ("mac:multiplier=exact,accumulator=-1", "accumulator=-1; a product of exact has 16 bits"),
        ("mac:multiplier=exact,accumulator=999", "accumulator=999; .* and 0 stands for 16"),
        ("mac:multiplier=exact:n=33", "n=33 operand bits; it is defined for 2 to 32"),
        ("mac:multiplier=exact:form=baugh_wooley", "two's complement by definition; give signed=true with it"),
        ("mac:multiplier=mitchell_w:n=16", "w must be given, such as mitchell_w:w=6"),
        ("mac:multiplier=exact:n=16,signed=true", "no parameter 'signed'.*it has: multiplier, accumulator, registered"),
        ("mac:multiplier=exact,registered=maybe", "registered is true or false, not 'maybe'"),
        ("mac:multiplier=exakt", "unknown multiplier 'exakt'"),
        ("float_mac:float64", "format=float64"),
        ("float_mac:float16,accumulator=float32", "float16 has other exponents"),
    ],
)
def test_what_cannot_be(spec: str, message: str):
    with pytest.raises(ValueError, match=message):
        UNITS.parse(spec)
