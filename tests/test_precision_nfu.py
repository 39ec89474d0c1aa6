"""What the reproduction of the precision study's tile makes of the paper's figures, and how it encodes values."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.hardware.cells import compact_library
from carrysave.hardware.units.precisions import parse_precision
from carrysave.reproductions import REPRODUCTIONS
from carrysave.reproductions.precision_nfu import (
    STAGES,
    TABLE,
    Cost,
    _neuron,
    bounds,
    buffer_density,
    buffer_kb,
    checks,
    paper_logic_mm2,
    power_ratio,
    stage_of,
    table,
    values_of_a_layer,
    weights,
    words,
)

GENERATOR = np.random.default_rng(0)


def test_it_is_found():
    assert "precision-nfu" in REPRODUCTIONS


def test_one_density_meets_both_ends_of_the_printed_shares():
    kb = {row.precision: buffer_kb(parse_precision(row.precision)) for row in TABLE}
    assert list(kb.values()) == [72, 72, 36, 18, 9, 16, 6]  # 64 rows of 256 weights, 16 inputs, 16 outputs
    shares = [buffer_density() * kb[row.precision] / row.area_mm2 for row in TABLE]
    assert min(shares) == pytest.approx(0.76) and max(shares) == pytest.approx(0.96, abs=0.005)
    logic = [paper_logic_mm2(row) for row in TABLE]
    assert logic == pytest.approx([4.02, 1.41, 0.519, 0.179, 0.0697, 0.223, 0.150], rel=5e-3)


def test_the_printed_savings_are_those_of_the_printed_areas_and_powers():
    areas, powers = [15.56, 58.92, 79.94, 90.07, 81.78, 92.73], [12.05, 58.34, 84.06, 91.94, 84.78, 93.08]
    for row, area, power in zip(TABLE[1:], areas, powers, strict=True):
        assert 100 * (1 - row.area_mm2 / TABLE[0].area_mm2) == pytest.approx(area, abs=0.05)
        assert 100 * (1 - row.power_mw / TABLE[0].power_mw) == pytest.approx(power, abs=0.01)


def test_what_the_paper_says_of_the_logics_power():
    assert power_ratio(TABLE[0]) == "1.000" and power_ratio(TABLE[1]) == "0.518"
    low, high = bounds(TABLE[2].power_mw, (0.75, 0.93))
    assert power_ratio(TABLE[2]) == f"{low / 344.9:.3f} to {high / 344.9:.3f}" == "0.117 to 0.417"


def test_the_checks_are_met_by_the_papers_own_logic_and_missed_by_other():
    areas = {row.name: 1e6 * paper_logic_mm2(row) / 20 for row in TABLE}
    assert all(check.met for check in checks(areas)) and len(checks(areas)) == 14
    areas[TABLE[1].name] *= 4
    missed = [check.what for check in checks(areas) if not check.met]
    name = TABLE[1].name
    assert missed == [
        f"logic, {name} to {TABLE[0].name}",
        f"logic, {name} to {TABLE[2].name}",
        "accelerator, largest deviation from a printed area",
        "places in the order of logic areas that agree",
    ]


@pytest.mark.parametrize("bits", [4, 16, 32])
def test_values_as_fixed_point(bits: int):
    of, values = parse_precision(f"fixed{bits}"), np.clip(GENERATOR.normal(0, 0.4, 500), -0.999, 0.999)
    for codes in (words(of, values), weights(of, values)):
        back = np.where(codes >> bits - 1 == 1, codes - (1 << bits), codes) / (1 << bits - 1)
        assert np.abs(back - values).max() <= 2.0**-bits + (values > 1 - 2.0 ** (1 - bits)).any() * 2.0 ** (1 - bits)


def test_values_as_powers_of_two_bits_and_floats():
    values = np.append(GENERATOR.normal(0, 0.2, 500), [0.0, 1.0, -1.0, 2.0**-29, -(2.0**-31)])
    codes = weights(parse_precision("power_of_two6x16"), values)
    power, minus = codes % 32, codes >> 5
    back = np.where(power == 31, 0, 2.0 ** (power - 30.0)) * np.where(minus == 1, -1, 1)
    some = np.abs(values) > 2.0**-30
    assert np.all(np.abs(np.log2(back[some] / values[some])) <= 0.5) and np.all(back[np.abs(values) < 2.0**-31] == 0)
    assert np.array_equal(weights(parse_precision("binary16"), values), values >= 0)
    assert np.array_equal(words(parse_precision("float32"), values), values.astype(np.float32).view(np.uint32))


def test_a_sum_of_eight_rows_in_every_stream_and_words_that_are_not_negative():
    neuron = _neuron("fixed4")
    streams = values_of_a_layer(neuron)
    first = np.array([cycle["first"].to_ints() for cycle in streams.cycles])
    assert np.all(first[:8].sum(axis=0) == 1) and np.array_equal(first[8:16], first[:8])
    assert all(set(cycle) == set(neuron.ports) for cycle in streams.cycles)
    assert [int(cycle["rst"].to_ints()[0]) for cycle in streams.cycles[:3]] == [1, 0, 0]
    x = np.array([[int(v) >> 4 * k & 15 for k in range(16)] for v in streams.cycles[5]["x"].to_ints()])
    assert x.max() < 8 and 0.4 < (x == 0).mean() < 0.8


def test_the_table_of_the_papers_own_logic():
    """Costs that are the paper's logic, a twentieth of it: its ratios, and its accelerators again."""
    found = {
        row.name: Cost(
            dict.fromkeys(STAGES, paper_logic_mm2(row) * 1e6 / 20 / 4), dict.fromkeys(STAGES, 2.5), 1e3, frozenset()
        )
        for row in TABLE
    }
    made = table(found, compact_library())
    assert {len(row) for row in made.rows} == {len(made.columns)}
    column = {name: [row[k] for row in made.rows] for k, name in enumerate(made.columns)}
    assert column["area to float32"] == pytest.approx(column["paper"])
    assert column["mm2 at 65 nm per mm2 here"] == pytest.approx([20] * 7)
    assert column["accelerator mm2 (see conditions)"] == pytest.approx([row.area_mm2 for row in TABLE])
    assert column["logic uW"] == [10] * 7 and column["power to float32"] == [1.0] * 7
    whole, _, power = (list(zip(*bars.parts.values(), strict=True)) for bars in made.bars)
    assert [sum(heights) for heights in power] == [10.0] * 7
    assert [sum(heights) for heights in whole] == pytest.approx([row.area_mm2 for row in TABLE])


def test_stages_of_parts():
    specs = ["weight_block:precision=fixed8", "float_adder", "merged_tree:bits=4", "nonlinearity", "glue of neuron"]
    assert [stage_of(spec) for spec in specs] == [STAGES[0], STAGES[1], STAGES[1], STAGES[2], STAGES[3]]
