"""Formats: every code enumerated, the range rules, and the texts of errors."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from carrysave.formats import FORMATS
from carrysave.quantizers import Quantizer
from carrysave.ranges import RANGES, Sample
from carrysave.registry import SpecError

SPECS = [f"affine:bits={b}" for b in (2, 3, 5, 8, 12, 16)]
SPECS += [f"fixed:bits={b},fraction={f}" for b, f in ((2, 0), (5, 7), (8, 4), (12, -2), (16, 15))]
SPECS += [f"sign_magnitude:bits={b}" for b in (2, 4, 8, 9, 13)]


@pytest.mark.parametrize("spec", SPECS)
def test_every_code_decodes_and_encodes_to_itself(spec: str) -> None:
    fmt = FORMATS.parse(spec)
    scale, zero = fmt.grid(-1.25, 2.5)
    codes = np.arange(fmt.low, fmt.high + 1)
    values = fmt.decode(codes, scale, zero)
    assert np.array_equal(fmt.encode(values, scale, zero), codes)
    # between two codes the nearest wins; an exact tie goes to the even multiple of the scale
    middles = fmt.decode(codes[:-1], scale, zero) + 0.5 * float(scale)
    expected = [code - int(zero) + int((code - int(zero)) % 2) + int(zero) for code in codes[:-1]]
    if fmt.bits <= 12:  # wider, float32 no longer holds every middle
        ties = np.float32(middles) / np.float32(scale) % 1 == 0.5
        assert ties.mean() > 0.2
        assert np.array_equal(fmt.encode(middles, scale, zero)[ties], np.array(expected)[ties])


@pytest.mark.parametrize("spec", SPECS)
def test_values_beyond_the_ends_saturate(spec: str) -> None:
    fmt = FORMATS.parse(spec)
    scale, zero = fmt.grid(-1.0, 1.0)
    far = np.array([-np.inf, -1e30, 1e30, np.inf])
    assert fmt.encode(far, scale, zero).tolist() == [fmt.low, fmt.low, fmt.high, fmt.high]


@pytest.mark.parametrize("spec", [*SPECS, "fixed:bits=24,fraction=20", "fixed:bits=32,fraction=31"])
def test_torch_gives_the_same_codes(spec: str) -> None:
    fmt = FORMATS.parse(spec)
    values = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    values[:4] = [0.0, -0.0, 1e20, -1e20]
    quantizer = Quantizer.covering(fmt, -1.7, 2.9)
    numpy_codes = fmt.encode(values, quantizer.scale.numpy(), quantizer.zero.numpy())
    assert np.array_equal(quantizer.codes(torch.from_numpy(values)).numpy(), numpy_codes)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
@pytest.mark.parametrize("low, high", [(-1.0, 3.0), (0.0, 7.3), (2.0, 5.0), (-9.0, -1.0), (0.0, 0.0), (-1e-30, 1e-30)])
def test_affine_represents_zero_and_the_range(bits: int, low: float, high: float) -> None:
    fmt = FORMATS.parse(f"affine:bits={bits}")
    scale, zero = fmt.grid(low, high)
    assert 0 <= zero <= fmt.high
    assert fmt.decode(zero, scale, zero) == 0.0 and fmt.encode(0.0, scale, zero) == zero
    ends = fmt.decode(np.array([fmt.low, fmt.high]), scale, zero)
    assert ends[0] <= min(low, 0) + 0.51 * scale and ends[1] >= max(high, 0) - 0.51 * scale


def test_affine_by_hand() -> None:
    # range [-1, 3] over 255 steps: scale 4/255, zero round(255/4) = 64
    scale, zero = FORMATS.parse("affine").grid(-1.0, 3.0)
    assert scale == np.float32(4 / 255) and zero == 64
    assert FORMATS.parse("affine").encode([-1.0, 0.0, 1.0, 3.0], scale, zero).tolist() == [0, 64, 128, 255]


def test_fixed_by_hand() -> None:
    fmt = FORMATS.parse("fixed:bits=8,fraction=4")
    scale, zero = fmt.grid(-100.0, 100.0)
    assert (scale, zero) == (1 / 16, 0)
    # 1.59375 = 25.5 / 16 rounds to the even 26, 1.53125 = 24.5 / 16 to 24
    assert fmt.encode([1.59375, 1.53125, -1.53125, 8.0, -9.0], scale, zero).tolist() == [26, 24, -24, 127, -128]


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
@pytest.mark.parametrize(
    "low, high", [(-1.0, 0.99), (-1.0, 1.0), (0.0, 127.0), (0.0, 127.01), (-128.0, 3.0), (-3e-5, 1e-9)]
)
def test_fixed_finds_the_most_fraction_bits_without_saturation(bits: int, low: float, high: float) -> None:
    fmt = FORMATS.parse(f"fixed:bits={bits}")
    scale, _ = fmt.grid(low, high)
    assert np.log2(scale) % 1 == 0
    unit = Fraction(float(scale))

    def holds(step: Fraction) -> bool:
        return Fraction(high) <= fmt.high * step and Fraction(low) >= fmt.low * step

    assert holds(unit) and not holds(unit / 2)


def test_sign_magnitude_is_symmetric() -> None:
    fmt = FORMATS.parse("sign_magnitude:bits=8")
    scale, zero = fmt.grid(-2.0, 1.0)
    assert (fmt.low, fmt.high, int(zero)) == (-127, 127, 0) and scale == np.float32(2 / 127)
    assert fmt.encode([-2.0, 2.0, 5.0], scale, zero).tolist() == [-127, 127, 127]


def test_spec_strings_round_trip_and_errors_say_what_is_possible() -> None:
    for spec in SPECS:
        assert FORMATS.parse(FORMATS.parse(spec).spec) == FORMATS.parse(spec)
    with pytest.raises(SpecError, match=r"unknown format 'afine' \(did you mean 'affine'\?\)"):
        FORMATS.parse("afine")
    with pytest.raises(SpecError, match="affine: bits=17; it is defined for 2 to 16"):
        FORMATS.parse("affine:bits=17")
    with pytest.raises(SpecError, match="fraction=200 fraction bits; it takes -64 to 120"):
        FORMATS.parse("fixed:fraction=200")
    with pytest.raises(ValueError, match="affine: NaN has no code"):
        FORMATS.parse("affine").encode([1.0, np.nan], 1.0, 0)
    with pytest.raises(ValueError, match="affine: a range needs finite bounds, the lower first; got 2.0 to 1.0"):
        FORMATS.parse("affine").grid(2.0, 1.0)


def test_percentile_cuts_half_of_the_rest_at_either_end() -> None:
    sample = Sample.of(np.arange(1000.0)[None])
    low, high = RANGES.parse("percentile:99").find(sample, FORMATS.parse("affine"))
    assert (low[0], high[0]) == (5.0, 994.0)
    everything = RANGES.parse("percentile:100").find(sample, FORMATS.parse("affine"))
    assert (everything[0][0], everything[1][0]) == (0.0, 999.0)


@pytest.mark.parametrize("spec", ["affine:bits=4", "fixed:bits=4", "sign_magnitude:bits=4"])
def test_mse_range_has_no_more_error_than_min_max(spec: str) -> None:
    fmt = FORMATS.parse(spec)
    rows = np.random.default_rng(1).standard_t(3, size=(3, 2000))
    sample = Sample.of(rows)

    def error(method: str) -> np.ndarray:
        scale, zero = fmt.grid(*RANGES.parse(method).find(sample, fmt))
        codes = fmt.encode(rows, scale[:, None], zero[:, None])
        return ((fmt.decode(codes, scale[:, None], zero[:, None]) - rows) ** 2).mean(axis=1)

    assert (error("mse") < 0.8 * error("minmax")).all()


def test_straight_through_gradient_is_one_inside_and_zero_outside() -> None:
    x = torch.tensor([-9.0, -1.0, 0.3, 2.0, 9.0], requires_grad=True)
    quantizer = Quantizer.covering(FORMATS.parse("affine:bits=8"), -1.0, 2.0)
    y = quantizer(x)
    y.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0, 1, 1, 1, 0]
    assert float((y.detach()[2] - 0.3).abs()) <= 0.5 * 3 / 255
