"""QE, CE, QK, CK against the formulas of the paper, on every input where that can be."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.hardware.units import UNITS

LAYERS = (8, 5, 6, 5, 5, 5, 5, 5, 5, 5, 6, 5, 5)
# Table IV, conv4_1
CENTROIDS = (0, 55, 113, 172, 233, 297, 361, 426, 494, 566, 641, 720, 801, 886, 973, 1066, 1164, 1270, 1384, 1505, 1635,
             1775, 1927, 2094, 2266, 2473, 2703, 2943, 3215, 3525, 3893, 4095)  # fmt: skip


@pytest.mark.parametrize("amounts", ["constant", "ports"])
def test_qe_and_ce_are_shifts_by_the_layer(amounts: str):
    quantizer = UNITS.parse(f"enq_quantizer:amounts={amounts}")
    converter = UNITS.parse(f"enq_converter:amounts={amounts}")
    kinds = sorted(set(LAYERS))
    assert quantizer.outputs == {"code": 8} and converter.outputs == {"value": 12}
    value, layer = np.tile(np.arange(4096), 13), np.repeat(np.arange(13), 4096)
    ports = {f"amount{k}": np.full(value.size, 12 - kind) for k, kind in enumerate(kinds)} if amounts == "ports" else {}
    code = quantizer.run(value=value, layer=layer, **ports)["code"]
    bits = np.array(LAYERS)[layer]
    assert np.array_equal(code, value >> (12 - bits))
    assert (code < 1 << bits).all()
    back = converter.run(code=code, layer=layer, **ports)["value"]
    assert np.array_equal(back, value >> (12 - bits) << (12 - bits))


def test_qk_gives_the_last_centroid_not_above_and_ck_its_value():
    value = np.arange(4096)
    ports = {f"d{k}": np.full(4096, d) for k, d in enumerate(CENTROIDS)}
    code = UNITS.parse("knq_quantizer").run(value=value, **ports)["code"]
    assert np.array_equal(code, np.searchsorted(CENTROIDS, value, side="right") - 1)
    back = UNITS.parse("knq_converter").run(code=code, **ports)["value"]
    assert np.array_equal(back, np.array(CENTROIDS)[code])


@pytest.mark.parametrize("amounts", ["constant", "ports"])
def test_qe_stores_what_is_too_large_as_the_largest_code(amounts: str):
    """floor(x / 2^(q_m - E)) if x <= 2^q_m - 1, otherwise 2^E - 1 (Section III-A), on all 14-bit values."""
    unit = UNITS.parse(f"enq_quantizer:arriving=14,amounts={amounts}")
    value, layer = np.tile(np.arange(1 << 14), 3), np.repeat([0, 1, 2], 1 << 14)
    ports = {f"amount{k}": np.full(value.size, 12 - kind) for k, kind in enumerate((5, 6, 8))}
    code = unit.run(value=value, layer=layer, **(ports if amounts == "ports" else {}))["code"]
    bits = np.array(LAYERS)[layer]
    assert np.array_equal(code, np.where(value <= 4095, value >> (12 - bits), (1 << bits) - 1))
    assert unit.outputs == {"code": 8}


def test_qk_takes_values_beyond_its_centroids():
    value = np.arange(1 << 14)
    ports = {f"d{k}": np.full(value.size, d) for k, d in enumerate(CENTROIDS)}
    code = UNITS.parse("knq_quantizer:arriving=14").run(value=value, **ports)["code"]
    assert np.array_equal(code, np.searchsorted(CENTROIDS, value, side="right") - 1) and code[-1] == 31


def test_below_the_first_centroid_the_code_is_0():
    ports = {f"d{k}": np.array([d, d]) for k, d in enumerate((10, 20, 30, 40))}
    assert UNITS.parse("knq_quantizer:codes=4").run(value=[3, 25], **ports)["code"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("enq_quantizer:layers=8/x", "layers=8/x; expected the bits stored of each layer, 1 to 12"),
        ("enq_converter:layers=13", "layers=13; expected"),
        ("enq_converter:bits=65", "enq_converter: bits=65; a value has at most 64"),
        ("knq_quantizer:codes=5", "codes=5; a power of two from 2 to 256"),
        ("knq_converter:codes=1", "codes=1; a power of two"),
        ("enq_quantizer:amounts=none", "amounts=none"),
        ("enq_quantizer:arriving=11", "enq_quantizer: arriving=11; a value arrives in 12 to 32 bits, 0 stands for 12"),
        ("knq_quantizer:arriving=33", "arriving=33; a value arrives in 12"),
    ],
)
def test_what_cannot_be(spec: str, message: str):
    with pytest.raises(ValueError, match=message):
        UNITS.parse(spec)
