"""Power against hand-computed sums on circuits of two to five cells, every term written out."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.hardware.activity import Vectors, drawn, recorded, toggling
from carrysave.hardware.cells import compact_library
from carrysave.hardware.liberty import parse_liberty
from carrysave.hardware.library import Arc, Cell, Library, Pin, Power, Table
from carrysave.hardware.netlist import NetlistError, parse_blif
from carrysave.hardware.power import energy
from carrysave.hardware.synthesis import synthesize
from carrysave.hardware.timing import analyze
from carrysave.multipliers import MULTIPLIERS
from carrysave.planes import PlaneWord

V = 2.0


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


LOAD = 3.0


def flat(value: float) -> Table:
    return Table((0.0,), (0.0,), np.array([[value]]))


def plane(slope_slew: float, slope_load: float, constant: float) -> Table:
    """constant + slope_slew * slew + slope_load * load, which bilinear interpolation reproduces everywhere."""
    slew, load = np.meshgrid((0.0, 10.0), (0.0, 10.0), indexing="ij")
    return Table((0.0, 10.0), (0.0, 10.0), constant + slope_slew * slew + slope_load * load)


def arc(pin: str, sense: str, rise: Table, fall: Table, slew_rise: float = 4.0, slew_fall: float = 6.0) -> Arc:
    tables = {
        "cell_rise": rise,
        "cell_fall": fall,
        "rise_transition": flat(slew_rise),
        "fall_transition": flat(slew_fall),
    }
    return Arc(pin, sense, tables=tables)


def cell(name: str, pins: list[Pin], leakage: float = 5.0, states: tuple[tuple[str, float], ...] = ()) -> Cell:
    return Cell(name, 1.0, leakage, tuple(pins), leakage_states=states)


INVERTER = cell(
    "INV",
    [
        Pin("A", "input", 1.0),
        Pin(
            "Y",
            "output",
            function="!A",
            arcs=(arc("A", "negative_unate", plane(0, 2.0, 10.0), plane(0, 1.0, 20.0)),),
            powers=(Power("A", None, plane(0.5, 0.1, 3.0), plane(0.25, 0.2, 7.0)),),
        ),
    ],
    states=(("A", 4.0), ("!A", 8.0)),
)
NAND = cell(
    "NAND",
    [
        Pin("A", "input", 1.5, powers=(Power(None, "!B", flat(0.25), flat(0.5)),)),
        Pin("B", "input", 2.5, powers=(Power(None, "!A", flat(0.125), flat(0.75)),)),
        Pin(
            "Y",
            "output",
            function="!(A*B)",
            arcs=(
                arc("A", "negative_unate", flat(11.0), flat(12.0)),
                arc("B", "negative_unate", flat(13.0), flat(14.0)),
            ),
            powers=(Power("A", "B", flat(1.0), flat(2.0)), Power("B", "A", flat(10.0), flat(20.0))),
        ),
    ],
)
LIBRARY = Library("tiny", V, 25.0, {c.name: c for c in (INVERTER, NAND)}, "hand", "0")
CHAIN = parse_blif(".model chain\n.inputs x\n.outputs z\n.gate INV A=x Y=y\n.gate INV A=y Y=z\n.end\n", LIBRARY)
GATE = parse_blif(".model gate\n.inputs a b\n.outputs y\n.gate NAND A=a B=b Y=y\n.end\n", LIBRARY)


def pairs(**ports: tuple[list[int], list[int]]) -> Vectors:
    before, after = (
        {name: PlaneWord.from_ints(np.array(values[k]), 1) for name, values in ports.items()} for k in (0, 1)
    )
    return Vectors("by hand", before, after)


def test_timing_of_a_chain() -> None:
    timing = analyze(CHAIN, LIBRARY, output_load_ff=LOAD)
    # first inverter drives 1 fF: rise 10 + 2, fall 20 + 1; second drives 3 fF: rise 10 + 6, fall 20 + 3
    assert timing.arrival_ps["y"] == {"rise": 12.0, "fall": 21.0}
    assert timing.arrival_ps["z"] == {"rise": 21.0 + 16.0, "fall": 12.0 + 23.0}
    assert timing.delay_ps == 37.0 and timing.start == "x"
    assert [(s.net, s.edge, s.delay_ps, s.load_ff) for s in timing.path] == [
        ("y", "fall", 21.0, 1.0),
        ("z", "rise", 16.0, 3.0),
    ]


def test_every_term_of_a_chain() -> None:
    # four vectors: x rises, falls, stays 1, stays 0
    result = energy(CHAIN, LIBRARY, pairs(x=([0, 1, 1, 0], [1, 0, 1, 0])), output_load_ff=LOAD)
    half = 0.5 * V**2
    per_toggle = half * (1.0 + 1.0 + LOAD)  # nets x, y and z
    assert result.switching_fj == pytest.approx(2 * per_toggle / 4)
    # x rises: y falls at input slew 0 and load 1; z rises at the slew of y's fall, 6, and load 3
    first = (7.0 + 0.2 * 1) + (3.0 + 0.5 * 6 + 0.1 * 3)
    # x falls: y rises at slew 0, load 1; z falls at the slew of y's rise, 4, and load 3
    second = (3.0 + 0.1 * 1) + (7.0 + 0.25 * 4 + 0.2 * 3)
    assert result.internal_fj == pytest.approx((first + second) / 4)
    assert result.leakage_nw == pytest.approx(8.0 + 4.0)  # one inverter has its input at 1 and the other at 0, always
    assert result.inputs_fj + result.of_instance_fj.sum() == pytest.approx(result.dynamic_fj)
    power = result.at(2.0)
    assert power.dynamic_uw == pytest.approx(2 * result.dynamic_fj) and power.leakage_uw == pytest.approx(0.012)
    assert power.activity == "by hand"


@pytest.mark.parametrize(
    ("before", "after", "internal"),
    [
        ((0, 1), (1, 1), 2.0),  # a rises, b = 1: y falls through a's arc
        ((1, 0), (1, 1), 20.0),  # b rises, a = 1: through b's
        ((0, 0), (1, 1), (2.0 + 20.0) / 2),  # both rise and both conditions hold: the mean
        (
            (1, 1),
            (0, 0),
            (1.0 + 10.0) / 2 + 0.5 + 0.75,
        ),  # both fall, no condition holds: all arcs that toggled; and the pins
        ((0, 0), (1, 0), 0.25),  # a rises, b = 0: no output moves, the input pin costs
        ((0, 1), (0, 0), 0.75),  # b falls, a = 0
        ((0, 0), (0, 0), 0.0),
    ],
)
def test_internal_energy_of_a_nand(before: tuple[int, int], after: tuple[int, int], internal: float) -> None:
    vectors = pairs(a=([before[0]], [after[0]]), b=([before[1]], [after[1]]))
    assert energy(GATE, LIBRARY, vectors, LOAD).internal_fj == pytest.approx(internal)


def test_constant_inputs_leave_leakage_alone() -> None:
    result = energy(GATE, LIBRARY, toggling({"a": 1, "b": 1}, rate=0.0), LOAD)
    assert result.dynamic_fj == 0.0 and result.leakage_nw == 5.0


def test_twice_the_toggles_cost_twice_the_energy() -> None:
    def at(rate: float) -> float:
        return energy(CHAIN, LIBRARY, toggling({"x": 1}, rate, count=1 << 16), LOAD).dynamic_fj

    one = energy(CHAIN, LIBRARY, pairs(x=([0, 1], [1, 0])), LOAD).dynamic_fj
    assert at(0.2) == pytest.approx(0.2 * one, rel=0.03) and at(0.4) == pytest.approx(0.4 * one, rel=0.03)
    half = energy(CHAIN, LIBRARY, pairs(x=([0, 1, 0, 1], [1, 0, 0, 1])), LOAD).dynamic_fj
    assert half == pytest.approx(one / 2)


def test_a_glitch_is_counted_only_when_asked() -> None:
    gates = ["INV A=a Y=n", "INV A=n Y=m", "INV A=m Y=o", "NAND A=a B=o Y=y"]
    text = ".model hazard\n.inputs a\n.outputs y\n" + "".join(f".gate {gate}\n" for gate in gates)
    hazard = parse_blif(text + ".end\n", LIBRARY)
    vectors = pairs(a=([0], [1]))  # y = !(a & !a) is 1 before and after; a pulse lasts three inverters
    quiet, timed = (energy(hazard, LIBRARY, vectors, LOAD, glitches=g) for g in (False, True))
    extra = timed.switching_fj - quiet.switching_fj
    assert extra == pytest.approx(2 * 0.5 * V**2 * LOAD)
    assert "not comparable" in timed.activity and "not comparable" not in quiet.activity


def test_a_library_without_internal_power_says_so() -> None:
    bare = Library(
        "bare",
        V,
        25.0,
        {
            "NAND": cell(
                "NAND", [Pin(p.name, p.direction, p.capacitance_ff, p.function, arcs=p.arcs) for p in NAND.pins]
            )
        },
        "hand",
        "1",
    )
    result = energy(GATE, bare, pairs(a=([0], [1]), b=([1], [1])), LOAD)
    assert result.internal_fj == 0.0 and any("no internal power" in note for note in result.notes)


def test_drawn_operands_follow_their_histograms() -> None:
    m = MULTIPLIERS.parse("exact:n=4")
    a, b = np.zeros(16), np.arange(16.0)
    a[3] = 1
    vectors = drawn(m, (a, b), "test", count=20_000)
    values = vectors.after["b"].to_ints()
    assert set(vectors.before["a"].to_ints().tolist()) == {3}
    assert np.bincount(values, minlength=16) / 20_000 == pytest.approx(b / b.sum(), abs=0.01)
    joint = np.zeros((16, 16))
    joint[2, 9] = joint[5, 1] = 1.0
    both = drawn(m, joint, "test", count=100)
    assert set(zip(both.after["a"].to_ints().tolist(), both.after["b"].to_ints().tolist(), strict=True)) == {
        (2, 9),
        (5, 1),
    }


def test_a_recorded_stream_keeps_its_order() -> None:
    m = MULTIPLIERS.parse("exact:n=4")
    vectors = recorded(m, [1, 2, 3, 4], [5, 6, 7, 8], "stream")
    assert vectors.before["a"].to_ints().tolist() == [1, 2, 3] and vectors.after["b"].to_ints().tolist() == [6, 7, 8]
    assert vectors.in_order


def test_bad_operands() -> None:
    m = MULTIPLIERS.parse("exact:n=4")
    good = np.ones(16)
    with pytest.raises(ValueError, match=r"operands of b have shape \(8,\), expected \(16,\)"):
        drawn(m, (good, np.ones(8)), "x")
    with pytest.raises(ValueError, match="negative, non-finite or only zero"):
        drawn(m, (good, np.zeros(16)), "x")
    with pytest.raises(ValueError, match="toggle rate is 0 to 1"):
        toggling({"a": 4}, 1.5)
    with pytest.raises(ValueError, match="streams of 2 and 2 codes"):
        recorded(m, [1, 2], [3, 4], "x")
    with pytest.raises(ValueError, match="codes from 1 to 16; it is 4 bits wide"):
        recorded(m, [1, 2, 16], [3, 4, 5], "x")
    with pytest.raises(NetlistError, match="the vectors are for"):
        energy(GATE, LIBRARY, toggling({"a": 2, "b": 1}), LOAD)


def test_a_short_stream_states_its_standard_error() -> None:
    generator = np.random.default_rng(0)
    m = MULTIPLIERS.parse("exact:n=2")
    text = ".model g\n.inputs a[0] a[1] b[0] b[1]\n.outputs p[0]\n.gate NAND A=a[0] B=b[0] Y=p[0]\n.end\n"
    short = recorded(m, generator.integers(0, 4, 12), generator.integers(0, 4, 12), "short stream")
    notes = energy(parse_blif(text, LIBRARY), LIBRARY, short, LOAD).notes
    assert any("11 vectors are few: the standard error" in note for note in notes)


def liberty_text(time: tuple[str, float], load: tuple[str, float], leakage: tuple[str, float]) -> str:
    """An inverter in given units: (name, how many ps, fF or nW one is); internal energy is in load unit times V^2."""

    def t(*values: float) -> str:
        return ", ".join(f"{value / time[1]:.9g}" for value in values)

    def c(*values: float) -> str:
        return ", ".join(f"{value / load[1]:.9g}" for value in values)

    return f"""library (units) {{
  time_unit : "1{time[0]}"; capacitive_load_unit (1, {load[0]}); leakage_power_unit : "1{leakage[0]}";
  voltage_unit : "1V"; nom_voltage : 0.8;
  lu_table_template (d) {{ variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("{t(5, 20)}"); index_2 ("{c(1, 10)}"); }}
  power_lut_template (p) {{ variable_1 : input_transition_time; variable_2 : total_output_net_capacitance;
    index_1 ("{t(5, 20)}"); index_2 ("{c(1, 10)}"); }}
  cell (INV) {{ area : 1; cell_leakage_power : {30 / leakage[1]:.9g};
    leakage_power () {{ when : "A"; value : {50 / leakage[1]:.9g}; }}
    pin (A) {{ direction : input; capacitance : {c(0.75)}; }}
    pin (Y) {{ direction : output; function : "!A";
      timing () {{ related_pin : "A"; timing_sense : negative_unate;
        cell_rise (d) {{ values ("{t(10, 40)}", "{t(15, 50)}"); }}
        cell_fall (d) {{ values ("{t(8, 30)}", "{t(9, 37)}"); }}
        rise_transition (d) {{ values ("{t(6, 20)}", "{t(7, 25)}"); }}
        fall_transition (d) {{ values ("{t(5, 18)}", "{t(6, 22)}"); }} }}
      internal_power () {{ related_pin : "A"; rise_power (p) {{ values ("{c(0.4, 0.5)}", "{c(0.45, 0.6)}"); }}
        fall_power (p) {{ values ("{c(0.2, 0.3)}", "{c(0.25, 0.35)}"); }} }} }} }}
}}"""


def test_units_of_the_liberty_file_do_not_matter() -> None:
    found = []
    for units in (
        (("ps", 1.0), ("ff", 1.0), ("nW", 1.0)),
        (("ns", 1000.0), ("pf", 1000.0), ("uW", 1000.0)),  # internal energy then in pJ
    ):
        library = parse_liberty(liberty_text(*units), "units.lib")
        chain = parse_blif(".model chain\n.inputs x\n.outputs z\n.gate INV A=x Y=y\n.gate INV A=y Y=z\n.end\n", library)
        result = energy(chain, library, pairs(x=([0, 1, 1], [1, 0, 1])), LOAD)
        delay = analyze(chain, library, LOAD).delay_ps
        found.append((result.switching_fj, result.internal_fj, result.leakage_nw, delay, *result.of_instance_fj))
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    # by hand: two of three vectors toggle all nets; the table's corner at slew 0 is continued linearly
    assert found[0][0] == pytest.approx(2 / 3 * 0.5 * 0.8**2 * (0.75 + 0.75 + LOAD))
    assert found[0][2] == pytest.approx(30 + 50)


def test_the_outside_load_is_told_apart_and_the_parts_sum_up() -> None:
    vectors = pairs(x=([0, 1, 1, 0], [1, 0, 1, 0]))
    result, free = (energy(CHAIN, LIBRARY, vectors, load) for load in (LOAD, 0.0))
    assert result.load_of_instance_fj.tolist() == pytest.approx([0.0, 2 / 4 * 0.5 * V**2 * LOAD])
    assert free.load_of_instance_fj.sum() == 0.0
    assert result.switching_fj - free.switching_fj == pytest.approx(result.load_of_instance_fj.sum())


WIDE = cell(
    "AND7",
    [
        *(Pin(f"A{i}", "input", 1.0, powers=(Power(None, None, flat(0.01 * i), flat(0.02 * i)),)) for i in range(7)),
        Pin(
            "Y",
            "output",
            function="*".join(f"A{i}" for i in range(7)),
            arcs=tuple(arc(f"A{i}", "positive_unate", flat(10.0 + i), flat(12.0 + i)) for i in range(7)),
            powers=tuple(Power(f"A{i}", None, flat(1.0 + i), flat(8.0 + i)) for i in range(7)),
        ),
    ],
    states=(("A0*A1", 3.0), ("!A0", 6.0)),
)


def test_a_cell_too_wide_to_tabulate_follows_the_same_rules() -> None:
    library = Library("wide", V, 25.0, {"AND7": WIDE}, "hand", "2")
    ports = " ".join(f"a[{i}]" for i in range(7))
    pins = " ".join(f"A{i}=a[{i}]" for i in range(7))
    gate = parse_blif(f".model w\n.inputs {ports}\n.outputs y\n.gate AND7 {pins} Y=y\n.end\n", library)
    before, after = [0b0111111, 0b1111111, 0b0000000, 0b1111111], [0b1111111, 0b1111001, 0b0000011, 0b1111111]
    result = energy(gate, library, pairs_of_width(7, before, after), LOAD)
    rises = 1.0 + 6 + 0.01 * 6  # a6 rises and y with it: its arc and its pin
    falls = ((8.0 + 1) + (8.0 + 2)) / 2 + 0.02 * (1 + 2)  # a1 and a2 fall: the mean of their arcs, and both pins
    idle = 0.01 * (0 + 1)  # a0 and a1 rise, y stays
    assert result.internal_fj == pytest.approx((rises + falls + idle) / 4)
    # after: a0 a1 hold | a0 without a1: the cell's figure | both | both
    assert result.leakage_nw == pytest.approx((3.0 + 5.0 + 3.0 + 3.0) / 4)


def pairs_of_width(bits: int, before: list[int], after: list[int]) -> Vectors:
    words = [{"a": PlaneWord.from_ints(np.array(values), bits)} for values in (before, after)]
    return Vectors("by hand", words[0], words[1])


def test_glitches_only_add() -> None:
    library = compact_library()
    m = MULTIPLIERS.parse("exact:n=4")
    netlist = synthesize(m, scripts=["balanced"]).smallest.netlist
    vectors = toggling({"a": 4, "b": 4}, 0.3, count=1024)
    quiet, timed = (energy(netlist, library, vectors, glitches=glitches) for glitches in (False, True))
    assert timed.switching_fj > quiet.switching_fj and timed.internal_fj > quiet.internal_fj
    assert (timed.of_instance_fj >= quiet.of_instance_fj - 1e-12).all()
    assert timed.leakage_nw == quiet.leakage_nw and timed.inputs_fj == quiet.inputs_fj
    assert "not comparable" in timed.activity
