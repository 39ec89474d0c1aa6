"""PlaneWords hold what was packed, at any width and number of lanes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrysave.planes import PlaneWord


@given(width=st.integers(1, 130), data=st.data())
@settings(max_examples=150, deadline=None)
def test_round_trip(width: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, (1 << width) - 1), min_size=1, max_size=70))
    packed = PlaneWord.from_ints(np.array(values, dtype=object), width)
    assert packed.width == width and packed.lanes == len(values)
    assert [int(v) for v in packed.to_ints()] == values
    signed = [v - (1 << width) if v >> (width - 1) else v for v in values]
    assert [int(v) for v in packed.to_ints(signed=True)] == signed
    again = PlaneWord.from_ints(np.array(signed, dtype=object), width)
    assert [int(v) for v in again.to_ints()] == values


@pytest.mark.parametrize("lanes", [1, 7, 63, 64, 65, 127, 128, 1000])
def test_lane_counts(lanes: int) -> None:
    values = np.random.default_rng(lanes).integers(0, 1 << 12, lanes)
    packed = PlaneWord.from_ints(values, 12)
    assert packed.planes.shape == (12, -(-lanes // 64))
    assert (packed.to_ints() == values).all() and packed.to_ints().shape == (lanes,)
    assert (((~packed) & packed).to_ints() == 0).all()


@pytest.mark.parametrize(
    ("width", "signed", "kind"),
    [(8, False, np.int64), (63, False, np.int64), (64, False, np.uint64), (64, True, np.int64), (65, True, object)],
)
def test_types(width: int, signed: bool, kind: type) -> None:
    extremes = [0, 1, (1 << width) - 1, 1 << (width - 1)]
    result = PlaneWord.from_ints(np.array(extremes, dtype=object), width).to_ints(signed)
    assert result.dtype == kind
    low = -(1 << (width - 1)) if signed else 1 << (width - 1)
    assert [int(v) for v in result] == [0, 1, -1 if signed else (1 << width) - 1, low]


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int32, np.uint64, np.int64, bool])
def test_packs_any_integer_type(kind: type) -> None:
    values = np.array([0, 1, 1, 0], dtype=kind)
    assert PlaneWord.from_ints(values, 3).to_ints().tolist() == [0, 1, 1, 0]
    assert PlaneWord.from_ints(np.array([-1, -4], dtype=np.int8), 5).to_ints().tolist() == [31, 28]


def test_constants_over_many_lanes() -> None:
    assert PlaneWord.from_ints(np.arange(200), 8).const(0b101, 4).to_ints().tolist() == [5] * 200


def test_values_are_taken_modulo_the_width() -> None:
    assert PlaneWord.from_ints(np.array([16, 35, -1]), 4).to_ints().tolist() == [0, 3, 15]
