"""Units made of units: one wiring gives the reading, the RTL, the glue, the flat netlist and the cost of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from carrysave.bits import add, fit, zext
from carrysave.hardware.assembled import AssemblySynthesis, build, synthesize_assemblies
from carrysave.hardware.assembled_cost import activity, assembly_at_clock, energies
from carrysave.hardware.cells import compact_library
from carrysave.hardware.clocked_power import clocked_energy, toggling_streams
from carrysave.hardware.flat import pieces
from carrysave.hardware.fpga import fpga_cost
from carrysave.hardware.glue import FANOUT, buffered, fastest_buffer, strip_wires
from carrysave.hardware.netlist import MismatchError, Netlist, run, sort_topologically, tied
from carrysave.hardware.proof import verify_unit
from carrysave.hardware.unit_cost import synthesize_units
from carrysave.hardware.units.assembly import Assembly, Glue, Place
from carrysave.hardware.units.base import Register, Unit
from carrysave.multipliers import MULTIPLIERS
from carrysave.planes import PlaneWord


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


class Named:
    @property
    def spec(self) -> str:
        return repr(self)


@dataclass(frozen=True, kw_only=True)
class Element(Named, Unit):
    """sum <= c + a * w; a goes on, one cycle late."""

    n: int = 3
    name = "element"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"a": self.n, "w": self.n, "c": 2 * self.n + 2}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"late": Register(self.n), "sum": Register(2 * self.n + 2, reset=1)}

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        product = MULTIPLIERS.parse(f"exact:n={self.n}")(values["a"], values["w"])
        total = fit(add(values["c"], zext(product, 2 * self.n + 2)), 2 * self.n + 2)
        return {"on": values["late"], "y": values["sum"], "late": values["a"], "sum": total}


@dataclass(frozen=True, kw_only=True)
class Row(Named, Assembly):
    """Elements in a row; a mask of its own register keeps some sums out of the next element."""

    k: int = 3
    name = "row"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"a": 3, "w": 3, "mask": 8}

    @property
    def parts(self) -> Mapping[str, Unit]:
        return {f"e{k}": Element() for k in range(self.k)}

    @property
    def own_registers(self) -> Mapping[str, Register]:
        return {"kept": Register(8, reset=255)}

    @property
    def settling(self) -> int:
        return self.k

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        a, c = values["a"], values["a"].const(0, 8)
        for k in range(self.k):
            found = place(f"e{k}", a=a, w=values["w"], c=c)
            a, c = found["on"], found["y"] & values["kept"]
        return {"y": c, "on": a, "kept": values["mask"]}


@dataclass(frozen=True, kw_only=True)
class Rows(Named, Assembly):
    """Two rows, wires alone between them."""

    name = "rows"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"a": 3, "w": 3, "mask": 8}

    @property
    def parts(self) -> Mapping[str, Unit]:
        return {"upper": Row(k=2), "lower": Row(k=2), "last": Element()}

    @property
    def settling(self) -> int:
        return 5

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        upper = place("upper", **values)
        lower = place("lower", a=upper["on"], w=values["w"], mask=upper["y"])
        last = place("last", a=lower["on"], w=values["w"], c=lower["y"])
        return {"y": last["y"]}


def slow(k: int, a: np.ndarray, w: np.ndarray, mask: np.ndarray) -> list[int]:
    """`Row` cycle by cycle in integers."""
    late, sums, kept, found = [0] * k, [1] * k, 255, []
    for now, weight, following in zip(a, w, mask, strict=True):
        found.append(sums[-1] & kept)
        inputs = [now, *late[:-1]]
        carried = [0, *(s & kept for s in sums[:-1])]
        sums = [(c + x * weight) % 256 for c, x in zip(carried, inputs, strict=True)]
        late, kept = inputs, following
    return found


def test_the_reading_is_that_of_its_parts_wired():
    generator = np.random.default_rng(1)
    a, w = generator.integers(0, 8, (2, 40))
    mask = generator.integers(0, 256, 40)
    got = Row().run(a=a[:, None], w=w[:, None], mask=mask[:, None])["y"][:, 0]
    np.testing.assert_array_equal(got, slow(3, a, w, mask))


@pytest.fixture(scope="module")
def synthesis() -> AssemblySynthesis:
    return synthesize_assemblies([Row()], effort="quick")[0]


def test_hierarchical_rtl_flattened_by_yosys_is_the_reading():
    """The module with instances of its parts, read and flattened by Yosys, mapped whole and run."""
    circuit = Rows().circuit("rows")
    text = circuit.rtlil()
    # the whole, its glue, the row and its glue, the element: one module each, and one of them on top
    assert text.count("\nmodule ") + text.startswith("module ") == 5 and text.count("attribute \\top 1") == 1
    (flat,) = synthesize_units([Rows()], effort="quick")
    assert verify_unit(flat.synthesis.smallest.netlist, compact_library(), Rows(), 20_000).vectors >= 20_000
    assert circuit.verilog().count("endmodule") == 5


def test_the_flat_netlist_of_mapped_parts_is_the_reading(synthesis: AssemblySynthesis):
    built = synthesis.at(1000.0)
    assert built is not None and built.period_ps <= 1000
    netlist, library = built.netlist(), built.library
    assert verify_unit(netlist, library, Row(), 20_000).vectors >= 20_000
    assert netlist.area_um2(library) == pytest.approx(built.area_um2)
    element = built.circuits[Element()]
    assert built.area_um2 == pytest.approx(3 * element.area_um2 + built.circuits[Glue(of=Row())].area_um2)

    gate = next(k for k, i in enumerate(element.netlist.instances) if i.cell.startswith("NAND2"))
    other = element.netlist.instances[gate]
    swapped = replace(other, cell=other.cell.replace("NAND2", "NOR2"))
    instances = (*element.netlist.instances[:gate], swapped, *element.netlist.instances[gate + 1 :])
    wrong = replace(element, netlist=replace(element.netlist, instances=instances))
    broken = build(Row(), library, {**built.circuits, Element(): wrong})
    with pytest.raises(MismatchError, match="Row"):
        verify_unit(broken.netlist(), library, Row(), 20_000)


def test_an_assembly_at_a_clock(synthesis: AssemblySynthesis):
    at = assembly_at_clock(synthesis, 1.0, vectors=10_000)
    assert at.met and at.period_ps is not None and at.period_ps <= 1000 and at.proof is not None
    assert {(p.spec, p.count) for p in at.pieces} == {(Element().spec, 3), (Glue(of=Row()).spec, 1)}
    (power,) = at.power.values()
    built = synthesis.at(1000.0)
    assert built is not None
    # the same input streams through the flat netlist, simulated as one circuit
    flat = clocked_energy(built.netlist(), built.library, toggling_streams(Row())).at(1.0)
    assert power.total_uw == pytest.approx(flat.total_uw, rel=0.03)
    assert power.leakage_uw == pytest.approx(flat.leakage_uw, rel=0.03)

    near = synthesis.nearest(synthesis.at(1000.0).period_ps - 100)  # type: ignore[union-attr]
    assert near is not None and near.period_ps < built.period_ps and near.area_um2 > built.area_um2
    missed = assembly_at_clock(synthesis, 200.0, vectors=10_000)
    assert not missed.met and missed.period_ps is None and not missed.power
    with pytest.raises(ValueError, match="a clock is positive and finite"):
        assembly_at_clock(synthesis, 0.0)


def test_assemblies_inside_an_assembly():
    (made,) = synthesize_assemblies([Rows()], effort="quick")
    assert pieces(Rows()) == {Glue(of=Rows()): 1, Glue(of=Row(k=2)): 2, Element(): 5}
    at = assembly_at_clock(made, 1.0, vectors=10_000)
    assert at.met and at.proof is not None
    assert at.area_um2 == pytest.approx(sum(piece.count * piece.area_um2 for piece in at.pieces))
    wires = next(piece for piece in at.pieces if piece.spec == Glue(of=Rows()).spec)
    assert wires.area_um2 == 0.0 and all(power.total_uw == 0 for power in wires.power.values())


def test_activity_is_what_goes_into_the_parts():
    """With a still input only the first cycles move anything; what is recorded at the second element is the late a."""
    streams = toggling_streams(Row(), cycles=20, lanes=64)
    found = activity(Row(), streams, places=3)
    own = found.inputs[Element()]
    assert own.cycles[0]["a"].lanes == 3 * 64
    for before, after in zip(own.cycles[4:], own.cycles[5:], strict=False):
        np.testing.assert_array_equal(before["a"].to_ints()[:64], after["a"].to_ints()[64:128])
    still = activity(Row(), toggling_streams(Row(), rate=0.0, cycles=20, lanes=64))
    assert still.output_toggles == 0.0 and found.output_toggles > 0.1


def test_on_an_fpga_parts_are_counted():
    cost = fpga_cost(Row(), vectors=10_000)
    (times, element), (once, glue) = cost.parts
    assert (times, once, element.spec) == (3, 1, Element().spec)
    assert cost.counts.luts == 3 * element.counts.luts + glue.counts.luts and cost.counts.ffs == 3 * 11 + 8
    assert cost.proof is not None and cost.logic_delay_ps >= element.logic_delay_ps


# ---------------------------------------------------------------- the glue


def test_wires_are_no_logic():
    text = """.model m
.inputs a b c
.outputs same again both twice one zero
.names $true
1
.names $false
.names a x
1 1
.names x same
1 1
.names x again
1 1
.names a b both
11 1
.names both twice
1 1
.names $true one
1 1
.names $false zero
1 1
.end
"""
    found = strip_wires(text)
    assert dict((net, source) for source, net in found.wires) == {
        "same": "a", "again": "a", "twice": "both", "one": "_const1_", "zero": "_const0_",
    }  # fmt: skip
    assert found.core is not None and ".outputs both\n" in found.core and found.core.count(".names") == 1
    assert strip_wires(text.replace(".outputs same again both twice one zero", ".outputs same zero")).core is None


@pytest.mark.parametrize("places", [FANOUT, FANOUT + 1, 3 * FANOUT * FANOUT])
def test_a_net_that_feeds_many_places_gets_a_tree_of_buffers(places: int):
    library = compact_library()
    cell = fastest_buffer(library)
    assert cell.truth() == (0b10,)
    inputs, outputs = ("a", "b"), tuple(f"y[{k}]" for k in range(places))
    (gate,) = [c for c in library.combinational() if c.name.startswith("AND2x2")]
    root = replace(
        tied("a", "z"),
        cell=gate.name,
        inputs=tuple(zip([pin.name for pin in gate.inputs], inputs, strict=True)),
        outputs=((gate.outputs[0].name, "z"),),
    )
    instances = sort_topologically([root, *(tied("z", net) for net in outputs)], inputs, outputs, library)
    netlist = buffered(Netlist("wide", inputs, outputs, instances), library)
    count = netlist.cells()[cell.name]
    leaves = -(-places // FANOUT)
    assert count == (0 if places <= FANOUT else leaves + (-(-leaves // FANOUT) if leaves > FANOUT else 0))
    loads = {net: len(ends) for net, ends in netlist.loads().items()}
    assert max(loads.values()) <= FANOUT
    words = {"a": PlaneWord.from_ints([0, 0, 1, 1], 1), "b": PlaneWord.from_ints([0, 1, 0, 1], 1)}
    every = (1 << places) - 1
    got = run(netlist, library, words)["y"]
    assert [int("".join(str(int(bit)) for bit in lane), 2) for lane in _lanes(got)] == [0, 0, 0, every]


def _lanes(word: PlaneWord) -> list[list[int]]:
    bits = np.unpackbits(word.planes.view(np.uint8), axis=1, bitorder="little")[:, : word.lanes]
    return bits.T.tolist()


# ---------------------------------------------------------------- bad assemblies


@dataclass(frozen=True, kw_only=True)
class Wrong(Row):
    how: str = "twice"

    def wiring(self, values: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
        a, c = values["a"], values["a"].const(0, 8)
        if self.how == "unknown":
            place("e9", a=a, w=a, c=c)
        if self.how == "width":
            place("e0", a=a, w=a, c=a)
        for k in (0, 1, 1) if self.how == "twice" else (0, 1):
            place(f"e{k}", a=a, w=a, c=c)
        return {"y": c}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("unknown", "row: no part at e9; the places are e0, e1, e2"),
        ("width", r"row: e0 is wired to \{'a': 3, 'w': 3, 'c': 3\}; .* has the inputs \{'a': 3, 'w': 3, 'c': 8\}"),
        ("twice", "row: e1 is wired 2 times; expected once"),
        ("missing", "row: e2 is wired 0 times; expected once"),
    ],
)
def test_wrong_wiring_is_named(how: str, message: str):
    with pytest.raises(ValueError, match=message):
        Wrong(how=how).run(a=[[0]], w=[[0]], mask=[[0]])


def test_power_is_kept_by_content(synthesis: AssemblySynthesis, monkeypatch: pytest.MonkeyPatch):
    streams = toggling_streams(Row(), cycles=8, lanes=64)
    built = synthesis.at(1000.0)
    assert built is not None
    first = energies(built, streams)
    monkeypatch.setattr("carrysave.hardware.assembled_cost.activity", lambda *_: pytest.fail("run again"))
    again = energies(built, streams)
    assert again.load_fj == first.load_fj > 0
    for unit, energy in first.pieces.items():
        assert again.pieces[unit].dynamic_fj == energy.dynamic_fj and again.pieces[unit].notes == energy.notes
    with pytest.raises(pytest.fail.Exception, match="run again"):
        energies(built, toggling_streams(Row(), cycles=8, lanes=64, seed=1))
