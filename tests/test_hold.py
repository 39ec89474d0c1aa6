"""Hold times: short paths by hand, against the tables of the library, and where they are missed."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from carrysave.hardware.cells import compact_library
from carrysave.hardware.flops import plain_flops
from carrysave.hardware.hold import check_hold
from carrysave.hardware.library import Library, Table
from carrysave.hardware.netlist import Instance, Netlist
from carrysave.hardware.registers import synthesize_clocked
from carrysave.hardware.timing import analyze
from carrysave.hardware.units import UNITS

LIBRARY = compact_library()
FLOP, INVERTER, NAND = "DFFHQNx1_ASAP7_75t_R", "INVx1_ASAP7_75t_R", "NAND2xp5_ASAP7_75t_R"


def flop(data: str, shown: str) -> Instance:
    return Instance(FLOP, (("D", data), ("CLK", "clk")), (("QN", shown),))


def chain(inverters: int) -> Netlist:
    """An input, a flip-flop, so many inverters, a flip-flop."""
    gates = [Instance(INVERTER, (("A", f"n{k}"),), (("Y", f"n{k + 1}"),)) for k in range(inverters)]
    return Netlist("chain", ("x", "clk"), ("y",), (flop("x", "n0"), *gates, flop(f"n{inverters}", "y")))


def tables(library: Library, kind: str) -> dict[str, Table]:
    arcs = library[FLOP].pin("D").arcs
    return next(arc.tables for arc in arcs if arc.type == kind)


def test_flip_flop_to_flip_flop_by_hand():
    """One net: the clock-to-output delay at the load of one data pin, less the hold time at the slew that gives."""
    hold = check_hold(chain(0), LIBRARY)
    (pin,) = LIBRARY[FLOP].outputs
    load = LIBRARY[FLOP].pin("D").capacitance_ff
    (arc,) = pin.arcs
    wanted, needed = [], tables(LIBRARY, "hold_rising")
    for edge in ("rise", "fall"):
        slew = arc.tables[f"{edge}_transition"].point(0.0, load)
        late = needed[f"{edge}_constraint"].point(slew, 0.0)
        wanted.append(arc.tables[f"cell_{edge}"].point(0.0, load) - late)
    assert hold.slack_ps == pytest.approx(min(wanted)) and hold.at == (FLOP, "n0") and not hold.note
    held = [table.point(0.0, 0.0) for table in needed.values()]
    assert hold.inputs_ps == pytest.approx(max(0.0, *held)) and hold.inputs_ps > 0


def test_gates_between_them_add_their_delay():
    slacks = [check_hold(chain(k), LIBRARY).slack_ps for k in range(5)]
    assert all(after > before + 2 for before, after in itertools.pairwise(slacks[1:]))
    assert slacks[4] + 100 > slacks[0]


def test_the_shorter_of_two_paths_counts():
    long = chain(6).instances[:-1]
    short = Instance(NAND, (("A", "n0"), ("B", "n6")), (("Y", "d"),))
    netlist = Netlist("two", ("x", "clk"), ("y",), (*long, short, flop("d", "y")))
    only = replace(short, inputs=(("A", "n0"), ("B", "z")))
    direct = Netlist("one", ("x", "z", "clk"), ("y",), (flop("x", "n0"), only, flop("d", "y")))
    one, other = check_hold(netlist, LIBRARY).slack_ps, check_hold(direct, LIBRARY).slack_ps
    assert 0 < other < one < check_hold(chain(6), LIBRARY).slack_ps  # the long one loads n0, no more


def test_the_earliest_arrival_is_not_after_the_latest():
    text = UNITS.parse("run_length:run_bits=2,address_bits=6").circuit("u").rtlil()
    found = synthesize_clocked("u", text, LIBRARY, ["fast"], "quick")
    for mapped in found.synthesis.found:
        hold, timing = check_hold(mapped.netlist, LIBRARY), analyze(mapped.netlist, LIBRARY)
        assert hold.at is not None and not hold.note
        latest = max(timing.arrival_ps[hold.at[1]].values())
        slowest = max(table.values.max() for table in tables(LIBRARY, "hold_rising").values())
        assert 0 < hold.slack_ps < latest + slowest


def slow_to_take(extra_ps: float) -> Library:
    """The library with longer hold times."""
    cell = LIBRARY[FLOP]
    pin = cell.pin("D")
    arcs = tuple(
        replace(arc, tables={n: replace(t, values=t.values + extra_ps) for n, t in arc.tables.items()})
        if arc.type == "hold_rising"
        else arc
        for arc in pin.arcs
    )
    pins = tuple(replace(pin, arcs=arcs) if other is pin else other for other in cell.pins)
    return replace(LIBRARY, cells={**LIBRARY.cells, FLOP: replace(cell, pins=pins)}, digest="slower")


def test_a_path_that_is_too_short_is_named():
    before, after = check_hold(chain(0), LIBRARY), check_hold(chain(0), slow_to_take(200.0))
    assert after.slack_ps == pytest.approx(before.slack_ps - 200.0) and after.slack_ps < 0
    assert after.note == (
        f"hold time missed by {-after.slack_ps:.1f} ps with an ideal clock, at {FLOP} taking n0: "
        "the path needs buffers, which are not in these figures"
    )
    assert after.inputs_ps == pytest.approx(before.inputs_ps + 200.0)
    assert check_hold(chain(0), slow_to_take(-500.0)).inputs_ps == 0


def test_without_hold_times_nothing_is_claimed():
    cell = LIBRARY[FLOP]
    pin = cell.pin("D")
    bare = replace(pin, arcs=tuple(arc for arc in pin.arcs if arc.type != "hold_rising"))
    pins = tuple(bare if other is pin else other for other in cell.pins)
    library = replace(LIBRARY, cells={**LIBRARY.cells, FLOP: replace(cell, pins=pins)}, digest="bare")
    hold = check_hold(chain(1), library)
    assert hold.note == f"hold times not checked: the library gives none for {FLOP}"
    assert math.isinf(hold.slack_ps) and hold.inputs_ps == 0


def test_nothing_to_hold():
    gate = Netlist("g", ("x",), ("y",), (Instance(INVERTER, (("A", "x"),), (("Y", "y"),)),))
    assert check_hold(gate, LIBRARY).at is None and check_hold(gate, LIBRARY).note == ""
    tied = (Instance("_const0_", (), (("z", "d"),)), flop("d", "y"))
    assert math.isinf(check_hold(Netlist("c", ("clk",), ("y",), tied), LIBRARY).slack_ps)
    assert np.isfinite(check_hold(chain(0), LIBRARY).slack_ps) and len(plain_flops(LIBRARY)) == 4
