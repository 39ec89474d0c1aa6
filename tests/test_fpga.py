"""FPGA synthesis: counts, packing, proofs, and what happens when Yosys dies, hangs or writes nonsense."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from carrysave.hardware.fpga import DEVICES, FAMILIES, fpga_cost, synthesize_fpga, target
from carrysave.hardware.fpga_netlist import parse_json
from carrysave.hardware.netlist import MismatchError, NetlistError
from carrysave.hardware.proof import verify_steps
from carrysave.hardware.tools import SynthesisError, Tools, ToolTimeout
from carrysave.hardware.units import UNITS
from carrysave.planes import PlaneWord
from carrysave.registry import SpecError


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CARRYSAVE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


# ---------------------------------------------------------------- synthesis


def test_topology_a_is_one_lut_per_bit():
    """The A-topology with a negated input: multiplexer, sign and addend of one bit in one LUT, at two widths."""
    narrow, wide = (fpga_cost(UNITS.parse(f"rccm:topology_a,n={n}"), "xcup", vectors=100_000) for n in (5, 9))
    assert wide.counts.luts - narrow.counts.luts == 4
    bits = UNITS.parse("rccm:topology_a,n=9").outputs["y"]
    assert wide.counts.luts <= bits + 1 and wide.counts.ffs == wide.counts.dsps == wide.counts.bram18 == 0
    assert wide.proof is not None and wide.proof.exhaustive
    assert wide.logic_delay_ps > narrow.logic_delay_ps > 1000


def test_two_add_with_registers():
    """Topology B takes two LUT outputs a bit: as Yosys leaves them two cells, in the device one LUT."""
    cost = fpga_cost(UNITS.parse("rccm:2add,pipelined=true"), "xc7", vectors=200_000)
    assert 27 <= cost.counts.luts <= 28 < cost.counts.lut_cells
    bits = sum(register.width for register in UNITS.parse("rccm:2add,pipelined=true").registers.values())
    assert cost.counts.ffs in (bits - 1, bits)  # Yosys may find one that another one equals
    assert cost.proof is not None and cost.proof.vectors >= 200_000 and "7 series" in cost.source


def test_the_decompressor_is_near_the_thesis_figure():
    """Section 3.4.1: 112 LUT; a reset in every flip-flop costs none."""
    cost = fpga_cost(UNITS.parse("run_length"), "xcup", vectors=200_000)
    assert cost.counts.luts == pytest.approx(112, rel=0.15)
    assert cost.counts.ffs == 3 * 32 + 2
    share = DEVICES["ku115"].shares(cost.counts)
    assert share["lut"] == cost.counts.luts / 663_360 and share["dsp"] == 0


def test_a_multiplier_may_become_a_dsp_block():
    unit = UNITS.parse("generic_multiplier:form=native,n=16,m=16")
    cost = fpga_cost(unit, "xcup")
    assert cost.counts.dsps == 1 and cost.counts.luts < 5 and cost.proof is None
    netlist = synthesize_fpga("native", unit.circuit("native").rtlil(), "xcup")
    with pytest.raises(NetlistError, match="has DSP48E2, which are counted but not run"):
        verify_steps(netlist, unit, 1000)


def test_devices():
    assert target("KU115") == ("xcu", DEVICES["ku115"]) and target("xc7") == ("xc7", None)
    assert (DEVICES["ku115"].luts, DEVICES["ku115"].dsps, DEVICES["ku115"].bram18) == (663_360, 5_520, 4_320)
    assert (DEVICES["zu3"].luts, DEVICES["zu3"].dsps, DEVICES["zu3"].bram18) == (70_560, 360, 432)
    assert all(d.family in FAMILIES and d.ffs == 2 * d.luts for d in DEVICES.values())
    with pytest.raises(SpecError, match="unknown FPGA 'ku114' .did you mean 'ku115'"):
        target("ku114")


# ---------------------------------------------------------------- netlists by hand


def module(cells: dict[str, tuple[str, dict[str, list], dict[str, str]]], inputs: dict, outputs: dict) -> str:
    ports = {name: {"direction": "input", "bits": bits} for name, bits in inputs.items()}
    ports |= {name: {"direction": "output", "bits": bits} for name, bits in outputs.items()}
    rows = {k: {"type": t, "connections": c, "parameters": p} for k, (t, c, p) in cells.items()}
    return json.dumps({"modules": {"top": {"ports": ports, "cells": rows}}})


def run(netlist: Any, **values: list[int]) -> dict[str, list[int]]:
    widths = {port: len(bits) for port, bits in netlist.inputs.items()}
    words = {port: PlaneWord.from_ints(v, widths[port]) for port, v in values.items()}
    return {port: word.to_ints().tolist() for port, word in next(netlist.steps([words], None)).items()}


ADD2 = {
    "s0": ("LUT2", {"I0": [2], "I1": [4], "O": [10]}, {"INIT": "0110"}),
    "s1": ("LUT2", {"I0": [3], "I1": [5], "O": [11]}, {"INIT": "0110"}),
    "c": ("CARRY4", {"CI": ["0"], "CYINIT": ["0"], "DI": [2, 3, "0", "0"], "S": [10, 11, "0", "0"],
                     "O": [20, 21, 22, 23], "CO": [30, 31, 32, 33]}, {}),
}  # fmt: skip
PORTS: tuple[dict, dict] = ({"a": [2, 3], "b": [4, 5]}, {"y": [20, 21, 22]})


def test_an_adder_by_hand():
    dissolved = {"part": ("$scopeinfo", {}, {})}
    netlist = parse_json(module(ADD2 | dissolved, *PORTS), "top")
    a, b = np.repeat(np.arange(4), 4).tolist(), np.tile(np.arange(4), 4).tolist()
    assert run(netlist, a=a, b=b)["y"] == [x + y for x, y in zip(a, b, strict=True)]
    counts = netlist.counts()
    assert (counts.luts, counts.lut_cells, counts.carry_bits) == (2, 2, 3)  # the fourth bit is not there
    assert netlist.logic_delay_ps() == 238 + 380 + 29 + 223


def test_luts_of_all_sizes_against_their_tables():
    generator = np.random.default_rng(0)
    for size in range(1, 7):
        table = generator.integers(0, 2, 1 << size)
        init = "".join(map(str, table[::-1]))
        cell = {"l": (f"LUT{size}", {**{f"I{k}": [2 + k] for k in range(size)}, "O": [20]}, {"INIT": init})}
        netlist = parse_json(module(cell, {"a": [2 + k for k in range(size)]}, {"y": [20]}), "top")
        assert run(netlist, a=list(range(1 << size)))["y"] == table.tolist()


def test_two_luts_at_one_carry_bit_are_one_if_five_inputs_do():
    def of(extra: int) -> tuple[int, int]:
        cells = dict(ADD2)
        pins = {f"I{k}": [net] for k, net in enumerate((2, 4, *range(40, 40 + extra)))}
        cells["s0"] = (f"LUT{2 + extra}", {**pins, "O": [10]}, {"INIT": "0110"})
        cells["d0"] = ("LUT2", {"I0": [2], "I1": [50], "O": [12]}, {"INIT": "0110"})
        kind, connections, parameters = cells["c"]
        cells["c"] = (kind, {**connections, "DI": [12, 3, "0", "0"]}, parameters)
        inputs = {**PORTS[0], "e": [50, *range(40, 40 + extra)]}
        counts = parse_json(module(cells, inputs, PORTS[1]), "top").counts()
        return counts.luts, counts.lut_cells

    assert of(2) == (2, 3) and of(3) == (3, 3)


@pytest.mark.parametrize(("kind", "pin", "value"), [("FDRE", "R", 0), ("FDSE", "S", 1)])
def test_a_flip_flop_by_hand(kind: str, pin: str, value: int):
    cells = {"f": (kind, {"C": [2], "D": [3], "CE": [4], pin: [5], "Q": [6]}, {"INIT": "0"})}
    netlist = parse_json(module(cells, {"clk": [2], "d": [3], "e": [4], "r": [5]}, {"q": [6]}), "top")
    # d, enable, reset of 8 lanes, held for two cycles
    words = {port: PlaneWord.from_ints([n >> k & 1 for n in range(8)], 1) for k, port in enumerate("der")}
    first, second = (out["q"].to_ints().tolist() for out in netlist.steps([words, words], None))
    assert first == [0] * 8
    assert second == [value if n >> 2 & 1 else (n & 1 if n >> 1 & 1 else 0) for n in range(8)]
    assert netlist.clock == "clk" and netlist.counts().ffs == 1


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"x": ("$add", {}, {})}, r"\$add x is left in the mapped netlist"),
        ({"l": ("LUT1", {"I0": [9], "O": [20]}, {"INIT": "01"})}, "net 9 is driven by nothing"),
        ({"l": ("LUT1", {"I0": [20], "O": [20]}, {"INIT": "01"})}, "combinational loop"),
        ({"f": ("FDRE", {"C": [2], "D": [3], "CE": ["1"], "R": ["0"], "Q": [20]}, {"IS_C_INVERTED": "1"})}, "IS_C_INV"),
    ],
)
def test_what_is_wrong_with_a_netlist(cells: dict, message: str):
    with pytest.raises(NetlistError, match=message):
        parse_json(module(cells, {"a": [2, 3]}, {"y": [20]}), "top")


def test_a_wrong_netlist_is_found():
    unit = UNITS.parse("rccm:topology_a,n=5")
    circuit = unit.circuit()
    netlist = synthesize_fpga(circuit.name, circuit.rtlil(), "xcup")
    assert verify_steps(netlist, unit).exhaustive
    last = max(k for k, gate in enumerate(netlist.gates) if gate.kind == "lut")
    gates = list(netlist.gates)
    gates[last] = replace(gates[last], init=gates[last].init ^ 1)
    with pytest.raises(MismatchError, match="rccm:topology_a,n=5: the netlist gives y="):
        verify_steps(replace(netlist, gates=tuple(gates)), unit)


# ---------------------------------------------------------------- tools that fail


@pytest.mark.parametrize(
    ("program", "seconds", "error", "message"),
    [
        ("import sys; print('ERROR: no such thing'); sys.exit(1)", 60.0, SynthesisError, "ended with status 1"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 60.0, SynthesisError, "ended by signal SIGSEGV"),
        ("import time; print('thinking', flush=True); time.sleep(60)", 0.5, ToolTimeout, "no result after 0.5 s"),
        ("print('done')", 60.0, SynthesisError, "wrote no design.json"),
        ("open('design.json', 'w').write('{}')", 60.0, NetlistError, "no module u in the netlist"),
    ],
)  # fmt: skip
def test_a_failing_tool_is_named_with_its_stage_and_leaves_nothing(
    program: str, seconds: float, error: type, message: str, tmp_path, monkeypatch
):
    monkeypatch.setenv("CARRYSAVE_CACHE", str(tmp_path))
    tools = replace(Tools.installed(), yosys=(sys.executable, "-c", program), seconds=seconds)
    unit = UNITS.parse("rccm:topology_a,n=4")
    with pytest.raises(error, match=message) as caught:
        synthesize_fpga("u", unit.circuit("u").rtlil(), "xcup", tools=tools)
    if error is not NetlistError:
        assert "u: synthesis for UltraScale+ with Yosys" in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_an_unknown_family():
    with pytest.raises(ValueError, match="FPGA family 'xc9': expected one of xc7, xcu, xcup"):
        synthesize_fpga("u", "", "xc9")
