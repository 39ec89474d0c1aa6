"""What the tables of MACs and of conversion units ask, answered with the papers' own figures instead of a synthesis."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from carrysave.hardware.units import UNITS
from carrysave.reproductions import log_table4, nonuniform_table5
from carrysave.reproductions.log_table4 import BESIDE, MACS, Measured
from carrysave.reproductions.nonuniform_table5 import UNITS_OF_TABLE


def test_macs_whose_power_is_at_one_rate_meet_the_product_and_miss_the_energy_of_an_operation():
    figures = {}
    for mac in MACS:  # an operation per nanosecond: its energy in pJ is the power in mW
        m = Measured(1.0, 1000 * mac.delay_ns, (mac.power_mw, mac.power_mw), (mac.power_mw, mac.power_mw))
        figures[mac.name] = {"smallest": m, "fastest": m}
    checks = {check.what: check for check in log_table4._checks(figures)}
    operation, product, power = (
        [check for what, check in checks.items() if what.startswith(name) and "bfloat16" in what]
        for name in ("energy of one operation", "delay x power", "power at one clock")
    )
    assert [check.met for check in operation] == [False, False, False, True, True]  # 2.3, 1.7, 0.63, 1.1, 1.1
    assert all(check.met for check in (*product, *power)) and len(product) == len(power) == 5
    assert [round(check.ours, 2) for check in power] == [0.80, 0.34, 3.95, 2.97, 0.67]
    counted = {what: check.ours for what, check in checks.items() if what.endswith(": ratios")}
    assert len(counted) == 12 and {n for what, n in counted.items() if what.startswith("energy")} == {2}
    assert {n for what, n in counted.items() if not what.startswith("energy")} == {5}
    places = [check for what, check in checks.items() if "places in the order" in what]
    assert [check.met for check in places] == [False, True, True]
    names = [row[0] for row in log_table4._rows(figures)]
    assert names == 2 * [mac.name for mac in MACS]


def test_units_as_the_paper_has_them_meet_its_ratios():
    costs: dict[str, Any] = {
        name: SimpleNamespace(
            area_um2=u.area_um2, min_delay_ps=1000 * u.delay_ns, pareto=((1.0, 9.0, ""), (u.area_um2, 1.0, ""))
        )
        for u in UNITS_OF_TABLE
        for name in ([u.name, f"{u.name}, built in"] if u.built_in else [u.name])
    }
    checks = nonuniform_table5._checks(costs)
    assert len(checks) == 10 and all(check.met for check in checks)
    costs["CE, built in"].min_delay_ps = 100.0
    missed = [check.what for check in nonuniform_table5._checks(costs) if not check.met]
    assert missed == ["CE, built in: delay to CK's"]
    row = nonuniform_table5._row("QE", costs)
    assert row[3] == row[4] == row[-1] and row[7] == pytest.approx(row[8])


def test_every_unit_of_the_tables_exists():
    specs = [*BESIDE.values(), *nonuniform_table5.BESIDE.values()]
    specs += [spec for u in UNITS_OF_TABLE for spec in (u.spec, u.built_in) if spec]
    assert all(UNITS.parse(spec).outputs for spec in specs)


def test_the_proof_of_most_circuits_stands_first_without_their_names():
    said = list(log_table4._fewest_last({"run": ["FP32, fastest"], "run; SAT": ["a", "b", "c"]}))
    assert said == [("run; SAT", ["3 of 4 circuits"]), ("run", ["FP32, fastest"])]
