"""Table 5.7's reproduction: what it asks of the figures, without running it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from carrysave.hardware.fpga import FpgaCost
from carrysave.hardware.fpga_netlist import Counts
from carrysave.reproductions import REPRODUCTIONS
from carrysave.reproductions.thesis_table5_7 import PRINTED, Key, _checks, _Found, unit_of


def printed() -> dict[Key, _Found]:
    """What a flow would have found that gives the paper's figures."""
    found: dict[Key, _Found] = {}
    rows = {**PRINTED, (3, 32, 32): (64, 29.4 * 1.015, 36)}  # row-wise: "differed in LUT usage by less than 2 %"
    for (scales, simd, pe), (brams, luts, dsps) in rows.items():
        total = round(1000 * luts)
        counts = Counts(total, total, 0, 0, dsps, brams)
        cost = FpgaCost("", "xcup", counts, 0.0, None, "")
        key: Key = ("binary", scales, simd, pe)
        found[key] = _Found(unit_of(key), cost, total if scales else None, total)
    return found


def test_the_papers_figures_meet_every_check():
    assert "thesis-table5.7" in REPRODUCTIONS
    checks = list(_checks(printed()))
    assert len(checks) > 30 and [check.what for check in checks if not check.met] == []


def test_other_figures_miss_their_own_check():
    found = printed()
    key: Key = ("binary", 9, 32, 64)
    counts = found[key].cost.counts
    found[key] = replace(found[key], cost=replace(found[key].cost, counts=replace(counts, dsps=67, bram18=128)))
    missed = [check.what for check in _checks(found) if not check.met]
    assert missed == ["SYQ(P), SIMD 32, PE 64: BRAM18", "SIMD 32, PE 64: DSPs that the scales add"]


@pytest.mark.parametrize("size", PRINTED)
def test_the_folds_of_the_papers_layer(size: tuple[int, int, int]):
    """I = 384, N = 256, K = 3: a vector of 3,456, and as many weights in the memories as the layer has."""
    unit = unit_of(("binary", *size))
    words = unit.synapses * unit.neurons
    assert unit.columns == 3456 and words * unit.weight_bits * unit.pe == 3 * 3 * 384 * 256
    assert unit.cycles(1) == words and (not unit.scales or unit.synapses % 9 == 0)
