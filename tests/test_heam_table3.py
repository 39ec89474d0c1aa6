"""HEAM's Table III: the figures printed, what the modules are fed with, samples that have every part of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.hardware.assembled_cost import AssemblyAtClock, Piece
from carrysave.hardware.flat import pieces
from carrysave.hardware.power import Power
from carrysave.hardware.proof import UnitProof
from carrysave.hardware.units.assembly import Assembly
from carrysave.reproductions.heam_modules import LABEL, MODULES, RATE, operation
from carrysave.reproductions.heam_table3 import Part, Row, _checks, _leaves, _printed, _ratios, _scaled

BY_NAME = {module.name: module for module in MODULES}


@pytest.mark.parametrize(("module", "what", "saved"), [("SC", 0, 0.1870), ("SA", 1, 0.0999)])
def test_the_abstracts_savings(module: str, what: int, saved: float):
    rows = [Row(BY_NAME[module], name, 1.0, None) for name in ("HEAM", "Exact")]
    ours, papers = _ratios(rows[0], rows)[what]
    assert ours is None and papers == pytest.approx(1 - saved, abs=5e-5)


def test_where_the_paper_has_no_figure():
    assert _printed(BY_NAME["SA"], "Wallace") == (None, None)
    assert _printed(BY_NAME["TASU"], "Wallace") == (98573.89, 158.17)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_a_sample_has_every_part_of_the_whole(module):
    whole, sample = (_leaves(make("exact")) for make in (module.whole, module.sample))
    assert {unit.name for unit in whole.keys() ^ sample.keys()} <= {"channel_sum"}
    elements = sum(n for unit, n in whole.items() if unit.name == module.element)
    assert elements == {"TASU": 432, "SC": 64, "SA": 256}[module.printed]


def toggles(words: list) -> float:
    codes = np.array([word.to_ints() for word in words])
    bits = codes[:, :, None] >> np.arange(words[0].width) & 1
    return float((bits[1:] != bits[:-1]).mean())


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_operands_toggle_and_weights_in_registers_stay(module):
    assembly = module.sample("exact")
    streams = operation(module, assembly)
    for port, width in assembly.inputs.items():
        words = [cycle[port] for cycle in streams.cycles]
        if port.rstrip("0123456789") == module.still:
            assert toggles(words) == 0
        elif width > 1:
            assert toggles(words) == pytest.approx(RATE, abs=0.015)
    assert streams.settling < len(streams.cycles) - 16


def test_a_cube_sums_up_kernels_of_27_weights():
    cycles = operation(BY_NAME["SC"], BY_NAME["SC"].sample("exact")).cycles
    assert [int(cycle["start"].to_ints()[0]) for cycle in cycles[:28]] == [1, *[0] * 26, 1]


def made(sample: Assembly) -> AssemblyAtClock:
    """An assembly of which every piece has 1 um2 and 2 mW, and 0.5 mW for the load outside."""
    power, proof = {LABEL: Power(LABEL, 2.0, 0.0, 2000.0, 0.0, 0.0, ())}, UnitProof(1, False, "vectors")
    found = tuple(Piece(unit.spec, n, 1.0, "", power, proof) for unit, n in pieces(sample).items())
    count = sum(piece.count for piece in found)
    whole = {LABEL: Power(LABEL, 2.0, 500.0, count * 2000.0, 0.0, 0.0, ())}
    return AssemblyAtClock(sample.spec, 2.0, 490.0, True, found, float(count), whole)


def test_a_part_counts_as_often_as_it_stands_in_the_whole():
    module = BY_NAME["SA"]
    whole, sample = module.whole("exact"), module.sample("exact")
    row = _scaled(module, "Exact", whole, sample, made(sample))
    counts = {part.spec: part.count for part in row.parts}
    assert (counts["systolic_pe"], counts["delay:9"], counts["delay:8"]) == (256, 120, 120)
    wiring = 496 / (8 + 6 + 1)
    assert row.area_um2 == pytest.approx(496 + wiring) and row.load_mw == pytest.approx(0.5 * 320 / 40)
    assert row.power_mw == pytest.approx(2 * (496 + wiring) + row.load_mw)


def test_a_part_that_the_sample_has_not_is_added_as_often():
    module = BY_NAME["TASU"]
    sample = module.sample("exact")
    row = _scaled(module, "Exact", module.whole("exact"), sample, made(sample), [Part("channel_sum", 1, 3.0, 0.0)])
    counts = {part.spec: (part.count, part.area_um2) for part in row.parts}
    assert counts["channel_sum"] == (48, 144.0) and counts["channel_sum:channels=1,sum_bits=24"] == (0, 0.0)
    assert counts["window_mac"] == (432, 432.0) and counts["tap_row"] == (576, 576.0)


def test_checks_leave_out_what_misses_the_clock_and_the_arrays_area():
    module = BY_NAME["SA"]
    parts = (Part(module.element, 256, 100.0, 10.0),)
    rows = [Row(module, name, 2.0, 480.0, parts) for name in ("Exact", "HEAM")] + [Row(module, "AC", 2.0, None)]
    assert [(check.what, check.met) for check in _checks(rows)] == [("SA, HEAM, 2 GHz: power / exact", True)]
