"""Units on the command line: show, synth, verilog, and what goes wrong there."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from carrysave.cli import app
from carrysave.hardware.unit_cost import synthesize_units
from carrysave.hardware.units import UNITS
from carrysave.hardware.units.of_multiplier import any_unit, is_unit
from carrysave.multipliers import MULTIPLIERS


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("carrysave.unit_command.VECTORS", 20_000)  # ten million take seconds for each circuit
        yield


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_no_name_means_two_things():
    assert not set(UNITS.names()) & set(MULTIPLIERS.names())
    assert is_unit("rccm:2add") and not is_unit("drum:k=6") and not is_unit("nothing")
    assert any_unit("drum:k=6").spec == "drum:k=6" and any_unit("rccm:2add").spec == "rccm:2add"


def test_show_a_unit():
    shown = call("show", "rccm:2add,n=4,pipelined=true", "--effort", "quick")
    assert shown.exit_code == 0, shown.output
    assert "in x[4], select[4]; out y[12]" in shown.output and "Period ps" in shown.output
    assert "0 mismatches" in shown.output and "µW at 1 GHz, input toggle rate 0.1" in shown.output
    record = json.loads(call("show", "rccm:2add,n=4,pipelined=true", "--effort", "quick", "--json").stdout)
    points = record["cost"]["pareto"]
    assert points[0]["delay_ps"] > points[-1]["delay_ps"] and record["registers"]["n1_2"]["width"] == 12
    assert record["critical_paths"]["fastest"]["delay_ps"] == pytest.approx(points[-1]["delay_ps"], abs=0.01)
    hold = record["hold"]["smallest"]
    assert hold["slack_ps"] > 0 and hold["inputs_ps"] > 0 and not hold["note"]
    assert f"smallest: slack {hold['slack_ps']:.1f} ps, inputs held for {hold['inputs_ps']:.1f} ps" in shown.output
    power = record["at_clock"]["power"]["input toggle rate 0.1"]
    assert power["total_uw"] > power["leakage_uw"] > 0


def test_a_clock_is_met_by_the_smallest_circuit_sized_to_it_or_by_none():
    (found,) = synthesize_units([UNITS.parse("rccm:2add,n=4,pipelined=true")], effort="quick")
    fastest = found.synthesis.fastest.delay_ps
    at = found.at_clock(1000 / (1.05 * fastest), vectors=50_000)
    assert at.mapped is not None and at.mapped.delay_ps <= 1.05 * fastest
    known = found.synthesis.meeting(1.05 * fastest)
    assert known is not None and found.synthesis.smallest.area_um2 <= at.mapped.area_um2 <= known.area_um2
    assert found.at_clock(1000 / (0.5 * fastest)).mapped is None
    with pytest.raises(ValueError, match="frequency_ghz=0: a clock is positive"):
        found.at_clock(0)


def test_synth_at_clocks_takes_units_and_multipliers():
    made = call("synth", "rccm:2add,n=4", "exact:n=4", "--frequency", "1GHz,50GHz", "--effort", "quick", "--json")
    assert made.exit_code == 0, made.output
    rows = {(row["spec"], row["frequency_ghz"]): row for row in json.loads(made.stdout)["rows"]}
    assert rows["rccm:2add,n=4", 1.0]["met"] and rows["exact:n=4", 1.0]["met"]
    assert rows["rccm:2add,n=4", 1.0]["proof"].endswith("logic equal to definition and RTL by SAT, all inputs")
    missed = rows["rccm:2add,n=4", 50.0]
    assert not missed["met"] and missed["fastest_ps"] > 20 and "proof" not in missed
    said = f"rccm:2add,n=4: no circuit meets 50 GHz (20 ps): the fastest found takes {missed['fastest_ps']:.1f} ps"
    notes = json.loads(made.stdout)["notes"]
    assert any(note.startswith(said) for note in notes) and "give a slower clock, --effort normal" in notes[-1]
    assert sum(note.startswith("exact:n=4: 256 inputs, all there are") for note in notes) == 1


@pytest.mark.parametrize("spec", ["rccm:2add,n=4", "rccm:2add,n=4,pipelined=true"])
def test_a_clock_that_nothing_meets_is_an_error_with_the_fastest_there_is(spec: str):
    made = call("synth", spec, "--frequency", "500GHz,400GHz", "--effort", "quick")
    assert made.exit_code == 2 and "Traceback" not in made.output
    text = made.stderr[made.stderr.index("carrysave: ") :]
    fastest = synthesize_units([UNITS.parse(spec)], effort="quick")[0].synthesis.fastest.delay_ps
    assert text == (
        f"carrysave: no clock is met.\n"
        f"  {spec}: no circuit meets 500 GHz (2 ps): the fastest found takes {fastest:.1f} ps, which is "
        f"{1000 / fastest:.3g} GHz\n"
        f"  {spec}: no circuit meets 400 GHz (2.5 ps): the fastest found takes {fastest:.1f} ps, which is "
        f"{1000 / fastest:.3g} GHz\n"
        "  To meet it: give a slower clock, --effort normal, or a circuit with fewer gates between registers.\n"
    )


def test_synth_for_an_fpga():
    made = call("synth", "exact:n=4", "--fpga", "ku115")
    assert made.exit_code == 0, made.output
    assert "exact:n=4: 256 inputs, all there are" in made.output and "663,360 LUT" in made.output
    assert "no routing" in made.output


def test_units_made_of_units_are_shown_part_by_part():
    shown = call("show", "mvtu", "--effort", "quick")
    assert shown.exit_code == 0, shown.output
    assert "glue of mvtu" in shown.output and "timed as one netlist" in shown.output
    record = json.loads(call("show", "mvtu", "--effort", "quick", "--json").stdout)
    at = record["at_clock"]
    assert at["area_um2"] == pytest.approx(sum(part["count"] * part["area_um2"] for part in at["parts"]))
    assert at["delay_ps"] < 1000 and len(at["parts"]) > 3 and "0 mismatches" in at["proof"]
    assert record["inputs"]["rst"] == 1 and record["register_bits"] > 10

    made = call("synth", "mvtu", "exact:n=4", "--frequency", "1GHz,100GHz", "--effort", "quick", "--json")
    assert made.exit_code == 0, made.output
    rows = {(row["spec"], row["frequency_ghz"]): row for row in json.loads(made.stdout)["rows"]}
    assert [spec for spec, _ in rows] == ["mvtu"] * 2 + ["exact:n=4"] * 2
    assert rows["mvtu", 1.0]["area_um2"] == pytest.approx(at["area_um2"]) and not rows["mvtu", 100.0]["met"]


def test_list_units():
    entries = json.loads(call("list", "units", "--json").stdout)
    assert [entry["name"] for entry in entries] == UNITS.names()
    assert all(len(entry["description"]) > 10 for entry in entries)
    assert "run_length" in call("list", "units").output


def test_verilog_of_a_unit(tmp_path):
    out = tmp_path / "u.v"
    made = call("verilog", "run_length:run_bits=3,address_bits=8", "-o", str(out), "--name", "walk")
    assert made.exit_code == 0, made.output
    text = out.read_text()
    assert "module walk(clk, start, count, word, rst" in text and "posedge clk" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verilog", "rcm:2add"], "unknown unit or multiplier 'rcm' (did you mean 'rccm'?)"),
        (["list", "unit"], "list unit: there are multipliers and units (did you mean 'units'?)"),
        (["show", "rccm:5add"], "no circuit '5add'"),
        (["show", "rccm:2add", "--map", "x.png"], "is a hardware unit; an error map is drawn of a multiplier"),
        (["synth", "rccm:2add"], "give --frequency (such as 1GHz,2.5GHz) for standard cells, or --fpga"),
        (["synth", "rccm:2add", "--fpga", "ku114"], "unknown FPGA 'ku114' (did you mean 'ku115'?)"),
        (["synth", "rccm:2add", "--fpga", "xc7", "--frequency", "1GHz"], "--fpga xc7 goes without --frequency"),
        (["synth", "rccm:2add", "--frequency", "1GHz", "--operands", "x.npz"], "they are a multiplier's; rccm:2add is"),
        (["synth", "rccm:2add", "--frequency", "fast"], "expected a positive number with a unit"),
        (["show", "rccm:2add", "--effort", "great"], "--effort great: it is quick or normal"),
    ],
)
def test_what_goes_wrong(arguments: list[str], message: str):
    made = call(*arguments)
    assert made.exit_code == 2
    assert message in " ".join(made.output.split()), made.output
