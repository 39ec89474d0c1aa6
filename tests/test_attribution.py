"""Area and energy by stage: the parts sum to the whole, and gates land in the stage that their function shows."""

from __future__ import annotations

import pytest

from carrysave.bits import STAGES
from carrysave.hardware.activity import toggling
from carrysave.hardware.anatomy import parts
from carrysave.hardware.attribution import shares, stages
from carrysave.hardware.cells import compact_library
from carrysave.hardware.netlist import parse_blif, verify
from carrysave.hardware.power import energy
from carrysave.hardware.synthesis import synthesize
from carrysave.multipliers import MULTIPLIERS


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


AND, NAND, XOR = "AND2x2_ASAP7_75t_R", "NAND2xp33_ASAP7_75t_R", "XOR2xp5_ASAP7_75t_R"

# 2 x 2 bits: four terms, half adders; the carry of the second column is the AND of two terms
TWO_BITS = f""".model exact
.inputs a[0] a[1] b[0] b[1]
.outputs p[0] p[1] p[2] p[3]
.gate {AND} A=a[0] B=b[0] Y=p[0]
.gate {AND} A=a[1] B=b[0] Y=t10
.gate {AND} A=a[0] B=b[1] Y=t01
.gate {NAND} A=a[1] B=b[1] Y=n11
.gate INVx1_ASAP7_75t_R A=n11 Y=t11
.gate {XOR} A=t10 B=t01 Y=p[1]
.gate {AND} A=t10 B=t01 Y=c
.gate {XOR} A=t11 B=c Y=p[2]
.gate {AND} A=t11 B=c Y=p[3]
.end
"""


def test_and_gates_of_a_two_bit_multiplier_are_terms():
    library, m = compact_library(), MULTIPLIERS.parse("exact:n=2")
    netlist = parse_blif(TWO_BITS, library)
    assert verify(netlist, library, m).exhaustive
    labels, matched = stages(netlist, library, m)
    by_net = {instance.outputs[0][1]: label for instance, label in zip(netlist.instances, labels, strict=True)}
    terms = ("p[0]", "t10", "t01", "n11", "t11")  # the complement of a term is its stage's, too
    assert all(by_net[net] == "terms" for net in terms)
    assert all(by_net[net] != "terms" for net in ("p[1]", "c", "p[2]", "p[3]"))
    assert matched == 1.0
    area = shares(netlist, library, m).area_um2
    assert area["terms"] == pytest.approx(
        sum(library[cell].area_um2 for cell in (AND, AND, AND, NAND, "INVx1_ASAP7_75t_R"))
    )


@pytest.mark.parametrize("spec", ["exact:n=4", "exact:n=4,signed=true", "kulkarni", "mitchell", "compressed:heam"])
def test_parts_sum_to_the_whole(spec: str):
    library, m = compact_library(), MULTIPLIERS.parse(spec)
    netlist = synthesize(m, scripts=["balanced"]).smallest.netlist
    spent = energy(netlist, library, toggling({"a": m.a_bits, "b": m.b_bits}, count=512))
    found = parts(m, netlist, library, spent)
    assert sum(found["area_um2"].values()) == pytest.approx(netlist.area_um2(library))
    assert sum(found["energy_fj"].values()) == pytest.approx(spent.dynamic_fj)
    assert set(found["area_um2"]) == set(STAGES) and set(found["energy_fj"]) == {*STAGES, "inputs", "outside load"}
    assert min(found["energy_fj"].values()) >= 0 and 0.5 < found["matched"] <= 1


def four_bits() -> str:
    """A 4 x 4 multiplier by hand: sixteen ANDs, then each column added up with full and half adders."""
    gates: list[str] = []

    def gate(cell: str, a: str, b: str) -> str:
        gates.append(f".gate {cell} A={a} B={b} Y=w{len(gates)}")
        return f"w{len(gates) - 1}"

    columns: list[list[str]] = [[] for _ in range(9)]
    for i in range(4):
        for j in range(4):
            columns[i + j].append(gate(AND, f"a[{i}]", f"b[{j}]"))
    for c, column in enumerate(columns):
        while len(column) > 1:
            x, y = column.pop(0), column.pop(0)
            half, carry = gate(XOR, x, y), gate(AND, x, y)
            if column:
                z = column.pop(0)
                carry = gate("OR2x2_ASAP7_75t_R", carry, gate(AND, half, z))
                half = gate(XOR, half, z)
            column.append(half)
            columns[c + 1].append(carry)
    names = [column[0] for column in columns[:8]]
    wires = "".join(f".names {net} p[{c}]\n1 1\n" for c, net in enumerate(names))
    inputs = " ".join(f"{port}[{i}]" for port in "ab" for i in range(4))
    outputs = " ".join(f"p[{c}]" for c in range(8))
    return f".model exact\n.inputs {inputs}\n.outputs {outputs}\n" + "\n".join(gates) + f"\n{wires}.end\n"


def test_the_terms_of_a_four_bit_multiplier_are_its_sixteen_products():
    library, m = compact_library(), MULTIPLIERS.parse("exact:n=4,tree=array,adder=ripple")
    netlist = parse_blif(four_bits(), library)
    assert verify(netlist, library, m).exhaustive
    labels, matched = stages(netlist, library, m)
    products = {f"w{k}" for k in range(16)}
    for instance, label in zip(netlist.instances, labels, strict=True):
        net = instance.outputs[0][1]
        if instance.cell in library.cells:
            assert (label == "terms") == (net in products), (net, label)
    assert shares(netlist, library, m).area_um2["terms"] == pytest.approx(16 * library[AND].area_um2)
    assert matched > 0.7
    spent = energy(netlist, library, toggling({"a": 4, "b": 4}, count=512))
    found = parts(m, netlist, library, spent)
    assert sum(found["area_um2"].values()) == pytest.approx(netlist.area_um2(library))
    assert sum(found["energy_fj"].values()) == pytest.approx(spent.dynamic_fj)
    # the load outside hangs on the plain wires, yet counts for the gates that drive them
    assert found["energy_fj"]["outside load"] == pytest.approx(spent.load_of_instance_fj.sum())
    assert spent.load_of_instance_fj.sum() > 0
