"""Logic as graphs, and netlists decided by SAT: what is equal, what is not and where, and what is not decided."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from carrysave.bits import cat, fit
from carrysave.hardware.cells import compact_library
from carrysave.hardware.equivalence import Verdict, decide, equal_core, equal_logic
from carrysave.hardware.flops import Machine
from carrysave.hardware.fpga import synthesize_fpga
from carrysave.hardware.induction import Induction, induction
from carrysave.hardware.logic import Graph, Literal, code_of, codes_of, of_blif, symbols
from carrysave.hardware.netlist import MismatchError, Netlist, NetlistError
from carrysave.hardware.proof import verify_unit
from carrysave.hardware.registers import Clocked, synthesize_clocked
from carrysave.hardware.synthesis import lower, synthesize_rtlil
from carrysave.hardware.tools import SynthesisError, Tools
from carrysave.hardware.units import UNITS, Register, Unit
from carrysave.hardware.units.of_multiplier import any_unit
from carrysave.planes import PlaneWord


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass(frozen=True, kw_only=True)
class Accumulator(Unit):
    """A sum that counts, too, and a register that nothing ever changes from 0 once it is reset."""

    n: int = 3
    name = "accumulator"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"sum": Register(8, reset=5), "idle": Register(2, reset=0)}

    @property
    def spec(self) -> str:
        return f"accumulator:n={self.n}"

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        x, total = values["x"], values["sum"]
        return {"y": total ^ fit(values["idle"], 8), "sum": fit(total + x, 8), "idle": values["idle"] & x[:2]}


# ---------------------------------------------------------------- graphs


def all_values(graph: Graph) -> Iterator[dict[str, int]]:
    for bits in itertools.product((0, 1), repeat=len(graph.inputs)):
        yield dict(zip(graph.inputs, bits, strict=True))


def value(graph: Graph, codes: list[int], given: Mapping[str, int]) -> int:
    bits = graph.values({name for name, bit in given.items() if bit}, codes)
    return sum(bit << k for k, bit in enumerate(bits))


def test_every_operation_of_a_word_is_the_same_on_literals_as_on_integers():
    graph = Graph()
    a, b = symbols(graph, "a", 4), symbols(graph, "b", 3)
    found = {
        "and": (a & b, lambda x, y: x & y),
        "or": (a | b, lambda x, y: x | y),
        "xor": (a ^ b, lambda x, y: x ^ y),
        "not": (~a, lambda x, y: 15 - x),
        "sum": (a + b, lambda x, y: x + y),
        "difference": (a - b, lambda x, y: (x - y) % 16),
        "to a constant": (a.const(5, 4) - a + (b << 1), lambda x, y: (5 - x) % 16 + 2 * y),
        "choice": (b[0].mux(a, a.const(9, 4)), lambda x, y: x if y & 1 else 9),
        "moved": (cat((a << 2) >> 1, b[1:3], a[-1]), lambda x, y: x << 1 | (y >> 1) << 5 | (x >> 3) << 7),
    }
    for given in all_values(graph):
        x = sum(given[f"a[{k}]"] << k for k in range(4))
        y = sum(given[f"b[{k}]"] << k for k in range(3))
        for name, (word, want) in found.items():
            assert value(graph, codes_of(word.planes), given) == want(x, y), (name, x, y)


def test_equal_logic_is_one_node_and_constants_fold():
    graph = Graph()
    a, b = graph.input("a"), graph.input("b")
    assert (a & b).code == (b & a).code == (~(~a | ~b)).code and len(graph.gates) == 1
    assert (a & ~a).code == 0 and (a | ~a).code == 1 and (a ^ a).code == 0 and (a ^ 0).code == a.code
    ones = 0xFFFFFFFFFFFFFFFF
    assert (ones ^ a).code == (~a).code == (a ^ -1).code and (ones & a).code == a.code and (0 | a).code == a.code
    assert len(graph.gates) == 1
    with pytest.raises(ValueError, match="the plane word 0x5 among literals is neither all zeros nor all ones"):
        code_of(5)
    with pytest.raises(ValueError, match="there is an input a already"):
        graph.input("a")


def test_blif_is_read_as_it_is_meant_and_written_as_it_is_read():
    text = """.model m
.inputs a b c
.outputs y n one zero same open not_open
.names $undef
.names w c y
1- 1
-0 1
.names a b w   # comes after its use
11 1
.names a b n
11 0
00 0
.names one
1
.names $undef zero
1 1
.names a same
1 1
.names open not_open
0 1
.end
"""
    graph = Graph()
    given = {name: graph.input(name) for name in "abc"}
    outputs = of_blif(text, given, graph)
    codes = [literal.code for literal in outputs.values()]
    again = Graph()
    names = {f"i{k}": again.input(name) for k, name in enumerate("abc")}
    copies = [literal.code for literal in of_blif(graph.blif(codes), names, again).values()]
    for bits in all_values(graph):
        a, b, c = bits.values()
        want = [a & b | 1 - c, a ^ b, 1, 0, a, 0, 1]
        assert graph.values({n for n in bits if bits[n]}, codes) == want
        assert again.values({n for n in bits if bits[n]}, copies) == want


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (".names y a y\n11 1", "a loop runs through"),
        (".latch a y re clk 2", "BLIF line 4: .latch is not expected among logic"),
    ],
)
def test_what_is_wrong_with_lowered_logic(lines: str, message: str):
    graph = Graph()
    with pytest.raises(NetlistError, match=message):
        of_blif(f".model m\n.inputs a\n.outputs y\n{lines}\n.end\n", {"a": graph.input("a")}, graph)


# ---------------------------------------------------------------- what ABC decides


def majority(graph: Graph, wrong: bool) -> list[int]:
    a, b, c = (graph.input(name) for name in "abc")
    one, other = (a & b) | (c & (a | b)), (a & b) | (c & (a ^ b))
    same = (one ^ other).code
    return [same, (one ^ (other | (a & ~b & ~c))).code if wrong else same, 0]


def test_sat_decides_and_names_the_only_inputs_that_differ():
    right, wrong = Graph(), Graph()
    assert decide("x", right, majority(right, False), Tools.installed()) == Verdict(True)
    assert decide("x", wrong, majority(wrong, True), Tools.installed()) == Verdict(False, frozenset("a"))
    broken = replace(Tools.installed(), abc=("/nowhere/abc",))
    assert decide("x", Graph(), [0, 0], broken) == Verdict(True)  # equal by structure: nobody is asked


def fake(tmp_path: Any, *answers: str, seconds: float = 60.0) -> Tools:
    """An ABC that answers its calls with these Python statements, one after the other, the last for good."""
    counter = tmp_path / "calls"
    counter.write_text("")
    lines = [
        "import sys, time",
        f"path = {str(counter)!r}",
        "k = len(open(path).read()); open(path, 'a').write('x')",
        f"exec({list(answers)!r}[min(k, {len(answers) - 1})])",
    ]
    return replace(Tools.installed(), abc=(sys.executable, "-c", "\n".join(lines)), seconds=seconds)


def test_what_abc_leaves_open_is_left_open(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    graph = Graph()
    codes = majority(graph, False)
    undecided = fake(tmp_path, "print('Networks are UNDECIDED.  Time = 1 sec')")
    assert decide("x", graph, codes, undecided) == Verdict(None)
    late = fake(tmp_path, "print('Timed out after 62 seconds.')")  # its own limit, reached inside a step
    assert decide("x", graph, codes, late) == Verdict(None)
    silent = fake(tmp_path, "print('Assuming the current network is a single-output miter.')")
    assert decide("x", graph, codes, silent, seconds=0.0) == Verdict(None)
    slow = fake(tmp_path, "time.sleep(1.0)\nprint('Assuming the current network is a single-output miter.')")
    assert decide("x", graph, codes, slow, seconds=1.9) == Verdict(None)  # ABC was given one whole second
    monkeypatch.setattr("carrysave.hardware.equivalence._GRACE", 0.5)
    assert decide("x", graph, codes, fake(tmp_path, "time.sleep(60)"), seconds=0.1) == Verdict(None)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("print('all is well')", "it ended without an error and without a verdict. Its last lines:\n    all is well"),
        ("print('** cmd error: unknown command')", "it reported '.. cmd error: unknown command'"),
        ("sys.exit(3)", "it ended with status 3"),
        ("import os; os.abort()", "it was ended by signal SIGABRT"),
        ("print('Networks are NOT EQUIVALENT.')", "it ended without an error but wrote no logic.cex"),
        (
            "print('Networks are NOT EQUIVALENT.'); open('logic.cex', 'w').write('000# DONE')",
            "its counterexample is none",
        ),
        (
            "print('Networks are NOT EQUIVALENT.'); open('logic.cex', 'w').write('10# DONE')",
            "its counterexample is none",
        ),
    ],
)
def test_an_abc_that_fails_decides_nothing(answer: str, message: str, tmp_path: Any):
    graph = Graph()
    with pytest.raises(SynthesisError, match=f"^u: deciding: {message}"):
        decide("u: deciding", graph, majority(graph, True), fake(tmp_path, answer))


# ---------------------------------------------------------------- netlists


def combinational(spec: str, script: str = "balanced") -> tuple[Unit, Netlist, str]:
    unit = any_unit(spec)
    circuit = unit.circuit()
    found = synthesize_rtlil(circuit.name, circuit.rtlil(), scripts=[script], effort="quick")
    return unit, found.smallest.netlist, lower(circuit.name, circuit.rtlil(), Tools.installed())


def clocked(unit: Unit) -> tuple[Netlist, Clocked]:
    found = synthesize_clocked("u", unit.circuit("u").rtlil(), compact_library(), ["balanced"], "quick")
    return found.synthesis.smallest.netlist, found


def mutated(netlist: Netlist, seed: int) -> Netlist:
    """One gate replaced by another cell with the same pins and another function."""
    library, generator = compact_library(), random.Random(seed)

    def swaps(name: str) -> list[str]:
        cell = library.cells.get(name)
        if cell is None or cell.kind != "combinational":
            return []
        pins = [pin.name for pin in cell.pins]
        return [
            c.name for c in library.combinational() if [p.name for p in c.pins] == pins and c.truth() != cell.truth()
        ]

    places = [k for k, instance in enumerate(netlist.instances) if swaps(instance.cell)]
    k = generator.choice(places)
    gate = netlist.instances[k]
    wrong = replace(gate, cell=generator.choice(swaps(gate.cell)))
    return replace(netlist, instances=(*netlist.instances[:k], wrong, *netlist.instances[k + 1 :]))


@pytest.mark.parametrize("spec", ["drum:k=4,n=6", "rccm:2add,n=4", "exact:n=10"])
def test_netlists_equal_definition_and_rtl(spec: str):
    unit, netlist, rtl = combinational(spec, "small")
    equal, of = equal_logic(unit, Machine(netlist, compact_library()), rtl)
    assert equal == of == 2 * sum(unit.outputs.values())


def test_a_swapped_gate_is_found_exactly_where_all_inputs_find_it():
    unit, netlist, rtl = combinational("drum:k=3,n=4")
    library, outcomes = compact_library(), []
    for seed in range(10):
        wrong = mutated(netlist, seed)
        try:
            verify_unit(wrong, library, unit)
        except MismatchError:
            with pytest.raises(
                MismatchError, match=r"SAT finds inputs .* p=\d+ for a=\d+, b=\d+; its definition"
            ) as caught:
                equal_logic(unit, Machine(wrong, library), rtl)
            outcomes.append(True)
            words = str(caught.value).replace(",", "").replace(";", "").split()
            said = {name: int(v) for name, _, v in (word.partition("=") for word in words) if v.isdecimal()}
            x = {port: PlaneWord.from_ints([said[port]], 4) for port in "ab"}
            assert int(Machine(wrong, library).advance(x, {})[0]["p"].to_ints()[0]) == said["p"]
            assert int(unit.run(a=[said["a"]], b=[said["b"]])["p"][0]) == int(words[-1]) != said["p"]
        else:
            assert equal_logic(unit, Machine(wrong, library), rtl) == (16, 16)
            outcomes.append(False)
    assert sum(outcomes) > 6


def test_another_rtl_than_the_definition_is_named():
    unit, netlist, rtl = combinational("exact:n=3")
    tables = rtl.replace("11 1\n", "1- 1\n", 1)
    with pytest.raises(MismatchError, match=r"exact:n=3: SAT finds inputs .* its RTL gives \d+"):
        equal_logic(unit, Machine(netlist, compact_library()), tables)


def test_bits_are_decided_one_by_one_where_all_at_once_are_not(tmp_path: Any):
    unit, netlist, rtl = combinational("exact:n=3")
    undecided, equal = "print('Networks are UNDECIDED.')", "print('Networks are equivalent.')"
    machine = Machine(netlist, compact_library())
    assert equal_logic(unit, machine, rtl, fake(tmp_path, undecided, equal)) == (12, 12)
    some, of = equal_logic(unit, machine, rtl, fake(tmp_path, undecided, equal, equal, undecided))
    assert 2 <= some < of == 12  # those equal by structure alone are never asked for


def test_abc_itself_reading_the_library_agrees():
    """ABC's other checker on the mapped netlist with cells as it reads them from Liberty, against the lowered RTL."""
    from carrysave.hardware.synthesis import cells_text

    unit, netlist, rtl = combinational("drum:k=3,n=5")
    verdicts = []
    for candidate in (netlist, *(mutated(netlist, seed) for seed in range(4))):
        files = {"cells.lib": cells_text(compact_library()), "rtl.blif": rtl, "map.blif": candidate.blif()}
        commands = "read_lib cells.lib\nread_blif map.blif\nstrash\nwrite_blif map2.blif\ncec map2.blif rtl.blif\n"
        _, log = Tools.installed().run_abc("comparing", commands, files, ("map2.blif",))
        try:
            equal_logic(unit, Machine(candidate, compact_library()), rtl)
            ours = True
        except MismatchError:
            ours = False
        assert ours == ("Networks are equivalent" in log) != ("NOT EQUIVALENT" in log)
        verdicts.append(ours)
    assert verdicts[0] and not all(verdicts)


# ---------------------------------------------------------------- flip-flops


def test_logic_between_flip_flops_equals_that_of_the_rtl():
    unit, library = Accumulator(), compact_library()
    netlist, found = clocked(unit)
    for circuit in found.synthesis.found:
        equal, of = equal_core(unit, Machine(circuit.netlist, library), found.cut)
        assert equal == of == 8 + len(found.cut.flops)
    with pytest.raises(MismatchError, match=r"for x=\d, rst=\d, flip-flops at 1: .*; its RTL gives \d+"):
        for seed in range(5):
            equal_core(unit, Machine(mutated(netlist, seed), library), found.cut)


def test_flip_flops_that_are_not_those_of_the_rtl():
    unit, library = Accumulator(), compact_library()
    netlist, found = clocked(unit)
    machine = Machine(netlist, library)
    cell, data, shown = found.cut.flops[0]
    fewer = replace(found.cut, flops=((cell, (("D", "elsewhere"),), shown), *found.cut.flops[1:]))
    with pytest.raises(NetlistError, match="accumulator:n=3: netlist u has a flip-flop that the RTL has not"):
        equal_core(unit, machine, fewer)
    more = replace(found.cut, flops=(*found.cut.flops, (cell, data, ((shown[0][0], "_q99_"),))))
    with pytest.raises(NetlistError, match="lacks 1 flip-flops of the RTL"):
        equal_core(unit, machine, more)


@pytest.mark.parametrize(
    "unit",
    [
        Accumulator(),
        UNITS.parse("rccm:2add,n=3,pipelined=true"),
        UNITS.parse("run_length:run_bits=3,address_bits=8"),
        UNITS.parse("mac:multiplier=exact:n=3,registered=true"),
    ],
    ids=str,
)
def test_clocked_netlists_equal_their_definition_in_all_streams(unit: Unit):
    netlist, _ = clocked(unit)
    assert induction(unit, Machine(netlist, compact_library())) == Induction(True, True)


def test_a_wrong_clocked_netlist_is_never_proved():
    unit, library = Accumulator(), compact_library()
    netlist, _ = clocked(unit)
    found = []
    for seed in range(8):
        wrong = mutated(netlist, seed)
        proved = induction(unit, Machine(wrong, library))
        try:
            verify_unit(wrong, library, unit, 100_000)
        except MismatchError:
            assert proved == Induction(False, False, "outputs differ in a state that may never occur")
            found.append(seed)
    assert len(found) > 5


def test_a_wrong_reset_is_never_proved():
    class Other(Accumulator):
        registers = {"sum": Register(8, reset=4), "idle": Register(2, reset=0)}  # type: ignore[assignment]

    netlist, _ = clocked(Other())
    assert induction(Other(), Machine(netlist, compact_library())) == Induction(True, True)
    wrong = induction(Accumulator(), Machine(netlist, compact_library()))
    assert not wrong.step and not wrong.start


def test_registers_that_come_to_agree_late_are_proved_from_then_on():
    """Words that are written, and read when they have been: a memory, as small as there is."""

    class Written(Accumulator):
        registers = {"word": Register(3), "full": Register(1, reset=0)}  # type: ignore[assignment]

        def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
            x, full = values["x"], values["full"]
            shown = full.mux(values["word"], x.const(0, 3))
            return {"y": shown, "word": x[0].mux(x, values["word"]), "full": full | x[0]}

    netlist, _ = clocked(Written())
    machine = Machine(netlist, compact_library())
    assert verify_unit(netlist, compact_library(), Written(), 10_000)
    proved = induction(Written(), machine)
    assert proved.step and not proved.start and "is set later than 1 cycles after a reset" in proved.why
    assert not induction(Written(), Machine(mutated(netlist, 0), compact_library())).step


def test_induction_that_abc_leaves_open_says_so(tmp_path: Any):
    netlist, _ = clocked(Accumulator())
    tools = fake(tmp_path, "print('Networks are UNDECIDED.')")
    proved = induction(Accumulator(), Machine(netlist, compact_library()), tools, 7)
    assert proved == Induction(False, False, "not decided in 7 s")


def test_fpga_netlists_equal_their_definition():
    plain, kept = UNITS.parse("rccm:topology_a,n=4"), Accumulator()
    netlist = synthesize_fpga("u", plain.circuit("u").rtlil(), "xcup")
    assert equal_logic(plain, netlist) == (sum(plain.outputs.values()),) * 2
    last = max(k for k, gate in enumerate(netlist.gates) if gate.kind == "lut")
    wrong = replace(netlist.gates[last], init=netlist.gates[last].init ^ 1)
    gates = (*netlist.gates[:last], wrong, *netlist.gates[last + 1 :])
    with pytest.raises(MismatchError, match="rccm:topology_a,n=4: SAT finds inputs"):
        equal_logic(plain, replace(netlist, gates=gates))
    assert induction(kept, synthesize_fpga("u", kept.circuit("u").rtlil(), "xcup")) == Induction(True, True)


def test_a_literal_remembers_its_graph():
    graph = Graph()
    word = symbols(graph, "x", 2)
    assert all(isinstance(v, Literal) and v.graph is graph for v in np.ravel(word.planes))
