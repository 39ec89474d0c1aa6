"""Mapped netlists: reading BLIF, running it on bit planes, and the proof against a definition; all by hand."""

from __future__ import annotations

import numpy as np
import pytest

from carrysave.hardware.library import Cell, Library, Pin
from carrysave.hardware.netlist import MismatchError, NetlistError, parse_blif, ports, run, sample_pairs, verify
from carrysave.multipliers import MULTIPLIERS
from carrysave.planes import PlaneWord


def gate(name: str, area: float, pins: str, **functions: str) -> Cell:
    outputs = [Pin(pin, "output", function=function) for pin, function in functions.items()]
    return Cell(name, area, 1.0, (*[Pin(pin, "input", 1.0) for pin in pins], *outputs))


FLOP = Cell("DFF", 5.0, 1.0, (Pin("D", "input"), Pin("C", "input"), Pin("Q", "output", function="IQ")), "flip_flop")
CELLS = (gate("AND", 1.5, "AB", Y="A*B"), gate("INV", 0.5, "A", Y="!A"), gate("HA", 4.0, "AB", S="A^B", C="A*B"), FLOP)
LIBRARY = Library("hand", 1.0, 25.0, {cell.name: cell for cell in CELLS}, "hand-written", "0")

# 2 x 2 bits, exactly: four products, two half adders
EXACT = """
# comment
.model exact2
.inputs a[0] a[1] \\
  b[0] b[1]
.outputs p[0] p[1] p[2] p[3]
.gate HA A=x B=y S=p[1] C=c   # used before x and y are driven
.gate AND A=a[0] B=b[0] Y=p[0]
.gate AND A=a[0] B=b[1] Y=x
.gate AND A=a[1] B=b[0] Y=y
.gate AND A=a[1] B=b[1] Y=z
.gate HA A=c B=z S=p[2] C=p[3]
.end
"""


def test_a_netlist_by_hand_is_the_exact_product():
    netlist = parse_blif(EXACT, LIBRARY)
    assert netlist.cells() == {"AND": 4, "HA": 2}
    assert netlist.area_um2(LIBRARY) == 4 * 1.5 + 2 * 4.0
    assert ports(netlist.inputs) == {"a": 2, "b": 2} and ports(netlist.outputs) == {"p": 4}
    a, b = np.repeat(np.arange(4), 4), np.tile(np.arange(4), 4)
    words = {"a": PlaneWord.from_ints(a, 2), "b": PlaneWord.from_ints(b, 2)}
    assert run(netlist, LIBRARY, words)["p"].to_ints().tolist() == (a * b).tolist()
    proof = verify(netlist, LIBRARY, MULTIPLIERS.parse("exact:n=2"))
    assert (proof.pairs, proof.exhaustive) == (16, True) and "16 all operand pairs" in str(proof)


def test_gates_come_in_topological_order_and_blif_round_trips():
    netlist = parse_blif(EXACT, LIBRARY)
    seen = set(netlist.inputs)
    for instance in netlist.instances:
        assert {net for _, net in instance.inputs} <= seen
        seen |= {net for _, net in instance.outputs}
    assert parse_blif(netlist.blif(), LIBRARY) == netlist
    assert sorted((i.cell, pin) for i, pin in netlist.loads()["a[0]"]) == [("AND", "A"), ("AND", "A")]


def test_a_wrong_gate_is_found_with_its_first_operands():
    wrong = parse_blif(EXACT.replace("S=p[2] C=p[3]", "S=p[3] C=p[2]"), LIBRARY)
    with pytest.raises(
        MismatchError, match=r"exact:n=2: the netlist exact2 gives 8 for 2 \* 2, its definition 4; 4 of 16"
    ):
        verify(wrong, LIBRARY, MULTIPLIERS.parse("exact:n=2"))
    with pytest.raises(MismatchError, match=r"gives 9 for 3 \* 3, its definition 7; 1 of 16"):
        verify(parse_blif(EXACT, LIBRARY), LIBRARY, MULTIPLIERS.parse("kulkarni:n=2"))


def test_constants_and_plain_wires_cost_nothing():
    text = (".model k\n.inputs a b\n.outputs x y z w\n.gate _const1_ z=x\n.names y\n.names a z\n1 1\n"
            ".gate INV A=b Y=w\n.end\n")  # fmt: skip
    netlist = parse_blif(text, LIBRARY)
    assert netlist.area_um2(LIBRARY) == 0.5
    words = {"a": PlaneWord.from_ints([0, 1, 0, 1], 1), "b": PlaneWord.from_ints([0, 0, 1, 1], 1)}
    got = {port: word.to_ints().tolist() for port, word in run(netlist, LIBRARY, words).items()}
    assert got == {"x": [1, 1, 1, 1], "y": [0, 0, 0, 0], "z": [0, 1, 0, 1], "w": [1, 1, 0, 0]}


def test_a_register_breaks_a_loop_but_is_not_simulated():
    text = ".model t\n.inputs c\n.outputs q\n.gate INV A=q Y=d\n.gate DFF D=d C=c Q=q\n.end\n"
    netlist = parse_blif(text, LIBRARY)
    assert {i.cell for i in netlist.instances} == {"INV", "DFF"}
    with pytest.raises(NetlistError, match="cell DFF is a flip_flop"):
        run(netlist, LIBRARY, {"c": PlaneWord.from_ints([0], 1)})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("AND A=a[0] B=b[0]", "NOR A=a[0] B=b[0]", "line 8: library hand has no cell NOR"),
        ("AND A=a[0] B=b[0]", "AND A=a[0] Q=b[0]", "line 8: cell AND has no pin Q"),
        ("B=b[1] Y=x", "B=nothing Y=x", "net nothing is driven by nothing"),
        ("Y=y", "Y=x", "net x is driven twice"),
        ("A=a[1] B=b[0] Y=y", "A=c B=b[0] Y=y", "a combinational loop runs through"),
        (".gate HA A=x B=y S=p[1] C=c", ".latch x p[1]", r"line 7: \.latch is not expected"),
        (".gate AND A=a[0] B=b[1] Y=x", ".names a[0] b[1] x\n11 1", "line 9: net x is logic that no cell implements"),
        (".model exact2", "", "no .model with outputs"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_netlist(old: str, new: str, message: str):
    assert old in EXACT
    with pytest.raises(NetlistError, match=message):
        parse_blif(EXACT.replace(old, new), LIBRARY)


def test_ports_must_be_those_of_the_multiplier():
    netlist = parse_blif(EXACT, LIBRARY)
    with pytest.raises(NetlistError, match=r"exact:n=3 has \{'a': 3, 'b': 3, 'p': 6\}"):
        verify(netlist, LIBRARY, MULTIPLIERS.parse("exact:n=3"))
    with pytest.raises(NetlistError, match="input b has 2 bits, the given one is missing"):
        run(netlist, LIBRARY, {"a": PlaneWord.from_ints([1], 2)})
    with pytest.raises(NetlistError, match="input a has 2 bits, the given one is of 3 bits"):
        run(netlist, LIBRARY, {"a": PlaneWord.from_ints([1], 3), "b": PlaneWord.from_ints([1], 2)})


@pytest.mark.parametrize("signed", [False, True])
def test_sampled_pairs_hold_the_corners_and_stay_in_range(signed: bool):
    m = MULTIPLIERS.parse(f"exact:n=16,signed={str(signed).lower()}")
    a, b = sample_pairs(m, 1000, seed=1)
    low, high = (-(2**15), 2**15 - 1) if signed else (0, 2**16 - 1)
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    assert {(low, low), (low, high), (high, high), (1, high), (2**14, 2**14)} <= pairs
    assert min(a.min(), b.min()) == low and max(a.max(), b.max()) == high
    assert np.array_equal(a, sample_pairs(m, 1000, seed=1)[0]) and not np.array_equal(
        a, sample_pairs(m, 1000, seed=2)[0]
    )
