"""Designs at clocks: frequencies as text, the smallest circuit that meets each, dashes, and the cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from carrysave.hardware import kept_energy
from carrysave.hardware.activity import drawn, toggling
from carrysave.hardware.cells import compact_library
from carrysave.hardware.clocks import at_clocks, parse_frequencies, smallest_at
from carrysave.hardware.kept_energy import cached_energy
from carrysave.hardware.netlist import MismatchError, verify
from carrysave.hardware.power import energy
from carrysave.hardware.resizing import meeting, resized
from carrysave.hardware.synthesis import Synthesis, synthesize
from carrysave.hardware.tools import Tools
from carrysave.multipliers import MULTIPLIERS

M = MULTIPLIERS.parse("exact:n=4")
TOGGLED = toggling({"a": 4, "b": 4}, count=256)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def found() -> Synthesis:
    return synthesize(M, effort="quick")


def test_frequencies_as_people_write_them():
    assert parse_frequencies("1GHz,2.5 ghz, 800MHz,3e-1GHz") == pytest.approx([1.0, 2.5, 0.8, 0.3])
    assert parse_frequencies("32000kHz") == pytest.approx([0.032])
    for wrong in ("", "1", "fast", "0GHz", "-1GHz", "1GHz,,2GHz", "infGHz", "1THz"):
        with pytest.raises(ValueError, match="expected a positive number with a unit, such as 2GHz or 800MHz"):
            parse_frequencies(wrong)


def test_sizing_to_the_period_gives_no_larger_circuits_and_the_same_products(found: Synthesis):
    library = compact_library()
    fastest, smallest = found.fastest.delay_ps, found.smallest.delay_ps
    for period in np.linspace(fastest * 1.001, smallest * 1.1, 5).tolist():
        known, sized = found.meeting(period), meeting(found, period)
        assert known is not None and sized is not None
        assert sized.delay_ps <= period and sized.area_um2 <= known.area_um2
        assert verify(sized.netlist, library, M).mismatches == 0
        assert sized.area_um2 == pytest.approx(sized.netlist.area_um2(library))
    assert meeting(found, smallest * 1.1) == found.smallest
    assert meeting(found, 1.0) is None and resized(found, 1.0) == []


def test_sizing_is_taken_from_the_cache(found: Synthesis):
    period = (found.fastest.delay_ps + found.smallest.delay_ps) / 2
    first = resized(found, period)
    assert first and all(" to " in mapped.script for mapped in first)
    broken = replace(Tools.installed(), abc=("/nowhere/abc",))
    assert resized(found, period, tools=broken) == first


def test_the_smallest_of_several_structures(found: Synthesis):
    other = synthesize(MULTIPLIERS.parse("exact:n=4,tree=array,adder=ripple"), effort="quick")
    for clock in (0.5, 2.0, 4.0):
        alone = [mapped for s in (found, other) if (mapped := smallest_at([s], clock)) is not None]
        both = smallest_at([found, other], clock)
        assert both is not None and both.area_um2 == min(mapped.area_um2 for mapped in alone)
    assert smallest_at([found, other], 1000.0) is None


def test_a_clock_that_nothing_meets_has_no_figures(found: Synthesis):
    own = drawn(M, (np.ones(16), np.arange(16)), "own", count=256)
    slow, fast, never = at_clocks("exact", [found], [0.5, 1.0, 1000.0], [TOGGLED, own], m=M)
    assert never.mapped is None and never.power == {} and never.frequency_ghz == 1000.0
    assert slow.mapped == found.smallest and list(slow.power) == ["input toggle rate 0.1", "own"]
    assert fast.mapped is not None and fast.mapped.delay_ps <= 1000
    direct = energy(found.smallest.netlist, compact_library(), TOGGLED)
    power = slow.power["input toggle rate 0.1"]
    assert power.total_uw == pytest.approx(direct.dynamic_fj * 0.5 + direct.leakage_nw * 1e-3)
    assert power.standard_error_uw == pytest.approx(direct.standard_error_fj * 0.5) and power.frequency_ghz == 0.5


def test_a_circuit_of_something_else_is_found_out(found: Synthesis):
    with pytest.raises(MismatchError, match="truncated:n=4,c=2: the netlist"):
        at_clocks("x", [found], [0.5], [TOGGLED], m=MULTIPLIERS.parse("truncated:c=2,n=4"))


def test_energy_is_kept_by_all_that_determines_it(found: Synthesis, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    library, netlist = compact_library(), found.smallest.netlist
    first = cached_energy(netlist, library, TOGGLED)
    computed = []

    def spy(*arguments: object):
        computed.append(arguments)
        return energy(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(kept_energy, "energy", spy)
    again = cached_energy(netlist, library, TOGGLED)
    assert not computed and again.dynamic_fj == first.dynamic_fj and again.notes == first.notes
    assert np.array_equal(again.of_instance_fj, first.of_instance_fj)
    assert np.array_equal(again.load_of_instance_fj, first.load_of_instance_fj)
    cached_energy(netlist, library, TOGGLED, 1.0)  # another load
    cached_energy(netlist, library, toggling({"a": 4, "b": 4}, count=256, seed=1))  # other vectors, the same label
    cached_energy(found.fastest.netlist, library, TOGGLED)
    monkeypatch.setattr(kept_energy, "MODEL", "another")
    cached_energy(netlist, library, TOGGLED)
    assert len(computed) == 4
    for entry in tmp_path.rglob("*.json.gz"):
        entry.write_bytes(b"damaged")
    assert cached_energy(netlist, library, TOGGLED).dynamic_fj == first.dynamic_fj and len(computed) == 5
