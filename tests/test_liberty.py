"""Reading and writing Liberty: a small library by hand, every number known, and the ways a file can be damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from carrysave.hardware.functions import evaluate, parse_function, pins_of, truth_table
from carrysave.hardware.liberty import LibertyError, parse_liberty, read_liberty
from carrysave.hardware.liberty_writer import worst_arc, write_liberty
from carrysave.hardware.library import LibraryError, Table, check_mappable, from_data, to_data

SMALL = """
/* units: 10 ps, 2 fF, so energies are in 2 fJ at 1 V */
library (small) {
  time_unit : "10ps"; capacitive_load_unit (2, ff); leakage_power_unit : "1pW"; voltage_unit : "1V";
  nom_voltage : 0.7; nom_temperature : 25.0;
  lu_table_template (two) {
    variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("1, 2"); index_2 ("1, 3, 5");
  }
  lu_table_template (turned) {
    variable_1 : total_output_net_capacitance; variable_2 : input_net_transition;
    index_1 ("1, 3, 5"); index_2 ("1, 2");
  }
  power_lut_template (energy) { variable_1 : input_transition_time; index_1 ("1, 2"); }
  cell (INV) { // the smallest
    area : 1.5; cell_leakage_power : 4000;
    pg_pin (VDD) { pg_type : primary_power; }
    pg_pin (VSS) { pg_type : primary_ground; }
    leakage_power () { value : 3000; when : "A"; related_pg_pin : VDD; }
    leakage_power () { value : 9999; when : "A"; related_pg_pin : VSS; }
    pin (A) { direction : input; capacitance : 0.5; internal_power () {
      rise_power (energy) { values ("1, 2"); } fall_power (scalar) { values ("7"); } } }
    pin (Y) { direction : output; function : "A'"; max_capacitance : 8;
      timing () { related_pin : "A"; timing_sense : negative_unate;
        cell_rise (two) { values ("1, 2, 3", \\
                                  "4, 5, 6"); }
        cell_fall (turned) { values ("1, 4", "2, 5", "3, 6"); }
        rise_transition (two) { index_1 ("10, 20"); index_2 ("1, 3, 5"); values ("1, 1, 1, 2, 2, 2"); }
        fall_transition (scalar) { values ("0.5"); }
      }
      internal_power () { related_pin : "A"; when : "1"; related_pg_pin : VDD;
        rise_power (scalar) { values ("3"); } fall_power (scalar) { values ("4"); } }
      internal_power () { related_pin : "A"; when : "1"; related_pg_pin : VSS;
        rise_power (scalar) { values ("50"); } fall_power (scalar) { values ("50"); } }
    }
  }
  cell (DFF) { area : 6; ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }
    pin (CK) { direction : input; clock : true; capacitance : 1; }
    pin (D) { direction : input; capacitance : 1;
      timing () { related_pin : "CK"; timing_type : setup_rising; rise_constraint (scalar) { values ("2"); } } }
    pin (Q) { direction : output; function : "IQ"; } }
  cell (HOLD) { area : 3; latch (IQ, IQN) { enable : "G"; data_in : "D"; }
    pin (D) { direction : input; } pin (G) { direction : input; } pin (Q) { direction : output; function : "IQ"; } }
  cell (TRI) { area : 2; pin (A) { direction : input; } pin (E) { direction : input; }
    pin (Y) { direction : output; function : "A"; three_state : "E"; } }
}
"""


def test_every_number_of_a_small_library():
    library = parse_liberty(SMALL, "small.lib")
    assert (library.name, library.voltage, library.temperature) == ("small", 0.7, 25.0)
    inverter = library["INV"]
    assert (inverter.area_um2, inverter.leakage_nw, inverter.leakage_states) == (1.5, 4.0, (("A", 3.0),))
    a, y = inverter.pin("A"), inverter.pin("Y")
    assert (a.capacitance_ff, y.max_capacitance_ff, y.function) == (1.0, 16.0, "A'")
    (arc,) = y.arcs
    assert (arc.related_pin, arc.sense, arc.when) == ("A", "negative_unate", None)
    rise, fall = arc.tables["cell_rise"], arc.tables["cell_fall"]
    assert (rise.slew, rise.load) == ((10.0, 20.0), (2.0, 6.0, 10.0))
    assert rise.values.tolist() == [[10, 20, 30], [40, 50, 60]]
    assert (fall.slew, fall.load, fall.values.tolist()) == (rise.slew, rise.load, rise.values.tolist())  # turned over
    assert arc.tables["rise_transition"].slew == (100.0, 200.0)
    assert arc.tables["fall_transition"].values.tolist() == [[5.0]]


def test_internal_energy_is_in_femtojoules_and_counts_the_supply_alone():
    cell = parse_liberty(SMALL, "small.lib")["INV"]
    (switching,) = cell.pin("Y").powers
    assert (switching.related_pin, switching.when) == ("A", "1")
    assert switching.rise is not None and switching.rise.values.tolist() == [[6.0]]
    (passive,) = cell.pin("A").powers
    assert passive.related_pin is None and passive.rise is not None
    assert passive.rise.values.tolist() == [[2.0], [4.0]] and passive.rise.slew == (10.0, 20.0)


def test_kinds_of_cells():
    library = parse_liberty(SMALL, "small.lib")
    assert {name: cell.kind for name, cell in library.cells.items()} == {
        "INV": "combinational", "DFF": "flip_flop", "HOLD": "latch", "TRI": "other"}  # fmt: skip
    flop = library["DFF"]
    assert flop.state == {"q": "IQ", "qn": "IQN", "clocked_on": "CK", "next_state": "D"} and flop.pin("CK").clock
    assert flop.pin("D").arcs[0].type == "setup_rising"
    assert flop.pin("D").arcs[0].tables["rise_constraint"].values.tolist() == [[20.0]]


def test_what_is_written_reads_the_same():
    library = parse_liberty(SMALL, "small.lib")
    again = parse_liberty(write_liberty(library), "again.lib")
    assert list(again.cells) == ["INV"]
    old, new = library["INV"], again["INV"]
    assert (new.area_um2, new.pin("A").capacitance_ff, new.truth()) == (
        old.area_um2,
        old.pin("A").capacitance_ff,
        old.truth(),
    )
    for name, table in old.pin("Y").arcs[0].tables.items():
        copy = new.pin("Y").arcs[0].tables[name]
        assert (copy.slew, copy.load, copy.values.tolist()) == (table.slew, table.load, table.values.tolist())


def test_plain_data_keeps_everything():
    library = parse_liberty(SMALL, "small.lib")
    again = from_data(to_data(library))
    assert to_data(again) == to_data(library)
    with pytest.raises(LibraryError, match="no cell library in carrysave's data form 1"):
        from_data({"format": 2})


def test_worst_arc_takes_the_larger_entry_and_forgets_the_sense():
    text = SMALL.replace(
        'function : "A\'";',
        """function : "A'"; timing () { related_pin : "A"; when : "B";
        timing_sense : positive_unate; cell_rise (two) { values ("9, 0, 9, 0, 9, 0"); } }""",
    )
    arcs = parse_liberty(text, "x.lib")["INV"].pin("Y").arcs
    merged = worst_arc(arcs, "A")
    assert merged is not None and merged.sense == "non_unate"
    assert merged.tables["cell_rise"].values.tolist() == [[90, 20, 90], [40, 90, 60]]
    assert worst_arc(arcs, "B") is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("area : 1.5;", "area : wide;", r"small.lib, line 15: cell \(INV\): area is 'wide', which is no finite number"),
        ("area : 1.5;", "area : NaN;", r"small.lib, line 15: cell \(INV\): area is 'NaN', which is no finite number"),
        ("area : 1.5;", "area : -1.5;", r"line 15: cell \(INV\): has the area -1.5; an area is not negative"),
        ('"4, 5, 6"); }', '"4, 5"); }', r"cell_rise \(two\): has 5 values on axes of 2 x 3 rising points"),
        ('"1, 2, 3"', '"1, x, 3"', "holds something that is no number"),
        ('"1, 2, 3"', '"1, nan, 3"', "holds a value that is not finite"),
        ("direction : input; capacitance : 0.5;", "capacitance : 0.5;", r"pin \(A\): has the direction ''"),
        ('"A\'"', '"A + * B"', r"pin \(Y\): function 'A \+ \* B': an operand is missing"),
        ('"10ps"', '"10 lightyears"', "cannot read the unit '10 lightyears'"),
        ("cell (DFF)", "cell (INV)", r"line 37: cell \(INV\): is defined twice"),
        ("area : 6;", "{ }", "line 37: cannot read"),
    ],
)  # fmt: skip
def test_damage_is_named_with_its_line(old: str, new: str, message: str):
    assert old in SMALL
    with pytest.raises(LibertyError, match=message):
        parse_liberty(SMALL.replace(old, new, 1), "small.lib")


@pytest.mark.parametrize("cut", [200, 900, 1500, 2000, 2600])
def test_a_truncated_file_is_an_error(cut: int):
    with pytest.raises(LibertyError, match="truncated|cannot read"):
        parse_liberty(SMALL[:cut], "small.lib")


def test_something_else_is_no_liberty():
    with pytest.raises(LibertyError, match="expected one library"):
        parse_liberty("module (x) { }", "x.lib")
    with pytest.raises(LibertyError, match="closes nothing"):
        parse_liberty(SMALL + "}", "x.lib")
    with pytest.raises(LibertyError, match="has no cells"):
        parse_liberty("library (empty) { }", "x.lib")


def test_files_are_merged_and_gzip_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path / "cache"))
    first, second = tmp_path / "kit_A.lib", tmp_path / "kit_B.lib.gz"
    first.write_text(SMALL.replace("library (small)", "library (kit_A)"))
    second.write_bytes(
        gzip.compress(
            b"library (kit_B) { nom_voltage : 0.7; nom_temperature : 25;"
            b" cell (X) { area : 1; pin (Y) { direction : output; } } }"
        )
    )
    library = read_liberty([first, second])
    assert library.name == "kit" and library.source == "kit_A.lib, kit_B.lib.gz" and "X" in library.cells
    assert read_liberty([first, second]).digest == library.digest != read_liberty(first).digest
    with pytest.raises(LibertyError, match="cell INV is defined twice"):
        read_liberty([first, first])
    second.write_bytes(second.read_bytes()[:40])
    with pytest.raises(LibertyError, match=r"kit_B.lib.gz: the gzip file is damaged or truncated"):
        read_liberty([first, second])
    second.write_text("library (hot) { nom_voltage : 0.9; cell (Y) { } }")
    with pytest.raises(LibertyError, match="0.9 V, 25.0 C, but kit_A.lib at 0.7 V"):
        read_liberty([first, second])
    with pytest.raises(FileNotFoundError, match="nowhere.lib"):
        read_liberty(tmp_path / "nowhere.lib")


def test_a_library_that_cannot_map_says_what_it_lacks():
    with pytest.raises(
        LibraryError, match="lacks a buffer, a two-input NAND, NOR, AND or OR among its 1 combinational"
    ):
        check_mappable(parse_liberty(SMALL, "small.lib"))


def test_interpolation_and_continuation():
    table = Table((0.0, 10.0), (0.0, 1.0, 3.0), np.array([[0.0, 2.0, 4.0], [10.0, 12.0, 14.0]]))
    assert table.at(5.0, 2.0) == pytest.approx(8.0)
    assert table.at(-5.0, 5.0) == pytest.approx(1.0)  # continued: -5 from the slew, 6 from the load
    assert table.at(np.array([0.0, 10.0]), np.array([0.5, 4.0])).tolist() == [1.0, 15.0]
    with pytest.raises(LibraryError, match="shape"):
        Table((0.0,), (0.0,), np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("text", "pins", "expected"),
    [
        ("(A * B)", "AB", 0b1000),
        ("!A + !B", "AB", 0b0111),
        ("A' B", "AB", 0b0100),  # a space is AND, an apostrophe NOT
        ("A^B&C", "ABC", 0b01100000),  # Liberty binds ^ before &
        ("A|B&C", "ABC", 0b11101010),
        ("!(A & !B)'", "AB", 0b0010),
        ('"A"', "A", 0b10),
        ("1", "", 0b1),
        ("0", "A", 0b00),
    ],
)  # fmt: skip
def test_functions_against_truth_tables_by_hand(text: str, pins: str, expected: int):
    assert truth_table(parse_function(text), tuple(pins)) == expected


@pytest.mark.parametrize("text", ["", "A +", "(A", "A)", "A $ B", "* A"])
def test_what_is_no_function(text: str):
    with pytest.raises(ValueError, match="function"):
        parse_function(text)


def test_functions_run_on_anything_with_bit_operators():
    tree = parse_function("A1 * !A2 + B[0]")
    assert pins_of(tree) == ("A1", "A2", "B[0]")
    assert evaluate(tree, {"A1": 0b1100, "A2": 0b1010, "B[0]": 0b0001}, 0b1111) == 0b0101


def test_the_real_libraries(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    folder = shared_data / "liberty"
    sky = read_liberty(folder / "sky130hd_tt.lib.gz")
    assert (len(sky.cells), sky.voltage) == (428, 1.8)
    nand = sky["sky130_fd_sc_hd__nand2_1"]
    assert (nand.area_um2, nand.truth()) == (3.7536, (0b0111,))
    assert nand.pin("A").capacitance_ff == pytest.approx(2.315)  # 0.002315 pF in the file
    delay = nand.pin("Y").arcs[0].tables["cell_rise"].at(20.0, 5.0)
    assert 20 < delay < 120  # and delays in ns
    simple = read_liberty(next(folder.glob("asap7*SIMPLE*")))
    assert simple["AND2x2_ASAP7_75t_R"].area_um2 == 0.08748
    assert simple["AND2x2_ASAP7_75t_R"].pin("Y").arcs[0].tables["cell_rise"].values[0, 0] == 19.6216
    assert simple["AND2x2_ASAP7_75t_R"].leakage_nw == pytest.approx(0.149786)
    assert len(read_liberty(next(folder.glob("asap7*SEQ*"))).flip_flops()) == 17
    assert len(list((tmp_path / "liberty").iterdir())) == 3  # large files are kept as data
    again = read_liberty(folder / "sky130hd_tt.lib.gz")
    assert to_data(again) == to_data(sky)
