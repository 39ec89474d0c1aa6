"""Units: one definition, its Python reading, its RTL, and its netlist, registers and all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carrysave.bits import fit
from carrysave.hardware.cells import compact_library
from carrysave.hardware.flops import Machine, flop, plain_flops
from carrysave.hardware.library import LibraryError
from carrysave.hardware.netlist import MismatchError, NetlistError
from carrysave.hardware.proof import prove_unit, verify_unit
from carrysave.hardware.registers import alike, cut_registers, synthesize_clocked
from carrysave.hardware.rtl import module_name
from carrysave.hardware.synthesis import Mapped, lower, synthesize_rtlil
from carrysave.hardware.timing import analyze
from carrysave.hardware.tools import SynthesisError, Tools
from carrysave.hardware.units import UNITS, Register, Unit


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@dataclass(frozen=True, kw_only=True)
class Accumulator(Unit):
    """The sum of what came in, one cycle late; `held` has no reset."""

    n: int = 4
    name = "accumulator"

    @property
    def inputs(self) -> Mapping[str, int]:
        return {"x": self.n}

    @property
    def registers(self) -> Mapping[str, Register]:
        return {"held": Register(self.n), "sum": Register(self.n + 3, 5)}

    @property
    def settling(self) -> int:
        return 1

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        total = values["sum"] + values["held"]
        return {"y": values["sum"], "sum": fit(total, self.n + 3), "held": values["x"]}


class Wrong(Accumulator):
    """Differs in one bit where all bits of the sum but the lowest are 1."""

    def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        found = dict(super().logic(values))
        top = values["sum"][1:]
        rare = top[0]
        for bit in list(top)[1:]:
            rare = rare & bit
        return {**found, "y": found["y"] ^ fit(rare, self.n + 3)}


def mapped(unit: Unit) -> Mapped:
    library, text = compact_library(), unit.circuit().rtlil()
    if unit.clocked:
        return synthesize_clocked("u", text, library, ["balanced"], "quick").synthesis.smallest
    return synthesize_rtlil("u", text, library, ["balanced"], "quick").smallest


# ---------------------------------------------------------------- every registered unit


# smaller ones of the same kind, where a catalogued one takes long to map
QUICKER = {
    "knq_quantizer": "knq_quantizer:codes=8",
    "rccm:3add,pipelined=true": "rccm:3add,n=4,pipelined=true",
    "float_mac:float32": "float_mac:bfloat16",
    "float_mac:bfloat16,accumulator=float32": "float_mac:bfloat16",
    "mac:multiplier=exact:n=16;signed=true;form=booth": "mac:multiplier=exact:signed=true;form=booth",
    "mac:multiplier=exact:n=32;signed=true;form=booth": "mac:multiplier=exact:signed=true;form=booth",
    "mac:multiplier=mitchell_w:w=6;n=16": "mac:multiplier=mitchell_w:w=4;n=8",
    "mac:multiplier=mitchell_w:w=6;n=32": "mac:multiplier=mitchell_w:w=4;n=8",
    "generic_multiplier:form=native": "generic_multiplier:form=native,n=5,m=6",  # whose adders Yosys chooses
    "float_tree:synapses=2,format=bfloat16": "float_tree:synapses=2,format=float16",
}


def every_unit() -> list[str]:
    specs: list[str] = []
    for name in UNITS.names():
        cls: Any = UNITS.get(name)
        specs += list(cls.catalog.values()) or [name]
    return list(dict.fromkeys(QUICKER.get(spec, spec) for spec in specs))


FOR_ALL_INPUTS = ("logic equal to definition and RTL by SAT, all inputs",)
IN_ALL_STREAMS = (
    "logic equal to that of the RTL by SAT, all inputs and states",
    "equal to its definition by SAT and induction, in all streams",
)


ONCE_SET = "equal to its definition by SAT in all streams once registers agree"
HARD = {"fpga_float_mac:bfloat16"}  # its adders are not those that Yosys makes of it: SAT takes minutes
SET_LATE = {"conv_layer", "layer_core", "systolic_cube"}  # some registers, such as words of memories, after settling


@pytest.mark.parametrize("spec", every_unit())
def test_the_netlist_of_every_unit_is_its_definition(spec: str):
    unit, library = UNITS.parse(spec), compact_library()
    text = unit.circuit("u").rtlil()
    if unit.clocked:
        found = synthesize_clocked("u", text, library, ["balanced"], "quick")
        circuit, rtl = found.synthesis.smallest, found.cut
    else:
        circuit = synthesize_rtlil("u", text, library, ["balanced"], "quick").smallest
        rtl = lower("u", text, Tools.installed())
    if spec in HARD:
        assert verify_unit(circuit.netlist, library, unit, vectors=200_000).vectors == 200_000
    else:
        proof = prove_unit(unit, circuit.netlist, library, rtl, vectors=50_000)
        assert proof.vectors >= 50_000 or proof.exhaustive
        wanted = (IN_ALL_STREAMS[0], ONCE_SET) if unit.name in SET_LATE else IN_ALL_STREAMS
        said = tuple(text.partition("; open is when")[0] for text in proof.logic)
        assert said == (wanted if unit.clocked else FOR_ALL_INPUTS)
    assert circuit.delay_ps > 0 and UNITS.parse(unit.spec) == unit
    assert f"module \\{module_name(unit.spec)}" in unit.circuit().rtlil()


# ---------------------------------------------------------------- readings


def test_an_accumulator_by_hand():
    unit = Accumulator()
    x = np.arange(1, 9)[:, None].repeat(3, 1) % 16
    expected = 5 + np.concatenate([[0, 0], np.cumsum(x[:-2, 0])])
    assert unit.run(x=x)["y"].tolist() == [[v % 128] * 3 for v in expected]
    assert (unit.ports, unit.outputs, unit.has_reset) == ({"x": 4, "rst": 1}, {"y": 7}, True)
    reset = np.zeros_like(x)
    reset[4] = 1
    assert unit.run(x=x, rst=reset)["y"][5, 0] == 5


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ({"x": [[16]]}, "input x has codes from 16 to 16; it is 4 bits wide"),
        ({"y": [[1]]}, "inputs y, rst given; it has x, rst"),
    ],
)
def test_what_a_unit_does_not_take(streams: dict, message: str):
    with pytest.raises(ValueError, match=message):
        UNITS.register(Accumulator)
        try:
            Accumulator().run(**streams)
        finally:
            UNITS.unregister("accumulator")


def test_a_register_without_a_next_value_is_named():
    class Forgetful(Accumulator):
        def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"y": values["sum"], "sum": values["x"]}

    with pytest.raises(ValueError, match="register held has 4 bits, its next value none"):
        Forgetful().circuit()


# ---------------------------------------------------------------- netlists with registers


def test_a_difference_is_found_and_named():
    UNITS.register(Accumulator)
    try:
        netlist = mapped(Accumulator()).netlist
        assert "streams" in str(verify_unit(netlist, compact_library(), Accumulator(), 100_000))
        with pytest.raises(MismatchError, match=r"accumulator: the netlist gives y=12\d for x=\d+, rst=0 in cycle"):
            verify_unit(netlist, compact_library(), Wrong(), 100_000)
        with pytest.raises(NetlistError, match="accumulator:n=5 has"):
            verify_unit(netlist, compact_library(), Accumulator(n=5), 100_000)
    finally:
        UNITS.unregister("accumulator")


def test_flip_flops_start_at_random_and_a_reset_sets_them():
    netlist = mapped(Accumulator()).netlist
    machine, unit = Machine(netlist, compact_library()), Accumulator()
    x = np.random.default_rng(0).integers(0, 16, (12, 256))
    reset = np.zeros_like(x)
    reset[0] = 1
    words = [
        {port: _word(values[t], unit.ports[port]) for port, values in (("x", x), ("rst", reset))} for t in range(12)
    ]
    outs = [out["y"].to_ints() for out in machine.steps(words, seed=3)]
    want = unit.run(x=x, rst=reset)["y"]
    assert np.unique(outs[0]).size > 20
    assert all(np.array_equal(out, row) for out, row in zip(outs[2:], want[2:], strict=True))


def _word(values: np.ndarray, width: int):
    from carrysave.planes import PlaneWord

    return PlaneWord.from_ints(values, width)


def test_the_period_is_clock_to_output_logic_and_setup():
    circuit = mapped(Accumulator())
    library = compact_library()
    timing = analyze(circuit.netlist, library)
    assert timing.delay_ps == pytest.approx(circuit.delay_ps) == pytest.approx(sum(s.delay_ps for s in timing.path))
    assert timing.start == "clk" and timing.path[0].pin == "CLK" and timing.path[-1].pin == "D"
    first, last = timing.path[0], timing.path[-1]
    cell = library[first.cell]
    arc = cell.outputs[0].arcs[0].tables[f"cell_{first.edge}"]
    assert first.delay_ps == pytest.approx(arc.point(0.0, first.load_ff))
    setup = next(a for a in library[last.cell].pin("D").arcs if a.type == "setup_rising")
    slew = timing.slew_ps[last.net][last.edge]
    assert last.delay_ps == pytest.approx(setup.tables[f"{last.edge}_constraint"].point(slew, 0.0))


def test_all_drive_strengths_of_a_flip_flop_are_tried():
    library = compact_library()
    found = synthesize_clocked("u", Accumulator().circuit().rtlil(), library, ["fast"], "quick")
    flops = {cell for m in found.synthesis.found for cell in m.netlist.cells() if library[cell].kind == "flip_flop"}
    smallest = min(plain_flops(library), key=lambda cell: cell.area_um2)
    assert flops == set(alike(smallest, library)) and len(flops) == 3
    for circuit in found.synthesis.pareto:
        assert circuit.netlist.cells().total() and circuit.netlist.area_um2(library) == circuit.area_um2
        assert sum(circuit.netlist.cells()[name] for name in flops) == 4 + 7


def test_registers_that_copy_an_input_and_feed_an_output_cost_no_buffers():
    class Delay(Accumulator):
        registers = {"a": Register(4), "b": Register(4)}  # type: ignore[assignment]

        def logic(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"y": values["b"], "z": values["b"], "b": values["a"], "a": values["x"]}

    unit = Delay()
    cells = mapped(unit).netlist.cells()
    kinds = {compact_library()[cell].kind for cell in cells}
    assert kinds <= {"flip_flop", "combinational"}
    assert not any(len(compact_library()[c].inputs) == 1 and compact_library()[c].truth() == (2,) for c in cells
                   if compact_library()[c].kind == "combinational")  # fmt: skip
    assert sum(n for cell, n in cells.items() if compact_library()[cell].kind == "flip_flop") == 8


@pytest.mark.parametrize("width", [1, 63, 64, 70])
def test_corners_of_ports_of_any_width(width: int):
    from carrysave.hardware.stimuli import mixed

    (word,) = mixed(np.random.default_rng(0), {"x": width}, 4096).values()
    values = {int(v) for v in word.to_ints().tolist()}
    assert word.width == width and {0, 1, (1 << width) - 1, 1 << width - 1} <= values
    assert width < 63 or len(values) > 2000


# ---------------------------------------------------------------- what is wrong


def test_a_library_without_flip_flops_is_named_with_the_stage():
    library = compact_library()
    gates = library.subset(cell.name for cell in library.combinational())
    with pytest.raises(LibraryError, match=r"mapping registers: library .* no plain rising-edge flip-flop .* 84 cells"):
        synthesize_clocked("u", Accumulator().circuit().rtlil(), gates)


def test_what_a_flip_flop_is_not():
    library = compact_library()
    cell = plain_flops(library)[0]
    for state, message in (
        ({"clocked_on": "!CLK"}, "is clocked on '!CLK'"),
        ({"clear": "R"}, "has clear"),
    ):
        with pytest.raises(LibraryError, match=message):
            flop(replace(cell, state={**cell.state, **state}))
    with pytest.raises(LibraryError, match="is combinational"):
        flop(library.combinational()[0])


@pytest.mark.parametrize(
    ("blif", "message"),
    [
        (".inputs a clk\n.outputs q\n.latch a q re clk 2\n", "a latch or register is left"),
        (".inputs a clk\n.outputs q\n.subckt $_DLATCH_P_ D=a E=clk Q=q\n", r"a \$_DLATCH_P_ is left"),
        (".inputs a\n.outputs q\n.names a q\n1 1\n", "clocked by nothing"),
        (
            ".inputs a c d\n.outputs q r\n.subckt DFFHQNx1_ASAP7_75t_R D=a CLK=c QN=q\n"
            ".subckt DFFHQNx1_ASAP7_75t_R D=a CLK=d QN=r\n",
            r"clocked by \['c', 'd'\]",
        ),
    ],
)
def test_what_is_wrong_with_lowered_registers(blif: str, message: str):
    with pytest.raises(SynthesisError, match=f"u: mapping registers: .*{message}"):
        cut_registers("u", f".model u\n{blif}.end\n", compact_library())


def test_the_combinational_flow_points_to_the_clocked_one():
    with pytest.raises(SynthesisError, match="go through synthesize_clocked"):
        lower("u", Accumulator().circuit().rtlil(), Tools.installed())


# ---------------------------------------------------------------- the run-length decompressor


def encode(weights: np.ndarray, run_bits: int) -> list[int]:
    """Words of ternary weights, slowly: escapes, then sign and run."""
    words, gap, escape = [], 0, (1 << run_bits) - 1
    for weight in weights.tolist():
        if weight == 0:
            gap += 1
            continue
        while gap >= escape:
            words.append(escape)
            gap -= escape
        words.append((1 << run_bits if weight < 0 else 0) | gap)
        gap = 0
    return words


@pytest.mark.parametrize("run_bits", [1, 3, 5])
def test_the_decompressor_gives_a_weight_and_its_address_every_cycle(run_bits: int):
    generator = np.random.default_rng(run_bits)
    weights = generator.choice([-1, 0, 1], 300, p=[0.08, 0.84, 0.08])
    words = encode(weights, run_bits)
    unit = UNITS.parse(f"run_length:run_bits={run_bits},address_bits=10")
    asked, found, done = 0, [], []

    def cycles():  # the memory answers what was asked in the cycle before
        for t in range(len(words) + 4):
            answer = words[asked] if asked < len(words) else 0
            values = {"start": int(t == 1), "count": len(words), "word": answer, "rst": int(t == 0)}
            yield {port: _word(np.array([values[port]]), width) for port, width in unit.ports.items()}

    for out in unit.steps(cycles(), seed=1):
        values = {port: int(word.to_ints()[0]) for port, word in out.items()}
        asked = values["read"]
        done.append(values["done"])
        if len(done) > 1 and values["valid"]:
            found.append((values["address"], 1 if values["weight"] else -1))
    assert done[1] == done[-1] == 1 and not any(done[2:-1])
    assert found == [(k, int(w)) for k, w in enumerate(weights) if w]
    escapes = sum(word == (1 << run_bits) - 1 for word in words)
    assert len(found) + escapes == len(words)


def test_a_decompressor_that_cannot_be():
    with pytest.raises(ValueError, match="run_bits=9, address_bits=8; a run has 1 bit or more"):
        UNITS.parse("run_length:run_bits=9,address_bits=8")


def test_the_unit_of_the_documentation():
    """The example of docs/hardware-units.md, as it stands there."""
    text = (Path(__file__).parents[1] / "docs" / "hardware-units.md").read_text()
    source = text.split("```python\n")[1].split("```")[0].replace("@UNITS.register\n", "")
    names: dict[str, Any] = {"dataclass": dataclass, "Unit": Unit, "Register": Register, "fit": fit}
    exec(source, names)
    unit = names["Accumulator"](n=4)
    assert unit.run(x=[[1], [2], [3]])["y"].tolist() == [[0], [1], [3]]
    assert unit.ports == {"x": 4, "rst": 1} and unit.outputs == {"y": 8}
