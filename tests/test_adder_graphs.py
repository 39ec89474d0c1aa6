"""Adder graphs: the coefficients of the thesis's Table 6.2, and circuits that multiply by them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from carrysave.adder_graphs import GRAPHS, INPUT, Adder, AdderGraph, Term, topology_a, topology_b
from carrysave.hardware.units import UNITS

# Table 6.2, magnitudes
PRINTED = {
    "2add": "0 1 2 8 28 36 44 92",
    "3add": "0 1 2 3 4 5 6 7 9 10 12 13 14 16 23 29 30 32 63 69 70 72 87 93 94 96 119 125 126 128",
    "4add": "0 1 2 4 5 7 8 9 11 13 14 15 16 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 36 37 38 39 40 46 48 54 "
    "58 64 69 70 71 74 75 76 78 80 81 82 84 85 87 94 96 102 114 118 126 134 142 150 166 174 182 190 194 198 "
    "206 214 222 230 238 246 258 262 270 278 286 302 310 318 326 334 382 398 446 450 526 566 574 582 614 622 "
    "654 662 670 686 694 710 766 782 830 1214",
    # section 6.5.1, as printed
    "unmatched": "0 8 12 14 16 18 20 21 23 24 36 38 40 42 44 45 47 49 51 52 54 56 58 60 68 70 72 74 76 77 79 88",
}


@pytest.mark.parametrize("name", PRINTED)
def test_the_coefficients_are_those_of_the_thesis(name: str):
    coefficients = GRAPHS[name].coefficients
    assert {abs(c) for c in coefficients} == set(map(int, PRINTED[name].split()))
    assert {-c for c in coefficients} == set(coefficients)


def test_figure_6_1():
    assert GRAPHS["figure6.1"].coefficients == (12305, 20746)
    assert GRAPHS["figure6.1"].multiples == ((3, 5), (8 + 3 * 2048, 5 + 5 * 2048), (12305, 20746))
    assert GRAPHS["figure6.1"].levels == (1, 2, 3) and GRAPHS["4add"].levels == (1, 1, 2, 3)


def test_base_topologies_by_hand():
    a = AdderGraph("a", (topology_a(INPUT, INPUT, (0, 1, 3, 2), 2, (0, 1)),), 2)
    assert a.coefficients == (1 + 4, 2 + 4, 8 + 4, -2 + 4)
    b = AdderGraph("b", (topology_b(INPUT, INPUT, (0, 3, 2), (1, 0)),), 2)
    assert b.coefficients == (-1 + 4, 1 - 4, -8 + 4, 8 - 4)  # its low select bit is the word's high one


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", GRAPHS)
def test_the_circuit_multiplies_by_its_coefficients(kind: str, signed: bool):
    unit = UNITS.parse(f"rccm:{kind},n=5,signed={str(signed).lower()}")
    words = 1 << unit.inputs["select"]
    x, select = np.tile(np.arange(32), words), np.repeat(np.arange(words), 32)
    width = unit.outputs["y"]
    got = unit.run(x=x, select=select)["y"]
    value = np.where(signed & (x > 15), x - 32, x)
    expected = np.array(unit.graph.coefficients)[select] * value
    assert np.array_equal(np.where(got >> (width - 1), got - (1 << width), got), expected)
    assert -(1 << width - 1) <= expected.min() and expected.max() < 1 << width - 1
    assert expected.min() < -(1 << width - 2) or expected.max() >= 1 << width - 2  # not a bit too many


@pytest.mark.parametrize("kind", ["2add", "4add", "figure6.1"])
def test_a_pipeline_gives_every_product_some_cycles_later(kind: str):
    plain, piped = UNITS.parse(f"rccm:{kind},n=6"), UNITS.parse(f"rccm:{kind},n=6,pipelined=true")
    generator = np.random.default_rng(0)
    x = generator.integers(0, 64, (12, 40))
    select = generator.integers(0, 1 << plain.inputs["select"], (12, 40))
    late = piped.settling
    want = plain.run(x=x.reshape(-1), select=select.reshape(-1))["y"].reshape(12, 40)
    assert late == plain.graph.levels[-1]
    assert np.array_equal(piped.run(x=x, select=select)["y"][late:], want[:-late])


def test_a_graph_of_ones_own(tmp_path: Path):
    file = tmp_path / "mine.json"
    x = [-1, 0, 1]
    adders = [{"select": [0], "pairs": [[x, [-1, 1, 1]], [x, [-1, 2, -1]]]}, {"select": [], "pairs": [[[0, 3, 1], x]]}]
    file.write_text(json.dumps({"select_bits": 1, "adders": adders}))
    unit = UNITS.parse(f"rccm:{file},n=4")
    assert unit.graph.coefficients == (25, -23) and unit.settling == 0
    got = unit.run(x=[3, 3], select=[0, 1])["y"]
    assert got.tolist() == [75, (-69) % (1 << unit.outputs["y"])]
    piped = UNITS.parse(f"rccm:{file},n=4,pipelined=true").run(x=[[3], [3], [0]], select=[[0], [1], [0]])["y"]
    assert piped[2, 0] == 75
    for text, message in (
        ("{}", "not an adder graph .'adders'.; expected select_bits"),
        ("nonsense", "not an adder graph"),
        ('{"select_bits": 1, "adders": []}', "0 adders, 1 select bits"),
        (json.dumps({"select_bits": 1, "adders": [{"select": [], "pairs": [[x, [-1, 1, 2]]]}]}), "sign is 1, -1 or 0"),
        (json.dumps({"select_bits": 0, "adders": [{"select": [], "pairs": [[x, x]]}]}), "has no select bits"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            UNITS.parse(f"rccm:{file}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Adder(((Term(INPUT, 0), Term(INPUT, 1)),), (0,)), "1 pairs for 1 select bits"),
        (lambda: Adder(((Term(INPUT, 0, -1), Term(INPUT, 1, -1)),), ()), "both terms of a pair are negative"),
        (lambda: AdderGraph("g", (Adder(((Term(0, 0), Term(INPUT, 1)),), ()),), 1), "g: node 0 reads node 0"),
        (
            lambda: AdderGraph("g", (topology_a(INPUT, INPUT, (0, 0, 0, 0), 0, (0, 2)),), 2),
            "select bits \\(0, 2\\) of 2",
        ),
        (lambda: UNITS.parse("rccm:5add"), "no circuit '5add' \\(did you mean '4add'"),
        (lambda: UNITS.parse("rccm:2add,n=1"), "n=1 input bits; 2 to 32"),
        (lambda: UNITS.parse("generic_multiplier:m=7"), "n is 2 to 32, m 4 to 32 and even"),
    ],
)
def test_what_cannot_be(make, message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("form", ["pairs", "booth"])
@pytest.mark.parametrize(("n", "m"), [(3, 8), (6, 6), (7, 4)])
def test_generic_multipliers_are_exact(form: str, n: int, m: int):
    unit = UNITS.parse(f"generic_multiplier:form={form},n={n},m={m}")
    x, w = np.tile(np.arange(1 << n), 1 << m), np.repeat(np.arange(1 << m), 1 << n)
    signed = np.where(w >> (m - 1), w - (1 << m), w)
    assert np.array_equal(unit.run(x=x, w=w)["y"], x * signed % (1 << (n + m)))
