"""Static timing against ABC's report, on mapped multipliers, with the compact library and the full ASAP7."""

from __future__ import annotations

from pathlib import Path

import pytest

from carrysave.hardware.anatomy import critical_path
from carrysave.hardware.cells import compact_library
from carrysave.hardware.liberty import read_liberty
from carrysave.hardware.library import Library
from carrysave.hardware.netlist import parse_blif
from carrysave.hardware.synthesis import report_delay, synthesize
from carrysave.hardware.timing import analyze
from carrysave.multipliers import MULTIPLIERS

SPECS = ("exact:n=4", "exact:n=4,signed=true", "kulkarni", "truncated:c=8", "compressed:heam", "drum:k=4")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def check(spec: str, library: Library, load_ff: float) -> None:
    """Every sizing of one script: ABC's delay, and a path that explains ours."""
    for mapped in synthesize(MULTIPLIERS.parse(spec), library, scripts=["balanced"]).pareto:
        timing = analyze(mapped.netlist, library, load_ff)
        assert timing.delay_ps == pytest.approx(report_delay(mapped.netlist, library, load_ff=load_ff), rel=0.02)
        assert timing.delay_ps == pytest.approx(sum(step.delay_ps for step in timing.path))
        assert timing.path[-1].arrival_ps == timing.delay_ps and timing.path[-1].net in mapped.netlist.outputs
        assert timing.start in mapped.netlist.inputs


@pytest.mark.parametrize("load_ff", [0.0, 8.6])
@pytest.mark.parametrize("spec", SPECS)
def test_delays_are_those_that_abc_reports(spec: str, load_ff: float):
    check(spec, compact_library(), load_ff)


def test_delays_agree_on_the_full_library(shared_data: Path):
    library = read_liberty(sorted((shared_data / "liberty").glob("asap7*.lib.gz")))
    for spec in ("exact:n=4", "compressed:heam"):
        check(spec, library, 0.0)


def test_a_path_goes_from_gate_to_gate():
    mapped = synthesize(MULTIPLIERS.parse("kulkarni"), scripts=["balanced"]).fastest
    path = critical_path(mapped.netlist, compact_library())
    driver = {net: instance for instance in mapped.netlist.instances for _, net in instance.outputs}
    before = path.start
    for step in path.steps:
        assert dict(driver[step.net].inputs)[step.pin] == before and driver[step.net].cell == step.cell
        before = step.net
    assert path.delay_ps == pytest.approx(mapped.delay_ps, rel=0.02)
    record = path.to_dict()
    assert record["steps"][-1]["arrival_ps"] == round(path.delay_ps, 2) == record["delay_ps"]


def test_a_path_through_a_plain_wire():
    library = compact_library()
    inverter = next(name for name in library.cells if name.startswith("INVx1_"))
    text = f".model w\n.inputs x\n.outputs z\n.gate {inverter} A=x Y=y\n.names y z\n1 1\n.end\n"
    timing = analyze(parse_blif(text, library), library, 2.0)
    assert [step.net for step in timing.path] == ["y"] and timing.load_ff["y"] == 2.0 and timing.delay_ps > 0
