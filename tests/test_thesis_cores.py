"""What the reproductions of AddNet's layer core and of Figure 2.8 ask, put to figures that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from carrysave.hardware.units import UNITS
from carrysave.hardware.units.layer_core import LayerCore, blocks_18k
from carrysave.reproductions import REPRODUCTIONS, thesis_figure2_8, thesis_figure6_9, thesis_table6_5
from carrysave.reproductions.base import Check


def missed(checks: list[Check]) -> list[str]:
    return [check.what for check in checks if not check.met]


def test_they_are_found():
    assert {"thesis-figure2.8", "thesis-table6.5", "thesis-figure6.9"} <= REPRODUCTIONS.keys()


# ---------------------------------------------------------------- Table 6.5


def test_the_table_meets_its_own_figures():
    printed = {row.name: row.luts for row in thesis_table6_5.ROWS if row.luts is not None}
    generic = printed["8 bit, no DSPs: pairs of rows"]
    luts = printed | {f"8 bit, no DSPs: {form}": generic for form in ("Booth rows", "Yosys' own")}
    assert not missed(thesis_table6_5.checks(luts, [5.0] * 8, 10))
    smaller = luts | {"8 bit, no DSPs: Booth rows": 900}
    found = missed(thesis_table6_5.checks(smaller, [5.0] * 7 + [10.0], 11))
    assert [what.partition(":")[0] for what in found] == [
        "DSPs of ten neurons", "block memories (36K), all methods", "2-Add", "3-Add", "4-Add",
        "steps upwards in that order, 8 bit as Booth rows",
    ]  # fmt: skip


def test_the_block_memories_of_the_table():
    for row in thesis_table6_5.ROWS:
        spec = f"layer_core:pes=10,words={thesis_table6_5.WORDS},multiplier={row.multiplier},memory=block"
        core = UNITS.parse(spec)
        assert isinstance(core, LayerCore) and core.pes * core.blocks_per_pe / 2 == 5


def test_the_elements_of_the_figure_hold_their_weights_in_one_block_only_at_4_bits():
    words = thesis_figure6_9.WORDS
    assert words == 3 * 3 * 256 and [blocks_18k(words, bits) for bits in (4, 6, 8)] == [1, 2, 2]


# ---------------------------------------------------------------- Figure 6.9


def test_the_savings_of_table_6_6_are_those_of_2_add():
    thousands = thesis_figure6_9.CONV_LAYER
    assert 1 - thousands["2-Add"] / thousands["8 bit"] == pytest.approx(0.512, abs=5e-4)
    assert 1 - (thousands["2-Add"] - 6) / (thousands["8 bit"] - 6) == pytest.approx(thesis_figure6_9.SAVED, abs=1e-3)


def test_lines_are_told_from_curves():
    per = {"2-Add": 90, "3-Add": 98, "4-Add": 120, "8 bit, a": 187, "8 bit, b": 110}
    luts = {name: {count: each * count for count in (4, 2048)} for name, each in per.items()}
    straight = {"2-Add": {4: (380, 382), 8: (740, 742)}}
    assert missed(thesis_figure6_9.checks(luts, straight)) == [
        "2-Add at 2048 elements: LUTs saved of those of 8 bit, b", "steps upwards in that order, 8 bit, b"
    ]  # fmt: skip
    shared = {"2-Add": {4: (380, 382), 8: (660, 742)}}
    assert missed(thesis_figure6_9.checks(luts, shared))[:2] == [
        "2-Add, 8 elements: LUTs as one to part by part", "2-Add: LUTs per element as one"
    ]  # fmt: skip


# ---------------------------------------------------------------- Figure 2.8


def test_a_quadratic_cost_is_one_and_a_linear_one_is_not():
    def points(power: float) -> dict[tuple[int, int], thesis_figure2_8.Point]:
        return {
            (m, n): thesis_figure2_8.Point(f"{m}-{n}", 16, 32, 0, float(m > 2), (m * n) ** (power / 2))
            for m, n in thesis_figure2_8.PRECISIONS
        }

    square = points(2.0)
    assert not missed(thesis_figure2_8.checks(square))
    assert missed(thesis_figure2_8.checks(points(1.0))) == ["power of k in LUTs, k = 4 to 32 bits"]
    square[2, 8] = replace(square[2, 8], dsps=1.0, luts_alone=1.0)
    assert [what.partition(",")[0] for what in missed(thesis_figure2_8.checks(square))] == [
        "DSPs per MAC", "LUTs with fewer weight bits to those with more",
        "LUTs with fewer activation bits to those with more",
    ]  # fmt: skip
