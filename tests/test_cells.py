"""The built-in compact library, and the distiller that made it: against the full ASAP7 where that is at hand."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from carrysave.hardware import distill as distiller
from carrysave.hardware.cells import compact_library
from carrysave.hardware.distill import choose_cells, distill, shrink_table
from carrysave.hardware.flops import plain_flops
from carrysave.hardware.liberty import parse_liberty, read_liberty
from carrysave.hardware.liberty_writer import worst_arc, write_liberty
from carrysave.hardware.library import Library, Table, check_mappable, from_data
from carrysave.hardware.netlist import verify
from carrysave.hardware.synthesis import report_delay, synthesize
from carrysave.multipliers import MULTIPLIERS


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def asap7(shared_data: Path) -> Library:
    return read_liberty(sorted((shared_data / "liberty").glob("asap7*.lib.gz")))


def test_the_compact_library_is_small_complete_and_says_where_it_is_from():
    library = compact_library()
    assert 70 <= len(library.cells) <= 90 and library.voltage == 0.7 and library.temperature == 25.0
    assert "ASAP7" in library.source and "OpenROAD-flow-scripts" in library.source and "BSD 3-clause" in library.source
    check_mappable(library)
    by_function: dict[tuple[int, ...], int] = {}
    for cell in library.combinational():
        key = (len(cell.inputs), *cell.truth())
        by_function[key] = by_function.get(key, 0) + 1
        assert cell.area_um2 > 0 and cell.leakage_nw > 0 and cell.leakage_states
        for pin in cell.inputs:
            assert pin.capacitance_ff > 0
        for output, related in itertools.product(cell.outputs, cell.inputs):
            arc = worst_arc(output.arcs, related.name)
            assert arc is not None and len(arc.tables) == 4
            assert all(max(table.values.shape) <= 3 for table in arc.tables.values())
            assert any(power.related_pin == related.name for power in output.powers)
    assert by_function[1, 0b01] >= 6 and by_function[2, 0b0111] >= 4  # drive strengths of the inverter and the NAND
    assert (Path(distiller.__file__).parent / "cells" / "asap7.json.gz").stat().st_size < 300_000


def test_the_compact_library_has_flip_flops_with_all_that_a_clock_needs():
    library = compact_library()
    flops = plain_flops(library)
    assert len(flops) == len(library.cells) - len(library.combinational()) == 4
    for cell in flops:
        data, clock = cell.pin("D"), cell.pin("CLK")
        assert {arc.type for arc in data.arcs} == {"setup_rising", "hold_rising"} and data.powers and clock.powers
        assert all(table.values.shape == (3, 3) for arc in data.arcs for table in arc.tables.values())
        (output,) = cell.outputs
        assert len(output.arcs[0].tables) == 4 and output.powers[0].related_pin == "CLK"
        assert len(cell.leakage_states) == 8


def test_setup_and_clock_to_output_of_the_compact_flip_flops(asap7: Library):
    errors: dict[str, list[float]] = {"delay": [], "constraint": []}
    for cell in plain_flops(compact_library()):
        for pin in cell.pins:
            full = {arc.type: arc for arc in asap7[cell.name].pin(pin.name).arcs}
            for arc in pin.arcs:
                original = full["rising_edge" if arc.type == "combinational" else arc.type]
                for name, table in arc.tables.items():
                    kind = "constraint" if "constraint" in name else "delay"
                    second = (0.0, 10.0, 40.0) if kind == "constraint" else (1.0, 2.0, 4.0)
                    for x, y in itertools.product((0.0, 10.0, 40.0), second):
                        errors[kind].append(abs(table.point(x, y) - original.tables[name].point(x, y)))
    assert max(errors["delay"]) < 1.5 and np.mean(errors["delay"]) < 0.4
    assert max(errors["constraint"]) < 10 and np.mean(errors["constraint"]) < 3  # its tables are rough in themselves


def test_a_bilinear_table_survives_its_resampling():
    slew, load = np.array([5.0, 10, 20, 40, 80, 160, 320]), np.array([1.0, 2, 4, 8, 16, 32, 64])
    table = Table(tuple(slew), tuple(load), 3 + 0.5 * slew[:, None] + 2 * load + 0.01 * slew[:, None] * load)
    small = shrink_table(table)
    assert small.values.shape == (3, 3) and set(small.slew) < set(table.slew) and set(small.load) < set(table.load)
    x, y = np.meshgrid([0.0, 7, 33, 150], [0.0, 3, 10, 40], indexing="ij")
    assert small.at(x, y) == pytest.approx(table.at(x, y), rel=2e-3)


def test_resampling_is_the_best_of_all_choices_of_points():
    """Against a slow search: every choice of three points, fitted by a dense least-squares solver."""
    generator = np.random.default_rng(0)
    axis = (5.0, 10.0, 20.0, 40.0, 80.0)
    values = np.sort(np.sort(generator.uniform(5, 60, (5, 5)), axis=0), axis=1)
    table = Table(axis, (1.0, 2.0, 4.0, 8.0, 16.0), values)
    slews, loads = np.array(distiller._SLEWS_PS), np.array(distiller._LOADS) * table.load[0]
    wanted = table.at(*np.meshgrid(slews, loads, indexing="ij"))

    def hats(points: tuple[float, ...], samples: np.ndarray) -> np.ndarray:
        columns = []
        for k in range(3):
            unit = np.zeros((3, 1))
            unit[k] = 1
            columns.append(Table(points, (0.0,), unit).at(samples, np.zeros_like(samples)))
        return np.stack(columns, axis=1)

    def error_of(rows: tuple[float, ...], columns: tuple[float, ...]) -> float:
        design = np.kron(hats(rows, slews), hats(columns, loads))
        solution = np.linalg.lstsq(design, wanted.ravel(), rcond=None)[0]
        return float(np.square(design @ solution - wanted.ravel()).sum())

    choices = itertools.product(itertools.combinations(table.slew, 3), itertools.combinations(table.load, 3))
    best = min(error_of(rows, columns) for rows, columns in choices)
    small = shrink_table(table, digits=12)
    reached = float(np.square(small.at(*np.meshgrid(slews, loads, indexing="ij")) - wanted).sum())
    assert reached == pytest.approx(best, rel=1e-6)


def test_tables_of_one_axis_and_constants():
    line = Table((5.0, 10.0, 20.0, 40.0), (0.0,), np.array([[5.0], [10.0], [20.0], [40.0]]))
    assert shrink_table(line).at(30.0, 0.0) == pytest.approx(30.0)
    assert shrink_table(Table((0.0,), (0.0,), np.array([[7.0]]))).values.tolist() == [[7.0]]


def test_area_and_delay_of_the_same_netlists_with_the_full_library(asap7: Library):
    compact = compact_library()
    for name, cell in compact.cells.items():
        full = asap7[name]
        assert (cell.area_um2, cell.leakage_nw, cell.state) == (full.area_um2, full.leakage_nw, full.state)
        assert [pin.function for pin in cell.pins] == [pin.function for pin in full.pins]
        assert [p.capacitance_ff for p in cell.inputs] == [p.capacitance_ff for p in full.inputs]
    for spec in ("exact", "exact:tree=array", "kulkarni", "mitchell", "venkatachalam", "drum:k=6"):
        found = synthesize(MULTIPLIERS.parse(spec), effort="quick")
        for mapped in found.pareto:
            assert mapped.netlist.area_um2(asap7) == pytest.approx(mapped.area_um2, abs=1e-12)
            assert report_delay(mapped.netlist, asap7) == pytest.approx(mapped.delay_ps, rel=0.02)


def test_exact_8x8_with_the_full_library(asap7: Library):
    m = MULTIPLIERS.parse("exact")
    found = synthesize(m, asap7, scripts=["balanced"])
    at_400 = found.meeting(400.0)
    assert at_400 is not None and at_400.area_um2 <= 30.4
    assert verify(at_400.netlist, asap7, m).exhaustive


def test_sky130_works_as_another_library(shared_data: Path):
    sky = read_liberty(shared_data / "liberty" / "sky130hd_tt.lib.gz")
    m = MULTIPLIERS.parse("exact:n=4")
    found = synthesize(m, sky, scripts=["balanced", "small"])
    assert not found.failures and verify(found.smallest.netlist, sky, m).exhaustive
    assert 3 < found.smallest.area_um2 / found.smallest.netlist.cells().total() < 20  # um2 a gate
    assert 300 < found.fastest.delay_ps < 3000


def test_the_distiller_reads_any_liberty_and_chooses_what_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(distiller, "BENCHMARKS", ("exact:n=4",))
    source = tmp_path / "some.lib"
    source.write_text(write_liberty(compact_library()))
    distiller.main([str(source), "-o", str(tmp_path / "out.json.gz"), "--cells", "20", "--source", "a test"])
    made = from_data(json.loads(gzip.decompress((tmp_path / "out.json.gz").read_bytes())))
    assert made.source == "a test" and len(made.cells) == 20
    check_mappable(made)
    m = MULTIPLIERS.parse("exact:n=4")
    found = synthesize(m, made, scripts=["balanced"])
    assert verify(found.smallest.netlist, made, m).exhaustive
    assert made.digest != parse_liberty(source.read_text(), "some.lib").subset(made.cells).digest


def test_cells_are_ranked_by_the_area_spent_on_them():
    library = compact_library()
    ranked = choose_cells(library, 100, ["exact:n=4"])
    used: dict[str, float] = {}
    found = synthesize(MULTIPLIERS.parse("exact:n=4"))
    for mapped in found.pareto:
        for cell, number in mapped.netlist.cells().items():
            used[cell] = used.get(cell, 0.0) + number * library[cell].area_um2 / mapped.area_um2
    essential, rest = ranked[:6], ranked[6:]  # four buffers, an inverter, a two-input gate, used here or not
    assert [library[cell].truth() for cell in essential[:5]] == [(0b10,)] * 4 + [(0b01,)]
    assert library[essential[5]].truth()[0] in (0b0111, 0b0001)
    assert rest == sorted(rest, key=lambda cell: -used[cell])
    assert set(ranked) == set(used) | set(essential)
    assert distill(library, ranked[:5], "x").cells.keys() == set(ranked[:5])
