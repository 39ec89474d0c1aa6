"""The reproductions from the FPGA flow: what they ask of the figures, without running it."""

from __future__ import annotations

import pytest

from carrysave.hardware.units import UNITS
from carrysave.reproductions import REPRODUCTIONS
from carrysave.reproductions.log_table4 import MACS
from carrysave.reproductions.nonuniform_table5 import UNITS_OF_TABLE
from carrysave.reproductions.thesis_figure6_8 import BITS, DESIGNS, SAVED, SLOPES, _checks


def test_they_are_found_and_their_units_exist():
    assert {"thesis-figure6.8", "thesis-table6.8", "nonuniform-table5", "log-table4"} <= REPRODUCTIONS.keys()
    for spec in [*(f"{spec},n=9" for spec in DESIGNS.values()), *(u.spec for u in UNITS_OF_TABLE)]:
        assert UNITS.parse(spec).outputs
    assert all(UNITS.parse(mac.spec) for mac in MACS)


def test_the_papers_energies_are_delay_times_power():
    assert all(mac.energy_pj == pytest.approx(mac.delay_ns * mac.power_mw, rel=0.006) for mac in MACS)


def test_the_thesis_claims_are_met_by_its_own_figures_and_missed_by_a_better_multiplier():
    generic = {b: round(7.4 * b) for b in BITS}
    luts = {name: {b: round(slope * b + slope * 6) for b in BITS} for name, slope in SLOPES.items()}
    luts["4-Add"] = {b: 4 * b + 34 for b in BITS}
    luts |= {"generic, pairs of rows": generic, "generic, Booth rows": {b: 4 * b + 8 for b in BITS}}
    slopes = {**SLOPES, "generic, pairs of rows": 7.4}
    checks = {check.what: check for check in _checks(luts, slopes)}
    missed = [what for what, check in checks.items() if not check.met]
    assert missed == ["3-Add to the Booth rows above 4 bits, at most", "4-Add to the Booth rows above 9 bits, at most"]
    for name, wanted in SAVED.items():
        ours = next(c.ours for what, c in checks.items() if what.startswith(f"{name}: LUTs saved"))
        assert ours == pytest.approx(wanted, abs=0.005)  # 30 and 45 of 67
